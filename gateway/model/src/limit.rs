//! Rate limits: the quota that an operator writes, and the cell that counts against it.
//!
//! The algorithm is GCRA (ITU-T I.371): one number, the theoretical arrival time, holds the whole state. A cell is
//! therefore a single atomic that cores share without a lock; the callers bring the time.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::BootNanos;

/// A rate: `count` requests in each `period_nanos`, written `20/s`, `5/m`, `100/10s`, `10000/d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a period.
    pub count: NonZeroU32,
    /// Length of the period in nanoseconds, never zero.
    pub period_nanos: u64,
}

impl Rate {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, period) = text.split_once('/')?;
        let count = count.parse().ok()?;
        let split = period.find(|c: char| !c.is_ascii_digit())?;
        let (digits, unit) = period.split_at_checked(split)?;
        let times: u64 = if digits.is_empty() { 1 } else { digits.parse().ok()? };
        let unit_nanos: u64 = match unit {
            "s" | "second" => 1_000_000_000,
            "m" | "min" | "minute" => 60_000_000_000,
            "h" | "hour" => 3_600_000_000_000,
            "d" | "day" => 86_400_000_000_000,
            _ => return None,
        };
        let period_nanos = times.checked_mul(unit_nanos)?;
        // Beyond 31 days a GCRA cell is the wrong tool: calendar quotas are counted in the database.
        (period_nanos > 0 && period_nanos <= 31 * 86_400_000_000_000).then_some(Self { count, period_nanos })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not a rate: write a count and a period, such as 20/s, 5/m or 1000/d")))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.period_nanos / 1_000_000_000;
        match seconds {
            1 => serializer.collect_str(&format_args!("{}/s", self.count)),
            60 => serializer.collect_str(&format_args!("{}/m", self.count)),
            3_600 => serializer.collect_str(&format_args!("{}/h", self.count)),
            86_400 => serializer.collect_str(&format_args!("{}/d", self.count)),
            _ => serializer.collect_str(&format_args!("{}/{seconds}s", self.count)),
        }
    }
}

/// A rate with the burst it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds between two requests at the steady rate.
    pub interval_nanos: u64,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
}

impl Quota {
    /// Makes a quota; without a `burst` the whole period's count may come at once.
    pub fn new(rate: Rate, burst: Option<NonZeroU32>) -> Self {
        Self { interval_nanos: (rate.period_nanos / u64::from(rate.count.get())).max(1), burst: burst.unwrap_or(rate.count) }
    }

    /// Seconds in which an empty bucket fills: the `w` of `RateLimit-Policy`, at least one.
    pub fn window_seconds(&self) -> u64 {
        (self.interval_nanos.saturating_mul(u64::from(self.burst.get()))).div_ceil(1_000_000_000).max(1)
    }
}

/// What a cell says about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is room: how many more would be admitted now, and when the bucket is full again.
    Admitted {
        /// Requests that would still be admitted at this instant.
        remaining: u32,
        /// Nanoseconds until the bucket is full again.
        full_after_nanos: u64,
    },
    /// There is no room; nothing was charged.
    Refused {
        /// Nanoseconds until the next request would be admitted.
        retry_after_nanos: u64,
    },
}

/// The state of one quota for one subject: the theoretical arrival time, in nanoseconds of the boot clock.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// A cell that has seen nothing.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Says what [`Self::charge`] would say, without charging.
    pub fn peek(&self, quota: &Quota, now: BootNanos) -> Verdict {
        decide(self.0.load(Ordering::Relaxed), quota, now).0
    }

    /// Admits and charges one request, or refuses it and charges nothing.
    pub fn charge(&self, quota: &Quota, now: BootNanos) -> Verdict {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            let (verdict, next) = decide(current, quota, now);
            let Some(next) = next else { return verdict };
            match self.0.compare_exchange_weak(current, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return verdict,
                Err(seen) => current = seen,
            }
        }
    }

    /// Gives back one request that was charged but not processed.
    pub fn refund(&self, quota: &Quota) {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tat| Some(tat.saturating_sub(quota.interval_nanos))).ok();
    }

    /// True when the cell holds no debt at `now`: forgetting it changes nothing.
    pub fn is_idle(&self, now: BootNanos) -> bool {
        self.0.load(Ordering::Relaxed) <= now.0
    }
}

fn decide(tat: u64, quota: &Quota, now: BootNanos) -> (Verdict, Option<u64>) {
    let burst = u64::from(quota.burst.get());
    let tolerance = quota.interval_nanos.saturating_mul(burst.saturating_sub(1));
    let start = tat.max(now.0);
    let ahead = start - now.0;
    if ahead > tolerance {
        return (Verdict::Refused { retry_after_nanos: ahead - tolerance }, None);
    }
    let next = start.saturating_add(quota.interval_nanos);
    let remaining = u32::try_from((tolerance - ahead) / quota.interval_nanos).unwrap_or(u32::MAX);
    (Verdict::Admitted { remaining, full_after_nanos: next - now.0 }, Some(next))
}

#[cfg(test)]
mod tests;
