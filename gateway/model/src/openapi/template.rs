//! Path templates and the tree that finds one for a request path.
//!
//! A literal segment beats a parameter, segment by segment from the left (`OpenAPI` "Path Templating Matching"). The tree
//! looks further right before it gives up a literal, and the number of nodes bounds the work.

use super::pointer::hex_digit;

/// Templates with more parameters than this are refused, so that values need no allocation.
pub(super) const VALUES_MAX: usize = 8;

/// The values of a template's parameters in a request path, still percent-encoded, in the order of the template.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathValues<'a> {
    values: [&'a str; VALUES_MAX],
    n: usize,
}

impl<'a> PathValues<'a> {
    /// Returns the values in the order in which the template names them.
    pub fn as_slice(&self) -> &[&'a str] {
        self.values.get(..self.n).unwrap_or_default()
    }

    fn push(&mut self, value: &'a str) {
        if let Some(slot) = self.values.get_mut(self.n) {
            *slot = value;
            self.n += 1;
        }
    }
}

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Text in the form the gateway's normalization gives request paths.
    Literal(String),
    /// A parameter's name.
    Parameter(String),
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("the path must start with `/`")]
    Relative,
    #[error("the path must not contain a query or a fragment")]
    Query,
    #[error("a template expression must be a whole path segment")]
    Partial,
    #[error("the path contains an empty or dot segment")]
    DotSegment,
    #[error("the path has a broken percent escape")]
    Escape,
    #[error("the path names a parameter twice")]
    Repeated,
    #[error("the path has more than {VALUES_MAX} parameters")]
    TooMany,
}

impl TemplateError {
    /// What the author can do about it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Relative => "begin the path with `/`",
            Self::Query => "declare query parameters under `parameters`",
            Self::Partial => "write `/reports/{name}`, not `/reports/{name}.pdf`",
            Self::DotSegment => "request paths are normalized before they are matched: leave the segment out",
            Self::Escape => "write two hexadecimal digits after `%`",
            Self::Repeated => "give each parameter a name of its own",
            Self::TooMany => "move some of them to the query",
        }
    }
}

/// Splits a template into its segments.
pub(super) fn parse(template: &str) -> Result<Vec<Segment>, TemplateError> {
    let rest = template.strip_prefix('/').ok_or(TemplateError::Relative)?;
    let mut segments: Vec<Segment> = Vec::new();
    let n_segments = rest.split('/').count();
    for (at, text) in rest.split('/').enumerate() {
        let segment = match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Segment::Parameter(name.to_owned()),
            Some(_) => return Err(TemplateError::Partial),
            None if text.contains(['{', '}']) => return Err(TemplateError::Partial),
            None if text.contains(['?', '#']) => return Err(TemplateError::Query),
            None if text == "." || text == ".." => return Err(TemplateError::DotSegment),
            None if text.is_empty() && at + 1 < n_segments => return Err(TemplateError::DotSegment),
            None => Segment::Literal(canonical(text).ok_or(TemplateError::Escape)?),
        };
        if matches!(segment, Segment::Parameter(_)) && segments.contains(&segment) {
            return Err(TemplateError::Repeated);
        }
        segments.push(segment);
    }
    let n_parameters = segments.iter().filter(|segment| matches!(segment, Segment::Parameter(_))).count();
    if n_parameters > VALUES_MAX {
        return Err(TemplateError::TooMany);
    }
    Ok(segments)
}

/// Returns the one spelling of a path segment: upper-case escapes, no escape where none is needed (RFC 3986 §6.2.2).
pub(super) fn canonical(segment: &str) -> Option<String> {
    let mut text = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, was_escaped) = match byte {
            b'%' => (hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?, true),
            other => (other, false),
        };
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_unreserved || (!was_escaped && b"!$&'()*+,;=:@".contains(&byte)) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(upper_hex(byte >> 4));
            text.push(upper_hex(byte & 0x0f));
        }
    }
    Some(text)
}

fn upper_hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase()
}

/// All templates of an API.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted by text.
    literals: Vec<(Box<str>, usize)>,
    parameter: Option<usize>,
    leaf: Option<usize>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a template that leads to `leaf`.
    ///
    /// # Errors
    ///
    /// The leaf of the template that matches the very same paths.
    pub(super) fn insert(&mut self, segments: &[Segment], leaf: usize) -> Result<(), usize> {
        let mut at = 0;
        for segment in segments {
            at = self.step(at, segment);
        }
        match self.nodes.get_mut(at) {
            Some(Node { leaf: Some(other), .. }) => Err(*other),
            Some(node) => {
                node.leaf = Some(leaf);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Returns the node `segment` leads to, made when it is new.
    fn step(&mut self, at: usize, segment: &Segment) -> usize {
        let fresh = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let next = match segment {
            Segment::Parameter(_) => *node.parameter.get_or_insert(fresh),
            Segment::Literal(text) => match node.literals.binary_search_by(|(known, _)| (**known).cmp(text.as_str())) {
                Ok(found) => node.literals.get(found).map_or(fresh, |(_, next)| *next),
                Err(place) => {
                    node.literals.insert(place, (text.as_str().into(), fresh));
                    fresh
                }
            },
        };
        if next == fresh {
            self.nodes.push(Node::default());
        }
        next
    }

    /// Finds the template for `path`, which starts with `/`.
    pub(super) fn find<'a>(&self, path: &'a str) -> Option<(usize, PathValues<'a>)> {
        let mut values = PathValues::default();
        let leaf = self.walk(0, Some(path.strip_prefix('/')?), &mut values)?;
        Some((leaf, values))
    }

    fn walk<'a>(&self, at: usize, rest: Option<&'a str>, values: &mut PathValues<'a>) -> Option<usize> {
        let node = self.nodes.get(at)?;
        let Some(rest) = rest else { return node.leaf };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Ok(found) = node.literals.binary_search_by(|(known, _)| (**known).cmp(segment)) {
            let next = node.literals.get(found).map(|(_, next)| *next)?;
            if let Some(leaf) = self.walk(next, rest, values) {
                return Some(leaf);
            }
        }
        let next = node.parameter.filter(|_| !segment.is_empty())?;
        let n = values.n;
        values.push(segment);
        let found = self.walk(next, rest, values);
        if found.is_none() {
            values.n = n;
        }
        found
    }
}
