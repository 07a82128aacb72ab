//! `causeway keys import`: keys that another system has issued, from a file with their hashes.

mod file;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::file::Listed;
use super::create::Environment;
use crate::cli::{
    client::{Client, Connection},
    output::{self, Format, text_of},
};

/// Keys in one call, and bytes of them: the control plane takes 1,000 in a mebibyte.
const BATCH_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 768 << 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys import keys.csv --application shop --from kong --dry-run
  causeway keys import keys.jsonl --application shop --from kong --json > report.json

The file has a line for each key: CSV with the names of its columns in the first line, or an object of JSON. It holds hashes, never keys:
  id          what the key is called there (required)
  hash        SHA-256 of the whole key, 64 hexadecimal digits, or bcrypt: $2b$10$... (required)
  algorithm   sha256, which is meant when nothing is said, or bcrypt
  prefix      the first 6 to 32 characters of the key, as the other system keeps them in clear (required for bcrypt)
  name, scopes (with spaces between them), expires_at (RFC 3339), disabled (true or false), rate_limit
In CSV, an empty value of `scopes` means none; without the column, keys have the application's. Other columns are named in the report, and not taken over. Routes with `imported_keys: accept` take the keys as they are.
The same import again changes nothing: keys are known by --application, --from and id.
Exit codes: 0 all are taken over, 1 some were not or something failed, 2 wrong usage.")]
pub(super) struct Import {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The application that holds them, by id or name.
    #[arg(long, value_name = "APPLICATION")]
    application: String,
    /// A name for the system that has issued them.
    #[arg(long, value_name = "NAME", default_value = "import")]
    from: String,
    /// What the file is; told by its name when absent.
    #[arg(long = "format", value_enum, value_name = "FORMAT", id = "file_format")]
    file_format: Option<FileFormat>,
    /// For which traffic they are.
    #[arg(long, value_enum, default_value_t = Environment::Live)]
    environment: Environment,
    /// Only say what would become of them.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// Values with commas between them (RFC 4180).
    Csv,
    /// An object of JSON in each line.
    Jsonl,
}

/// Runs the verb.
pub(super) async fn run(args: &Import) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let format = match (args.file_format, args.file.extension().and_then(|extension| extension.to_str())) {
        (Some(format), _) => format,
        (None, Some("csv")) => FileFormat::Csv,
        (None, Some("jsonl" | "ndjson")) => FileFormat::Jsonl,
        (None, _) => bail!("say what {name} is: --format csv or --format jsonl"),
    };
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read {name}"))?;
    let Listed { keys, ignored } = file::read(&text, format).with_context(|| format!("cannot read {name}"))?;
    if keys.is_empty() {
        bail!("{name} names no key");
    }
    let client = Client::new(&args.connection)?;
    let mut report = Report { ignored, ..Report::default() };
    for batch in batches(keys) {
        let body = json!({
            "application": args.application, "from": args.from, "environment": args.environment.as_str(), "dry_run": args.dry_run, "keys": batch,
        });
        match client.post("/v1/keys/import", Some(&body)).await {
            Ok(answer) => report.add(&answer),
            // What is done is done: the report tells it, and the same import again goes on from there.
            Err(error) => {
                report.told(args)?;
                return Err(error.context("the import stopped here; run it again, what is done stays"));
            }
        }
    }
    report.told(args)?;
    Ok(if report.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cuts a list into what one call takes.
fn batches(keys: Vec<Value>) -> Vec<Vec<Value>> {
    let mut out: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for key in keys {
        let size = key.to_string().len() + 1;
        if let Some(batch) = out.last_mut().filter(|batch| batch.len() < BATCH_MAX && bytes + size <= BATCH_BYTES_MAX) {
            batch.push(key);
        } else {
            out.push(vec![key]);
            bytes = 0;
        }
        bytes += size;
    }
    out
}

/// What became of all batches.
#[derive(Debug, Default)]
struct Report {
    items: Vec<Value>,
    imported: u64,
    before: u64,
    refused: u64,
    /// Columns that were not taken over.
    ignored: Vec<String>,
}

impl Report {
    fn add(&mut self, answer: &Value) {
        let count = |member: &str| answer.get(member).and_then(Value::as_u64).unwrap_or(0);
        self.imported += count("imported");
        self.before += count("before");
        self.refused += count("refused");
        self.items.extend(answer.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
    }

    fn told(&self, args: &Import) -> anyhow::Result<()> {
        if args.format.json {
            return output::json_out(&json!({
                "imported": self.imported, "before": self.before, "refused": self.refused, "dry_run": args.dry_run, "ignored": self.ignored,
                "items": self.items,
            }));
        }
        let losses = self.items.iter().flat_map(|item| {
            let losses = item.get("losses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            losses
                .iter()
                .map(|loss| ["source_id", "outcome"].map(|member| text_of(item, member)).into_iter().chain([text_of(loss, "message")]).collect())
        });
        let losses: Vec<Vec<String>> = losses.collect();
        if !losses.is_empty() {
            output::out(&output::table(&["ID", "OUTCOME", "WHAT WAS LOST, OR WHY"], losses))?;
        }
        if !self.ignored.is_empty() {
            output::remark(&format!("not taken over: {}", output::clean(&self.ignored.join(", "))))?;
        }
        let verb = if args.dry_run { "would be taken over" } else { "taken over" };
        output::remark(&format!("{} {verb}, {} were before, {} refused", self.imported, self.before, self.refused))
    }
}

#[cfg(test)]
mod tests;
