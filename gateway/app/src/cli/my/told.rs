//! `causeway my webhook | set-webhook | test-webhook | remove-webhook | mails | set-mails`: how a team and its members are told.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Plain, items, of_team, rows, said};
use crate::cli::{
    client::Client,
    output::{self, text_of},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway my webhook acme-k3v9
  causeway my test-webhook acme-k3v9 --json

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
pub(super) struct OfTeam {
    /// The team, by id or name.
    team: String,
    #[command(flatten)]
    pub(super) plain: Plain,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  SECRET=$(causeway my set-webhook acme-k3v9 https://example.com/hooks)

It takes the place of the one before, and has a secret of its own. The people of the team are told by mail.
Exit codes: 0 set, 1 refused or failed, 2 wrong usage.")]
pub(super) struct SetWebhook {
    /// The team, by id or name.
    team: String,
    /// Where notifications go: an https address.
    url: String,
    #[command(flatten)]
    pub(super) plain: Plain,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway my mails

Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
pub(super) struct Mails {
    #[command(flatten)]
    pub(super) plain: Plain,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway my set-mails --off keys --off team
  causeway my set-mails --on keys

What is not named stays. Leaks, and what is about your account itself, are always told.
Exit codes: 0 changed, 1 refused or failed, 2 wrong usage.")]
pub(super) struct SetMails {
    /// What you want to be told; give it several times for several.
    #[arg(long, value_name = "TOPIC")]
    on: Vec<Topic>,
    /// What you do not want to be told.
    #[arg(long, value_name = "TOPIC")]
    off: Vec<Topic>,
    #[command(flatten)]
    pub(super) plain: Plain,
}

/// What mails are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Topic {
    /// Keys that are issued, approved or refused, rolled or revoked.
    Keys,
    /// Keys that end.
    Ends,
    /// People who join the team.
    Team,
}

impl Topic {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Ends => "ends",
            Self::Team => "team",
        }
    }
}

pub(super) async fn webhook(args: &OfTeam) -> anyhow::Result<ExitCode> {
    let found = Client::new(&args.plain.connection)?.get(&of_team(&args.team, "/webhook"), &[]).await?;
    if args.plain.format.json {
        return said(&found, args.plain.format, "");
    }
    let is_on = found.get("is_on").and_then(Value::as_bool).unwrap_or(false);
    let url = if found.get("url").is_some_and(Value::is_string) { text_of(&found, "url") } else { text_of(&found, "host") };
    let state = if is_on { "on" } else { "off: its receiver answered 410; set an address to switch it on" };
    output::out(&format!("{} since {}, {state}", output::clean(&url), text_of(&found, "created_at")))?;
    let members = ["id", "type", "state", "attempts", "created_at", "fault"];
    output::out(&output::table(&["ID", "WHAT", "STATE", "ATTEMPTS", "WHEN", "LAST FAULT"], rows(items(&found, "deliveries"), &members)))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn set_webhook(args: &SetWebhook) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.plain.connection)?;
    let set = client.post(&of_team(&args.team, "/webhook"), Some(&json!({ "url": args.url }))).await?;
    if args.plain.format.json {
        return said(&set, args.plain.format, "");
    }
    let Some(secret) = set.get("secret").and_then(Value::as_str) else { bail!("the answer holds no secret") };
    output::remark(&format!("the webhook leads to {}; its secret is shown only now:", output::clean(&text_of(&set, "host"))))?;
    output::out(secret)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn test_webhook(args: &OfTeam) -> anyhow::Result<ExitCode> {
    let done = Client::new(&args.plain.connection)?.post(&of_team(&args.team, "/webhook/test"), None).await?;
    said(&done, args.plain.format, "a test is on its way: `causeway my webhook` shows what becomes of it")
}

pub(super) async fn remove_webhook(args: &OfTeam) -> anyhow::Result<ExitCode> {
    let done = Client::new(&args.plain.connection)?.delete(&of_team(&args.team, "/webhook")).await?;
    said(&done, args.plain.format, "the team has no webhook any more")
}

pub(super) async fn mails(args: &Mails) -> anyhow::Result<ExitCode> {
    let wanted = Client::new(&args.plain.connection)?.get("/v1/my/mails", &[]).await?;
    said(&wanted, args.plain.format, &listed(&wanted))
}

pub(super) async fn set_mails(args: &SetMails) -> anyhow::Result<ExitCode> {
    if args.on.iter().any(|topic| args.off.contains(topic)) {
        bail!("the same topic cannot be wanted and not wanted");
    }
    let all = args.on.iter().map(|topic| (topic, true)).chain(args.off.iter().map(|topic| (topic, false)));
    let body: Map<String, Value> = all.map(|(topic, wanted)| (topic.as_str().to_owned(), json!(wanted))).collect();
    if body.is_empty() {
        bail!("say what to change: --on or --off with keys, ends or team");
    }
    let wanted = Client::new(&args.plain.connection)?.patch("/v1/my/mails", &json!({ "topics": body })).await?;
    said(&wanted, args.plain.format, &listed(&wanted))
}

fn listed(wanted: &Value) -> String {
    let is_on = |topic: &str| wanted.pointer(&format!("/topics/{topic}")) == Some(&json!(true));
    let topics = ["keys", "ends", "team"].map(|topic| format!("{topic}: {}", if is_on(topic) { "on" } else { "off" }));
    let unsent = if wanted.get("sent") == Some(&json!(false)) { " (this gateway sends no mail now)" } else { "" };
    format!("{} to {}{unsent}", topics.join(", "), output::clean(&text_of(wanted, "email")))
}
