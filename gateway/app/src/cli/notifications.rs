//! `causeway notifications`: what people are told, and whether it arrived.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use model::id::NotificationId;
use serde_json::Value;

use super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
};

/// What people are told.
#[derive(Debug, Args)]
pub(crate) struct NotificationsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List notifications of the last week, newest first
    List(List),
    /// Send one again that failed: it is tried for another day
    Retry(Retry),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway notifications list --state failed
  causeway notifications list --limit 200 --json

Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
struct List {
    /// Only in this state.
    #[arg(long)]
    state: Option<State>,
    /// How many at most.
    #[arg(long, value_name = "N")]
    limit: Option<u16>,
    /// Where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Where a notification is on its way.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Queued,
    Delivered,
    Failed,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  causeway notifications retry ntf_01a2258a9c574147b71e8e6a88afe441

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
struct Retry {
    /// The notification, as the list shows it.
    #[arg(value_name = "ID", value_parser = id)]
    id: NotificationId,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

fn id(text: &str) -> Result<NotificationId, String> {
    text.parse().map_err(|_| "a notification's id begins with ntf_ and has 32 hexadecimal digits".to_owned())
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: NotificationsArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(args) => output::finish(list(&args).await, args.format),
        Verb::Retry(args) => output::finish(retry(&args).await, args.format),
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let mut query = Vec::new();
    query.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    query.extend(args.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
    query.extend(args.state.and_then(|state| state.to_possible_value()).map(|state| ("state", state.get_name().to_owned())));
    let page = Client::new(&args.connection)?.get("/v1/notifications", &query).await?;
    if args.format.json {
        output::json_out(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let members = ["id", "type", "channel", "state", "attempts", "created_at", "fault"];
    let rows = items.iter().map(|item| members.iter().map(|member| text_of(item, member)).collect());
    output::out(&output::table(&["ID", "WHAT", "BY", "STATE", "ATTEMPTS", "WHEN", "LAST FAULT"], rows))?;
    output::remark_on_rest(&page)?;
    Ok(ExitCode::SUCCESS)
}

async fn retry(args: &Retry) -> anyhow::Result<ExitCode> {
    let done = Client::new(&args.connection)?.post(&format!("/v1/notifications/{}/retry", args.id), None).await?;
    if args.format.json {
        output::json_out(&done)?;
    } else {
        output::out(&format!("notification {} is {}", text_of(&done, "id"), text_of(&done, "state")))?;
    }
    Ok(ExitCode::SUCCESS)
}
