//! `causeway keys`: API keys from their making to their end.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use model::{
    key::{KeyId, Presented},
    secret::SecretText,
};
use serde_json::Value;

use super::{
    client::{Client, Connection},
    output::{self, Format, fields, text_of},
    page::Page,
};

pub(super) mod create;
mod import;
mod life;
mod propagation;
mod scan;

/// Issue, roll, change, pause and revoke API keys; find them where they should not be.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  KEY=$(causeway keys create ci-runner --application shop --expires-in 90d)
  causeway keys roll 7sEgbYf9hQ2x --overlap 12h
  causeway keys revoke 7sEgbYf9hQ2x --wait
  causeway keys scan .")]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Issue a key. Its secret is written to standard output, once and never again.
    Create(create::Create),
    /// Take over keys that another system has issued, by their hashes.
    Import(import::Import),
    /// List keys, newest first.
    List(List),
    /// Show what is known about one key.
    Show(One),
    /// Give a key another secret; the one before works for a while beside it.
    Roll(life::Roll),
    /// End the overlap of a roll now: the secret before is not taken any more.
    EndOverlap(One),
    /// Change what a key is called and what it may.
    Change(life::Change),
    /// Let a key be used that waits for approval.
    Approve(One),
    /// Refuse a key that waits for approval, for good
    Refuse(life::Refuse),
    /// Switch a key off, until it is enabled again.
    Disable(One),
    /// Switch a key on again.
    Enable(One),
    /// Revoke a key, for good.
    Revoke(life::Revoke),
    /// Show how far the last change of a key has come: which nodes go by it.
    Propagation(propagation::Propagation),
    /// Find keys in files, by their form and checksum. Nothing leaves this machine, unless --revoke is given.
    Scan(scan::Scan),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys list
  causeway keys list --application shop --state active --limit 200 --json

Exit codes: 0 listed, 1 refused or failed, 2 wrong usage.")]
struct List {
    /// Only keys of this application, by id or name.
    #[arg(long, value_name = "APPLICATION")]
    application: Option<String>,
    /// Only keys of this team, by id or name; with a personal token, for whoever belongs to several.
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Only keys in this state.
    #[arg(long, value_parser = ["pending", "active", "disabled", "revoked"])]
    state: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys show 7sEgbYf9hQ2x
  causeway keys disable 7sEgbYf9hQ2x --json

The id is the twelve characters after cw_live_; never give the whole key.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
struct One {
    /// The key's public id, twelve characters.
    #[arg(value_name = "ID", value_parser = given)]
    id: SecretText,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Takes any text: a parser that refuses would have its input printed, and it may be a whole key.
#[expect(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
pub(super) fn given(text: &str) -> Result<SecretText, std::convert::Infallible> {
    Ok(SecretText::new(text.to_owned()))
}

/// Reads a key's id, and never repeats what was given.
pub(super) fn key_id(given: &SecretText) -> anyhow::Result<KeyId> {
    if Presented::parse(given.expose_secret()).is_some() {
        bail!("this is a whole key, which is secret: give only its id, the twelve characters after the second underscore");
    }
    KeyId::parse(given.expose_secret()).context("a key's id has twelve letters and digits")
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: KeysArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Create(args) => output::finish(create::run(&args).await, args.format),
        Verb::Import(args) => output::finish(import::run(&args).await, args.format),
        Verb::List(args) => output::finish(list(&args).await, args.page.format),
        Verb::Show(args) => output::finish(show(&args).await, args.format),
        Verb::Roll(args) => output::finish(life::roll(&args).await, args.one.format),
        Verb::EndOverlap(args) => output::finish(life::act(&args, "end-overlap").await, args.format),
        Verb::Change(args) => output::finish(life::change(&args).await, args.one.format),
        Verb::Approve(args) => output::finish(life::act(&args, "approve").await, args.format),
        Verb::Refuse(args) => output::finish(life::refuse(&args).await, args.one.format),
        Verb::Disable(args) => output::finish(life::act(&args, "disable").await, args.format),
        Verb::Enable(args) => output::finish(life::act(&args, "enable").await, args.format),
        Verb::Revoke(args) => output::finish(life::revoke(&args).await, args.one.format),
        Verb::Propagation(args) => output::finish(propagation::run(&args).await, args.one.format),
        Verb::Scan(args) => output::finish(scan::run(&args).await, args.format),
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let filters = [("application", &args.application), ("team", &args.team), ("state", &args.state)];
    let row = |key: &Value| {
        let shown = ["id", "name", "application_name", "state"].map(|member| text_of(key, member));
        shown.into_iter().chain([hint(key), scopes(key), text_of(key, "expires_at")]).collect()
    };
    let header = ["ID", "NAME", "APPLICATION", "STATE", "KEY", "SCOPES", "EXPIRES"];
    args.page.show("/v1/keys", filters.map(|(name, value)| (name, value.as_deref())), &header, row).await
}

async fn show(args: &One) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.id)?;
    let key = Client::new(&args.connection)?.get(&format!("/v1/keys/{id}"), &[]).await?;
    if args.format.json {
        output::json_out(&key)?;
        return Ok(ExitCode::SUCCESS);
    }
    let members = [
        "id",
        "name",
        "application_name",
        "consumer_name",
        "tenant",
        "environment",
        "last_four",
        "imported",
        "scopes",
        "plan",
        "routes",
        "methods",
        "addresses",
        "certificates",
        "state",
        "expires_at",
        "created_at",
        "created_by",
        "rolled_at",
        "previous_last_four",
        "previous_until",
        "previous_requests_30s",
        "last_used",
        "revoked_at",
        "revoked_by",
        "revoked_reason",
        "decision",
    ];
    output::out(&fields(&members.map(|member| (member, shown(&key, member)))))?;
    Ok(ExitCode::SUCCESS)
}

/// A member for people: what a key does not have for itself is not the same as nothing.
fn shown(key: &Value, member: &str) -> String {
    let is_absent = key.get(member).is_none_or(Value::is_null);
    match member {
        "plan" if is_absent => "(application's)".to_owned(),
        "routes" | "methods" | "addresses" | "certificates" if is_absent => "(any)".to_owned(),
        "scopes" => scopes(key),
        "imported" if !is_absent => key.get(member).map_or_else(String::new, origin),
        "decision" if !is_absent => key.get(member).map_or_else(String::new, |decision| {
            let said = ["verdict", "at", "by"].map(|member| text_of(decision, member));
            let why = decision.get("reason").and_then(Value::as_str).map(|reason| format!(": {reason}")).unwrap_or_default();
            output::clean(&format!("{} at {} by {}{why}", said[0], said[1], said[2]))
        }),
        "last_used" if !is_absent => key.get(member).map_or_else(String::new, |used| {
            let said = ["at", "region", "client"].map(|member| text_of(used, member));
            output::clean(&format!("{} in {} by {}", said[0], said[1], said[2]))
        }),
        _ => text_of(key, member),
    }
}

/// By what people recognize a key: the ends of its text, or where its text comes from; and whether it waits for its first use.
fn hint(key: &Value) -> String {
    let imported = key.get("imported").filter(|imported| !imported.is_null());
    match imported {
        Some(imported) if text_of(key, "last_four").is_empty() => origin(imported),
        _ => format!("{}…{}{}", text_of(key, "prefix"), text_of(key, "last_four"), imported.map_or("", note)),
    }
}

/// The system that has issued a key, and what it is called there.
fn origin(imported: &Value) -> String {
    format!("{} {}{}", text_of(imported, "from"), text_of(imported, "source_id"), note(imported))
}

/// Says of a key whose text is verified at its first use that this has not come yet.
fn note(imported: &Value) -> &'static str {
    let waits = imported.get("awaits_first_use").and_then(Value::as_bool).unwrap_or(false);
    if waits { " (imported, not yet used)" } else { "" }
}

/// A key without scopes of its own has its application's; that is not the same as having none.
fn scopes(key: &Value) -> String {
    if key.get("scopes").is_none_or(Value::is_null) { "(application's)".to_owned() } else { text_of(key, "scopes") }
}

#[cfg(test)]
mod tests;
