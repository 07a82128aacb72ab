//! How long the writer waits for company between two syncs.

use std::time::Duration;

/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(2);

/// Records a second from which on a rest grows beyond the length of its sync, in proportion to the pace...
const BRISK: u64 = 4_000;

/// ... up to so many lengths: syncs then take a fifth of the writer's time.
const LENGTHS_MAX: u32 = 4;

/// The pace at which records come, a running mean over the last batches.
///
/// After a sync the writer rests for as long as the sync took, and longer the more records come, unless every outstanding slot
/// is queued: under load fewer syncs carry more records each, and whoever is alone waits for nobody.
#[derive(Debug, Default)]
pub(super) struct Pace {
    per_second: u64,
    last: Duration,
}

impl Pace {
    /// Counts a batch whose sync took so long and ended at `now`; says how long to rest.
    pub(super) fn rest(&mut self, records: u64, took: Duration, now: Duration) -> Duration {
        let micros = now.saturating_sub(self.last).as_micros().max(1);
        let current = u64::try_from(u128::from(records) * 1_000_000 / micros).unwrap_or(u64::MAX);
        self.last = now;
        self.per_second = self.per_second / 4 * 3 + current / 4;
        let lengths = u32::try_from(self.per_second / BRISK).unwrap_or(LENGTHS_MAX).clamp(1, LENGTHS_MAX);
        took.saturating_mul(lengths).min(REST_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(200);

    /// The last rest after a hundred batches of so many records, one every `every`.
    fn settled(records: u64, every: Duration) -> Duration {
        let mut pace = Pace::default();
        let rests = (1..=100).map(|turn| pace.rest(records, SYNC, every * turn));
        rests.last().unwrap_or_default()
    }

    #[test]
    fn rest_is_one_sync_until_many_records_come_and_grows_with_them() {
        let ms = Duration::from_millis;

        assert_eq!(settled(1, ms(1_000)), SYNC);
        assert_eq!(settled(7, ms(1)), SYNC, "7,000 a second");
        assert_eq!(settled(13, ms(1)), SYNC * 3, "13,000 a second");
        assert_eq!(settled(64, ms(1)), SYNC * 4, "64,000 a second");
    }

    #[test]
    fn slow_disk_does_not_make_the_rest_long_and_a_still_clock_does_no_harm() {
        let mut pace = Pace::default();

        for _ in 0..100 {
            assert!(pace.rest(u64::MAX, Duration::from_secs(3), Duration::ZERO) <= REST_MAX);
        }
    }
}
