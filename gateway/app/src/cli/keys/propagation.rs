//! `causeway keys propagation`: which nodes go by the last change of a key; and the wait of `keys revoke --wait`.

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::Args;
use model::key::KeyId;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{One, create::seconds, key_id, life::revision};
use crate::cli::{
    client::Client,
    output::{self, text_of},
};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys propagation 7sEgbYf9hQ2x
  causeway keys propagation 7sEgbYf9hQ2x --wait --timeout 30s

A node that has acknowledged a change goes by it, also after a restart without a database. One that has not is past its bound (fenced)
when its routes that refuse on stale keys cannot go by what was before any more. The bound is counted by the node that is asked.
Exit codes: 0 effective, 1 not yet, refused or failed, 2 wrong usage.")]
pub(super) struct Propagation {
    #[command(flatten)]
    pub(super) one: One,
    /// Wait until it is effective.
    #[arg(long)]
    wait: bool,
    /// Wait for so long at most: 30s, 10m, or seconds.
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "10m", requires = "wait")]
    timeout: u64,
}

pub(super) async fn run(args: &Propagation) -> anyhow::Result<ExitCode> {
    let id = key_id(&args.one.id)?;
    let within = if args.wait { Duration::from_secs(args.timeout) } else { Duration::ZERO };
    wait(&Client::new(&args.one.connection)?, &id, within, args.one.format.json, &format!("key {id}")).await
}

/// Looks until the last change of the key is effective, or the time is over, and shows how it stands: on a terminal all the time.
pub(super) async fn wait(client: &Client, id: &KeyId, within: Duration, json: bool, title: &str) -> anyhow::Result<ExitCode> {
    let end = Instant::now() + within;
    let is_live = !json && output::stderr_is_terminal() && !within.is_zero();
    let mut pulse = interval(LOOK);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drawn = 0;
    loop {
        pulse.tick().await;
        let seen = client.get(&format!("/v1/keys/{id}/propagation"), &[]).await?;
        let is_effective = seen.pointer("/receipt/is_effective").and_then(Value::as_bool).unwrap_or(false);
        let is_over = is_effective || Instant::now() >= end;
        if is_live {
            drawn = redraw(drawn, &nodes(&seen), is_over)?;
        }
        if !is_over {
            continue;
        }
        if json {
            output::json_out(&seen)?;
        } else {
            output::out(&text(title, &seen))?;
        }
        return Ok(if is_effective { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
}

/// Puts a table in place of the one before; takes it away at the end, when it stands in the output. Returns how many lines stand there.
fn redraw(drawn: usize, table: &str, is_over: bool) -> anyhow::Result<usize> {
    let mut terminal = std::io::stderr().lock();
    if drawn > 0 {
        write!(terminal, "\x1b[{drawn}A\x1b[J")?;
    }
    if is_over {
        return Ok(0);
    }
    write!(terminal, "{table}")?;
    terminal.flush()?;
    Ok(table.lines().count())
}

fn text(title: &str, seen: &Value) -> String {
    let receipt = seen.get("receipt").unwrap_or(&Value::Null);
    let is_effective = receipt.get("is_effective").and_then(Value::as_bool).unwrap_or(false);
    let stands = match (is_effective, receipt.get("effective_at").and_then(Value::as_str)) {
        (true, Some(at)) => format!("effective since {}", output::clean(at)),
        (true, None) => "effective".to_owned(),
        (false, _) if receipt.get("fenced_at").and_then(Value::as_str).is_none() => {
            "not effective yet; a node that has not acknowledged has named no bound".to_owned()
        }
        (false, _) => format!("not effective yet; every node is past its bound at {}", output::clean(&text_of(receipt, "fenced_at"))),
    };
    let allow = match receipt.get("allow_routes").and_then(Value::as_str) {
        Some("unbounded while cut off") => "routes that take stale keys: unbounded while a node is cut off\n",
        Some("acknowledged") => "routes that take stale keys: acknowledged by every node\n",
        Some(_) | None => "",
    };
    format!("{title}\nrevision {}: {stands}\n{allow}\n{}", revision(seen), nodes(seen))
}

fn nodes(seen: &Value) -> String {
    let nodes = seen.pointer("/receipt/nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rows = nodes.iter().map(|node| ["region", "name", "state", "acknowledged_at", "bound_ms"].map(|member| text_of(node, member)).to_vec());
    output::table(&["REGION", "NODE", "STATE", "ACKNOWLEDGED", "BOUND MS"], rows)
}
