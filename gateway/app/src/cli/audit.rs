//! `causeway audit`: search the access log.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    output::{self, text_of},
    page::Page,
};

/// Search the access log.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show records, newest first. The search is itself recorded.
    Query(Query),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Qualifiers (all must hold):
  key:ID  request:ID  route:NAME  method:GET  tenant:NAME  consumer:NAME  region:NAME
  status:403  status:4xx  status:>=400  status:400-499  decision:allow|deny
  class:access|admin|node  phase:intent|outcome|close  action:key.revoke
  since:15m  since:2026-01-31T12:00:00Z  until:...

Examples:
  causeway audit query status:>=400 since:15m
  causeway audit query key:7sEgbYf9hQ2x route:orders --limit 200
  causeway audit query class:admin action:key.revoke --json

Exit codes: 0 searched (also when nothing was found), 1 refused or failed, 2 wrong usage.")]
struct Query {
    /// What the records must be, as NAME:VALUE.
    #[arg(value_name = "QUALIFIER", value_parser = qualifier)]
    qualifiers: Vec<(&'static str, String)>,
    #[command(flatten)]
    page: Page,
}

/// What people write, and what the parameter is called.
const QUALIFIERS: &[(&str, &str)] = &[
    ("key", "key"),
    ("request", "request_id"),
    ("request_id", "request_id"),
    ("route", "route"),
    ("method", "method"),
    ("tenant", "tenant"),
    ("consumer", "consumer"),
    ("region", "region"),
    ("status", "status"),
    ("decision", "decision"),
    ("class", "class"),
    ("phase", "phase"),
    ("action", "action"),
    ("since", "since"),
    ("until", "until"),
];

fn qualifier(text: &str) -> Result<(&'static str, String), String> {
    let (name, value) = text.split_once(':').ok_or("a qualifier is NAME:VALUE, such as status:>=400")?;
    if let Some((_, parameter)) = QUALIFIERS.iter().find(|(known, _)| *known == name) {
        return Ok((parameter, value.to_owned()));
    }
    let near = model::source::nearest(name, QUALIFIERS.iter().map(|(known, _)| *known));
    Err(near.map_or_else(|| "this qualifier is not known; see --help".to_owned(), |near| format!("did you mean `{near}:`?")))
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Query(args) => output::finish(query(&args).await, args.page.format),
    }
}

async fn query(args: &Query) -> anyhow::Result<ExitCode> {
    let header = ["TIME", "CLASS", "PHASE", "STATUS", "DECISION", "WHAT", "ROUTE", "WHO", "REGION", "REASON", "REQUEST"];
    let filters = args.qualifiers.iter().map(|(name, value)| (*name, Some(value.as_str())));
    args.page.show("/v1/audit/events", filters, &header, row).await
}

fn row(event: &Value) -> Vec<String> {
    let is_admin = event.get("class").and_then(Value::as_str) == Some("admin");
    let what = match event.get("object").and_then(Value::as_str) {
        Some(object) => format!("{} {object}", text_of(event, "action")),
        None if is_admin => text_of(event, "action"),
        None => format!("{} {}", text_of(event, "method"), text_of(event, "path")),
    };
    let who = ["actor", "key_id"].iter().find_map(|member| event.get(*member)?.as_str()).unwrap_or("-").to_owned();
    let [at, class, phase, status, decision, route, region, reason, request] =
        ["at", "class", "phase", "status", "decision", "route", "region", "reason", "request_id"].map(|member| text_of(event, member));
    vec![at, class, phase, status, decision, what, route, who, region, reason, request]
}

#[cfg(test)]
mod tests;
