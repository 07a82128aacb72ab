use model::key::{self, Peppers, Purpose};

use super::*;

fn key() -> (String, String) {
    let peppers = Peppers::new([(1, model::secret::SecretKey::new([1; 32]))]).unwrap();
    let issued = key::issue(Purpose::Live, &peppers, &[5; 32], &[9; 32]).unwrap();
    (issued.id.to_string(), issued.text.expose_secret().to_owned())
}

fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in fields {
        out.append(name, value.parse().unwrap());
    }
    out
}

fn by_basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

/// The key that a client authenticates with, or the kind of the refusal.
fn found(fields: &[(HeaderName, &str)], form: &str) -> Result<String, ProblemKind> {
    let form = Form::parse(form.as_bytes()).map_err(|denial| denial.kind)?;
    credential(&headers(fields), &form).map_err(|denial| denial.kind)
}

#[test]
fn a_client_authenticates_in_one_place() {
    let (id, secret) = key();
    let basic = by_basic(&id, &secret);
    let form = format!("client_id={id}&client_secret={secret}");
    assert_eq!(found(&[(header::AUTHORIZATION, &basic)], "").as_ref(), Ok(&secret));
    assert_eq!(found(&[(header::AUTHORIZATION, &basic.replacen("Basic", "bAsIc", 1))], "").as_ref(), Ok(&secret));
    assert_eq!(found(&[], &form).as_ref(), Ok(&secret));
    assert_eq!(found(&[(header::AUTHORIZATION, &basic)], &format!("client_id={id}")).as_ref(), Ok(&secret));

    let malformed = Err(ProblemKind::RequestMalformed);
    assert_eq!(found(&[(header::AUTHORIZATION, &basic)], &form), malformed);
    assert_eq!(found(&[(header::AUTHORIZATION, &basic), (header::AUTHORIZATION, &basic)], ""), malformed);
    assert_eq!(found(&[(API_KEY, &secret)], &form), malformed);
    assert_eq!(found(&[(header::AUTHORIZATION, &basic)], "client_id=another"), malformed);
    assert_eq!(found(&[], ""), Err(ProblemKind::CredentialsMissing));
    assert_eq!(found(&[], "client_secret=&client_id="), Err(ProblemKind::CredentialsMissing), "left out");
}

#[test]
fn what_is_no_client_of_ours_is_refused_alike() {
    let (id, secret) = key();
    let invalid = Err(ProblemKind::CredentialsInvalid);
    for text in [
        by_basic("", &secret),
        by_basic("000000000000", &secret),
        by_basic(&id, ""),
        by_basic(&id, &secret[..secret.len() - 1]),
        by_basic(&id, &format!("{secret}:")),
        format!("Bearer {secret}"),
        "Basic".to_owned(),
        "Basic ????".to_owned(),
        format!("Basic {}", BASE64.encode(id.as_bytes())),
        format!("Basic {}", BASE64.encode(b"\xff\xfe:x")),
    ] {
        assert_eq!(found(&[(header::AUTHORIZATION, &text)], ""), invalid, "{text}");
    }
    for form in
        [format!("client_secret={secret}"), format!("client_id=000000000000&client_secret={secret}"), format!("client_id={id}&client_secret=x")]
    {
        assert_eq!(found(&[], &form), invalid, "{form}");
    }
}

#[test]
fn a_parameter_stands_once() {
    for name in ["grant_type", "scope", "client_id", "client_secret"] {
        for again in ["b", "", "a"] {
            let form = format!("{name}=a&x=1&{name}={again}");
            assert_eq!(Form::parse(form.as_bytes()).err().map(|denial| denial.kind), Some(ProblemKind::RequestMalformed), "{form}");
        }
    }
    let form = Form::parse(b"grant_type=client_credentials&x=1&x=2&scope=a+b%20c").unwrap();
    assert_eq!(form.grant_type.as_deref(), Some("client_credentials"));
    assert_eq!(form.scope.as_deref(), Some("a b c"));
    assert!(Form::parse(b"%ff=%fe&&==&").is_ok(), "what is not known is ignored");
}
