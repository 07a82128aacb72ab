//! What a client gives back so that it reads what it has written: a position for each database that it has written to or read from.
//!
//! Nodes make it and nodes read it, nobody else. Positions are no secret, so it is signed and not sealed. It is of a fixed form, at most
//! 216 characters: version, key, tenant, time of issue, how many entries, the entries, and an HMAC-SHA-256 (RFC 2104) cut to 16 bytes over all
//! before it, in base64url without padding (RFC 4648 section 5).

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use data_encoding::BASE64URL_NOPAD;

use crate::{
    key_set::{self, KeySetFault},
    position::{Lsn, Position},
    secret::SecretKey,
    time::UtcMicros,
};

const VERSION: u8 = 1;
/// Domains that one token can name.
pub const DOMAINS_MAX: usize = 8;
const ENTRY_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// Version, key, tenant, time, count.
const HEAD_BYTES: usize = 1 + 4 + 8 + 4 + 1;
const BYTES_MAX: usize = HEAD_BYTES + DOMAINS_MAX * ENTRY_BYTES + TAG_BYTES;
/// Longest text that is looked at.
pub const TEXT_BYTES_MAX: usize = BYTES_MAX.div_ceil(3) * 4;

/// What stands for a name in a token: the first bytes of its SHA-256.
fn mark<const N: usize>(name: &str) -> [u8; N] {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    digest.as_ref().first_chunk().copied().unwrap_or([0; N])
}

/// A domain, as tokens name it. A document in which two have the same is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainMark([u8; 4]);

impl DomainMark {
    /// That of a domain's name.
    pub fn of(name: &str) -> Self {
        Self(mark(name))
    }
}

/// A tenant, as tokens name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantMark([u8; 8]);

impl TenantMark {
    /// That of a tenant's name.
    pub fn of(name: &str) -> Self {
        Self(mark(name))
    }
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// It has not the form of a token, or is longer than any.
    #[error("it is not a token of this gateway")]
    Malformed,
    /// It was made with a key that this node does not have.
    #[error("the key that it was made with is not known any more")]
    KeyUnknown,
    /// It was altered, or made by somebody else.
    #[error("it was not made by this deployment")]
    Forged,
    /// It was given to clients of another tenant.
    #[error("it belongs to another tenant")]
    Foreign,
}

/// Positions, at most one for each domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Positions {
    entries: [Option<(DomainMark, Position)>; DOMAINS_MAX],
}

impl Positions {
    /// That of a domain.
    pub fn get(&self, domain: DomainMark) -> Option<Position> {
        self.iter().find(|(of, _)| *of == domain).map(|(_, position)| position)
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = (DomainMark, Position)> + '_ {
        self.entries.iter().flatten().copied()
    }

    /// Puts a domain's position in the place of the one before, or takes it out. False when there is no room: then nothing was changed.
    #[must_use]
    pub fn set(&mut self, domain: DomainMark, position: Option<Position>) -> bool {
        let is_its = |entry: &Option<(DomainMark, Position)>| entry.is_some_and(|(of, _)| of == domain);
        let place = self.entries.iter().position(is_its).or_else(|| self.entries.iter().position(Option::is_none));
        match place.and_then(|place| self.entries.get_mut(place)) {
            Some(entry) => {
                *entry = position.map(|position| (domain, position));
                true
            }
            None => position.is_none(),
        }
    }
}

/// The keys of a deployment: all are taken, one signs.
#[derive(Default)]
pub struct ConsistencyKeys {
    keys: Box<[Known]>,
    signing: usize,
}

struct Known {
    id: Box<str>,
    mark: [u8; 4],
    key: hmac::Key,
}

impl fmt::Debug for ConsistencyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl ConsistencyKeys {
    /// Joins keys.
    ///
    /// # Errors
    /// When the one to sign with is not among them, or when one is there twice.
    pub fn new(keys: Vec<(Box<str>, SecretKey)>, signing: &str) -> Result<Self, KeySetFault> {
        let signing = key_set::signing(&keys, signing)?;
        let keys = keys.into_iter().map(|(id, secret)| Known { mark: mark(&id), key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret()), id });
        Ok(Self { keys: keys.collect(), signing })
    }

    /// Whether there is a key to sign with.
    pub fn can_sign(&self) -> bool {
        self.keys.get(self.signing).is_some()
    }

    /// Makes a token; `None` without a key.
    pub fn mint(&self, tenant: TenantMark, positions: &Positions, issued_at: UtcMicros) -> Option<String> {
        let key = self.keys.get(self.signing)?;
        let mut bytes = Vec::with_capacity(BYTES_MAX);
        let issued_at = u32::try_from(issued_at.0.div_euclid(1_000_000)).unwrap_or(0);
        let count = u8::try_from(positions.iter().count()).ok()?;
        bytes.push(VERSION);
        bytes.extend(key.mark);
        bytes.extend(tenant.0);
        bytes.extend(issued_at.to_be_bytes());
        bytes.push(count);
        for (domain, position) in positions.iter() {
            bytes.extend(domain.0);
            bytes.extend(position.epoch.to_be_bytes());
            bytes.extend(position.lsn.0.to_be_bytes());
        }
        let tag = hmac::sign(&key.key, &bytes);
        bytes.extend(tag.as_ref().get(..TAG_BYTES)?);
        Some(BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads a token that a client of this tenant has sent.
    ///
    /// # Errors
    /// Why it is not taken. Nothing of it was believed then.
    pub fn read(&self, text: &[u8], tenant: TenantMark) -> Result<Positions, Rejected> {
        let mut room = [0; BYTES_MAX + 3];
        let room = room.get_mut(..BASE64URL_NOPAD.decode_len(text.len()).unwrap_or(usize::MAX)).ok_or(Rejected::Malformed)?;
        let length = BASE64URL_NOPAD.decode_mut(text, room).map_err(|_partial| Rejected::Malformed)?;
        let bytes = room.get(..length).ok_or(Rejected::Malformed)?;

        let (signed, tag) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(Rejected::Malformed)?;
        let rest = signed.strip_prefix(&[VERSION]).ok_or(Rejected::Malformed)?;
        let (key, rest) = rest.split_first_chunk::<4>().ok_or(Rejected::Malformed)?;
        let (of, rest) = rest.split_first_chunk::<8>().ok_or(Rejected::Malformed)?;
        let (_issued_at, rest) = rest.split_first_chunk::<4>().ok_or(Rejected::Malformed)?;
        let (count, entries) = rest.split_first().ok_or(Rejected::Malformed)?;
        let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else { return Err(Rejected::Malformed) };
        if entries.len() != usize::from(*count) || entries.len() > DOMAINS_MAX {
            return Err(Rejected::Malformed);
        }
        let mut known = self.keys.iter().filter(|known| known.mark == *key).peekable();
        if known.peek().is_none() {
            return Err(Rejected::KeyUnknown);
        }
        let is_of = |known: &Known| {
            hmac::sign(&known.key, signed).as_ref().get(..TAG_BYTES).is_some_and(|made| constant_time::verify_slices_are_equal(made, tag).is_ok())
        };
        if !known.any(is_of) {
            return Err(Rejected::Forged);
        }
        // From here on it is what a node wrote.
        if TenantMark(*of) != tenant {
            return Err(Rejected::Foreign);
        }
        let mut positions = Positions::default();
        for entry in entries {
            let ([domain @ .., e0, e1, e2, e3], lsn) = entry.split_first_chunk::<8>().ok_or(Rejected::Malformed)?;
            let lsn = lsn.try_into().map_err(|_length| Rejected::Malformed)?;
            let position = Position { epoch: u32::from_be_bytes([*e0, *e1, *e2, *e3]), lsn: Lsn(u64::from_be_bytes(lsn)) };
            if !positions.set(DomainMark(*domain), Some(position)) {
                return Err(Rejected::Malformed);
            }
        }
        Ok(positions)
    }
}

#[cfg(test)]
mod tests;
