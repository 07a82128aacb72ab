//! Reads of the primary, and what confirms them.
//!
//! A read proves nothing about the moment after it: the server may have been replaced, and answer as before. So each read waits for the
//! heartbeats that began after it ([`store::heartbeat`]). Only a confirmed read renews the lease, from the instant at which it *began*.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use edge::runtime::Edge;
use model::{change::Revisions, time::BootNanos};
use store::{
    error::StoreError,
    heartbeat::{Line, Look, Under},
    topology::Topology,
};
use tokio::sync::{mpsc, watch};

/// How often the primary is asked; over a line that is slower, as often as it answers.
const PULSE: Duration = Duration::from_millis(100);
/// Reads that wait for their confirmation at most; beyond, the oldest is of no use any more.
const UNCONFIRMED_MAX: usize = 64;

/// A read of the primary's heads, with the instant at which it began.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// When the read began.
    pub started_at: BootNanos,
    /// What it saw.
    pub heads: Revisions,
}

/// What one look at the primary has brought.
#[derive(Debug)]
pub struct Seen {
    /// What it shows now.
    pub probe: Probe,
    /// Earlier reads that it confirms, in their order.
    pub confirmed: Vec<Probe>,
}

/// What is known about the heartbeat, for whoever writes it.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// The last look.
    pub look: Look,
    /// How long it took, microseconds.
    pub rtt_us: u64,
}

/// Asks the primary again and again, for as long as somebody takes what it says.
pub async fn probe(topology: Topology, edge: Arc<Edge>, seen: mpsc::Sender<Seen>, heartbeat: watch::Sender<Option<Pulse>>) {
    let mut servers = topology.changed();
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !seen.is_closed() {
        pulse.tick().await;
        servers.mark_unchanged();
        let Ok(primary) = topology.primary() else { continue };
        let Ok(line) = Line::open(&primary).await else { continue };
        // What was read over one connection is confirmed over no other, so nothing is taken along.
        tokio::select! {
            result = ask(line, &topology, &edge, &seen, &heartbeat) => {
                if let Err(error) = result {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the primary is asked anew");
                }
            }
            // Another server may be the primary now, and this one would answer for good.
            _ = servers.changed() => {}
        }
        heartbeat.send_replace(None);
    }
}

async fn ask(
    mut line: Line,
    topology: &Topology,
    edge: &Edge,
    seen: &mpsc::Sender<Seen>,
    heartbeat: &watch::Sender<Option<Pulse>>,
) -> Result<(), StoreError> {
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unconfirmed = Unconfirmed::default();
    loop {
        pulse.tick().await;
        let started_at = edge.clock.boot();
        let look = line.look().await?;
        let rtt_us = edge.clock.boot().nanos_since(started_at) / 1_000;
        topology.heard().hear(&look.heads);
        let probe = Probe { started_at, heads: look.heads };
        let confirmed = unconfirmed.confirmed_by(&look);
        unconfirmed.wait(look.beat, look.under, probe);
        heartbeat.send_replace(Some(Pulse { look, rtt_us }));
        if seen.send(Seen { probe, confirmed }).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads over one connection that nothing has confirmed yet, the oldest first.
#[derive(Debug, Default)]
struct Unconfirmed(VecDeque<(u64, Under, Probe)>);

impl Unconfirmed {
    fn wait(&mut self, beat: u64, under: Under, probe: Probe) {
        if self.0.len() >= UNCONFIRMED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((beat, under, probe));
    }

    /// Takes out what a later look confirms, and what none will: its settings are gone.
    fn confirmed_by(&mut self, look: &Look) -> Vec<Probe> {
        self.0.retain(|(_, under, _)| *under == look.under);
        let count = self.0.iter().take_while(|(beat, under, _)| look.confirms(*beat, *under)).count();
        self.0.drain(..count).map(|(_, _, probe)| probe).collect()
    }
}
