//! The authority lease: until when this node may trust what it knows about keys.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{
    policy::OnStaleDoc,
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    structure::KeyFreshness,
    time::{BootNanos, Now},
};

/// A clock that counts nanoseconds loses less than one in so many: kernels let time servers slow it down by one in 2,000 at most, and
/// crystals are off by some ten in a million.
const DRIFT: u64 = 1_000;

/// The start of the newest read of the writer's authority head whose revision this node has applied.
///
/// A bound taken from the *start* of the read holds whatever the read itself took (design: consistency, "Revocation
/// with a bound"). Zero means: nothing confirmed since this process started.
#[derive(Debug)]
pub struct Lease {
    confirmed_at: AtomicU64,
    /// How old a snapshot from disk may be for `allow` routes, in microseconds.
    boot_stale_max_micros: i64,
}

impl Lease {
    /// A lease that nothing has confirmed yet.
    pub const fn new(boot_stale_max_micros: i64) -> Self {
        Self { confirmed_at: AtomicU64::new(0), boot_stale_max_micros }
    }

    /// Notes a confirmation. An earlier instant than the one known changes nothing.
    pub fn confirm(&self, started_at: BootNanos) {
        self.confirmed_at.fetch_max(started_at.0, Ordering::Release);
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
        policy.on_stale != OnStaleDoc::Deny || is_within(policy, now.nanos_since(BootNanos(newest)))
    }

    /// Lets a request pass that may rely on what this node knows, by its route's policy.
    ///
    /// # Errors
    /// `authority-stale` when it may not.
    pub fn check(&self, policy: KeyFreshness, is_read: bool, snapshot: &Snapshot, now: Now) -> Result<(), Denial> {
        let staleness = self.staleness_nanos(now.boot);
        if staleness.is_some_and(|nanos| is_within(policy, nanos)) {
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
const fn is_within(policy: KeyFreshness, nanos: u64) -> bool {
    nanos.saturating_add(nanos / DRIFT) <= policy.max_staleness_nanos
}

#[cfg(test)]
mod tests;
