//! What is known to exist and is not applied yet, and for how long.

use std::time::Duration;

use model::{
    change::{Lane, Revisions},
    time::BootNanos,
};
use store::{
    pool::Reader,
    revision::{self, Hint},
};
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

/// Which revision of which epoch.
type At = (u64, u64);

/// The newest revision of each lane that is known to exist and has not been looked at, with its epoch.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    authority: Missing,
    structural: Missing,
}

/// One lane's, and since when one is missing.
#[derive(Debug, Default)]
struct Missing(Option<(At, BootNanos)>);

impl Missing {
    /// It waits since the first that is missing was heard of: a server of the region that has been left behind in an earlier epoch must not
    /// be followed for good.
    fn hear(&mut self, have: At, there: At, now: BootNanos) {
        let is_new = there > have && self.0.is_none_or(|(known, _)| known < there);
        if is_new {
            let since = self.0.map_or(now, |(_, since)| since);
            self.0 = Some((there, since));
        }
    }

    fn reached(&mut self, have: At) {
        if !self.is_missing(have) {
            self.0 = None;
        }
    }

    /// Whether who has this lacks something.
    fn is_missing(&self, have: At) -> bool {
        self.0.is_some_and(|(at, _)| at > have)
    }

    fn is_late(&self, now: BootNanos, rtt_us: u64) -> bool {
        self.0.is_some_and(|(_, since)| now.nanos_since(since) > patience_nanos(rtt_us))
    }
}

const fn authority(of: &Revisions) -> At {
    (of.epoch, of.authority)
}

const fn structural(of: &Revisions) -> At {
    (of.epoch, of.structural)
}

impl Awaited {
    /// Takes in that a server has these. `have` is what was looked at, in its epoch.
    pub(super) fn hear(&mut self, have: &Revisions, there: &Revisions, now: BootNanos) {
        self.authority.hear(authority(have), authority(there), now);
        self.structural.hear(structural(have), structural(there), now);
    }

    /// Takes in that there is such a revision of one lane.
    pub(super) fn hear_of(&mut self, have: &Revisions, hint: &Hint, now: BootNanos) {
        let there = (hint.epoch, hint.rev);
        match hint.lane {
            Lane::Authority => self.authority.hear(authority(have), there, now),
            Lane::Structural => self.structural.hear(structural(have), there, now),
        }
    }

    /// Forgets what was looked at by now.
    pub(super) fn reached(&mut self, have: &Revisions) {
        self.authority.reached(authority(have));
        self.structural.reached(structural(have));
    }

    /// Something is awaited.
    pub(super) const fn is_any(&self) -> bool {
        self.authority.0.is_some() || self.structural.0.is_some()
    }

    /// Waits until a server has what is awaited; for good when it never does.
    pub(super) async fn arrives(&self, reader: &impl Reader) {
        let mut pulse = interval(LOOK);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.is_any() {
            pulse.tick().await;
            let lacks = |heads| self.authority.is_missing(authority(&heads)) || self.structural.is_missing(structural(&heads));
            if revision::heads(reader).await.is_ok_and(|heads| !lacks(heads)) {
                return;
            }
        }
    }

    /// It has been for too long for the region's replica to be asked any more.
    pub(super) fn is_late(&self, now: BootNanos, rtt_us: u64) -> bool {
        self.authority.is_late(now, rtt_us) || self.structural.is_late(now, rtt_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, authority: u64, structural: u64) -> Revisions {
        Revisions { epoch, authority, structural, ..Revisions::default() }
    }

    #[test]
    fn what_is_awaited_is_awaited_since_the_first_that_is_missing_and_over_a_promotion() {
        let (mut awaited, late) = (Awaited::default(), BootNanos(REPLICA_PATIENCE_NANOS + 2));
        awaited.hear(&at(1, 5, 3), &at(1, 5, 3), BootNanos(1));
        assert!(!awaited.is_any(), "it is applied");
        awaited.hear(&at(1, 5, 3), &at(1, 6, 3), BootNanos(1));
        awaited.hear(&at(1, 5, 3), &at(2, 3, 3), BootNanos(50));
        assert!(awaited.is_late(late, 0) && !awaited.is_late(BootNanos(2), 0));
        let far = 300_000;
        assert!(!awaited.is_late(late, far) && awaited.is_late(BootNanos(far * 1_000 + 2), far), "the primary would not have answered");
        awaited.reached(&at(1, 9, 9));
        assert!(awaited.is_any(), "the numbers of another epoch");
        awaited.reached(&at(2, 3, 3));
        assert!(!awaited.is_any() && !awaited.is_late(late, 0));
    }

    #[test]
    fn each_lane_waits_for_itself() {
        let (mut awaited, late) = (Awaited::default(), BootNanos(REPLICA_PATIENCE_NANOS + 2));
        let hint = |lane, rev| Hint { lane, epoch: 1, rev };
        awaited.hear_of(&at(1, 5, 3), &hint(Lane::Structural, 3), BootNanos(1));
        awaited.hear_of(&at(1, 5, 3), &hint(Lane::Authority, 5), BootNanos(1));
        assert!(!awaited.is_any());
        awaited.hear_of(&at(1, 5, 3), &hint(Lane::Structural, 4), BootNanos(1));
        awaited.reached(&at(1, 50, 3));
        assert!(awaited.is_any() && awaited.is_late(late, 0), "whatever the other one has");
        awaited.hear_of(&at(1, 50, 3), &hint(Lane::Authority, 51), BootNanos(9));
        awaited.reached(&at(1, 50, 4));
        assert!(awaited.is_any() && !awaited.is_late(late, 0) && awaited.is_late(BootNanos(late.0 + 8), 0), "since it is missing itself");
        awaited.reached(&at(1, 51, 4));
        assert!(!awaited.is_any());
    }
}
