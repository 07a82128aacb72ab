//! Which nodes run, and what each has applied.

use model::{change::Revisions, time::UtcMicros};
use serde::Serialize;

use crate::{error::StoreError, pool::{Primary, Reader}};

/// Why a node does not serve the newest structural revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nack {
    /// The revision that it refused.
    pub structural: u64,
    /// Why, in the compiler's words.
    pub message: String,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Its name, unique in the deployment.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Which start of the node this is.
    pub incarnation: u64,
    /// What it has applied.
    pub revisions: Revisions,
    /// What it refused, if anything.
    pub nack: Option<Nack>,
}

/// A node, as it last reported.
#[derive(Debug, Clone, Serialize)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Which start of the node this is.
    pub incarnation: u64,
    /// What it has applied.
    pub revisions: Revisions,
    /// What it refused, if anything.
    pub nack: Option<Nack>,
    /// When it last reported, on the database's clock.
    pub last_seen: UtcMicros,
}

/// Records what a node says about itself. It is no control change: no revision, no hint.
///
/// # Errors
/// [`StoreError`].
pub async fn heartbeat(primary: &Primary, report: &NodeReport) -> Result<(), StoreError> {
    todo!()
}

/// All nodes, by name; the 1,000 that reported last.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader) -> Result<Vec<NodeInfo>, StoreError> {
    todo!()
}
