//! Whether two kinds of requests take different times: judged by ranks, which do not care for the few that something else has held up.

use std::time::Duration;

/// Standard deviations that chance is given.
const DEVIATIONS: f64 = 4.0;

/// The share of pairs in which the first is the slower one, and how far from one half that may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) slower: f64,
    pub(crate) allowed: f64,
    chance: f64,
}

impl Share {
    /// Compares two kinds; `bias_max` is what is allowed beyond what chance explains.
    pub(crate) fn of(first: &[Duration], second: &[Duration], bias_max: f64) -> Self {
        let (slower, chance) = slower(first, second);
        Self { slower, allowed: bias_max + DEVIATIONS * chance, chance }
    }

    pub(crate) fn is_even(&self) -> bool {
        (self.slower - 0.5).abs() <= self.allowed
    }

    /// The smallest delay of one of two kinds that take times like these that would be seen in 49 of 50 runs: so far from one half that
    /// two deviations to the wrong side do not hide it.
    pub(crate) fn sees(&self, times: &[Duration]) -> Duration {
        let is_seen = |delay: u64| {
            let late: Vec<Duration> = times.iter().map(|took| *took + Duration::from_micros(delay)).collect();
            slower(&late, times).0 - 0.5 >= self.allowed + 2.0 * self.chance
        };
        let (mut unseen, mut seen) = (0_u64, 1_u64);
        while !is_seen(seen) && seen < 1 << 32 {
            (unseen, seen) = (seen, seen * 2);
        }
        while seen - unseen > 1 {
            let middle = unseen.midpoint(seen);
            if is_seen(middle) { seen = middle } else { unseen = middle }
        }
        Duration::from_micros(seen)
    }
}

/// The share of all pairs in which the first is the slower one, ties counted half (Mann and Whitney), and its standard deviation
/// where there is no difference.
#[expect(clippy::cast_precision_loss, reason = "counts of some ten thousands")]
fn slower(first: &[Duration], second: &[Duration]) -> (f64, f64) {
    let (n, m) = (first.len() as f64, second.len() as f64);
    let mut all: Vec<(Duration, bool)> = first.iter().map(|took| (*took, true)).chain(second.iter().map(|took| (*took, false))).collect();
    all.sort_unstable();
    let (mut sum, mut before) = (0.0, 0.0);
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        let firsts = same.iter().filter(|(_, is_first)| *is_first).count() as f64;
        let seconds = same.len() as f64 - firsts;
        sum += firsts * (before + seconds / 2.0);
        before += seconds;
    }
    (sum / (n * m), ((n + m + 1.0) / (12.0 * n * m)).sqrt())
}

/// The median, in microseconds.
pub(crate) fn micros(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or_else(|| "none".to_owned(), |took| format!("{:.1}", took.as_secs_f64() * 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[u64]) -> Vec<Duration> {
        list.iter().map(|us| Duration::from_micros(*us)).collect()
    }

    #[test]
    fn the_share_of_slower_pairs_is_counted_with_ties() {
        for (first, second, expected) in [
            (of(&[1, 2, 3]), of(&[1, 2, 3]), 0.5),
            (of(&[4, 5]), of(&[1, 2, 3]), 1.0),
            (of(&[1]), of(&[2, 3]), 0.0),
            (of(&[1, 3]), of(&[2, 2]), 0.5),
            (of(&[2, 2]), of(&[2, 2, 2]), 0.5),
        ] {
            assert!((slower(&first, &second).0 - expected).abs() < 1e-9, "{first:?} {second:?}");
        }
    }

    #[test]
    fn what_a_run_would_see_is_a_delay_that_it_would_see() {
        let times: Vec<Duration> = (0..500).map(|us| Duration::from_micros(1_000 + us)).collect();
        let share = Share::of(&times, &times, 0.02);
        assert!(share.is_even());

        let seen = share.sees(&times);
        let late = |delay: Duration| times.iter().map(|took| *took + delay).collect::<Vec<_>>();
        assert!(!Share::of(&late(seen), &times, 0.02).is_even() && !Share::of(&times, &late(seen), 0.02).is_even());
        assert!(Share::of(&late(seen / 4), &times, 0.02).is_even(), "{} us", seen.as_micros());
    }
}
