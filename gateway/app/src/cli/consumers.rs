//! `causeway consumers`: who calls, and where their data may lie.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    client::{Client, Connection},
    output::{self, Format, fields, text_of},
    page::Page,
};

/// What is shown of one.
const MEMBERS: [&str; 6] = ["id", "name", "tenant", "residency", "managed_by", "created_at"];

/// Consumers: the organizations and persons that call.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway consumers list
  causeway consumers create acme --residency eu
  causeway consumers change acme --anywhere

Those of the gateway file are changed there.")]
pub(crate) struct ConsumersArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List consumers, newest first
    List(List),
    /// Show one
    Show(One),
    /// Make one
    Create(Create),
    /// Change where the data of one may lie
    Change(Change),
    /// Remove one; its applications go with it, and their keys end
    Delete(One),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway consumers list --tenant main
  causeway consumers list --limit 200 --json

Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
struct List {
    /// Only of this tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway consumers show acme
  causeway consumers delete acme --json

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
struct One {
    /// Its id or its name.
    #[arg(value_name = "CONSUMER")]
    consumer: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway consumers create acme
  causeway consumers create acme --tenant main --residency eu --residency ch      (regions with the label eu or ch)

Exit codes: 0 made, 1 refused or failed, 2 wrong usage.")]
struct Create {
    /// What it is called.
    name: String,
    /// Its tenant; the only one when left out.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// A label of regions that may serve it; give it several times for several. Any region may when left out.
    #[arg(long = "residency", value_name = "LABEL")]
    labels: Vec<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway consumers change acme --residency eu       (regions with the label eu alone)
  causeway consumers change acme --anywhere

Nodes go by it within a second.

Exit codes: 0 changed, 1 refused or failed, 2 wrong usage.")]
struct Change {
    /// Its id or its name.
    #[arg(value_name = "CONSUMER")]
    consumer: String,
    /// A label of regions that may serve it, in place of those before; give it several times for several.
    #[arg(long = "residency", value_name = "LABEL", required_unless_present = "anywhere")]
    labels: Vec<String>,
    /// Any region may serve it.
    #[arg(long, conflicts_with = "labels")]
    anywhere: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: ConsumersArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(args) => output::finish(list(&args).await, args.page.format),
        Verb::Show(args) => output::finish(show(&args).await, args.format),
        Verb::Create(args) => output::finish(create(&args).await, args.format),
        Verb::Change(args) => output::finish(change(&args).await, args.format),
        Verb::Delete(args) => output::finish(delete(&args).await, args.format),
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let row = |item: &Value| MEMBERS.map(|member| shown(item, member)).to_vec();
    args.page.show("/v1/consumers", [("tenant", args.tenant.as_deref())], &["ID", "NAME", "TENANT", "RESIDENCY", "RULED BY", "MADE"], row).await
}

async fn show(args: &One) -> anyhow::Result<ExitCode> {
    let found = Client::new(&args.connection)?.get(&path(&args.consumer), &[]).await?;
    print(&found, args.format)
}

async fn create(args: &Create) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.name));
    body.extend(args.tenant.as_ref().map(|tenant| ("tenant".to_owned(), json!(tenant))));
    if !args.labels.is_empty() {
        body.insert("residency".to_owned(), json!(args.labels));
    }
    let made = Client::new(&args.connection)?.post("/v1/consumers", Some(&Value::Object(body))).await?;
    print(&made, args.format)
}

async fn change(args: &Change) -> anyhow::Result<ExitCode> {
    let residency = if args.anywhere { Value::Null } else { json!(args.labels) };
    let changed = Client::new(&args.connection)?.patch(&path(&args.consumer), &json!({ "residency": residency })).await?;
    print(&changed, args.format)
}

async fn delete(args: &One) -> anyhow::Result<ExitCode> {
    let gone = Client::new(&args.connection)?.delete(&path(&args.consumer)).await?;
    if args.format.json {
        output::json_out(&gone)?;
    } else {
        output::out(&format!("consumer {} is gone; {} of its keys ended", text_of(&gone, "id"), text_of(&gone, "keys_revoked")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(consumer: &Value, format: Format) -> anyhow::Result<ExitCode> {
    if format.json {
        output::json_out(consumer)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::out(&fields(&MEMBERS.map(|member| (member, shown(consumer, member)))))?;
    Ok(ExitCode::SUCCESS)
}

/// A member for people: where nothing is asked for, any region will do.
fn shown(consumer: &Value, member: &str) -> String {
    if member == "residency" && consumer.get(member).is_none_or(Value::is_null) {
        return "(any)".to_owned();
    }
    output::clean(&text_of(consumer, member))
}

/// The consumer's path; what a name cannot hold is escaped, so that it names nothing else.
fn path(consumer: &str) -> String {
    format!("/v1/consumers/{}", super::client::segment(consumer))
}
