//! `causeway nodes`: which nodes are registered.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    client::{Client, Connection, segment},
    output::{self, Format, text_of},
};

/// List the registered nodes; strike off what is gone for good.
#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the nodes, as each last reported.
    List(List),
    /// Strike a node off the list that is gone for good: receipts wait for each that is registered.
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway nodes list
  causeway nodes list --json

Exit codes: 0 listed, 1 refused or failed, 2 wrong usage.")]
struct List {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway nodes remove eu-west-3

A node that may still go by what it knew is refused: stop it, and wait for its bound and two minutes.
Exit codes: 0 removed, 1 refused or failed, 2 wrong usage.")]
struct Remove {
    /// The node's name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: NodesArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(args) => output::finish(list(&args).await, args.format),
        Verb::Remove(args) => output::finish(remove(&args).await, args.format),
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let page = Client::new(&args.connection)?.get("/v1/nodes", &[]).await?;
    if args.format.json {
        output::json_out(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    output::out(&table(items))?;
    Ok(ExitCode::SUCCESS)
}

/// The nodes as a table, for this verb and `causeway status`.
pub(super) fn table(nodes: &[Value]) -> String {
    let rows = nodes.iter().map(|node| {
        let revisions = node.get("revisions").unwrap_or(&Value::Null);
        let applied = ["epoch", "authority", "structural"].map(|member| text_of(revisions, member)).join(".");
        let refused = node.pointer("/nack/message").and_then(Value::as_str).unwrap_or("-").to_owned();
        let mut row = vec![text_of(node, "name"), text_of(node, "region"), applied];
        row.extend(["acknowledged", "deny_bound_ms", "last_seen"].map(|member| text_of(node, member)));
        row.push(refused);
        row
    });
    output::table(&["NODE", "REGION", "APPLIED", "ACKNOWLEDGED", "BOUND MS", "LAST SEEN", "REFUSED"], rows)
}

async fn remove(args: &Remove) -> anyhow::Result<ExitCode> {
    let removed = Client::new(&args.connection)?.delete(&format!("/v1/nodes/{}", segment(&args.name))).await?;
    if args.format.json {
        output::json_out(&removed)?;
    } else {
        output::out(&format!("node {} is not registered any more", output::clean(&args.name)))?;
    }
    Ok(ExitCode::SUCCESS)
}
