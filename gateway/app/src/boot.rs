//! What a process reads before it starts: files and the environment. Nothing else reads the environment.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};
use model::{
    key::Peppers,
    leak::{Reporter, ReporterKey},
    secret::{SecretKey, SecretText},
    source::{self, Positions},
};

use crate::{
    certificates::Source,
    cli::diagnostics::Diagnostic,
    config::{NodeConfig, PepperConfig, ReporterConfig, SECRET_IN_CLEAR, SecretRef},
    introspection, key_sets, notifications, principal,
};

/// Reads a node file.
///
/// # Errors
/// With file, line, column and remedy.
pub fn node_config(path: &Path) -> Result<NodeConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the node file {}", path.display()))?;
    let (mut config, _) = parse_node(path, &text).map_err(|found| {
        let renderer = annotate_snippets::Renderer::plain();
        anyhow::anyhow!("the node file has mistakes\n{}", found.iter().map(|mistake| mistake.render(&renderer)).collect::<Vec<_>>().join("\n"))
    })?;
    config.resolve_paths(&folder(path)?);
    Ok(config)
}

/// Every mistake in a node file's text, and in the certificates that it names.
pub(crate) fn check_node(file: &Path, text: &str) -> Vec<Diagnostic> {
    let (mut config, positions) = match parse_node(file, text) {
        Ok(read) => read,
        Err(found) => return found,
    };
    let Ok(base) = folder(file) else { return Vec::new() };
    config.resolve_paths(&base);
    let listeners = [Source::data(&config.data), Source::control(&config.control)];
    if let Err(error) = reporters(&config.leak_reporters) {
        return vec![Diagnostic::at(file, text, positions.find("leak_reporters"), format!("{error:#}")).with_path("leak_reporters")];
    }
    let mistakes = listeners.into_iter().chain(Source::identities(&config.identities)).flat_map(|source| source.mistakes());
    mistakes
        .chain(principal::mistakes(config.principal.as_ref()))
        .chain(key_sets::mistakes(&config))
        .chain(introspection::mistakes(&config.introspection_clients))
        .chain(notifications::mistakes(config.notifications.as_deref()))
        .map(|(path, message)| Diagnostic::at(file, text, positions.find(&path), message).with_path(&path))
        .collect()
}

/// The folder of a node file, where its relative paths start.
fn folder(path: &Path) -> Result<std::path::PathBuf> {
    let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(base).context("cannot find the node file's folder")
}

fn parse_node(file: &Path, text: &str) -> Result<(NodeConfig, Positions), Vec<Diagnostic>> {
    let (config, positions) = source::read::<NodeConfig>(text).map_err(|error| {
        let place = (error.line, error.column);
        let hidden = error.message.contains(SECRET_IN_CLEAR).then(|| without_rest_of_line(text, place));
        vec![Diagnostic::at(file, hidden.as_deref().unwrap_or(text), place, error.message).with_help(error.help)]
    })?;
    let found: Vec<Diagnostic> =
        config.mistakes().into_iter().map(|(path, message)| Diagnostic::at(file, text, positions.find(&path), message).with_path(&path)).collect();
    if found.is_empty() { Ok((config, positions)) } else { Err(found) }
}

/// The text without what stands at a place and after it on its line: a secret must not be shown, and a caret needs a place.
fn without_rest_of_line(text: &str, (line, column): (u64, u64)) -> String {
    let kept = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let lines = (1..).zip(text.lines()).map(
        |(number, known)| {
            if number == line { known.chars().take(kept).chain(['…']).collect() } else { known.to_owned() }
        },
    );
    lines.collect::<Vec<_>>().join("\n")
}

/// Reads a secret by its reference.
///
/// # Errors
/// Names the secret and where it was looked for; never shows what was found there.
pub fn secret(what: &str, reference: &SecretRef) -> Result<SecretText> {
    let text = match reference {
        SecretRef::File(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read the {what} from {}", path.display()))?,
        SecretRef::Env(name) => {
            environment(name).with_context(|| format!("the {what} should stand in the environment variable {name}, which is not set"))?
        }
    };
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() {
        bail!("the {what} is empty");
    }
    Ok(SecretText::new(text))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads a 32-byte key in hexadecimal.
///
/// # Errors
/// As [`secret`], and when it is not 64 hexadecimal digits.
pub fn secret_key(what: &str, reference: &SecretRef) -> Result<SecretKey> {
    let text = secret(what, reference)?;
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.expose_secret().as_bytes()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(SecretKey::new).with_context(|| format!("the {what} must be 32 bytes, written as 64 hexadecimal digits"))
}

/// Loads the public keys of those who may report leaked keys.
///
/// # Errors
/// With the file, and what is wrong with it.
pub fn reporters(config: &BTreeMap<String, ReporterConfig>) -> Result<Vec<Reporter>> {
    let read = |name: &String, reporter: &ReporterConfig| {
        let keys = reporter.keys.iter().map(|key| {
            let file = key.public_key.display();
            let pem = std::fs::read_to_string(&key.public_key).with_context(|| format!("cannot read the key of leak reporter {name} from {file}"))?;
            ReporterKey::from_pem(&key.id, &pem).map_err(|refused| anyhow::anyhow!("{file} is no key of a leak reporter: {}", refused.fault))
        });
        Ok(Reporter::new(name, keys.collect::<Result<_>>()?))
    };
    config.iter().map(|(name, reporter)| read(name, reporter)).collect()
}

/// Loads the peppers.
///
/// # Errors
/// As [`secret_key`].
pub fn peppers(config: &[PepperConfig]) -> Result<Peppers> {
    let mut versions = Vec::new();
    for pepper in config {
        versions.push((pepper.version, secret_key(&format!("pepper {}", pepper.version), &pepper.key)?));
    }
    Peppers::new(versions).context("no pepper is configured")
}
