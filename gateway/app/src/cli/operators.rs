//! `causeway operators`: tokens of the people and pipelines that run the deployment.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::secret::SecretText;
use serde_json::{Map, Value, json};

use super::{
    client::{Client, Connection},
    keys::{create::seconds, given, key_id},
    output::{self, Format, text_of},
    page::{self, Page},
};

/// Operators.
#[derive(Debug, Args)]
pub(crate) struct OperatorsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an operator token and print it once
    Create(Create),
    /// List operator tokens that are not revoked, newest first
    List(List),
    /// End an operator token
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway operators create alice --role developer > alice-token
  TOKEN=$(causeway operators create deploy-bot --role operator --expires-in 30d)

Roles: viewer, developer, approver, operator, security, auditor, and admin for operator and auditor together. You can give what
your own token allows, and no more. Exit codes: 0 made, 1 refused or failed, 2 wrong usage.")]
struct Create {
    /// Whose token it is.
    name: String,
    /// What they may be.
    #[arg(long, value_name = "ROLE")]
    role: String,
    /// How long it lives: 90d, 12h, or seconds; 90 days when absent, at most 400.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires_in: Option<u64>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway operators list
  causeway operators list --limit 200 --json

Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
struct List {
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway operators revoke 7sEgbYf9hQ2x

The node that is asked refuses the token at once, the others within five seconds. Doing it again is harmless. Your own token you
cannot end with itself. Whoever has locked everybody out makes a new first token with `causeway admin init`. Exit codes: 0 ended, 1 refused or failed, 2 wrong usage.")]
struct Revoke {
    /// The token's public id: its letters 8 to 19, as the list shows it.
    #[arg(value_name = "ID", value_parser = given)]
    id: SecretText,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: OperatorsArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Create(args) => output::finish(create(&args).await, args.format),
        Verb::List(args) => output::finish(list(&args).await, args.page.format),
        Verb::Revoke(args) => output::finish(revoke(&args).await, args.format),
    }
}

async fn create(args: &Create) -> anyhow::Result<ExitCode> {
    let mut body = Map::from_iter([("name".to_owned(), json!(args.name)), ("role".to_owned(), json!(args.role))]);
    body.extend(args.expires_in.map(|seconds| ("expires_in".to_owned(), json!(seconds))));
    let made = Client::new(&args.connection)?.post("/v1/operators", Some(&Value::Object(body))).await?;
    if args.format.json {
        output::json_out(&made)?;
        return Ok(ExitCode::SUCCESS);
    }
    let told = format!("{} for {}, until {}; shown only now:", text_of(&made, "role"), text_of(&made, "name"), text_of(&made, "expires_at"));
    output::remark(&format!("operator token {} of the role {told}", text_of(&made, "id")))?;
    output::out(&text_of(&made, "token"))?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let row = page::members(&["id", "name", "role", "created_at", "expires_at"]);
    args.page.show("/v1/operators", [], &["ID", "NAME", "ROLE", "MADE", "ENDS"], row).await
}

async fn revoke(args: &Revoke) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/operators/{}/revoke", key_id(&args.id)?);
    let revoked = Client::new(&args.connection)?.post(&path, None).await?;
    if args.format.json {
        output::json_out(&revoked)?;
    } else {
        output::out(&format!("operator token {} is revoked", text_of(&revoked, "id")))?;
        output::remark("other nodes refuse it within five seconds")?;
    }
    Ok(ExitCode::SUCCESS)
}
