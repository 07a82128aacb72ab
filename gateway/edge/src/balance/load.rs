//! How slow an endpoint is, as one core sees it: a peak-sensitive moving average of its latency.

use std::sync::atomic::{AtomicU64, Ordering};

use model::time::BootNanos;

/// After this time an old latency counts for 1/e: long enough to smooth, short enough to forgive a bad minute.
const DECAY_NANOS: f64 = 10e9;
/// What an endpoint costs that has requests in flight and has answered none yet, in nanoseconds for each of them.
const UNKNOWN_NANOS: f64 = 1e9;

/// Peak-EWMA of one endpoint's latency: a slower answer counts at once, faster ones win back trust over [`DECAY_NANOS`].
///
/// # Source
/// Finagle's `PeakEwma` load metric.
#[derive(Debug, Default)]
pub struct Load {
    /// The average in nanoseconds, as the bits of an `f64`.
    average: AtomicU64,
    at: AtomicU64,
}

impl Load {
    /// Notes how long an answer took, or how long one was waited for in vain.
    pub fn observe(&self, took_nanos: u64, now: BootNanos) {
        let took = float(took_nanos);
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        let next = if took >= average {
            took
        } else {
            let weight = self.weight(now);
            average.mul_add(weight, took * (1.0 - weight))
        };
        self.average.store(next.to_bits(), Ordering::Relaxed);
        self.at.store(now.0, Ordering::Relaxed);
    }

    /// What the next request would cost: the average, forgotten as time passes, for each request in flight and the new one.
    pub fn cost(&self, in_flight: usize, now: BootNanos) -> f64 {
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        let waiting = float(u64::try_from(in_flight).unwrap_or(u64::MAX));
        if average == 0.0 {
            // Nothing is known: one request finds out, the others wait for what it says.
            return waiting * UNKNOWN_NANOS;
        }
        // Never to zero: between endpoints that are equally fast, the requests in flight must still decide.
        (average * self.weight(now)).max(1.0) * (waiting + 1.0)
    }

    fn weight(&self, now: BootNanos) -> f64 {
        let passed = now.nanos_since(BootNanos(self.at.load(Ordering::Relaxed)));
        (-float(passed) / DECAY_NANOS).exp()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency of 2^53 ns would be a hundred days")]
const fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
