//! How many retries a service still gets: a share of its live traffic, so that retries cannot drown what is failing.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use model::{structure::resilience::RetryBudget, time::BootNanos};

/// Seconds that count as live.
const SECONDS: usize = 10;

/// Requests and retries of the last seconds, as one core sees them; only that core writes here.
#[derive(Debug, Default)]
pub struct Budget {
    slots: [Slot; SECONDS],
}

#[derive(Debug, Default)]
struct Slot {
    second: AtomicU64,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    /// Counts a request that is not a retry.
    pub fn request(&self, now: BootNanos) {
        if let Some(slot) = self.slot(now) {
            slot.requests.store(slot.requests.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Takes a retry out of the budget; false when it is used up.
    pub fn take(&self, rule: &RetryBudget, now: BootNanos) -> bool {
        let Some(slot) = self.slot(now) else { return false };
        let oldest = second(now).saturating_sub(SECONDS as u64 - 1);
        let live = self.slots.iter().filter(|slot| slot.second.load(Ordering::Relaxed) >= oldest);
        let (requests, retries) = live.fold((0_u64, 0_u64), |(requests, retries), slot| {
            (requests + u64::from(slot.requests.load(Ordering::Relaxed)), retries + u64::from(slot.retries.load(Ordering::Relaxed)))
        });
        let allowed = requests * u64::from(rule.percent) / 100 + u64::from(rule.per_second) * SECONDS as u64;
        if retries >= allowed {
            return false;
        }
        slot.retries.store(slot.retries.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        true
    }

    /// The slot of this second, emptied when it still holds an earlier one.
    fn slot(&self, now: BootNanos) -> Option<&Slot> {
        let second = second(now);
        let slot = self.slots.get(usize::try_from(second).unwrap_or(0) % SECONDS)?;
        if slot.second.load(Ordering::Relaxed) != second {
            slot.second.store(second, Ordering::Relaxed);
            slot.requests.store(0, Ordering::Relaxed);
            slot.retries.store(0, Ordering::Relaxed);
        }
        Some(slot)
    }
}

const fn second(now: BootNanos) -> u64 {
    now.0 / 1_000_000_000
}

#[cfg(test)]
mod tests;
