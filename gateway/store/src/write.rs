//! How every control transaction is numbered.
//!
//! It locks the head of each lane that it may change, authority first; collects what it changes; and at the end raises the
//! head, writes the log and sends one notification a lane, just before it commits. The lock lasts until then, so revisions
//! become visible in their order; a rollback leaves no gap.

use model::{
    change::{AuthorityChange, Lane, Revisions},
    denial::Denied,
    id::ApplicationId,
    key::KeyId,
};
use sqlx::{PgTransaction, query_file, query_file_scalar};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::{
    actor::Actor,
    commit,
    epoch::{self, Standing},
    error::StoreError,
    pool::Primary,
    purge::CACHE_PURGE,
    revision, wire,
};

/// What a write made, and the heads after it: a node that has applied them knows the change.
#[derive(Debug, Clone)]
pub struct Written<T> {
    /// What was made.
    pub item: T,
    /// The heads after the write.
    pub revisions: Revisions,
}

/// Which lanes a transaction may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// Keys, consumers, applications.
    Authority,
    /// Both: authority is locked first.
    Both,
}

/// Says where the first write happened, or begins an epoch above `known`. `rest` are the lanes that are not locked yet.
async fn enter(
    tx: &mut PgTransaction<'static>,
    rest: &[String],
    standing: Standing,
    (timeline, system_identifier): (i32, i64),
    known: i64,
) -> Result<(), StoreError> {
    // In the one order, so after authority.
    query_file!("queries/control_head/lock.sql", rest).fetch_all(&mut **tx).await?;
    if standing == Standing::Begins {
        query_file!("queries/control_head/start_epoch.sql", timeline, system_identifier, known).execute(&mut **tx).await?;
    } else {
        query_file!("queries/control_head/first_write.sql", timeline, system_identifier).execute(&mut **tx).await?;
    }
    Ok(())
}

/// What happened to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    /// Only its place in the document changed.
    Move,
    Remove,
}

impl Op {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Move => "move",
            Self::Remove => "remove",
        }
    }
}

/// One row of the log to be.
#[derive(Debug)]
struct Entry {
    lane: Lane,
    kind: &'static str,
    entity: String,
    op: Op,
    body: serde_json::Value,
}

/// A control transaction. Dropping it rolls back.
#[derive(Debug)]
pub(crate) struct ControlWrite {
    pub(crate) tx: PgTransaction<'static>,
    primary: Primary,
    actor: String,
    entries: Vec<Entry>,
    /// Until the commit has returned.
    _turn: OwnedSemaphorePermit,
}

impl ControlWrite {
    /// Begins, and takes the locks of the lanes.
    pub(crate) async fn begin(primary: &Primary, lanes: Lanes, actor: &Actor) -> Result<Self, StoreError> {
        let turn = primary.turn().await?;
        let mut tx = primary.pool().begin().await?;
        let both = [Lane::Authority.as_str().to_owned(), Lane::Structural.as_str().to_owned()];
        let (wanted, rest) = match lanes {
            Lanes::Authority => both.split_at(1),
            Lanes::Both => both.split_at(2),
        };
        let heads = query_file!("queries/control_head/lock.sql", wanted).fetch_all(&mut *tx).await?;
        let here = heads.first().ok_or_else(|| wire::corrupt("control_head", "the lane has no row"))?;
        let (timeline, system_identifier) = (here.timeline_now, here.system_identifier_now);
        let is_first = here.timeline.is_none();
        let is_elsewhere = !is_first && (here.timeline != Some(timeline) || here.system_identifier != Some(system_identifier));
        let epoch = wire::count(here.epoch, "epoch")?;
        let structural = heads.get(1).map(|head| wire::count(head.rev, "structural head")).transpose()?;
        let heads =
            Revisions { epoch, epoch_id: here.epoch_id, authority: wire::count(here.rev, "authority head")?, structural_epoch: epoch, structural: 0 };
        let heard = primary.heard().newest();
        let standing = epoch::standing(&heads, structural, is_elsewhere, &heard);
        if standing == Standing::IsOld {
            return Err(StoreError::Superseded { here: epoch, known: heard.epoch });
        }
        if is_first || standing == Standing::Begins {
            let known = wire::bigint(heard.epoch)?;
            // Once in the life of a primary: its state is not carried by every write.
            Box::pin(enter(&mut tx, rest, standing, (timeline, system_identifier), known)).await?;
        }
        Ok(Self { tx, primary: primary.clone(), actor: actor.to_string(), entries: Vec::new(), _turn: turn })
    }

    /// Begins with an epoch above `above`, and above that of the database.
    pub(crate) async fn begin_epoch(primary: &Primary, above: u64, actor: &Actor) -> Result<Self, StoreError> {
        let turn = primary.turn().await?;
        let mut tx = primary.pool().begin().await?;
        let both = [Lane::Authority.as_str().to_owned(), Lane::Structural.as_str().to_owned()];
        let heads = query_file!("queries/control_head/lock.sql", &both).fetch_all(&mut *tx).await?;
        let here = heads.first().ok_or_else(|| wire::corrupt("control_head", "the lane has no row"))?;
        let place = (here.timeline_now, here.system_identifier_now);
        enter(&mut tx, &[], Standing::Begins, place, wire::bigint(above)?).await?;
        Ok(Self { tx, primary: primary.clone(), actor: actor.to_string(), entries: Vec::new(), _turn: turn })
    }

    /// Notes a change of the authority lane.
    pub(crate) fn authority(&mut self, change: &AuthorityChange) -> Result<(), StoreError> {
        let (kind, entity, op) = match change {
            AuthorityChange::Key(row) => ("key", row.id.to_string(), Op::Put),
            AuthorityChange::KeyRemoved { id } => ("key", id.to_string(), Op::Remove),
            AuthorityChange::Application(row) => ("application", row.id.to_string(), Op::Put),
            AuthorityChange::ApplicationRemoved { id } => ("application", id.to_string(), Op::Remove),
            AuthorityChange::Consumer(row) => ("consumer", row.id.to_string(), Op::Put),
            AuthorityChange::ConsumerRemoved { id } => ("consumer", id.to_string(), Op::Remove),
            AuthorityChange::TokenDenied(row) => {
                let (what, name) = match &row.which {
                    Denied::Token { id } => ("token", id),
                    Denied::Subject { subject, .. } => ("subject", subject),
                };
                ("token_denial", format!("{} {what} {name}", row.issuer), Op::Put)
            }
            AuthorityChange::CachePurge(purge) => (CACHE_PURGE, purge.to_string(), Op::Remove),
        };
        let body = serde_json::to_value(change).map_err(|error| wire::corrupt("change", error.to_string()))?;
        self.entries.push(Entry { lane: Lane::Authority, kind, entity, op, body });
        Ok(())
    }

    /// Notes a change of the structural lane; `body` is the document's entry, null when it is removed.
    pub(crate) fn structural(&mut self, kind: &'static str, name: &str, op: Op, body: serde_json::Value) {
        self.entries.push(Entry { lane: Lane::Structural, kind, entity: name.to_owned(), op, body });
    }

    /// The heads as this transaction sees them.
    pub(crate) async fn heads(&mut self) -> Result<Revisions, StoreError> {
        revision::heads_on(&mut self.tx).await
    }

    /// Deletes these applications and their keys, and notes it; returns the keys that ended.
    pub(crate) async fn remove_applications(&mut self, ids: &[Uuid]) -> Result<Vec<KeyId>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ended = query_file_scalar!("queries/api_key/end_of_applications.sql", ids).fetch_all(&mut *self.tx).await?;
        let mut keys = Vec::with_capacity(ended.len());
        for text in ended {
            let id = KeyId::parse(&text).ok_or_else(|| wire::corrupt("key id", text))?;
            self.authority(&AuthorityChange::KeyRemoved { id })?;
            keys.push(id);
        }
        query_file!("queries/application/delete.sql", ids).execute(&mut *self.tx).await?;
        for id in ids {
            self.authority(&AuthorityChange::ApplicationRemoved { id: ApplicationId::new(*id) })?;
        }
        Ok(keys)
    }

    /// Gives each lane that changed its revision, and commits. Without any change nothing is written.
    pub(crate) async fn commit(mut self) -> Result<Revisions, StoreError> {
        for lane in [Lane::Authority, Lane::Structural] {
            self.number(lane).await?;
        }
        let revisions = self.heads().await?;
        let (committed, is_clean) = commit::watched(self.tx.commit()).await;
        committed.map_err(StoreError::at_commit)?;
        self.primary.heard().hear(&revisions);
        if !is_clean {
            // It is done on the primary, and a promotion might undo it. It counts as done once a commit behind it has waited.
            tracing::warn!(?revisions, "a commit did not wait for its standby; it is waited for behind it");
            commit::barrier(&self.primary).await.map_err(|_| StoreError::CommitUnconfirmed)?;
        }
        Ok(revisions)
    }

    /// Takes everything back.
    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }

    async fn number(&mut self, lane: Lane) -> Result<(), StoreError> {
        let rows: Vec<_> = (1_u32..)
            .zip(self.entries.iter().filter(|entry| entry.lane == lane))
            .map(|(ordinal, entry)| {
                serde_json::json!({
                    "ordinal": ordinal, "kind": entry.kind, "entity": entry.entity, "op": entry.op.as_str(), "body": entry.body,
                })
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let n_rows = i32::try_from(rows.len()).map_err(|_| StoreError::invalid("too many changes at once"))?;
        let head = query_file!("queries/control_head/advance.sql", lane.as_str()).fetch_one(&mut *self.tx).await?;
        let rows = serde_json::Value::Array(rows);
        query_file!("queries/control_log/insert.sql", head.rev, lane.as_str(), head.epoch, n_rows, self.actor, rows).execute(&mut *self.tx).await?;
        let hint = format!("{}:{}:{}", lane.as_str(), head.epoch, head.rev);
        query_file!("queries/control_head/notify.sql", hint).execute(&mut *self.tx).await?;
        Ok(())
    }
}
