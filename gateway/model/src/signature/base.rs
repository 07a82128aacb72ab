//! What is signed of a request: the signature base (RFC 9421 section 2.5), from the request as it came.
//!
//! A component that has more than one reading, or none, ends it: there is no default for what is not there.

use std::borrow::Cow;

use http::{HeaderMap, Uri, Version, header};

use super::{
    Fault,
    field::{self, Component, Input},
};

/// A request as its client sent it. It came over https: nothing else is served.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// The method. A WebSocket over HTTP/2 begins with `CONNECT`.
    pub method: &'r str,
    /// The target as it was sent.
    pub uri: &'r Uri,
    /// In which version.
    pub version: Version,
    /// The fields, without those of the connection and those that only the gateway may set: a signature over such a field does not hold.
    pub headers: &'r HeaderMap,
}

/// The derived components that a request has and that are spoken here (RFC 9421 section 2.2), without `@query-param`.
pub const DERIVED: [&str; 7] = ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"];

/// Parameters of a query that are covered one by one: each looks through the whole query, before anybody is known. `@query` covers all.
const PARAMETERS_MAX: usize = 8;

/// Builds it.
///
/// # Errors
/// [`Fault::ComponentRefused`], [`Fault::ComponentMissing`].
pub(super) fn build(asked: Asked<'_>, input: &Input<'_>) -> Result<String, Fault> {
    let mut n_parameters = 0;
    let mut base = String::with_capacity(input.text().len() * 2 + 256);
    for (position, component) in input.components().iter().enumerate() {
        let identifier = input.identifier(component);
        let is_twice = input.components().iter().take(position).any(|other| input.identifier(other) == identifier);
        let is_one_too_many = component.parameter.is_some() && {
            n_parameters += 1;
            n_parameters > PARAMETERS_MAX
        };
        if component.is_odd || is_twice || is_one_too_many {
            return Err(Fault::ComponentRefused);
        }
        base.push_str(identifier);
        base.push_str(": ");
        base.push_str(&value(asked, component)?);
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(input.text());
    Ok(base)
}

fn value<'r>(asked: Asked<'r>, component: &Component<'_>) -> Result<Cow<'r, str>, Fault> {
    let name = &*component.name;
    if let Some(parameter) = &component.parameter {
        let query = asked.uri.query().unwrap_or_default();
        return if name == "@query-param" { query_parameter(query, parameter).map(Cow::Owned) } else { Err(Fault::ComponentRefused) };
    }
    Ok(match name {
        "@method" => asked.method.into(),
        "@scheme" => "https".into(),
        "@authority" => authority(asked)?,
        "@path" => asked.uri.path().into(),
        "@query" => format!("?{}", asked.uri.query().unwrap_or_default()).into(),
        "@target-uri" => {
            let target = asked.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            format!("https://{}{target}", authority(asked)?).into()
        }
        "@request-target" => request_target(asked),
        // Names of fields are in lower case (RFC 9421 section 2.1); the map would find them in any.
        _ if name.is_empty() || name.starts_with('@') || name.bytes().any(|byte| byte.is_ascii_uppercase()) => return Err(Fault::ComponentRefused),
        _ => {
            // Crumbs of a cookie are one field for everybody behind (RFC 9113 section 8.2.3), which is joined in the same way in every version.
            let is_crumbled = *name == *header::COOKIE.as_str();
            field::joined(asked.headers, name, if is_crumbled { "; " } else { ", " }).ok_or(Fault::ComponentMissing)?
        }
    })
}

/// RFC 9421 section 2.2.3: in lower case, without the port of https.
fn authority(asked: Asked<'_>) -> Result<Cow<'_, str>, Fault> {
    let named = asked.uri.authority().map(http::uri::Authority::as_str);
    let named = named.or_else(|| asked.headers.get(header::HOST)?.to_str().ok()).ok_or(Fault::ComponentMissing)?;
    let named = named.strip_suffix(":443").or_else(|| named.strip_suffix(':')).unwrap_or(named);
    let has_capitals = named.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if has_capitals { named.to_ascii_lowercase().into() } else { named.into() })
}

/// RFC 9421 section 2.2.5: what stood in the request line, or in `:path`.
fn request_target(asked: Asked<'_>) -> Cow<'_, str> {
    if asked.version <= Version::HTTP_11 && asked.uri.authority().is_some() {
        return asked.uri.to_string().into();
    }
    asked.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).into()
}

/// The value of a query parameter that stands there once (RFC 9421 section 2.2.8), encoded anew as its name is. It goes by bytes: two
/// texts that are no UTF-8 never become one.
///
/// # Errors
/// [`Fault::ComponentMissing`].
fn query_parameter(query: &str, encoded_name: &str) -> Result<String, Fault> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut found = pairs.filter(|(name, _)| encoded(name) == encoded_name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(encoded(value)),
        (Some(_) | None, _) => Err(Fault::ComponentMissing),
    }
}

/// Decodes what a form has, and encodes it by the set that forms have, a blank as `%20`.
fn encoded(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let escaped = if let ([high, low, ..], b'%') = (behind, first) { hex(*high).zip(hex(*low)) } else { None };
        let byte = match (escaped, first) {
            (Some((high, low)), _) => {
                rest = behind.get(2..).unwrap_or_default();
                high << 4 | low
            }
            (None, b'+') => b' ',
            (None, byte) => *byte,
        };
        if byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}
