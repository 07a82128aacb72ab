//! A token's text, read before anything in it is believed, and before the library that checks signatures sees it.
//!
//! # Source
//! RFC 7515 §3, §4 and §5.2, RFC 7519 §7.2, RFC 8725 §3.1, §3.3 and §3.10, RFC 7797.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use super::{
    algorithm::Algorithm,
    object::{Fault, Limits, Object, text_of},
    rejection::{Reason, Rejection},
};

/// 8 KiB: what common servers take as one header field. Tokens of large identity providers stay below 4 KiB.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// 1,366 digits of base64url are 1,024 bytes. A header of 200 bytes is already a long one; what makes them longer are
/// certificates (`x5c`), which are not used here.
const HEADER_DIGITS_MAX: usize = 1_366;

/// Four levels are a key in the header (`jwk`) with two to spare.
const HEADER_LIMITS: Limits = Limits { depth_max: 4, members_max: 64 };

/// Claims about a person's address or the roles in each service nest three or four deep.
const PAYLOAD_LIMITS: Limits = Limits { depth_max: 8, members_max: 256 };

/// A key's id is a name or a hash in honest sets; 256 bytes are four times the longest of those.
pub(super) const KEY_ID_BYTES_MAX: usize = 256;

/// The longest registered type is a third of this.
const TYPE_BYTES_MAX: usize = 128;

/// Where the header says that a key is to be had. All are ignored: who chooses the key chooses the signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHint {
    /// `jku`: the address of a key set.
    Jku,
    /// `x5u`: the address of a certificate.
    X5u,
    /// `jwk`: a key.
    Jwk,
    /// `x5c`: a certificate.
    X5c,
}

impl KeyHint {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Jku, Self::X5u, Self::Jwk, Self::X5c];

    /// The member's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jku => "jku",
            Self::X5u => "x5u",
            Self::Jwk => "jwk",
            Self::X5c => "x5c",
        }
    }
}

/// A token with one reading. Nothing of it has been verified: [`super::issuer::verify`] does that.
pub struct Unverified<'t> {
    /// Header and payload as they came, with the dot between them: what was signed.
    pub(super) signed: &'t str,
    /// The signature, canonical base64url.
    pub(super) signature: &'t str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<Box<str>>,
    pub(super) ty: Option<Box<str>>,
    pub(super) claims: Object,
    issuer: Option<Box<str>>,
    hints: Box<[KeyHint]>,
}

impl<'t> Unverified<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Rejection::Refused`] with the first reason, from the outside in: size, parts, header, payload.
    pub fn parse(text: &'t str) -> Result<Self, Rejection> {
        Ok(Self::read(text)?)
    }

    fn read(text: &'t str) -> Result<Self, Reason> {
        let Draft { signed, signature, algorithm, ty, header, claims } = Draft::read(text)?;
        let key_id = header.text("kid", Reason::KeyIdInvalid)?.map(|kid| key_id(kid).ok_or(Reason::KeyIdInvalid)).transpose()?;
        Ok(Self {
            signed,
            signature,
            algorithm,
            key_id,
            ty,
            issuer: claims.get("iss").and_then(text_of).map(String::into_boxed_str),
            claims,
            hints: KeyHint::ALL.iter().copied().filter(|hint| header.has(hint.name())).collect(),
        })
    }

    /// Who the token *says* issued it: good for finding the rules to verify it by, and for nothing else.
    pub fn issuer_claimed(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The keys that the header offered and that were ignored, for counting.
    pub fn key_hints(&self) -> &[KeyHint] {
        &self.hints
    }
}

/// What tokens and proofs have in common.
pub(super) struct Draft<'t> {
    pub(super) signed: &'t str,
    pub(super) signature: &'t str,
    pub(super) algorithm: Algorithm,
    pub(super) ty: Option<Box<str>>,
    pub(super) header: Object,
    pub(super) claims: Object,
}

impl<'t> Draft<'t> {
    pub(super) fn read(text: &'t str) -> Result<Self, Reason> {
        let parts = Parts::split(text)?;
        let header = read_header(parts.header)?;
        let algorithm = algorithm(&header)?;
        let ty = header.text("typ", Reason::TypeInvalid)?.map(|ty| short(ty, TYPE_BYTES_MAX).ok_or(Reason::TypeInvalid)).transpose()?;
        let claims = Object::read(&decode(parts.payload)?, PAYLOAD_LIMITS)?;
        // A signature is never longer than 1 KiB (RSA with 8192 bits); it is decoded here for its form alone.
        decode(parts.signature)?;
        Ok(Self { signed: parts.signed, signature: parts.signature, algorithm, ty, header, claims })
    }
}

/// The token stays out of logs.
impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unverified({}, ..)", self.algorithm.name())
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Encoding => Self::EncodingInvalid,
            Fault::Syntax => Self::JsonInvalid,
            Fault::NotAnObject => Self::ObjectExpected,
            Fault::Duplicate => Self::MemberDuplicate,
            Fault::Depth => Self::NestingTooDeep,
            Fault::Members => Self::MembersTooMany,
        }
    }
}

/// The three parts, not decoded.
struct Parts<'t> {
    signed: &'t str,
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn split(text: &'t str) -> Result<Self, Reason> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Reason::TokenTooLong);
        }
        match text.matches('.').count() {
            2 => {}
            4 => return Err(Reason::Encrypted),
            _ => return Err(Reason::PartCount),
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Reason::PartCount)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::PartCount)?;
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Reason::PartEmpty);
        }
        Ok(Self { signed, header, payload, signature })
    }
}

/// Strict: no padding, no white space, no other alphabet, and the unused bits of the last digit are zero. So there is
/// exactly one text for each token, whoever decodes it.
fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Reason::Base64Invalid)
}

fn read_header(part: &str) -> Result<Object, Reason> {
    if part.len() > HEADER_DIGITS_MAX {
        return Err(Reason::HeaderTooLong);
    }
    let header = Object::read(&decode(part)?, HEADER_LIMITS)?;
    // Also `"b64": true`: it must stand in `crit` (RFC 7797 §6), and whoever sends it speaks to someone else.
    if header.has("b64") {
        return Err(Reason::B64Refused);
    }
    // No extension is known, so each one named is unknown; an empty list is forbidden (RFC 7515 §4.1.11).
    if header.has("crit") {
        return Err(Reason::CritRefused);
    }
    Ok(header)
}

fn algorithm(header: &Object) -> Result<Algorithm, Reason> {
    let name = header.text("alg", Reason::AlgorithmMissing)?.ok_or(Reason::AlgorithmMissing)?;
    if name.eq_ignore_ascii_case("none") {
        return Err(Reason::AlgorithmNone);
    }
    Algorithm::parse(&name).ok_or(Reason::AlgorithmUnknown)
}

/// A key's id, in a token or in a key set. It is compared and never used as a path, an address or a query.
pub(super) fn key_id(text: String) -> Option<Box<str>> {
    short(text, KEY_ID_BYTES_MAX)
}

/// A text of 1 to `bytes_max` bytes without control characters.
pub(super) fn short(text: String, bytes_max: usize) -> Option<Box<str>> {
    let is_short = !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control);
    is_short.then(|| text.into_boxed_str())
}
