//! JSON pointers (RFC 6901), the way both the document's errors and the client's errors name a place.

use std::borrow::Cow;

/// Characters of client text that an answer repeats: enough to recognize, too few to carry a payload.
pub(super) const ECHO_CHARS_MAX: usize = 64;

/// Returns `text`, or its first `chars_max` characters and an ellipsis.
pub(super) fn cut(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// Appends one segment, escaped.
pub(super) fn push(pointer: &mut String, segment: &str) {
    pointer.push('/');
    for character in segment.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// Appends one segment of the client's own text, escaped and cut.
pub(super) fn push_cut(pointer: &mut String, segment: &str) {
    push(pointer, &cut(segment, ECHO_CHARS_MAX));
}

/// Returns the pointer of `segment` under `pointer`.
pub(super) fn child(pointer: &str, segment: &str) -> String {
    let mut place = String::with_capacity(pointer.len() + segment.len() + 1);
    place.push_str(pointer);
    push(&mut place, segment);
    place
}

/// Whether `pointer` is `ancestor` or lies under it.
pub(super) fn is_within(pointer: &str, ancestor: &str) -> bool {
    pointer.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A place in the document while walking it: a list on the stack, written out only when someone asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'p> {
    /// Where the walk began, as a finished pointer.
    Start(&'p str),
    /// A member of the place before.
    Key(&'p Path<'p>, &'p str),
    /// An element of the place before.
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(super) fn key(&'p self, name: &'p str) -> Self {
        Self::Key(self, name)
    }

    pub(super) fn index(&'p self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// Writes the whole pointer.
    pub(super) fn pointer(&self) -> String {
        match *self {
            Self::Start(pointer) => pointer.to_owned(),
            Self::Key(parent, name) => child(&parent.pointer(), name),
            Self::Index(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

/// Decodes percent escapes once. `None` for a broken escape or for bytes that are not UTF-8.
///
/// # Source
///
/// RFC 3986 §2.1; `plus_is_space` for queries, WHATWG URL `application/x-www-form-urlencoded`.
pub(super) fn percent_decode(text: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let is_plain = !text.bytes().any(|byte| byte == b'%' || (byte == b'+' && plus == Plus::Space));
    if is_plain {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            b'+' if plus == Plus::Space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// What a plus sign stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself, as in a path.
    Itself,
    /// A space, as in a query.
    Space,
}

/// The value of one hexadecimal digit.
pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
