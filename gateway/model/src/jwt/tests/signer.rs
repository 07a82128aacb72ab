//! Keys made for one run, and their public halves as key sets have them.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use super::Algorithm;

pub(super) struct Signer {
    pub(super) key_id: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Curve(&'static str, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Signer {
    pub(super) fn rsa(key_id: &'static str) -> Self {
        Self { key_id, pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub(super) fn p256(key_id: &'static str) -> Self {
        Self { key_id, pair: Pair::Curve("P-256", EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    pub(super) fn p384(key_id: &'static str) -> Self {
        Self { key_id, pair: Pair::Curve("P-384", EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()) }
    }

    pub(super) fn ed(key_id: &'static str) -> Self {
        Self { key_id, pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(super) fn secret(key_id: &'static str, secret: &[u8]) -> Self {
        Self { key_id, pair: Pair::Secret(secret.to_vec()) }
    }

    /// Signs as this kind of key does; only keys that know several ways look at the algorithm.
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding(algorithm), &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Curve(_, pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Secret(secret) => {
                let hashes = [(Algorithm::Hs384, hmac::HMAC_SHA384), (Algorithm::Hs512, hmac::HMAC_SHA512)];
                let hash = hashes.iter().find(|(known, _)| *known == algorithm).map_or(hmac::HMAC_SHA256, |(_, hash)| *hash);
                hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
            }
        }
    }

    /// The public key as the library exports it: PKCS#1, a point, or 32 bytes.
    pub(super) fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Curve(_, pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Secret(secret) => secret.clone(),
        }
    }

    /// The key as an entry of a key set.
    pub(super) fn jwk(&self) -> Value {
        let public = self.public();
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) =
                    (jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(pair.public_key().as_ref())
                        .unwrap();
                json!({ "kty": "RSA", "n": text(&n), "e": text(&e) })
            }
            Pair::Curve(curve, _) => {
                let (x, y) = public[1..].split_at(public.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Pair::Ed(_) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&public) }),
            Pair::Secret(secret) => json!({ "kty": "oct", "k": text(secret) }),
        };
        jwk["kid"] = json!(self.key_id);
        jwk
    }

    /// The public key as one PEM section `PUBLIC KEY`, with an encoder that shares nothing with the reader.
    pub(super) fn pem(&self) -> String {
        let der = match &self.pair {
            Pair::Rsa(pair) => spki(&[&[0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1], &[5, 0]], pair.public_key().as_ref()),
            Pair::Curve("P-256", pair) => {
                spki(&[&[6, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1], &[6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7]], pair.public_key().as_ref())
            }
            Pair::Curve(_, pair) => spki(&[&[6, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1], &[6, 5, 0x2B, 0x81, 4, 0, 0x22]], pair.public_key().as_ref()),
            Pair::Ed(pair) => spki(&[&[6, 3, 0x2B, 0x65, 0x70]], pair.public_key().as_ref()),
            Pair::Secret(_) => panic!("a secret has no public half"),
        };
        pem("PUBLIC KEY", &der)
    }
}

/// One section of PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<String> = BASE64.encode(der).as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A `SubjectPublicKeyInfo` of these algorithm parts and this key.
pub(super) fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    der(0x30, &[der(0x30, &algorithm.concat()), der(0x03, &bits)].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match length {
        [0, short @ 0..=127] => vec![tag, short],
        [0, one] => vec![tag, 0x81, one],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

fn encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    let others: [(Algorithm, &'static dyn RsaEncoding); 5] = [
        (Algorithm::Rs384, &RSA_PKCS1_SHA384),
        (Algorithm::Rs512, &RSA_PKCS1_SHA512),
        (Algorithm::Ps256, &RSA_PSS_SHA256),
        (Algorithm::Ps384, &RSA_PSS_SHA384),
        (Algorithm::Ps512, &RSA_PSS_SHA512),
    ];
    others.into_iter().find(|(known, _)| *known == algorithm).map_or(&RSA_PKCS1_SHA256, |(_, encoding)| encoding)
}
