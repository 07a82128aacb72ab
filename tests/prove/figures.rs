//! Durations in a line.

use std::time::Duration;

/// Durations of many trials.
#[derive(Debug, Default)]
pub(crate) struct Durations(Vec<Duration>);

impl Durations {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// The smallest duration that at least `percent` of all do not exceed, in milliseconds with one decimal.
    pub(crate) fn percentile(&self, percent: usize) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map_or_else(|| "none".to_owned(), |duration| millis(*duration))
    }
}

/// Milliseconds with one decimal.
pub(crate) fn millis(duration: Duration) -> String {
    let tenths = (duration.as_micros() + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A share as a number from 0 to 1 with four decimals, cut and not rounded: 1 means all.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let parts = part.saturating_mul(10_000).checked_div(whole).unwrap_or(0);
    format!("{}.{:04}", parts / 10_000, parts % 10_000)
}
