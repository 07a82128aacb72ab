//! `causeway tokens`: refuse tokens of issuers, and list what is refused.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
};

/// Refuse tokens of issuers.
#[derive(Debug, Args)]
pub(crate) struct TokensArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Refuse one token, or all about somebody, on every node of every region
    Deny(Deny),
    /// List what is refused, newest first
    Denied(List),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway tokens deny accounts --token 7d1c0e9a
  causeway tokens deny accounts --subject alice
  causeway tokens deny https://accounts.example --subject alice --issued-until 2026-01-31T12:00:00Z --lasts 90d

Nodes act on it within a second, like on the revocation of a key; WebSockets that began with such a token end.
With --subject, tokens that are issued later are good, and those that do not say when they were issued are refused.
--lasts must be longer than the tokens live: when it is over, the denial means nothing any more.
Doing it again is harmless: what refuses more stays.

Exit codes: 0 written, 1 refused or failed, 2 wrong usage.")]
struct Deny {
    /// The issuer, by its name in the gateway file or by its `iss`.
    issuer: String,
    /// One token, by its `jti`.
    #[arg(long, value_name = "JTI", required_unless_present = "subject", conflicts_with = "subject")]
    token: Option<String>,
    /// All tokens about somebody, by `sub`.
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// Those issued until then: a time, or how long ago; now when absent.
    #[arg(long, value_name = "TIME", conflicts_with = "token")]
    issued_until: Option<String>,
    /// How long.
    #[arg(long, value_name = "DURATION", default_value = "31d")]
    lasts: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway tokens denied
  causeway tokens denied --issuer https://accounts.example --json

Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
struct List {
    /// Only of this issuer, by its `iss`.
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: TokensArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Deny(args) => output::finish(deny(&args).await, args.format),
        Verb::Denied(args) => output::finish(denied(&args).await, args.format),
    }
}

async fn deny(args: &Deny) -> anyhow::Result<ExitCode> {
    let mut body = Map::from_iter([("issuer".to_owned(), json!(args.issuer)), ("lasts".to_owned(), json!(args.lasts))]);
    for (member, value) in [("token", &args.token), ("subject", &args.subject), ("issued_until", &args.issued_until)] {
        body.extend(value.as_ref().map(|value| (member.to_owned(), json!(value))));
    }
    let denied = Client::new(&args.connection)?.post("/v1/tokens/deny", Some(&Value::Object(body))).await?;
    if args.format.json {
        output::json_out(&denied)?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = args.token.as_ref().map_or_else(
        || format!("tokens about {} issued until {}", text_of(&denied, "subject"), text_of(&denied, "issued_until")),
        |id| format!("the token {id}"),
    );
    output::out(&format!("refused: {what}, of {}, until {}", text_of(&denied, "issuer"), text_of(&denied, "expires_at")))?;
    output::remark("nodes that reach the database act on it within a second")?;
    Ok(ExitCode::SUCCESS)
}

async fn denied(args: &List) -> anyhow::Result<ExitCode> {
    let query: Vec<_> = args.issuer.iter().map(|issuer| ("issuer", issuer.clone())).collect();
    let page = Client::new(&args.connection)?.get("/v1/tokens/denied", &query).await?;
    if args.format.json {
        output::json_out(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let members = ["created_at", "issuer", "token", "subject", "issued_until", "expires_at", "created_by"];
    let rows = items.iter().map(|item| members.iter().map(|member| text_of(item, member)).collect());
    output::out(&output::table(&["MADE", "ISSUER", "TOKEN", "SUBJECT", "ISSUED UNTIL", "LASTS UNTIL", "BY"], rows))?;
    if items.is_empty() {
        output::remark("no tokens are refused")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
