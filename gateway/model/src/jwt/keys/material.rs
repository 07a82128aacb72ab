//! Numbers and points of public keys, checked once when they are loaded.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use jsonwebtoken::DecodingKey;

use super::KeyFault;
use crate::jwt::algorithm::Family;

/// Below 2,048 bits a modulus is within reach (RFC 7518 §3.3 forbids it); above 8,192 a check costs a core milliseconds.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// FIPS 186-5 §5.1 asks for more than 2^16. Three and its like are what signatures were forged with where padding was checked
/// carelessly (CVE-2006-4339), and no issuer needs them. The upper end, four bytes, bounds what a check costs; nobody uses more
/// than three.
const EXPONENT_MIN: u32 = 65_537;

/// A public key and what it is one of.
pub(super) struct Public {
    pub(super) family: Family,
    pub(super) key: DecodingKey,
}

/// An RSA key. Both numbers are big-endian without a leading zero (RFC 7518 §6.3.1, §2).
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Public, KeyFault> {
    let (Some(first), Some(last)) = (n.first(), n.last()) else { return Err(KeyFault::ModulusInvalid) };
    let n_bits = (n.len() * 8).saturating_sub(first.leading_zeros() as usize);
    if *first == 0 || last % 2 == 0 || !MODULUS_BITS.contains(&n_bits) {
        return Err(KeyFault::ModulusInvalid);
    }
    if e.len() > 4 || e.first().is_none_or(|first| *first == 0) {
        return Err(KeyFault::ExponentInvalid);
    }
    let exponent = e.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    if exponent < EXPONENT_MIN || exponent.is_multiple_of(2) {
        return Err(KeyFault::ExponentInvalid);
    }
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| KeyFault::ModulusInvalid)?;
    Ok(Public { family: Family::Rsa, key: DecodingKey::from_rsa_raw_components(n, e) })
}

/// A key of a NIST curve; each coordinate has its full length (RFC 7518 §6.2.1.2).
pub(super) fn curve(name: &str, x: &[u8], y: &[u8]) -> Result<Public, KeyFault> {
    let (family, bytes) = match name {
        "P-256" => (Family::P256, 32),
        "P-384" => (Family::P384, 48),
        _ => return Err(KeyFault::CurveUnknown),
    };
    if x.len() != bytes || y.len() != bytes {
        return Err(KeyFault::PointInvalid);
    }
    point(family, &[&[4], x, y].concat())
}

/// A point in its uncompressed form. The library checks that it is on the curve and not the neutral element, so that
/// no check of a signature ever computes with another one.
pub(super) fn point(family: Family, point: &[u8]) -> Result<Public, KeyFault> {
    let parsed = match family {
        Family::P256 if point.len() == 65 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
        Family::P384 if point.len() == 97 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
        Family::P256 | Family::P384 | Family::Rsa | Family::Ed25519 | Family::Secret => return Err(KeyFault::PointInvalid),
    };
    if parsed.is_err() || point.first() != Some(&4) {
        return Err(KeyFault::PointInvalid);
    }
    Ok(Public { family, key: DecodingKey::from_ec_der(point) })
}

/// A key of Ed25519.
pub(super) fn edwards(x: &[u8]) -> Result<Public, KeyFault> {
    if x.len() != 32 || ParsedPublicKey::new(&ED25519, x).is_err() {
        return Err(KeyFault::PointInvalid);
    }
    Ok(Public { family: Family::Ed25519, key: DecodingKey::from_ed_der(x) })
}

/// A secret, whose length the caller has checked.
pub(super) fn secret(secret: &[u8]) -> DecodingKey {
    DecodingKey::from_secret(secret)
}
