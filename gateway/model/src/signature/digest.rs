//! `Content-Digest` (RFC 9530): the hash of a request's content, which a signature covers in the content's place.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use http::HeaderMap;
use sfv::{
    KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor},
};

use super::{
    Fault,
    field::{self, Bytes, Stop},
};

/// The field, as components name it.
pub const NAME: &str = "content-digest";

/// Longer is none: two hashes have 150 bytes.
const BYTES_MAX: usize = 1 << 10;

/// What content must be: by every hash that is known of those that its sender has given, and by one at least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl Digests {
    /// Reads the field of a head.
    ///
    /// # Errors
    /// [`Fault::DigestInvalid`] where it has no one reading, or no hash by SHA-256 or SHA-512; others count for nothing (RFC 9530 section 2).
    pub fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let text = field::joined(headers, NAME, ", ").filter(|text| text.len() <= BYTES_MAX).ok_or(Fault::DigestInvalid)?;
        Self::read(&text).filter(|digests| *digests != Self::default()).ok_or(Fault::DigestInvalid)
    }

    fn read(text: &str) -> Option<Self> {
        let Members { sha256, sha512, .. } = Parser::new(text).parse_dictionary_with_visitor(Members::default()).ok()?;
        Some(Self { sha256: exactly(sha256).ok()?, sha512: exactly(sha512).ok()? })
    }

    /// Whether this is the content.
    pub fn are_of(&self, content: &[u8]) -> bool {
        self.sha256.is_none_or(|wanted| digest(&SHA256, content).as_ref() == wanted)
            && self.sha512.is_none_or(|wanted| digest(&SHA512, content).as_ref() == wanted)
    }
}

/// A hash of its full length, if there is one.
///
/// # Errors
/// The bytes, where they are of another length.
fn exactly<const N: usize>(bytes: Option<Vec<u8>>) -> Result<Option<[u8; N]>, Vec<u8>> {
    bytes.map(<[u8; N]>::try_from).transpose()
}

#[derive(Default)]
struct Members {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
    others: Vec<u8>,
}

impl<'f> DictionaryVisitor<'f> for Members {
    type Out = Self;
    type Error = Stop;

    fn entry(&mut self, name: &'f KeyRef) -> Result<impl EntryVisitor<'f>, Stop> {
        let place = match name.as_str() {
            "sha-256" => &mut self.sha256,
            "sha-512" => &mut self.sha512,
            _ => return Ok(Bytes(&mut self.others)),
        };
        if place.is_some() {
            return Err(Stop);
        }
        Ok(Bytes(place.insert(Vec::new())))
    }

    fn finish(self) -> Result<Self, Stop> {
        Ok(self)
    }
}
