//! Writes the heartbeats of a domain, while no nearer node does.
//!
//! Every node confirms its reads by them, so they must not stop with the node that writes them: whoever sees that the row stands still takes
//! the next step, and of two at once the database lets one through. A node that is much nearer to the primary takes over from one that is
//! farther, because the age of every lease has three round trips of the writer in it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use store::{
    error::StoreError,
    heartbeat::{Beating, Heart, Line},
    topology::Topology,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::facts::Facts;

/// How long a writer rests between two heartbeats.
const REST: Duration = Duration::from_millis(50);
/// For how long a heartbeat may stand still before somebody else takes over; a far node waits longer, by its round trips.
const PATIENCE: Duration = Duration::from_millis(300);
/// A node takes over from a writer whose round trip is twice its own and this much more.
const NEARER_BY_US: u64 = 20_000;

/// What is known about the heartbeat, for whoever writes it.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// What the last look has shown.
    pub heart: Heart,
    /// How long it took, microseconds.
    pub rtt_us: u64,
}

/// Where heartbeats are written.
pub trait Primaries: Sync {
    /// A connection for nothing else.
    type Line: Beating + Send;

    /// The name of the domain.
    fn name(&self) -> &str;

    /// Connects to the primary, if it is known and answers.
    fn open(&self) -> impl Future<Output = Option<Self::Line>> + Send;

    /// Ends when another server is the primary than when it was called.
    fn replaced(&self) -> impl Future<Output = ()> + Send + 'static;
}

impl<P: Primaries> Primaries for &P {
    type Line = P::Line;

    fn name(&self) -> &str {
        P::name(self)
    }

    async fn open(&self) -> Option<P::Line> {
        P::open(self).await
    }

    fn replaced(&self) -> impl Future<Output = ()> + Send + 'static {
        P::replaced(self)
    }
}

impl Primaries for Topology {
    type Line = Line;

    fn name(&self) -> &'static str {
        "control"
    }

    async fn open(&self) -> Option<Line> {
        Line::open(&self.primary().ok()?).await.ok()
    }

    fn replaced(&self) -> impl Future<Output = ()> + Send + 'static {
        self.primary_replaced()
    }
}

/// Writes heartbeats whenever it is this node's turn, until nobody tells of the heartbeat any more; never while this process hands over to
/// the next.
pub async fn run(primaries: impl Primaries, node: Arc<str>, facts: Arc<Facts>, mut heartbeat: watch::Receiver<Option<Pulse>>) {
    let mut still = Still::default();
    while heartbeat.changed().await.is_ok() {
        let Some(pulse) = heartbeat.borrow_and_update().clone() else {
            still = Still::default();
            continue;
        };
        if facts.handing_over.load(Ordering::Relaxed) || !still.is_turn(&pulse, &node, Instant::now()) {
            continue;
        }
        still = Still::default();
        let replaced = primaries.replaced();
        let Some(line) = primaries.open().await else { continue };
        tokio::select! {
            result = write(line, primaries.name(), &pulse, &node, &facts, &heartbeat) => match result {
                Ok(()) => tracing::debug!("another node writes the heartbeat"),
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "the heartbeat was not written"),
            },
            () = replaced => {}
        }
    }
}

/// Writes one heartbeat after another, until another node does. What was committed cleanly over one connection is known to it alone: a
/// number means something else after a promotion.
async fn write(
    mut line: impl Beating,
    domain: &str,
    from: &Pulse,
    node: &str,
    facts: &Facts,
    heartbeat: &watch::Receiver<Option<Pulse>>,
) -> Result<(), StoreError> {
    let (mut seen, mut acked) = (from.heart.beat, 0);
    let mut pulse = interval(REST);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !facts.handing_over.load(Ordering::Relaxed) {
        pulse.tick().await;
        let rtt_us = heartbeat.borrow().as_ref().map_or(from.rtt_us, |pulse| pulse.rtt_us);
        let Some(beat) = line.beat(seen, acked, node, rtt_us).await? else { return Ok(()) };
        if beat.is_clean {
            acked = beat.number;
        } else {
            tracing::warn!(domain, beat = beat.number, "a heartbeat did not wait for its standby, and confirms nothing");
        }
        seen = beat.number;
    }
    Ok(())
}

/// Since when the heartbeat stands still.
#[derive(Debug, Default)]
struct Still(Option<(u64, Instant)>);

impl Still {
    /// Whether this node takes the next step.
    fn is_turn(&mut self, pulse: &Pulse, node: &str, now: Instant) -> bool {
        let heart = &pulse.heart;
        if heart.writer != node && pulse.rtt_us.saturating_mul(2).saturating_add(NEARER_BY_US) < heart.writer_rtt_us {
            return true;
        }
        let since = match self.0 {
            Some((beat, since)) if beat == heart.beat => since,
            Some(_) | None => {
                self.0 = Some((heart.beat, now));
                now
            }
        };
        // The nearest goes first, and of those that are as near, not all at once.
        let spread = node.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % 100;
        let patience = PATIENCE + Duration::from_micros(pulse.rtt_us.saturating_mul(4)) + Duration::from_millis(spread);
        now.duration_since(since) >= patience
    }
}
