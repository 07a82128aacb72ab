//! `causeway check`: are these files right? Nothing is sent anywhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use model::{
    compile::{self, ConfigError},
    document::Document,
    openapi::Api,
    source::{self, Positions, TEXT_BYTES_MAX},
};
use serde_json::{Value, json};

use super::{
    diagnostics::{self, Diagnostic},
    output::{self, Format},
};
use crate::boot;

/// Check node files and gateway files, without a network.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway check gateway.yaml
  causeway check node.yaml gateway.yaml --json

Every mistake is shown with its file, line, column and a suggestion. A gateway file is compiled
by the code that the nodes run, together with the OpenAPI files that it names (relative to it).
For a node file the certificates that it names are read: whether chain, key, names and dates fit;
and the keys that sign who calls.

Exit codes: 0 no mistake, 1 mistakes, 2 wrong usage.")]
pub(crate) struct CheckArgs {
    /// Node files or gateway files, YAML or JSON.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// A gateway document that compiles, and where its parts stand.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The document, with every OpenAPI document inside.
    pub(crate) document: Document,
    file: PathBuf,
    text: String,
    positions: Positions,
}

impl Loaded {
    /// Mistakes that the control plane found, shown in the file.
    pub(crate) fn place(&self, errors: &[Value]) -> Vec<Diagnostic> {
        let member = |error: &Value, name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
        errors
            .iter()
            .map(|error| {
                let path = member(error, "path").unwrap_or_default();
                let message = member(error, "message").unwrap_or_default();
                Diagnostic::at(&self.file, &self.text, self.positions.find(&path), message).with_path(&path).with_help(member(error, "help"))
            })
            .collect()
    }
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let found: Vec<Diagnostic> = args.files.iter().flat_map(|file| check(file)).collect();
    if !found.is_empty() {
        diagnostics::tell(&found, args.format)?;
        return Ok(ExitCode::FAILURE);
    }
    if args.format.json {
        output::json_out(&json!({ "valid": true, "errors": [] }))?;
    } else {
        let lines: Vec<_> = args.files.iter().map(|file| format!("{}: no mistake", file.display())).collect();
        output::out(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &Path) -> Vec<Diagnostic> {
    let text = match read(file) {
        Ok(text) => text,
        Err(unreadable) => return vec![*unreadable],
    };
    if is_node_file(&text) {
        return node(file, &text);
    }
    load(file, text).err().unwrap_or_default()
}

/// A node file says where a node stands (`region`, `node`); a gateway file has sections, and neither of these.
fn is_node_file(text: &str) -> bool {
    source::read::<BTreeMap<String, Value>>(text).is_ok_and(|(members, _)| {
        ["region", "node", "data", "control", "database", "spool", "secrets"].iter().any(|name| members.contains_key(*name))
    })
}

fn node(file: &Path, text: &str) -> Vec<Diagnostic> {
    boot::check_node(file, text)
}

/// Reads and compiles a gateway file, with the OpenAPI files that it names.
///
/// # Errors
/// Every mistake found.
pub(crate) fn gateway(file: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let text = read(file).map_err(|unreadable| vec![*unreadable])?;
    load(file, text)
}

fn load(file: &Path, text: String) -> Result<Loaded, Vec<Diagnostic>> {
    let (mut document, positions) = source::read::<Document>(&text).map_err(|error| vec![Diagnostic::of(file, &text, &error)])?;
    let mut found = Vec::new();
    let mut told = Vec::new();
    for (index, api) in document.apis.iter_mut().enumerate() {
        let Value::String(name) = &api.openapi else { continue };
        let path = format!("apis[{index}].openapi");
        let beside = file.parent().unwrap_or(Path::new("")).join(name);
        match openapi(&beside, &api.name) {
            Ok(described) => api.openapi = described,
            Err(OpenapiError::Unreadable(message)) => {
                found.push(Diagnostic::at(file, &text, positions.find(&path), message).with_path(&path));
                told.push(path);
            }
            Err(OpenapiError::Mistakes(mistakes)) => {
                found.extend(mistakes);
                told.push(path);
            }
        }
    }
    let compiled = compile::compile(&document).err().unwrap_or_default();
    // What stands in a file of its own has been told there.
    let others = compiled.into_iter().filter(|error| !told.contains(&error.path));
    found.extend(others.map(|error| place(file, &text, &positions, error)));
    if found.is_empty() { Ok(Loaded { document, file: file.to_owned(), text, positions }) } else { Err(found) }
}

fn place(file: &Path, text: &str, positions: &Positions, error: ConfigError) -> Diagnostic {
    Diagnostic::at(file, text, positions.find(&error.path), error.message).with_path(&error.path).with_help(error.help)
}

enum OpenapiError {
    /// The file cannot be read: a mistake of the gateway file.
    Unreadable(String),
    /// Mistakes in the file itself.
    Mistakes(Vec<Diagnostic>),
}

/// Reads an OpenAPI file and compiles it, so that its mistakes are shown in it.
fn openapi(file: &Path, name: &str) -> Result<Value, OpenapiError> {
    let text = read(file).map_err(|unreadable| OpenapiError::Unreadable(format!("{}: {}", file.display(), unreadable.message)))?;
    let (value, positions) = source::read::<Value>(&text).map_err(|error| OpenapiError::Mistakes(vec![Diagnostic::of(file, &text, &error)]))?;
    match Api::compile(name, &value) {
        Ok(_) => Ok(value),
        Err(errors) => {
            let show = |error: model::openapi::ApiError| {
                Diagnostic::at(file, &text, positions.find(&dotted(&error.pointer)), error.message).with_path(&error.pointer).with_help(error.help)
            };
            Err(OpenapiError::Mistakes(errors.into_iter().map(show).collect()))
        }
    }
}

/// A JSON pointer (RFC 6901) in the form that positions are asked for: `/paths/~1items/get` is `paths./items.get`.
fn dotted(pointer: &str) -> String {
    let part = |part: &str| {
        let name = part.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) { format!("[{name}]") } else { format!(".{name}") }
    };
    pointer.split('/').skip(1).map(part).collect::<String>().trim_start_matches('.').to_owned()
}

fn read(file: &Path) -> Result<String, Box<Diagnostic>> {
    let about = |message: String| Box::new(Diagnostic::about(file, message));
    let size = fs::metadata(file).map(|meta| meta.len()).map_err(|error| about(format!("cannot be read: {error}")))?;
    if usize::try_from(size).is_ok_and(|size| size > TEXT_BYTES_MAX) {
        return Err(about(format!("is larger than {} MiB", TEXT_BYTES_MAX >> 20)));
    }
    let bytes = fs::read(file).map_err(|error| about(format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|_| about("is not a text in UTF-8".to_owned()))
}

#[cfg(test)]
mod tests;
