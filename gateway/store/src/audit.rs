//! The audit log in the database: loaded exactly once, searched newest first.

mod copy;
mod extract;
mod load;
mod query;
mod scan;
pub(crate) mod usage;

use model::time::UtcMicros;
use serde::Serialize;

pub use self::{
    load::{Loader, watermark},
    query::query,
};
use crate::error::StoreError;

/// How far the log of one incarnation of one node is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Everything up to this number is in the database, without a gap; 0 is nothing.
    pub seq: u64,
    /// The chain hash that goes with it.
    pub chain: [u8; 32],
}

/// Rows that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The rows start after the watermark's next number, or are not consecutive: loading them would leave a hole (A3).
    #[error("row {seq} does not follow {expected_after}")]
    Gap {
        /// The number of the row that does not fit.
        seq: u64,
        /// The number it should follow.
        expected_after: u64,
    },
    /// The database did not take them; read the watermark and go on from there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which events are wanted; absent fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only this tenant.
    pub tenant: Option<String>,
    /// Only this consumer.
    pub consumer: Option<String>,
    /// Only this key.
    pub key_id: Option<String>,
    /// Only this request.
    pub request_id: Option<String>,
    /// Only this route.
    pub route: Option<String>,
    /// Only this method.
    pub method: Option<String>,
    /// Only this action, for admin events.
    pub action: Option<String>,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// `access`, `admin` or `node`.
    pub class: Option<String>,
    /// `intent`, `outcome` or `close`.
    pub phase: Option<String>,
    /// Only this region.
    pub region: Option<String>,
    /// The lowest status.
    pub status_min: Option<u16>,
    /// The highest status.
    pub status_max: Option<u16>,
    /// Not before this instant.
    pub since: Option<UtcMicros>,
    /// Before this instant.
    pub until: Option<UtcMicros>,
}

/// One event.
#[derive(Debug, Clone, Serialize)]
pub struct AuditItem {
    /// The node that wrote it.
    pub node: String,
    /// The incarnation of the node's log.
    pub incarnation: u64,
    /// Its number in that log.
    pub seq: u64,
    /// When it happened; for an event that cannot be read, when it was loaded.
    pub at: UtcMicros,
    /// The event; absent when its bytes cannot be read (they are kept).
    pub event: Option<serde_json::Value>,
}
