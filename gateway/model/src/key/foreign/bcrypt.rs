//! Keys of other systems that were hashed with bcrypt (Provos and Mazières, 1999).
//!
//! Each hash has a salt, so none is found by its text: what finds one is the beginning of the text, which other systems keep in clear beside
//! the hash. The text is verified once, and is known from then on by what finds any imported key (see [`super`]). Until then the hash is
//! sealed under a key made from a pepper, so that a dump of the database lets nobody guess at home.

use std::fmt;

use aws_lc_rs::{aead::NONCE_LEN, hmac};
use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Foreign, ForeignHash};
use crate::{
    key::{Digest, KeyId, Peppers},
    seal,
    secret::SecretKey,
};

/// The dearest hash that is taken: a quarter of a second of a core. One more would take half a second, for whoever asks.
pub const COST_MAX: u32 = 12;
/// The cheapest that bcrypt knows.
const COST_MIN: u32 = 4;
/// What bcrypt reads of a text. It leaves out the rest without a word, so that longer texts with one beginning would be one key.
const TEXT_BYTES_MAX: usize = 72;
const SALT_LEN: usize = 16;
const SUM_LEN: usize = 23;
const BYTES_LEN: usize = 1 + SALT_LEN + SUM_LEN;
/// Their texts: 128 and 184 bits in digits of 6.
const SALT_DIGITS: usize = 22;
const SUM_DIGITS: usize = 31;

/// How much of its text finds a key: less says too little, and no system keeps more.
const PREFIX_BYTES: std::ops::RangeInclusive<usize> = 6..=32;

/// What a key's text begins with, as another system keeps it in clear.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// Takes 6 to 32 characters that a foreign key can begin with.
    pub fn parse(text: &str) -> Option<Self> {
        (PREFIX_BYTES.contains(&text.len()) && Foreign::parse(text).is_some()).then(|| Self(text.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one text can begin with both.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.starts_with(&*other.0) || other.0.starts_with(&*self.0)
    }

    /// Everything that it begins with, itself too, and that could be a prefix.
    pub fn beginnings(&self) -> impl Iterator<Item = &str> {
        PREFIX_BYTES.filter_map(|length| self.0.get(..length))
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a prefix has 6 to 32 visible characters"))
    }
}

/// Why a text is no hash that can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BcryptFault {
    /// It has not the form.
    Malformed,
    /// It would take too long to verify.
    TooDear,
}

/// A bcrypt hash.
#[derive(Clone, PartialEq, Eq)]
pub struct BcryptHash {
    cost: u8,
    salt: [u8; SALT_LEN],
    sum: [u8; SUM_LEN],
}

/// Whoever has it can guess.
impl fmt::Debug for BcryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BcryptHash(..)")
    }
}

impl BcryptHash {
    /// Reads `$2b$10$` and 53 digits; `$2a$` and `$2y$` name the same function for texts of ASCII.
    ///
    /// # Errors
    /// [`BcryptFault`].
    pub fn parse(text: &str) -> Result<Self, BcryptFault> {
        let read = || {
            let rest = ["$2a$", "$2b$", "$2y$"].into_iter().find_map(|mark| text.strip_prefix(mark))?;
            let (cost, digits) = rest.split_once('$')?;
            let is_number = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
            let cost: u32 = cost.parse().ok().filter(|cost| is_number && (COST_MIN..=31).contains(cost))?;
            let (salt, sum) = digits.split_at_checked(SALT_DIGITS).filter(|(_, sum)| sum.len() == SUM_DIGITS)?;
            let digits = digits_of_bcrypt()?;
            let decoded = |text: &str| digits.decode(text.as_bytes()).ok();
            Some((cost, decoded(salt)?.try_into().ok()?, decoded(sum)?.try_into().ok()?))
        };
        let (cost, salt, sum) = read().ok_or(BcryptFault::Malformed)?;
        let cost = u8::try_from(cost).ok().filter(|_| cost <= COST_MAX).ok_or(BcryptFault::TooDear)?;
        Ok(Self { cost, salt, sum })
    }

    /// Whether it is the hash of this text. Takes a millisecond at the lowest cost, and a quarter of a second at the highest.
    pub fn verify(&self, text: &Foreign<'_>) -> bool {
        if text.0.len() > TEXT_BYTES_MAX {
            return false;
        }
        // A text ends with a zero byte where there is room for it.
        let mut bytes = Zeroizing::new([0_u8; TEXT_BYTES_MAX]);
        for (to, from) in bytes.iter_mut().zip(text.0.bytes()) {
            *to = from;
        }
        let used = bytes.get(..(text.0.len() + 1).min(TEXT_BYTES_MAX)).unwrap_or_default();
        let sum = Zeroizing::new(::bcrypt::bcrypt(u32::from(self.cost), self.salt, used));
        sum.get(..SUM_LEN).is_some_and(|sum| sum.ct_eq(&self.sum).into())
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&[self.cost][..], &self.salt, &self.sum].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES_LEN] = bytes.try_into().ok()?;
        let (cost, rest) = bytes.split_first()?;
        let (salt, sum) = rest.split_first_chunk::<SALT_LEN>()?;
        let cost = Some(*cost).filter(|cost| (COST_MIN..=COST_MAX).contains(&u32::from(*cost)))?;
        Some(Self { cost, salt: *salt, sum: sum.try_into().ok()? })
    }
}

/// bcrypt's own digits. The last one of a salt and of a sum has bits that stand for nothing, and not everybody writes them as zeros.
fn digits_of_bcrypt() -> Option<Encoding> {
    let mut specification = Specification::new();
    specification.symbols.push_str("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
    specification.check_trailing_bits = false;
    specification.encoding().ok()
}

impl Foreign<'_> {
    /// Whether bcrypt reads all of it.
    pub fn is_short_enough(&self) -> bool {
        self.0.len() <= TEXT_BYTES_MAX
    }

    /// What it begins with; `None` when it is shorter.
    pub fn beginning(&self, length: usize) -> Option<&str> {
        self.0.get(..length)
    }

    /// The text, for whoever verifies it later.
    pub fn to_secret(&self) -> crate::secret::SecretText {
        crate::secret::SecretText::new(self.0.to_owned())
    }
}

impl Peppers {
    /// Seals a key's hash; `None` when the version is not loaded.
    ///
    /// The nonce is the key's id: an id is given once, and the hash behind it never changes, so no two plaintexts meet under one nonce.
    pub fn seal_bcrypt(&self, version: u16, id: &KeyId, hash: &BcryptHash) -> Option<Vec<u8>> {
        const { assert!(NONCE_LEN == 12, "a key's id has twelve bytes") };
        seal::seal(&self.bcrypt_key(version)?, &purpose(id), *id.as_bytes(), hash.to_bytes()).ok()
    }

    /// Opens what [`Self::seal_bcrypt`] made; `None` when the version is not loaded, or it is another key's, or was altered.
    pub fn open_bcrypt(&self, version: u16, id: &KeyId, sealed: &[u8]) -> Option<BcryptHash> {
        BcryptHash::from_bytes(&Zeroizing::new(seal::open(&self.bcrypt_key(version)?, &purpose(id), sealed).ok()?))
    }

    /// By what an import knows again that it has taken a hash over; `None` when the version is not loaded.
    pub fn bcrypt_mark(&self, version: u16, hash: &BcryptHash) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.pepper(version)?);
        context.update(b"cwbcryptmark1");
        context.update(&Zeroizing::new(hash.to_bytes()));
        context.sign().as_ref().try_into().ok()
    }

    /// What finds and what proves a key whose text has been verified: under one pepper, like those of a key that was just imported.
    pub fn proved(&self, version: u16, id: &KeyId, hash: &ForeignHash) -> Option<Proved> {
        Some(Proved { id: *id, pepper: version, lookup: self.lookup(&[version], hash)?, digest: self.digest_foreign(version, id, hash)? })
    }

    fn bcrypt_key(&self, version: u16) -> Option<SecretKey> {
        self.derived(version, b"cwbcrypt1").map(SecretKey::new)
    }
}

fn purpose(id: &KeyId) -> String {
    format!("bcrypt hash of key {id}")
}

/// A key whose text somebody has shown and a node has verified: what takes the place of its bcrypt hash.
#[derive(Debug, Clone, Copy)]
pub struct Proved {
    /// The key.
    pub id: KeyId,
    /// The pepper of both digests.
    pub pepper: u16,
    /// What finds it from now on.
    pub lookup: Digest,
    /// What proves it from now on.
    pub digest: Digest,
}

#[cfg(test)]
mod tests;
