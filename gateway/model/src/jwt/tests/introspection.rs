//! What an issuer says about tokens that only it can read.

use serde_json::{Map, Value, json};

use super::{AUDIENCE, ISSUER, NOW, Reason, Rules, UtcMicros, Verified, draft, edited};
use crate::jwt::introspection::{ANSWER_BYTES_MAX, Answer, Fault, is_askable, is_opaque, judge};

fn said() -> Value {
    json!({
        "active": true, "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "exp": NOW + 300, "nbf": NOW - 20, "iat": NOW - 20, "jti": "t-1",
        "scope": "read write", "client_id": "shop", "tenant": "acme", "username": "alice", "token_type": "Bearer",
    })
}

fn judged(text: &str) -> Result<Verified, Reason> {
    let Answer::Active(claims) = Answer::read(text.as_bytes()).unwrap() else { panic!("not active") };
    let now = UtcMicros(0).plus_seconds(NOW);
    judge(&Rules::compile(draft()).unwrap(), &claims, now.plus_seconds(30), now)
}

fn with(edit: impl FnOnce(&mut Map<String, Value>)) -> Result<Verified, Reason> {
    judged(&edited(said(), edit))
}

#[test]
fn an_answer_says_yes_or_no_or_is_none() {
    let read = |text: &str| Answer::read(text.as_bytes()).map(|answer| matches!(answer, Answer::Active(_)));
    assert_eq!(read(&said().to_string()), Ok(true));
    assert_eq!(read(r#"{"active":false}"#), Ok(false));
    assert_eq!(read(r#"{"active":false,"sub":"alice"}"#), Ok(false));
    for text in ["{}", r#"{"active":"true"}"#, r#"{"active":1}"#, r#"{"active":null}"#, r#"{"active":[true]}"#, r#"{"Active":true}"#] {
        assert_eq!(read(text), Err(Fault::Active), "{text}");
    }
    for text in ["", "true", "[]", "{", r#"{"active":true} x"#, r#"{"active":true,"active":false}"#, r#"{"active":false,"\u0061ctive":true}"#] {
        assert_eq!(read(text), Err(Fault::Malformed), "{text}");
    }
    let deep = format!(r#"{{"active":true,"x":{}1{}}}"#, "[".repeat(8), "]".repeat(8));
    assert_eq!(read(&deep), Err(Fault::Malformed));
    let long = |bytes: usize| format!(r#"{{"active":true,"x":"{}"}}"#, "a".repeat(bytes - 22));
    assert_eq!((long(ANSWER_BYTES_MAX).len(), read(&long(ANSWER_BYTES_MAX))), (ANSWER_BYTES_MAX, Ok(true)));
    assert_eq!(read(&long(ANSWER_BYTES_MAX + 1)), Err(Fault::TooLong));
    assert_eq!(Answer::read(b"{\"active\":true,\"x\":\"\xff\"}").map(drop), Err(Fault::Malformed));
    assert!(!format!("{:?}", Answer::read(said().to_string().as_bytes()).unwrap()).contains("alice"));
}

#[test]
fn what_is_said_is_held_against_the_rules_like_the_claims_of_a_token() {
    let verified = with(|_| ()).unwrap();
    assert_eq!((&*verified.issuer, &*verified.subject, verified.client.as_deref()), (ISSUER, "alice", Some("shop")));
    assert_eq!((verified.token_id.as_deref(), verified.key_id, verified.algorithm), (Some("t-1"), None, None));
    assert_eq!(verified.expires_at, UtcMicros(0).plus_seconds(NOW + 300));
    assert_eq!(with(|said| drop(said.remove("iss"))).map(|verified| verified.issuer.to_string()), Ok(ISSUER.to_owned()), "who was asked is known");
    let endless = with(|said| drop(said.remove("exp"))).unwrap();
    assert_eq!(endless.expires_at, UtcMicros(0).plus_seconds(NOW + 30), "as long as the answer is good");

    for (name, value, reason) in [
        ("iss", json!("https://else.example"), Reason::IssuerWrong),
        ("iss", json!(1), Reason::IssuerWrong),
        ("aud", json!("else"), Reason::AudienceWrong),
        ("aud", json!(1), Reason::AudienceInvalid),
        ("exp", json!(NOW - 11), Reason::Expired),
        ("exp", json!("soon"), Reason::DateInvalid),
        ("exp", Value::Null, Reason::DateInvalid),
        ("nbf", json!(NOW + 11), Reason::NotYetValid),
        ("iat", json!(NOW + 11), Reason::IssuedInFuture),
        ("iat", json!(NOW - 3_400), Reason::LifetimeTooLong),
        ("sub", json!(""), Reason::SubjectInvalid),
        ("jti", json!(1), Reason::TokenIdInvalid),
        ("client_id", json!(1), Reason::ClientInvalid),
        ("scope", json!(1), Reason::ScopesInvalid),
        ("tenant", Value::Null, Reason::ClaimMissing),
        ("cnf", json!({ "kid": "x" }), Reason::ConfirmationInvalid),
        ("cnf", json!("x"), Reason::ConfirmationInvalid),
    ] {
        assert_eq!(with(|said| drop(said.insert(name.to_owned(), value.clone()))).err(), Some(reason), "{name}: {value}");
    }
    for (name, reason) in
        [("aud", Reason::AudienceMissing), ("sub", Reason::SubjectMissing), ("tenant", Reason::ClaimMissing), ("iat", Reason::IssuedAtMissing)]
    {
        assert_eq!(with(|said| drop(said.remove(name))).err(), Some(reason), "{name}");
    }
    let bound = with(|said| drop(said.insert("cnf".to_owned(), json!({ "jkt": "A".repeat(43) })))).unwrap();
    assert_eq!(bound.confirmation.unwrap().key_thumbprint, Some([0; 32]));
}

#[test]
fn only_what_can_be_a_token_is_asked_about() {
    for text in ["a", "2YotnFZFEjr1zCsicMWpAA", "a.b", "a.b.c.d.e", "A-._~+/9", "a=", "a==", &"a".repeat(4_096)] {
        assert!(is_askable(text) && is_opaque(text), "{text}");
    }
    for text in ["", "=", "==", "a b", "a=b", "a,b", "\"a\"", "a%20", "ä", "a\n", "a:b", &"a".repeat(4_097)] {
        assert!(!is_askable(text), "{text}");
    }
    assert!(!is_opaque("eyJ.e30.sig") && !is_opaque("a.."), "that is a JSON Web Token, or nobody's");
}
