//! Reads of the primary, and what confirms them.
//!
//! A read proves nothing about the moment after it: the server may have been replaced, and answer as before. So each read waits for the
//! heartbeats that began after it ([`store::heartbeat`]). Only a confirmed read renews the lease, from the instant at which it *began*.

use std::{sync::Arc, time::Duration};

use edge::runtime::Edge;
use model::{change::Revisions, time::BootNanos};
use store::{error::StoreError, heartbeat::Line, topology::Topology};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    beating::{Pulse, Unconfirmed},
    facts::Facts,
};

/// How often the primary is asked; over a line that is slower, as often as it answers.
const PULSE: Duration = Duration::from_millis(100);
/// A primary that takes longer to answer is asked over several lines.
const FAR_US: u64 = 80_000;

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

/// Asks the primary again and again, for as long as somebody takes what it says. Over a line that takes long to answer several questions
/// are on their way at once, each over a connection of its own: or the age of a lease would be some round trips more.
pub async fn probe(topology: Topology, edge: Arc<Edge>, seen: mpsc::Sender<Seen>, facts: Arc<Facts>) {
    let asking = Asking { topology, edge, seen, facts };
    tokio::join!(asking.over_and_over(0), asking.over_and_over(1), asking.over_and_over(2));
}

/// What every line needs.
#[derive(Debug)]
struct Asking {
    topology: Topology,
    edge: Arc<Edge>,
    seen: mpsc::Sender<Seen>,
    facts: Arc<Facts>,
}

impl Asking {
    /// One line after another; the first one always, the others while answers take long.
    async fn over_and_over(&self, number: u32) {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.seen.is_closed() {
            pulse.tick().await;
            if number > 0 && !self.is_far() {
                continue;
            }
            let replaced = self.topology.primary_replaced();
            let Ok(primary) = self.topology.primary() else { continue };
            let Ok(line) = Line::open(&primary).await else { continue };
            // What was read over one connection is confirmed over no other, so nothing is taken along.
            tokio::select! {
                result = self.ask(line, number) => {
                    if let Err(error) = result {
                        self.facts.asked.failed(&error, "the primary does not say what confirms keys; routes with `on_stale: deny` answer 503 soon");
                    }
                }
                // Another server may be the primary now, and this one would answer for good.
                () = replaced => {}
            }
            if number == 0 {
                self.facts.heartbeat.send_replace(None);
            }
        }
    }

    fn is_far(&self) -> bool {
        self.facts.heartbeat.borrow().as_ref().is_some_and(|pulse| pulse.rtt_us > FAR_US)
    }

    async fn ask(&self, mut line: Line, number: u32) -> Result<(), StoreError> {
        let mut pulse = tokio::time::interval_at(tokio::time::Instant::now() + PULSE * number, PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unconfirmed = Unconfirmed::default();
        loop {
            pulse.tick().await;
            if number > 0 && !self.is_far() {
                return Ok(());
            }
            let started_at = self.edge.clock.boot();
            let look = line.look().await?;
            let rtt_us = self.edge.clock.boot().nanos_since(started_at) / 1_000;
            self.topology.heard().hear(&look.heads);
            let probe = Probe { started_at, heads: look.heads };
            let confirmed = unconfirmed.confirmed_by(&look.heart);
            unconfirmed.wait(&look.heart, probe);
            if number == 0 {
                self.facts.heartbeat.send_replace(Some(Pulse { heart: look.heart, rtt_us }));
            }
            self.facts.asked.answered();
            // A follower that is busy for so long gets the next ones: whoever writes the heartbeat must not wait for it.
            if matches!(self.seen.try_send(Seen { probe, confirmed }), Err(TrySendError::Closed(_))) {
                return Ok(());
            }
        }
    }
}
