//! What nodes read: heads, whole loads, deltas.
//!
//! Commit order is revision order, so a reader that sees head `r` has every change up to `r`; and it checks that it has.

mod hint;
mod load;

use std::num::NonZeroU64;

use model::{
    change::{ApplicationRow, AuthorityChange, ConsumerRow, KeyRow, Revisions},
    denial::DenialRow,
    document::Document,
};
use sqlx::{PgConnection, query_file};
use uuid::Uuid;

pub use self::{
    hint::{Hint, HintStream, listen},
    load::{full, structure},
};
use crate::{error::StoreError, pool::Reader, wire};

/// Above so many changes a whole load is quicker, and a delta would need memory without bound.
const DELTA_MAX: usize = 20_000;

/// A row whose content this version cannot use. Its entity is left out (its key answers 401); everything else applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The kind of thing: `key`, `application`, `route`.
    pub kind: String,
    /// Its id or name.
    pub entity: String,
    /// What is wrong.
    pub message: String,
}

/// Everything, at one moment of one server.
#[derive(Debug, Clone)]
pub struct FullLoad {
    /// The heads at that moment.
    pub revisions: Revisions,
    /// The structural part; its `consumers` and `applications` are empty.
    pub document: Document,
    /// Consumers.
    pub consumers: Vec<ConsumerRow>,
    /// Applications.
    pub applications: Vec<ApplicationRow>,
    /// Keys, revoked ones too.
    pub keys: Vec<KeyRow>,
    /// Tokens that are refused.
    pub denials: Vec<DenialRow>,
    /// What could not be read.
    pub quarantined: Vec<BadRow>,
}

/// The structural part, at one moment of one server.
#[derive(Debug, Clone)]
pub struct StructureLoad {
    /// The heads at that moment.
    pub revisions: Revisions,
    /// The document; its `consumers` and `applications` are empty.
    pub document: Document,
    /// What could not be read.
    pub quarantined: Vec<BadRow>,
}

/// One change of the authority lane.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its revision.
    pub rev: u64,
    /// The change, or why it cannot be read.
    pub result: Result<AuthorityChange, BadRow>,
}

/// What happened on the authority lane after a revision.
#[derive(Debug, Clone)]
pub enum Delta {
    /// Every change after the asked revision, in order, up to `revisions.authority`.
    Changes {
        /// The heads at that moment.
        revisions: Revisions,
        /// The changes.
        changes: Vec<Change>,
    },
    /// The changes cannot be had or trusted one by one: load everything.
    Reload(ReloadReason),
}

/// Why a delta is no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadReason {
    /// The database is in a later epoch: it was promoted since.
    Epoch,
    /// A revision or some of its rows are missing, for instance because the log was trimmed.
    Gap,
    /// The database's head is below the asked revision, or in an earlier epoch, or in another one of the same number: a whole load would be
    /// of no use either.
    Regressed,
    /// There are too many changes; a whole load is quicker.
    TooMany,
}

/// The head of each lane.
///
/// # Errors
/// [`StoreError`].
pub async fn heads(reader: &impl Reader) -> Result<Revisions, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    heads_on(&mut connection).await
}

/// The head of each lane, as a connection or transaction sees them.
pub(crate) async fn heads_on(connection: &mut PgConnection) -> Result<Revisions, StoreError> {
    let row = query_file!("queries/control_head/heads.sql").fetch_one(connection).await?;
    revisions(row.epoch, row.epoch_id, row.authority, row.structural)
}

pub(crate) fn revisions(epoch: i64, epoch_id: Uuid, authority: i64, structural: i64) -> Result<Revisions, StoreError> {
    let epoch = wire::count(epoch, "epoch")?;
    Ok(Revisions {
        epoch,
        epoch_id,
        structural_epoch: epoch,
        authority: wire::count(authority, "authority head")?,
        structural: wire::count(structural, "structural head")?,
    })
}

/// The changes of the authority lane after those of `applied`.
///
/// # Errors
/// [`StoreError`]; a change that cannot be read is no error, see [`Change::result`].
pub async fn authority_delta(reader: &impl Reader, applied: &Revisions) -> Result<Delta, StoreError> {
    let after_rev = applied.authority;
    let limit = i64::try_from(DELTA_MAX + 1).unwrap_or(i64::MAX);
    let rows = query_file!("queries/control_log/delta.sql", wire::bigint(after_rev)?, limit).fetch_all(reader.reader_pool()).await?;
    let Some(first) = rows.first() else { return Err(wire::corrupt("control_head", "it has no rows")) };
    let revisions = revisions(first.head_epoch, first.head_epoch_id, first.head_authority, first.head_structural)?;
    if revisions.epoch < applied.epoch || applied.contradicts(&revisions) {
        return Ok(Delta::Reload(ReloadReason::Regressed));
    }
    if !revisions.are_of_one_epoch(applied) {
        return Ok(Delta::Reload(ReloadReason::Epoch));
    }
    if revisions.authority < after_rev {
        return Ok(Delta::Reload(ReloadReason::Regressed));
    }
    if rows.len() > DELTA_MAX {
        return Ok(Delta::Reload(ReloadReason::TooMany));
    }
    let mut sequence = Sequence::new(applied.epoch, after_rev);
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        // The join gives one row of nulls when nothing follows.
        let (Some(rev), Some(row_epoch), Some(ordinal), Some(n_rows)) = (row.rev, row.epoch, row.ordinal, row.n_rows) else { continue };
        let place = (u64::try_from(row_epoch), u64::try_from(rev), u64::try_from(ordinal), u64::try_from(n_rows));
        let (Ok(row_epoch), Ok(rev), Ok(ordinal), Ok(n_rows)) = place else { return Ok(Delta::Reload(ReloadReason::Gap)) };
        if !sequence.accept(row_epoch, rev, ordinal, n_rows) {
            return Ok(Delta::Reload(ReloadReason::Gap));
        }
        let result = read_change(row.kind.unwrap_or_default(), row.entity.unwrap_or_default(), row.body.as_deref());
        changes.push(Change { rev, result });
    }
    if !sequence.is_complete(revisions.authority) {
        return Ok(Delta::Reload(ReloadReason::Gap));
    }
    Ok(Delta::Changes { revisions, changes })
}

fn read_change(kind: String, entity: String, body: Option<&str>) -> Result<AuthorityChange, BadRow> {
    serde_json::from_str(body.unwrap_or("null")).map_err(|error| BadRow { kind, entity, message: error.to_string() })
}

/// Checks that rows are every row of every revision, in order.
#[derive(Debug)]
struct Sequence {
    epoch: u64,
    rev: u64,
    /// The next ordinal within `rev`, and how many there are; absent between revisions.
    within: Option<(NonZeroU64, u64)>,
}

impl Sequence {
    const fn new(epoch: u64, after_rev: u64) -> Self {
        Self { epoch, rev: after_rev, within: None }
    }

    fn accept(&mut self, epoch: u64, rev: u64, ordinal: u64, n_rows: u64) -> bool {
        let (expected_rev, expected_ordinal, expected_rows) = match self.within {
            Some((next, n)) => (self.rev, next.get(), n),
            None => (self.rev + 1, 1, n_rows),
        };
        if (epoch, rev, ordinal, n_rows) != (self.epoch, expected_rev, expected_ordinal, expected_rows) || ordinal > n_rows {
            return false;
        }
        self.rev = rev;
        self.within = if ordinal == n_rows { None } else { NonZeroU64::new(ordinal + 1).map(|next| (next, n_rows)) };
        true
    }

    const fn is_complete(&self, head: u64) -> bool {
        self.rev == head && self.within.is_none()
    }
}
