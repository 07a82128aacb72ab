//! A primary that lost what this node has applied begins another epoch.
//!
//! It was restored to an earlier time, or was promoted apart from another that this node followed. Nothing can be taken from it as it is:
//! its revisions have the numbers of others. Every node would wait for good, and authority go stale, if nobody made it begin an epoch.

use model::{change::Revisions, time::BootNanos};
use store::{
    actor::{Actor, ActorKind},
    epoch,
    topology::Topology,
};

use super::Probe;

/// How often the primary is asked to at most: each time takes the locks of both lanes.
const EVERY_NANOS: u64 = 1_000_000_000;

/// When it was asked to.
#[derive(Debug, Default)]
pub(super) struct Settling {
    asked_at: Option<BootNanos>,
}

impl Settling {
    /// Looks at what the primary has shown. Whether it really has to is found out under its locks, where nothing is on its way.
    pub(super) async fn look(&mut self, topology: &Topology, applied: &Revisions, probe: &Probe) {
        let has_lost = probe.heads.are_of_one_epoch(applied) && probe.heads.authority < applied.authority;
        let is_due = self.asked_at.is_none_or(|at| probe.started_at.nanos_since(at) > EVERY_NANOS);
        if !(is_due && (has_lost || applied.contradicts(&probe.heads))) {
            return;
        }
        self.asked_at = Some(probe.started_at);
        let Ok(primary) = topology.primary() else { return };
        let actor = Actor { kind: ActorKind::System, name: "epoch".to_owned() };
        match epoch::settle(&primary, &actor).await {
            Ok(now) if now.epoch > applied.epoch => {
                tracing::warn!(applied = ?applied, shown = ?probe.heads, now = ?now, "the primary did not have what this node has applied, and began another epoch");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the primary does not have what this node has applied"),
        }
    }
}
