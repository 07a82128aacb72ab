//! The record of one request: its place is reserved before the request acts, and dropping it writes it.
//!
//! A client that hangs up, a stage that panics, an upstream that dies: each ends in a drop, and a drop records. There is
//! exactly one outcome record for each request, and one close record where the body streamed.

mod method;

use std::{net::IpAddr, sync::Arc};

use audit::{
    event::{Class, Decision, Event, Outcome, Personal, Phase},
    spool::{Durability, Receipt, Reservation},
};
use http::{HeaderName, HeaderValue, Method, header, request::Parts};
use model::{
    change::Revisions,
    key::KeyId,
    policy::AuditDoc,
    problem::{Denial, ProblemKind},
    structure::{Route, Target, Upstream},
    time::{BootNanos, Now},
};
use uuid::Uuid;

use crate::{
    authenticate::{Principal, Proof},
    balance::places::Place,
    forward::Owed,
    grpc::Form,
    head, health,
    route::Matched,
    runtime::{Core, Edge},
    stay::Server,
    tls::Peer,
    validate::Findings,
};

/// Longest path and host that a record keeps, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// What stands in a record in place of a text with a credential in it.
const REDACTED: &str = "[redacted: holds a credential]";
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The record of one request on its way.
#[derive(Debug)]
pub struct Trail {
    core: Arc<Core>,
    reservation: Reservation,
    facts: Box<Facts>,
}

/// What the record will say; apart from the reservation, so that both can be used at once.
#[derive(Debug)]
struct Facts {
    edge: Arc<Edge>,
    peer: Arc<Peer>,
    stage: Stage,
    event_id: Uuid,
    request_id: Arc<str>,
    started: Now,
    method: Method,
    host: Box<str>,
    path: Box<str>,
    user_agent: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    revisions: Revisions,
    route: Option<Arc<Route>>,
    principal: Option<Principal>,
    key_seen: Option<KeyId>,
    operation: Option<String>,
    note: Option<&'static str>,
    is_crossed: bool,
    limiter: Option<Arc<str>>,
    target: Option<(Arc<str>, Arc<Target>)>,
    upstream: Option<Arc<Upstream>>,
    place: Option<Place>,
    form: Form,
    ends: Option<BootNanos>,
    owed: Option<Box<Owed>>,
    upstream_us: Option<u64>,
    upstream_status: Option<u16>,
    reason: Option<ProblemKind>,
    status: u16,
    sent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No outcome is recorded yet.
    Deciding,
    /// The outcome is recorded, the body goes on.
    Streaming,
    /// Everything is recorded.
    Done,
}

impl Trail {
    /// Reserves the places of a request's records.
    ///
    /// # Errors
    /// `audit-unavailable`: then the request must not be processed.
    pub fn start(core: &Arc<Core>, peer: &Arc<Peer>, parts: &Parts, revisions: Revisions, now: Now) -> Result<Self, Denial> {
        let reservation = core.lane.reserve(Durability::Durable, 2).map_err(|_| unavailable())?;
        let event_id = core.uuid(now);
        let request_id = head::client_request_id(&parts.headers)
            .map_or_else(|| Arc::from(&*event_id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())), Arc::from);
        let path = parts.uri.path();
        let host = parts.uri.host().or_else(|| parts.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
        Ok(Self {
            core: Arc::clone(core),
            reservation,
            facts: Box::new(Facts {
                edge: Arc::clone(&core.edge),
                peer: Arc::clone(peer),
                stage: Stage::Deciding,
                event_id,
                request_id,
                started: now,
                method: match recordable(parts.method.as_str()) {
                    REDACTED => Method::from_bytes(b"REDACTED").unwrap_or_default(),
                    _ => parts.method.clone(),
                },
                host: recordable(host).into(),
                path: recordable(path).into(),
                user_agent: parts.headers.get(header::USER_AGENT).map(|value| match value.to_str() {
                    Ok(text) if recordable(text) == REDACTED => HeaderValue::from_static(REDACTED),
                    _ => value.clone(),
                }),
                traceparent: parts.headers.get(TRACEPARENT).filter(|value| is_traceparent(value.as_bytes())).cloned(),
                revisions,
                route: None,
                principal: None,
                key_seen: None,
                operation: None,
                note: None,
                is_crossed: false,
                limiter: None,
                target: None,
                upstream: None,
                place: None,
                form: Form::Problem,
                ends: None,
                owed: None,
                upstream_us: None,
                upstream_status: None,
                reason: None,
                status: 0,
                sent: 0,
            }),
        })
    }

    /// The id that the client sees.
    pub fn request_id(&self) -> &Arc<str> {
        &self.facts.request_id
    }

    /// The other end of the connection.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.facts.peer
    }

    /// The core that serves it.
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The form in which the client is told of a failure.
    pub const fn form(&self) -> Form {
        self.facts.form
    }

    /// Notes that form.
    pub const fn in_form(&mut self, form: Form) {
        self.facts.form = form;
    }

    /// Notes when the client of a call stops waiting.
    pub const fn ends(&mut self, at: BootNanos) {
        self.facts.ends = Some(at);
    }

    /// How long the client of a call still waits, if it has said so.
    pub fn left(&self) -> Option<std::time::Duration> {
        self.facts.ends.map(|ends| std::time::Duration::from_nanos(ends.nanos_since(self.now().boot)))
    }

    /// Keeps what a call's trailers will say about its endpoint.
    pub(crate) fn owe(&mut self, owed: Box<Owed>) {
        self.facts.owed = Some(owed);
    }

    /// Tells what became of a call.
    pub fn call_ended(&mut self, outcome: health::Outcome) {
        if let Some(owed) = self.facts.owed.take() {
            owed.tell(outcome, &self.core.edge.tally, self.core.edge.clock.boot());
        }
    }

    /// Where the request came from.
    pub fn client_address(&self) -> IpAddr {
        self.facts.peer.address
    }

    /// When the request's head was complete.
    pub const fn started(&self) -> Now {
        self.facts.started
    }

    /// Reads the clocks.
    pub fn now(&self) -> Now {
        self.core.edge.clock.now()
    }

    /// The matched route's name, for counters.
    pub fn route_name(&self) -> Option<&Arc<str>> {
        self.facts.route.as_ref().map(|route| &route.name)
    }

    /// The region that the request went to.
    pub fn target_region(&self) -> Option<&str> {
        self.facts.target.as_ref().map(|(region, _)| &**region)
    }

    /// Who answered, and where.
    pub(crate) fn server(&self) -> Option<Server> {
        let (region, _) = self.facts.target.as_ref()?;
        Some(Server { region: Arc::clone(region), upstream: Arc::clone(&self.facts.upstream()?.name) })
    }

    /// The longest wait for a piece of the service's body.
    pub fn idle_timeout(&self) -> std::time::Duration {
        self.facts.upstream().map_or(std::time::Duration::from_mins(1), |upstream| upstream.idle_timeout)
    }

    /// What must be on disk before a response is released.
    pub fn durability(&self) -> AuditDoc {
        if self.facts.is_crossed { AuditDoc::Buffered } else { self.facts.route.as_ref().map_or(AuditDoc::Durable, |route| route.audit) }
    }

    /// Notes the route, and reserves what its durability class needs.
    ///
    /// # Errors
    /// `audit-unavailable`.
    pub fn matched(&mut self, matched: &Matched<'_>) -> Result<(), Denial> {
        self.facts.route = Some(Arc::clone(matched.route()));
        let again = match self.durability() {
            AuditDoc::Durable => return Ok(()),
            AuditDoc::Buffered => self.core.lane.reserve(Durability::Buffered, 2),
            AuditDoc::Strict | AuditDoc::Replicated => self.core.lane.reserve(Durability::Strict, 3),
        };
        self.reservation = again.map_err(|_| unavailable())?;
        Ok(())
    }

    /// Notes the id of a well-formed key, whether it is valid or not.
    pub const fn key_seen(&mut self, key: Option<KeyId>) {
        self.facts.key_seen = key;
    }

    /// Whether the service gets the caller's token.
    pub fn forwards_token(&self) -> bool {
        self.facts.principal.as_ref().and_then(Principal::token).is_some_and(|token| token.issuer.forward)
    }

    /// The field that tells the service about the caller's certificate (RFC 9440).
    pub fn client_cert(&self) -> Option<HeaderValue> {
        let certified = self.facts.principal.as_ref()?.certified().filter(|certified| certified.authority.forward())?;
        certified.certificate.field()
    }

    /// Notes who calls.
    pub fn principal(&mut self, principal: Option<&Principal>) {
        self.facts.principal = principal.cloned();
    }

    /// Notes the limit that refused.
    pub fn limited_by(&mut self, limiter: Option<Arc<str>>) {
        self.facts.limiter = limiter;
    }

    /// Notes what validation found.
    pub fn findings(&mut self, findings: Findings) {
        self.facts.operation = findings.operation;
        if findings.reported {
            self.facts.note = Some("request-invalid, reported only");
        }
    }

    /// Notes where the request goes.
    pub fn target(&mut self, region: &Arc<str>, target: &Arc<Target>) {
        self.facts.target = Some((Arc::clone(region), Arc::clone(target)));
    }

    /// Notes that another service than the route's own takes the request.
    pub fn diverted(&mut self, upstream: &Arc<Upstream>) {
        self.facts.upstream = Some(Arc::clone(upstream));
    }

    /// Keeps the request's place at its endpoint until the answer is over.
    pub fn hold(&mut self, place: Option<Place>) {
        self.facts.place = place;
    }

    /// Notes that the route's consistency promise could not be kept, and what was done instead.
    pub const fn consistency(&mut self, note: &'static str) {
        self.facts.note = Some(note);
    }

    /// Notes that another gateway has decided over it. That one's record is what its client's answer waits for; this one need not be on
    /// disk first.
    pub(crate) const fn crossed(&mut self, note: &'static str) {
        (self.facts.is_crossed, self.facts.note) = (true, Some(note));
    }

    /// Whether another gateway has decided over it.
    pub(crate) const fn is_crossed(&self) -> bool {
        self.facts.is_crossed
    }

    /// Notes what the service answered.
    pub const fn upstream_answered(&mut self, status: u16, took_us: u64) {
        self.facts.upstream_status = Some(status);
        self.facts.upstream_us = Some(took_us);
    }

    /// Notes how much of the body has left, for the record of an abort.
    pub const fn sent(&mut self, bytes: u64) {
        self.facts.sent = bytes;
    }

    /// Writes the intent of a request on a `strict` route, and waits until it is on disk.
    ///
    /// # Errors
    /// `audit-unavailable`: then nothing may be sent to the service.
    pub async fn intent(&mut self) -> Result<(), Denial> {
        let receipt = self.write(Phase::Intent, Outcome::Unknown, self.now(), None, None);
        match self.core.within(self.core.edge.settings.audit_timeout, receipt.durable()).await {
            Some(Ok(_seq)) => Ok(()),
            Some(Err(_)) | None => Err(unavailable()),
        }
    }

    /// Writes the outcome. With `whole` sizes the body is at hand, and no close record follows.
    pub fn outcome(&mut self, status: u16, reason: Option<ProblemKind>, whole: Option<(u64, u64)>) -> Receipt {
        self.facts.status = status;
        self.facts.reason = reason;
        if whole.is_some() {
            self.facts.place = None;
        }
        self.facts.stage = if whole.is_some() { Stage::Done } else { Stage::Streaming };
        if whole.is_some() {
            self.reservation.keep(1);
        }
        let outcome = match reason {
            None => Outcome::Ok,
            Some(kind) if kind.status().is_server_error() => Outcome::Error,
            Some(_) => Outcome::Denied,
        };
        self.write(Phase::Outcome, outcome, self.now(), whole.map(|(request, _)| request), whole.map(|(_, response)| response))
    }

    /// Gives up on a response whose record could not be made durable: nothing more is written.
    pub const fn abandon(&mut self) {
        self.facts.stage = Stage::Done;
    }

    /// Notes what a later decision ended, for the close record.
    pub const fn ended_by(&mut self, reason: Option<ProblemKind>) {
        self.facts.reason = reason;
    }

    /// Writes the close record of a body that streamed, once.
    pub fn close(&mut self, outcome: Outcome, response_bytes: u64, request_bytes: u64) {
        if self.facts.stage != Stage::Streaming {
            return;
        }
        self.facts.stage = Stage::Done;
        self.facts.place = None;
        drop(self.write(Phase::Close, outcome, self.now(), Some(request_bytes), Some(response_bytes)));
    }

    fn write(&mut self, phase: Phase, outcome: Outcome, now: Now, request_bytes: Option<u64>, response_bytes: Option<u64>) -> Receipt {
        let mut event = self.facts.event(phase, outcome, now);
        event.request_bytes = request_bytes;
        event.response_bytes = response_bytes;
        self.reservation.record(&event)
    }
}

impl Facts {
    /// The service that takes the request.
    fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_deref().or_else(|| self.route.as_ref().map(|route| &*route.upstream))
    }

    fn event(&self, phase: Phase, outcome: Outcome, now: Now) -> Event<'_> {
        let edge = &self.edge;
        let mut event = Event::new(Class::Access, phase, self.event_id, now.wall.0, &edge.region, &edge.node, &self.request_id);
        event.outcome = outcome;
        event.decision = if self.reason.is_some() { Decision::Deny } else { Decision::Allow };
        event.severity = if outcome == Outcome::Error { 3 } else { 1 };
        self.describe_caller(&mut event);
        event.method = Some(self.method.as_str());
        event.host = Some(&self.host);
        event.path = Some(&self.path);
        event.scheme = Some("https");
        event.protocol = Some(self.peer.protocol.name());
        event.route = self.route.as_ref().map(|route| &*route.name);
        event.upstream = self.upstream().map(|upstream| &*upstream.name);
        event.api_operation = self.operation.as_deref();
        event.consistency = self.note;
        event.limiter = self.limiter.as_deref();
        event.target_region = self.target.as_ref().map(|(region, _)| &**region);
        event.upstream_address = self.target.as_ref().map(|(_, target)| &*target.address);
        event.upstream_us = self.upstream_us;
        event.upstream_status = self.upstream_status;
        event.reason = self.reason.map(ProblemKind::code);
        event.status = (self.status != 0).then_some(self.status);
        event.epoch = Some(self.revisions.epoch);
        event.authority_revision = Some(self.revisions.authority);
        event.structural_revision = Some(self.revisions.structural);
        event.duration_us = Some(now.boot.nanos_since(self.started.boot) / 1_000);
        let subject = self.principal.as_ref().and_then(Principal::subject);
        event.personal = Personal { subject, client_address: Some(&self.peer.address_text), user_agent: text(self.user_agent.as_ref()) };
        event.traceparent = text(self.traceparent.as_ref());
        event
    }

    fn describe_caller<'t>(&'t self, event: &mut Event<'t>) {
        event.tenant = self.route.as_ref().map(|route| &*route.tenant);
        if let Some(principal) = &self.principal {
            event.consumer = Some(&principal.consumer.name);
            event.application = Some(&principal.application.name);
            event.principal_kind = Some(match principal.proof {
                Proof::Key(_) => "key",
                Proof::Token(_) => "token",
                Proof::Certificate(_) => "certificate",
                Proof::Signature(_) => "signature",
            });
            event.auth_method = Some(method::of(principal));
            event.issuer = principal.issuer();
        }
        event.certificate = self.peer.shown.thumbprint_text();
        let key = self.principal.as_ref().and_then(Principal::key).map(|proof| proof.id.as_str());
        event.key_id = key.or_else(|| self.key_seen.as_ref().map(KeyId::as_str));
        event.tls_version = Some(self.peer.tls.version);
        event.tls_cipher = Some(self.peer.tls.cipher);
        event.tls_group = Some(self.peer.tls.group);
        event.sni = self.peer.tls.server_name.as_deref();
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        match self.facts.stage {
            Stage::Done => {}
            Stage::Deciding => {
                let outcome = if panicked { Outcome::Error } else { Outcome::Aborted };
                self.facts.stage = Stage::Done;
                drop(self.write(Phase::Outcome, outcome, self.now(), None, Some(0)));
                self.core.counters.aborted();
            }
            Stage::Streaming => {
                self.close(if panicked { Outcome::Error } else { Outcome::Aborted }, self.facts.sent, 0);
                self.core.counters.aborted();
            }
        }
    }
}

/// The refusal when the log cannot take a record.
pub fn unavailable() -> Denial {
    Denial::new(ProblemKind::AuditUnavailable, "the access log cannot take this request's record; nothing is served unrecorded").retry_after(5)
}

/// Whether a field has the form that W3C Trace Context gives it (section 3.2): hexadecimal digits and three hyphens.
fn is_traceparent(value: &[u8]) -> bool {
    value.len() == 55 && value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

/// A text as a record may hold it: a credential must not reach the log, wherever a client has put it.
fn recordable(text: &str) -> &str {
    if head::holds_credential(text) || model::jwt::held::is_held_by(text) { REDACTED } else { cut(text) }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}
