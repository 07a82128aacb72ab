//! Which server is the primary: found by asking, never configured.

use std::{sync::Arc, time::Duration};

use model::secret::SecretText;
use tokio::sync::watch;

use crate::{
    error::StoreError,
    pool::{AddressError, Primary, Replica},
};

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
pub struct Topology {}

impl Topology {
    /// Prepares; nothing connects yet.
    ///
    /// # Errors
    /// An address that is not `host:port`.
    pub fn new(config: &DatabaseConfig, here_region: &str) -> Result<Self, AddressError> {
        todo!()
    }

    /// Polls every server each 250 ms, for as long as the future lives; it never returns.
    pub async fn watch(&self) {
        todo!()
    }

    /// The server that takes writes now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while none is known.
    pub fn primary(&self) -> Result<Primary, StoreError> {
        todo!()
    }

    /// The server of this region, else the nearest that answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while none is known.
    pub fn replica(&self) -> Result<Replica, StoreError> {
        todo!()
    }

    /// What is known about each server.
    pub fn view(&self) -> Arc<View> {
        todo!()
    }

    /// Follows the view; it is marked changed when a server's state or the primary changes, not at each poll.
    pub fn changed(&self) -> watch::Receiver<Arc<View>> {
        todo!()
    }

    /// Waits until a primary is known.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after `deadline`.
    pub async fn wait_primary(&self, deadline: Duration) -> Result<Primary, StoreError> {
        todo!()
    }
}
