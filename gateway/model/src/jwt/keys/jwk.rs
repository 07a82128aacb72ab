//! One JSON Web Key.

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, VerificationAlgorithm};
use data_encoding::BASE64URL_NOPAD;

use super::{Draft, KeyFault, material, read_key_id};
use crate::jwt::{
    algorithm::{Algorithm, Algorithms, Family},
    object::{Object, texts_of},
};

/// RFC 7518 §6.2.2, §6.3.2 and §6.4, RFC 8037 §2: `k` is a secret wherever it stands.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// RFC 7517 §4.3 has eight operations.
const OPERATIONS_MAX: usize = 16;

/// Whether a key is a shared secret, by its type alone.
pub(super) fn is_secret(key: &Object) -> bool {
    matches!(key.text("kty", ()), Ok(Some(ty)) if ty == "oct")
}

/// Reads a key. The id is there also when the key cannot be used.
pub(super) fn read(key: &Object, accepted: Algorithms) -> (Option<Box<str>>, Result<Draft, KeyFault>) {
    match key.text("kid", KeyFault::KeyIdInvalid).and_then(read_key_id) {
        Ok(key_id) => (key_id, draft(key, accepted)),
        Err(fault) => (None, Err(fault)),
    }
}

fn draft(key: &Object, accepted: Algorithms) -> Result<Draft, KeyFault> {
    let ty = key.text("kty", KeyFault::TypeUnknown)?.ok_or(KeyFault::TypeUnknown)?;
    if ty != "oct" && PRIVATE_MEMBERS.iter().any(|name| key.has(name)) {
        return Err(KeyFault::PrivateKey);
    }
    check_purpose(key)?;
    match ty.as_str() {
        "RSA" => public(key, accepted, material::rsa(&bytes(key, "n")?, &bytes(key, "e")?)?),
        "EC" => {
            let curve = key.text("crv", KeyFault::CurveUnknown)?.ok_or(KeyFault::CurveUnknown)?;
            public(key, accepted, material::curve(&curve, &bytes(key, "x")?, &bytes(key, "y")?)?)
        }
        "OKP" => match key.text("crv", KeyFault::CurveUnknown)?.as_deref() {
            Some("Ed25519") => public(key, accepted, material::edwards(&bytes(key, "x")?)?),
            Some(_) | None => Err(KeyFault::CurveUnknown),
        },
        "oct" if accepted.is_secret() => secret(key, accepted, &bytes(key, "k")?),
        "oct" => Err(KeyFault::SecretRefused),
        _ => Err(KeyFault::TypeUnknown),
    }
}

/// A key that [`read`] takes for this algorithm, in the library's own form.
pub(super) fn parsed(key: &Object, algorithm: Algorithm, library: &'static dyn VerificationAlgorithm) -> Result<ParsedPublicKey, KeyFault> {
    let parsed = match algorithm.family() {
        Family::Rsa => {
            let parameters = if algorithm == Algorithm::Ps512 { &RSA_PSS_2048_8192_SHA512 } else { &RSA_PKCS1_2048_8192_SHA256 };
            RsaPublicKeyComponents { n: bytes(key, "n")?, e: bytes(key, "e")? }.to_parsed_public_key(parameters)
        }
        Family::P256 | Family::P384 => ParsedPublicKey::new(library, [&[4][..], &bytes(key, "x")?, &bytes(key, "y")?].concat()),
        Family::Ed25519 => ParsedPublicKey::new(library, bytes(key, "x")?),
        Family::Secret => return Err(KeyFault::SecretRefused),
    };
    parsed.map_err(|_| KeyFault::MemberInvalid)
}

/// `use` and `key_ops` are both optional, and each can forbid.
fn check_purpose(key: &Object) -> Result<(), KeyFault> {
    match key.text("use", KeyFault::UseOther)?.as_deref() {
        Some("sig") | None => {}
        Some(_) => return Err(KeyFault::UseOther),
    }
    let Some(operations) = key.get("key_ops") else { return Ok(()) };
    let operations = texts_of(operations, OPERATIONS_MAX).ok_or(KeyFault::OperationsOther)?;
    if operations.iter().any(|operation| operation == "verify") { Ok(()) } else { Err(KeyFault::OperationsOther) }
}

fn public(key: &Object, accepted: Algorithms, material: material::Public) -> Result<Draft, KeyFault> {
    let algorithms = match named_algorithm(key)? {
        Some(named) if named.family() == material.family => accepted.filter(|algorithm| algorithm == named),
        Some(_) => return Err(KeyFault::AlgorithmUnfit),
        None => accepted.filter(|algorithm| algorithm.family() == material.family),
    };
    Ok(Draft { algorithms: algorithms.ok_or(KeyFault::AlgorithmOther)?, material: material.key })
}

fn secret(key: &Object, accepted: Algorithms, secret: &[u8]) -> Result<Draft, KeyFault> {
    let algorithms = match named_algorithm(key)? {
        Some(named) if named.secret_bytes_min() == 0 => return Err(KeyFault::AlgorithmUnfit),
        Some(named) => accepted.filter(|algorithm| algorithm == named),
        None => Some(accepted),
    };
    let algorithms = algorithms.ok_or(KeyFault::AlgorithmOther)?;
    // A secret that is too short for one of several algorithms still serves the others.
    let algorithms = algorithms.filter(|algorithm| secret.len() >= algorithm.secret_bytes_min()).ok_or(KeyFault::SecretTooShort)?;
    Ok(Draft { algorithms, material: material::secret(secret) })
}

fn named_algorithm(key: &Object) -> Result<Option<Algorithm>, KeyFault> {
    let name = key.text("alg", KeyFault::AlgorithmUnknown)?;
    name.map(|name| Algorithm::parse(&name).ok_or(KeyFault::AlgorithmUnknown)).transpose()
}

fn bytes(key: &Object, name: &str) -> Result<Vec<u8>, KeyFault> {
    let text = key.text(name, KeyFault::MemberInvalid)?.ok_or(KeyFault::MemberInvalid)?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| KeyFault::MemberInvalid)
}
