//! A primary that lost what this node has applied begins another epoch.
//!
//! It was restored to an earlier time, or was promoted apart from another that this node followed. Nothing can be taken from it as it is:
//! its revisions have the numbers of others. Every node would wait for good, and authority go stale, if nobody made it begin an epoch.

use std::time::Duration;

use model::{change::Revisions, time::BootNanos};
use store::{
    actor::{Actor, ActorKind},
    epoch,
    topology::Topology,
};
use tokio::task::JoinSet;

use super::probing::Probe;

/// For how long every look at the primary has to show it, before it is asked to: a probe may have been overtaken by what it does not have.
const SHOWN_NANOS: u64 = 1_000_000_000;
/// How long it has to answer; the locks may be held by writes that wait for a standby.
const WITHIN: Duration = Duration::from_secs(5);

/// Since when the primary is seen without something, and whether it was asked.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// What is applied, and since when.
    applied: Option<(Revisions, BootNanos)>,
    /// The first probe that has shown it, of those that all did.
    since: Option<BootNanos>,
    /// One at most; it ends with the follower.
    asked: JoinSet<()>,
}

impl Settling {
    /// Looks at what the primary has shown. Whether it really has to is found out under its locks, where nothing is on its way; nothing
    /// waits for that here. `applied` is what was taken from the database in its epoch.
    pub(super) fn look(&mut self, topology: &Topology, applied: &Revisions, probe: &Probe, now: BootNanos) {
        let rose_at = match self.applied {
            Some((known, at)) if known == *applied => at,
            Some(_) | None => {
                // Until something is known to be lost, it is what others may have, too.
                topology.heard().hear(applied);
                self.applied = Some((*applied, now));
                now
            }
        };
        if !is_lost(applied, &probe.read) {
            self.since = None;
            return;
        }
        if probe.started_at <= rose_at {
            return;
        }
        let since = *self.since.get_or_insert(probe.started_at);
        while self.asked.try_join_next().is_some() {}
        if self.asked.is_empty() && probe.started_at.nanos_since(since) >= SHOWN_NANOS {
            self.since = None;
            self.asked.spawn(settle(topology.clone(), *applied, probe.read));
        }
    }
}

/// Whether a server that shows this cannot have what is applied.
fn is_lost(applied: &Revisions, shown: &Revisions) -> bool {
    let has_less = shown.authority < applied.authority || shown.structural < applied.structural;
    applied.contradicts(shown) || shown.are_of_one_epoch(applied) && has_less
}

async fn settle(topology: Topology, applied: Revisions, shown: Revisions) {
    let Ok(primary) = topology.primary() else { return };
    let actor = Actor { kind: ActorKind::System, name: "epoch".to_owned() };
    match tokio::time::timeout(WITHIN, epoch::settle(&primary, &actor)).await {
        Ok(Ok(now)) if now.epoch > applied.epoch => {
            tracing::warn!(?applied, ?shown, ?now, "the primary did not have what this node has applied, and began another epoch");
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the primary does not have what this node has applied"),
        Err(_) => tracing::warn!("the primary does not have what this node has applied, and does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_shown_is_lost_when_it_has_less_of_a_lane_or_is_of_another_history() {
        let applied = Revisions { epoch: 2, epoch_id: Uuid::from_u128(2), authority: 5, structural_epoch: 2, structural: 3 };
        for (shown, expected) in [
            (applied, false),
            (Revisions { authority: 6, structural: 4, ..applied }, false),
            (Revisions { authority: 4, ..applied }, true),
            (Revisions { structural: 2, ..applied }, true),
            (Revisions { epoch_id: Uuid::from_u128(7), authority: 9, ..applied }, true),
            (Revisions { epoch: 3, epoch_id: Uuid::from_u128(3), authority: 1, ..applied }, false),
            (Revisions { epoch: 1, epoch_id: Uuid::from_u128(1), authority: 9, ..applied }, false),
        ] {
            assert_eq!(is_lost(&applied, &shown), expected, "{shown:?}");
        }
    }
}
