//! Keys of signers, and signatures by each algorithm.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RSA_PSS_SHA512,
        RsaEncoding, RsaKeyPair,
    },
};

use super::*;
use crate::jwt::keys::KeyFault;

#[test]
fn each_algorithm_verifies_its_own_signatures_and_no_other() {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let by_rsa = |encoding: &'static dyn RsaEncoding, text: &[u8]| {
        let mut out = vec![0; rsa.public_modulus_len()];
        rsa.sign(encoding, &random, text, &mut out).unwrap();
        out
    };
    let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes.strip_prefix(&[0]).unwrap_or(bytes));
    let (n, e) = (rsa.public_key().modulus(), rsa.public_key().exponent());
    let rsa_jwk = json!({ "kty": "RSA", "n": number(n.big_endian_without_leading_zero()), "e": number(e.big_endian_without_leading_zero()) });
    let curve = |name: &str, key: &EcdsaKeyPair| {
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "kty": "EC", "crv": name, "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y) })
    };
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let text = b"text";
    let cases = [
        (Algorithm::RsaPssSha512, rsa_jwk.clone(), by_rsa(&RSA_PSS_SHA512, text)),
        (Algorithm::RsaV15Sha256, rsa_jwk.clone(), by_rsa(&RSA_PKCS1_SHA256, text)),
        (Algorithm::EcdsaP256Sha256, curve("P-256", &p256), p256.sign(&random, text).unwrap().as_ref().to_vec()),
        (Algorithm::EcdsaP384Sha384, curve("P-384", &p384), p384.sign(&random, text).unwrap().as_ref().to_vec()),
    ];
    for (algorithm, jwk, signature) in &cases {
        let key = Key::read(jwk, *algorithm).unwrap();
        for (other, _, foreign) in &cases {
            assert_eq!(key.verifies(text, foreign), other == algorithm, "{algorithm:?} {other:?}");
        }
        assert!(!key.verifies(b"Text", signature));
        assert!(!key.verifies(text, b""));
    }
    let weaker = by_rsa(&RSA_PSS_SHA256, text);
    assert!(!Key::read(&rsa_jwk, Algorithm::RsaPssSha512).unwrap().verifies(text, &weaker), "another hash");
    let short = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
    assert_ne!(short.public_modulus_len(), rsa.public_modulus_len());
}

#[test]
fn keys_that_are_none_are_refused() {
    let key = Ed25519KeyPair::generate().unwrap();
    let x = BASE64URL_NOPAD.encode(key.public_key().as_ref());
    let refused = |written: &Value, algorithm: Algorithm| Key::read(written, algorithm).unwrap_err();
    let ed25519 = |more: Value| {
        let mut jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    };

    assert_eq!(refused(&ed25519(json!({ "d": x })), Algorithm::Ed25519), KeyFault::PrivateKey);
    assert_eq!(refused(&ed25519(json!({ "alg": "ES256" })), Algorithm::Ed25519), KeyFault::AlgorithmUnfit);
    assert_eq!(refused(&ed25519(json!({ "use": "enc" })), Algorithm::Ed25519), KeyFault::UseOther);
    assert_eq!(refused(&ed25519(json!({})), Algorithm::EcdsaP256Sha256), KeyFault::AlgorithmOther);
    assert_eq!(refused(&json!({ "kty": "oct", "k": x }), Algorithm::Ed25519), KeyFault::SecretRefused);
    assert_eq!(refused(&json!("text"), Algorithm::Ed25519), KeyFault::PemInvalid);
    assert_eq!(refused(&json!(1), Algorithm::Ed25519), KeyFault::PemInvalid);
    let modulus = BASE64URL_NOPAD.encode(&[&[0xC1][..], &[7; 127]].concat());
    assert_eq!(refused(&json!({ "kty": "RSA", "n": modulus, "e": "AQAB" }), Algorithm::RsaPssSha512), KeyFault::ModulusInvalid, "1,024 bits");
}

#[test]
fn a_key_is_the_same_by_what_is_written() {
    let key = Ed25519KeyPair::generate().unwrap();
    let other = Ed25519KeyPair::generate().unwrap();

    assert_eq!(signer("a", &key).key, signer("b", &key).key);
    assert_ne!(signer("a", &key).key, signer("a", &other).key);
}
