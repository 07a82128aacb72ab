//! CORS (Fetch standard, section 3.2): tells browsers which pages of other origins may use a route.
//!
//! It decides what a browser shows to a page, and replaces no authentication: a request of another origin is served like any
//! other, and only its response is kept from the page.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use model::{
    origin::Origins,
    structure::{Route, filter::Cors},
};

use crate::{fields, head::Head};

/// Longest list of fields that is repeated to a browser: a page that asks for more gets none.
const REQUESTED_BYTES_MAX: usize = 2_048;

/// What only the gateway says on a route with CORS.
const FIELDS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// The method that a preflight asks for; `None` when the request is none (Fetch section 3.2.2).
pub fn preflight_method(head: &Head) -> Option<Method> {
    if *head.method() != Method::OPTIONS || !head.parts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let wanted = head.parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(wanted.as_bytes()).ok()
}

/// The names of the fields that a preflight says the request will carry.
pub fn requested_fields(head: &Head) -> impl Iterator<Item = &str> {
    let values = head.parts.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim)
}

/// The answer to a preflight: 204, with leave if the origin has it.
pub fn preflight(route: &Arc<Route>, cors: &Cors, head: &Head) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let allowed = allow_origin(cors, head.parts.headers.get(header::ORIGIN), headers);
    fields::vary(headers, "access-control-request-method");
    fields::vary(headers, "access-control-request-headers");
    if !allowed {
        tracing::debug!(route.name = %route.name, "a page of an origin that is not listed asked for leave");
        return response;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone());
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone());
    if let Some(value) = cors.headers.clone().or_else(|| repeat_requested(head)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, value);
    }
    response
}

/// `*` covers neither `Authorization` nor requests with credentials, so the names themselves are repeated.
fn repeat_requested(head: &Head) -> Option<HeaderValue> {
    let names: Vec<&str> = requested_fields(head).filter(|name| !name.is_empty()).collect();
    let length: usize = names.iter().map(|name| name.len() + 2).sum();
    let is_harmless = !names.is_empty() && length <= REQUESTED_BYTES_MAX && names.iter().all(|name| HeaderName::from_bytes(name.as_bytes()).is_ok());
    is_harmless.then(|| HeaderValue::from_str(&names.join(", ")).ok()).flatten()
}

/// Replaces whatever the service said by what the route says.
pub fn answer(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    for name in &FIELDS {
        headers.remove(name);
    }
    if allow_origin(cors, origin, headers)
        && let Some(expose) = &cors.expose
    {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

/// Writes the fields that depend on who asks; true when the origin has leave.
fn allow_origin(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
    if cors.origins == Origins::Any {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return origin.is_some();
    }
    // Also without an origin: a cache must not give this response to a page that has one.
    fields::vary(headers, "origin");
    let Some(origin) = origin.filter(|value| value.to_str().is_ok_and(|text| cors.origins.allow(text))) else { return false };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    true
}
