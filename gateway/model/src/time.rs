//! Instants as values. The clocks themselves are read in one place, outside this crate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An instant for people: microseconds since 1970-01-01 UTC, as PostgreSQL stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcMicros(pub i64);

impl UtcMicros {
    /// The later instant, `seconds` after this one; saturates.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// The instant as the `time` crate has it, if it lies in that crate's range.
    pub fn to_datetime(self) -> Option<time::OffsetDateTime> {
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000).ok()
    }

    /// Cuts a `time` instant to microseconds.
    pub fn from_datetime(at: time::OffsetDateTime) -> Self {
        Self(i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_datetime().and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("out of range"))
    }
}

/// An instant for durations: nanoseconds of `CLOCK_BOOTTIME`, which does not stop while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootNanos(pub u64);

impl BootNanos {
    /// Nanoseconds from `earlier` to this instant; zero when `earlier` is later.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read together once for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For people: records, expiry dates.
    pub wall: UtcMicros,
    /// For durations: leases, limits, deadlines.
    pub boot: BootNanos,
}
