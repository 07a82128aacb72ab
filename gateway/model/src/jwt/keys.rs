//! The keys of one issuer: from a JSON Web Key Set or from PEM files, each with the algorithms that it may be used with.
//!
//! **Why no token can choose how it is checked.** The operator lists the issuer's algorithms, and a list has secrets or
//! public keys, never both ([`Algorithms`]). A key takes from that list what fits its type, and `alg` in the key narrows
//! that to one. For elliptic curves the type leaves one algorithm anyway. An RSA key without `alg` is left with what the operator
//! listed of RS* and PS*, and the token says which of these it uses. That is no confusion: each of them needs the private key to
//! make a signature, the library is told one padding and one hash and checks exactly that, and an RSA key is never anything but an
//! RSA key. RFC 8725 §3.1 asks for one algorithm for each key: list one, or take an issuer whose keys have `alg`.
//!
//! # Source
//! RFC 7517, RFC 7518 §3 and §6, RFC 8037 §2, RFC 8725 §3.1 to §3.5.

mod jwk;
mod material;
mod pem;

use std::fmt;

use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::DecodingKey;
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

use super::{
    algorithm::{Algorithm, Algorithms},
    object::{Fault, Limits, List, Object, list_of},
    rejection::{Reason, Rejection},
    token::key_id,
};

/// 256 KiB: fifty keys with their certificates are 100 KiB.
const SET_BYTES_MAX: usize = 256 * 1024;

/// Issuers publish two to ten.
const KEYS_MAX: usize = 50;

/// A set, its list, a key and a list in that; two to spare for members that nobody knows.
const SET_LIMITS: Limits = Limits { depth_max: 6, members_max: 2_000 };

/// The usable keys of an issuer, and what was wrong with the others.
pub struct KeySet {
    keys: Box<[Key]>,
    refused: Box<[Refused]>,
}

/// A key of a set that is not used, for the operator to see. The others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the set, from 0.
    pub position: usize,
    /// Its id, if it has one that is an id.
    pub key_id: Option<Box<str>>,
    /// Why.
    pub fault: KeyFault,
}

/// Why a set as a whole is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetFault {
    /// More than 256 KiB.
    #[error("the key set is longer than 256 KiB")]
    TooLong,
    /// Not a JSON object, or one with duplicate members, nested deeper than six levels, or with more than 2,000 members.
    #[error("the key set is not a plain JSON object")]
    Malformed,
    /// There is no list `keys`.
    #[error("the key set has no list of keys")]
    KeysMissing,
    /// More than 50 keys.
    #[error("the key set has more than 50 keys")]
    TooManyKeys,
    /// Secrets stand beside public keys: a set with secrets is not for publishing, so something is badly wrong.
    #[error("the key set mixes secrets with public keys")]
    Mixed,
}

/// Why a key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyFault {
    /// An entry of the set is not an object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// `kty` is missing or another one than RSA, EC, OKP and oct.
    #[error("its type is not known")]
    TypeUnknown,
    /// Members of a private key are there. Whoever can read the set can sign: tell the issuer at once.
    #[error("it is a private key, and must be taken for known to everybody")]
    PrivateKey,
    /// `kid` is no text of 1 to 256 bytes without control characters.
    #[error("its id is not valid")]
    KeyIdInvalid,
    /// Another key has the same id.
    #[error("another key has the same id")]
    KeyIdDuplicate,
    /// `use` is not `sig`.
    #[error("it is not for signatures")]
    UseOther,
    /// `key_ops` has no `verify`.
    #[error("it is not for verifying")]
    OperationsOther,
    /// A member that the type needs is missing, or not canonical base64url.
    #[error("a member is missing or malformed")]
    MemberInvalid,
    /// The curve is not P-256, P-384 or Ed25519.
    #[error("its curve is not known")]
    CurveUnknown,
    /// The point is not on the curve, or its coordinates have another length.
    #[error("its point is not on its curve")]
    PointInvalid,
    /// The modulus has fewer than 2048 or more than 8192 bits, is even, or starts with a zero byte.
    #[error("its modulus has not 2048 to 8192 bits, or is malformed")]
    ModulusInvalid,
    /// The exponent is even, below 65537, or has more than 32 bits.
    #[error("its exponent is not an odd number from 65537 to 32 bits")]
    ExponentInvalid,
    /// It is a secret, and the issuer's algorithms are for public keys.
    #[error("it is a secret, and the issuer's algorithms are for public keys")]
    SecretRefused,
    /// The secret is shorter than the hash.
    #[error("the secret is shorter than the hash")]
    SecretTooShort,
    /// `alg` names an algorithm that the gateway does not know.
    #[error("its algorithm is not known")]
    AlgorithmUnknown,
    /// `alg` does not fit the type or the curve.
    #[error("its algorithm does not fit its type")]
    AlgorithmUnfit,
    /// No algorithm that fits is one of the issuer's.
    #[error("its algorithm is not one of the issuer's")]
    AlgorithmOther,
    /// The text is not exactly one PEM section `PUBLIC KEY`.
    #[error("it is not one section PUBLIC KEY of PEM")]
    PemInvalid,
    /// The key in the PEM section is none that the gateway knows.
    #[error("it is not a key of RSA, P-256, P-384 or Ed25519")]
    EncodingUnknown,
}

/// A public key as an operator writes it.
#[derive(Debug, Clone, Copy)]
pub struct StaticKey<'a> {
    /// The id that tokens name it by. Without one it serves tokens that name no key.
    pub key_id: Option<&'a str>,
    /// The one algorithm that it is used with.
    pub algorithm: Algorithm,
    /// One PEM section `PUBLIC KEY` (a `SubjectPublicKeyInfo`).
    pub pem: &'a str,
}

/// A usable key.
pub(super) struct Key {
    pub(super) id: Option<Box<str>>,
    algorithms: Algorithms,
    material: DecodingKey,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys that cannot be used do not spoil the others.
    ///
    /// # Errors
    /// [`SetFault`], when the set as a whole cannot be taken.
    pub fn from_jwks(text: &str, accepted: Algorithms) -> Result<Self, SetFault> {
        if text.len() > SET_BYTES_MAX {
            return Err(SetFault::TooLong);
        }
        let set = Object::read(text.as_bytes(), SET_LIMITS).map_err(|_| SetFault::Malformed)?;
        let list = set.get("keys").ok_or(SetFault::KeysMissing)?;
        let entries = match list_of(list, KEYS_MAX) {
            List::Values(entries) => entries,
            List::TooMany => return Err(SetFault::TooManyKeys),
            List::Other => return Err(SetFault::KeysMissing),
        };
        let entries: Vec<Result<Object, Fault>> = entries.into_iter().map(|entry| Object::read_walked(entry.get())).collect();
        let n_secret = entries.iter().flatten().filter(|entry| jwk::is_secret(entry)).count();
        if n_secret != 0 && n_secret != entries.len() {
            return Err(SetFault::Mixed);
        }
        Ok(Self::collect(entries.iter().map(|entry| match entry {
            Ok(entry) => jwk::read(entry, accepted),
            Err(_) => (None, Err(KeyFault::NotAnObject)),
        })))
    }

    /// Reads public keys from PEM.
    ///
    /// # Errors
    /// The first key that cannot be used: an operator wrote it, so it is a mistake.
    pub fn from_static(keys: &[StaticKey<'_>]) -> Result<Self, Refused> {
        let set = Self::collect(keys.iter().map(pem::read));
        match set.refused.first() {
            Some(refused) => Err(refused.clone()),
            None => Ok(set),
        }
    }

    fn collect(entries: impl Iterator<Item = (Option<Box<str>>, Result<Draft, KeyFault>)>) -> Self {
        let entries: Vec<_> = entries.collect();
        let ids: Vec<_> = entries.iter().map(|(key_id, _)| key_id.clone()).collect();
        let (mut keys, mut refused) = (Vec::new(), Vec::new());
        for (position, (key_id, draft)) in entries.into_iter().enumerate() {
            let is_duplicate = key_id.is_some() && ids.iter().filter(|other| **other == key_id).count() > 1;
            let fault = match draft {
                Err(fault) => fault,
                // All of them: which one an issuer meant cannot be known, and an attacker may have added one.
                Ok(_) if is_duplicate => KeyFault::KeyIdDuplicate,
                Ok(draft) => {
                    keys.push(Key { id: key_id, algorithms: draft.algorithms, material: draft.material });
                    continue;
                }
            };
            refused.push(Refused { position, key_id, fault });
        }
        Self { keys: keys.into(), refused: refused.into() }
    }

    /// How many keys can be used.
    pub fn n_usable(&self) -> usize {
        self.keys.len()
    }

    /// The keys that are not used.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The one key that a token may have been signed with.
    ///
    /// # Errors
    /// [`Rejection::UnknownKey`] when the set has no such id; [`Reason::KeyRefused`], [`Reason::AlgorithmRefused`],
    /// [`Reason::KeyMissing`], [`Reason::KeyAmbiguous`].
    pub(super) fn select(&self, named: Option<&str>, algorithm: Algorithm) -> Result<&Key, Rejection> {
        match named {
            Some(named) => self.find(named, algorithm),
            None => Ok(self.only(algorithm)?),
        }
    }

    fn find(&self, named: &str, algorithm: Algorithm) -> Result<&Key, Rejection> {
        let Some(key) = self.keys.iter().find(|key| key.id.as_deref() == Some(named)) else {
            // A key that is there and refused is refused again when the set is fetched again: no reason to.
            let is_refused = self.refused.iter().any(|refused| refused.key_id.as_deref() == Some(named));
            return Err(if is_refused { Reason::KeyRefused.into() } else { Rejection::UnknownKey { kid: named.into() } });
        };
        if key.algorithms.contains(algorithm) { Ok(key) } else { Err(Reason::AlgorithmRefused.into()) }
    }

    fn only(&self, algorithm: Algorithm) -> Result<&Key, Reason> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(Reason::KeyAmbiguous),
            (None, _) => Err(Reason::KeyMissing),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("n_usable", &self.keys.len()).field("refused", &self.refused).finish()
    }
}

impl Key {
    /// Whether `signature`, as base64url, is this key's over `signed`.
    ///
    /// The library takes the algorithm from us: it sees neither the header nor the payload. An error of the library is a no.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.algorithms.contains(algorithm)
            && matches!(jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.material, algorithm.library()), Ok(true))
    }
}

/// The public key in the header of a proof, for the one algorithm that the header names.
pub(super) struct HeaderKey(Key, Algorithm);

impl HeaderKey {
    /// Reads it.
    ///
    /// # Errors
    /// [`KeyFault`]; also where members of a private key are there, or where the key does not fit the algorithm.
    pub(super) fn read(jwk: &Object, algorithm: Algorithm) -> Result<Self, KeyFault> {
        let only = Algorithms::new(&[algorithm]).map_err(|_| KeyFault::AlgorithmOther)?;
        let (id, draft) = jwk::read(jwk, only);
        let Draft { algorithms, material } = draft?;
        Ok(Self(Key { id, algorithms, material }, algorithm))
    }

    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        self.0.verifies(self.1, signed, signature)
    }
}

/// Reads one public key from PEM for a signature algorithm of the library, by the rules for keys of issuers.
///
/// # Errors
/// [`KeyFault`].
pub(crate) fn parsed_pem(pem: &str, algorithm: Algorithm, library: &'static dyn VerificationAlgorithm) -> Result<ParsedPublicKey, KeyFault> {
    KeySet::from_static(&[StaticKey { key_id: None, algorithm, pem }]).map_err(|refused| refused.fault)?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyFault::PemInvalid)?;
    ParsedPublicKey::new(library, der.as_ref()).map_err(|_| KeyFault::EncodingUnknown)
}

/// Reads one JSON Web Key for a signature algorithm of the library, by the rules for keys of issuers.
///
/// # Errors
/// [`KeyFault`].
pub(crate) fn parsed_jwk(text: &str, algorithm: Algorithm, library: &'static dyn VerificationAlgorithm) -> Result<ParsedPublicKey, KeyFault> {
    let object = Object::read(text.as_bytes(), SET_LIMITS).map_err(|_| KeyFault::NotAnObject)?;
    HeaderKey::read(&object, algorithm)?;
    jwk::parsed(&object, algorithm, library)
}

/// A key that may become one of a set.
struct Draft {
    algorithms: Algorithms,
    material: DecodingKey,
}

/// Takes an id, if there is one.
fn read_key_id(text: Option<String>) -> Result<Option<Box<str>>, KeyFault> {
    text.map(|text| key_id(text).ok_or(KeyFault::KeyIdInvalid)).transpose()
}
