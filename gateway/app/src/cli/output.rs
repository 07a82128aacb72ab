//! Where the command line writes: results to standard output, everything about them to standard error.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::client::Problem;

/// How results are written.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// Write JSON to standard output, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Writes a text to standard output.
///
/// # Errors
/// When standard output takes no more. A reader that went away (`| head`) is no error.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    written(write_to(&mut io::stdout().lock(), text))
}

/// Writes a remark to standard error.
///
/// # Errors
/// When standard error takes no more.
pub(crate) fn remark(text: &str) -> anyhow::Result<()> {
    written(write_to(&mut io::stderr().lock(), text))
}

/// Writes a value as JSON to standard output.
///
/// # Errors
/// As for [`out`].
pub(crate) fn json_out(value: &Value) -> anyhow::Result<()> {
    out(&format!("{value:#}"))
}

fn write_to(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stream.write_all(b"\n")?;
    }
    stream.flush()
}

fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// True when standard error is a terminal, so that color helps.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Ends a verb: an error becomes a text on standard error, or JSON on standard output, and exit code 1.
///
/// # Errors
/// When the error cannot be written.
pub(crate) fn finish(result: anyhow::Result<ExitCode>, format: Format) -> anyhow::Result<ExitCode> {
    let error = match result {
        Ok(code) => return Ok(code),
        Err(error) => error,
    };
    match (error.downcast_ref::<Problem>(), format.json) {
        (Some(problem), true) => json_out(problem.document())?,
        (None, true) => json_out(&json!({ "code": "client", "detail": format!("{error:#}") }))?,
        (_, false) => remark(&format!("error: {error:#}"))?,
    }
    Ok(ExitCode::FAILURE)
}

/// A plain table with a header.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)).collect::<Vec<_>>());
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// `name: value` lines, aligned.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    let lines = pairs.iter().map(|(name, value)| format!("{:<width$} {}", format!("{name}:"), clean(value)));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Text from elsewhere, made safe for a terminal: a control character in a path must not move the cursor.
pub(crate) fn clean(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A member of a JSON object as text; `-` when it is not there.
pub(crate) fn text_of(value: &Value, member: &str) -> String {
    match value.get(member) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            if items.is_empty() {
                "none".to_owned()
            } else {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
        }
        Some(other) => other.to_string(),
    }
}
