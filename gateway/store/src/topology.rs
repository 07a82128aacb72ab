//! Which server is the primary: found by asking, never configured.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use model::secret::SecretText;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    epoch::Heard,
    error::StoreError,
    pool::{self, AddressError, Credentials, Primary, Replica, Tls},
    sample::{Probe, Sample, choose_primary, cluster_of},
};

/// How often each server is asked.
const POLL: Duration = Duration::from_millis(250);

/// One database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// The region that reads it.
    pub region: String,
}

/// The control database, as a node's configuration names it.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The database.
    pub name: String,
    /// The role.
    pub user: String,
    /// The role's password.
    pub password: SecretText,
    /// How the connections are protected.
    pub tls: Tls,
    /// All servers; which one is the primary is found.
    pub servers: Vec<Server>,
    /// Connections to each server at most.
    pub pool_max: u32,
}

/// What a server is, as far as the last poll knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// It takes writes.
    Primary,
    /// It follows a primary.
    Standby,
    /// It did not answer in time, or it is not of this cluster.
    Unreachable,
}

/// One server, as far as the last poll knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// `host:port`.
    pub address: String,
    /// The region that reads it.
    pub region: String,
    /// What it is.
    pub state: ServerState,
    /// Bytes of the log: written on a primary, replayed on a standby. Absent while unreachable.
    pub lsn: Option<u64>,
    /// Bytes that this server is behind the primary, by the last polls of both; absent when either is unknown.
    pub lag_bytes: Option<u64>,
    /// The cluster's identity.
    pub system_identifier: Option<u64>,
    /// The timeline of a primary; rises by promotion.
    pub timeline: Option<u32>,
    /// How long the last poll took, microseconds.
    pub rtt_us: Option<u64>,
}

/// All servers at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The servers, in the order of the configuration.
    pub servers: Vec<ServerView>,
    /// Index of the primary.
    pub primary: Option<usize>,
}

/// The servers of the control database and what each of them is. Clones share one state.
#[derive(Debug, Clone)]
pub struct Topology(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    here_region: String,
    servers: Vec<Known>,
    view: watch::Sender<Arc<View>>,
    heard: Heard,
}

/// A server of the configuration, with its connections.
#[derive(Debug)]
struct Known {
    server: Server,
    options: PgConnectOptions,
    pool: PgPool,
    /// The same server for writes, when it is the primary.
    primary: Primary,
}

impl Topology {
    /// Prepares; nothing connects yet.
    ///
    /// # Errors
    /// An address that is not `host:port`.
    pub fn new(config: &DatabaseConfig, here_region: &str) -> Result<Self, AddressError> {
        let credentials =
            Credentials { name: config.name.clone(), user: config.user.clone(), password: config.password.clone(), tls: config.tls.clone() };
        let heard = Heard::default();
        let mut servers = Vec::with_capacity(config.servers.len());
        for server in &config.servers {
            let options = pool::options(&server.address, &credentials)?;
            let pool = pool::lazy(options.clone(), config.pool_max);
            let primary = Primary::new(pool.clone(), heard.clone());
            servers.push(Known { server: server.clone(), options, pool, primary });
        }
        let unknown = servers.iter().map(|known| unreachable(&known.server)).collect();
        let view = watch::Sender::new(Arc::new(View { servers: unknown, primary: None }));
        Ok(Self(Arc::new(Shared { here_region: here_region.to_owned(), servers, view, heard })))
    }

    /// Polls every server each 250 ms, for as long as the future lives; it never returns.
    pub async fn watch(&self) {
        let polls = self.0.servers.iter().enumerate().map(|(index, known)| self.poll(index, known));
        join_all(polls).await;
        // Without any server there is nothing to poll, and still nothing to return.
        std::future::pending::<()>().await;
    }

    async fn poll(&self, index: usize, known: &Known) {
        let mut probe = Probe::new(known.options.clone());
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let sample = probe.sample().await;
            self.record(index, &known.server, sample);
        }
    }

    /// Puts a sample into the view; followers hear of it when a state or the primary changed, not of each position.
    fn record(&self, index: usize, server: &Server, sample: Option<Sample>) {
        self.0.view.send_if_modified(|view| {
            let next = with_sample(view, index, server, sample);
            let states = |view: &View| view.servers.iter().map(|server| server.state).collect::<Vec<_>>();
            let changed = view.primary != next.primary || states(view) != states(&next);
            if changed {
                let primary = next.primary.and_then(|index| next.servers.get(index)).map_or("none", |server| &server.address);
                tracing::info!(database.primary = primary, "the state of the database servers changed; the primary is {primary}");
            }
            *view = Arc::new(next);
            changed
        });
    }

    /// The server that takes writes now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while none is known.
    pub fn primary(&self) -> Result<Primary, StoreError> {
        let index = self.0.view.borrow().primary;
        index
            .and_then(|index| self.0.servers.get(index))
            .map(|known| known.primary.clone())
            .ok_or_else(|| StoreError::unavailable("no primary is known"))
    }

    /// A standby of this region, else this region's primary, else the nearest server that answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while none is known.
    pub fn replica(&self) -> Result<Replica, StoreError> {
        let view = self.view();
        // A second server that takes writes was replaced: it follows nobody, and shows what is not so any more.
        let is_readable = |index: usize, state: ServerState| match state {
            ServerState::Unreachable => false,
            ServerState::Standby => true,
            ServerState::Primary => view.primary == Some(index),
        };
        let servers = view.servers.iter().zip(&self.0.servers).enumerate();
        let reachable = servers.filter(|(index, (seen, _))| is_readable(*index, seen.state)).map(|(_, server)| server);
        let nearest = reachable.min_by_key(|(seen, _)| {
            let is_here = seen.region == self.0.here_region;
            (!is_here, is_here && seen.state == ServerState::Primary, seen.rtt_us)
        });
        nearest.map(|(_, known)| Replica::new(known.pool.clone())).ok_or_else(|| StoreError::unavailable("no server answers"))
    }

    /// The newest heads that any of them has shown to this process.
    pub fn heard(&self) -> &Heard {
        &self.0.heard
    }

    /// What is known about each server.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.view.borrow())
    }

    /// Follows the view; it is marked changed when a server's state or the primary changes, not at each poll.
    pub fn changed(&self) -> watch::Receiver<Arc<View>> {
        self.0.view.subscribe()
    }

    /// Resolves once another server than the one that is now is known to be the primary. A standby that comes or goes is nothing to what
    /// was opened to the primary, and neither is a poll of the primary that was missed: what its connections say is judged by itself.
    pub fn primary_replaced(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut changes = self.changed();
        let before = changes.borrow_and_update().primary;
        async move {
            // It ends with the topology, too.
            let _replaced = changes.wait_for(|view| view.primary.is_some() && view.primary != before).await.is_ok();
        }
    }

    /// Waits until a primary is known. Somebody must be polling, see [`Self::watch`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after `deadline`.
    pub async fn wait_primary(&self, deadline: Duration) -> Result<Primary, StoreError> {
        let mut changes = self.changed();
        match timeout(deadline, changes.wait_for(|view| view.primary.is_some())).await {
            Ok(Ok(_)) => self.primary(),
            Ok(Err(_)) | Err(_) => Err(StoreError::unavailable("no primary was found in time")),
        }
    }
}

fn unreachable(server: &Server) -> ServerView {
    ServerView {
        address: server.address.clone(),
        region: server.region.clone(),
        state: ServerState::Unreachable,
        lsn: None,
        lag_bytes: None,
        system_identifier: None,
        timeline: None,
        rtt_us: None,
    }
}

/// The view with one server's newest sample; who is the primary, and how far the others are behind it, is found anew.
fn with_sample(view: &View, index: usize, server: &Server, sample: Option<Sample>) -> View {
    let mut servers = view.servers.clone();
    if let Some(slot) = servers.get_mut(index) {
        *slot = match sample {
            None => unreachable(server),
            Some(sample) => ServerView {
                state: if sample.in_recovery { ServerState::Standby } else { ServerState::Primary },
                lsn: sample.lsn,
                system_identifier: Some(sample.system_identifier),
                timeline: sample.timeline,
                rtt_us: Some(sample.rtt_us),
                ..unreachable(server)
            },
        };
    }
    let samples: Vec<Option<Sample>> = servers.iter().map(as_sample).collect();
    let primary = choose_primary(&samples, view.primary);
    let cluster = cluster_of(&samples, primary);
    let head = primary.and_then(|index| servers.get(index)).and_then(|server| server.lsn);
    for server in &mut servers {
        if server.system_identifier != cluster {
            // Another cluster answers at this address: nothing may be read there.
            server.state = ServerState::Unreachable;
        }
        server.lag_bytes = head.zip(server.lsn).map(|(head, lsn)| head.saturating_sub(lsn));
    }
    View { servers, primary }
}

/// What the choice of a primary asks for; the rest is not kept here.
fn as_sample(server: &ServerView) -> Option<Sample> {
    Some(Sample {
        // A primary says its timeline; a standby has none to say.
        in_recovery: server.timeline.is_none(),
        lsn: server.lsn,
        timeline: server.timeline,
        system_identifier: server.system_identifier?,
        rtt_us: server.rtt_us?,
        followed_timeline: None,
        started_at: 0,
        connection: 0,
    })
}
