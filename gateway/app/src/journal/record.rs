//! The form of a journal file.
//!
//! ```text
//! "CWJRNL01"  id: 16 random bytes
//! length: u32, little-endian   a record, sealed        the first
//! length: u32, little-endian   a record, sealed        the second, and so on
//! ```
//!
//! A record opens in its place alone: the id of its file and its number in it are bound into its seal. So a record that was moved,
//! repeated, or taken from another file does not open, and neither does the one behind a record that was taken out.

use std::io::{self, Read};

use aws_lc_rs::rand::SecureRandom;
use model::{
    change::{AuthorityChange, Revisions},
    seal,
    secret::SecretKey,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the name of a file begins with; its id and [`SUFFIX`] follow.
pub(super) const PREFIX: &str = "journal-";
/// What the name of a file ends with.
pub(super) const SUFFIX: &str = ".sealed";
/// The longest sealed record, and the longest file: the largest delta has twenty thousand changes of a few hundred bytes.
pub(super) const BYTES_MAX: u64 = 64 << 20;

const MAGIC: [u8; 8] = *b"CWJRNL01";
const ID_BYTES: usize = 16;
const PURPOSE: &str = "causeway journal 1";

/// One delta of the authority lane, as it was applied. Both ends are in one epoch: another one begins with a whole load, which is no delta.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The epoch.
    pub epoch: u64,
    /// Which of that number.
    pub epoch_id: Uuid,
    /// The revision that it was applied to.
    pub before: u64,
    /// The revision that came of it.
    pub after: u64,
    /// What changed, in order.
    pub changes: Vec<AuthorityChange>,
}

impl Record {
    pub(super) const fn span(&self) -> Span {
        Span { epoch: self.epoch, epoch_id: self.epoch_id, before: self.before, after: self.after }
    }
}

/// From which revision to which something leads, in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) epoch: u64,
    pub(super) epoch_id: Uuid,
    pub(super) before: u64,
    pub(super) after: u64,
}

impl Span {
    /// Its end.
    pub(super) fn end(&self) -> Revisions {
        Revisions { epoch: self.epoch, epoch_id: self.epoch_id, authority: self.after, ..Revisions::default() }
    }

    /// Whether its revisions can be compared with these.
    pub(super) fn is_of_epoch(&self, have: &Revisions) -> bool {
        self.end().are_of_one_epoch(have)
    }

    /// Whether it leads on from here. It may begin earlier: changes are whole rows, and applying one again changes nothing.
    pub(super) fn continues(&self, have: &Revisions) -> bool {
        self.is_of_epoch(have) && self.before <= have.authority && have.authority < self.after
    }
}

/// The identity of a file, in its first bytes and in the seal of each of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId([u8; ID_BYTES]);

impl FileId {
    pub(super) fn random() -> io::Result<Self> {
        let mut id = [0; ID_BYTES];
        random(&mut id)?;
        Ok(Self(id))
    }

    /// The name of its file.
    pub(super) fn name(self) -> String {
        format!("{PREFIX}{}{SUFFIX}", data_encoding::HEXLOWER.encode(&self.0))
    }

    /// The first bytes of its file.
    pub(super) fn header(self) -> Vec<u8> {
        [&MAGIC[..], &self.0[..]].concat()
    }

    /// What a record's place is called in its seal.
    fn purpose(self, number: u64) -> String {
        format!("{PURPOSE} {} {number}", data_encoding::HEXLOWER.encode(&self.0))
    }

    /// The bytes of a record in its place; `None` when it is too long for a journal.
    ///
    /// # Errors
    /// When there is no randomness, or the record cannot be sealed.
    pub(super) fn frame(self, key: &SecretKey, number: u64, record: &Record) -> io::Result<Option<Vec<u8>>> {
        let mut nonce = [0; 12];
        random(&mut nonce)?;
        let plain = serde_json::to_vec(record)?;
        let sealed = seal::seal(key, &self.purpose(number), nonce, plain).map_err(io::Error::other)?;
        let Some(length) = u32::try_from(sealed.len()).ok().filter(|length| u64::from(*length) <= BYTES_MAX) else { return Ok(None) };
        Ok(Some([&length.to_le_bytes()[..], &sealed].concat()))
    }
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    aws_lc_rs::rand::SystemRandom::new().fill(bytes).map_err(|_| io::Error::other("the random source failed"))
}

/// Why there is no further record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The file ends here.
    Whole,
    /// A record is cut: its writer was stopped, or its blocks were never written.
    Cut,
    /// A record does not open: altered, in another's place, of another key or version, or torn where the machine lost power.
    Unopened,
}

/// The records of one file, from the first to the last that can be believed.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    key: SecretKey,
    id: Option<FileId>,
    number: u64,
    ended: Option<End>,
}

impl<R: Read> Records<R> {
    pub(super) fn new(mut input: R, key: SecretKey) -> io::Result<Self> {
        let header = take(&mut input, (MAGIC.len() + ID_BYTES) as u64)?;
        let (id, ended) = match header.split_first_chunk::<{ MAGIC.len() }>() {
            Some((magic, rest)) if *magic == MAGIC => match <[u8; ID_BYTES]>::try_from(rest) {
                Ok(id) => (Some(FileId(id)), None),
                Err(_) => (None, Some(End::Cut)),
            },
            Some(_) => (None, Some(End::Unopened)),
            None if header.is_empty() => (None, Some(End::Whole)),
            None => (None, Some(End::Cut)),
        };
        Ok(Self { input, key, id, number: 0, ended })
    }

    /// The next one; or the end, which stays.
    ///
    /// # Errors
    /// As the operating system reports.
    pub(super) fn next(&mut self) -> io::Result<Result<Record, End>> {
        let (Some(id), None) = (self.id, self.ended) else { return Ok(Err(self.ended.unwrap_or(End::Unopened))) };
        let read = self.read(id)?;
        match read {
            Ok(_) => self.number = self.number.saturating_add(1),
            Err(end) => self.ended = Some(end),
        }
        Ok(read)
    }

    fn read(&mut self, id: FileId) -> io::Result<Result<Record, End>> {
        let length = take(&mut self.input, 4)?;
        if length.is_empty() {
            return Ok(Err(End::Whole));
        }
        let Ok(length) = <[u8; 4]>::try_from(length) else { return Ok(Err(End::Cut)) };
        let length = u64::from(u32::from_le_bytes(length));
        if length == 0 {
            return Ok(Err(End::Cut));
        }
        if length > BYTES_MAX {
            return Ok(Err(End::Unopened));
        }
        // Grows with what is there: a length alone takes no memory.
        let sealed = take(&mut self.input, length)?;
        if u64::try_from(sealed.len()).unwrap_or(u64::MAX) < length {
            return Ok(Err(End::Cut));
        }
        let Ok(plain) = seal::open(&self.key, &id.purpose(self.number), &sealed) else { return Ok(Err(End::Unopened)) };
        let record: Result<Record, _> = serde_json::from_slice(&plain);
        Ok(record.ok().filter(|record| record.before < record.after).ok_or(End::Unopened))
    }
}

/// So many bytes, or those that are left.
fn take(input: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut taken = Vec::new();
    input.by_ref().take(bytes).read_to_end(&mut taken)?;
    Ok(taken)
}
