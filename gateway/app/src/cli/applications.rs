//! `causeway applications`: what holds keys and a plan.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    client::{Client, Connection},
    output::{self, Format, fields, text_of},
    page::{self, Page},
};

/// Applications: they hold keys and a plan.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway applications list
  causeway applications create shop --consumer acme --plan free --scope orders:read
  causeway applications delete shop

With a personal token (cw_my_...) they are those of your teams. Those of the gateway file are changed there.")]
pub(crate) struct ApplicationsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List applications, newest first
    List(List),
    /// Show one
    Show(One),
    /// Make one
    Create(Create),
    /// Remove one; its keys end
    Delete(One),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway applications list --consumer acme
  causeway applications list --team acme-k3v9 --limit 200 --json

Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
struct List {
    /// Only of this consumer, by id or name; for operators.
    #[arg(long, value_name = "CONSUMER", conflicts_with = "team")]
    consumer: Option<String>,
    /// Only of this team, by id or name; with a personal token, for whoever belongs to several.
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway applications show shop
  causeway applications delete shop --json

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
struct One {
    /// Its id or its name.
    #[arg(value_name = "APPLICATION")]
    application: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway applications create shop --consumer acme --plan free --scope orders:read
  causeway applications create shop --team acme-k3v9        (with a personal token: plan and scopes are the portal's)

Exit codes: 0 made, 1 refused or failed, 2 wrong usage.")]
struct Create {
    /// What it is called.
    name: String,
    /// The consumer that it belongs to, by id or name; for operators.
    #[arg(long, value_name = "CONSUMER", conflicts_with = "team")]
    consumer: Option<String>,
    /// The plan whose limits apply; for operators.
    #[arg(long, value_name = "PLAN", conflicts_with = "team")]
    plan: Option<String>,
    /// A scope of keys that have none of their own; give it several times for several. For operators.
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "team")]
    scopes: Vec<String>,
    /// The team that it belongs to, by id or name; with a personal token, for whoever belongs to several.
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: ApplicationsArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(args) => output::finish(list(&args).await, args.page.format),
        Verb::Show(args) => output::finish(show(&args).await, args.format),
        Verb::Create(args) => output::finish(create(&args).await, args.format),
        Verb::Delete(args) => output::finish(delete(&args).await, args.format),
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let filters = [("consumer", args.consumer.as_deref()), ("team", args.team.as_deref())];
    let row = page::members(&["id", "name", "consumer_name", "plan", "managed_by", "created_at"]);
    args.page.show("/v1/applications", filters, &["ID", "NAME", "CONSUMER", "PLAN", "RULED BY", "MADE"], row).await
}

async fn show(args: &One) -> anyhow::Result<ExitCode> {
    let found = Client::new(&args.connection)?.get(&path(&args.application), &[]).await?;
    print(&found, args.format)
}

async fn create(args: &Create) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.name));
    let given = [("consumer", &args.consumer), ("plan", &args.plan), ("team", &args.team)];
    body.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))));
    if !args.scopes.is_empty() {
        body.insert("scopes".to_owned(), json!(args.scopes));
    }
    let made = Client::new(&args.connection)?.post("/v1/applications", Some(&Value::Object(body))).await?;
    print(&made, args.format)
}

fn print(application: &Value, format: Format) -> anyhow::Result<ExitCode> {
    if format.json {
        output::json_out(application)?;
        return Ok(ExitCode::SUCCESS);
    }
    let members = ["id", "name", "consumer_name", "tenant", "plan", "managed_by", "created_at"];
    let scopes = application.get("scopes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let scopes: Vec<_> = scopes.iter().filter_map(Value::as_str).collect();
    let mut pairs: Vec<_> = members.iter().map(|member| (*member, output::clean(&text_of(application, member)))).collect();
    pairs.push(("scopes", output::clean(&scopes.join(" "))));
    output::out(&fields(&pairs))?;
    Ok(ExitCode::SUCCESS)
}

async fn delete(args: &One) -> anyhow::Result<ExitCode> {
    let gone = Client::new(&args.connection)?.delete(&path(&args.application)).await?;
    if args.format.json {
        output::json_out(&gone)?;
    } else {
        output::out(&format!("application {} is gone; {} of its keys ended", text_of(&gone, "id"), text_of(&gone, "keys_revoked")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The application's path; what a name cannot hold is escaped, so that it names nothing else.
fn path(application: &str) -> String {
    format!("/v1/applications/{}", super::client::segment(application))
}
