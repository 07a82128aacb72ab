//! What is known to exist and is not applied yet, and for how long.

use std::time::Duration;

use model::{change::Revisions, time::BootNanos};
use store::{pool::Reader, revision};
use tokio::time::{MissedTickBehavior, interval};

/// How long a replica may be behind what is known before the primary is asked instead; where that takes longer to answer, for so long.
const REPLICA_PATIENCE_NANOS: u64 = 100_000_000;

/// The same as a duration, for a primary whose answers take `rtt_us`.
pub(super) const fn patience(rtt_us: u64) -> Duration {
    Duration::from_nanos(patience_nanos(rtt_us))
}

const fn patience_nanos(rtt_us: u64) -> u64 {
    let rtt = rtt_us.saturating_mul(1_000);
    if rtt > REPLICA_PATIENCE_NANOS { rtt } else { REPLICA_PATIENCE_NANOS }
}

/// How often the region's replica is looked at while the primary is asked.
const LOOK: Duration = Duration::from_millis(25);

/// The newest revision of the authority lane that is known to exist and has not been applied, with its epoch.
#[derive(Debug, Default)]
pub(super) struct Awaited(Option<((u64, u64), BootNanos)>);

impl Awaited {
    /// Takes in that there is such a revision of such an epoch. It waits since the first that is missing was heard of: a server of the
    /// region that has been left behind in an earlier epoch must not be followed for good.
    pub(super) fn hear(&mut self, applied: &Revisions, at: (u64, u64), now: BootNanos) {
        let is_new = at > (applied.epoch, applied.authority) && self.0.is_none_or(|(known, _)| known < at);
        if is_new {
            let since = self.0.map_or(now, |(_, since)| since);
            self.0 = Some((at, since));
        }
    }

    /// Forgets what is applied now.
    pub(super) fn reached(&mut self, applied: &Revisions) {
        if self.0.is_some_and(|(at, _)| at <= (applied.epoch, applied.authority)) {
            self.0 = None;
        }
    }

    /// Something is awaited.
    pub(super) const fn is_any(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until a server has what is awaited; for good when it never does.
    pub(super) async fn arrives(&self, reader: &impl Reader) {
        let mut pulse = interval(LOOK);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pulse.tick().await;
            let Some((at, _)) = self.0 else { return };
            if revision::heads(reader).await.is_ok_and(|heads| (heads.epoch, heads.authority) >= at) {
                return;
            }
        }
    }

    /// It has been for too long for the region's replica to be asked any more.
    pub(super) fn is_late(&self, now: BootNanos, rtt_us: u64) -> bool {
        self.0.is_some_and(|(_, since)| now.nanos_since(since) > patience_nanos(rtt_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_is_awaited_since_the_first_that_is_missing_and_over_a_promotion() {
        let applied = |epoch, authority| Revisions { epoch, authority, ..Revisions::default() };
        let (mut awaited, late) = (Awaited::default(), BootNanos(REPLICA_PATIENCE_NANOS + 2));
        awaited.hear(&applied(1, 5), (1, 5), BootNanos(1));
        assert!(!awaited.is_any(), "it is applied");
        awaited.hear(&applied(1, 5), (1, 6), BootNanos(1));
        awaited.hear(&applied(1, 5), (2, 3), BootNanos(50));
        assert!(awaited.is_late(late, 0) && !awaited.is_late(BootNanos(2), 0));
        let far = 300_000;
        assert!(!awaited.is_late(late, far) && awaited.is_late(BootNanos(far * 1_000 + 2), far), "the primary would not have answered");
        awaited.reached(&applied(1, 9));
        assert!(awaited.is_any(), "the numbers of another epoch");
        awaited.reached(&applied(2, 3));
        assert!(!awaited.is_any() && !awaited.is_late(late, 0));
    }
}
