//! Keys that another system has issued, and that were taken over by their hashes.
//!
//! Such a text has no id, so it is looked up by `HMAC(pepper, "cwimport1" || SHA-256(text))`, and then held against a digest that has the
//! id bound in, like any other key: layers of peppers, rolls and overlaps are the same. The database holds neither the SHA-256 nor
//! the text, so nothing in a dump of it authenticates.

pub mod bcrypt;

use aws_lc_rs::hmac;

use super::{Digest, KeyId, Peppers, Stored, Which, fingerprint_plain};

/// The longest text: those of usual systems have 20 to 100 characters.
const BYTES_MAX: usize = 256;
/// Whose digest is computed where there is no key.
const NOBODY: KeyId = KeyId([b'0'; super::ID_LEN]);
/// How every text of ours begins.
const OWN_MARK: &str = "cw_";

/// A text that could be a key of another system: it is known to be none of ours and no token, and nothing else yet.
#[derive(Clone, Copy)]
pub struct Foreign<'a>(&'a str);

/// It may be somebody's key.
impl std::fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Foreign(..)")
    }
}

impl<'a> Foreign<'a> {
    /// Takes 1 to 256 visible ASCII characters that neither begin like a key of ours nor look like a token (RFC 7519): each text has one
    /// reading, whatever was imported.
    pub fn parse(text: &'a str) -> Option<Self> {
        let is_sized = (1..=BYTES_MAX).contains(&text.len());
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_token = text.starts_with("ey") && text.bytes().filter(|byte| *byte == b'.').count() == 2;
        (is_sized && is_visible && !text.starts_with(OWN_MARK) && !is_token).then_some(Self(text))
    }

    /// The hash that other systems keep of it.
    pub fn hash(&self) -> ForeignHash {
        ForeignHash(fingerprint_plain(self.0.as_bytes()))
    }
}

/// SHA-256 of a key of another system. It authenticates nothing by itself, and is not stored all the same: whoever holds many can guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForeignHash([u8; 32]);

impl std::fmt::Debug for ForeignHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForeignHash(..)")
    }
}

impl ForeignHash {
    /// Reads 64 hexadecimal digits in either case.
    pub fn parse(text: &str) -> Option<Self> {
        data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// Whether it is the hash of no text at all, which some exports have for keys that were deleted.
    pub fn is_of_nothing(&self) -> bool {
        self.0 == fingerprint_plain(b"")
    }

    /// What takes the place of a secret. No secret of ours is so long, so none can be taken for it.
    fn as_secret(&self) -> String {
        format!("sha256:{}", data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl Peppers {
    /// What finds an imported key; `None` when one of the peppers is not loaded, or there is none.
    pub fn lookup(&self, layers: &[u16], hash: &ForeignHash) -> Option<Digest> {
        let (first, rest) = layers.split_first()?;
        let innermost = self.marked(*first, b"cwimport1", &hash.0)?;
        rest.iter().try_fold(innermost, |inner, version| self.nest_lookup(*version, &inner))
    }

    /// Puts a layer around what finds an imported key.
    pub fn nest_lookup(&self, version: u16, inner: &Digest) -> Option<Digest> {
        self.marked(version, b"cwimportnest1", &inner.0)
    }

    fn marked(&self, version: u16, mark: &[u8], bytes: &[u8; 32]) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.pepper(version)?);
        context.update(mark);
        context.update(bytes);
        context.sign().as_ref().try_into().ok().map(Digest)
    }

    /// What is stored of an imported key; `None` when the version is not loaded.
    pub fn digest_foreign(&self, version: u16, id: &KeyId, hash: &ForeignHash) -> Option<Digest> {
        self.digest(version, id, &hash.as_secret())
    }

    /// What stands in a secret's place while nobody has shown the text: the digest of what no secret is, ours or a foreign one; `None` when the
    /// version is not loaded.
    pub fn digest_of_none(&self, version: u16, id: &KeyId) -> Option<Digest> {
        self.digest(version, id, "bcrypt")
    }

    /// [`Peppers::which`] for an imported key: for nobody's the same work is done against a dummy.
    pub fn which_foreign(&self, id: Option<&KeyId>, hash: &ForeignHash, stored: Option<&Stored>, previous: Option<&Stored>) -> Option<Which> {
        self.compare(id.unwrap_or(&NOBODY), &hash.as_secret(), stored, previous)
    }
}

#[cfg(test)]
mod tests;
