//! From a field section to a request's head: what is malformed is refused, not read in one of two ways (RFC 9114 section 4).
//!
//! The rules for all versions of HTTP follow in [`crate::head`]; here are those that HTTP/1.1's and HTTP/2's codecs keep by
//! themselves.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, request::Parts};

use super::qpack::{Line, Lines, Unreadable};

/// Why a section is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing that follows on the connection can be trusted.
    Unreadable,
    /// It is larger than what was announced.
    TooLarge,
    /// It breaks a rule.
    Malformed(&'static str),
}

impl From<Unreadable> for Refusal {
    fn from(_: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// Counted for each field beside its name and value (RFC 9114 section 4.2.2).
const FIELD_OVERHEAD: usize = 32;

/// Reads the head of a request.
///
/// # Errors
/// See [`Refusal`].
pub(super) fn request(section: &[u8], bytes_max: usize) -> Result<Parts, Refusal> {
    let mut pseudo = Pseudo::default();
    let headers = fields(section, bytes_max, |line| pseudo.take(line))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri) = pseudo.target(&headers)?;
    parts.version = Version::HTTP_3;
    parts.headers = headers;
    Ok(parts)
}

/// Reads trailers.
///
/// # Errors
/// See [`Refusal`].
pub(super) fn trailers(section: &[u8], bytes_max: usize) -> Result<HeaderMap, Refusal> {
    fields(section, bytes_max, |_| Err(Refusal::Malformed("trailers have a pseudo-header field")))
}

fn fields<'s>(section: &'s [u8], bytes_max: usize, mut pseudo: impl FnMut(Line<'s>) -> Result<(), Refusal>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for line in Lines::of(section)? {
        let line = line?;
        bytes += line.name.len() + line.value.len() + FIELD_OVERHEAD;
        if bytes > bytes_max {
            return Err(Refusal::TooLarge);
        }
        if line.name.starts_with(b":") {
            if !headers.is_empty() {
                return Err(Refusal::Malformed("a pseudo-header field stands behind another field"));
            }
            pseudo(line)?;
            continue;
        }
        let (name, value) = field(&line)?;
        headers.try_append(name, value).map_err(|_| Refusal::TooLarge)?;
    }
    Ok(headers)
}

fn field(line: &Line<'_>) -> Result<(HeaderName, HeaderValue), Refusal> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    // A service over HTTP/1.1 would read another value than the gateway.
    if is_blank(line.value.first()) || is_blank(line.value.last()) {
        return Err(Refusal::Malformed("a field's value begins or ends with a blank"));
    }
    let name = HeaderName::from_lowercase(&line.name).map_err(|_| Refusal::Malformed("a field's name is not valid, or not in lower case"))?;
    let value = HeaderValue::from_bytes(&line.value).map_err(|_| Refusal::Malformed("a field's value has bytes that do not belong there"))?;
    let is_forbidden = match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => true,
        "te" => !value.as_bytes().eq_ignore_ascii_case(b"trailers"),
        _ => false,
    };
    if is_forbidden {
        return Err(Refusal::Malformed("a field of one connection has no place in HTTP/3"));
    }
    Ok((name, value))
}

/// The pseudo-header fields of a request (RFC 9114 section 4.3.1).
#[derive(Debug, Default)]
struct Pseudo<'s> {
    method: Option<std::borrow::Cow<'s, [u8]>>,
    scheme: Option<std::borrow::Cow<'s, [u8]>>,
    authority: Option<std::borrow::Cow<'s, [u8]>>,
    path: Option<std::borrow::Cow<'s, [u8]>>,
}

impl<'s> Pseudo<'s> {
    fn take(&mut self, line: Line<'s>) -> Result<(), Refusal> {
        let place = match &*line.name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            // `:protocol` among them: extended CONNECT was not offered (RFC 9220 section 3).
            _ => return Err(Refusal::Malformed("a pseudo-header field is not one of a request")),
        };
        if place.replace(line.value).is_some() {
            return Err(Refusal::Malformed("a pseudo-header field is repeated"));
        }
        Ok(())
    }

    fn target(&self, headers: &HeaderMap) -> Result<(Method, Uri), Refusal> {
        let bad = |_| Refusal::Malformed("the request's target is not valid");
        let method = self.method.as_deref().ok_or(Refusal::Malformed("the request has no method"))?;
        let method = Method::from_bytes(method).map_err(|_| Refusal::Malformed("the method is not valid"))?;
        if self.authority.as_ref().is_some_and(|authority| authority.is_empty()) {
            return Err(Refusal::Malformed("the authority is empty"));
        }
        if method == Method::CONNECT {
            let (Some(authority), None, None) = (&self.authority, &self.scheme, &self.path) else {
                return Err(Refusal::Malformed("CONNECT has an authority, no scheme and no path"));
            };
            return Ok((method, Uri::try_from(&**authority).map_err(|error| bad(error.into()))?));
        }
        let (Some(scheme), Some(path)) = (&self.scheme, &self.path) else {
            return Err(Refusal::Malformed("the request has no scheme or no path"));
        };
        // The parser would cut off a fragment, and let a path begin with anything.
        let is_path = path.starts_with(b"/") || &**path == b"*" && method == Method::OPTIONS;
        if !is_path || path.contains(&b'#') {
            return Err(Refusal::Malformed("the path does not begin with a slash, or has a fragment"));
        }
        let uri = Uri::builder().path_and_query(&**path);
        let uri = match &self.authority {
            Some(authority) => uri.scheme(&**scheme).authority(&**authority),
            None if headers.contains_key(header::HOST) => uri,
            None => return Err(Refusal::Malformed("the request names no host")),
        };
        Ok((method, uri.build().map_err(bad)?))
    }
}

#[cfg(test)]
mod tests;
