//! The authority lease: until when this node may trust what it knows about keys.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{
    policy::OnStaleDoc,
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    structure::KeyFreshness,
    time::{BootNanos, Now},
};
use parking_lot::Mutex;

/// A clock that counts nanoseconds loses less than one in so many: kernels let time servers slow it down by one in 2,000 at most, and
/// crystals are off by some ten in a million.
pub const DRIFT: u64 = 1_000;

/// The start of the newest read of the writer's authority head whose revision this node has applied.
///
/// A bound taken from the *start* of the read holds whatever the read itself took (design: consistency, "Revocation
/// with a bound"). Zero means: nothing confirmed since this process started.
///
/// **A bound counts once it is registered.** A receipt waits for a node that is cut off by the bound that the node has reported. So no
/// confirmation is relied on for longer than was reported before its read began: not by a node that has reported nothing, and not for the
/// wider bound of a document that came after the report.
#[derive(Debug)]
pub struct Lease {
    confirmed_at: AtomicU64,
    /// Nanoseconds for which a confirmation counts at most.
    registered: AtomicU64,
    /// A wider bound that was reported, and when that was known to be written; it counts for reads that begin later.
    reported: Mutex<Option<(u64, BootNanos)>>,
    /// How old a snapshot from disk may be for `allow` routes, in microseconds.
    boot_stale_max_micros: i64,
}

impl Lease {
    /// A lease that nothing has confirmed yet.
    pub const fn new(boot_stale_max_micros: i64) -> Self {
        Self { confirmed_at: AtomicU64::new(0), registered: AtomicU64::new(0), reported: Mutex::new(None), boot_stale_max_micros }
    }

    /// Notes a confirmation. An earlier instant than the one known changes nothing.
    pub fn confirm(&self, started_at: BootNanos) {
        let mut reported = self.reported.lock();
        // The confirmation first: the wider bound must not meet an earlier one.
        self.confirmed_at.fetch_max(started_at.0, Ordering::AcqRel);
        if let Some((bound, _)) = reported.take_if(|(_, at)| *at <= started_at) {
            self.registered.store(bound, Ordering::Release);
        }
    }

    /// Says that this bound, in nanoseconds, is about to be reported: no wider one counts from now on.
    pub fn reporting(&self, bound: u64) {
        if let Some((reported, _)) = &mut *self.reported.lock() {
            *reported = bound.min(*reported);
        }
        self.registered.fetch_min(bound, Ordering::AcqRel);
    }

    /// Says that the report is known to be written, now.
    pub fn reported(&self, bound: u64, now: BootNanos) {
        let mut reported = self.reported.lock();
        // The same again counts from the first time: a confirmation may take longer than a report.
        let is_known = reported.is_some_and(|(known, _)| known == bound);
        if bound > self.registered.load(Ordering::Acquire) && !is_known {
            *reported = Some((bound, now));
        }
    }

    /// For how long a confirmation counts at most, in nanoseconds; zero before the first that a report went before.
    pub fn registered_nanos(&self) -> u64 {
        self.registered.load(Ordering::Acquire)
    }

    /// Nanoseconds since the newest confirmation; `None` before the first.
    pub fn staleness_nanos(&self, now: BootNanos) -> Option<u64> {
        match self.confirmed_at.load(Ordering::Acquire) {
            0 => None,
            at => Some(now.nanos_since(BootNanos(at))),
        }
    }

    /// Whether knowledge of `known_at` may be relied on by a read, where a lane that was read later would have corrected it: it, or
    /// the newest confirmation, is young enough for the route, or the route takes older knowledge.
    ///
    /// A stored response is such knowledge: a purge that this node has not heard of was committed after the newest confirmation,
    /// and one that was committed before the response was asked for does not concern it.
    pub fn covers(&self, policy: KeyFreshness, known_at: BootNanos, now: BootNanos) -> bool {
        let newest = self.confirmed_at.load(Ordering::Acquire).max(known_at.0);
        policy.on_stale != OnStaleDoc::Deny || is_within(policy.max_staleness_nanos, now.nanos_since(BootNanos(newest)))
    }

    /// Lets a request pass that may rely on what this node knows, by its route's policy.
    ///
    /// # Errors
    /// `authority-stale` when it may not.
    pub fn check(&self, policy: KeyFreshness, is_read: bool, snapshot: &Snapshot, now: Now) -> Result<(), Denial> {
        // Read before the confirmation, see `confirm`.
        let bound = policy.max_staleness_nanos.min(self.registered.load(Ordering::Acquire));
        let staleness = self.staleness_nanos(now.boot);
        if staleness.is_some_and(|nanos| is_within(bound, nanos)) {
            return Ok(());
        }
        let allowed = match policy.on_stale {
            OnStaleDoc::Deny => false,
            OnStaleDoc::Allow => true,
            OnStaleDoc::AllowReads => is_read,
        };
        // A clock set back makes the age negative: then nothing is known about it, and it counts as too old.
        let boot_too_old = staleness.is_none()
            && snapshot.booted_from.is_some_and(|sealed| !(0..=self.boot_stale_max_micros).contains(&now.wall.0.saturating_sub(sealed.0)));
        if allowed && !boot_too_old {
            return Ok(());
        }
        Err(Denial::new(ProblemKind::AuthorityStale, "this region cannot confirm right now that keys are still valid; try again").retry_after(1))
    }
}

/// Whether this many nanoseconds of this node's clock are within a route's bound on a true one: the clock may lose [`DRIFT`] of them.
const fn is_within(bound: u64, nanos: u64) -> bool {
    nanos.saturating_add(nanos / DRIFT) <= bound
}

#[cfg(test)]
mod tests;
