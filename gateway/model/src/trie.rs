//! Finds the most specific path pattern, with the values of its parameters.
//!
//! Patterns: `/orders/{id}` (one segment), `/orders/**` (the rest, or nothing). At each segment a literal beats a
//! parameter and a parameter beats the rest; when the candidate does not fit (its method or headers differ), the search
//! goes back and tries the next less specific one. The work is bounded by the patterns that share a prefix with the path.
//!
//! Segments are compared decoded: `/users/%40me` is `/users/@me`, as it is for the service. Were it another path here, it
//! would fall to a less specific route with weaker demands. A normal path holds no encoded slash, so its segments stay.

use std::collections::HashMap;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not start with a slash.
    #[error("a path pattern starts with a slash")]
    NotAbsolute,
    /// `**` stands elsewhere than at the end.
    #[error("`**` may only be the last segment")]
    RestInMiddle,
    /// A segment mixes text and braces, or the braces are empty.
    #[error("segment `{0}` is neither a literal nor one `{{name}}`")]
    Segment(Box<str>),
    /// A literal segment that no normal path can have.
    #[error("segment `{0}` can never match: write it as the normalized path has it")]
    Unmatchable(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Parameter,
    Rest,
}

/// A parsed path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    segments: Vec<Segment>,
}

impl Pattern {
    /// Reads the text form.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let last = parts.len() - 1;
        let mut segments = Vec::with_capacity(parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            segments.push(match part {
                "**" if index == last => Segment::Rest,
                "**" => return Err(PatternError::RestInMiddle),
                _ if part.contains(['{', '}', '*']) => {
                    let name = part.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or_default();
                    if name.is_empty() || name.contains(['{', '}', '*']) {
                        return Err(PatternError::Segment(part.into()));
                    }
                    Segment::Parameter
                }
                _ => {
                    let normal = crate::path::normalize(&format!("/{part}")).is_ok_and(|normal| normal.get(1..) == Some(part));
                    if !normal || (part.is_empty() && index != last) {
                        return Err(PatternError::Unmatchable(part.into()));
                    }
                    Segment::Literal(crate::path::decode(part).into())
                }
            });
        }
        Ok(Self { text: text.into(), segments })
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Two patterns with the same shape match exactly the same paths.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::Parameter => shape.push_str("{}"),
                Segment::Rest => shape.push_str("**"),
            }
        }
        shape
    }
}

/// A tree of patterns; each holds values of `T` in the order in which they were inserted.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<str>, Node<T>>,
    parameter: Option<Box<Node<T>>>,
    here: Vec<T>,
    rest: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), parameter: None, here: Vec::new(), rest: Vec::new() }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Trie<T> {
    /// Adds a value under a pattern.
    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Parameter => node.parameter.get_or_insert_default(),
                Segment::Rest => {
                    node.rest.push(value);
                    return;
                }
            };
        }
        node.here.push(value);
    }

    /// Orders the values of each pattern, so that the first that fits is the right one.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K + Copy) {
        sort_node(&mut self.root, key);
    }

    /// The first value, most specific pattern first, that `fits` accepts.
    pub fn find<'t>(&'t self, path: &str, mut fits: impl FnMut(&'t T) -> bool) -> Option<&'t T> {
        search(&self.root, crate::path::decode(path.strip_prefix('/')?).as_ref(), &mut fits)
    }
}

fn sort_node<T, K: Ord>(node: &mut Node<T>, key: impl Fn(&T) -> K + Copy) {
    node.here.sort_by_key(key);
    node.rest.sort_by_key(key);
    for child in node.literals.values_mut() {
        sort_node(child, key);
    }
    if let Some(child) = &mut node.parameter {
        sort_node(child, key);
    }
}

fn search<'t, T>(node: &'t Node<T>, path: &str, fits: &mut impl FnMut(&'t T) -> bool) -> Option<&'t T> {
    let (segment, rest) = match path.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (path, None),
    };
    let mut deeper = |child: &'t Node<T>| match rest {
        Some(rest) => search(child, rest, &mut *fits),
        // `/orders/**` also matches `/orders`.
        None => child.here.iter().find(|value| fits(value)).or_else(|| child.rest.iter().find(|value| fits(value))),
    };
    if let Some(found) = node.literals.get(segment).and_then(&mut deeper) {
        return Some(found);
    }
    if !segment.is_empty()
        && let Some(found) = node.parameter.as_deref().and_then(&mut deeper)
    {
        return Some(found);
    }
    node.rest.iter().find(|value| fits(value))
}

#[cfg(test)]
mod tests;
