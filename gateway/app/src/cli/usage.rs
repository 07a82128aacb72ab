//! `causeway usage`: what keys were used for.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
};

/// Show how much keys were used: requests, errors, latency.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway usage --application shop
  causeway usage --key 7sEgbYf9hQ2x --step minute --since 30m
  causeway usage --step day --since 30d --json

The numbers come from the access log, as far as it is loaded: a second behind, as a rule. Minutes are kept for two days, hours and days for 400.
Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
pub(crate) struct UsageArgs {
    /// Only this key, by its public id.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only keys of this application, by name.
    #[arg(long, value_name = "APPLICATION")]
    application: Option<String>,
    /// Only on this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// How long one line is.
    #[arg(long, default_value = "hour", value_parser = ["minute", "hour", "day"])]
    step: String,
    /// From when on: a time, or how long ago; 25 steps when absent.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until when: a time, or how long ago; now when absent.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: UsageArgs) -> anyhow::Result<ExitCode> {
    output::finish(show(&args).await, args.format)
}

async fn show(args: &UsageArgs) -> anyhow::Result<ExitCode> {
    let mut query = vec![("step", args.step.clone())];
    let given = [("key", &args.key), ("application", &args.application), ("route", &args.route), ("since", &args.since), ("until", &args.until)];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    let usage = Client::new(&args.connection)?.get("/v1/usage", &query).await?;
    if args.format.json {
        output::json_out(&usage)?;
        return Ok(ExitCode::SUCCESS);
    }
    let items = usage.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let millis = |point: &Value, member: &str| match point.get(member).and_then(Value::as_u64) {
        Some(us) => format!("{}.{:01}", us / 1_000, us % 1_000 / 100),
        None => "-".to_owned(),
    };
    let rows = items.iter().map(|point| {
        let counts = ["at", "requests", "denied", "client_errors", "server_errors", "old_secret"].map(|member| text_of(point, member));
        counts.into_iter().chain([millis(point, "p50_us"), millis(point, "p95_us")]).collect()
    });
    output::out(&output::table(&["FROM", "REQUESTS", "REFUSED", "4XX", "5XX", "OLD SECRET", "P50 MS", "P95 MS"], rows))?;
    if items.is_empty() {
        output::remark(&format!("no use between {} and {}", text_of(&usage, "since"), text_of(&usage, "until")))?;
    }
    Ok(ExitCode::SUCCESS)
}
