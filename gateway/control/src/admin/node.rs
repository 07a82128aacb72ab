//! `/status` and `/v1/nodes`: this node, and all of them.

use axum::extract::{Path, State};
use http::Uri;
use model::problem::{Denial, ProblemKind};
use serde::Serialize;
use store::{
    node::{Nack, NodeInfo},
    topology::ServerState,
};
use utoipa::ToSchema;

use crate::{
    admin::{LaneRevisions, Listed, Reply, instant, read, store_refusal},
    guard::Permit,
    openapi::{form, operation::Doc},
    port::{DomainServer, NodeFacts, Readiness},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /status`: what this node says about itself, and how it sees the database's servers.
pub(crate) async fn status(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    Query::of(&uri).finish()?;
    let (node, readiness) = (state.status().node(), state.status().ready());
    Ok(Reply::ok(&NodeStatus { node, readiness, database: database(&state), domains: state.status().domain_servers() }))
}

/// What a node says about itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeStatus {
    node: NodeFacts,
    readiness: Readiness,
    /// How it sees the servers of the control database.
    database: Vec<DatabaseServer>,
    /// How it sees those of the fronted services; the positions of domains whose clients get consistency tokens.
    domains: Vec<DomainServer>,
}

/// A server of the control database, as a node sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatabaseServer {
    /// `host:port`.
    address: String,
    /// The region that reads it.
    region: String,
    #[schema(value_type = form::ServerRole)]
    state: &'static str,
    /// How far it is behind the primary; null when that is not known.
    lag_bytes: Option<u64>,
    /// How long the last look took.
    rtt_us: Option<u64>,
}

/// How [`status`] is described.
pub(crate) fn status_doc() -> Doc {
    Doc::new("getStatus", "Shows what this node says about itself").answers::<NodeStatus>(200, "This node.")
}

fn database(state: &ControlState) -> Vec<DatabaseServer> {
    let word = |state| match state {
        ServerState::Primary => "primary",
        ServerState::Standby => "standby",
        ServerState::Unreachable => "unreachable",
    };
    let view = state.topology().view();
    let server = |server: &store::topology::ServerView| DatabaseServer {
        address: server.address.clone(),
        region: server.region.clone(),
        state: word(server.state),
        lag_bytes: server.lag_bytes,
        rtt_us: server.rtt_us,
    };
    view.servers.iter().map(server).collect()
}

/// `GET /v1/nodes`: as each last reported.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    Query::of(&uri).finish()?;
    let nodes = read!(state, |reader| store::node::list(reader))?;
    Ok(Reply::ok(&Listed::all(nodes.into_iter().map(Node::from))))
}

/// A node, as it last reported.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Node {
    name: String,
    region: String,
    /// Which start of the node this is.
    incarnation: u64,
    /// What it has applied.
    revisions: LaneRevisions,
    /// The document that it refused, if it did.
    nack: Option<RefusedDocument>,
    /// The authority revision that it comes to again after a restart without a database; null before it has said so.
    acknowledged: Option<u64>,
    /// For how long its routes that refuse on stale keys may go on when it is cut off, milliseconds; null for a node of an earlier version.
    deny_bound_ms: Option<u64>,
    /// How old what it knew about keys was when it reported, milliseconds; null while nothing was confirmed.
    staleness_ms: Option<u64>,
    /// What was wrong with it when it reported; null when nothing was.
    trouble: Option<String>,
    #[schema(value_type = form::Instant)]
    last_seen: String,
}

/// A document that a node does not serve.
#[derive(Debug, Serialize, ToSchema)]
struct RefusedDocument {
    /// Its revision.
    structural: u64,
    /// Why, in the compiler's words.
    message: String,
}

impl From<NodeInfo> for Node {
    fn from(node: NodeInfo) -> Self {
        let NodeInfo { name, region, incarnation, revisions, nack, acknowledged, deny_bound_ms, staleness_ms, trouble, last_seen } = node;
        let nack = nack.map(|Nack { structural, message }| RefusedDocument { structural, message });
        let acknowledged = acknowledged.map(|acknowledged| acknowledged.authority);
        Self {
            name,
            region,
            incarnation,
            revisions: revisions.into(),
            nack,
            acknowledged,
            deny_bound_ms,
            staleness_ms,
            trouble,
            last_seen: instant(last_seen),
        }
    }
}

/// `DELETE /v1/nodes/{name}`: a node that is gone for good is not waited for any more.
pub(crate) async fn remove(State(state): State<ControlState>, _: Permit, Path(name): Path<String>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    if store::node::remove(&primary, &name).await.map_err(|error| store_refusal(&error))? {
        return Ok(Reply::ok(&RemovedNode { name: name.clone() }).about(format!("node:{name}")));
    }
    let nodes = store::node::list(&primary).await.map_err(|error| store_refusal(&error))?;
    if nodes.iter().any(|node| node.name == name) {
        let text = "the node may still go by what it knew: stop it, and wait for its bound and two minutes (a day when it has named none)";
        return Err(Denial::new(ProblemKind::ResourceConflict, text).into());
    }
    Err(Refusal::not_found("node"))
}

/// A node that is not registered any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RemovedNode {
    name: String,
}

/// How [`remove`] is described.
pub(crate) fn remove_doc() -> Doc {
    Doc::new("removeNode", "Strikes a node off the list that is gone for good")
        .about("No receipt waits for it any more. A node that runs reports again within a second.")
        .path_text("name", "Its name.")
        .answers::<RemovedNode>(200, "It is not registered any more.")
        .refuses(ProblemKind::ResourceConflict)
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listNodes", "Lists the nodes that reported last, newest first").answers_whole::<Node>("At most 1,000 of them.")
}
