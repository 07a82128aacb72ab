//! `causeway status`: how a node is, and how it sees the others.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{Client, Connection, Problem},
    nodes,
    output::{self, Format, fields, text_of},
};

/// Show how a node is, what it has applied, and how it sees the database and the other nodes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway status
  causeway status --control https://127.0.0.1:9443 --ca ca.pem --token-file token --json

Exit codes: 0 the node is ready (also degraded), 1 it is not, or it does not answer, 2 wrong usage.")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    output::finish(status(&args).await, args.format)
}

async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let status = match client.get("/status", &[]).await {
        // Without the database no token can be checked; what a probe may see, an operator may see too.
        Err(error) if error.downcast_ref::<Problem>().is_some_and(|problem| problem.code() == "database-unavailable") => {
            let readiness = client.get("/readyz", &[("verbose", "true".to_owned())]).await.map_err(|_| error)?;
            json!({ "node": {}, "readiness": readiness, "database": [] })
        }
        status => status?,
    };
    // The list of nodes stands in the database, which may be away: then the node still speaks for itself.
    let nodes = match client.get("/v1/nodes", &[]).await {
        Ok(page) => page.get("items").cloned().unwrap_or_else(|| json!([])),
        Err(error) if error.is::<Problem>() => Value::Null,
        Err(error) => return Err(error),
    };
    let is_ready = status.pointer("/readiness/ready").and_then(Value::as_bool).unwrap_or(false);
    let code = if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if args.format.json {
        output::json_out(&json!({ "status": status, "nodes": nodes }))?;
        return Ok(code);
    }
    output::out(&text(&status, &nodes))?;
    Ok(code)
}

fn text(status: &Value, nodes: &Value) -> String {
    let empty = json!({});
    let node = status.get("node").unwrap_or(&empty);
    let is = |member: &str| status.pointer(member).and_then(Value::as_bool).unwrap_or(false);
    let word = match (is("/readiness/ready"), is("/readiness/degraded")) {
        (false, _) => "not ready",
        (true, true) => "ready, degraded",
        (true, false) => "ready",
    };
    let members = [
        "node",
        "region",
        "version",
        "started_at",
        "epoch",
        "authority_revision",
        "structural_revision",
        "journaled_revision",
        "authority_age_ms",
        "quarantined",
    ];
    let known = members.iter().filter(|member| node.get(**member).is_some()).map(|member| (*member, text_of(node, member)));
    let facts: Vec<_> = std::iter::once(("state", word.to_owned())).chain(known).collect();
    let row = |members: &'static [&'static str]| move |item: &Value| members.iter().map(|member| text_of(item, member)).collect::<Vec<_>>();
    let mut out = fields(&facts);
    out += "\n";
    let checks = list(status.pointer("/readiness/checks"));
    out += &output::table(&["CHECK", "STATE", "SINCE", "DETAIL"], checks.iter().map(row(&["name", "state", "since", "detail"])));
    out += "\n";
    let servers = list(status.get("database"));
    let columns: &[&str] = &["address", "region", "state", "lag_bytes", "rtt_us"];
    out += &output::table(&["DATABASE", "REGION", "STATE", "LAG BYTES", "RTT US"], servers.iter().map(row(columns)));
    out += "\n";
    if nodes.is_null() {
        return out + "the list of nodes cannot be read now\n";
    }
    out + &nodes::table(list(Some(nodes)))
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
