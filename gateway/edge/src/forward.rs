//! Sends an admitted request to its target and brings the response's head back.

use std::{error::Error, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header, uri::PathAndQuery};
use hyper::body::Incoming;
use model::{
    problem::{Denial, ProblemKind},
    structure::{Route, filter::UpstreamHost},
};

use crate::{
    body::{BodyError, Meter, Progress, RequestBody},
    fields,
    head::Head,
    limit::Admitted,
    pool::{ConnectError, Connection},
    refuse,
    region::{Candidate, Target},
    runtime::Core,
    trail::Trail,
    transform,
    validate::{self, ValidBody},
};

/// Targets that are tried at most: the failure of two should be told to the client, not hidden by more waiting.
const TRIES_MAX: usize = 3;

/// A response on its way back: its head is here, its body may still come.
#[derive(Debug)]
pub struct Exchange {
    /// Head and body.
    pub response: Response<Incoming>,
    /// The connection, to be given back when both bodies are over.
    pub connection: Connection,
    /// What the request's body did.
    pub meter: Arc<Meter>,
}

/// Sends the request and waits for the response's head.
///
/// Another target is tried only while no byte of the request has left: connecting failed, or a kept connection turned out
/// to be closed before anything was written.
///
/// # Errors
/// `upstream-unreachable`, `upstream-timeout`, `upstream-malformed`, `overloaded`; and what a streaming request body can
/// still turn out to be: `body-too-large`, `request-timeout`.
///
/// # Cancel
/// Dropping the future closes the connection to the service.
pub async fn send(
    admitted: &Admitted<'_>,
    target: &Target<'_>,
    head: Head,
    body: ValidBody,
    core: &Core,
    trail: &mut Trail,
) -> Result<Exchange, Denial> {
    let route = admitted.permit().route();
    let deadline = route.timeout.saturating_sub(Duration::from_nanos(core.edge.clock.boot().nanos_since(trail.started().boot)));
    let meter = Arc::new(Meter::default());
    match tokio::time::timeout(deadline, exchange(route, target, head, body, core, trail, &meter)).await {
        Ok(result) => result,
        Err(_) if meter.is_waiting_for_client() => Err(validate::stalled()),
        Err(_) => Err(timed_out()),
    }
}

async fn exchange(
    route: &Route,
    target: &Target<'_>,
    head: Head,
    body: ValidBody,
    core: &Core,
    trail: &mut Trail,
    meter: &Arc<Meter>,
) -> Result<Exchange, Denial> {
    let stall = route.upstream.idle_timeout.min(core.edge.settings.stall_timeout);
    let body = match body {
        ValidBody::Empty => RequestBody::Empty,
        ValidBody::Whole(bytes) => RequestBody::Whole(Some(bytes)),
        ValidBody::Stream(incoming) => RequestBody::stream(incoming, route.body_bytes_max, stall, Arc::clone(meter)),
    };
    let is_streaming = matches!(body, RequestBody::Stream(_));
    if !is_streaming {
        meter.complete_at_once(body.whole_len());
    }
    let (path, message) = prepare(route, head, body, trail)?;
    let mut request = Some(message);
    let mut failure = unreachable();
    for candidate in target.candidates().iter().take(TRIES_MAX) {
        trail.target(candidate.region, &candidate.target.address);
        let Some(mut message) = request.take() else { break };
        address(route, &mut message, candidate, &path)?;
        match attempt(route, candidate, message, core, trail, meter).await {
            Ok(exchange) => return Ok(exchange),
            Err(Attempt::NotSent { message, denial }) => {
                candidate.pool.health().failed(core.edge.clock.boot());
                request = Some(*message);
                failure = denial;
            }
            Err(Attempt::Failed(denial)) => return Err(denial),
        }
    }
    Err(failure)
}

enum Attempt {
    /// No byte has left: another target may be tried.
    NotSent { message: Box<Request<RequestBody>>, denial: Denial },
    /// Something has left, or trying again cannot help.
    Failed(Denial),
}

async fn attempt(
    route: &Route,
    candidate: &Candidate<'_>,
    mut message: Request<RequestBody>,
    core: &Core,
    trail: &mut Trail,
    meter: &Arc<Meter>,
) -> Result<Exchange, Attempt> {
    let mut slot = candidate.pool.enter(core.edge.settings.in_flight_max).map_err(|error| Attempt::Failed(connect_denial(&error)))?;
    let mut may_reuse = true;
    loop {
        let now = core.edge.clock.boot();
        let (sender, is_reused) = match may_reuse.then(|| candidate.pool.take_idle(now)).flatten() {
            Some(sender) => (sender, true),
            None => match candidate.pool.open(route.upstream.connect_timeout).await {
                Ok(sender) => (sender, false),
                Err(error) => return Err(Attempt::NotSent { message: Box::new(message), denial: connect_denial(&error) }),
            },
        };
        let mut connection = Connection::new(sender, is_reused, slot);
        if connection.sender.ready().await.is_err() {
            // A kept connection that the service has closed: take the next, or open one.
            if is_reused {
                slot = connection.into_slot();
                continue;
            }
            return Err(Attempt::NotSent { message: Box::new(message), denial: unreachable() });
        }
        let spare = if is_reused { repeatable(&message) } else { None };
        let mut error = match head_within(route.upstream.response_timeout, meter, connection.sender.try_send_request(message)).await {
            Some(Ok(response)) => {
                candidate.pool.health().answered();
                let took = core.edge.clock.boot().nanos_since(now) / 1_000;
                trail.upstream_answered(response.status().as_u16(), took);
                // No protocol was offered to switch to: what follows such a head is no response.
                if response.status().is_informational() {
                    return Err(Attempt::Failed(malformed()));
                }
                return Ok(Exchange { response, connection, meter: Arc::clone(meter) });
            }
            Some(Err(error)) => error,
            None => {
                candidate.pool.health().failed(core.edge.clock.boot());
                return Err(Attempt::Failed(timed_out()));
            }
        };
        match error.take_message() {
            Some(back) if is_reused => {
                message = back;
                slot = connection.into_slot();
            }
            Some(back) => return Err(Attempt::NotSent { message: Box::new(back), denial: unreachable() }),
            None => {
                if let Some(again) = spare.filter(|_| !error.error().is_parse()) {
                    // The service closed the kept connection just as the request left. Once more, on a new one.
                    may_reuse = false;
                    message = again;
                    slot = connection.into_slot();
                    continue;
                }
                let denial = body_denial(route, meter).unwrap_or_else(|| {
                    candidate.pool.health().failed(core.edge.clock.boot());
                    send_denial(error.error())
                });
                return Err(Attempt::Failed(denial));
            }
        }
    }
}

/// A copy of a request that may be sent twice: its method is safe (RFC 9110 section 9.2.1) and it has no body.
fn repeatable(message: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !matches!(message.body(), RequestBody::Empty) || !matches!(*message.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = message.method().clone();
    *copy.uri_mut() = message.uri().clone();
    *copy.headers_mut() = message.headers().clone();
    Some(copy)
}

/// Waits for the response's head: `limit` counts from the end of the request, whose pieces have their own deadline.
async fn head_within<T>(limit: Duration, meter: &Meter, sent: impl Future<Output = T>) -> Option<T> {
    let mut sent = std::pin::pin!(sent);
    loop {
        let is_whole = meter.progress() != Progress::Running;
        match tokio::time::timeout(limit, sent.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) if is_whole => return None,
            Err(_) => {}
        }
    }
}

/// Turns the client's request into the one that the service gets.
fn prepare(route: &Route, head: Head, body: RequestBody, trail: &Trail) -> Result<(PathAndQuery, Request<RequestBody>), Denial> {
    let path_and_query = transform::path_and_query(route, &head)?;
    let host = transform::upstream_host(route, &head);
    let mut parts = head.parts;
    let via = match parts.version {
        Version::HTTP_2 => HeaderValue::from_static("2 causeway"),
        Version::HTTP_10 => HeaderValue::from_static("1.0 causeway"),
        _ => HeaderValue::from_static("1.1 causeway"),
    };
    parts.version = Version::HTTP_11;
    let headers = &mut parts.headers;
    // The key was for the gateway; a service that logs its headers must not learn it.
    if route.auth != model::structure::Auth::None {
        headers.remove(header::AUTHORIZATION);
        headers.remove("x-api-key");
    }
    headers.remove(header::EXPECT);
    match host {
        Some(host) => drop(headers.insert(header::HOST, host)),
        None => drop(headers.remove(header::HOST)),
    }
    join_cookies(headers);
    if let Some(length) = body.whole_len_if_known() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let set = |headers: &mut http::HeaderMap, name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    set(headers, refuse::REQUEST_ID, trail.request_id());
    set(headers, HeaderName::from_static("x-forwarded-host"), &head.host);
    set(headers, HeaderName::from_static("x-forwarded-for"), &trail.client_address().to_string());
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"));
    // RFC 9110 section 7.6.3: a gateway sends Via towards the service, with the version that it received.
    headers.append(header::VIA, via);
    Ok((path_and_query, Request::from_parts(parts, body)))
}

/// HTTP/2 clients may send one cookie a field; HTTP/1.1 knows a single field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut http::HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Writes the target's own parts into a prepared request: `Host`, and its base path before the request's.
fn address(route: &Route, message: &mut Request<RequestBody>, candidate: &Candidate<'_>, path: &PathAndQuery) -> Result<(), Denial> {
    let invalid = || Denial::new(ProblemKind::Internal, "the target's address is not valid");
    if route.upstream_host == UpstreamHost::Target {
        let host = HeaderValue::from_str(&candidate.target.authority).map_err(|_| invalid())?;
        message.headers_mut().insert(header::HOST, host);
    }
    let base = &candidate.target.base_path;
    let whole = if base.is_empty() { path.clone() } else { transform::join(base, path.path(), path.query()).try_into().map_err(|_| invalid())? };
    *message.uri_mut() = Uri::from(whole);
    Ok(())
}

/// Removes from a response what belongs to one connection, and what only the gateway may say.
pub fn clean_response(headers: &mut http::HeaderMap) {
    fields::strip_hop_by_hop(headers);
    fields::strip_prefix(headers, "causeway-");
    headers.remove(header::TE);
}

fn body_denial(route: &Route, meter: &Meter) -> Option<Denial> {
    match meter.progress() {
        Progress::Failed(BodyError::TooLarge) => Some(validate::too_large(route)),
        Progress::Failed(BodyError::Stalled) => Some(validate::stalled()),
        Progress::Failed(BodyError::Broken) => Some(Denial::new(ProblemKind::RequestMalformed, "the body ended before it was complete")),
        Progress::Running | Progress::Complete => None,
    }
}

fn connect_denial(error: &ConnectError) -> Denial {
    match error {
        ConnectError::Full => Denial::new(ProblemKind::Overloaded, "too many requests to this service are in flight").retry_after(1),
        ConnectError::Timeout => Denial::new(ProblemKind::UpstreamTimeout, "connecting to the service took too long").retry_after(1),
        ConnectError::Io(_) | ConnectError::Handshake(_) => unreachable(),
    }
}

fn send_denial(error: &hyper::Error) -> Denial {
    tracing::debug!(error = error as &dyn Error, "the exchange with a service failed");
    if error.is_parse() {
        malformed()
    } else {
        Denial::new(ProblemKind::UpstreamUnreachable, "the service closed the connection before it answered; the request may have been processed")
            .maybe_processed()
    }
}

fn malformed() -> Denial {
    Denial::new(ProblemKind::UpstreamMalformed, "the service's response is not valid HTTP")
}

fn unreachable() -> Denial {
    Denial::new(ProblemKind::UpstreamUnreachable, "no connection to the service could be made").retry_after(1)
}

fn timed_out() -> Denial {
    Denial::new(ProblemKind::UpstreamTimeout, "the service did not answer in time; the request may have been processed").maybe_processed()
}
