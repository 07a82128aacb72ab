//! `causeway keys`: issue, list, show and revoke API keys.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use model::{
    duration::Span,
    key::{KeyId, Presented},
    secret::SecretText,
};
use serde_json::{Map, Value, json};

use super::{
    client::{Client, Connection},
    output::{self, Format, fields, text_of},
};

/// Issue, list, show and revoke API keys.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Issue a key. Its secret is written to standard output, once and never again.
    Create(Create),
    /// List keys, newest first.
    List(List),
    /// Show what is known about one key.
    Show(One),
    /// Revoke a key, for good.
    Revoke(One),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys create ci-runner
  KEY=$(causeway keys create ci-runner --application shop --expires-in 90d)
  causeway keys create reader --scope items:read --environment test --json

Exit codes: 0 issued, 1 refused or failed, 2 wrong usage.")]
struct Create {
    /// What the key is called: 1 to 80 characters.
    #[arg(value_name = "NAME", required_unless_present = "named")]
    name: Option<String>,
    /// The same as NAME.
    #[arg(long = "name", value_name = "NAME", conflicts_with = "name", id = "named")]
    named: Option<String>,
    /// The application that holds it, by id or name; the default one when absent.
    #[arg(long, value_name = "APPLICATION")]
    application: Option<String>,
    /// A scope; give it several times for several. The application's scopes when absent.
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "no_scopes")]
    scopes: Vec<String>,
    /// Give the key no scopes at all, not even the application's.
    #[arg(long)]
    no_scopes: bool,
    /// How long it lives: 90d, 12h, or seconds; a year when absent.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires_in: Option<u64>,
    /// For which traffic.
    #[arg(long, value_enum, default_value_t = Environment::Live)]
    environment: Environment,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Environment {
    Live,
    Test,
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
    /// Only keys in this state.
    #[arg(long, value_parser = ["active", "disabled", "revoked"])]
    state: Option<String>,
    /// How many: 1 to 200.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Where to go on: what the page before said.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys show 7sEgbYf9hQ2x
  causeway keys revoke 7sEgbYf9hQ2x --json

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

fn seconds(text: &str) -> Result<u64, String> {
    let read = text.parse().ok().or_else(|| Span::parse(text).map(|span| span.0.as_secs()));
    read.ok_or_else(|| "write a number and a unit, such as 90d or 12h, or a number of seconds".to_owned())
}

/// Takes any text: a parser that refuses would have its input printed, and it may be a whole key.
#[expect(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
fn given(text: &str) -> Result<SecretText, std::convert::Infallible> {
    Ok(SecretText::new(text.to_owned()))
}

/// Reads a key's id, and never repeats what was given.
fn key_id(given: &SecretText) -> anyhow::Result<KeyId> {
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
        Verb::Create(args) => output::finish(create(&args).await, args.format),
        Verb::List(args) => output::finish(list(&args).await, args.format),
        Verb::Show(args) => output::finish(show(&args).await, args.format),
        Verb::Revoke(args) => output::finish(revoke(&args).await, args.format),
    }
}

async fn create(args: &Create) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.named.as_ref().or(args.name.as_ref())));
    if let Some(application) = &args.application {
        body.insert("application".to_owned(), json!(application));
    }
    if args.no_scopes || !args.scopes.is_empty() {
        body.insert("scopes".to_owned(), json!(args.scopes));
    }
    if let Some(seconds) = args.expires_in {
        body.insert("expires_in".to_owned(), json!(seconds));
    }
    let environment = match args.environment {
        Environment::Live => "live",
        Environment::Test => "test",
    };
    body.insert("environment".to_owned(), json!(environment));
    let key = Client::new(&args.connection)?.post("/v1/keys", Some(&Value::Object(body))).await?;
    if args.format.json {
        output::json_out(&key)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(secret) = key.get("secret").and_then(Value::as_str) else { bail!("the answer holds no secret") };
    output::remark(&format!(
        "key {} for application {}, until {}; its secret is shown only now:",
        text_of(&key, "id"),
        output::clean(&text_of(&key, "application_name")),
        text_of(&key, "expires_at"),
    ))?;
    output::out(secret)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.application.clone().map(|application| ("application", application)));
    query.extend(args.state.clone().map(|state| ("state", state)));
    query.extend(args.cursor.clone().map(|cursor| ("cursor", cursor)));
    let page = Client::new(&args.connection)?.get("/v1/keys", &query).await?;
    if args.format.json {
        output::json_out(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rows = items.iter().map(|key| {
        let hint = format!("{}…{}", text_of(key, "prefix"), text_of(key, "last_four"));
        let shown = ["id", "name", "application_name", "state"].map(|member| text_of(key, member));
        shown.into_iter().chain([hint, scopes(key), text_of(key, "expires_at")]).collect()
    });
    output::out(&output::table(&["ID", "NAME", "APPLICATION", "STATE", "KEY", "SCOPES", "EXPIRES"], rows))?;
    output::remark_on_rest(&page)?;
    Ok(ExitCode::SUCCESS)
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
        "scopes",
        "state",
        "expires_at",
        "created_at",
        "created_by",
        "revoked_at",
        "revoked_by",
    ];
    output::out(&fields(&members.map(|member| (member, if member == "scopes" { scopes(&key) } else { text_of(&key, member) }))))?;
    Ok(ExitCode::SUCCESS)
}

/// A key without scopes of its own has its application's; that is not the same as having none.
fn scopes(key: &Value) -> String {
    if key.get("scopes").is_none_or(Value::is_null) { "(application's)".to_owned() } else { text_of(key, "scopes") }
}

async fn revoke(args: &One) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.id)?;
    let revoked = Client::new(&args.connection)?.post(&format!("/v1/keys/{id}/revoke"), None).await?;
    if args.format.json {
        output::json_out(&revoked)?;
        return Ok(ExitCode::SUCCESS);
    }
    let already = revoked.get("already_revoked").and_then(Value::as_bool).unwrap_or(false);
    let when = text_of(&revoked, "committed_at");
    let revision = revoked.get("revision").map(|revision| format!("{}.{}", text_of(revision, "epoch"), text_of(revision, "authority")));
    let verb = if already { "was already revoked" } else { "is revoked" };
    output::out(&format!("key {id} {verb} at {when}, revision {}", revision.as_deref().unwrap_or("-")))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
