//! How far a change of a key has come: which nodes have acknowledged it, which have fenced themselves, and since when nobody goes by what was
//! before.
//!
//! A node that has acknowledged a revision comes to it again after a restart without a database. One that has not is waited for: its routes
//! that refuse once their bound is over go by what was before for that bound at most, counted from a read that began before the commit. The
//! wait is counted here from after the commit, on a clock that no administrator sets, and with what that clock may gain
//! (ADR 0030: `fence-without-drift`, `ack-without-epoch`).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::extract::{Path, State};
use http::Uri;
use model::{
    change::Revisions,
    key::KeyId,
    time::{BootNanos, UtcMicros},
};
use serde::Serialize;
use store::{
    node::{Acknowledged, Standing},
    pool::Primary,
};
use utoipa::ToSchema;

use super::life::{key_id, object, of_key};
use crate::{
    admin::{AuthorityRevision, Reply, authority_revision, instant, store_refusal},
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// A clock gains less than one in so many, and a tick.
const DRIFT: u64 = 1_000;
const TICK_NANOS: u64 = 1_000_000;
/// Changes whose age is remembered; of one that is forgotten, the wait begins anew.
const REMEMBERED_MAX: usize = 10_000;
/// How often the nodes are looked at while somebody waits.
const LOOK: Duration = Duration::from_millis(25);
/// How long somebody waits when nothing is said, and at most, in seconds: from the beginning of the call, and within its deadline.
const WAIT_DEFAULT: u64 = 10;
const WAIT_MAX: u64 = 25;

/// A change whose way to the nodes is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    epoch: u64,
    revision: Acknowledged,
    /// When it was known here to be committed.
    known_at: BootNanos,
}

/// Since when changes of keys are known here to be committed.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<HashMap<KeyId, Change>>);

impl Changes {
    /// Takes in a change that is committed; the first time counts.
    pub(crate) fn committed(&self, id: KeyId, revisions: Revisions, now: BootNanos) -> Change {
        let revision = Acknowledged { epoch_id: revisions.epoch_id, authority: revisions.authority };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.get(&id).filter(|before| before.revision == revision) {
            return *before;
        }
        if known.len() >= REMEMBERED_MAX {
            known.retain(|_, change| now.nanos_since(change.known_at) < 600_000_000_000);
        }
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        let change = Change { epoch: revisions.epoch, revision, known_at: now };
        known.insert(id, change);
        change
    }

    /// What is known of a key in this epoch, at this revision or a later one; at any, where it was changed in an earlier epoch: then whoever
    /// is in this one knows it.
    fn of(&self, id: &KeyId, revisions: &Revisions, is_exact: bool) -> Option<Change> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied();
        let is_of = |known: &Change| known.revision.epoch_id == revisions.epoch_id && (!is_exact || known.revision.authority >= revisions.authority);
        known.filter(is_of)
    }
}

/// How far a change has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// No route that refuses once its bound is over goes by what was before, on any registered node.
    pub(super) is_effective: bool,
    /// Since when, on the database's clock; null before, and when the instants are too old to be known.
    #[schema(value_type = Option<form::Instant>)]
    effective_at: Option<String>,
    /// Milliseconds from the commit until it was seen to be effective; null unless this call has made the change and waited.
    pub(super) elapsed_ms: Option<u64>,
    /// The widest bound of the nodes that have not acknowledged, or of all when they have.
    bound_ms: u64,
    /// When the nodes that have not acknowledged are past their bounds, on the database's clock; null when one of them has named none.
    #[schema(value_type = Option<form::Instant>)]
    fenced_at: Option<String>,
    /// What holds for routes that go on past their bound.
    allow_routes: AllowRoutes,
    nodes: Vec<NodeStanding>,
}

/// What holds for routes that go on past their bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
enum AllowRoutes {
    /// There are none.
    #[serde(rename = "none")]
    None,
    /// Every node knows the change.
    #[serde(rename = "acknowledged")]
    Acknowledged,
    /// A node that has not acknowledged goes by what was before for as long as it is cut off.
    #[serde(rename = "unbounded while cut off")]
    Unbounded,
}

/// How a node stands to a change.
#[derive(Debug, Serialize, ToSchema)]
struct NodeStanding {
    name: String,
    region: String,
    state: NodeState,
    /// When it acknowledged, on the database's clock; null when it has not, or an hour ago.
    #[schema(value_type = Option<form::Instant>)]
    acknowledged_at: Option<String>,
    /// For how long its routes that refuse once their bound is over may go by what was before; null for a node of an earlier version.
    bound_ms: Option<u64>,
}

/// What a node does about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NodeState {
    /// It goes by the change, also after a restart.
    Acknowledged,
    /// It has not said so, and its bound is over.
    Fenced,
    /// Neither.
    Waiting,
}

impl Receipt {
    /// Judges the nodes. `database_now`: the database's clock at `now`.
    fn of(change: Change, nodes: Vec<Standing>, serves_stale: bool, now: BootNanos, database_now: UtcMicros) -> Self {
        let waited = now.nanos_since(change.known_at);
        let fence = |bound_ms: u64| {
            let bound = bound_ms.saturating_mul(1_000_000);
            bound.saturating_add(bound / DRIFT).saturating_add(TICK_NANOS)
        };
        let state = |node: &Standing| match (node.knows, node.deny_bound_ms) {
            (true, _) => NodeState::Acknowledged,
            (false, Some(bound)) if waited > fence(bound) => NodeState::Fenced,
            (false, _) => NodeState::Waiting,
        };
        let judged: Vec<(NodeState, Standing)> = nodes.into_iter().map(|node| (state(&node), node)).collect();
        let widest =
            |all: bool| judged.iter().filter(|(state, _)| all || *state != NodeState::Acknowledged).filter_map(|(_, node)| node.deny_bound_ms).max();
        let is_known = judged.iter().all(|(state, _)| *state == NodeState::Acknowledged);
        let bound_ms = widest(is_known).unwrap_or(0);
        let left = i64::try_from(fence(bound_ms) / 1_000).unwrap_or(i64::MAX).saturating_sub(i64::try_from(waited / 1_000).unwrap_or(i64::MAX));
        let fenced_at = UtcMicros(database_now.0.saturating_add(left));
        let is_bounded = judged.iter().all(|(state, node)| *state == NodeState::Acknowledged || node.deny_bound_ms.is_some());
        let is_effective = judged.iter().all(|(state, _)| *state != NodeState::Waiting);
        let last = judged.iter().map(|(state, node)| if *state == NodeState::Acknowledged { node.acknowledged_at } else { Some(fenced_at) });
        let effective_at = last.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()).filter(|_| is_effective);
        let allow_routes = match (serves_stale, is_known) {
            (false, _) => AllowRoutes::None,
            (true, true) => AllowRoutes::Acknowledged,
            (true, false) => AllowRoutes::Unbounded,
        };
        let nodes = judged.into_iter().map(|(state, node)| NodeStanding {
            name: node.name,
            region: node.region,
            state,
            acknowledged_at: node.acknowledged_at.map(instant),
            bound_ms: node.deny_bound_ms,
        });
        Self {
            is_effective,
            effective_at: effective_at.map(instant),
            elapsed_ms: None,
            bound_ms,
            fenced_at: is_bounded.then(|| instant(fenced_at)),
            allow_routes,
            nodes: nodes.collect(),
        }
    }
}

/// Whether and for how long a caller waits for a change to be effective.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    asked_at: tokio::time::Instant,
    within: Option<Duration>,
}

impl Wait {
    /// Takes `wait` and `timeout`.
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let mut query = Query::of(uri);
        let is_wanted = query.read("wait", "must be `effective`", |text| (text == "effective").then_some(true)).unwrap_or(false);
        let seconds = |text: &str| text.strip_suffix('s').unwrap_or(text).parse().ok().filter(|seconds| (1..=WAIT_MAX).contains(seconds));
        let timeout = query.read("timeout", "must be a number of seconds from 1 to 25", seconds);
        query.finish()?;
        let within = is_wanted.then(|| Duration::from_secs(timeout.unwrap_or(WAIT_DEFAULT)));
        Ok(Self { asked_at: tokio::time::Instant::now(), within })
    }

    /// Waits until the change is effective, or the time is over; `None` when nobody waits. `is_new`: this call has made it.
    pub(super) async fn wait(self, state: &ControlState, primary: &Primary, change: Change, is_new: bool) -> Result<Option<Receipt>, Refusal> {
        let Some(within) = self.within else { return Ok(None) };
        let mut pulse = tokio::time::interval(LOOK);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let waited = async {
            loop {
                pulse.tick().await;
                let mut receipt = look(state, primary, change).await?;
                if receipt.is_effective {
                    receipt.elapsed_ms = is_new.then(|| state.now().boot.nanos_since(change.known_at).div_ceil(1_000_000));
                    return Ok(receipt);
                }
            }
        };
        match tokio::time::timeout_at(self.asked_at + within, waited).await {
            Ok(receipt) => receipt.map(Some),
            Err(_) => look(state, primary, change).await.map(Some),
        }
    }
}

async fn look(state: &ControlState, primary: &Primary, change: Change) -> Result<Receipt, Refusal> {
    // Read before the nodes: a wait counts as shorter than it was.
    let now = state.now().boot;
    let (nodes, database_now) = store::node::standing(primary, change.revision).await.map_err(|error| store_refusal(&error))?;
    Ok(Receipt::of(change, nodes, state.status().serves_stale(), now, database_now))
}

/// `GET /v1/keys/{id}/propagation`: how far the last change of a key has come.
pub(crate) async fn propagation(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let (revisions, is_exact) = store::key::last_change(&primary, &id).await.map_err(|error| store_refusal(&error))?;
    let change = if let Some(known) = state.changes().of(&id, &revisions, is_exact) {
        known
    } else {
        // It is seen here, and perhaps on no standby: nothing counts from a commit that a promotion can undo (T6).
        store::commit::barrier(&primary).await.map_err(|error| store_refusal(&error))?;
        state.changes().committed(id, revisions, state.now().boot)
    };
    let receipt = look(&state, &primary, change).await?;
    let revision = authority_revision(Revisions { epoch: change.epoch, authority: change.revision.authority, ..revisions });
    Ok(Reply::ok(&Propagation { id, revision, receipt }).about(object(&id)))
}

/// How far the last change of a key has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Propagation {
    #[schema(value_type = form::KeyId)]
    id: KeyId,
    revision: AuthorityRevision,
    receipt: Receipt,
}

/// How [`propagation`] is described.
pub(crate) fn propagation_doc() -> Doc {
    let doc = Doc::new("getKeyPropagation", "Shows how far the last change of a key has come");
    let about = "Which nodes have acknowledged the change, which are past their bounds, and since when nobody goes by what was before. A bound is \
                 counted from when this node first knew of the change.";
    of_key(doc.about(about)).answers::<Propagation>(200, "How it stands.")
}

#[cfg(test)]
mod tests;
