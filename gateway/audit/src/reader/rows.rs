//! Rows as they stand on disk, without a copy of each.

use crate::layout::{self, SALT_BYTES};

/// One durable record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'r> {
    /// Which opening of the spool wrote it.
    pub incarnation: u64,
    /// Its number within the incarnation, from 1 without gaps.
    pub seq: u64,
    /// What hides the event behind its later commitment.
    pub salt: &'r [u8; SALT_BYTES],
    /// The canonical bytes (see [`crate::event::Event::encode`]).
    pub event: &'r [u8],
}

/// Contiguous rows of one incarnation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    incarnation: u64,
    /// Record frames, back to back.
    frames: Vec<u8>,
    count: usize,
    last_seq: u64,
}

impl Rows {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of the last row; 0 without rows.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The rows in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { incarnation: self.incarnation, rest: &self.frames }
    }

    /// Makes it empty, with its memory kept.
    pub(super) fn clear(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.frames.clear();
        self.count = 0;
        self.last_seq = 0;
    }

    /// Appends at most `count_max` of the frames of a verified batch, from number `next` on.
    pub(super) fn append(&mut self, batch: &[u8], next: u64, count_max: usize) {
        let mut from = 0;
        let mut until = 0;
        let mut count = 0;
        let mut last_seq = self.last_seq;
        while count < count_max
            && let Some(record) = batch.get(until..).and_then(layout::verified_record)
        {
            if record.seq < next {
                from += record.bytes;
            } else {
                count += 1;
                last_seq = record.seq;
            }
            until += record.bytes;
        }
        self.frames.extend_from_slice(batch.get(from..until).unwrap_or_default());
        self.count += count;
        self.last_seq = last_seq;
    }
}

impl<'r> IntoIterator for &'r Rows {
    type Item = Row<'r>;
    type IntoIter = Iter<'r>;

    fn into_iter(self) -> Iter<'r> {
        self.iter()
    }
}

/// The rows of a [`Rows`], in order.
#[derive(Debug, Clone)]
pub struct Iter<'r> {
    incarnation: u64,
    rest: &'r [u8],
}

impl<'r> Iterator for Iter<'r> {
    type Item = Row<'r>;

    fn next(&mut self) -> Option<Row<'r>> {
        let record = layout::verified_record(self.rest)?;
        self.rest = self.rest.get(record.bytes..).unwrap_or_default();
        Some(Row { incarnation: self.incarnation, seq: record.seq, salt: record.salt, event: record.event })
    }
}
