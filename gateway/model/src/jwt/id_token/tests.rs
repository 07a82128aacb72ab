use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::{IdTokenFault, IdTokenRules};
use crate::{
    jwt::{
        keys::KeySet,
        rejection::{Reason, Rejection},
    },
    time::UtcMicros,
};

/// A seed of the tests alone.
const SEED: [u8; 32] = [7; 32];
const NOW: i64 = 1_800_000_000;

fn pair() -> aws_lc_rs::signature::Ed25519KeyPair {
    aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap()
}

fn keys() -> KeySet {
    use aws_lc_rs::signature::KeyPair as _;
    let x = BASE64URL_NOPAD.encode(pair().public_key().as_ref());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "use": "sig", "x": x }] });
    KeySet::from_jwks(&set.to_string(), IdTokenRules::algorithms()).unwrap()
}

fn token(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL_NOPAD.encode(pair().sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example", "sub": "ann", "aud": "us", "exp": NOW + 60, "iat": NOW - 1, "nonce": "n",
        "email": "ann@example.com", "email_verified": true, "name": "Ann", "groups": ["a", "b"],
    })
}

fn judge(header: &Value, claims: &Value) -> Result<super::Person, IdTokenFault> {
    crate::jwt::install_provider();
    let rules = IdTokenRules::new("https://login.example", "us", "groups").unwrap();
    rules.verify(&keys(), &token(header, claims), "n", UtcMicros(NOW * 1_000_000))
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "k" })
}

#[test]
fn a_token_of_this_sign_in_says_who_it_is() {
    let person = judge(&header(), &claims()).unwrap();
    assert_eq!((&*person.subject, person.email.as_deref(), person.name.as_deref()), ("ann", Some("ann@example.com"), Some("Ann")));
    assert_eq!(person.values, ["a", "b"]);
    assert_eq!(judge(&header(), &with("groups", json!("a"))).unwrap().values, ["a"]);
    for nothing in [json!(null), json!([])] {
        assert!(judge(&header(), &with("groups", nothing)).unwrap().values.is_empty());
    }
    for unverified in [json!(false), json!("true"), json!(1), json!(null)] {
        assert_eq!(judge(&header(), &with("email_verified", unverified)).unwrap().email, None);
    }
    for fine in [with("aud", json!(["us"])), with("azp", json!("us"))] {
        assert!(judge(&header(), &fine).is_ok());
    }
    assert!(judge(&json!({ "alg": "EdDSA", "kid": "k", "typ": "JWT" }), &claims()).is_ok());
}

#[test]
fn a_token_of_another_sign_in_client_kind_or_time_is_refused() {
    for (claims, fault) in [
        (with("nonce", json!("m")), IdTokenFault::Nonce),
        (with("nonce", json!("")), IdTokenFault::Claim),
        (with("nonce", json!(7)), IdTokenFault::Claim),
        (with("aud", json!(["us", "them"])), IdTokenFault::Party),
        (with("azp", json!("them")), IdTokenFault::Party),
        (with("iat", json!(NOW - 601)), IdTokenFault::Age),
        (with("groups", json!({ "a": 1 })), IdTokenFault::Claim),
        (with("groups", json!([1])), IdTokenFault::Claim),
        (with("name", json!(["Ann"])), IdTokenFault::Claim),
    ] {
        assert_eq!(judge(&header(), &claims), Err(fault), "{claims}");
    }
    for (claims, reason) in [
        (with("iss", json!("https://other.example")), Reason::IssuerWrong),
        (with("iss", json!("https://login.example/")), Reason::IssuerWrong),
        (with("aud", json!("them")), Reason::AudienceWrong),
        (with("exp", json!(NOW - 60)), Reason::Expired),
        (with("iat", json!(NOW + 60)), Reason::IssuedInFuture),
        (with("nonce", json!(null)), Reason::ClaimMissing),
        (with("iat", json!(null)), Reason::DateInvalid),
    ] {
        assert_eq!(judge(&header(), &claims), Err(IdTokenFault::Token(Rejection::Refused(reason))), "{claims}");
    }
    assert_eq!(judge(&json!({ "alg": "EdDSA", "kid": "k", "typ": "at+jwt" }), &claims()), Err(IdTokenFault::Kind));
    assert_eq!(judge(&json!({ "alg": "EdDSA", "kid": "k", "typ": "logout+jwt" }), &claims()), Err(IdTokenFault::Kind));
    assert!(matches!(judge(&json!({ "alg": "EdDSA", "kid": "other" }), &claims()), Err(IdTokenFault::Token(Rejection::UnknownKey { .. }))));
    assert!(judge(&json!({ "alg": "HS256", "kid": "k" }), &claims()).is_err());
}
