//! Vectors of RFC 7515, RFC 7519, RFC 7520, RFC 7797 and RFC 8037.
//!
//! The payloads of the cookbook are prose, not claims. So each is tried twice: its signature with its key, which must hold, and its
//! text as a token, which must be refused, because it is none.

use std::{fs, path::PathBuf};

use super::*;

/// RFC 7515, appendices A.1.1 and A.3.1: one payload, signed with HMAC and with ECDSA. They expired in 2011.
const A1_KEY: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const A1_TOKEN: &str = concat!(
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
);
const A3_KEY: &str =
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const A3_TOKEN: &str = concat!(
    "eyJhbGciOiJFUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
);
/// RFC 7519, section 6.1: an unsecured token.
const UNSECURED: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

/// The folder of public test vectors beside the checkout, when it is there.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/jose-cookbook");
    folder.is_dir().then_some(folder)
}

fn read(folder: &std::path::Path, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// The key without what only its owner may have.
fn public_half(key: &Value) -> Value {
    let mut key = key.clone();
    for name in ["d", "p", "q", "dp", "dq", "qi"] {
        key.as_object_mut().unwrap().remove(name);
    }
    key
}

fn accepted_for(key: &Value) -> &'static [Algorithm] {
    if key["kty"] == "oct" { &SECRET } else { &PUBLIC }
}

/// Whether the signature of a vector holds, by the way that tokens take.
fn holds(key: &Value, algorithm: &str, signing: &Value) -> bool {
    install_provider();
    let set = key_set(&[public_half(key)], accepted_for(key)).unwrap();
    let algorithm = Algorithm::parse(algorithm).unwrap();
    let key = set.select(None, algorithm).unwrap_or_else(|rejection| panic!("{rejection}: {set:?}"));
    key.verifies(algorithm, signing["sig-input"].as_str().unwrap(), signing["sig"].as_str().unwrap())
}

fn key_fault(key: &Value, accepted: &[Algorithm]) -> Option<KeyFault> {
    key_set(std::slice::from_ref(key), accepted).unwrap().refused().first().map(|refused| refused.fault)
}

fn reason(text: &str) -> Reason {
    Unverified::parse(text).unwrap_err().reason()
}

#[test]
fn the_tokens_of_rfc_7515_hold_and_are_long_expired() {
    for (key, text, accepted) in [(A1_KEY, A1_TOKEN, &SECRET[..]), (A3_KEY, A3_TOKEN, &PUBLIC[..])] {
        let keys = key_set(&[serde_json::from_str(key).unwrap()], accepted).unwrap();
        let rules = Draft { issuer: "joe".to_owned(), algorithms: Algorithms::new(accepted).unwrap(), ..draft() };
        let rules = Rules::compile(rules).unwrap();

        assert_eq!(check_by(&rules, &keys, text).unwrap_err().reason(), Reason::Expired, "the signature comes before the dates");
        let forged = text.replace(".eyJp", ".eyJq");
        assert_eq!(check_by(&rules, &keys, &forged).map_err(|rejection| rejection.reason()), Err(Reason::IssuerWrong), "`iss` became `jss`");
        let other = key_set(&[if accepted == SECRET { Signer::secret("s", &[1; 64]).jwk() } else { WORLD.attacker.jwk() }], accepted).unwrap();
        assert_eq!(check_by(&rules, &other, text).unwrap_err().reason(), Reason::SignatureInvalid);
    }
    assert_eq!(reason(UNSECURED), Reason::PartEmpty);
    assert_eq!(reason(&format!("{UNSECURED}AA")), Reason::AlgorithmNone);
}

#[test]
fn the_signatures_of_the_cookbook_hold_and_its_texts_are_no_tokens() {
    let Some(folder) = folder() else { return println!("skipped: no vectors beside the checkout") };
    let (mut n_held, mut n_refused) = (0, 0);
    // What each text is refused for. No text: the vector has the JSON form of RFC 7515 §7.2 alone, which is no JWT (RFC 7519 §1).
    for (name, refused) in [
        ("jws/4_1.rsa_v15_signature.json", Some(Reason::JsonInvalid)),
        ("jws/4_2.rsa-pss_signature.json", Some(Reason::JsonInvalid)),
        ("jws/4_4.hmac-sha2_integrity_protection.json", Some(Reason::JsonInvalid)),
        ("jws/4_5.signature_with_detached_content.json", Some(Reason::PartEmpty)),
        ("jws/4_6.protecting_specific_header_fields.json", None),
        ("jws/4_7.protecting_content_only.json", None),
        ("curve25519/jws.json", Some(Reason::JsonInvalid)),
    ] {
        let vector = read(&folder, name);
        assert!(holds(&vector["input"]["key"], vector["input"]["alg"].as_str().unwrap(), &vector["signing"]), "{name}");
        n_held += 1;
        assert_eq!(vector["output"]["compact"].as_str().map(reason), refused, "{name}");
        n_refused += usize::from(refused.is_some());
    }
    // Three signatures over one text. The second is of P-521, which is not spoken: the library that checks does not know it.
    let several = read(&folder, "jws/4_8.multiple_signatures.json");
    for (at, algorithm) in [(0, "RS256"), (2, "HS256")] {
        assert!(holds(&several["input"]["key"][at], algorithm, &several["signing"][at]), "4.8, signature {at}");
        n_held += 1;
    }
    for (name, key, text) in [
        (
            "4.3",
            &read(&folder, "jws/4_3.ecdsa_signature.json")["input"]["key"],
            Some(&read(&folder, "jws/4_3.ecdsa_signature.json")["output"]["compact"]),
        ),
        ("4.8", &several["input"]["key"][1], None),
    ] {
        assert_eq!(key_fault(&public_half(key), &PUBLIC), Some(KeyFault::CurveUnknown), "{name}");
        assert_eq!(text.map(|text| reason(text.as_str().unwrap())), text.map(|_| Reason::AlgorithmUnknown), "{name}");
        n_refused += usize::from(text.is_some());
    }
    println!("cookbook: held={n_held}, refused={n_refused}, exceptions=2 (P-521)");
}

#[test]
fn unencoded_payloads_of_rfc_7797_are_refused() {
    let Some(folder) = folder() else { return println!("skipped: no vectors beside the checkout") };
    let compatible = read(&folder, "rfc7797/hmac-sha2_b64_false.json");
    assert_eq!(reason(compatible["output"]["compact"].as_str().unwrap()), Reason::B64Refused);

    // Section 4.2 has dots in its payload, and so no compact form of its own; here it is with the payload encoded.
    let signing = &read(&folder, "rfc7797/4.2.hmac-sha2_b64_false.json")["signing"];
    let (header, signature) = (signing["protected_b64u"].as_str().unwrap(), signing["sig"].as_str().unwrap());
    assert_eq!(reason(&format!("{header}.$.02.{signature}")), Reason::PartCount);
    assert_eq!(reason(&format!("{header}.{}.{signature}", BASE64URL_NOPAD.encode(b"$.02"))), Reason::B64Refused);
}

#[test]
fn the_keys_of_the_cookbook_are_judged_by_what_they_are() {
    let Some(folder) = folder() else { return println!("skipped: no vectors beside the checkout") };
    for (name, accepted, fault) in [
        ("jwk/3_1.ec_public_key.json", &PUBLIC[..], Some(KeyFault::CurveUnknown)),
        ("jwk/3_2.ec_private_key.json", &PUBLIC, Some(KeyFault::PrivateKey)),
        ("jwk/3_3.rsa_public_key.json", &PUBLIC, None),
        ("jwk/3_4.rsa_private_key.json", &PUBLIC, Some(KeyFault::PrivateKey)),
        ("jwk/3_5.symmetric_key_mac_computation.json", &SECRET, None),
        ("jwk/3_5.symmetric_key_mac_computation.json", &PUBLIC, Some(KeyFault::SecretRefused)),
        ("jwk/3_6.symmetric_key_encryption.json", &SECRET, Some(KeyFault::UseOther)),
    ] {
        assert_eq!(key_fault(&read(&folder, name), accepted), fault, "{name}");
    }
}
