//! How old the answers of a domain's servers are: its primary's log is read again and again, and its heartbeats confirm what was read.

use std::{collections::HashMap, sync::Arc, time::Duration};

use edge::{
    positions::{Domain, ServerId, heartbeat::Confirmed},
    runtime::Edge,
};
use model::{
    position::{Lsn, Position, Writer},
    time::BootNanos,
};
use parking_lot::Mutex;
use store::{
    domain_heartbeat::{Line, LookError, Place},
    heartbeat::Heart,
};
use tokio::sync::watch;

use crate::{
    beating::{self, Primaries, Pulse},
    facts::Facts,
    probing::{self, Probe, Probed, Seen},
};

/// Until a heartbeat is looked for again that cannot be read.
const AWAITS_OPERATOR: Duration = Duration::from_secs(2);

/// How to look at each server; others come and go while the domain is watched.
pub(super) type Places = Arc<Mutex<HashMap<ServerId, Place>>>;

/// A domain with a heartbeat.
#[derive(Debug)]
pub(super) struct Confirming {
    pub(super) places: Places,
    /// What is known of it.
    pub(super) domain: Arc<Domain>,
    pub(super) edge: Arc<Edge>,
    pub(super) facts: Arc<Facts>,
    pub(super) pulse: watch::Sender<Option<Pulse>>,
}

/// Where a primary's log was.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    writer: Writer,
    lsn: Lsn,
}

/// Reads the primary, and writes heartbeats where it is this node's turn, for as long as the future lives.
pub(super) async fn run(confirming: Confirming) {
    let heartbeat = confirming.pulse.subscribe();
    let beating = beating::run(&confirming, Arc::clone(&confirming.edge.node), Arc::clone(&confirming.facts), heartbeat);
    tokio::join!(Box::pin(probing::probe(&confirming)), Box::pin(beating));
}

impl Primaries for Confirming {
    type Line = Line;

    fn name(&self) -> &str {
        &self.domain.name
    }

    async fn open(&self) -> Option<Line> {
        let primary = self.domain.view().primary?;
        let place = self.places.lock().get(&primary).cloned()?;
        match Line::open(&place).await {
            Ok(line) => Some(line),
            Err(error) => {
                let _at_once = self.failed(&error.into());
                None
            }
        }
    }

    fn replaced(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut changes = self.domain.changes();
        let before = changes.borrow_and_update().primary;
        async move {
            // It ends with the domain, too.
            let _replaced = changes.wait_for(|view| view.primary.is_some() && view.primary != before).await.is_ok();
        }
    }
}

impl Probed for Confirming {
    type Read = Stand;
    type Error = LookError;

    async fn look(&self, line: &mut Line) -> Result<(Heart, Stand), LookError> {
        let look = line.look().await?;
        let known = self.domain.heartbeat();
        if known.trouble.is_some() || *known.standbys != *look.heart.standbys {
            let standbys: Box<str> = look.heart.standbys.as_str().into();
            self.domain.beat(|known| known.seen(standbys.clone()));
        }
        Ok((look.heart, Stand { writer: look.writer, lsn: look.lsn }))
    }

    fn seen(&self, seen: Seen<Stand>) -> bool {
        for probe in seen.confirmed {
            if let Some(position) = self.position(&probe) {
                let now = self.now();
                self.domain.beat(|known| known.with(Confirmed { at: probe.started_at, position }, now));
            }
        }
        true
    }

    fn failed(&self, error: &LookError) -> Duration {
        tracing::debug!(domain = &*self.domain.name, error = error as &dyn std::error::Error, "a service's primary shows no heartbeat");
        let trouble: Box<str> = error.to_string().into();
        if self.domain.heartbeat().trouble.as_ref() != Some(&trouble) {
            self.domain.beat(|known| known.failed(trouble.clone()));
        }
        match error {
            // The operator has to do something first, and each look is an error in the server's log.
            LookError::Missing | LookError::Denied => AWAITS_OPERATOR,
            LookError::Standby | LookError::Store(_) => Duration::ZERO,
        }
    }

    fn pulse(&self) -> &watch::Sender<Option<Pulse>> {
        &self.pulse
    }

    fn now(&self) -> BootNanos {
        self.edge.clock.boot()
    }

    fn is_over(&self) -> bool {
        false
    }
}

impl Confirming {
    /// Where the log was, in the newest epoch: a server that writes another one is not the primary that all others follow, or was restored
    /// and its epoch is not begun yet.
    fn position(&self, probe: &Probe<Stand>) -> Option<Position> {
        let view = self.domain.view();
        let epoch = view.epochs.written_by(&probe.read.writer)?.number;
        view.writer().filter(|pin| pin.epoch == epoch)?;
        Some(Position { epoch, lsn: probe.read.lsn })
    }
}
