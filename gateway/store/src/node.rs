//! Which nodes run, and what each has applied.

use std::time::Duration;

use model::{change::Revisions, time::UtcMicros};
use serde::Serialize;
use sqlx::query_file;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    commit::watched,
    error::StoreError,
    heartbeat::Line,
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
    /// The largest bound of its routes that refuse once it is over, milliseconds.
    pub deny_bound_ms: u64,
    /// The process before this one still serves: what it has reported holds too.
    pub has_predecessor: bool,
    /// How old what it knows about keys is, milliseconds; absent while nothing was confirmed.
    pub staleness_ms: Option<u64>,
    /// What is wrong with it, in words.
    pub trouble: Option<String>,
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
    /// The authority revision that it has acknowledged: a restart without a database would come to it again. Absent for a node of an
    /// earlier version, and for one that has written nothing to its disk yet.
    pub acknowledged: Option<Acknowledged>,
    /// The largest bound of its routes that refuse once it is over, milliseconds. Absent for a node of an earlier version.
    pub deny_bound_ms: Option<u64>,
    /// How old what it knew about keys was when it reported, milliseconds.
    pub staleness_ms: Option<u64>,
    /// What was wrong with it when it reported, in words.
    pub trouble: Option<String>,
    /// When it last reported, on the database's clock.
    pub last_seen: UtcMicros,
}

/// A revision that a node has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// Its epoch.
    pub epoch_id: Uuid,
    /// The revision of the authority lane.
    pub authority: u64,
}

/// How long a report may take: the commit waits for a standby, and nothing on the server ends that.
const REPORT_WITHIN: Duration = Duration::from_secs(5);
/// How long an acknowledgement may take, which waits for none.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(2);

macro_rules! reported {
    ($file:literal, $report:expr) => {{
        let (report, nack) = ($report, $report.nack.as_ref());
        query_file!(
            $file,
            report.name,
            report.region,
            wire::bigint(report.incarnation)?,
            wire::bigint(report.revisions.epoch)?,
            wire::bigint(report.revisions.authority)?,
            wire::bigint(report.revisions.structural)?,
            nack.map(|nack| wire::bigint(nack.structural)).transpose()?,
            nack.map(|nack| nack.message.as_str()),
            wire::bigint(report.revisions.structural_epoch)?,
            wire::bigint(report.deny_bound_ms)?,
            report.has_predecessor,
            report.staleness_ms.map(wire::bigint).transpose()?,
            report.trouble
        )
    }};
}

/// Makes a process the one that speaks for its node, with its first report; returns its number, which is at least that of the report.
///
/// # Errors
/// [`StoreError`]; [`StoreError::CommitUnconfirmed`] when the commit did not wait for its standby.
///
/// # Cancel
/// It is registered or not.
pub async fn register(primary: &Primary, report: &NodeReport) -> Result<u64, StoreError> {
    let call = reported!("queries/node/register.sql", report);
    let (done, is_clean) = in_time(watched(call.fetch_one(primary.pool()))).await?;
    let incarnation = wire::count(done?.incarnation, "incarnation")?;
    if is_clean { Ok(incarnation) } else { Err(StoreError::CommitUnconfirmed) }
}

/// Records what the process that speaks for a node says about it; false when another one does now. It is no control change: no revision,
/// no hint.
///
/// # Errors
/// [`StoreError`]; [`StoreError::CommitUnconfirmed`] when the commit did not wait for its standby.
///
/// # Cancel
/// It is recorded or not.
pub async fn heartbeat(primary: &Primary, report: &NodeReport) -> Result<bool, StoreError> {
    let call = reported!("queries/node/heartbeat.sql", report);
    let (done, is_clean) = in_time(watched(call.execute(primary.pool()))).await?;
    let is_written = done?.rows_affected() > 0;
    if is_clean { Ok(is_written) } else { Err(StoreError::CommitUnconfirmed) }
}

async fn in_time<T>(call: impl Future<Output = T>) -> Result<T, StoreError> {
    timeout(REPORT_WITHIN, call).await.map_err(|_| StoreError::unavailable("a report takes too long"))
}

impl Line {
    /// Records that a node has acknowledged a revision; false when this process does not speak for the node.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no answer within 2 s. Drop the line then.
    ///
    /// # Cancel
    /// Drop the line.
    pub async fn acknowledge(&mut self, name: &str, incarnation: u64, acknowledged: Acknowledged) -> Result<bool, StoreError> {
        let (incarnation, authority) = (wire::bigint(incarnation)?, wire::bigint(acknowledged.authority)?);
        let call = query_file!("queries/node/acknowledge.sql", name, incarnation, acknowledged.epoch_id, authority);
        let asked = timeout(ACKNOWLEDGE_WITHIN, call.fetch_optional(self.connection())).await;
        Ok(asked.map_err(|_| StoreError::unavailable("an acknowledgement takes too long"))??.is_some())
    }
}

/// How a registered node stands to a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The node's name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// It has acknowledged the revision, or a later one of its epoch.
    pub knows: bool,
    /// When, on the database's clock; absent when that was more than an hour ago.
    pub acknowledged_at: Option<UtcMicros>,
    /// For how long it may go on as before when it is cut off, milliseconds. Absent for a node of an earlier version.
    pub deny_bound_ms: Option<u64>,
}

/// How every registered node, by region and name, stands to a revision, and the database's clock.
///
/// # Errors
/// [`StoreError`].
pub async fn standing(primary: &Primary, revision: Acknowledged) -> Result<(Vec<Standing>, UtcMicros), StoreError> {
    let rows = query_file!("queries/node/standing.sql", revision.epoch_id, wire::bigint(revision.authority)?).fetch_all(primary.pool()).await?;
    let now = rows.first().map(|row| UtcMicros::from_datetime(row.now)).ok_or_else(|| wire::corrupt("node", "there is no clock"))?;
    let mut standing = Vec::with_capacity(rows.len());
    for row in rows {
        // The join gives one row of nulls when no node is registered.
        let (Some(name), Some(region)) = (row.name, row.region) else { continue };
        standing.push(Standing {
            name,
            region,
            knows: row.knows,
            acknowledged_at: row.acked_at.map(UtcMicros::from_datetime),
            deny_bound_ms: row.deny_bound_ms.map(|bound| wire::count(bound, "bound")).transpose()?,
        });
    }
    Ok((standing, now))
}

/// Strikes a node that is gone for good off the list, so that no receipt waits for it. False when there is none that has been silent for
/// two minutes more than its bound: for so long it may go by what it knew. One that runs registers again.
///
/// # Errors
/// [`StoreError`].
pub async fn remove(primary: &Primary, name: &str) -> Result<bool, StoreError> {
    Ok(query_file!("queries/node/delete.sql", name).execute(primary.pool()).await?.rows_affected() > 0)
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
            acknowledged: match (row.epoch_id, row.acked) {
                (Some(epoch_id), Some(acked)) => Some(Acknowledged { epoch_id, authority: wire::count(acked, "acknowledged revision")? }),
                _ => None,
            },
            deny_bound_ms: row.deny_bound_ms.map(|bound| wire::count(bound, "bound")).transpose()?,
            staleness_ms: row.staleness_ms.map(|age| wire::count(age, "age")).transpose()?,
            trouble: row.trouble,
            last_seen: UtcMicros::from_datetime(row.last_seen),
        });
    }
    Ok(nodes)
}
