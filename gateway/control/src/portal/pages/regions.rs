//! `/console/regions`: the regions with their nodes and database servers, as they are now; the page keeps itself up to date.

use askama::Template;
use axum::{extract::State, response::Response};
use model::time::UtcMicros;
use store::{
    node::NodeInfo,
    topology::{ServerState, ServerView},
};

use crate::{
    admin::read,
    port::DomainServer,
    portal::{session::SignedIn, site, view, view::Frame},
    refusal::Refusal,
    state::ControlState,
};

/// A node that has been silent for longer is shown as such.
const SILENT_AFTER_SECONDS: i64 = 5;

#[derive(Debug, Template)]
#[template(path = "portal/regions.html")]
struct Page {
    frame: Frame,
    live: String,
}

/// What the page asks for again and again.
#[derive(Debug, Template)]
#[template(path = "portal/regions_live.html")]
struct Live {
    /// Where the page was made, and when: what follows is how it looks from there.
    seen_from: String,
    seen_at: String,
    /// Whether commits wait for a standby.
    quorum: String,
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    name: String,
    nodes: Vec<Node>,
    servers: Vec<Server>,
    replicas: Vec<Replica>,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// In a word: ready, degraded, silent.
    state: &'static str,
    is_well: bool,
    /// What is wrong, or nothing.
    detail: String,
    applied: String,
    acknowledged: String,
    /// How old what it knows about keys is.
    staleness: String,
    bound: String,
    last_seen: String,
}

#[derive(Debug)]
struct Server {
    address: String,
    state: &'static str,
    is_well: bool,
    lag: String,
    rtt: String,
}

/// A database server of a fronted service.
#[derive(Debug)]
struct Replica {
    domain: String,
    address: String,
    state: &'static str,
    is_well: bool,
    position: String,
    lag: String,
}

pub(in crate::portal) async fn show(State(state): State<ControlState>, visitor: SignedIn) -> Result<Response, Refusal> {
    let live = looked(&state).await?.render().map_err(|error| crate::admin::unexpected(&error))?;
    let site = site::site(&state).await?;
    view::page(&Page { frame: Frame::of(&site, "Regions", Some(&visitor)), live })
}

pub(in crate::portal) async fn live(State(state): State<ControlState>, _: SignedIn) -> Result<Response, Refusal> {
    view::page(&looked(&state).await?)
}

async fn looked(state: &ControlState) -> Result<Live, Refusal> {
    let nodes = read!(state, |reader| store::node::list(reader))?;
    let (here, view, now) = (state.status().node(), state.topology().view(), state.now().wall);
    let quorum = state.status().ready().checks.into_iter().find(|check| check.name == "quorum").map(|check| check.detail);
    let newest = nodes.iter().map(|node| (node.revisions.epoch, node.revisions.authority)).max().unwrap_or_default();
    Ok(Live {
        seen_from: format!("{} in {}", here.node, here.region),
        seen_at: time_of_day(now),
        quorum: quorum.unwrap_or_default(),
        regions: by_region(&nodes, &view.servers, &state.status().domain_servers(), newest, now),
    })
}

fn by_region(nodes: &[NodeInfo], servers: &[ServerView], replicas: &[DomainServer], newest: (u64, u64), now: UtcMicros) -> Vec<Region> {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.region.as_str()).chain(servers.iter().map(|server| server.region.as_str())).collect();
    names.extend(replicas.iter().map(|replica| replica.region.as_str()));
    names.sort_unstable();
    names.dedup();
    let region = |name: &str| {
        let mut own: Vec<Node> = nodes.iter().filter(|node| node.region == name).map(|node| of_node(node, newest, now)).collect();
        own.sort_by(|a, b| a.name.cmp(&b.name));
        Region {
            name: name.to_owned(),
            nodes: own,
            servers: servers.iter().filter(|server| server.region == name).map(of_server).collect(),
            replicas: replicas.iter().filter(|replica| replica.region == name).map(of_replica).collect(),
        }
    };
    names.into_iter().map(region).collect()
}

fn of_node(node: &NodeInfo, newest: (u64, u64), now: UtcMicros) -> Node {
    let silent_for = now.0.saturating_sub(node.last_seen.0) / 1_000_000;
    let is_silent = silent_for > SILENT_AFTER_SECONDS;
    let revisions = &node.revisions;
    let at = (revisions.epoch, revisions.authority);
    let (state, detail) = match (&node.nack, &node.trouble) {
        _ if is_silent => ("silent", format!("it has not reported for {silent_for} s")),
        (Some(nack), _) => ("degraded", format!("it refused structure {}: {}", nack.structural, nack.message)),
        (None, Some(trouble)) => ("degraded", trouble.clone()),
        (None, None) => ("ready", String::new()),
    };
    let behind = if at < newest { format!(", behind {}.{}", newest.0, newest.1) } else { String::new() };
    let age = match node.staleness_ms {
        _ if is_silent => "not known".to_owned(),
        None => "not confirmed yet".to_owned(),
        Some(millis) => format!("{millis} ms"),
    };
    Node {
        name: node.name.clone(),
        state,
        is_well: state == "ready",
        detail,
        applied: format!("{}.{}, structure {}{behind}", at.0, at.1, revisions.structural),
        acknowledged: node.acknowledged.map_or_else(|| "nothing yet".to_owned(), |acknowledged| acknowledged.authority.to_string()),
        staleness: age,
        bound: node.deny_bound_ms.map_or_else(|| "not told".to_owned(), |bound| format!("{} s", bound.div_ceil(1_000))),
        last_seen: time_of_day(node.last_seen),
    }
}

fn of_server(server: &ServerView) -> Server {
    let (state, is_well) = match server.state {
        ServerState::Primary => ("primary", true),
        ServerState::Standby => ("standby", true),
        ServerState::Unreachable => ("unreachable", false),
    };
    Server {
        address: server.address.clone(),
        state,
        is_well,
        lag: server.lag_bytes.map_or_else(|| "not known".to_owned(), |bytes| format!("{bytes} bytes")),
        rtt: server.rtt_us.map_or_else(|| "not known".to_owned(), |micros| format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)),
    }
}

fn of_replica(replica: &DomainServer) -> Replica {
    let position = replica.epoch.zip(replica.lsn.as_ref()).map(|(epoch, lsn)| format!("{lsn}, epoch {epoch}"));
    let unread = if replica.is_read { "" } else { " (not read)" };
    Replica {
        domain: replica.domain.clone(),
        address: format!("{}{unread}", replica.address),
        state: replica.state,
        is_well: matches!(replica.state, "primary" | "standby"),
        position: position.unwrap_or_else(|| "not known".to_owned()),
        lag: replica.lag_bytes.map_or_else(|| "not known".to_owned(), |bytes| format!("{bytes} bytes")),
    }
}

/// `12:34:56` of an instant, UTC.
fn time_of_day(at: UtcMicros) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}
