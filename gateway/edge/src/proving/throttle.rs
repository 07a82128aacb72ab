//! So many failures for each subject, and no more until they have been forgotten.

use std::{collections::HashMap, hash::Hash, num::NonZeroU32};

use model::{
    limit::{Cell, Quota, Verdict},
    time::BootNanos,
};
use parking_lot::Mutex;

/// Subjects that are remembered. Where there are more, new ones wait: each has failed within the last minutes.
const SUBJECTS_MAX: usize = 16_384;

/// Counts failures.
#[derive(Debug)]
pub(super) struct Throttle<K> {
    quota: Quota,
    cells: Mutex<HashMap<K, Cell>>,
}

impl<K: Copy + Eq + Hash> Throttle<K> {
    /// This many at once, and another each time when so long has passed.
    pub(super) fn new(burst: u32, interval_nanos: u64) -> Self {
        Self { quota: Quota { interval_nanos, burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN) }, cells: Mutex::default() }
    }

    /// How many nanoseconds it has to wait; `None` when it may go on.
    pub(super) fn wait(&self, subject: K, now: BootNanos) -> Option<u64> {
        let mut cells = self.cells.lock();
        if let Some(cell) = cells.get(&subject) {
            return match cell.peek(&self.quota, now) {
                Verdict::Admitted { .. } => None,
                Verdict::Refused { retry_after_nanos } => Some(retry_after_nanos),
            };
        }
        if cells.len() >= SUBJECTS_MAX {
            cells.retain(|_, cell| !cell.is_idle(now));
        }
        (cells.len() >= SUBJECTS_MAX).then_some(self.quota.interval_nanos)
    }

    /// Counts a failure.
    pub(super) fn charge(&self, subject: K, now: BootNanos) {
        self.cells.lock().entry(subject).or_default().charge(&self.quota, now);
    }
}

#[cfg(test)]
mod tests;
