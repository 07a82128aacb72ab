//! Paths are made normal once, before matching, and the service gets what was matched.
//!
//! Fail closed: what two programs could read differently is refused, not repaired. Only percent-encoded unreserved
//! characters are decoded and hexadecimal digits made upper case (RFC 3986 section 6.2.2), because that changes no
//! meaning.

use std::borrow::Cow;

/// Why a path is refused. The text is public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path does not start with a slash.
    #[error("the path must start with a slash")]
    NotAbsolute,
    /// `.` or `..`, plain or encoded.
    #[error("dot segments (`.` or `..`, also percent-encoded) are not accepted; send the resolved path")]
    DotSegment,
    /// `//`.
    #[error("empty segments (`//`) are not accepted")]
    EmptySegment,
    /// An encoded slash or backslash, or a plain backslash.
    #[error("a backslash, an encoded slash or an encoded backslash is not accepted in a path")]
    HiddenSeparator,
    /// A control character, plain or encoded; NUL among them.
    #[error("control characters are not accepted in a path")]
    Control,
    /// A percent sign without two hexadecimal digits.
    #[error("a percent sign must be followed by two hexadecimal digits")]
    BadEscape,
    /// The decoded path is not UTF-8: overlong forms among them.
    #[error("the decoded path is not valid UTF-8")]
    NotUtf8,
}

/// Makes a path normal, or refuses it. The usual path is borrowed, untouched.
///
/// # Errors
/// See [`PathError`].
pub fn normalize(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let normal = if path.bytes().any(|byte| byte == b'%') { Cow::Owned(decode_unreserved(path)?) } else { Cow::Borrowed(path) };
    let bytes = normal.as_bytes();
    if bytes.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
        return Err(PathError::Control);
    }
    if bytes.contains(&b'\\') {
        return Err(PathError::HiddenSeparator);
    }
    if let Some(error) = segment_error(&normal) {
        return Err(error);
    }
    Ok(normal)
}

/// One look at each byte settles the usual path: no escapes, no dots, nothing empty.
fn is_plain(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|byte| {
        let is_double = byte == b'/' && before == b'/';
        before = byte;
        !is_double && (byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'~'))
    })
}

/// Decodes every percent escape once; what is no escape stays, and what is no UTF-8 is replaced.
///
/// Two spellings of one path compare equal in this form, whatever a service makes of escapes that are not needed.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (plain, escape) = rest.split_at(at);
        decoded.extend_from_slice(plain.as_bytes());
        let digits = escape.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(b'%'));
        rest = escape.get(if byte.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    decoded.extend_from_slice(rest.as_bytes());
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn segment_error(path: &str) -> Option<PathError> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Some(PathError::EmptySegment);
        }
        // `..;x` is a dot segment for servers that cut path parameters.
        let name = segment.split(';').next().unwrap_or_default();
        if matches!(name, "." | "..") {
            return Some(PathError::DotSegment);
        }
    }
    None
}

fn decode_unreserved(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        decoded.extend_from_slice(plain.as_bytes());
        let digits = escape.get(1..3).ok_or(PathError::BadEscape)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(PathError::BadEscape);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| PathError::BadEscape)?;
        match byte {
            b'/' | b'\\' => return Err(PathError::HiddenSeparator),
            0..0x20 | 0x7f => return Err(PathError::Control),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        decoded.push(byte);
        rest = escape.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    decoded.extend_from_slice(rest.as_bytes());
    std::str::from_utf8(&decoded).map_err(|_| PathError::NotUtf8)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
