//! `/status` and `/v1/nodes`: this node, and all of them.

use axum::extract::State;
use http::Uri;
use serde_json::{Value, json};
use store::{node::NodeInfo, topology::ServerState};

use crate::{
    admin::{Reply, instant, read},
    guard::Permit,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /status`: what this node says about itself, and how it sees the database's servers.
pub(crate) async fn status(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    Query::of(&uri).finish()?;
    Ok(Reply::ok(json!({
        "node": state.status().node(),
        "readiness": state.status().ready(),
        "database": database(&state),
    })))
}

fn database(state: &ControlState) -> Vec<Value> {
    let word = |state| match state {
        ServerState::Primary => "primary",
        ServerState::Standby => "standby",
        ServerState::Unreachable => "unreachable",
    };
    let view = state.topology().view();
    let server = |server: &store::topology::ServerView| {
        json!({
            "address": server.address,
            "region": server.region,
            "state": word(server.state),
            "lag_bytes": server.lag_bytes,
            "rtt_us": server.rtt_us,
        })
    };
    view.servers.iter().map(server).collect()
}

/// `GET /v1/nodes`: as each last reported.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    Query::of(&uri).finish()?;
    let nodes = read!(state, |reader| store::node::list(reader))?;
    let items: Vec<Value> = nodes.iter().map(view).collect();
    Ok(Reply::ok(json!({ "items": items, "next_cursor": null })))
}

fn view(node: &NodeInfo) -> Value {
    json!({
        "name": node.name,
        "region": node.region,
        "incarnation": node.incarnation,
        "revisions": node.revisions,
        "nack": node.nack,
        "last_seen": instant(node.last_seen),
    })
}
