use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

use super::*;

/// The first bytes of a P-256 public key as X.509 writes it (RFC 5480 section 2.1.1).
const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

fn signer() -> (EcdsaKeyPair, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let mut spki = data_encoding::HEXLOWER.decode(P256.as_bytes()).unwrap();
    spki.extend_from_slice(pair.public_key().as_ref());
    (pair, format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&spki)))
}

fn signed(pair: &EcdsaKeyPair, body: &[u8]) -> String {
    BASE64.encode(pair.sign(&SystemRandom::new(), body).unwrap().as_ref())
}

#[test]
fn a_report_is_believed_when_the_named_key_has_signed_it_as_it_came() {
    let ((pair, pem), (other, other_pem)) = (signer(), signer());
    let keys = vec![ReporterKey::from_pem("one", &pem).unwrap(), ReporterKey::from_pem("two", &other_pem).unwrap()];
    let reporter = Reporter::new("github", keys);
    let body = br#"[{"token":"x"}]"#;
    let signature = signed(&pair, body);

    assert!(reporter.has_signed("one", &signature, body));
    assert!(reporter.has_signed("two", &signed(&other, body), body));
    for (key, signature, body) in [
        ("two", signature.as_str(), &body[..]),
        ("three", &signature, body),
        ("", &signature, body),
        ("one", &signature, b"[]"),
        ("one", "", body),
        ("one", "AAAA", body),
        ("one", &signature[..signature.len() - 4], body),
        ("one", &"A".repeat(4_096), body),
        ("one", &format!("{signature}\n"), body),
    ] {
        assert!(!reporter.has_signed(key, signature, body), "{key} {signature}");
    }
}

#[test]
fn only_a_public_key_of_p_256_is_a_reporters() {
    let (_, pem) = signer();

    for bad in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", &pem.replace("PUBLIC", "PRIVATE"), &pem.repeat(2)] {
        assert!(ReporterKey::from_pem("one", bad).is_err(), "{bad}");
    }
}
