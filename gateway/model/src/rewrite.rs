//! Path rewriting: a prefix that is cut, one that is added, or a template over the parameters of the route's pattern.
//!
//! Segments are counted, not compared: a route's path matches decoded (`/%63afe` is `/cafe`), so a prefix that was compared
//! as text would stay in front of a path that is only spelled differently. What is kept travels in the spelling in which it
//! came, and whole segments alone are moved: no rewriting can make a dot segment or a separator.

use crate::{document::RewriteDoc, path};

/// A compiled rewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// The first segments go, a prefix comes.
    Prefix {
        /// How many segments go.
        segments: usize,
        /// What comes in front: empty, or a slash and a path without a slash at its end.
        add: Box<str>,
    },
    /// A new path from parts of the old one.
    Template(Box<[Piece]>),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text, with its slashes.
    Literal(Box<str>),
    /// A slash and the segment of this number.
    Segment(usize),
    /// Everything after this many segments.
    Rest(usize),
}

/// Why a rewrite does not compile. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// Nothing is rewritten.
    #[error("an empty rewrite changes nothing; write `strip_prefix`, `add_prefix` or `path`, or leave it out")]
    Empty,
    /// A template stands beside a prefix.
    #[error("`path` gives the whole path, so `strip_prefix` and `add_prefix` have no place beside it")]
    Both,
    /// A prefix is no prefix.
    #[error("`{0}` is not a path prefix: it starts with a slash and does not end with one")]
    NotPrefix(Box<str>),
    /// The route's pattern has another beginning.
    #[error("the route's path does not start with this prefix, segment by segment (a prefix is cut by whole segments)")]
    OtherPath,
    /// A segment of a template mixes text and braces, or is no normal path segment.
    #[error("segment `{0}` is neither a literal as a normal path has it nor one `{{name}}`; `**` may only be the last segment")]
    Segment(Box<str>),
    /// A template names a parameter that the pattern lacks.
    #[error("the route's path has no parameter `{0}`")]
    Unknown(Box<str>),
    /// A template names a parameter that the pattern has twice.
    #[error("the route's path has the parameter `{0}` twice; give them different names")]
    Ambiguous(Box<str>),
    /// A template wants the rest and there is none, or it would be lost.
    #[error("`**` stands at the end of both `path` and `match.path`, or of neither")]
    Rest,
}

impl Rewrite {
    /// Compiles a rewrite for a route's path pattern; the field at fault stands beside the error.
    ///
    /// # Errors
    /// [`RewriteError`].
    pub fn compile(doc: &RewriteDoc, pattern: &str) -> Result<Self, (&'static str, RewriteError)> {
        match &doc.path {
            Some(_) if !doc.strip_prefix.is_empty() || !doc.add_prefix.is_empty() => Err(("path", RewriteError::Both)),
            Some(template) => compile_template(template, pattern).map_err(|error| ("path", error)),
            None if doc.strip_prefix.is_empty() && doc.add_prefix.is_empty() => Err(("strip_prefix", RewriteError::Empty)),
            None => {
                check_prefix(&doc.strip_prefix).map_err(|error| ("strip_prefix", error))?;
                check_prefix(&doc.add_prefix).map_err(|error| ("add_prefix", error))?;
                let segments = leading(&doc.strip_prefix, pattern).ok_or(("strip_prefix", RewriteError::OtherPath))?;
                Ok(Self::Prefix { segments, add: doc.add_prefix.as_str().into() })
            }
        }
    }

    /// The path that the service gets for a path in normal form that the route's pattern matches.
    pub fn apply(&self, path: &str) -> String {
        let mut out = String::with_capacity(path.len() + 32);
        match self {
            Self::Prefix { segments, add } => {
                out.push_str(add);
                out.push_str(after(path, *segments));
            }
            Self::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.push_str(text),
                        Piece::Segment(index) => {
                            out.push('/');
                            out.push_str(path.split('/').nth(index + 1).unwrap_or_default());
                        }
                        Piece::Rest(skipped) => out.push_str(after(path, *skipped)),
                    }
                }
            }
        }
        if out.is_empty() {
            out.push('/');
        }
        out
    }
}

/// What follows the first segments: empty, or text that starts with a slash.
fn after(path: &str, segments: usize) -> &str {
    path.match_indices('/').nth(segments).and_then(|(at, _)| path.get(at..)).unwrap_or_default()
}

fn check_prefix(text: &str) -> Result<(), RewriteError> {
    let is_prefix = text.is_empty() || text.starts_with('/') && !text.ends_with('/') && path::normalize(text).is_ok();
    if is_prefix { Ok(()) } else { Err(RewriteError::NotPrefix(text.into())) }
}

/// How many segments a prefix has, if a pattern starts with them.
fn leading(prefix: &str, pattern: &str) -> Option<usize> {
    let mut segments = pattern.split('/').skip(1);
    let mut count = 0;
    for wanted in prefix.split('/').skip(1) {
        let same = segments.next().is_some_and(|found| found != "**" && path::decode(found) == path::decode(wanted));
        if !same {
            return None;
        }
        count += 1;
    }
    Some(count)
}

fn compile_template(template: &str, pattern: &str) -> Result<Rewrite, RewriteError> {
    let body = template.strip_prefix('/').ok_or_else(|| RewriteError::NotPrefix(template.into()))?;
    let known: Vec<&str> = pattern.split('/').skip(1).collect();
    let rest_at = known.iter().position(|segment| *segment == "**");
    let mut pieces = Vec::new();
    let mut parts = body.split('/').peekable();
    let mut has_rest = false;
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match parameter(part) {
            Some(name) => {
                let mut found = known.iter().enumerate().filter(|(_, segment)| parameter(segment) == Some(name)).map(|(index, _)| index);
                let index = found.next().ok_or_else(|| RewriteError::Unknown(name.into()))?;
                if found.next().is_some() {
                    return Err(RewriteError::Ambiguous(name.into()));
                }
                pieces.push(Piece::Segment(index));
            }
            None if part == "**" && is_last => {
                pieces.push(Piece::Rest(rest_at.ok_or(RewriteError::Rest)?));
                has_rest = true;
            }
            None => {
                let text = format!("/{part}");
                let is_plain = !part.contains(['{', '}', '*', '?', '#']) && (is_last || !part.is_empty()) && path::normalize(&text).is_ok();
                if !is_plain {
                    return Err(RewriteError::Segment(part.into()));
                }
                pieces.push(Piece::Literal(text.into()));
            }
        }
    }
    if has_rest == rest_at.is_some() { Ok(Rewrite::Template(pieces.into())) } else { Err(RewriteError::Rest) }
}

fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.is_empty() && !name.contains(['{', '}', '*'])).then_some(name)
}

#[cfg(test)]
mod tests;
