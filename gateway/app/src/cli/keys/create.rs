//! `causeway keys create`.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use model::duration::Span;
use serde_json::{Map, Value, json};

use super::super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys create ci-runner
  KEY=$(causeway keys create ci-runner --application shop --expires-in 90d)
  causeway keys create reader --scope items:read --environment test --json
  causeway keys create partner --route orders --method GET --address 203.0.113.0/24

Exit codes: 0 issued, 1 refused or failed, 2 wrong usage.")]
pub(super) struct Create {
    /// What the key is called: 1 to 80 characters.
    #[arg(value_name = "NAME", required_unless_present = "named")]
    name: Option<String>,
    /// The same as NAME.
    #[arg(long = "name", value_name = "NAME", conflicts_with = "name", id = "named")]
    named: Option<String>,
    /// The application that holds it, by id or name; the default one when absent.
    #[arg(long, value_name = "APPLICATION")]
    application: Option<String>,
    #[command(flatten)]
    bound: Bound,
    /// Make it wait for approval before it can be used.
    #[arg(long)]
    pending: bool,
    /// A key of this call: the same call again finds the key that it made, and shows no secret.
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    /// How long it lives: 90d, 12h, or seconds; a year when absent.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires_in: Option<u64>,
    /// For which traffic.
    #[arg(long, value_enum, default_value_t = Environment::Live)]
    environment: Environment,
    #[command(flatten)]
    pub(super) format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Environment {
    /// The real one.
    Live,
    /// Trials.
    Test,
}

impl Environment {
    /// The name on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// What a key is bound to, on the command line.
#[derive(Debug, Args)]
pub(super) struct Bound {
    /// A scope; give it several times for several. The application's scopes when absent.
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "no_scopes")]
    scopes: Vec<String>,
    /// Give the key no scopes at all, not even the application's.
    #[arg(long)]
    no_scopes: bool,
    /// A plan of its own; the application's when absent.
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// A route that it may be used on; give it several times for several. All when absent.
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<String>,
    /// A method that it may be used with; give it several times for several. All when absent.
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// An address or range that it may come from; give it several times for several. All when absent.
    #[arg(long = "address", value_name = "CIDR")]
    addresses: Vec<String>,
    /// The SHA-256 hash of a client certificate that its connection must have shown, as `openssl x509 -fingerprint -sha256` prints it; give it several
    /// times for several. None is needed when absent.
    #[arg(long = "certificate", value_name = "THUMBPRINT")]
    certificates: Vec<String>,
}

impl Bound {
    /// Writes what is given into a body.
    pub(super) fn write(&self, body: &mut Map<String, Value>) {
        if self.no_scopes || !self.scopes.is_empty() {
            body.insert("scopes".to_owned(), json!(self.scopes));
        }
        if let Some(plan) = &self.plan {
            body.insert("plan".to_owned(), json!(plan));
        }
        let lists = [&self.routes, &self.methods, &self.addresses, &self.certificates];
        for (member, list) in ["routes", "methods", "addresses", "certificates"].into_iter().zip(lists) {
            if !list.is_empty() {
                body.insert(member.to_owned(), json!(list));
            }
        }
    }
}

/// Reads a time: a span, or seconds.
pub(in super::super) fn seconds(text: &str) -> Result<u64, String> {
    let read = text.parse().ok().or_else(|| Span::parse(text).map(|span| span.0.as_secs()));
    read.ok_or_else(|| "write a number and a unit, such as 90d or 12h, or a number of seconds".to_owned())
}

/// Runs the verb.
pub(super) async fn run(args: &Create) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.named.as_ref().or(args.name.as_ref())));
    if let Some(application) = &args.application {
        body.insert("application".to_owned(), json!(application));
    }
    if let Some(seconds) = args.expires_in {
        body.insert("expires_in".to_owned(), json!(seconds));
    }
    args.bound.write(&mut body);
    if args.pending {
        body.insert("pending".to_owned(), json!(true));
    }
    body.insert("environment".to_owned(), json!(args.environment.as_str()));
    let client = Client::new(&args.connection)?;
    let key = client.create("/v1/keys", &Value::Object(body), args.idempotency_key.as_deref()).await?;
    if args.format.json {
        output::json_out(&key)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(secret) = key.get("secret").and_then(Value::as_str) else {
        bail!("key {} was made by the same call before; its secret was shown then, and only then", text_of(&key, "id"));
    };
    let waits = if text_of(&key, "state") == "pending" { "; it waits for approval, and is refused until then" } else { "" };
    output::remark(&format!(
        "key {} for application {}, until {}{waits}; its secret is shown only now:",
        text_of(&key, "id"),
        output::clean(&text_of(&key, "application_name")),
        text_of(&key, "expires_at"),
    ))?;
    output::out(secret)?;
    Ok(ExitCode::SUCCESS)
}
