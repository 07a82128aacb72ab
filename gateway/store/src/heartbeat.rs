//! Heartbeats of the control domain, and reads that they confirm.
//!
//! Nobody can tell by reading alone that a server is still the primary: one that was replaced answers as before. So one node at a time
//! commits a heartbeat, again and again, and each says which one before it was committed cleanly. What was read together with beat `k` is
//! confirmed once `acked >= k + 2` is read over the same connection: beat `k + 2` began after the read, and where commits wait for a server
//! that may be promoted, a replaced primary cannot commit it (ADR 0030: `acked-at-k`, `acked-at-k-plus-1`).

use std::time::Duration;

use model::change::Revisions;
use sqlx::{PgConnection, query_file, query_file_scalar};
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::{commit::watched, error::StoreError, pool::Primary, revision, wire};

/// How long a server has to answer.
const WITHIN: Duration = Duration::from_secs(2);
/// How long a heartbeat may take: a commit waits for its standby, and nothing on the server ends that.
const BEAT_WITHIN: Duration = Duration::from_secs(6);

/// What the primary has shown over one connection, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The heads.
    pub heads: Revisions,
    /// The heartbeat.
    pub heart: Heart,
}

/// What a heartbeat's row says, and under what it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heart {
    /// The newest heartbeat.
    pub beat: u64,
    /// The newest one whose commit is known to have waited to its end.
    pub acked: u64,
    /// Who writes them; empty before the first.
    pub writer: String,
    /// How long a question of the writer takes, microseconds.
    pub writer_rtt_us: u64,
    /// The servers that a commit waits for, as the primary is configured; empty when it waits for none.
    pub standbys: String,
    /// Under what it was seen.
    pub under: Under,
}

/// What must not change between a read and its confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Under {
    /// When the server started.
    pub(crate) started_at: OffsetDateTime,
    /// When its settings were loaded, by this connection: those that were changed and changed back are not the same.
    pub(crate) settings_at: OffsetDateTime,
}

impl Heart {
    /// Whether this confirms what was seen before over the same connection.
    pub fn confirms(&self, beat: u64, under: Under) -> bool {
        self.under == under && self.acked >= beat.saturating_add(2)
    }
}

/// A connection to the primary for nothing but this. What was seen over another one is not confirmed by it.
#[derive(Debug)]
pub struct Line(PgConnection);

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(primary: &Primary) -> Result<Self, StoreError> {
        // Out of the pool for good: a read must never be confirmed over another connection.
        Ok(Self(primary.pool().acquire().await?.detach()))
    }

    pub(crate) const fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Reads the heads and the heartbeat.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no answer within 2 s, or the server has become a standby. Drop the line then.
    ///
    /// # Cancel
    /// Drop the line.
    pub async fn look(&mut self) -> Result<Look, StoreError> {
        let asked = timeout(WITHIN, query_file!("queries/control_heartbeat/look.sql").fetch_one(&mut self.0));
        let row = asked.await.map_err(|_| StoreError::unavailable("the primary does not answer"))??;
        if row.in_recovery {
            return Err(StoreError::unavailable("the primary has become a standby"));
        }
        Ok(Look {
            heads: revision::revisions(row.epoch, row.epoch_id, row.authority, row.structural)?,
            heart: Heart {
                beat: wire::count(row.beat, "heartbeat")?,
                acked: wire::count(row.acked, "heartbeat")?,
                writer: row.writer,
                writer_rtt_us: wire::count(row.writer_rtt_us, "round trip")?,
                standbys: row.standbys,
                under: Under { started_at: row.started_at, settings_at: row.settings_at },
            },
        })
    }
}

impl Beating for Line {
    async fn beat(&mut self, seen: u64, acked: u64, writer: &str, rtt_us: u64) -> Result<Option<Beat>, StoreError> {
        let (seen, acked, rtt_us) = (wire::bigint(seen)?, wire::bigint(acked)?, wire::bigint(rtt_us)?);
        beaten(query_file_scalar!("queries/control_heartbeat/beat.sql", acked, writer, rtt_us, seen).fetch_optional(&mut self.0)).await
    }
}

/// A connection that can commit heartbeats.
pub trait Beating {
    /// Commits the heartbeat after `seen`; `acked` is the newest that this line has committed cleanly. `None` when another node has.
    ///
    /// # Errors
    /// [`StoreError`], also when it takes longer than a commit may. Drop the line then.
    ///
    /// # Cancel
    /// It was committed or not. Drop the line.
    fn beat(&mut self, seen: u64, acked: u64, writer: &str, rtt_us: u64) -> impl Future<Output = Result<Option<Beat>, StoreError>> + Send;
}

/// Waits for a heartbeat's commit, and sees whether it has waited for its standbys.
pub(crate) async fn beaten(call: impl Future<Output = Result<Option<i64>, sqlx::Error>>) -> Result<Option<Beat>, StoreError> {
    let (done, is_clean) = timeout(BEAT_WITHIN, watched(call)).await.map_err(|_| StoreError::unavailable("a heartbeat takes too long"))?;
    let Some(number) = done? else { return Ok(None) };
    Ok(Some(Beat { number: wire::count(number, "heartbeat")?, is_clean }))
}

/// A heartbeat that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Its number.
    pub number: u64,
    /// Its commit has waited for its standbys to the end.
    pub is_clean: bool,
}
