//! `causeway notifications`: what people are told, and whether it arrived.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use model::id::NotificationId;

use super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
    page::{self, Page},
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
    #[command(flatten)]
    page: Page,
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
        Verb::List(args) => output::finish(list(&args).await, args.page.format),
        Verb::Retry(args) => output::finish(retry(&args).await, args.format),
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let state = args.state.and_then(|state| state.to_possible_value());
    let header = ["ID", "WHAT", "BY", "STATE", "ATTEMPTS", "WHEN", "LAST FAULT"];
    let row = page::members(&["id", "type", "channel", "state", "attempts", "created_at", "fault"]);
    args.page.show("/v1/notifications", [("state", state.as_ref().map(clap::builder::PossibleValue::get_name))], &header, row).await
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
