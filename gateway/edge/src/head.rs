//! The request's head, checked and made normal before anything reads it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method, Version, header, request::Parts};
use model::{
    host, key, path,
    problem::{Denial, ProblemKind},
};

use crate::{
    grpc::{Call, Form},
    strict::AmbiguousFraming,
    websocket::wish::Wish,
};

/// A request's head that is safe to decide over.
#[derive(Debug, Clone)]
pub struct Head {
    /// Method, headers, version, extensions. Hop-by-hop and reserved fields are gone.
    pub parts: Box<Parts>,
    /// The host name in normal form, without port.
    pub host: String,
    /// The path in normal form, when it differs from the one in `parts`.
    normal_path: Option<String>,
    /// What the client says about a call of gRPC, if it is one.
    pub call: Option<Call>,
    /// It wants to become a WebSocket.
    pub wish: Option<Wish>,
}

impl Head {
    /// Reads what belongs to a call of gRPC.
    ///
    /// # Errors
    /// `request-malformed`.
    pub fn in_form(mut self, form: Form) -> Result<Self, Denial> {
        if form == Form::Grpc {
            self.call = Some(Call::read(&self.parts.headers)?);
        }
        Ok(self)
    }

    /// The path in normal form: what is matched, and what the service gets.
    pub fn path(&self) -> &str {
        self.normal_path.as_deref().unwrap_or_else(|| self.parts.uri.path())
    }

    /// The query, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }

    /// The method.
    pub const fn method(&self) -> &Method {
        &self.parts.method
    }

    /// True for methods that change nothing (RFC 9110 section 9.2.1), as far as regions are concerned.
    pub fn is_read(&self) -> bool {
        matches!(self.parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// Checks a head.
///
/// # Errors
/// Everything that two programs on the way could read differently, and credentials in the URL.
pub fn check(mut parts: Box<Parts>, headers_max: usize) -> Result<Head, Denial> {
    match examine(&parts, headers_max) {
        Ok((host, normal_path, wish)) => {
            crate::fields::strip_untrusted(&mut parts.headers);
            if wish == Some(Wish::Connect) {
                // From here on it is what it stands for (RFC 8441 section 5): one rule for both versions.
                parts.method = Method::GET;
            }
            Ok(Head { parts, host, normal_path, call: None, wish })
        }
        Err(denial) => Err(denial),
    }
}

/// Longest request target: browsers and proxies agree on 8,000 or so (RFC 9110 section 4.1 recommends at least that).
const TARGET_BYTES_MAX: usize = 8_192;

/// Longest method: the registered ones have up to 17 letters.
const METHOD_BYTES_MAX: usize = 64;

fn examine(parts: &Parts, headers_max: usize) -> Result<(String, Option<String>, Option<Wish>), Denial> {
    if parts.headers.len() > headers_max {
        return Err(Denial::new(ProblemKind::HeadersTooLarge, format!("a request has at most {headers_max} header fields")));
    }
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(Denial::new(ProblemKind::UriTooLong, format!("a request target has at most {TARGET_BYTES_MAX} bytes")));
    }
    if parts.method.as_str().len() > METHOD_BYTES_MAX {
        return Err(Denial::new(ProblemKind::RequestMalformed, format!("a method has at most {METHOD_BYTES_MAX} letters")));
    }
    framing(parts)?;
    let host = host_of(parts)?;
    if parts.method == Method::TRACE {
        return Err(Denial::new(ProblemKind::MethodNotAllowed, "CONNECT and TRACE are not served"));
    }
    let wish = Wish::of(parts)?;
    let expect = parts.headers.get(header::EXPECT);
    if expect.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Denial::new(ProblemKind::ExpectationFailed, "the only expectation that can be met is 100-continue"));
    }
    if holds_credential(parts.uri.path()) || parts.uri.query().is_some_and(holds_credential) {
        return Err(Denial::new(
            ProblemKind::CredentialMisplaced,
            "send the key in the X-Api-Key or Authorization header, and revoke this one: URLs end up in logs",
        ));
    }
    match path::normalize(parts.uri.path()) {
        Ok(Cow::Borrowed(_)) => Ok((host, None, wish)),
        Ok(Cow::Owned(path)) => Ok((host, Some(path), wish)),
        Err(error) => Err(Denial::new(ProblemKind::PathInvalid, error.to_string())),
    }
}

/// HTTP/2 has no blanks around values to take off, so one that has them is malformed (RFC 9113 section 8.2.1): a service over
/// HTTP/1.1 would read another value than the gateway.
fn has_blank_ends(parts: &Parts) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    parts.version == Version::HTTP_2
        && parts.headers.values().map(http::HeaderValue::as_bytes).any(|value| is_blank(value.first()) || is_blank(value.last()))
}

/// Refuses framing that has more than one reading (RFC 9112 section 6.3); the codec below refuses most of it already.
fn framing(parts: &Parts) -> Result<(), Denial> {
    let bad = |detail: &'static str| Err(Denial::new(ProblemKind::RequestMalformed, detail));
    if parts.extensions.get::<AmbiguousFraming>().is_some() {
        return bad(
            "the request has more than one reading: lines end with CR LF, one Content-Length or one `Transfer-Encoding: chunked` says where the body ends, and the target has no fragment",
        );
    }
    if has_blank_ends(parts) {
        return bad("a field's value begins or ends with a blank");
    }
    let lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter().count();
    let encoded = parts.headers.contains_key(header::TRANSFER_ENCODING);
    if lengths > 1 {
        return bad("the Content-Length header is repeated");
    }
    // Over HTTP/2 the codec takes an empty one for zero.
    if parts.headers.get(header::CONTENT_LENGTH).is_some_and(|value| value.is_empty() || !value.as_bytes().iter().all(u8::is_ascii_digit)) {
        return bad("the Content-Length header is not a number");
    }
    if encoded && lengths > 0 {
        return bad("Content-Length and Transfer-Encoding stand together");
    }
    if encoded && parts.version != Version::HTTP_11 {
        return bad("Transfer-Encoding belongs to HTTP/1.1 alone");
    }
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) || codings.next().is_some() {
        return bad("the only transfer coding is chunked, once");
    }
    Ok(())
}

fn host_of(parts: &Parts) -> Result<String, Denial> {
    let bad = |detail: &'static str| Denial::new(ProblemKind::RequestMalformed, detail);
    let mut fields = parts.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(bad("the Host header is repeated"));
    }
    let field = field.map(|value| value.to_str().map_err(|_| bad("the Host header is not a host name"))).transpose()?;
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "https" | "http")) {
        return Err(bad("the request target's scheme is neither https nor http"));
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let text = match (authority, field) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => {
            return Err(bad("the request target and the Host header name different hosts"));
        }
        // A target in absolute form does not stand in for the field (RFC 9112 section 3.2).
        (Some(_), None) if parts.version == Version::HTTP_11 => return Err(bad("a request of HTTP/1.1 has a Host header")),
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => return Err(bad("the request names no host")),
    };
    host::normalize(text).map(|host| host.as_str().to_owned()).ok_or_else(|| bad("the Host header is not a host name"))
}

/// True when a text holds something that looks like one of our keys, percent-encoded or not.
pub fn holds_credential(text: &str) -> bool {
    // The short search is by hand: setting up the general one costs more than it saves on a path. Most texts have no underscore.
    let has_mark = |text: &str| memchr::memchr(b'_', text.as_bytes()).is_some() && text.as_bytes().windows(3).any(|bytes| bytes == b"cw_");
    let holds = |text: &str| has_mark(text) && key::is_held_by(text);
    holds(text) || text.as_bytes().contains(&b'%') && holds(&path::decode(text))
}

/// A request id that the client brought, if it is harmless: 8 to 64 of `A-Za-z0-9._-`.
pub fn client_request_id(headers: &HeaderMap) -> Option<&str> {
    let name = const { HeaderName::from_static("x-request-id") };
    let text = headers.get(name)?.to_str().ok()?;
    let harmless = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    (harmless && !holds_credential(text)).then_some(text)
}

#[cfg(test)]
mod tests;
