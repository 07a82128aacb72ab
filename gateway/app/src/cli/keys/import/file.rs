//! Files of keys: values with commas between them, or an object of JSON in each line.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

use super::FileFormat;

/// Names of columns, and what the control plane calls them.
const COLUMNS: [(&str, &str); 10] = [
    ("id", "source_id"),
    ("source_id", "source_id"),
    ("name", "name"),
    ("hash", "hash"),
    ("algorithm", "algorithm"),
    ("prefix", "prefix"),
    ("scopes", "scopes"),
    ("expires_at", "expires_at"),
    ("disabled", "disabled"),
    ("rate_limit", "rate_limit"),
];

/// What a file names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Keys, as the control plane wants them.
    pub(super) keys: Vec<Value>,
    /// Columns that have no counterpart.
    pub(super) ignored: Vec<String>,
}

/// Reads a file.
///
/// # Errors
/// What is wrong, with the line; never a value, which could be a key.
pub(super) fn read(text: &str, format: FileFormat) -> anyhow::Result<Listed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rows = match format {
        FileFormat::Csv => csv(text)?,
        FileFormat::Jsonl => jsonl(text)?,
    };
    let mut ignored = BTreeSet::new();
    let keys = rows.into_iter().map(|(line, row)| key(row, &mut ignored).with_context(|| format!("line {line}"))).collect::<anyhow::Result<_>>()?;
    Ok(Listed { keys, ignored: ignored.into_iter().collect() })
}

/// Members with the number of their line.
type Row = (usize, Map<String, Value>);

fn jsonl(text: &str) -> anyhow::Result<Vec<Row>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| match serde_json::from_str(line) {
            Ok(Value::Object(members)) => Ok((number, members)),
            Ok(_) => bail!("line {number} is no object"),
            Err(error) => bail!("line {number} is not JSON, at column {}", error.column()),
        })
        .collect()
}

fn csv(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut records = records(text)?.into_iter();
    let (_, header) = records.next().context("it has no line with the names of its columns")?;
    let header: Vec<String> = header.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    let named: BTreeSet<_> = header.iter().collect();
    ensure!(named.len() == header.len(), "a column stands twice in its first line");
    records
        .map(|(line, fields)| {
            ensure!(fields.len() == header.len(), "line {line} has {} values, and the first line {}", fields.len(), header.len());
            // A key without scopes there must not get the application's here; what else is empty is absent.
            let filled = header.iter().cloned().zip(fields).filter(|(name, value)| !value.is_empty() || name == "scopes");
            Ok((line, filled.map(|(name, value)| (name, Value::from(value))).collect()))
        })
        .collect()
}

/// One line's values, with its number.
type Record = (usize, Vec<String>);

/// Cuts a file into lines of values (RFC 4180): in quotes, a value may hold commas, line ends, and quotes written twice.
fn records(text: &str) -> anyhow::Result<Vec<Record>> {
    let mut out = Vec::new();
    let (mut line, mut begins) = (1, 1);
    let mut fields: Vec<String> = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().peekable();
    let mut state = At::Start;
    while let Some(char) = chars.next() {
        line += usize::from(char == '\n');
        match (state, char) {
            (At::Quoted, '"') => state = At::Closed,
            (At::Quoted, other) => field.push(other),
            (At::Closed, '"') => {
                field.push('"');
                state = At::Quoted;
            }
            (At::Start, '"') => state = At::Quoted,
            (_, ',') => {
                fields.push(std::mem::take(&mut field));
                state = At::Start;
            }
            (_, '\r') if chars.peek() == Some(&'\n') => {}
            (_, '\n') => {
                fields.push(std::mem::take(&mut field));
                keep(&mut out, begins, &mut fields);
                begins = line;
                state = At::Start;
            }
            (At::Closed, _) => bail!("line {line}: something follows the closing quote of a value"),
            (At::Start | At::Bare, other) => {
                field.push(other);
                state = At::Bare;
            }
        }
    }
    ensure!(state != At::Quoted, "line {begins}: a quote is never closed");
    fields.push(field);
    keep(&mut out, begins, &mut fields);
    Ok(out)
}

/// Where a reader of values is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a value.
    Start,
    /// In one without quotes.
    Bare,
    /// In one with quotes.
    Quoted,
    /// Behind a quote that closes one, or is the first of two.
    Closed,
}

/// Keeps a line, unless it is empty.
fn keep(out: &mut Vec<Record>, line: usize, fields: &mut Vec<String>) {
    let fields = std::mem::take(fields);
    if fields.iter().any(|field| !field.is_empty()) {
        out.push((line, fields));
    }
}

fn key(row: Map<String, Value>, ignored: &mut BTreeSet<String>) -> anyhow::Result<Value> {
    let mut out = Map::new();
    for (name, value) in row {
        let Some((_, member)) = COLUMNS.iter().find(|(column, _)| *column == name) else {
            ignored.insert(name);
            continue;
        };
        if value.is_null() {
            continue;
        }
        ensure!(out.insert((*member).to_owned(), read_member(member, value)?).is_none(), "`id` stands twice, once as `source_id`");
    }
    ensure!(out.contains_key("source_id"), "it has no `id`");
    ensure!(out.contains_key("hash"), "it has no `hash`");
    Ok(Value::Object(out))
}

/// A value in the form that the control plane wants.
fn read_member(member: &str, value: Value) -> anyhow::Result<Value> {
    match (member, value) {
        ("disabled", Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(Value::Bool(true)),
            "false" | "no" | "0" => Ok(Value::Bool(false)),
            _ => bail!("`disabled` is true or false"),
        },
        ("disabled", value @ Value::Bool(_)) | ("scopes", value @ Value::Array(_)) => Ok(value),
        ("scopes", Value::String(text)) => Ok(text.split_ascii_whitespace().collect()),
        ("source_id", Value::Number(number)) => Ok(Value::from(number.to_string())),
        ("rate_limit", value @ (Value::Number(_) | Value::Object(_) | Value::Array(_))) => Ok(Value::from(value.to_string())),
        ("scopes" | "disabled", _) => bail!("`{member}` is of another kind"),
        (_, value @ Value::String(_)) => Ok(value),
        _ => bail!("`{member}` is no text"),
    }
}

#[cfg(test)]
mod tests;
