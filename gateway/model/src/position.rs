//! Positions in the write-ahead log of a domain, and which of them have survived its promotions.
//!
//! A log sequence number alone says nothing once a standby was promoted: the same number may stand for a write that is gone (ADR 0034).
//! So a position names its epoch, and an epoch names the one that it left, and where.

use std::fmt;

use crate::time::UtcMicros;

/// 2025-01-01T00:00:00Z.
const YEAR_2025_MICROS: i64 = 1_735_689_600_000_000;

/// A place in the write-ahead log, in bytes since its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Behind every place that there will be: a write whose place is not known. Only a primary of its own epoch has that.
    pub const END: Self = Self(u64::MAX);

    /// Reads PostgreSQL's form, `16/B374D848`.
    pub fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |digits: &str| {
            let is_plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        Some(Self(half(high)? << 32 | half(low)?))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

/// A place in one epoch of a domain. Ordered by epoch, then by place: the greater one is the newer one, and hides the other only if that
/// has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// The place in its log.
    pub lsn: Lsn,
}

/// Who writes an epoch: a server that was promoted writes another timeline, and so begins another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The cluster.
    pub system_identifier: u64,
    /// The timeline that it writes. Two standbys that are promoted apart may write the same one.
    pub timeline: u32,
    /// The server's address in the document, `host:port`.
    pub server: Box<str>,
}

/// Where an epoch left another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fork {
    /// The number of the one that it left.
    pub parent: u32,
    /// Up to here it has all that its parent has. A lower bound: a proof of less is a proof.
    pub at: Lsn,
}

/// One epoch of a domain, from one promotion to the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Its number, from 1, greater than those of all before it.
    pub number: u32,
    /// Who writes it.
    pub writer: Writer,
    /// What it has from another one; nothing provable when absent.
    pub fork: Option<Fork>,
}

/// What is known of a primary that writes no epoch that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The primary.
    pub writer: Writer,
    /// Its timeline's history, if it may be read: each earlier timeline, and where the next one left it.
    pub history: Option<Vec<(u32, Lsn)>>,
    /// The last position that this server has shown as a standby over a connection that was not broken.
    pub followed: Option<Position>,
    /// The epoch that it seems to write, when it lacks what it had shown there: it was restored.
    pub set_back_from: Option<u32>,
}

/// The epochs of one domain, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs(Vec<Epoch>);

impl Epochs {
    /// Joins epochs, in whatever order.
    pub fn new(mut epochs: Vec<Epoch>) -> Self {
        epochs.sort_by_key(|epoch| epoch.number);
        Self(epochs)
    }

    /// The last one: what is written, is written there.
    pub fn newest(&self) -> Option<&Epoch> {
        self.0.last()
    }

    /// One by its number.
    pub fn get(&self, number: u32) -> Option<&Epoch> {
        self.0.get(self.0.binary_search_by_key(&number, |epoch| epoch.number).ok()?)
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Epoch> {
        self.0.iter()
    }

    /// The newest epoch that this server writes, or has written.
    pub fn written_by(&self, writer: &Writer) -> Option<&Epoch> {
        self.0.iter().rev().find(|epoch| epoch.writer == *writer)
    }

    /// The epoch that a standby follows, by its timeline. None when two epochs have that number: nothing says which of them it is.
    pub fn followed(&self, system_identifier: u64, timeline: u32) -> Option<&Epoch> {
        let is_it = |epoch: &&Epoch| epoch.writer.system_identifier == system_identifier && epoch.writer.timeline == timeline;
        let mut found = self.0.iter().filter(is_it);
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether an epoch provably has what a position of another one stands for. It does not say whether a server of it has it by now.
    pub fn survives(&self, position: Position, epoch: u32) -> bool {
        let mut at = epoch;
        while at != position.epoch {
            // A parent has a lower number, so that this ends whatever the rows say.
            let Some(fork) = self.get(at).and_then(|epoch| epoch.fork).filter(|fork| fork.parent < at && position.lsn <= fork.at) else {
                return false;
            };
            at = fork.parent;
        }
        self.get(at).is_some()
    }

    /// The epoch that a primary writes, unless it has to begin another one: who was set back from one begins one, and writes that from then
    /// on, also for those who saw the same a moment later.
    pub fn goes_on(&self, found: &Found) -> Option<&Epoch> {
        self.written_by(&found.writer).filter(|epoch| found.set_back_from != Some(epoch.number))
    }

    /// Whether a writer is older than one that is known: nothing newer is begun for it, whenever somebody comes to report it.
    pub fn has_newer(&self, writer: &Writer) -> bool {
        let is_newer = |epoch: &Epoch| epoch.writer.system_identifier == writer.system_identifier && epoch.writer.timeline > writer.timeline;
        self.0.iter().any(is_newer)
    }

    /// These, and those of `others` that are not among them. An epoch never changes.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        let new = others.0.iter().filter(|other| self.get(other.number).is_none());
        Self::new(self.0.iter().chain(new).cloned().collect())
    }

    /// A number for what is written to a primary whose epoch nobody knows yet: greater than all that are known, and lower than that of the
    /// epoch that will be begun for it.
    pub fn provisional(&self, now: UtcMicros) -> u32 {
        let number = u32::try_from(now.0.saturating_sub(YEAR_2025_MICROS).div_euclid(1_000_000)).unwrap_or(0);
        number.max(self.newest().map_or(1, |newest| newest.number.saturating_add(1)))
    }

    /// The epoch that a primary begins.
    ///
    /// Its number is the time in seconds since 2025, where that is greater: rows that are lost with a control database that was restored
    /// leave tokens behind, and no epoch may take their numbers.
    pub fn begin(&self, found: &Found, now: UtcMicros) -> Epoch {
        Epoch { number: self.provisional(now), writer: found.writer.clone(), fork: self.fork(found) }
    }

    /// Whether it can be proved what a primary has of another epoch.
    pub fn proves(&self, found: &Found) -> bool {
        self.fork(found).is_some()
    }

    fn fork(&self, found: &Found) -> Option<Fork> {
        if found.set_back_from.is_some() {
            // It may have written over what it lost before anybody looked: nothing is provable.
            return None;
        }
        let of_system = |number: u32| self.get(number).is_some_and(|epoch| epoch.writer.system_identifier == found.writer.system_identifier);
        // The last promotion may be one of several that nobody has seen: the earliest place on the way counts.
        let by_history = found.history.as_ref().and_then(|history| {
            let mut at = Lsn::END;
            history.iter().rev().find_map(|(timeline, left_at)| {
                at = at.min(*left_at);
                Some(Fork { parent: self.followed(found.writer.system_identifier, *timeline)?.number, at })
            })
        });
        let by_eye = || found.followed.filter(|position| of_system(position.epoch)).map(|position| Fork { parent: position.epoch, at: position.lsn });
        by_history.or_else(by_eye)
    }
}

#[cfg(test)]
mod tests;
