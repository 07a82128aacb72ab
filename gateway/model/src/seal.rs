//! Sealing bytes for the disk: AES-256-GCM, with the purpose and version bound in.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::secret::SecretKey;

const MAGIC: &[u8; 8] = b"CWSEAL01";

/// The bytes are not a seal of this purpose under this key, or were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open: another key, another purpose, or altered")]
pub struct SealError;

/// Seals `plain` for a purpose. The nonce must be fresh random bytes: at most 2^32 seals under one key.
///
/// # Errors
/// [`SealError`] when the cipher refuses, which valid sizes never do.
pub fn seal(key: &SecretKey, purpose: &str, nonce: [u8; NONCE_LEN], mut plain: Vec<u8>) -> Result<Vec<u8>, SealError> {
    let cipher = cipher(key)?;
    cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut plain).map_err(|_| SealError)?;
    let mut out = Vec::with_capacity(MAGIC.len() + NONCE_LEN + plain.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&nonce);
    out.append(&mut plain);
    Ok(out)
}

/// Opens what [`seal`] made for the same purpose.
///
/// # Errors
/// [`SealError`].
pub fn open(key: &SecretKey, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let rest = sealed.strip_prefix(MAGIC).ok_or(SealError)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError)?;
    let mut body = body.to_vec();
    let plain = cipher(key)?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose.as_bytes()), &mut body).map_err(|_| SealError)?;
    let len = plain.len();
    body.truncate(len);
    Ok(body)
}

fn cipher(key: &SecretKey) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key.expose_secret()).map(LessSafeKey::new).map_err(|_| SealError)
}
