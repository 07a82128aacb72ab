//! What confirmed reads of a domain's primary have shown: where its log was at an instant, with everything that was acknowledged before.

use std::time::Duration;

use model::{position::Position, time::BootNanos};

/// Up to this age every confirmed read is kept.
const DENSE: Duration = Duration::from_millis(800);
/// Beyond, the gaps between them are at most this part of their age: a bound is held as if it were that much tighter.
const SPARSE: u64 = 8;
/// The longest bound that a document may have.
const KEPT: Duration = Duration::from_hours(1);

/// Everything that was acknowledged before an instant lies before a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// When the read began that was confirmed since.
    pub at: BootNanos,
    /// What it has shown.
    pub position: Position,
}

/// What is known of a domain's heartbeat.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    /// The oldest first.
    confirmed: Vec<Confirmed>,
    /// The servers that a commit waits for, as the primary is configured; empty when it waits for none.
    pub standbys: Box<str>,
    /// Why the last look has brought nothing.
    pub trouble: Option<Box<str>>,
}

impl Heartbeat {
    /// These and another one. Of the older ones some are left out.
    #[must_use]
    pub fn with(&self, new: Confirmed, now: BootNanos) -> Self {
        let mut confirmed: Vec<Confirmed> = Vec::with_capacity(self.confirmed.len() + 1);
        let known = self.confirmed.iter().filter(|known| age(known, now) <= KEPT);
        // Several lines bring theirs, and not in order.
        let (before, after): (Vec<Confirmed>, Vec<Confirmed>) = known.partition(|known| known.at <= new.at);
        for next in before.into_iter().chain([new]).chain(after) {
            // The one between two that are near enough to each other goes.
            if let [.., earlier, _] = &*confirmed
                && is_near(earlier, &next, now)
            {
                confirmed.pop();
            }
            confirmed.push(next);
        }
        Self { confirmed, standbys: self.standbys.clone(), trouble: None }
    }

    /// The same after a look that has brought something.
    #[must_use]
    pub fn seen(&self, standbys: Box<str>) -> Self {
        Self { standbys, trouble: None, ..self.clone() }
    }

    /// The same after one that has brought nothing.
    #[must_use]
    pub fn failed(&self, trouble: Box<str>) -> Self {
        Self { trouble: Some(trouble), ..self.clone() }
    }

    /// What a server must have so that everything is there that was acknowledged before `from`: the least of what proves that. Those that
    /// `is_lost` says have not survived a promotion prove nothing.
    pub fn since(&self, from: BootNanos, is_lost: impl Fn(Position) -> bool) -> Option<Position> {
        let start = self.confirmed.partition_point(|confirmed| confirmed.at < from);
        self.confirmed.get(start..)?.iter().map(|confirmed| confirmed.position).find(|position| !is_lost(*position))
    }

    /// The newest.
    pub fn newest(&self) -> Option<Confirmed> {
        self.confirmed.last().copied()
    }
}

fn age(confirmed: &Confirmed, now: BootNanos) -> Duration {
    Duration::from_nanos(now.nanos_since(confirmed.at))
}

fn is_near(earlier: &Confirmed, later: &Confirmed, now: BootNanos) -> bool {
    age(later, now) > DENSE && later.at.nanos_since(earlier.at) <= now.nanos_since(later.at) / SPARSE
}

#[cfg(test)]
mod tests {
    use model::position::Lsn;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64, epoch: u32, lsn: u64) -> Confirmed {
        Confirmed { at: BootNanos(nanos), position: Position { epoch, lsn: Lsn(lsn) } }
    }

    #[test]
    fn whatever_the_bound_is_there_is_one_that_proves_it_with_an_eighth_to_spare() {
        let mut heartbeat = Heartbeat::default();
        for tick in 1..=40_000 {
            heartbeat = heartbeat.with(at(tick * SECOND / 10, 1, tick), BootNanos(tick * SECOND / 10));
        }

        let now = 4_000 * SECOND;
        assert!(heartbeat.confirmed.len() < 200, "{}", heartbeat.confirmed.len());
        assert!(heartbeat.confirmed.is_sorted_by_key(|confirmed| confirmed.at));
        for bound in [SECOND / 4, SECOND / 2, SECOND, 5 * SECOND, 60 * SECOND, 600 * SECOND, 3_500 * SECOND] {
            let position = heartbeat.since(BootNanos(now - bound), |_| false).expect("one proves it");
            let began = position.lsn.0 * SECOND / 10;
            assert!(began >= now - bound, "{bound}: it is older");
            assert!(began <= now - bound + bound / SPARSE + SECOND / 10, "{bound}: {} is much newer", now - began);
        }
    }

    #[test]
    fn one_that_began_before_proves_nothing_nor_does_one_that_is_lost() {
        let heartbeat = [at(10, 1, 100), at(30, 2, 90), at(20, 1, 200)]
            .into_iter()
            .fold(Heartbeat::default(), |heartbeat, confirmed| heartbeat.with(confirmed, BootNanos(40)));

        assert_eq!(heartbeat.since(BootNanos(10), |_| false), Some(at(0, 1, 100).position));
        assert_eq!(heartbeat.since(BootNanos(11), |_| false), Some(at(0, 1, 200).position), "a later one, though it came first");
        assert_eq!(heartbeat.since(BootNanos(10), |position| position.epoch == 1), Some(at(0, 2, 90).position));
        assert_eq!(heartbeat.since(BootNanos(31), |_| false), None);
        assert_eq!(heartbeat.newest(), Some(at(30, 2, 90)));
    }
}
