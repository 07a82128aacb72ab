//! `causeway keys roll | end-overlap | change | approve | refuse | disable | enable | revoke`.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Args;
use model::key::KeyId;
use serde_json::{Map, Value, json};

use super::{
    One,
    create::{Bound, seconds},
    key_id, propagation,
};
use crate::cli::{
    client::Client,
    output::{self, text_of},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  NEW=$(causeway keys roll 7sEgbYf9hQ2x --overlap 12h)
  causeway keys roll 7sEgbYf9hQ2x --overlap 0      # the secret before ends at once
  causeway keys roll 7sEgbYf9hQ2x --replace-present  # the answer was lost: another secret, beside the one in use

The secret before stays valid for the overlap, one day when nothing is said; `keys show` says until when. Until then another roll is
refused, unless it says which of the two secrets goes.
Exit codes: 0 rolled, 1 refused or failed, 2 wrong usage.")]
pub(super) struct Roll {
    #[command(flatten)]
    pub(super) one: One,
    /// How long the secret before is taken too: 12h, 7d, or seconds; at most 30d.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    overlap: Option<u64>,
    /// While an overlap is not over: throw the present secret away, and keep the one before as it is; for an answer that was lost.
    #[arg(long, conflicts_with_all = ["end_previous", "overlap"])]
    replace_present: bool,
    /// While an overlap is not over: end the secret before at once.
    #[arg(long)]
    end_previous: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys change 7sEgbYf9hQ2x --expires-in 90d
  causeway keys change 7sEgbYf9hQ2x --address 203.0.113.0/24 --address 2001:db8::/32
  causeway keys change 7sEgbYf9hQ2x --reset routes --reset scopes

What is not named stays. Exit codes: 0 changed, 1 refused or failed, 2 wrong usage.")]
pub(super) struct Change {
    #[command(flatten)]
    pub(super) one: One,
    /// What the key is called.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    bound: Bound,
    /// Take away what the key has for itself.
    #[arg(long, value_name = "WHAT", value_parser = ["scopes", "plan", "routes", "methods", "addresses", "certificates"])]
    reset: Vec<String>,
    /// How long it lives from now on: 90d, 12h, or seconds.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires_in: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys revoke 7sEgbYf9hQ2x
  causeway keys revoke 7sEgbYf9hQ2x --leaked --json
  causeway keys revoke 7sEgbYf9hQ2x --wait          # until no node goes by it any more, with a receipt

The id is the twelve characters after cw_live_; never give the whole key.
Exit codes: 0 revoked, now or before, and effective where that is waited for; 1 refused, failed, or not effective in time; 2 wrong usage.")]
pub(super) struct Revoke {
    #[command(flatten)]
    pub(super) one: One,
    /// Wait until every node has acknowledged it, or is past its bound, and show which.
    #[arg(long)]
    wait: bool,
    /// Wait for so long at most: 30s, 10m, or seconds.
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "10m", requires = "wait")]
    timeout: u64,
    /// Note that the key was seen where everybody can read it.
    #[arg(long)]
    leaked: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys list --state pending
  causeway keys refuse 7sEgbYf9hQ2x --reason \"the plan is for tests\"

The key is revoked, and its team is told the reason.
Exit codes: 0 refused, now or before; 1 refused or failed; 2 wrong usage.")]
pub(super) struct Refuse {
    #[command(flatten)]
    pub(super) one: One,
    /// Why: 1 to 300 characters that the team reads.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn roll(args: &Roll) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.one.id)?;
    let mut body = args.overlap.map_or_else(|| json!({}), |seconds| json!({ "overlap": seconds }));
    let while_rolling = match (args.replace_present, args.end_previous) {
        (true, _) => "replace_present",
        (false, true) => "end_previous",
        (false, false) => "refuse",
    };
    if let Value::Object(members) = &mut body {
        members.insert("while_rolling".to_owned(), json!(while_rolling));
    }
    let key = Client::new(&args.one.connection)?.post(&format!("/v1/keys/{id}/roll"), Some(&body)).await?;
    if args.one.format.json {
        output::json_out(&key)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(secret) = key.get("secret").and_then(Value::as_str) else { bail!("the answer holds no secret") };
    let before = match key.get("previous_until").and_then(Value::as_str) {
        Some(until) => format!("the one that ends in {} works until {until}", text_of(&key, "previous_last_four")),
        None => "the one before has ended".to_owned(),
    };
    output::remark(&format!("key {id} has a new secret, which is shown only now; {}:", output::clean(&before)))?;
    output::out(secret)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn change(args: &Change) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.one.id)?;
    let mut body = Map::new();
    for member in &args.reset {
        body.insert(member.clone(), Value::Null);
    }
    let named = body.len();
    args.bound.write(&mut body);
    let set = body.values().filter(|value| !value.is_null()).count();
    if body.len() != named + set {
        bail!("the same thing cannot be set and reset at once");
    }
    if let Some(name) = &args.name {
        body.insert("name".to_owned(), json!(name));
    }
    if let Some(seconds) = args.expires_in {
        body.insert("expires_in".to_owned(), json!(seconds));
    }
    if body.is_empty() {
        bail!("say what to change: `causeway keys change --help` lists it");
    }
    let key = Client::new(&args.one.connection)?.patch(&format!("/v1/keys/{id}"), &Value::Object(body)).await?;
    told(&key, "is changed", args.one.format.json)
}

/// An act that is a verb of the path, without a body.
pub(super) async fn act(args: &One, verb: &str) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.id)?;
    let key = Client::new(&args.connection)?.post(&format!("/v1/keys/{id}/{verb}"), None).await?;
    let done = if verb == "end-overlap" { "takes its present secret alone".to_owned() } else { format!("is {}", text_of(&key, "state")) };
    told(&key, &done, args.format.json)
}

pub(super) async fn refuse(args: &Refuse) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.one.id)?;
    let body = json!({ "reason": args.reason });
    let key = Client::new(&args.one.connection)?.post(&format!("/v1/keys/{id}/refuse"), Some(&body)).await?;
    told(&key, "is refused", args.one.format.json)
}

pub(super) async fn revoke(args: &Revoke) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.one.id)?;
    let body = args.leaked.then(|| json!({ "leaked": true }));
    let client = Client::new(&args.one.connection)?;
    let revoked = client.post(&format!("/v1/keys/{id}/revoke"), body.as_ref()).await?;
    if args.wait {
        let within = Duration::from_secs(args.timeout);
        return propagation::wait(&client, &id, within, args.one.format.json, &said(&id, &revoked)).await;
    }
    if args.one.format.json {
        output::json_out(&revoked)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::out(&said(&id, &revoked))?;
    Ok(ExitCode::SUCCESS)
}

fn said(id: &KeyId, revoked: &Value) -> String {
    let already = revoked.get("already_revoked").and_then(Value::as_bool).unwrap_or(false);
    let verb = if already { "was already revoked" } else { "is revoked" };
    format!("key {id} {verb} at {}, revision {}", text_of(revoked, "committed_at"), revision(revoked))
}

fn told(key: &Value, done: &str, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json_out(key)?;
    } else {
        output::out(&format!("key {} {}, revision {}", text_of(key, "id"), output::clean(done), revision(key)))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn revision(answer: &Value) -> String {
    let revision = answer.get("revision").map(|revision| format!("{}.{}", text_of(revision, "epoch"), text_of(revision, "authority")));
    revision.unwrap_or_else(|| "-".to_owned())
}
