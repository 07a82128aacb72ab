//! Sends an admitted request to its target and brings the response's head back.

use std::{error::Error, sync::Arc, time::Duration};

use http::{Method, Response, StatusCode, Version};
use model::{
    problem::{Denial, ProblemKind},
    structure::Route,
    time::BootNanos,
};

use crate::{
    authorize::{self, Permit},
    body::{BodyError, Meter, Progress, RequestBody, ServiceBody, Source},
    connect::Opened,
    crossing,
    deadline::Within,
    fields,
    head::Head,
    http1::{Answer, Ask, Cause, Failure},
    limit::Admitted,
    message::Message,
    mirror,
    pool::ConnectError,
    principal,
    region::{Candidate, Target},
    runtime::Core,
    stay::Stay,
    trail::Trail,
    validate::{self, ValidBody},
};

mod tries;
mod verdict;
pub(crate) use self::verdict::Owed;
use tries::{Next, Tries};

/// A response on its way back: its head is here, its body may still come.
#[derive(Debug)]
pub struct Exchange {
    /// Head and body.
    pub response: Response<ServiceBody>,
    /// What the request's body did.
    pub meter: Arc<Meter>,
    /// Who is looked at again while it streams; `None` for a response that does not last, or that everybody may have.
    pub(crate) stay: Option<Box<Stay>>,
}

/// Sends the request and waits for the response's head.
///
/// Another endpoint is tried while no byte of the request has left: connecting failed, or a kept connection turned out to be
/// closed before anything was written. After that only as the route's `retries` say, and only where it is safe: see `tries`.
///
/// # Errors
/// `upstream-unreachable`, `upstream-timeout`, `upstream-malformed`, `overloaded`; before a later try those of
/// [`authorize::still_fresh`]; and what a streaming request body can
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
    let meter = Arc::new(Meter::default());
    exchange(admitted.permit(), target, head, body, core, trail, &meter).await
}

async fn exchange(
    permit: &Permit<'_>,
    target: &Target<'_>,
    head: Head,
    body: ValidBody,
    core: &Core,
    trail: &mut Trail,
    meter: &Arc<Meter>,
) -> Result<Exchange, Denial> {
    let route = permit.route();
    let stall = target.upstream().idle_timeout.min(core.edge.settings.stall_timeout);
    let mut body = match body {
        ValidBody::Empty => RequestBody::Empty,
        ValidBody::Whole(bytes) => RequestBody::Whole(Some(bytes)),
        ValidBody::Stream(incoming) => RequestBody::stream(incoming, route.body_bytes_max, stall, Arc::clone(meter)),
    };
    if head.call.is_some() {
        body.of_call();
    }
    let is_streaming = matches!(body, RequestBody::Stream(_));
    if !is_streaming {
        meter.complete_at_once(body.whole_len());
    }
    let mut message = Message::new(route, head, body, target.group(), trail)?;
    if permit.is_crossed() {
        message.hide_nothing();
    }
    let mut deadline = BootNanos(trail.started().boot.0.saturating_add(u64::try_from(route.timeout.as_nanos()).unwrap_or(u64::MAX)));
    if let Some(ends) = message.ends() {
        if ends <= core.edge.clock.boot() {
            return Err(call_over("the call's grpc-timeout is over; nothing was sent to the service"));
        }
        deadline = deadline.min(ends);
        trail.ends(ends);
    }
    if let Some((upstream, cluster)) = target.mirror().filter(|_| !message.is_handshake()) {
        mirror::copy(core, permit, upstream, cluster, &message);
    }
    let mut tries = Tries::new(core, route, target, deadline, &message).ok_or_else(unreachable)?;
    if permit.is_crossed() {
        tries.leave_repeating_to_the_first();
    }
    let outcome = answer(&mut tries, permit, target, message, core, trail, meter).await;
    // What the last try found out says nothing about those before it.
    outcome.map_err(|denial| if tries.may_have_sent() { denial.maybe_processed() } else { denial })
}

/// Tries until there is an answer, or no other try may follow.
async fn answer(
    tries: &mut Tries<'_>,
    permit: &Permit<'_>,
    target: &Target<'_>,
    mut message: Message,
    core: &Core,
    trail: &mut Trail,
    meter: &Arc<Meter>,
) -> Result<Exchange, Denial> {
    let route = permit.route();
    loop {
        let turn = tries.next(trail).await?;
        if tries.is_later() && !permit.is_crossed() {
            authorize::still_fresh(permit, &core.edge, message.is_read(), core.edge.clock.now())?;
        }
        // For each try, because one may come long after another.
        message.vouch(principal::field(core, permit, target.upstream())?);
        let candidate = turn.candidate();
        let crossing = candidate.target.is_gateway.then(|| crossing::field(&core.edge, trail.peer(), route, candidate.upstream)).flatten();
        message.cross(crossing);
        let spare = tries.copy(&message);
        let replay = tries.keep(&mut message);
        let result = tries.within(&turn, attempt(route, turn.candidate(), &mut message, core, trail, meter)).await;
        let spare = spare.or_else(|| replay?.whole());
        message.body = match tries.judge(turn, result, spare, meter, trail).await? {
            Next::Answer(exchange) => return Ok(exchange),
            Next::Again(body) => body,
        };
    }
}

enum Attempt {
    /// No byte has left: another target may be tried.
    NotSent { body: RequestBody, denial: Denial },
    /// Something has left, or trying again cannot help.
    Failed(Denial),
}

async fn attempt(
    route: &Route,
    candidate: &Candidate<'_>,
    message: &mut Message,
    core: &Core,
    trail: &mut Trail,
    meter: &Arc<Meter>,
) -> Result<Exchange, Attempt> {
    if candidate.target.is_gateway && message.is_handshake() {
        return Err(Attempt::Failed(crossing::no_websocket()));
    }
    let slot = candidate.pool.enter(core.edge.settings.in_flight_max).map_err(|error| Attempt::Failed(connect_denial(&error)))?;
    // A connection that is going to be a WebSocket begins as one: with HTTP/1.1, and with nothing before it.
    let mut may_reuse = !message.is_handshake();
    loop {
        let now = core.edge.clock.boot();
        let (opened, is_reused) = match may_reuse.then(|| candidate.pool.take_idle(now)).flatten() {
            Some(opened) => (opened, true),
            None => match candidate.pool.open(candidate.upstream.connect_timeout, message.is_handshake()).await {
                Ok(opened) => (opened, false),
                Err(error) => return Err(Attempt::NotSent { body: message.take_body(), denial: connect_denial(&error) }),
            },
        };
        let is_repeatable = message.is_repeatable();
        let again = candidate.target.is_gateway.then(|| message.body.copied()).flatten();
        let serial = opened.serial();
        message.begin(core.edge.clock);
        let failure = match head_within(core, candidate.upstream.response_timeout, meter, carry(opened, message, candidate.target)).await {
            Some(Ok(mut answered)) => {
                let took = core.edge.clock.boot().nanos_since(now) / 1_000;
                trail.upstream_answered(answered.status().as_u16(), took);
                if candidate.target.is_gateway
                    && let Err(refused) = crossing::read(answered.status(), answered.headers_mut())
                {
                    if refused.is_misdirected {
                        candidate.pool.retire(serial);
                    }
                    match again {
                        // What its connection showed is not good any more (RFC 9110 section 15.5.20).
                        Some(body) if refused.is_misdirected && is_reused => {
                            may_reuse = false;
                            message.body = body;
                            continue;
                        }
                        // It has sent nothing, and the body is here: another gateway may know more, or another region serve.
                        Some(body) if refused.denial.is_retryable => return Err(Attempt::NotSent { body, denial: refused.denial }),
                        _ => return Err(Attempt::Failed(refused.denial)),
                    }
                }
                if answered.version() == Version::HTTP_2 {
                    fields::strip_from_response(answered.headers_mut());
                }
                let is_switch = answered.status() == StatusCode::SWITCHING_PROTOCOLS;
                let body = if is_switch { ServiceBody::switched } else { ServiceBody::new };
                return Ok(Exchange { response: answered.map(|source| body(source, slot)), meter: Arc::clone(meter), stay: None });
            }
            Some(Err(failure)) => failure,
            None => {
                return Err(Attempt::Failed(timed_out()));
            }
        };
        tracing::debug!(error = &failure.cause as &dyn Error, "the exchange with a service failed");
        let denial = match failure.cause {
            Cause::Body(error) => return Err(Attempt::Failed(body_denial(route, error).maybe_processed())),
            // What stood on a kept connection may be older than this request, and unasked for: the answer is on a new one.
            Cause::Malformed(_) if is_reused && is_repeatable && failure.body.is_some() => {
                may_reuse = false;
                continue;
            }
            Cause::Malformed(_) => return Err(Attempt::Failed(malformed())),
            Cause::Closed | Cause::Io(_) => body_failed(route, meter).unwrap_or_else(broke_off),
        };
        match failure.body {
            // The service closed the kept connection just as the request left. Once more, on a new one.
            Some(body) if is_reused && (!failure.is_sent || is_repeatable && !failure.is_answered) => {
                may_reuse = !failure.is_sent;
                message.body = body;
            }
            Some(body) if !failure.is_sent => {
                return Err(Attempt::NotSent { body, denial: unreachable() });
            }
            Some(_) | None => {
                return Err(Attempt::Failed(denial));
            }
        }
    }
}

/// Sends the message over a connection and reads the head of the response. The message's body is taken.
pub(crate) async fn carry(opened: Opened, message: &mut Message, target: &model::structure::Target) -> Result<Response<Source>, Failure> {
    match opened {
        Opened::Http1(link) => {
            let head = message.http1_head(target);
            let is_head = *message.method() == Method::HEAD;
            let body = message.take_body();
            let Answer { status, headers, body } = link.exchange(Ask { head, body, is_head, may_switch: message.is_handshake() }).await?;
            let mut response = Response::new(Source::Http1(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        }
        Opened::Http2(session) => {
            let body = message.take_body();
            let request = message.http2_request(target, body);
            Ok(session.exchange(request).await?.map(|reply| Source::Http2(Box::new(reply))))
        }
    }
}

/// Waits for the response's head: `limit` counts from the end of the request, whose pieces have their own deadline.
fn head_within<'c, F: Future>(core: &'c Core, limit: Duration, meter: &'c Meter, sent: F) -> Within<'c, F, impl FnMut() -> bool + 'c> {
    let is_running = || meter.progress() == Progress::Running;
    let mut was_running = is_running();
    core.within_again(limit, sent, move || std::mem::replace(&mut was_running, is_running()))
}

/// What a body that failed says; HTTP/2 reports it only as a broken stream.
fn body_failed(route: &Route, meter: &Meter) -> Option<Denial> {
    match meter.progress() {
        Progress::Failed(error) => Some(body_denial(route, error).maybe_processed()),
        Progress::Running | Progress::Complete => None,
    }
}

fn body_denial(route: &Route, error: BodyError) -> Denial {
    match error {
        BodyError::TooLarge => validate::too_large(route),
        BodyError::Stalled => validate::stalled(),
        BodyError::Broken => Denial::new(ProblemKind::RequestMalformed, "the body ended before it was complete"),
    }
}

fn connect_denial(error: &ConnectError) -> Denial {
    match error {
        ConnectError::Full => Denial::new(ProblemKind::Overloaded, "too many requests to this service are in flight").retry_after(1),
        ConnectError::Timeout => Denial::new(ProblemKind::UpstreamTimeout, "connecting to the service took too long").retry_after(1),
        ConnectError::Io(_) => unreachable(),
    }
}

fn broke_off() -> Denial {
    Denial::new(ProblemKind::UpstreamUnreachable, "the service closed the connection before it answered; the request may have been processed")
        .maybe_processed()
}

fn malformed() -> Denial {
    Denial::new(ProblemKind::UpstreamMalformed, "the service's response is not valid HTTP; the request may have been processed").maybe_processed()
}

fn unreachable() -> Denial {
    Denial::new(ProblemKind::UpstreamUnreachable, "no connection to the service could be made").retry_after(1)
}

/// The end of a call whose client has stopped waiting.
fn call_over(detail: &'static str) -> Denial {
    Denial::new(ProblemKind::UpstreamTimeout, detail)
}

fn timed_out() -> Denial {
    Denial::new(ProblemKind::UpstreamTimeout, "the service did not answer in time; the request may have been processed").maybe_processed()
}
