//! Mistakes in files, shown where they stand: file, line, column, the line itself, a caret, and what to do.

use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use model::source::SourceError;
use serde_json::{Value, json};

use super::output::{self, Format};

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, from 1; 0 when no place is known.
    pub(crate) line: u64,
    /// The column in characters, from 1; 0 when no place is known.
    pub(crate) column: u64,
    /// Where in the document: `routes[3].match.path`; empty when not known.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// The text of the line.
    source_line: String,
}

impl Diagnostic {
    /// A mistake at a place of a text.
    pub(crate) fn at(file: &Path, text: &str, (line, column): (u64, u64), message: impl Into<String>) -> Self {
        let index = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        let source_line = index.and_then(|index| text.lines().nth(index)).unwrap_or_default().to_owned();
        Self { file: file.to_owned(), line, column, path: String::new(), message: message.into(), help: None, source_line }
    }

    /// A mistake that was found while a text was read.
    pub(crate) fn of(file: &Path, text: &str, mistake: &SourceError) -> Self {
        Self::at(file, text, (mistake.line, mistake.column), mistake.message.clone()).with_help(mistake.help.clone())
    }

    /// A mistake about a file as a whole.
    pub(crate) fn about(file: &Path, message: impl Into<String>) -> Self {
        Self::at(file, "", (0, 0), message)
    }

    /// Adds where in the document it is.
    pub(crate) fn with_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds what to do.
    pub(crate) fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// The mistake for a program.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "file": self.file.display().to_string(),
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "help": self.help,
        })
    }

    /// The mistake for a person. Without a place there is no caret, only the file.
    pub(crate) fn render(&self, renderer: &Renderer) -> String {
        let file = self.file.display().to_string();
        let title = if self.line == 0 { format!("{file}: {}", self.message) } else { self.message.clone() };
        // Long lines (a whole document on one) are cut around the place: a screen is what a person reads.
        let (shown, span) = window(&self.source_line, self.column);
        let mut group = Group::with_title(Level::ERROR.primary_title(title));
        if self.line != 0 {
            let label = if self.path.is_empty() { None } else { Some(self.path.clone()) };
            let first = usize::try_from(self.line).unwrap_or(1);
            let annotation = AnnotationKind::Primary.span(span).label(label);
            let place = format!("{file}:{}:{}", self.line, self.column);
            group = if shown.len() == self.source_line.len() {
                group.element(Snippet::source(shown).path(file).line_start(first).annotation(annotation))
            } else {
                let cut = Snippet::source(shown).line_start(first).annotation(annotation);
                group.element(annotate_snippets::Origin::path(place)).element(cut)
            };
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.clone()));
        }
        renderer.render(&[group])
    }
}

/// The longest line that is shown whole, in bytes.
const LINE_BYTES_MAX: usize = 400;

/// What is shown of a line, and the bytes in it that the caret underlines.
fn window(line: &str, column: u64) -> (String, std::ops::Range<usize>) {
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    let start = line.char_indices().nth(before).map_or(line.len(), |(at, _)| at);
    let rest = line.get(start..).unwrap_or_default();
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']' | ':' | '#');
    let end = start + rest.find(is_end).filter(|len| *len > 0).unwrap_or(rest.len());
    if line.len() <= LINE_BYTES_MAX {
        return (line.to_owned(), start..end.max(start));
    }
    let from = line.floor_char_boundary(start.saturating_sub(60));
    let to = line.floor_char_boundary((start + 80).min(line.len()));
    let end = end.min(to).max(start);
    (line.get(from..to).unwrap_or_default().to_owned(), start - from..end - from)
}

/// Tells mistakes: texts with carets on standard error, or JSON on standard output.
///
/// # Errors
/// When nothing can be written.
pub(crate) fn tell(found: &[Diagnostic], format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json_out(&json!({ "valid": false, "errors": found.iter().map(Diagnostic::to_json).collect::<Vec<_>>() }));
    }
    let renderer = if output::stderr_is_terminal() { Renderer::styled() } else { Renderer::plain() };
    let mut texts: Vec<String> = found.iter().map(|mistake| mistake.render(&renderer)).collect();
    texts.push(if found.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", found.len()) });
    output::remark(&texts.join("\n\n"))
}

#[cfg(test)]
mod tests;
