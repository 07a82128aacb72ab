use std::collections::BTreeSet;

use data_encoding::BASE64;
use rcgen::{KeyPair as Generated, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;

fn made(kind: &'static rcgen::SignatureAlgorithm) -> String {
    Generated::generate_for(kind).unwrap().serialize_pem()
}

fn key(id: &str, kind: &'static rcgen::SignatureAlgorithm) -> SigningKey {
    SigningKey::from_pem(id, made(kind).as_bytes()).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

#[test]
fn ed25519_and_p256_are_read_and_nothing_else() {
    assert_eq!(key("a", &PKCS_ED25519).algorithm(), "EdDSA");
    assert_eq!(key("a", &PKCS_ECDSA_P256_SHA256).algorithm(), "ES256");
    // What OpenSSL writes: the first version of the form, without the public half (RFC 8410 section 7).
    let older = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &[7; 32]].concat();
    assert_eq!(SigningKey::from_pem("a", pem("PRIVATE KEY", &older).as_bytes()).unwrap().algorithm(), "EdDSA");

    let ed25519 = made(&PKCS_ED25519);
    for (text, fault) in [
        (made(&PKCS_ECDSA_P384_SHA384), KeyFault::Kind),
        (pem("PRIVATE KEY", b"garbage"), KeyFault::Kind),
        (pem("EC PRIVATE KEY", &older), KeyFault::Form),
        (pem("PUBLIC KEY", &older), KeyFault::Form),
        (Generated::generate_for(&PKCS_ED25519).unwrap().public_key_pem(), KeyFault::Form),
        (String::new(), KeyFault::Form),
        ("secret".to_owned(), KeyFault::Form),
        (format!("{ed25519}{}", made(&PKCS_ED25519)), KeyFault::Form),
    ] {
        assert_eq!(SigningKey::from_pem("a", text.as_bytes()).unwrap_err(), fault, "{text}");
    }
}

fn members(key: &Value) -> BTreeSet<&str> {
    key.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_key_set_holds_public_halves_in_the_form_of_rfc_7517() {
    let ring = Keyring::new(vec![key("old", &PKCS_ED25519), key("new", &PKCS_ECDSA_P256_SHA256)], "new").unwrap();
    let (text, tag) = ring.published();
    let set: Value = serde_json::from_str(&text).unwrap();

    let [old, new] = &set["keys"].as_array().unwrap()[..] else { panic!("{set}") };
    assert_eq!(members(old), ["kty", "crv", "kid", "use", "alg", "x"].into(), "and no private part");
    assert_eq!(members(new), ["kty", "crv", "kid", "use", "alg", "x", "y"].into());
    let told = |key: &Value| ["kty", "crv", "kid", "use", "alg"].map(|name| key[name].as_str().unwrap().to_owned());
    assert_eq!(told(old), ["OKP", "Ed25519", "old", "sig", "EdDSA"]);
    assert_eq!(told(new), ["EC", "P-256", "new", "sig", "ES256"]);
    for coordinate in [&old["x"], &new["x"], &new["y"]] {
        assert_eq!(BASE64URL_NOPAD.decode(coordinate.as_str().unwrap().as_bytes()).unwrap().len(), 32);
    }
    let other = Keyring::new(vec![key("old", &PKCS_ED25519)], "old").unwrap().published();
    assert_ne!(tag, other.1);
    assert_eq!(ring.published(), (text, tag));
    assert_eq!(Keyring::default().published().0, r#"{"keys":[]}"#);
    assert!(Keyring::default().signing().is_none());
}

#[test]
fn keys_that_cannot_be_told_apart_or_are_not_there_are_refused() {
    let text = made(&PKCS_ED25519);
    let read = |id: &str| SigningKey::from_pem(id, text.as_bytes()).unwrap();

    assert_eq!(Keyring::new(vec![read("a"), read("b")], "a").unwrap_err(), KeyringFault::Twice("a".into(), "b".into()));
    assert_eq!(Keyring::new(vec![read("a"), key("a", &PKCS_ED25519)], "a").unwrap_err(), KeyringFault::Twice("a".into(), "a".into()));
    assert_eq!(Keyring::new(vec![read("a")], "b").unwrap_err(), KeyringFault::Unknown("b".into()));
    assert_eq!(Keyring::new(Vec::new(), "b").unwrap_err(), KeyringFault::Unknown("b".into()));
    assert_eq!(&*Keyring::new(vec![read("a"), key("b", &PKCS_ED25519)], "b").unwrap().signing().unwrap().id, "b");
    assert_eq!(format!("{:?}", read("a")), "SigningKey { id: \"a\", algorithm: \"EdDSA\", .. }");
}
