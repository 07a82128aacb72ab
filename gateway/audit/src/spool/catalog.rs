//! Which segments there are. The writer, the reader and the release of loaded segments meet here and nowhere else.

use std::collections::BTreeMap;

use crate::layout::HEADER_BYTES;

/// One file with frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    pub(crate) first_seq: u64,
    /// `first_seq - 1` while there is nothing durable in it.
    pub(crate) last_seq: u64,
    /// Where the last verified or durable batch ends.
    pub(crate) end: u64,
    /// What the file takes on disk.
    pub(crate) disk_bytes: u64,
    pub(crate) condition: Condition,
}

/// What may happen to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Being written.
    Live,
    /// Finished; goes when it is loaded.
    Done,
    /// Evidence: what is whole before the damage can be read, and it never goes by itself.
    Damaged,
}

impl Segment {
    /// What it counts towards the fill: a damaged file counts whole, because its bytes are never given back.
    pub(crate) fn used_bytes(&self) -> u64 {
        match self.condition {
            Condition::Live | Condition::Done => self.end,
            Condition::Damaged => self.disk_bytes,
        }
    }

    /// Whether it holds a row that can be read.
    pub(crate) const fn has_rows(&self) -> bool {
        self.end > HEADER_BYTES && self.last_seq >= self.first_seq
    }
}

/// Every segment in the directory, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    segments: BTreeMap<(u64, u64, bool), Segment>,
    /// Preallocated bytes without frames.
    pub(crate) spare_bytes: u64,
}

impl Catalog {
    pub(crate) fn insert(&mut self, segment: Segment) {
        let is_damaged = segment.condition == Condition::Damaged;
        self.segments.insert((segment.incarnation, segment.first_seq, is_damaged), segment);
    }

    pub(crate) fn remove(&mut self, segment: &Segment) {
        let is_damaged = segment.condition == Condition::Damaged;
        self.segments.remove(&(segment.incarnation, segment.first_seq, is_damaged));
    }

    /// The segment being written.
    pub(crate) fn live_mut(&mut self) -> Option<&mut Segment> {
        self.segments.values_mut().rfind(|segment| segment.condition == Condition::Live)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values()
    }

    /// The segments of one incarnation that hold rows, in order.
    pub(crate) fn readable(&self, incarnation: u64) -> Vec<Segment> {
        self.segments
            .range((incarnation, 0, false)..=(incarnation, u64::MAX, true))
            .map(|(_, segment)| segment)
            .filter(|segment| segment.has_rows())
            .cloned()
            .collect()
    }

    /// What is taken from the disk, spares included.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.iter().fold(self.spare_bytes, |sum, segment| sum.saturating_add(segment.disk_bytes))
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.iter().fold(0, |sum, segment| sum.saturating_add(segment.used_bytes()))
    }

    pub(crate) fn damaged(&self) -> u64 {
        let damaged = self.iter().filter(|segment| segment.condition == Condition::Damaged).count();
        u64::try_from(damaged).unwrap_or(u64::MAX)
    }
}
