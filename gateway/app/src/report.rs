//! What this node tells the control database about itself: that it runs, what it serves, how long it may go on when it is cut off, and
//! which revisions it has acknowledged.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use control::port::{CheckState, Status as _};
use edge::runtime::Edge;
use model::{change::Revisions, time::BootNanos};
use store::{
    error::StoreError,
    heartbeat::Line,
    node::{Acknowledged, Nack, NodeReport},
    topology::Topology,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{facts::Facts, status::NodeStatus};

/// How often a node reports.
const EVERY: Duration = Duration::from_secs(1);
/// How often it tries until it is registered, and tries an acknowledgement again.
const SOON: Duration = Duration::from_millis(100);
/// For so long a report counts. Who has been silent for longer may be struck off the list, and trusts no lease.
const COUNTS_NANOS: u64 = 60_000_000_000;

/// What a node reports at least: its first routes are then served at once, and not when a report has named their bound.
const BOUND_MIN_NANOS: u64 = 2_000_000_000;

/// Of what is wrong, so much is told.
const TROUBLE_CHARS_MAX: usize = 300;

/// Reports each second.
pub async fn run(status: Arc<NodeStatus>, floor: u64) {
    let NodeStatus { edge, facts, topology, .. } = &*status;
    let mut pulse = interval(SOON);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = Instant::now();
    let mut written: Option<(BootNanos, u64)> = None;
    loop {
        pulse.tick().await;
        // From the hand-over on, the other process is this node; what it reports covers this one.
        if facts.handing_over.load(Ordering::Relaxed) {
            continue;
        }
        if written.is_some_and(|(at, _)| edge.clock.boot().nanos_since(at) > COUNTS_NANOS) {
            written = None;
            edge.lease.reporting(0);
        }
        let bound = edge.current.load().map_or(0, |snapshot| snapshot.structure.deny_bound_nanos()).max(BOUND_MIN_NANOS);
        // A document with a wider bound takes effect with its report.
        let is_wider = written.is_some_and(|(_, told)| bound > told);
        if Instant::now() < next && !is_wider {
            continue;
        }
        let replaced = topology.primary_replaced();
        let reported = tokio::select! {
            reported = report(&status, floor, bound) => reported,
            // It may wait for a standby that follows another primary now.
            () = replaced => continue,
        };
        match reported {
            Ok(true) => {
                written = Some((edge.clock.boot(), bound));
                next = Instant::now() + EVERY;
                facts.told.answered();
            }
            Ok(false) => {}
            Err(error) => facts.told.failed(&error, "what this node reports is not written; its routes with `on_stale: deny` answer 503 soon"),
        }
    }
}

/// False while there is nothing to report, or nobody to report to. `floor`: the number of this process at least.
async fn report(status: &NodeStatus, floor: u64, bound: u64) -> Result<bool, StoreError> {
    let NodeStatus { edge, facts, topology, .. } = status;
    let (Some(snapshot), Ok(primary)) = (edge.current.load(), topology.primary()) else { return Ok(false) };
    let nack = facts.nack.lock().clone().map(|nack| Nack { structural: nack.structural, message: nack.message });
    let registered = facts.registered.load(Ordering::Relaxed);
    let report = NodeReport {
        name: edge.node.to_string(),
        region: edge.region.to_string(),
        incarnation: if registered == 0 { floor } else { registered },
        revisions: snapshot.revisions,
        nack,
        deny_bound_ms: bound.div_ceil(1_000_000),
        has_predecessor: facts.has_predecessor.load(Ordering::Relaxed),
        staleness_ms: edge.lease.staleness_nanos(edge.clock.boot()).map(|nanos| nanos / 1_000_000),
        trouble: trouble(status),
    };
    edge.lease.reporting(bound);
    if registered == 0 {
        facts.registered.store(store::node::register(&primary, &report).await?, Ordering::Relaxed);
    } else if !store::node::heartbeat(&primary, &report).await? {
        // Struck off, on a server that has lost it, or another process has spoken for the node: it did not take over, or has its name.
        tracing::warn!("this process does not speak for its node any more, and registers again");
        facts.registered.store(0, Ordering::Relaxed);
        edge.lease.reporting(0);
        return Ok(false);
    }
    edge.lease.reported(bound, edge.clock.boot());
    Ok(true)
}

/// What is wrong with the node, for people: the first check that is not as it should be.
fn trouble(status: &NodeStatus) -> Option<String> {
    let wrong = status.ready().checks.into_iter().find(|check| check.state != CheckState::Ok)?;
    let text = format!("{}: {}", wrong.name, wrong.detail);
    Some(text.chars().take(TROUBLE_CHARS_MAX).collect())
}

/// Acknowledges what a restart of this node would come to again, as soon as it is so.
pub async fn acknowledge(topology: Topology, edge: Arc<Edge>, facts: Arc<Facts>) {
    let mut journaled = facts.journaled.subscribe();
    let mut pulse = interval(SOON);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        let replaced = topology.primary_replaced();
        let Ok(primary) = topology.primary() else { continue };
        let Ok(line) = Line::open(&primary).await else { continue };
        let told = async {
            let mut line = line;
            // By which number, and what: who registers anew has acknowledged nothing.
            let mut told = (0, Revisions::default());
            loop {
                let now = *journaled.borrow_and_update();
                let registered = facts.registered.load(Ordering::Relaxed);
                // The process before this one serves on, and nobody speaks for it: a receipt waits for its bound.
                let is_alone = !facts.has_predecessor.load(Ordering::Relaxed) && !facts.handing_over.load(Ordering::Relaxed);
                let is_new = (registered, now.epoch_id, now.authority) != (told.0, told.1.epoch_id, told.1.authority);
                if is_new && is_alone && registered != 0 && !now.epoch_id.is_nil() {
                    let acknowledged = Acknowledged { epoch_id: now.epoch_id, authority: now.authority };
                    if line.acknowledge(&edge.node, registered, acknowledged).await? {
                        told = (registered, now);
                    }
                }
                tokio::select! {
                    changed = journaled.changed() => if changed.is_err() { return Ok::<(), StoreError>(()) },
                    // Not registered yet, or anew, or the process before has ended.
                    () = tokio::time::sleep(SOON) => {}
                }
            }
        };
        tokio::select! {
            result = told => match result {
                Ok(()) => return,
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "an acknowledgement was not written, and is tried again"),
            },
            () = replaced => {}
        }
    }
}
