//! Whose signatures are taken, and by which key.
//!
//! # Source
//! RFC 9421 section 3.3: algorithms. RFC 8017 section 8.1 (RSA-PSS with a salt as long as the hash), RFC 6090 (ECDSA, both numbers side by
//! side), RFC 8032 (Ed25519).

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    digest::{self, SHA256},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512,
        VerificationAlgorithm,
    },
};
use serde_json::Value;

use crate::jwt::{
    algorithm::Algorithm as Jwa,
    keys::{KeyFault, parsed_jwk, parsed_pem},
};

macro_rules! algorithms {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $jwa:ident, $library:ident;)*) => {
        /// A signature algorithm of RFC 9421 with public keys. `hmac-sha256` is none: its secret would stand in the gateway document.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Algorithm { $($(#[$doc])* $variant,)* }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The registered name, as `alg` has it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The same for tokens: which keys it needs is told there.
            const fn of_tokens(self) -> Jwa {
                match self { $(Self::$variant => Jwa::$jwa,)* }
            }

            fn library(self) -> &'static dyn VerificationAlgorithm {
                match self { $(Self::$variant => &$library,)* }
            }
        }
    };
}

algorithms! {
    /// Ed25519.
    Ed25519 = "ed25519", EdDsa, ED25519;
    /// ECDSA over P-256 with SHA-256.
    EcdsaP256Sha256 = "ecdsa-p256-sha256", Es256, ECDSA_P256_SHA256_FIXED;
    /// ECDSA over P-384 with SHA-384.
    EcdsaP384Sha384 = "ecdsa-p384-sha384", Es384, ECDSA_P384_SHA384_FIXED;
    /// RSASSA-PSS with SHA-512.
    RsaPssSha512 = "rsa-pss-sha512", Ps512, RSA_PSS_2048_8192_SHA512;
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaV15Sha256 = "rsa-v1_5-sha256", Rs256, RSA_PKCS1_2048_8192_SHA256;
}

impl Algorithm {
    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }
}

/// A public key for one algorithm.
pub struct Key {
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
    /// What tells whether two are the same.
    digest: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Key {}

impl Key {
    /// Reads a public key: one PEM section `PUBLIC KEY`, or a JSON Web Key.
    ///
    /// # Errors
    /// [`KeyFault`]: what is wrong with it.
    pub fn read(written: &Value, algorithm: Algorithm) -> Result<Self, KeyFault> {
        let parsed = match written {
            Value::String(pem) => parsed_pem(pem, algorithm.of_tokens(), algorithm.library())?,
            Value::Object(_) => parsed_jwk(&written.to_string(), algorithm.of_tokens(), algorithm.library())?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return Err(KeyFault::PemInvalid),
        };
        let whole = format!("{} {written}", algorithm.name());
        Ok(Self { algorithm, parsed, digest: sha256(&[whole.as_bytes()]) })
    }

    /// The one algorithm that it is used with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether a signature over these bytes is this key's.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(signed, signature).is_ok()
    }
}

/// Whose signatures are taken.
#[derive(Debug)]
pub struct Signer {
    /// Its name here, and the `keyid` of its signatures.
    pub name: Arc<str>,
    /// The application that its calls count for.
    pub application: Arc<str>,
    /// By which key they are told.
    pub key: Key,
}

/// A nonce among all of all signers. Names hold no NUL, so no two are hashed alike.
pub(super) fn nonce_id(signer: &str, nonce: &str) -> u128 {
    sha256(&[signer.as_bytes(), b"\0", nonce.as_bytes()]).iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
