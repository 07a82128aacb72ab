//! What an issuer says about a token that nobody else can read.
//!
//! An answer is read once ([`Answer::read`]) and may be kept for a short while. It is held against an issuer's rules each time ([`judge`]), like the
//! claims of a token whose signature holds.
//!
//! # Source
//! RFC 7662 §2.2 and §4, RFC 6750 §2.1.

use std::fmt;

use super::{
    issuer::{Rules, Verified, claims::Ends},
    object::{Limits, Object},
    rejection::Reason,
};
use crate::time::UtcMicros;

/// The longest token that is asked about: half of what a JSON Web Token may have. Those that stand for something else are 20 to 200 bytes.
const TOKEN_BYTES_MAX: usize = 4 << 10;

/// The longest answer: ten times one with many scopes and claims.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// As for the payload of a token.
const ANSWER_LIMITS: Limits = Limits { depth_max: 8, members_max: 256 };

/// Whether a text is no JSON Web Token with a signature, so that only its issuer can tell what it is.
pub fn is_opaque(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() != 2
}

/// Whether a text can be asked about: a `b64token`, not too long.
pub fn is_askable(text: &str) -> bool {
    let letters = text.trim_end_matches('=');
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !letters.is_empty() && text.len() <= TOKEN_BYTES_MAX && letters.bytes().all(is_letter)
}

/// What an issuer said.
pub enum Answer {
    /// The token is good, and this is about it.
    Active(Claims),
    /// It is not, and nothing more is said (RFC 7662 §2.2).
    Inactive,
}

/// What an issuer said about a good token.
pub struct Claims {
    members: Object,
    bytes: usize,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More than 64 KiB.
    #[error("the answer is longer than 64 KiB")]
    TooLong,
    /// Not a JSON object, or one with duplicate members, nested deeper than eight levels, or with more than 256 members.
    #[error("the answer is not a plain JSON object")]
    Malformed,
    /// `active` is missing, or something else than `true` and `false`: a text that says so could mean either.
    #[error("`active` is neither true nor false")]
    Active,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let members = Object::read(bytes, ANSWER_LIMITS).map_err(|_| Fault::Malformed)?;
        match members.get("active").map(serde_json::value::RawValue::get) {
            Some("true") => Ok(Self::Active(Claims { members, bytes: bytes.len() })),
            Some("false") => Ok(Self::Inactive),
            Some(_) | None => Err(Fault::Active),
        }
    }

    /// Bytes of what is kept of it.
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Active(claims) => claims.bytes,
            Self::Inactive => 0,
        }
    }
}

/// What is said about people stays out of logs.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active(_) => "Active(..)",
            Self::Inactive => "Inactive",
        })
    }
}

/// What is said about people stays out of logs.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({:?})", self.members)
    }
}

/// Holds what an issuer said against its rules. Where it does not say when the token ends, it holds until `otherwise`. `iss` may be
/// missing: who was asked is known.
///
/// # Errors
/// The first [`Reason`].
pub fn judge(rules: &Rules, said: &Claims, otherwise: UtcMicros, now: UtcMicros) -> Result<Verified, Reason> {
    let claims = &said.members;
    if claims.text("iss", Reason::IssuerWrong)?.is_some_and(|issuer| issuer != **rules.issuer()) {
        return Err(Reason::IssuerWrong);
    }
    rules.judge(claims, Ends::At(otherwise), now)
}
