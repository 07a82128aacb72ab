//! The frame around every request: its id, its headers out, and the problem document of a refusal.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use model::{
    key, path,
    problem::{Denial, ProblemKind},
    time::Now,
};

use crate::{port::PeerAddress, refusal, state::ControlState};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The longest request id that is taken over from a client, in characters: what a record keeps of it.
const REQUEST_ID_MAX: usize = 64;

/// What is known about a request before anything is decided.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The request's id: the client's when well formed, else a `UUIDv7`.
    pub(crate) request_id: String,
    /// Where the connection came from.
    pub(crate) peer: Option<PeerAddress>,
    /// When the head had arrived.
    pub(crate) started: Now,
}

/// Gives the request its id and the answer its form.
pub(crate) async fn frame(State(state): State<ControlState>, mut request: Request, next: Next) -> Response {
    let started = state.now();
    let context = Context {
        request_id: inbound_id(request.headers()).unwrap_or_else(|| state.uuid_v7(started.wall).to_string()),
        peer: request.extensions().get::<PeerAddress>().copied(),
        started,
    };
    let request_id = context.request_id.clone();
    request.extensions_mut().insert(context);
    let response = if holds_credential(request.uri()) {
        // The URL stands in access logs of everything on the way, so the credential is burnt; say so at once.
        refusal::Refusal::from(Denial::new(
            ProblemKind::CredentialMisplaced,
            "the URL holds a key or a token: send it in the Authorization header, and replace it, because URLs are logged",
        ))
        .into_response()
    } else {
        next.run(request).await
    };
    finish(refusal::render(response, &request_id, state.region()), &request_id)
}

fn finish(mut response: Response, request_id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    // A handler that says otherwise means it.
    headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

/// The client's request id, when there is exactly one and it is safe to repeat in headers, logs and records.
fn inbound_id(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    let text = values.next()?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=');
    let is_well_formed = (1..=REQUEST_ID_MAX).contains(&text.len()) && text.bytes().all(is_plain);
    // An id that holds a credential would carry it into the log.
    (values.next().is_none() && is_well_formed && !key::is_held_by(text)).then(|| text.to_owned())
}

fn holds_credential(uri: &Uri) -> bool {
    let Some(text) = uri.path_and_query().map(http::uri::PathAndQuery::as_str) else { return false };
    key::is_held_by(text) || (text.contains('%') && key::is_held_by(&path::decode(text)))
}
