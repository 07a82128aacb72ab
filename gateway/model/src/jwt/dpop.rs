//! Proofs of possession (`DPoP`): what the sender of a bound token signs anew for each request, with the key that the token is bound to.
//!
//! [`verify`] says that the proof holds, is for this request and this token, and was made just now. Whether its key is the token's
//! ([`Proved::thumbprint`]) and whether it was used before ([`Proved::id`]) is for the caller to look at.
//!
//! # Source
//! RFC 9449 §4.2 and §4.3, RFC 7638 §3, RFC 8037 §2.

use std::ops::RangeInclusive;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;

use super::{
    algorithm::Algorithm,
    issuer::claims,
    keys::HeaderKey,
    object::{Object, text_of},
    rejection::Reason,
    token::Draft,
};
use crate::{host, path, time::UtcMicros};

/// The algorithms that proofs may be signed with, as `algs` of a challenge has them: all with public keys.
pub const ALGORITHMS: [Algorithm; 5] = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// How long ago a proof may have been made: slow networks and clocks that are behind.
pub const AGE_SECONDS_MAX: i64 = 60;

/// How far ahead of ours the client's clock may be.
pub const AHEAD_SECONDS_MAX: i64 = 5;

/// The type of proofs; other tokens of the same key are none.
const TYPE: &str = "dpop+jwt";

/// A UUID has 36 bytes, 96 random bits in base64url 16.
const ID_BYTES: RangeInclusive<usize> = 1..=128;

crate::faults::faults! {
    /// Why a proof is none. It is for operators: a client is told the same for each of them.
    pub enum Fault {
        Missing = "dpop-missing", "there is no proof, or more than one";
        Malformed = "dpop-malformed", "the proof is not a JSON Web Token with one reading";
        TypeWrong = "dpop-type-wrong", "the proof's typ is not dpop+jwt";
        AlgorithmRefused = "dpop-algorithm-refused", "the proof's algorithm is not one of those for proofs";
        KeyInvalid = "dpop-key-invalid", "the proof's jwk is no public key that fits its algorithm";
        SignatureInvalid = "dpop-signature-invalid", "the proof's signature does not hold";
        IdInvalid = "dpop-id-invalid", "the proof's jti is no text of 1 to 128 bytes without control characters";
        MethodWrong = "dpop-method-wrong", "the proof is for another method";
        UriWrong = "dpop-uri-wrong", "the proof is for another address";
        DateWrong = "dpop-date-wrong", "the proof was not made just now";
        TokenWrong = "dpop-token-wrong", "the proof is for another token";
    }
}

/// The request that a proof came with, as its client addressed it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// The method.
    pub method: &'r str,
    /// Host and port, as the request names them.
    pub authority: &'r str,
    /// The path in normal form.
    pub path: &'r str,
    /// The token beside the proof.
    pub token: &'r str,
}

/// What a proof that holds proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proved {
    /// The key that it was signed with, as `jkt` names it.
    pub thumbprint: [u8; 32],
    /// The proof itself among all of all keys: half a hash of the key and `jti`. Nobody finds a second text for the id of another's proof.
    pub id: u128,
}

/// Holds a proof against its request. It is over https: nothing else is served.
///
/// # Errors
/// The first [`Fault`], from the outside in: form, key, signature, and only then what it says.
pub fn verify(text: &str, asked: Asked<'_>, now: UtcMicros) -> Result<Proved, Fault> {
    let proof = Draft::read(text).map_err(of_form)?;
    if proof.ty.as_deref() != Some(TYPE) {
        return Err(Fault::TypeWrong);
    }
    if !ALGORITHMS.contains(&proof.algorithm) {
        return Err(Fault::AlgorithmRefused);
    }
    let jwk = proof.header.get("jwk").and_then(|jwk| Object::read_walked(jwk.get()).ok()).ok_or(Fault::KeyInvalid)?;
    let key = HeaderKey::read(&jwk, proof.algorithm).map_err(|_| Fault::KeyInvalid)?;
    if !key.verifies(proof.signed, proof.signature) {
        return Err(Fault::SignatureInvalid);
    }
    let claims = &proof.claims;
    let claim = |name: &str| claims.get(name).and_then(text_of);
    let id = claim("jti").filter(|id| ID_BYTES.contains(&id.len()) && !id.chars().any(char::is_control)).ok_or(Fault::IdInvalid)?;
    if claim("htm").as_deref() != Some(asked.method) {
        return Err(Fault::MethodWrong);
    }
    if !claim("htu").is_some_and(|uri| is_same_uri(&uri, asked)) {
        return Err(Fault::UriWrong);
    }
    let made_at = claims::date(claims, "iat").ok().flatten().ok_or(Fault::DateWrong)?;
    if made_at < now.plus_seconds(-AGE_SECONDS_MAX) || made_at > now.plus_seconds(AHEAD_SECONDS_MAX) {
        return Err(Fault::DateWrong);
    }
    if claim("ath").as_deref() != Some(&*BASE64URL_NOPAD.encode(digest(&SHA256, asked.token.as_bytes()).as_ref())) {
        return Err(Fault::TokenWrong);
    }
    let thumbprint = thumbprint(&jwk).ok_or(Fault::KeyInvalid)?;
    Ok(Proved { thumbprint, id: proof_id(&thumbprint, &id) })
}

/// An algorithm that is not known here is none for proofs; the rest is about the form.
fn of_form(reason: Reason) -> Fault {
    if matches!(reason, Reason::AlgorithmUnknown | Reason::AlgorithmNone) { Fault::AlgorithmRefused } else { Fault::Malformed }
}

/// Whether `htu` names what was asked for: scheme, host and port, and path, each in normal form (RFC 3986 §6.2.2 and §6.2.3). Queries and
/// fragments count for nothing on either side (RFC 9449 §4.3, check 9).
fn is_same_uri(uri: &str, asked: Asked<'_>) -> bool {
    const SCHEME: &str = "https://";
    let Some(rest) = uri.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME)).and_then(|_| uri.get(SCHEME.len()..)) else {
        return false;
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_same_place = origin(authority).is_some_and(|named| origin(asked.authority).is_some_and(|meant| named == meant));
    is_same_place && path::normalize(if path.is_empty() { "/" } else { path }).is_ok_and(|path| path == asked.path)
}

/// Host and port, the one of the scheme where none is named.
fn origin(authority: &str) -> Option<(host::Host<'_>, u16)> {
    let host = host::normalize(authority)?;
    let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    let port = behind.rsplit_once(':').map_or("", |(_, port)| port);
    Some((host, if port.is_empty() { 443 } else { port.parse().ok()? }))
}

/// RFC 7638 §3: the members that make the key, in the order of their names, without blanks. Their values were held against what they
/// mean, so none needs an escape, and each has one text only.
fn thumbprint(jwk: &Object) -> Option<[u8; 32]> {
    let member = |name: &str| jwk.text(name, ()).ok().flatten();
    let names: &[&str] = match &*member("kty")? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members = names.iter().map(|name| Some(format!("\"{name}\":\"{}\"", member(name)?))).collect::<Option<Vec<_>>>()?;
    digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()).as_ref().try_into().ok()
}

fn proof_id(thumbprint: &[u8; 32], id: &str) -> u128 {
    let whole = digest(&SHA256, &[thumbprint, id.as_bytes()].concat());
    whole.as_ref().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}
