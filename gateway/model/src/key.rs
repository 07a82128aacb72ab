//! API keys and operator tokens: their text form, their checksum and the digest that the database keeps.
//!
//! `cw_live_<id:12>_<secret:43><crc32:6>`; operator tokens start with `cw_op_`, those of people with `cw_my_`. The id is public. The secret is 256
//! random bits, so the digest needs no slow hash: guessing is out of reach, and a slow hash here would be a denial of
//! service on ourselves.

pub mod foreign;

use std::fmt;

use aws_lc_rs::{digest, hmac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;

use crate::{
    base62,
    secret::{SecretKey, SecretText},
};

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
    /// A person's own token, for what they may do on the pages.
    Personal,
}

impl Purpose {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Live, Self::Test, Self::Operator, Self::Personal];

    /// True for API keys, false for what the control plane alone takes.
    pub const fn is_api_key(self) -> bool {
        matches!(self, Self::Live | Self::Test)
    }

    /// The text that such a credential starts with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "cw_live_",
            Self::Test => "cw_test_",
            Self::Operator => "cw_op_",
            Self::Personal => "cw_my_",
        }
    }
}

/// Whether a text holds what credentials of ours begin with, of whatever kind: it must not come to lie where texts of requests do.
pub fn is_held_by(text: &str) -> bool {
    Purpose::ALL.iter().any(|purpose| text.contains(purpose.prefix()))
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

    /// Makes one from random bytes; `None` when fewer than twelve of them were usable: draw again.
    pub fn draw(random: &[u8; 32]) -> Option<Self> {
        let mut digits = random.iter().filter_map(|byte| base62::digit_from_random(*byte));
        let mut id = [0_u8; ID_LEN];
        for slot in &mut id {
            *slot = digits.next()?;
        }
        Some(Self(id))
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
        let purpose = Purpose::ALL.into_iter().find(|p| text.starts_with(p.prefix()))?;
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

/// Which of a key's secrets was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that it has now.
    Present,
    /// The one that it had before its last roll.
    Previous,
}

/// What is kept of a secret: its digest, and the peppers that the digest is under.
#[derive(Debug, Clone)]
pub struct Stored {
    /// HMAC of the secret.
    pub digest: Digest,
    /// The pepper versions, innermost first. A rotation puts a layer around what is there, because nobody has the secrets.
    pub peppers: Layers,
}

/// Pepper versions, innermost first: one, as a rule, in place; more after rotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layers {
    /// One.
    One(u16),
    /// Several, or none at all, which nothing fits.
    Many(Box<[u16]>),
}

impl FromIterator<u16> for Layers {
    fn from_iter<I: IntoIterator<Item = u16>>(versions: I) -> Self {
        let versions: Box<[u16]> = versions.into_iter().collect();
        if let [version] = *versions { Self::One(version) } else { Self::Many(versions) }
    }
}

impl std::ops::Deref for Layers {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        match self {
            Self::One(version) => std::slice::from_ref(version),
            Self::Many(versions) => versions,
        }
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
    pub fn new(versions: impl IntoIterator<Item = (u16, SecretKey)>) -> Option<Self> {
        let versions: Vec<_> = versions.into_iter().map(|(version, key)| (version, hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret()))).collect();
        (!versions.is_empty()).then_some(Self { versions })
    }

    /// The version that new keys are hashed with.
    pub fn current(&self) -> u16 {
        self.versions.last().map_or(0, |(version, _)| *version)
    }

    /// Whether a version is loaded.
    pub fn has(&self, version: u16) -> bool {
        self.pepper(version).is_some()
    }

    fn pepper(&self, version: u16) -> Option<&hmac::Key> {
        self.versions.iter().find(|(known, _)| *known == version).map(|(_, key)| key)
    }

    /// Hashes a credential under a pepper version; `None` when the version is not loaded.
    pub fn digest(&self, version: u16, id: &KeyId, secret: &str) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.pepper(version)?);
        context.update(b"cwkey1");
        context.update(id.as_bytes());
        context.update(secret.as_bytes());
        context.sign().as_ref().try_into().ok().map(Digest)
    }

    /// Puts a layer around a digest, without knowing the secret; `None` when the version is not loaded.
    pub fn nest(&self, version: u16, id: &KeyId, inner: &Digest) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.pepper(version)?);
        context.update(b"cwnest1");
        context.update(id.as_bytes());
        context.update(&inner.0);
        context.sign().as_ref().try_into().ok().map(Digest)
    }

    /// The secret input of argon2id for passwords: without it a dump of the database cannot be searched for weak ones. `None` when the
    /// version is not loaded.
    pub fn password_key(&self, version: u16) -> Option<[u8; 32]> {
        self.derived(version, b"cwpassword1")
    }

    /// A key for one purpose, from which neither the pepper nor a key for another purpose can be found.
    pub(crate) fn derived(&self, version: u16, purpose: &[u8]) -> Option<[u8; 32]> {
        hmac::sign(self.pepper(version)?, purpose).as_ref().try_into().ok()
    }

    /// The key that secrets of second factors are sealed with; `None` when the version is not loaded.
    pub fn second_factor_key(&self, version: u16) -> Option<SecretKey> {
        hmac::sign(self.pepper(version)?, b"cwtotp1").as_ref().try_into().ok().map(SecretKey::new)
    }

    /// What is kept of a recovery code of an account; `None` when the version is not loaded.
    pub fn recovery_digest(&self, version: u16, account: &[u8; 16], code: &str) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.pepper(version)?);
        context.update(b"cwrecovery1");
        context.update(account);
        context.update(code.as_bytes());
        context.sign().as_ref().try_into().ok()
    }

    /// Hashes a credential under all layers; `None` when one of them is not loaded, or there is none.
    fn layered(&self, layers: &[u16], id: &KeyId, secret: &str) -> Option<Digest> {
        let (first, rest) = layers.split_first()?;
        let innermost = self.digest(*first, id, secret)?;
        rest.iter().try_fold(innermost, |inner, version| self.nest(*version, id, &inner))
    }

    /// Compares a presented credential with what is stored, in constant time.
    ///
    /// With `stored` absent (an unknown id) the same work is done against a dummy, so that known and unknown ids take
    /// the same time.
    pub fn verify(&self, presented: &Presented<'_>, stored: Option<&Stored>) -> bool {
        self.which(presented, stored, None) == Some(Which::Present)
    }

    /// The same for a key with two secrets. The second costs a comparison, unless a rotation of the pepper lies between them.
    pub fn which(&self, presented: &Presented<'_>, stored: Option<&Stored>, previous: Option<&Stored>) -> Option<Which> {
        self.compare(&presented.id, presented.secret, stored, previous)
    }

    fn compare(&self, id: &KeyId, secret: &str, stored: Option<&Stored>, previous: Option<&Stored>) -> Option<Which> {
        let dummy = Digest([0; 32]);
        let current = Layers::One(self.current());
        let (layers, digest) = stored.map_or((&current, &dummy), |stored| (&stored.peppers, &stored.digest));
        let computed = self.layered(layers, id, secret);
        let is_present: bool = computed.is_some_and(|computed| computed.0.ct_eq(&digest.0).into());
        let is_previous = previous.is_some_and(|previous| {
            let same = if previous.peppers == *layers { computed } else { self.layered(&previous.peppers, id, secret) };
            same.is_some_and(|computed| computed.0.ct_eq(&previous.digest.0).into())
        });
        match (is_present && stored.is_some(), is_previous) {
            (true, _) => Some(Which::Present),
            (false, true) => Some(Which::Previous),
            (false, false) => None,
        }
    }
}

/// A credential that was just made: the only moment at which its text exists on our side.
#[derive(Debug)]
pub struct Issued {
    /// What it is for.
    pub purpose: Purpose,
    /// The public id.
    pub id: KeyId,
    /// The whole text, shown once.
    pub text: SecretText,
    /// What to store.
    pub digest: Digest,
    /// The pepper version of `digest`.
    pub pepper_version: u16,
}

impl Issued {
    /// What lists may show of the text: four characters of its checksum, by which people recognize a key.
    pub fn last_four(&self) -> &str {
        let text = self.text.expose_secret();
        text.len().checked_sub(4).and_then(|at| text.get(at..)).unwrap_or_default()
    }
}

/// Makes a credential from 32 random bytes for the secret and enough random bytes for the id.
///
/// Randomness is an argument because this crate has no sources. Returns `None` when fewer than twelve of the `id_random` bytes were usable: draw again.
pub fn issue(purpose: Purpose, peppers: &Peppers, secret_random: &[u8; 32], id_random: &[u8; 32]) -> Option<Issued> {
    reissue(purpose, KeyId::draw(id_random)?, peppers, secret_random)
}

/// Makes another credential with the id of one that there is.
pub fn reissue(purpose: Purpose, id: KeyId, peppers: &Peppers, secret_random: &[u8; 32]) -> Option<Issued> {
    let secret = base62::encode_256(secret_random);
    let mut text = format!("{}{id}_{secret}", purpose.prefix());
    let crc = base62::encode_u32(crc32(text.as_bytes()));
    text.extend(crc.iter().map(|byte| char::from(*byte)));
    let pepper_version = peppers.current();
    let digest = peppers.digest(pepper_version, &id, &secret)?;
    Some(Issued { purpose, id, text: SecretText::new(text), digest, pepper_version })
}

/// SHA-256 over some texts, each with its length before it, so that no two lists share a digest.
pub fn fingerprint(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// SHA-256 of a text alone, as others compute it.
pub fn fingerprint_plain(text: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    bytes
}

/// CRC-32/IEEE (reflected, polynomial 0x04C11DB7), the one that secret scanners expect.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests;
