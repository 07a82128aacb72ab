//! Reads of the control domain's primary: a confirmed one renews the lease, from the instant at which it began.

use std::{sync::Arc, time::Duration};

use edge::runtime::Edge;
use model::{change::Revisions, time::BootNanos};
use store::{
    error::StoreError,
    heartbeat::{Heart, Line},
    topology::Topology,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

use crate::{
    beating::{Primaries, Pulse},
    facts::Facts,
    probing::{self, Probed},
};

/// A read of the primary's heads.
pub type Probe = probing::Probe<Revisions>;
/// What one look at the primary has brought.
pub type Seen = probing::Seen<Revisions>;

/// The control domain.
#[derive(Debug)]
pub struct Control {
    /// Its servers.
    pub topology: Topology,
    /// The clock.
    pub edge: Arc<Edge>,
    /// Who follows.
    pub seen: mpsc::Sender<Seen>,
    /// What is known.
    pub facts: Arc<Facts>,
}

/// Asks the primary again and again, for as long as somebody takes what it says.
pub async fn probe(control: Control) {
    Box::pin(probing::probe(&control)).await;
}

impl Primaries for Control {
    type Line = Line;

    fn name(&self) -> &'static str {
        "control"
    }

    async fn open(&self) -> Option<Line> {
        self.topology.open().await
    }

    fn replaced(&self) -> impl Future<Output = ()> + Send + 'static {
        self.topology.replaced()
    }
}

impl Probed for Control {
    type Read = Revisions;
    type Error = StoreError;

    async fn look(&self, line: &mut Line) -> Result<(Heart, Revisions), StoreError> {
        let look = line.look().await?;
        self.topology.heard().hear(&look.heads);
        self.facts.asked.answered();
        Ok((look.heart, look.heads))
    }

    fn seen(&self, seen: Seen) -> bool {
        // A follower that is busy for so long gets the next ones: whoever writes the heartbeat must not wait for it.
        !matches!(self.seen.try_send(seen), Err(TrySendError::Closed(_)))
    }

    fn failed(&self, error: &StoreError) -> Duration {
        self.facts.asked.failed(error, "the primary does not say what confirms keys; routes with `on_stale: deny` answer 503 soon");
        Duration::ZERO
    }

    fn pulse(&self) -> &watch::Sender<Option<Pulse>> {
        &self.facts.heartbeat
    }

    fn now(&self) -> BootNanos {
        self.edge.clock.boot()
    }

    fn is_over(&self) -> bool {
        self.seen.is_closed()
    }
}
