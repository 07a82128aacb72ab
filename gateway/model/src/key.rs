//! API keys and operator tokens: their text form, their checksum and the digest that the database keeps.
//!
//! `cw_live_<id:12>_<secret:43><crc32:6>`; operator tokens start with `cw_op_`. The id is public. The secret is 256
//! random bits, so the digest needs no slow hash: guessing is out of reach, and a slow hash here would be a denial of
//! service on ourselves.

use std::fmt;

use aws_lc_rs::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;

use crate::{base62, secret::SecretText};

const ID_LEN: usize = 12;
const CRC_LEN: usize = 6;

/// Which kind of credential a text is, read from its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// An API key for live traffic.
    Live,
    /// An API key for test traffic.
    Test,
    /// A token for the control plane.
    Operator,
}

impl Purpose {
    /// The text that such a credential starts with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "cw_live_",
            Self::Test => "cw_test_",
            Self::Operator => "cw_op_",
        }
    }
}

/// The public part of a key: twelve base-62 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_LEN]);

impl KeyId {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; ID_LEN] = text.as_bytes().try_into().ok()?;
        base62::is_base62(&bytes).then_some(Self(bytes))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes, for hashing and binding.
    pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a key id has twelve base-62 characters"))
    }
}

/// A credential that has the right form and checksum. It is not yet known to be valid.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// What the prefix says.
    pub purpose: Purpose,
    /// The public id.
    pub id: KeyId,
    secret: &'a str,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({:?}, {})", self.purpose, self.id)
    }
}

impl<'a> Presented<'a> {
    /// Checks prefix, alphabet, length and checksum. Garbage stops here, without a look-up.
    pub fn parse(text: &'a str) -> Option<Self> {
        let purpose = [Purpose::Live, Purpose::Test, Purpose::Operator].into_iter().find(|p| text.starts_with(p.prefix()))?;
        let rest = text.strip_prefix(purpose.prefix())?;
        if rest.len() != ID_LEN + 1 + base62::DIGITS_256 + CRC_LEN || !rest.is_ascii() {
            return None;
        }
        let (id, rest) = rest.split_at_checked(ID_LEN)?;
        let id = KeyId::parse(id)?;
        let (secret, crc) = rest.strip_prefix('_')?.split_at_checked(base62::DIGITS_256)?;
        let covered = text.get(..text.len() - CRC_LEN)?;
        if !base62::is_base62(secret.as_bytes()) || crc.as_bytes() != base62::encode_u32(crc32(covered.as_bytes())) {
            return None;
        }
        Some(Self { purpose, id, secret })
    }
}

/// What the database keeps: HMAC-SHA-256 under a pepper that the database does not hold.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// The peppers of a deployment, by version. The last one is used for new keys.
#[derive(Clone)]
pub struct Peppers {
    versions: Vec<(u16, hmac::Key)>,
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.versions.iter().map(|(version, _)| version)).finish()
    }
}

impl Peppers {
    /// Loads pepper versions, oldest first; `None` when there is none.
    pub fn new(versions: impl IntoIterator<Item = (u16, crate::secret::SecretKey)>) -> Option<Self> {
        let versions: Vec<_> = versions.into_iter().map(|(version, key)| (version, hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret()))).collect();
        (!versions.is_empty()).then_some(Self { versions })
    }

    /// The version that new keys are hashed with.
    pub fn current(&self) -> u16 {
        self.versions.last().map_or(0, |(version, _)| *version)
    }

    /// Hashes a credential under a pepper version; `None` when the version is not loaded.
    pub fn digest(&self, version: u16, id: &KeyId, secret: &str) -> Option<Digest> {
        let (_, key) = self.versions.iter().find(|(known, _)| *known == version)?;
        let mut context = hmac::Context::with_key(key);
        context.update(b"cwkey1");
        context.update(id.as_bytes());
        context.update(secret.as_bytes());
        let tag = context.sign();
        tag.as_ref().try_into().ok().map(Digest)
    }

    /// Compares a presented credential with a stored digest, in constant time.
    ///
    /// With `stored` absent (an unknown id) the same work is done against a dummy, so that known and unknown ids take
    /// the same time.
    pub fn verify(&self, presented: &Presented<'_>, stored: Option<(u16, &Digest)>) -> bool {
        let dummy = Digest([0; 32]);
        let (version, digest) = stored.unwrap_or((self.current(), &dummy));
        let Some(computed) = self.digest(version, &presented.id, presented.secret) else { return false };
        let equal: bool = computed.0.ct_eq(&digest.0).into();
        equal && stored.is_some()
    }
}

/// A credential that was just made: the only moment at which its text exists on our side.
#[derive(Debug)]
pub struct Issued {
    /// The public id.
    pub id: KeyId,
    /// The whole text, shown once.
    pub text: SecretText,
    /// What to store.
    pub digest: Digest,
    /// The pepper version of `digest`.
    pub pepper_version: u16,
}

/// Makes a credential from 32 random bytes for the secret and enough random bytes for the id.
///
/// Randomness is an argument because this crate has no sources. Returns `None` when fewer than twelve of the `id_random` bytes were usable: draw again.
pub fn issue(purpose: Purpose, peppers: &Peppers, secret_random: &[u8; 32], id_random: &[u8; 32]) -> Option<Issued> {
    let mut digits = id_random.iter().filter_map(|byte| base62::digit_from_random(*byte));
    let mut id = [0_u8; ID_LEN];
    for slot in &mut id {
        *slot = digits.next()?;
    }
    let id = KeyId(id);
    let secret = base62::encode_256(secret_random);
    let mut text = format!("{}{id}_{secret}", purpose.prefix());
    let crc = base62::encode_u32(crc32(text.as_bytes()));
    text.extend(crc.iter().map(|byte| char::from(*byte)));
    let pepper_version = peppers.current();
    let digest = peppers.digest(pepper_version, &id, &secret)?;
    Some(Issued { id, text: SecretText::new(text), digest, pepper_version })
}

/// CRC-32/IEEE (reflected, polynomial 0x04C11DB7), the one that secret scanners expect.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests;
