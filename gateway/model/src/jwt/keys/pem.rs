//! Public keys from PEM: one `SubjectPublicKeyInfo`, recognized by its exact first bytes.
//!
//! DER has one encoding for each key, so a comparison does what a parser would. Only RSA has a length that varies.
//!
//! # Source
//! RFC 7468 §13, RFC 5280 §4.1.2.7, RFC 3279 §2.3.1, RFC 5480 §2.1.1, RFC 8410 §4.

use rustls_pki_types::pem::{PemObject, SectionKind};

use super::{Draft, KeyFault, StaticKey, material, read_key_id};
use crate::jwt::algorithm::{Algorithms, Family};

/// An RSA key of 8,192 bits is 1.5 KiB of PEM.
const PEM_BYTES_MAX: usize = 16 * 1024;

const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03,
    0x42, 0x00,
];
const P384: [u8; 23] =
    [0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00];
const ED25519: [u8; 12] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What stands behind the outer length, which is two bytes for every modulus that is allowed.
const RSA: [u8; 15] = [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Reads a key. The id is there also when the key cannot be used.
pub(super) fn read(key: &StaticKey<'_>) -> (Option<Box<str>>, Result<Draft, KeyFault>) {
    match read_key_id(key.key_id.map(str::to_owned)) {
        Ok(key_id) => (key_id, draft(key)),
        Err(fault) => (None, Err(fault)),
    }
}

fn draft(key: &StaticKey<'_>) -> Result<Draft, KeyFault> {
    let public = public(&section(key.pem)?)?;
    if key.algorithm.family() != public.family {
        return Err(KeyFault::AlgorithmUnfit);
    }
    let algorithms = Algorithms::new(&[key.algorithm]).map_err(|_| KeyFault::AlgorithmUnfit)?;
    Ok(Draft { algorithms, material: public.key })
}

/// The one section of the text. A file with a private key in it is refused also when the public one stands beside it.
fn section(pem: &str) -> Result<Vec<u8>, KeyFault> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(KeyFault::PemInvalid);
    }
    let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> = PemObject::pem_slice_iter(pem.as_bytes()).collect();
    let sections = sections.map_err(|_| KeyFault::PemInvalid)?;
    let is_private = |kind: &SectionKind| matches!(kind, SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey);
    if sections.iter().any(|(kind, _)| is_private(kind)) {
        return Err(KeyFault::PrivateKey);
    }
    match <[_; 1]>::try_from(sections) {
        Ok([(SectionKind::PublicKey, der)]) => Ok(der),
        Ok(_) | Err(_) => Err(KeyFault::PemInvalid),
    }
}

fn public(der: &[u8]) -> Result<material::Public, KeyFault> {
    if let Some(point) = der.strip_prefix(&P256) {
        return material::point(Family::P256, point);
    }
    if let Some(point) = der.strip_prefix(&P384) {
        return material::point(Family::P384, point);
    }
    if let Some(x) = der.strip_prefix(&ED25519) {
        return material::edwards(x);
    }
    let Some(([0x30, 0x82, high, low], content)) = der.split_first_chunk() else { return Err(KeyFault::EncodingUnknown) };
    if content.len() != usize::from(u16::from_be_bytes([*high, *low])) || !content.starts_with(&RSA) {
        return Err(KeyFault::EncodingUnknown);
    }
    let components = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key;
    let (n, e) = components(der).map_err(|_| KeyFault::EncodingUnknown)?;
    material::rsa(&n, &e)
}
