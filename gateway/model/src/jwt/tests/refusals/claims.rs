//! Claims, one wrong at a time.

use super::*;

pub(super) fn dates() -> Vec<Case> {
    let mut cases = vec![case("no exp", without_claim("exp"), Reason::ExpiryMissing), case("no iat", without_claim("iat"), Reason::IssuedAtMissing)];
    for name in ["exp", "nbf", "iat"] {
        let bad = [
            json!("1800000300"),
            json!(null),
            json!(true),
            json!([1_800_000_300]),
            json!({}),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(253_402_300_800_i64),
            json!(253_402_300_799.5),
            json!(u64::MAX),
            json!(i64::MIN),
            json!("2027-01-15T08:05:00Z"),
        ];
        cases.extend(bad.map(|value| case(format!("{name} {value}"), with_claim(name, value), Reason::DateInvalid)));
    }
    let float = |text: &str| with_payload(&claims().to_string().replace(&format!("\"exp\":{}", NOW + 300), &format!("\"exp\":{text}")));
    cases.extend([
        case("exp NaN", float("NaN"), Reason::JsonInvalid),
        case("exp 1e400", float("1e400"), Reason::JsonInvalid),
        case("exp Infinity", float("Infinity"), Reason::JsonInvalid),
        case("exp of 400 digits", float(&"9".repeat(400)), Reason::JsonInvalid),
        case("exp a minute ago", with_claim("exp", json!(NOW - 60)), Reason::Expired),
        case("exp on the last instant of the leeway", with_claim("exp", json!(NOW - 10)), Reason::Expired),
        case("exp a fraction before", with_claim("exp", json!(1_799_999_989.9)), Reason::Expired),
        case("exp 0", with_claim("exp", json!(0)), Reason::Expired),
        case("exp in milliseconds", with_claim("exp", json!((NOW + 300) * 1_000)), Reason::DateInvalid),
        case("nbf a second past the leeway", with_claim("nbf", json!(NOW + 11)), Reason::NotYetValid),
        case("nbf a fraction past the leeway", with_claim("nbf", json!(1_800_000_010.5)), Reason::NotYetValid),
        case("nbf far ahead", with_claim("nbf", json!(253_402_300_799_i64)), Reason::NotYetValid),
        case("iat a second past the leeway", with_claim("iat", json!(NOW + 11)), Reason::IssuedInFuture),
        case("a lifetime of an hour and a second", with_claim("exp", json!(NOW - 20 + 3_601)), Reason::LifetimeTooLong),
        case("exp at the end of time", with_claim("exp", json!(253_402_300_799_i64)), Reason::LifetimeTooLong),
    ]);
    cases
}

pub(super) fn parties() -> Vec<Case> {
    let mut cases = vec![
        case("no iss", without_claim("iss"), Reason::IssuerWrong),
        case("no aud", without_claim("aud"), Reason::AudienceMissing),
        case("no sub", without_claim("sub"), Reason::SubjectMissing),
    ];
    let issuers = [
        json!("https://issuer.example"),
        json!("https://issuer.example/realm/"),
        json!("https://issuer.example/realm2"),
        json!("https://issuer.example/Realm"),
        json!("HTTPS://issuer.example/realm"),
        json!("http://issuer.example/realm"),
        json!("https://issuer.example/realm\u{0}"),
        json!(" https://issuer.example/realm"),
        json!("https://issuer.example:443/realm"),
        json!("https://issuer.example/realm/../realm"),
        json!([ISSUER]),
        json!({ "iss": ISSUER }),
        json!(""),
        json!(null),
        json!(1),
    ];
    cases.extend(issuers.map(|issuer| case(format!("iss {issuer}"), with_claim("iss", issuer), Reason::IssuerWrong)));
    let audiences = [
        json!("https://api.example/"),
        json!("https://api.exampl"),
        json!("https://API.example"),
        json!("https://api.example urn:x"),
        json!(""),
        json!("*"),
        json!([]),
        json!([""]),
        json!(["https://else.example", "https://api.example/"]),
    ];
    cases.extend(audiences.map(|audience| case(format!("aud {audience}"), with_claim("aud", audience), Reason::AudienceWrong)));
    let audiences = [
        json!(null),
        json!(1),
        json!(true),
        json!({ "aud": AUDIENCE }),
        json!([1]),
        json!([AUDIENCE, 1]),
        json!([[AUDIENCE]]),
        json!(vec![AUDIENCE; 17]),
    ];
    cases.extend(audiences.map(|audience| case(format!("aud {audience}"), with_claim("aud", audience), Reason::AudienceInvalid)));
    let names = [
        json!(""),
        json!(null),
        json!(7),
        json!(["alice"]),
        json!({}),
        json!("a".repeat(256)),
        json!("alice\nroot"),
        json!("\u{0}"),
        json!("\u{9f}"),
    ];
    for (claim, reason) in [("sub", Reason::SubjectInvalid), ("jti", Reason::TokenIdInvalid), ("client_id", Reason::ClientInvalid)] {
        cases.extend(names.clone().map(|value| case(format!("{claim} {value}"), with_claim(claim, value), reason)));
    }
    cases
}

pub(super) fn others() -> Vec<Case> {
    let thumbprint = BASE64URL_NOPAD.encode(&[9; 32]);
    let mut cases = vec![
        case("no tenant", without_claim("tenant"), Reason::ClaimMissing),
        case("tenant null", with_claim("tenant", json!(null)), Reason::ClaimMissing),
    ];
    let scopes = [
        json!(1),
        json!(null),
        json!({}),
        json!([1]),
        json!([""]),
        json!(["read write"]),
        json!("read\twrite"),
        json!("read \"write\""),
        json!("läs"),
        json!("a\\b"),
        json!([["read"]]),
    ];
    cases.extend(scopes.map(|scopes| case(format!("scope {scopes}"), with_claim("scope", scopes), Reason::ScopesInvalid)));
    cases.push(case("257 scopes in a text", with_claim("scope", json!("a ".repeat(257))), Reason::ScopesInvalid));
    cases.push(case("257 scopes in a list", with_claim("scope", json!(vec!["a"; 257])), Reason::ScopesInvalid));
    let bindings = [
        json!(null),
        json!("x"),
        json!([]),
        json!({}),
        json!({ "kid": "p256" }),
        json!({ "jwk": WORLD.attacker.jwk() }),
        json!({ "jkt": 1 }),
        json!({ "jkt": "" }),
        json!({ "jkt": format!("{thumbprint}=") }),
        json!({ "jkt": BASE64URL_NOPAD.encode(&[9; 31]) }),
        json!({ "jkt": BASE64URL_NOPAD.encode(&[9; 33]) }),
        json!({ "x5t#S256": "not base64!" }),
        json!({ "jkt": thumbprint, "x5t#S256": "short" }),
    ];
    cases.extend(bindings.map(|binding| case(format!("cnf {binding}"), with_claim("cnf", binding), Reason::ConfirmationInvalid)));
    cases
}
