//! Compiles changes of header fields.

use http::{HeaderName, HeaderValue};

use super::Errors;
use crate::{
    filter::FieldsDoc,
    source::nearest,
    structure::{
        filter::{FieldPart, FieldRules, FieldText, Variable},
        identity::Auth,
    },
};

/// Changes in one direction: each is work for each message.
const RULES_MAX: usize = 32;
/// Longest value: services take heads of 8 KiB as a rule.
const VALUE_BYTES_MAX: usize = 1_024;

/// Fields of one connection and of the framing (RFC 9110 sections 7.6.1 and 8.6, RFC 9112 section 6).
const FRAMING: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "sec-websocket-accept",
    "sec-websocket-key",
];
/// What the gateway itself says to services.
const OWN_REQUEST: [&str; 11] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "x-request-id",
    "via",
    "client-cert",
    "client-cert-chain",
    "consistency-token",
    "consistency-require",
];
/// What the gateway itself says to clients.
const OWN_RESPONSE: [&str; 7] =
    ["x-request-id", "ratelimit", "ratelimit-policy", "proxy-status", "cache-status", "consistency-token", "consistency-position"];
/// What tells a recipient how to read the bytes that follow.
const CODING: [&str; 2] = ["content-encoding", "content-range"];

/// Which messages are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Towards the service.
    Request,
    /// Towards the client.
    Response,
}

/// Compiles the changes of one direction.
pub(super) fn compile(doc: &FieldsDoc, at: &str, direction: Direction, auth: &Auth, errors: &mut Errors) -> FieldRules {
    let added = doc.add.iter().flat_map(|(name, values)| values.as_slice().iter().map(move |value| (name, value)));
    let count = doc.remove.len() + doc.set.len() + added.clone().count();
    if count == 0 {
        errors.add(at, "nothing is changed; write `remove`, `set` or `add`, or leave it out");
    }
    if count > RULES_MAX {
        errors.add(at, format!("at most {RULES_MAX} fields are changed in one direction"));
    }
    let remove: Vec<HeaderName> = doc
        .remove
        .iter()
        .enumerate()
        .filter_map(|(position, name)| field_name(name, &format!("{at}.remove[{position}]"), direction, errors))
        .collect();
    let set = doc.set.iter().filter_map(|(name, value)| field(name, value, &format!("{at}.set.{name}"), direction, auth, errors)).collect();
    let add = added.filter_map(|(name, value)| field(name, value, &format!("{at}.add.{name}"), direction, auth, errors)).collect();
    let rules = FieldRules { remove: remove.into(), set, add };
    // `Set` and `set` are one field, and a field that goes and comes says two things.
    for (position, (name, _)) in rules.set.iter().enumerate() {
        let is_twice = rules.set.iter().take(position).any(|(other, _)| other == name);
        if is_twice || rules.remove.contains(name) || rules.add.iter().any(|(other, _)| other == name) {
            errors.add(format!("{at}.set.{name}"), format!("`{name}` stands twice; `set` alone replaces whatever is there"));
        }
    }
    rules
}

fn field(name: &str, value: &str, at: &str, direction: Direction, auth: &Auth, errors: &mut Errors) -> Option<(HeaderName, FieldText)> {
    let name = field_name(name, at, direction, errors);
    let text = field_text(value, at, auth, errors);
    let name = name?;
    if direction == Direction::Request && matches!(name.as_str(), "authorization" | "x-api-key" | "dpop" | "cookie") {
        errors
            .add(at, format!("`{name}` carries credentials, and this document holds no secrets: give the service its own way to trust the gateway"));
    }
    Some((name, text?))
}

fn field_name(text: &str, at: &str, direction: Direction, errors: &mut Errors) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        errors.add(at, format!("`{text}` is not a header name"));
        return None;
    };
    let own: &[&str] = match direction {
        Direction::Request => &OWN_REQUEST,
        Direction::Response => &OWN_RESPONSE,
    };
    // Many services read `_` as `-`.
    let read = name.as_str().replace('_', "-");
    let refusal = if FRAMING.contains(&read.as_str()) {
        "belongs to one connection or to the framing, which each side has for itself; remove it here"
    } else if read == "host" {
        "is not a field to change; write `upstream_host: preserve`, or the name"
    } else if read.starts_with("causeway-") || own.contains(&read.as_str()) {
        "is the gateway's own word, on which others rely; choose another name"
    } else if direction == Direction::Response && CODING.contains(&read.as_str()) {
        "says how the body is to be read; the service and `compression` set it"
    } else {
        return Some(name);
    };
    errors.add(at, format!("`{name}` {refusal}"));
    None
}

fn field_text(value: &str, at: &str, auth: &Auth, errors: &mut Errors) -> Option<FieldText> {
    if value.len() > VALUE_BYTES_MAX {
        errors.add(at, format!("a value has at most {VALUE_BYTES_MAX} bytes"));
        return None;
    }
    if HeaderValue::from_str(value).is_err() || !value.is_ascii() || value.trim() != value {
        errors.add(at, "a value is printable ASCII without spaces at its ends");
        return None;
    }
    if !value.contains("${") {
        return HeaderValue::from_str(value).ok().map(FieldText::Fixed);
    }
    let mut parts = Vec::new();
    let mut rest = value;
    while let Some((text, after)) = rest.split_once("${") {
        if !text.is_empty() {
            parts.push(FieldPart::Text(text.into()));
        }
        let Some((name, after)) = after.split_once('}') else {
            errors.add(at, "`${` has no `}`");
            return None;
        };
        parts.push(FieldPart::Variable(variable(name, at, auth, errors)?));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(FieldPart::Text(rest.into()));
    }
    Some(FieldText::Parts(parts.into()))
}

fn variable(name: &str, at: &str, auth: &Auth, errors: &mut Errors) -> Option<Variable> {
    let Some((_, variable)) = Variable::ALL.iter().find(|(known, _)| *known == name) else {
        let known = Variable::ALL.iter().map(|(known, _)| *known);
        let help = nearest(name, known.clone()).map_or_else(
            || format!("the variables are {}", known.map(|known| format!("${{{known}}}")).collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `${{{near}}}`?"),
        );
        errors.add_with_help(at, format!("there is no variable named `{name}`"), Some(help));
        return None;
    };
    if auth.is_none() && variable.is_about_caller() {
        errors.add(at, format!("a route without authentication knows no caller, so `${{{name}}}` would be empty"));
        return None;
    }
    Some(*variable)
}
