//! Admission: slots and bytes are counted before a request acts, in a handful of atomics.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use crate::layout::{HEADER_BYTES, RECORD_BYTES_MAX};

/// How a route's records are kept; it decides how full the disk may be and whether anyone waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Nobody waits; first to be refused when the disk fills.
    Buffered,
    /// The outcome is on disk before the response is released.
    Durable,
    /// The intent too, before dispatch.
    Strict,
}

/// Why a reservation was refused. Whoever asked must refuse the request before it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unavailable {
    /// A write or sync failed; the node must leave rotation.
    #[error("the audit spool has failed")]
    Failed,
    /// The spool was closed.
    #[error("the audit spool is closed")]
    Closed,
    /// 85 % (buffered) or 95 % (all) of `disk_bytes_max` is used or reserved.
    #[error("the audit spool is full")]
    Full,
    /// No preallocated space is left; more may be there in a moment.
    #[error("the audit spool has no preallocated space left")]
    Space,
    /// `outstanding_max` slots are reserved and not yet durable.
    #[error("too many audit records are outstanding")]
    Busy,
}

/// Plain numbers for gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolState {
    /// Bytes of records and headers on disk, every incarnation.
    pub used_bytes: u64,
    /// Bytes promised to outstanding slots.
    pub reserved_bytes: u64,
    /// The most that may be used.
    pub max_bytes: u64,
    /// Slots reserved and not yet durable.
    pub outstanding: u64,
    /// The most of them.
    pub outstanding_max: u64,
    /// The last seq of this incarnation that is on disk.
    pub durable_seq: u64,
    /// Calls of `fdatasync` on batches.
    pub fsyncs_total: u64,
    /// How long the last of them took, with its write, in microseconds.
    pub fsync_last_us: u64,
    /// Records made durable by this incarnation.
    pub records_total: u64,
    /// Batches made durable by this incarnation.
    pub batches_total: u64,
    /// Reservations refused.
    pub refused_total: u64,
    /// Segments set aside as damaged, by this opening or an earlier one.
    pub damaged_segments: u64,
    /// Whether a write or sync has failed; it stays so until the next opening.
    pub failed: bool,
    /// Whether one more request has room, slots already promised aside: it has none near 95 % of `max_bytes`, nor when the
    /// file system gives no more, however little of `max_bytes` that is.
    pub has_room: bool,
    /// Used and reserved bytes in thousandths of the maximum; 700 is the time to alarm.
    pub fill_permille: u16,
}

const RUNNING: u8 = 0;
const CLOSED: u8 = 1;
const FAILED: u8 = 2;

/// A slot's share of the disk.
const SLOT_BYTES: u64 = RECORD_BYTES_MAX;

/// Every batch ends where the next record might not fit: up to a record's worth is left over.
const SEGMENT_WASTE: u64 = SLOT_BYTES;

/// The most that one request reserves: its intent, its outcome, and its close.
const REQUEST_SLOTS_MAX: u64 = 3;

/// How full durable and strict records may make the disk.
const DURABLE_PERCENT_MAX: u64 = 95;

/// The counters.
#[derive(Debug)]
pub(crate) struct Space {
    mode: AtomicU8,
    outstanding: AtomicU64,
    outstanding_max: u64,
    used: AtomicU64,
    max: u64,
    /// What the live segment and the spares can still take, in the worst case.
    backing: AtomicU64,
    wants_spare: AtomicBool,
    refused: AtomicU64,
    durable_seq: AtomicU64,
    fsyncs: AtomicU64,
    fsync_last_us: AtomicU64,
}

impl Space {
    pub(crate) const fn new(max: u64, outstanding_max: u64, used: u64) -> Self {
        Self {
            mode: AtomicU8::new(RUNNING),
            outstanding: AtomicU64::new(0),
            outstanding_max,
            used: AtomicU64::new(used),
            max,
            backing: AtomicU64::new(0),
            wants_spare: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            durable_seq: AtomicU64::new(0),
            fsyncs: AtomicU64::new(0),
            fsync_last_us: AtomicU64::new(0),
        }
    }

    /// What a segment with `free` bytes behind its data can take for certain.
    pub(crate) const fn backing_of(free: u64) -> u64 {
        free.saturating_sub(SEGMENT_WASTE)
    }

    /// What a spare of this length can take for certain.
    pub(crate) const fn backing_of_spare(bytes: u64) -> u64 {
        Self::backing_of(bytes.saturating_sub(HEADER_BYTES))
    }

    /// Takes `slots`, or says why not.
    pub(crate) fn admit(&self, durability: Durability, slots: u64) -> Result<(), Unavailable> {
        let after = self.outstanding.fetch_add(slots, Ordering::SeqCst) + slots;
        self.verdict(durability, after).inspect_err(|_| {
            self.outstanding.fetch_sub(slots, Ordering::SeqCst);
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn verdict(&self, durability: Durability, after: u64) -> Result<(), Unavailable> {
        match self.mode.load(Ordering::SeqCst) {
            RUNNING => {}
            CLOSED => return Err(Unavailable::Closed),
            _ => return Err(Unavailable::Failed),
        }
        let reserved = after.saturating_mul(SLOT_BYTES);
        let share = match durability {
            Durability::Buffered => 85,
            Durability::Durable | Durability::Strict => DURABLE_PERCENT_MAX,
        };
        if self.used.load(Ordering::SeqCst).saturating_add(reserved) > self.max / 100 * share {
            return Err(Unavailable::Full);
        }
        if after > self.outstanding_max {
            return Err(Unavailable::Busy);
        }
        if reserved > self.backing.load(Ordering::SeqCst) {
            return Err(Unavailable::Space);
        }
        Ok(())
    }

    /// Whether the space already allocated is less than twice what is promised.
    fn is_short(&self, outstanding: u64) -> bool {
        outstanding.saturating_mul(2 * SLOT_BYTES) > self.backing.load(Ordering::SeqCst)
    }

    /// Whether another spare should be made.
    pub(crate) fn needs_spare(&self) -> bool {
        self.is_short(self.outstanding())
    }

    /// Whether the caller should wake the maker for more space: true once, until there is enough.
    pub(crate) fn asks_for_spare(&self) -> bool {
        self.needs_spare() && !self.spare_wanted() && !self.wants_spare.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn spare_wanted(&self) -> bool {
        self.wants_spare.load(Ordering::SeqCst)
    }

    pub(crate) fn want_spare(&self, wanted: bool) {
        self.wants_spare.store(wanted, Ordering::SeqCst);
    }

    /// Gives slots back: dropped unused, or durable.
    pub(crate) fn give_back(&self, slots: u64) {
        self.outstanding.fetch_sub(slots, Ordering::SeqCst);
    }

    /// Takes a slot that was not reserved, for a caller that records more often than it reserved: a record out of its
    /// budget is better than a missing one.
    pub(crate) fn force(&self) {
        self.outstanding.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding.load(Ordering::SeqCst)
    }

    /// Whether there is any space for records.
    pub(crate) fn has_backing(&self) -> bool {
        self.backing.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn set_backing(&self, bytes: u64) {
        self.backing.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn add_used(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(crate) fn sub_used(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }

    pub(crate) fn durable_seq(&self) -> u64 {
        self.durable_seq.load(Ordering::SeqCst)
    }

    pub(crate) fn set_durable_seq(&self, seq: u64) {
        self.durable_seq.store(seq, Ordering::SeqCst);
    }

    /// One batch was written and synced, in this time.
    pub(crate) fn synced(&self, took: Duration) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.fsync_last_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// No reservation is admitted from here on.
    pub(crate) fn fail(&self) {
        self.mode.store(FAILED, Ordering::SeqCst);
    }

    /// As [`Space::fail`], but a failure before stays one.
    pub(crate) fn close(&self) {
        if self.mode.load(Ordering::SeqCst) == RUNNING {
            self.mode.compare_exchange(RUNNING, CLOSED, Ordering::SeqCst, Ordering::SeqCst).ok();
        }
    }

    pub(crate) fn state(&self, damaged_segments: u64) -> SpoolState {
        let outstanding = self.outstanding();
        let used_bytes = self.used.load(Ordering::SeqCst);
        let reserved_bytes = outstanding.saturating_mul(SLOT_BYTES);
        let request_bytes = REQUEST_SLOTS_MAX * SLOT_BYTES;
        let fill = used_bytes.saturating_add(reserved_bytes).saturating_mul(1_000) / self.max.max(1);
        let durable_seq = self.durable_seq();
        let fsyncs = self.fsyncs.load(Ordering::Relaxed);
        SpoolState {
            used_bytes,
            reserved_bytes,
            max_bytes: self.max,
            outstanding,
            outstanding_max: self.outstanding_max,
            durable_seq,
            fsyncs_total: fsyncs,
            fsync_last_us: self.fsync_last_us.load(Ordering::Relaxed),
            records_total: durable_seq,
            batches_total: fsyncs,
            refused_total: self.refused.load(Ordering::Relaxed),
            damaged_segments,
            failed: self.mode.load(Ordering::SeqCst) == FAILED,
            has_room: used_bytes.saturating_add(request_bytes) <= self.max / 100 * DURABLE_PERCENT_MAX
                && self.backing.load(Ordering::SeqCst) >= request_bytes,
            fill_permille: u16::try_from(fill).unwrap_or(u16::MAX),
        }
    }
}
