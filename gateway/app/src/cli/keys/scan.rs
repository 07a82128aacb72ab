//! `causeway keys scan`: keys that lie in files. The checksum in each key's text means that what is found is no chance.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use memchr::memmem;
use model::{
    key::{KeyId, Presented, Purpose},
    secret::SecretText,
};
use serde_json::{Value, json};

use crate::cli::{
    client::{Client, Connection},
    output::{self, Format},
};

/// What every credential begins with.
const MARK: &[u8] = b"cw_";
/// The longest credential: prefix, id, underscore, secret, checksum.
const TEXT_MAX: usize = 8 + 12 + 1 + 43 + 6;
/// What is read at once.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway keys scan .
  git log -p | causeway keys scan -
  causeway keys scan src/ --json
  causeway keys scan . --revoke          # revokes what it finds, as leaked, when the secret is genuine

Symbolic links are not followed, and `.git/objects` is left out, because what lies there is compressed: scan `git log -p` instead.
Only ids are shown, never secrets. Exit codes: 0 nothing found, 2 keys found, 1 something could not be read or revoked, or wrong usage.")]
pub(super) struct Scan {
    /// Files and folders; `-` is standard input.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Revoke the API keys that are found, as leaked.
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    pub(super) format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// What is reported in one call.
const REPORT_MAX: usize = 200;

/// A credential in a file.
#[derive(Debug, Clone)]
struct Found {
    place: PathBuf,
    line: u64,
    column: u64,
    purpose: Purpose,
    id: KeyId,
    text: SecretText,
}

/// What a scan has seen.
#[derive(Debug, Default)]
struct Report {
    found: Vec<Found>,
    files: u64,
    bytes: u64,
    unreadable: Vec<(PathBuf, io::Error)>,
}

pub(super) async fn run(args: &Scan) -> anyhow::Result<ExitCode> {
    // Before the work: a token that is missing should not be noticed after an hour.
    let client = args.revoke.then(|| Client::new(&args.connection)).transpose()?;
    let mut report = Report::default();
    for path in &args.paths {
        if path == Path::new("-") {
            let read = scan(io::stdin().lock(), Path::new("(standard input)"), &mut report);
            report.noted(path, read);
        } else {
            walk(path, &mut report);
        }
    }
    let (outcomes, failure) = match &client {
        Some(client) => revoke(client, &report).await,
        None => (BTreeMap::new(), None),
    };
    show(&report, &outcomes, args.format.json)?;
    if let Some(failure) = failure {
        return Err(failure.context("the scan is over, but not all keys are revoked"));
    }
    Ok(ExitCode::from(match (!report.unreadable.is_empty(), report.found.is_empty()) {
        (true, _) => 1,
        (false, true) => 0,
        (false, false) => 2,
    }))
}

/// Scans a file, or everything in a folder, in the order of the names.
fn walk(root: &Path, report: &mut Report) {
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        // What was named may be a link; what is found on the way is not followed.
        let kind = if path == *root { std::fs::metadata(&path) } else { std::fs::symlink_metadata(&path) };
        match kind {
            Ok(kind) if kind.is_dir() && path.ends_with(".git/objects") => {}
            Ok(kind) if kind.is_dir() => match std::fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(entries) => {
                    let mut inside: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
                    inside.sort_unstable_by(|a, b| b.cmp(a));
                    waiting.extend(inside);
                }
                Err(error) => report.unreadable.push((path, error)),
            },
            Ok(kind) if kind.is_file() => {
                let read = File::open(&path).and_then(|file| scan(file, &path, report));
                report.noted(&path, read);
            }
            // Sockets, pipes and devices hold no text that lies there.
            Ok(_) => {}
            Err(error) => report.unreadable.push((path, error)),
        }
    }
}

impl Report {
    fn noted(&mut self, path: &Path, read: io::Result<()>) {
        match read {
            Ok(()) => self.files += 1,
            Err(error) => self.unreadable.push((path.to_path_buf(), error)),
        }
    }
}

/// Scans a stream piece by piece; what may go on in the next piece is kept for it.
fn scan(mut input: impl Read, place: &Path, report: &mut Report) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(PIECE_BYTES + TEXT_MAX);
    let (mut line, mut column) = (1_u64, 1_u64);
    loop {
        let read = input.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut buffer)?;
        report.bytes += read as u64;
        let is_last = read == 0;
        // A mark this close to the end may be the beginning of something longer.
        let settled = if is_last { buffer.len() } else { buffer.len().saturating_sub(TEXT_MAX) };
        let mut counted = 0;
        for at in memmem::find_iter(&buffer, MARK).take_while(|at| *at < settled) {
            let Some((purpose, id, text)) = credential(&buffer, at) else { continue };
            advance(buffer.get(counted..at).unwrap_or_default(), &mut line, &mut column);
            counted = at;
            report.found.push(Found { place: place.to_path_buf(), line, column, purpose, id, text });
        }
        advance(buffer.get(counted..settled).unwrap_or_default(), &mut line, &mut column);
        buffer.drain(..settled);
        if is_last {
            return Ok(());
        }
    }
}

/// The credential that begins here.
fn credential(bytes: &[u8], at: usize) -> Option<(Purpose, KeyId, SecretText)> {
    let rest = bytes.get(at..)?;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let text = rest.get(..rest.iter().take(TEXT_MAX).take_while(|byte| is_part(byte)).count())?;
    let text = std::str::from_utf8(text).ok()?;
    // What follows may look like a part of it: the form says where it ends.
    let purpose = Purpose::ALL.into_iter().find(|purpose| text.starts_with(purpose.prefix()))?;
    let length = purpose.prefix().len() + TEXT_MAX - Purpose::Live.prefix().len();
    let text = text.get(..length)?;
    let presented = Presented::parse(text)?;
    Some((presented.purpose, presented.id, SecretText::new(text.to_owned())))
}

/// Moves the place behind some bytes.
fn advance(bytes: &[u8], line: &mut u64, column: &mut u64) {
    *line += memchr::memchr_iter(b'\n', bytes).count() as u64;
    *column = match memchr::memrchr(b'\n', bytes) {
        Some(last) => (bytes.len() - last) as u64,
        None => *column + bytes.len() as u64,
    };
}

/// Reports each API key; the control plane revokes those whose secret is genuine. Operator tokens are told, and revoked by hand. What
/// became of each finding, by its number, and what stopped the rest.
async fn revoke(client: &Client, report: &Report) -> (BTreeMap<usize, &'static str>, Option<anyhow::Error>) {
    let mut outcomes = BTreeMap::new();
    let keys: Vec<(usize, &Found)> = report.found.iter().enumerate().filter(|(_, found)| found.purpose.is_api_key()).collect();
    for part in keys.chunks(REPORT_MAX) {
        let texts: Vec<&str> = part.iter().map(|(_, found)| found.text.expose_secret()).collect();
        let answer = match client.post("/v1/keys/leaked", Some(&json!({ "keys": texts }))).await {
            Ok(answer) => answer,
            Err(error) => return (outcomes, Some(error)),
        };
        let items = answer.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for ((number, _), item) in part.iter().zip(items) {
            let outcome = match item.get("outcome").and_then(Value::as_str) {
                Some("revoked") => "revoked",
                Some("dead") => "was revoked before",
                _ => "no key of this deployment, or replaced since",
            };
            outcomes.insert(*number, outcome);
        }
    }
    (outcomes, None)
}

fn show(report: &Report, outcomes: &BTreeMap<usize, &'static str>, json: bool) -> anyhow::Result<()> {
    if json {
        let items: Vec<_> = report
            .found
            .iter()
            .enumerate()
            .map(|(number, found)| {
                json!({
                    "path": found.place.display().to_string(), "line": found.line, "column": found.column,
                    "kind": kind(found.purpose), "id": found.id, "outcome": outcomes.get(&number),
                })
            })
            .collect();
        let unreadable: Vec<_> =
            report.unreadable.iter().map(|(path, error)| json!({ "path": path.display().to_string(), "error": error.to_string() })).collect();
        return output::json_out(&json!({ "found": items, "files": report.files, "bytes": report.bytes, "unreadable": unreadable }));
    }
    for (number, found) in report.found.iter().enumerate() {
        let place = output::clean(&format!("{}:{}:{}", found.place.display(), found.line, found.column));
        let outcome = outcomes.get(&number).map(|outcome| format!(", {outcome}")).unwrap_or_default();
        output::out(&format!("{place}: {} {}{outcome}", kind(found.purpose), found.id))?;
    }
    for (path, error) in &report.unreadable {
        output::remark(&format!("cannot read {}: {error}", output::clean(&path.display().to_string())))?;
    }
    let (keys, files) = (report.found.len(), report.files);
    output::remark(&format!("{keys} found in {files} files, {} MiB", report.bytes.div_ceil(1 << 20)))
}

const fn kind(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Live => "live key",
        Purpose::Test => "test key",
        Purpose::Operator => "operator token",
        Purpose::Personal => "personal token",
    }
}

#[cfg(test)]
mod tests;
