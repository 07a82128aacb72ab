//! Which nodes run, and what each has applied.

use model::{change::Revisions, time::UtcMicros};
use serde::Serialize;
use sqlx::query_file;
use uuid::Uuid;

use crate::{
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

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
    let nack = report.nack.as_ref();
    query_file!(
        "queries/node/heartbeat.sql",
        report.name,
        report.region,
        wire::bigint(report.incarnation)?,
        wire::bigint(report.revisions.epoch)?,
        wire::bigint(report.revisions.authority)?,
        wire::bigint(report.revisions.structural)?,
        nack.map(|nack| wire::bigint(nack.structural)).transpose()?,
        nack.map(|nack| nack.message.as_str()),
        wire::bigint(report.revisions.structural_epoch)?
    )
    .execute(primary.pool())
    .await?;
    Ok(())
}

/// The 1,000 nodes that reported last, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader) -> Result<Vec<NodeInfo>, StoreError> {
    let rows = query_file!("queries/node/list.sql").fetch_all(reader.reader_pool()).await?;
    let mut nodes = Vec::with_capacity(rows.len());
    for row in rows {
        let nack = match (row.nack_structural, row.nack_message) {
            (Some(structural), Some(message)) => Some(Nack { structural: wire::count(structural, "refused revision")?, message }),
            _ => None,
        };
        nodes.push(NodeInfo {
            name: row.name,
            region: row.region,
            incarnation: wire::count(row.incarnation, "incarnation")?,
            revisions: Revisions {
                epoch: wire::count(row.epoch, "epoch")?,
                epoch_id: Uuid::nil(),
                authority: wire::count(row.authority, "authority revision")?,
                structural_epoch: wire::count(row.structural_epoch, "structural epoch")?,
                structural: wire::count(row.structural, "structural revision")?,
            },
            nack,
            last_seen: UtcMicros::from_datetime(row.last_seen),
        });
    }
    Ok(nodes)
}
