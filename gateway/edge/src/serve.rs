//! The request path, read top to bottom.
//!
//! Each stage takes the proof that the stage before it made, and returns the next proof or a [`Denial`]; skipping one does
//! not compile. [`handle`] wraps the stages with what every request gets: a reserved record, an id, a response.

use std::{convert::Infallible, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::FutureExt;
use http::{HeaderValue, Method, Response, request::Parts};
use hyper::body::{Body, Frame};
use model::{
    policy::{AuditDoc, ReadModeDoc},
    problem::{Blame, Denial, ProblemKind},
    signature::rule::Content,
    structure::Upstream,
};

use crate::{
    authenticate,
    authorize::{self, Use},
    body::{BodyError, ReplyBody, ReplyStream, ServiceBody},
    cache::{self, ticket::Entry},
    certificate::CLIENT_CERT,
    consistency::{self, Places, Wish},
    crossing::{self, Sender},
    current::Held,
    divert, fields,
    filter::{self, After},
    forward::{self, Exchange},
    grpc::Form,
    head::{self, Head},
    hops,
    intake::Intake,
    limit::{self, Admitted, LimitFacts},
    refuse,
    region::{self, Lawful},
    route,
    runtime::Core,
    stay::{Source, Stay, streams},
    tls::Peer,
    token_endpoint,
    trail::{self, Trail},
    validate::{self, Findings, ValidBody},
    websocket,
};

/// Decides over one request and brings the service's answer back.
async fn respond(
    core: &Arc<Core>,
    snapshot: &Held,
    mut head: Head,
    mut body: Intake,
    trail: &mut Trail,
    limits: &mut LimitFacts,
    after: &mut Option<Box<After>>,
) -> Result<Answer, Denial> {
    let edge = &*core.edge;
    let now = trail.started();
    let is_read = head.is_read();

    hops::check(&head, &snapshot.structure, &edge.region)?;
    if *head.method() == Method::OPTIONS
        && let Some(answer) = filter::preflight(snapshot, &head, trail)
    {
        return answer.map(Answer::Ready); // browsers send no credentials with a preflight (Fetch section 3.2.2)
    }
    let matched = route::find(snapshot, &head)?;
    *after = After::new(matched.route(), &head);
    trail.matched(&matched)?;
    let handshake = websocket::handshake::check(matched.route(), &mut head)?;
    let endpoint = matched.route().token_endpoint;
    let mut wish = None;
    if endpoint.is_some() {
        trail.in_form(Form::OAuth);
        let (stall, timeout) = (edge.settings.stall_timeout, matched.route().timeout);
        wish = Some(Box::pin(token_endpoint::lift(&mut head, &mut body, stall, timeout)).await?);
    }

    let mut key_seen = None;
    let authenticated = {
        let content = if handshake.is_some() || body.size_hint().exact() == Some(0) { Content::Absent } else { Content::Present };
        let offer = authenticate::Offer { head: &head, address: trail.client_address(), shown: &trail.peer().shown, content };
        authenticate::verify(matched, offer, edge, now, &mut key_seen).await
    };
    trail.key_seen(key_seen);
    let authenticated = authenticated.inspect(|known| trail.principal(known.principal()))?;
    let method = if handshake.is_some() { "GET" } else { head.method().as_str() };
    let usage = Use { method, address: trail.client_address(), shown: &trail.peer().shown, now };
    let permit = authorize::check(authenticated, usage)?;

    let admitted = limit::admit(permit, &edge.cells, trail.client_address(), now.boot, limits);
    trail.limited_by(limits.refused_by.clone());
    let admitted = admitted?;

    if let (Some(endpoint), Some(wish)) = (endpoint, wish) {
        authorize::still_fresh(admitted.permit(), edge, is_read, edge.clock.now())?; // its form may have been slow
        return token_endpoint::answer(endpoint, &admitted, wish, &head.host, edge).map(Answer::Ready);
    }
    let mut findings = Findings::default();
    let body = validate::request(&admitted, &head, body, edge, &mut findings).await;
    trail.findings(findings);
    let body = body?;

    if let Some(after) = after.as_deref_mut() {
        filter::prepare(after, &admitted, edge, trail, &head);
    }
    if let Some(handshake) = handshake {
        return Box::pin(websocket::open(core, snapshot, &admitted, handshake, head, trail)).await;
    }
    let route = admitted.permit().route();
    // A copy lies where the node is.
    let may_keep = admitted.permit().may_keep_in(&edge.region);
    let Some(rules) = route.filters.as_ref().and_then(|filters| filters.cache).filter(|_| may_keep) else {
        let place = if is_read { None } else { edge.cache.place(&head) };
        let exchange = fetch(core, snapshot, &admitted, head, body, trail).await?;
        edge.cache.answered(place, exchange.response.status(), edge.clock.boot());
        return Ok(Answer::Service(exchange, bytes::Bytes::new()));
    };
    let ticket = match cache::ticket::enter(core, &admitted, rules, &mut head, &body, trail).await? {
        Entry::Fetch(ticket) => ticket,
        Entry::Answer(response) => {
            authorize::still_fresh(admitted.permit(), edge, is_read, edge.clock.now())?; // it may have waited for another's response
            return Ok(Answer::Ready(response));
        }
    };
    let place = if is_read { None } else { edge.cache.place(&head) };
    let outcome = fetch(core, snapshot, &admitted, head, body, trail).await;
    if let Ok(exchange) = &outcome {
        edge.cache.answered(place, exchange.response.status(), edge.clock.boot());
    }
    ticket.land(core, route, outcome, trail).await
}

/// Sends an admitted request to the service that may answer it.
///
/// # Errors
/// `region-unavailable`, `authority-stale`, `credentials-invalid`, `audit-unavailable`, those of [`forward::send`], and where clients are
/// promised their own writes `consistency-token-invalid`, `position-lost`, `position-unreached`.
pub(crate) async fn fetch<'s>(
    core: &Core,
    snapshot: &'s Held,
    admitted: &Admitted<'s>,
    mut head: Head,
    body: ValidBody,
    trail: &mut Trail,
) -> Result<Exchange, Denial> {
    let edge = &*core.edge;
    filter::request(admitted, edge, trail, &mut head);
    if let Some(field) = trail.client_cert() {
        head.parts.headers.insert(CLIENT_CERT, field);
    }
    let route = admitted.permit().route();
    let upstream = divert::choose(route, &head, &core.dice);
    if !Arc::ptr_eq(upstream, &route.upstream) {
        trail.diverted(upstream);
    }
    // A read may be sent twice; where its intent is recorded, and where reads are what others call writes, it is not.
    let is_promised = route.reads.mode != ReadModeDoc::Eventual && !route.get_writes && head.is_read() && matches!(body, ValidBody::Empty);
    let spare = (is_promised && trail.durability() != AuditDoc::Strict).then(|| head.clone());
    let whole = Wanted { upstream, copies: true };
    match (fetch_once(core, snapshot, admitted, &whole, head, body, trail).await, spare) {
        (Err(Unfetched::HeldBack(held_back)), Some(head)) => {
            trail.hold(None);
            let again = Wanted { copies: false, ..whole };
            let again = Box::pin(fetch_once(core, snapshot, admitted, &again, head, ValidBody::Empty, trail)).await;
            again.map_err(|again| match again {
                Unfetched::Denied(denial) if denial.kind.blame() != Blame::Upstream => denial,
                Unfetched::Denied(_) | Unfetched::HeldBack(_) => held_back,
            })
        }
        (fetched, _) => Ok(fetched?),
    }
}

/// What a request is sent to.
struct Wanted<'s> {
    upstream: &'s Arc<Upstream>,
    /// Also to the route's mirror.
    copies: bool,
}

/// Why there is no answer.
enum Unfetched {
    Denied(Denial),
    /// There was one, and a database server has changed while it was read: what is asked again is read of those that are there now.
    HeldBack(Denial),
}

impl From<Denial> for Unfetched {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Unfetched> for Denial {
    fn from(unfetched: Unfetched) -> Self {
        match unfetched {
            Unfetched::Denied(denial) | Unfetched::HeldBack(denial) => denial,
        }
    }
}

async fn fetch_once<'s>(
    core: &Core,
    snapshot: &'s Held,
    admitted: &Admitted<'s>,
    wanted: &Wanted<'s>,
    mut head: Head,
    body: ValidBody,
    trail: &mut Trail,
) -> Result<Exchange, Unfetched> {
    let edge = &*core.edge;
    let is_read = head.is_read();
    let (route, upstream) = (admitted.permit().route(), wanted.upstream);
    let mut promise = consistency::take(route, upstream, &mut head, core)?;
    let wish = match &mut promise {
        None => Wish::Usual,
        Some(promise) => {
            let group = core.group(snapshot, upstream).ok_or_else(region::unknown)?;
            let places = Places { upstream, group, lawful: Lawful::of(admitted.permit(), upstream) };
            Box::pin(promise.choose(places, &mut head, core, trail)).await?
        }
    };
    let mut target = region::choose(admitted, upstream, &head, core, snapshot, trail, &wish)?;
    if !wanted.copies {
        target.copy_nowhere();
    }
    if target.may_be_stale() && matches!(wish, Wish::Usual) {
        trail.consistency("writer region down, served by a replica that may be behind");
    }

    authorize::still_fresh(admitted.permit(), edge, is_read, edge.clock.now())?; // a slow body must not outlive its authority
    if trail.durability() == AuditDoc::Strict {
        trail.intent().await?;
    }
    let method = head.method().clone();
    let mut exchange = forward::send(admitted, &target, head, body, core, trail).await?;
    // What anybody may have from anywhere is looked at no more.
    let is_anybodys = route.auth.is_none() && route.residency.is_any() && upstream.residency.is_any();
    if !is_anybodys && streams::lasts(trail.form(), exchange.response.headers()) {
        let source = Source { address: trail.client_address(), shown: trail.peer().shown.clone() };
        let stay = Stay::new(route, admitted.permit().principal().cloned(), source, method, trail.server());
        // Before the snapshot, as whoever looks again does.
        let generation = edge.current.generation();
        let is_current = edge.current.load().is_some_and(|current| std::ptr::eq(&raw const *current, &raw const **snapshot));
        exchange.stay = Some(Box::new(if is_current { stay.known_in(generation) } else { stay }));
    }
    if target.may_be_stale() {
        exchange.response.headers_mut().insert(refuse::STALENESS, HeaderValue::from_static("unknown"));
    }
    if let Some(promise) = promise {
        let kept = Box::pin(promise.keep(upstream, exchange.response.headers_mut(), core, trail)).await;
        kept.map_err(Unfetched::HeldBack)?;
    }
    Ok(exchange)
}

/// What comes of a request that is not refused.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A service's response, and what was read of its body already.
    Service(Exchange, bytes::Bytes),
    /// A response of the gateway's own, or one that it has kept.
    Ready(Response<bytes::Bytes>),
    /// A service's consent to a WebSocket.
    Switched(Box<websocket::Opening>),
}

/// Serves one request: a cheap gate, a reserved record, the stages, and the release of the response.
///
/// # Errors
/// Never: every failure is a response.
///
/// # Cancel
/// Dropping the future (the client hung up) records an abort.
pub async fn handle(core: Arc<Core>, peer: Arc<Peer>, parts: Box<Parts>, body: Intake) -> Result<Response<ReplyBody>, Infallible> {
    let now = core.edge.clock.now();
    let form = Form::of(&parts);
    let snapshot = core.snapshot();
    let sender = crossing::sender(&core.edge, snapshot.as_deref(), &peer, &parts);
    let (is_told, is_crossed) = (sender.is_told(), sender.crossed().is_some());
    let peer = sender.crossed().map_or(peer, |crossed| Arc::clone(&crossed.client));
    // The gateway that the client has called has its own.
    let gate = if is_crossed { Ok(()) } else { core.edge.gate.check(peer.address, now.boot) };
    if let Err(denial) = gate {
        // The one exception to "each request makes a record": a flood is recorded as a number (see `accept::sweep`).
        return Ok(refuse_unrecorded(&core, form, &denial, is_told));
    }
    let revisions = snapshot.as_ref().map(|snapshot| snapshot.revisions).unwrap_or_default();
    let is_head = parts.method == Method::HEAD;
    let mut trail = match Trail::start(&core, &peer, &parts, revisions, now) {
        Ok(trail) => trail,
        Err(denial) => {
            return Ok(refuse_unrecorded(&core, form, &denial, is_told));
        }
    };
    trail.in_form(form);
    let mut limits = LimitFacts::default();
    let mut after = None;
    // Another gateway adds fields of its own.
    let headers_max = core.edge.settings.headers_max + if is_crossed { crossing::FIELDS_MAX } else { 0 };
    let head = head::check(parts, headers_max).and_then(|head| head.in_form(form));
    if is_crossed {
        trail.crossed("a gateway of another region has handed it over");
    }
    let outcome = match (head, sender, snapshot) {
        (Err(denial), _, _) | (_, Sender::Doubtful(denial), _) => Err(denial),
        (Ok(_), _, None) => Err(Denial::new(ProblemKind::NotReady, "this node has no configuration yet").retry_after(2)),
        (Ok(head), Sender::Client, Some(snapshot)) => {
            let stages = respond(&core, &snapshot, head, body, &mut trail, &mut limits, &mut after);
            AssertUnwindSafe(stages).catch_unwind().await.unwrap_or_else(|_panic| Err(panicked(&trail)))
        }
        (Ok(head), Sender::Gateway(crossed), Some(snapshot)) => {
            let stages = Box::pin(crossing::respond(&core, &snapshot, head, body, crossed, &mut trail));
            AssertUnwindSafe(stages).catch_unwind().await.unwrap_or_else(|_panic| Err(panicked(&trail)))
        }
    };
    let mut response = match outcome {
        Ok(Answer::Service(exchange, prefix)) => release(&core, exchange, prefix, trail, &limits, after.as_deref_mut()).await,
        Ok(Answer::Switched(opening)) => Box::pin(websocket::release(&core, *opening, trail, &limits, after.take())).await,
        Ok(Answer::Ready(response)) => release_ready(&core, response, trail, &limits, after.as_deref_mut()).await,
        Err(denial) => refuse_recorded(&core, &denial, trail, &limits).await,
    };
    if let Some(after) = after {
        response = after.finish(response);
    }
    if is_told {
        crossing::mark(&mut response);
    }
    if is_head {
        // HTTP/2 would send the bytes of a problem, and clients take that for a broken stream (RFC 9110 section 9.3.2).
        *response.body_mut() = ReplyBody::Whole(None);
    }
    Ok(response)
}

/// Refuses where there is no record.
fn refuse_unrecorded(core: &Core, form: Form, denial: &Denial, is_told: bool) -> Response<ReplyBody> {
    core.counters.refused(denial.kind);
    let mut response = refuse::response(form, denial, &core.uuid(core.edge.clock.now()).to_string(), &core.edge.region, |_| {});
    if is_told {
        crossing::mark(&mut response);
    }
    response
}

fn panicked(trail: &Trail) -> Denial {
    tracing::error!(request.id = &**trail.request_id(), "a stage panicked; the request is answered with 500");
    Denial::new(ProblemKind::Internal, "the gateway failed; the request may have been processed").maybe_processed()
}

/// Releases a service's response once its record is on disk.
async fn release(
    core: &Arc<Core>,
    exchange: Exchange,
    prefix: bytes::Bytes,
    mut trail: Trail,
    limits: &LimitFacts,
    after: Option<&mut After>,
) -> Response<ReplyBody> {
    let Exchange { response, meter, stay } = exchange;
    let (mut parts, mut body) = response.into_parts();
    if let Some(value) = fields::unrepeated(trail.request_id()) {
        parts.headers.insert(refuse::REQUEST_ID, value);
    }
    if let Some(value) = trail.target_region().and_then(|region| HeaderValue::from_str(region).ok()) {
        parts.headers.insert(refuse::REGION, value);
    }
    limits.write_headers(&mut parts.headers);
    if let Some(after) = after {
        after.change(&mut parts.headers);
    }

    let first = if prefix.is_empty() { first_frame(&mut body).await } else { Ok((Some(Frame::data(prefix)), body.is_end_stream())) };
    let Ok((first, is_whole)) = first else {
        let denial = Denial::new(ProblemKind::UpstreamMalformed, "the service's response broke off at the beginning of its body").maybe_processed();
        return refuse_recorded(core, &denial, trail, limits).await;
    };
    let sizes = is_whole.then(|| (meter.bytes(), first.as_ref().map_or(0, data_len)));
    let receipt = trail.outcome(parts.status.as_u16(), None, sizes);
    if trail.durability() != AuditDoc::Buffered && !is_durable(core, receipt).await {
        trail.abandon();
        let denial = trail::unavailable().maybe_processed();
        core.counters.refused(denial.kind);
        return refuse::response(trail.form(), &denial, trail.request_id(), &core.edge.region, |_| {});
    }
    core.counters.served(trail.route_name(), parts.status, trail.now().boot.nanos_since(trail.started().boot));
    let body = if is_whole {
        ReplyBody::Whole(first.and_then(|frame| frame.into_data().ok()))
    } else {
        let stall = core.edge.settings.stall_timeout.max(trail.idle_timeout());
        ReplyBody::Stream(Box::new(ReplyStream::new(first, body, meter, trail, stall).watched(stay)))
    };
    Response::from_parts(parts, body)
}

/// Releases a response of the gateway's own, or one that it has kept, once its record is on disk.
async fn release_ready(
    core: &Arc<Core>,
    response: Response<bytes::Bytes>,
    mut trail: Trail,
    limits: &LimitFacts,
    after: Option<&mut After>,
) -> Response<ReplyBody> {
    let (mut parts, body) = response.into_parts();
    if let Some(value) = fields::unrepeated(trail.request_id()) {
        parts.headers.insert(refuse::REQUEST_ID, value);
    }
    limits.write_headers(&mut parts.headers);
    if let Some(after) = after {
        let region = trail.target_region().unwrap_or(&core.edge.region);
        if let Ok(value) = HeaderValue::from_str(region) {
            parts.headers.insert(refuse::REGION, value);
        }
        after.change(&mut parts.headers);
    }
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let receipt = trail.outcome(parts.status.as_u16(), None, Some((0, length)));
    if trail.durability() != AuditDoc::Buffered && !is_durable(core, receipt).await {
        let denial = trail::unavailable();
        core.counters.refused(denial.kind);
        return refuse::response(trail.form(), &denial, trail.request_id(), &core.edge.region, |_| {});
    }
    core.counters.served(trail.route_name(), parts.status, trail.now().boot.nanos_since(trail.started().boot));
    Response::from_parts(parts, ReplyBody::Whole(Some(body).filter(|body| !body.is_empty())))
}

/// Answers a refusal; refusals are on disk before they are told, too.
async fn refuse_recorded(core: &Arc<Core>, denial: &Denial, mut trail: Trail, limits: &LimitFacts) -> Response<ReplyBody> {
    if matches!(
        denial.kind,
        ProblemKind::CredentialsInvalid
            | ProblemKind::CredentialsMissing
            | ProblemKind::CertificateNotAsked
            | ProblemKind::HostUnknown
            | ProblemKind::RouteNotFound
    ) && !trail.is_crossed()
    {
        core.edge.gate.failed(trail.client_address(), trail.started().boot);
    }
    core.counters.refused(denial.kind);
    let receipt = trail.outcome(denial.kind.status().as_u16(), Some(denial.kind), Some((0, 0)));
    if denial.kind != ProblemKind::AuditUnavailable && trail.durability() != AuditDoc::Buffered && !is_durable(core, receipt).await {
        let unavailable = trail::unavailable();
        let denial = if denial.is_retryable { unavailable } else { unavailable.maybe_processed() };
        return refuse::response(trail.form(), &denial, trail.request_id(), &core.edge.region, |_| {});
    }
    refuse::response(trail.form(), denial, trail.request_id(), &core.edge.region, |headers| {
        limits.write_headers(headers);
        websocket::handshake::explain(denial.kind, trail.peer().protocol, headers);
    })
}

pub(crate) async fn is_durable(core: &Core, receipt: audit::spool::Receipt) -> bool {
    match core.within(core.edge.settings.audit_timeout, receipt.durable()).await {
        Some(Ok(_seq)) => true,
        Some(Err(_)) => false,
        None => {
            tracing::warn!("a record did not reach the disk in time; its response is withheld");
            false
        }
    }
}

/// Looks once whether the body is already at hand: then one record tells everything, and one write sends it. A body that is
/// broken already is still told as a problem, because nothing has left.
async fn first_frame(body: &mut ServiceBody) -> Result<(Option<Frame<bytes::Bytes>>, bool), BodyError> {
    if body.is_end_stream() {
        return Ok((None, true));
    }
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    match polled {
        std::task::Poll::Ready(Some(Ok(frame))) => {
            let is_whole = frame.is_data() && body.is_end_stream();
            Ok((Some(frame), is_whole))
        }
        std::task::Poll::Ready(None) => Ok((None, true)),
        std::task::Poll::Ready(Some(Err(error))) => Err(error),
        std::task::Poll::Pending => Ok((None, false)),
    }
}

fn data_len(frame: &Frame<bytes::Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX))
}
