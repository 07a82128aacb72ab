//! YAML and JSON texts with positions: an error names the line and column, and shows what was meant.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// The largest document that is read, in bytes: 10,000 routes with their OpenAPI documents fit easily.
pub const TEXT_BYTES_MAX: usize = 32 << 20;

/// A mistake in a text, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// The line, from 1; 0 when no place is known.
    pub line: u64,
    /// The column in characters, from 1; 0 when no place is known.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Where each value of a text stands, found by its path (`routes[3].match.path`).
#[derive(Debug, Default)]
pub struct Positions {
    root: Option<Node>,
}

#[derive(Debug)]
struct Node {
    line: u64,
    column: u64,
    children: Children,
}

#[derive(Debug)]
enum Children {
    None,
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Reads a text into `T` and keeps the positions of its values.
///
/// # Errors
/// One [`SourceError`], with a place: syntax, an unknown key, a wrong value.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<(T, Positions), SourceError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(SourceError { line: 0, column: 0, message: format!("the document is larger than {} MiB", TEXT_BYTES_MAX >> 20), help: None });
    }
    let value: T = serde_saphyr::from_str_with_options(text, options()).map_err(|error| source_error(&error))?;
    let positions = serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options()).ok().map(node);
    Ok((value, Positions { root: positions }))
}

/// YAML 1.2 booleans alone: in YAML 1.1 a parameter named `n` or a country code `no` would be `false`.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

impl Positions {
    /// The place of the value at `path`, or of its nearest known parent.
    pub fn find(&self, path: &str) -> (u64, u64) {
        let Some(mut at) = self.root.as_ref() else { return (0, 0) };
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let child = match (&at.children, part.strip_suffix(']')) {
                (Children::List(items), Some(index)) => index.parse::<usize>().ok().and_then(|index| items.get(index)),
                (Children::Map(entries), None) => entries.iter().find(|(key, _)| key == part).map(|(_, child)| child),
                (Children::None | Children::List(_) | Children::Map(_), _) => None,
            };
            let Some(child) = child else { break };
            at = child;
        }
        (at.line, at.column)
    }
}

fn source_error(error: &serde_saphyr::Error) -> SourceError {
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let mut message = error.without_snippet().to_string();
    // The place is ours to print.
    if let Some(at) = message.rfind(" at line ") {
        message.truncate(at);
    }
    let help = suggestion(&message);
    SourceError { line, column, message, help }
}

/// For "unknown field `x`, expected one of a, b": the nearest known name.
fn suggestion(message: &str) -> Option<String> {
    if !(message.contains("unknown field") || message.contains("unknown variant")) {
        return None;
    }
    let wrong = message.split('`').nth(1)?;
    let known = message.split_once("expected ")?.1.trim_start_matches("one of ");
    let names = known.split([',', '`', ' ']).filter(|name| !name.is_empty() && *name != "or");
    nearest(wrong, names).map(|name| format!("did you mean `{name}`?"))
}

/// The candidate nearest to `wrong`, if it is near enough to be a slip.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| name)
}

/// Levenshtein distance, over bytes; names are short ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let substitute = diagonal + usize::from(x != y);
            diagonal = *slot;
            left = substitute.min(left + 1).min(*slot + 1);
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

enum Tree {
    None,
    List(Vec<Spanned<Tree>>),
    Map(Vec<(String, Spanned<Tree>)>),
}

fn node(tree: Spanned<Tree>) -> Node {
    let children = match tree.value {
        Tree::None => Children::None,
        Tree::List(items) => Children::List(items.into_iter().map(node).collect()),
        Tree::Map(entries) => Children::Map(entries.into_iter().map(|(key, child)| (key, node(child))).collect()),
    };
    Node { line: tree.referenced.line(), column: tree.referenced.column(), children }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

macro_rules! leaves {
    ($($visit:ident: $ty:ty,)*) => { $(fn $visit<E>(self, _: $ty) -> Result<Tree, E> { Ok(Tree::None) })* };
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    leaves! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str, visit_bytes: &[u8], }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::None)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests;
