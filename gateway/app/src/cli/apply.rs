//! `causeway apply` and `causeway diff`: make the deployment equal to a gateway file, or say what that would change.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{
    check,
    client::{Client, Connection, Problem},
    diagnostics,
    output::{self, Format, text_of},
};

/// Make the deployment equal to a gateway file, in one transaction.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway apply -f gateway.yaml
  causeway apply -f gateway.yaml --dry-run
  causeway apply -f gateway.yaml --control https://127.0.0.1:9443 --ca ca.pem --token-file token

The file is compiled here first, by the code that the nodes run; nothing is sent when it has a
mistake. Resources that the file no longer has are removed, as far as they came from a file;
keys of removed applications end.

Exit codes: 0 applied (or nothing to do), 1 a mistake, a refusal or a failure, 2 wrong usage.")]
pub(crate) struct ApplyArgs {
    /// The gateway file, YAML or JSON.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Say what applying a gateway file would change.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway diff -f gateway.yaml
  causeway diff -f gateway.yaml --json | jq .deleted

Exit codes: 0 nothing would change, 2 something would, 1 a mistake, a refusal or a failure.")]
pub(crate) struct DiffArgs {
    /// The gateway file, YAML or JSON.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// What `diff` answers when something would change.
const CHANGES: u8 = 2;

/// Runs `causeway apply`.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run_apply(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let result = send(&args.file, args.dry_run, &args.connection, args.format).await;
    output::finish(result.map(|sent| if sent == Sent::Mistakes { ExitCode::FAILURE } else { ExitCode::SUCCESS }), args.format)
}

/// Runs `causeway diff`.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run_diff(args: DiffArgs) -> anyhow::Result<ExitCode> {
    let result = send(&args.file, true, &args.connection, args.format).await.map(|sent| match sent {
        Sent::Nothing => ExitCode::SUCCESS,
        Sent::Changes => ExitCode::from(CHANGES),
        Sent::Mistakes => ExitCode::FAILURE,
    });
    output::finish(result, args.format)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The file has mistakes; they are told.
    Mistakes,
    /// Nothing was or would be changed.
    Nothing,
    /// Something was or would be.
    Changes,
}

async fn send(file: &std::path::Path, dry_run: bool, connection: &Connection, format: Format) -> anyhow::Result<Sent> {
    let client = Client::new(connection)?;
    let loaded = match check::gateway(file) {
        Ok(loaded) => loaded,
        Err(found) => {
            diagnostics::tell(&found, format)?;
            return Ok(Sent::Mistakes);
        }
    };
    let body = serde_json::to_vec(&loaded.document)?;
    let query = [("dry_run", dry_run.to_string())];
    let report = match client.post_document("/v1/apply", &query, body).await {
        Ok(report) => report,
        // Another version compiles on the other side: show its mistakes in the file all the same.
        Err(error) => match error.downcast_ref::<Problem>() {
            Some(problem) if problem.code() == "document-invalid" && !format.json => {
                diagnostics::tell(&loaded.place(problem.errors()), format)?;
                return Ok(Sent::Mistakes);
            }
            _ => return Err(error),
        },
    };
    tell(&report, dry_run, format)?;
    let has_changes = report.get("changed").and_then(Value::as_bool).unwrap_or(true);
    Ok(if has_changes { Sent::Changes } else { Sent::Nothing })
}

fn tell(report: &Value, dry_run: bool, format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json_out(report);
    }
    let mut lines = Vec::new();
    for (member, sign) in [("created", '+'), ("updated", '~'), ("deleted", '-')] {
        let shown = list(report, member).iter();
        lines.extend(shown.map(|item| format!("{sign} {} {}", text_of(item, "kind"), output::clean(&text_of(item, "name")))));
    }
    lines.extend(list(report, "keys_revoked").iter().map(|key| format!("- key {}", key.as_str().unwrap_or("?"))));
    let adrift = list(report, "consumers_adrift").iter().filter_map(Value::as_str);
    lines.extend(adrift.map(|name| format!("! consumer {}: no region has a label that it asks for, so nothing can serve it", output::clean(name))));
    let would = if dry_run { "would be " } else { "" };
    let counts = ["created", "updated", "deleted"].map(|member| format!("{} {would}{member}, ", list(report, member).len())).concat();
    let unchanged = list(report, "unchanged").len();
    let revisions = match report.get("revisions").filter(|_| !dry_run) {
        Some(heads) => {
            let [epoch, authority, structural] = ["epoch", "authority", "structural"].map(|member| text_of(heads, member));
            format!("; revisions: epoch {epoch}, authority {authority}, structural {structural}")
        }
        None => String::new(),
    };
    lines.push(format!("{counts}{unchanged} unchanged{revisions}"));
    output::out(&lines.join("\n"))
}

fn list<'a>(report: &'a Value, member: &str) -> &'a [Value] {
    report.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
