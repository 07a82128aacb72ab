//! How a node leaves: in order, without cutting what runs before the deadline.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use audit::spool::Spool;
use edge::accept::NodePhase;
use tokio::sync::watch;

use crate::{
    config::{NodeConfig, leaving::DrainConfig},
    facts::Facts,
    handover::{Giver, Sockets, Successor},
    load,
    notify::Notify,
    task::Tasks,
};

/// What runs, from the first request on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) phase: watch::Sender<NodePhase>,
    pub(super) control_phase: watch::Sender<NodePhase>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) spool: Spool,
    pub(super) tasks: Tasks,
    /// The control listener's connections.
    pub(super) operators: Tasks,
    pub(super) facts: Arc<Facts>,
    pub(super) notify: Arc<Notify>,
}

/// Resolves when another process of this node serves; never where the node file names no hand-over.
pub(super) async fn successor(config: &NodeConfig, sockets: Sockets, facts: Arc<Facts>) -> Successor {
    let Some(handover) = &config.handover else { return std::future::pending().await };
    let outcome = match Giver::bind(&handover.socket, &config.node, sockets) {
        Ok(giver) => giver.given(facts).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(successor) => successor,
        Err(error) => {
            tracing::error!(error = &*error, "no other process can take over from this one");
            std::future::pending().await
        }
    }
}

impl Running {
    /// Leaves rotation first, then accepts no more, then waits for what runs.
    pub(super) async fn stop(self, drain: &DrainConfig) {
        tracing::info!("stopping: out of rotation first, then draining");
        self.notify.stopping();
        self.facts.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(drain.delay.0).await;
        self.phase.send_replace(NodePhase::Draining);
        join(self.threads).await;
        self.spool.close();
        load::drained(&self.spool, &self.facts, Duration::from_secs(3)).await;
        self.control_phase.send_replace(NodePhase::Draining);
        self.operators.stop(Duration::from_secs(1)).await;
        self.tasks.stop(Duration::from_secs(5)).await;
        tracing::info!("stopped");
    }

    /// Accepts no more at once, because another process does, and stays in rotation: a probe that still reaches this process
    /// asks about the node.
    pub(super) async fn hand_over(self, successor: Successor, drain: &DrainConfig) {
        tracing::info!("another process of this node serves; finishing what runs");
        self.phase.send_replace(NodePhase::Draining);
        self.control_phase.send_replace(NodePhase::Draining);
        successor.draining();
        join(self.threads).await;
        self.operators.finish(drain.timeout.0).await;
        self.operators.stop(Duration::from_secs(1)).await;
        self.tasks.stop(Duration::from_secs(5)).await;
        // Last: whoever opens the folder from here on finds everything in it, and nobody who still loads from it.
        self.spool.close();
        tracing::info!("handed over; what is left in the spool, the other process loads");
    }
}

async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok())).await;
    if !matches!(joined, Ok(true)) {
        tracing::error!("a data-plane thread ended by a panic");
    }
}
