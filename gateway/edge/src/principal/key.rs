//! Keys that sign who calls, and their public halves for services.

use std::fmt;

use aws_lc_rs::{
    digest,
    error::Unspecified,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not the form that is read.
    #[error("it is not one private key in PKCS #8 form (`-----BEGIN PRIVATE KEY-----`); `openssl pkcs8 -topk8 -nocrypt` makes that form of others")]
    Form,
    /// Not a kind that is known here.
    #[error("it is neither an Ed25519 nor a P-256 key; `openssl genpkey -algorithm ed25519` makes one")]
    Kind,
}

/// What is wrong with keys together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringFault {
    /// The one to sign with is not there.
    #[error("there is no key `{0}` to sign with")]
    Unknown(Box<str>),
    /// Two names for one key, or one name for two.
    #[error("keys `{0}` and `{1}` are one key, or have one name")]
    Twice(Box<str>, Box<str>),
}

/// A key with the name that services know it by.
pub struct SigningKey {
    id: Box<str>,
    pair: Pair,
    /// The head of its tokens, encoded, with the dot.
    head: Box<str>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a private key: Ed25519 or P-256, in PKCS #8 form (RFC 5958), PEM.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_pem(id: &str, pem: &[u8]) -> Result<Self, KeyFault> {
        let mut found = PrivatePkcs8KeyDer::pem_slice_iter(pem);
        let (Some(Ok(key)), None) = (found.next(), found.next()) else { return Err(KeyFault::Form) };
        let der = key.secret_pkcs8_der();
        let by_curve = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Pair::P256);
        let pair = Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519).or_else(|_| by_curve()).map_err(|_| KeyFault::Kind)?;
        let mut key = Self { id: id.into(), pair, head: Box::default() };
        let head = json!({ "alg": key.algorithm(), "typ": "cw+jwt", "kid": id }).to_string();
        key.head = format!("{}.", BASE64URL_NOPAD.encode(head.as_bytes())).into();
        Ok(key)
    }

    /// RFC 8037 section 3.1, RFC 7518 section 3.4.
    const fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
        }
    }

    /// A token (RFC 7515 section 3.1) with these claims.
    pub(super) fn token(&self, claims: &[u8]) -> Result<String, Unspecified> {
        let mut token = String::with_capacity(self.head.len() + claims.len() * 4 / 3 + 92);
        token.push_str(&self.head);
        BASE64URL_NOPAD.encode_append(claims, &mut token);
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(token.as_bytes()),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), token.as_bytes())?,
        };
        token.push('.');
        BASE64URL_NOPAD.encode_append(signature.as_ref(), &mut token);
        Ok(token)
    }

    fn public(&self) -> &[u8] {
        match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::P256(pair) => pair.public_key().as_ref(),
        }
    }

    /// Its public half (RFC 7517 section 4).
    fn jwk(&self) -> Value {
        let (id, alg, public) = (&self.id, self.algorithm(), self.public());
        match self.pair {
            Pair::Ed25519(_) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "alg": alg, "x": BASE64URL_NOPAD.encode(public) }),
            // An uncompressed point: 4, then both coordinates (SEC 1 section 2.3.3).
            Pair::P256(_) => {
                let (x, y) = public.get(1..).and_then(|point| point.split_at_checked(32)).unwrap_or_default();
                let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": alg, "x": x, "y": y })
            }
        }
    }
}

/// The keys of a node: all are published, one signs.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Box<[SigningKey]>,
    signing: usize,
}

impl Keyring {
    /// Joins keys.
    ///
    /// # Errors
    /// When the one to sign with is not among them, or when one is there twice.
    pub fn new(keys: Vec<SigningKey>, signing: &str) -> Result<Self, KeyringFault> {
        for (position, key) in keys.iter().enumerate() {
            let same = keys.iter().take(position).find(|other| other.id == key.id || other.public() == key.public());
            if let Some(other) = same {
                return Err(KeyringFault::Twice(other.id.clone(), key.id.clone()));
            }
        }
        let signing = keys.iter().position(|key| *key.id == *signing).ok_or_else(|| KeyringFault::Unknown(signing.into()))?;
        Ok(Self { keys: keys.into(), signing })
    }

    /// The key that signs; `None` on a node without keys.
    pub fn signing(&self) -> Option<&SigningKey> {
        self.keys.get(self.signing)
    }

    /// The key set for services (RFC 7517 section 5), and a digest that tells it from others.
    pub fn published(&self) -> (String, String) {
        let set = json!({ "keys": self.keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() }).to_string();
        let tag = BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, set.as_bytes()).as_ref());
        (set, tag)
    }
}

#[cfg(test)]
mod tests;
