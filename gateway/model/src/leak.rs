//! Who may report leaked keys: secret scanners, by the signatures of their reports.
//!
//! # Source
//! The secret-scanning partner protocol of GitHub: ECDSA P-256 with SHA-256 over the body as it came, DER in base64.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use data_encoding::BASE64;
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

use crate::jwt::{
    algorithm::Algorithm,
    keys::{KeySet, Refused, StaticKey},
};

/// The longest signature that is looked at, in characters: 72 bytes of DER at most.
const SIGNATURE_MAX: usize = 128;

/// One key of a reporter.
#[derive(Clone)]
pub struct ReporterKey {
    id: Box<str>,
    spki: Box<[u8]>,
}

impl fmt::Debug for ReporterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReporterKey({})", self.id)
    }
}

impl ReporterKey {
    /// Reads a public key from PEM.
    ///
    /// # Errors
    /// When it is anything but one P-256 public key.
    pub fn from_pem(id: &str, pem: &str) -> Result<Self, Refused> {
        // The rules for keys of token issuers are the same: one section, P-256, a point on its curve.
        KeySet::from_static(&[StaticKey { key_id: Some(id), algorithm: Algorithm::Es256, pem }])?;
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map(|der| der.as_ref().into()).unwrap_or_default();
        Ok(Self { id: id.into(), spki })
    }
}

/// Somebody whose reports are believed to come from them; what they report is checked all the same.
#[derive(Debug, Clone)]
pub struct Reporter {
    name: Box<str>,
    keys: Box<[ReporterKey]>,
}

impl Reporter {
    /// A reporter with all keys that it may sign with now.
    pub fn new(name: &str, keys: Vec<ReporterKey>) -> Self {
        Self { name: name.into(), keys: keys.into() }
    }

    /// Its name, in URLs and records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a body was signed by the key of this id.
    pub fn has_signed(&self, key_id: &str, signature: &str, body: &[u8]) -> bool {
        let Some(key) = self.keys.iter().find(|key| *key.id == *key_id) else { return false };
        let Some(signature) = Some(signature).filter(|text| text.len() <= SIGNATURE_MAX).and_then(|text| BASE64.decode(text.as_bytes()).ok()) else {
            return false;
        };
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.spki).verify(body, &signature).is_ok()
    }
}

#[cfg(test)]
mod tests;
