//! The one place where the data plane reads the clocks.

use model::time::{BootNanos, Now, UtcMicros};
use rustix::time::{ClockId, clock_gettime};

/// The machine's clocks: wall time for people, `CLOCK_BOOTTIME` for durations.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// Reads both clocks: two vDSO calls, about 50 ns.
    pub fn now(self) -> Now {
        Now { wall: self.wall(), boot: self.boot() }
    }

    /// Reads the wall clock alone.
    pub fn wall(self) -> UtcMicros {
        let wall = clock_gettime(ClockId::Realtime);
        UtcMicros(wall.tv_sec.saturating_mul(1_000_000).saturating_add(wall.tv_nsec / 1_000))
    }

    /// Reads the boot clock alone.
    pub fn boot(self) -> BootNanos {
        let boot = clock_gettime(ClockId::Boottime);
        let nanos = boot.tv_sec.saturating_mul(1_000_000_000).saturating_add(boot.tv_nsec);
        BootNanos(u64::try_from(nanos).unwrap_or(0))
    }
}
