//! The way of one request through the cache: what is there, who asks the service, and what becomes of the answer.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use model::{
    problem::{Blame, Denial, ProblemKind},
    purge::Tag,
    signature,
    structure::{
        KeyFreshness, Route,
        filter::{CacheRules, FieldRules},
    },
    time::BootNanos,
};

use super::{
    CACHE_STATUS, Cache, Found, Key, Place,
    flight::{Boarding, Landing, Lead},
    owner,
    policy::{self, Directives, Grants},
    purge::{self, Label, Origin, Position},
    refresh,
    stored::Stored,
};
use crate::{authorize::Permit, forward::Exchange, head::Head, limit::Admitted, runtime::Core, serve::Answer, trail::Trail, validate::ValidBody};

/// How long the whole of a response that may be kept is waited for before it goes on as a stream and is not kept.
const COLLECT_WITHIN: Duration = Duration::from_secs(2);
/// How often a request waits behind a leader whose client hangs up, before it goes on its own.
const WAITS_MAX: usize = 3;

/// What the cache has for a request.
#[derive(Debug)]
pub enum Entry {
    /// A response.
    Answer(Response<Bytes>),
    /// Nothing that may be given: the service is asked, and the ticket sees what comes.
    Fetch(Box<Ticket>),
}

/// A request that goes to the service although its route has a cache.
#[derive(Debug)]
pub struct Ticket {
    rules: CacheRules,
    key: Key,
    place: Place,
    /// The fields that the client sent.
    asked: HeaderMap,
    is_authenticated: bool,
    stored: Option<Arc<Stored>>,
    lead: Option<Lead>,
    may_keep: bool,
    requested_at: BootNanos,
    /// What was purged before the response was looked for.
    position: Position,
    /// How late a purge may be here, as the route has it.
    keys: KeyFreshness,
    /// `fwd` of `Cache-Status`.
    why: &'static str,
}

/// Looks for a response, or boards a flight to the service.
///
/// # Errors
/// What the request that was waited for failed with.
///
/// # Cancel
/// Those who wait behind this request look again, and one of them leads.
pub async fn enter(
    core: &Arc<Core>,
    admitted: &Admitted<'_>,
    rules: CacheRules,
    head: &mut Head,
    body: &ValidBody,
    trail: &mut Trail,
) -> Result<Entry, Denial> {
    let cache = &core.edge.cache;
    let mut ticket = Ticket::new(cache, admitted, rules, head, trail.started().boot);
    let wants = Directives::read(&ticket.asked);
    if let Some(why) = passes_by(&ticket, rules, head, body, wants) {
        ticket.why = why;
        ticket.may_keep = false;
        return Ok(Entry::Fetch(Box::new(ticket)));
    }
    for _ in 0..WAITS_MAX {
        let now = core.edge.clock.boot();
        ticket.requested_at = now;
        ticket.position = cache.purges.position();
        match cache.find(&ticket.key, ticket.place, &ticket.asked) {
            Found::Nothing => ticket.why = "uri-miss",
            Found::OtherVariant => ticket.why = "vary-miss",
            Found::Stored(stored) => {
                let is_wanted = is_good_for(&stored, wants, &ticket.asked, now);
                let is_covered = core.edge.lease.covers(ticket.keys, stored.requested_at(), now);
                let is_fresh = is_covered && stored.ttl(now) > 0;
                if is_wanted && (is_fresh || is_covered && stored.may_be_stale_while_revalidated(now)) {
                    if !is_fresh && let Boarding::Lead(lead) = cache.flights.board(&ticket.key) {
                        ticket.lead = Some(lead);
                        ticket.stored = Some(Arc::clone(&stored));
                        let asked = ticket.asked.clone();
                        refresh::spawn(core, trail.peer(), head, admitted.permit().principal(), ticket);
                        return Ok(Entry::Answer(hit(cache, &stored, &asked, now, "; detail=stale-while-revalidate", trail)));
                    }
                    let detail = if is_fresh { "" } else { "; detail=stale-while-revalidate" };
                    return Ok(Entry::Answer(hit(cache, &stored, &ticket.asked, now, detail, trail)));
                }
                ticket.why = if is_wanted || !is_fresh { "stale" } else { "request" };
                ticket.stored = Some(stored);
            }
        }
        if *head.method() == Method::HEAD {
            ticket.may_keep = false;
            return Ok(Entry::Fetch(Box::new(ticket)));
        }
        if ticket.why == "request" || cache.passes(&ticket.key, now) {
            break;
        }
        let waiter = match cache.flights.board(&ticket.key) {
            Boarding::Lead(lead) => {
                ticket.lead = Some(lead);
                break;
            }
            Boarding::Wait(waiter) => waiter,
        };
        let patience = admitted.permit().route().timeout;
        match tokio::time::timeout(patience, waiter.landing()).await {
            // It was purged on its way: look again.
            Ok(Some(Landing::Stored(stored))) if !ticket.is_current(core, &stored) => {}
            Ok(Some(Landing::Stored(stored))) if stored.is_for(&ticket.asked) && stored.requested_at() > cache.last_change(ticket.place) => {
                cache.collapsed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return Ok(Entry::Answer(ticket.answer(&stored, core.edge.clock.boot(), "; collapsed")));
            }
            Ok(Some(Landing::Failed(denial))) => return ticket.stale(core, trail).map(Entry::Answer).ok_or_else(|| Denial::clone(&denial)),
            // The leader's client hung up: look again.
            Ok(None) => {}
            Ok(Some(Landing::Stored(_) | Landing::Pass)) | Err(_) => break,
        }
    }
    ticket.ask(head);
    Ok(Entry::Fetch(Box::new(ticket)))
}

/// Why a request goes past the cache; `None` when it does not.
fn passes_by(ticket: &Ticket, rules: CacheRules, head: &Head, body: &ValidBody, wants: Directives) -> Option<&'static str> {
    if !matches!(*head.method(), Method::GET | Method::HEAD) {
        return Some("method");
    }
    // Parts and preconditions on the present state are the service's to judge.
    let special = [header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    if special.iter().any(|name| ticket.asked.contains_key(name)) || !matches!(body, ValidBody::Empty) {
        return Some("bypass");
    }
    // Without authentication here the credential is the service's, and nobody here knows whose response it is.
    if ticket.key.consumer.is_none() && ticket.is_authenticated && !rules.shared {
        return Some("bypass");
    }
    wants.no_store.then_some("request")
}

/// Whether the client is content with a stored response (RFC 9111 section 5.2.1).
fn is_good_for(stored: &Stored, wants: Directives, asked: &HeaderMap, now: BootNanos) -> bool {
    let has_pragma = !asked.contains_key(header::CACHE_CONTROL) && asked.get(header::PRAGMA).is_some_and(|value| value == "no-cache");
    let is_young = wants.max_age.is_none_or(|most| stored.age(now) <= most);
    let is_long = wants.min_fresh.is_none_or(|least| stored.ttl(now) >= i64::try_from(least).unwrap_or(i64::MAX));
    !wants.no_cache && !has_pragma && is_young && is_long
}

fn hit(cache: &Cache, stored: &Stored, asked: &HeaderMap, now: BootNanos, detail: &str, trail: &mut Trail) -> Response<Bytes> {
    cache.hits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    trail.consistency("served from the cache");
    let mut response = stored.response(asked, now);
    say(response.headers_mut(), &format!("causeway; hit; ttl={}{detail}", stored.ttl(now)));
    response
}

/// Adds this cache's part behind those of the caches nearer to the service (RFC 9211 section 2).
fn say(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.append(CACHE_STATUS, value);
    }
}

impl Ticket {
    fn new(cache: &Cache, admitted: &Admitted<'_>, rules: CacheRules, head: &Head, now: BootNanos) -> Self {
        let permit = admitted.permit();
        let headers = &head.parts.headers;
        let is_signed = signature::field::is_carried(headers);
        let has_credential = headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key") || is_signed;
        Self {
            rules,
            key: Key::new(permit.route(), rules.scope, owner(permit, rules.shared), head),
            place: cache.place_of(head),
            asked: headers.clone(),
            is_authenticated: permit.principal().is_some() || has_credential,
            stored: None,
            lead: None,
            may_keep: true,
            requested_at: now,
            position: cache.purges.position(),
            keys: permit.route().keys,
            why: "miss",
        }
    }

    /// Whether what comes for a permit may be kept here, and is for whom this asks: labels may have changed since.
    pub(super) fn is_for(&self, permit: &Permit<'_>, region: &str) -> bool {
        permit.may_keep_in(region) && self.key.consumer == owner(permit, self.rules.shared)
    }

    /// Makes the request ask for all of it, or for a confirmation of what is stored: the client's own condition is evaluated
    /// over what comes back.
    pub(super) fn ask(&self, head: &mut Head) {
        let headers = &mut head.parts.headers;
        headers.remove(header::IF_NONE_MATCH);
        headers.remove(header::IF_MODIFIED_SINCE);
        for (name, value) in self.stored.iter().filter_map(|stored| stored.validators()).flatten() {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
    }

    /// Takes what the service answered, or failed with.
    ///
    /// # Errors
    /// The failure, when there is no stored response to give in its place.
    pub(crate) async fn land(mut self, core: &Core, route: &Route, outcome: Result<Exchange, Denial>, trail: &mut Trail) -> Result<Answer, Denial> {
        core.edge.cache.misses.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut exchange = match outcome {
            Ok(exchange) => exchange,
            Err(denial) => return self.failed(core, denial, trail).map(Answer::Ready),
        };
        let tags = purge::take_tags(exchange.response.headers_mut());
        if !self.may_keep {
            say(exchange.response.headers_mut(), &format!("causeway; fwd={}", self.why));
            return Ok(Answer::Service(exchange, Bytes::new()));
        }
        let status = exchange.response.status();
        if matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && let Some(stale) = self.stale(core, trail)
        {
            return Ok(Answer::Ready(stale));
        }
        if status == StatusCode::NOT_MODIFIED
            && let Some(stored) = self.stored.clone().filter(|stored| stored.validators().is_some())
        {
            return Ok(Answer::Ready(self.confirmed(core, route, &stored, exchange, tags.as_deref())));
        }
        // A response whose tags cannot be read could not be purged by them.
        let freshness = self.freshness(core, route, status, exchange.response.headers());
        let Some((freshness, tags)) = freshness.zip(tags) else {
            return Ok(self.pass(core, exchange, Bytes::new()));
        };
        match collect(exchange.response.body_mut(), self.rules.object_bytes_max).await {
            Collected::Whole(body) => {
                let headers = std::mem::take(exchange.response.headers_mut());
                let now = core.edge.clock.now();
                let origin = Origin { requested_at: self.requested_at, label: Label::new(self.position, route, &tags) };
                let stored = Stored::new(status, headers, &body, &self.asked, freshness, origin, (now.boot, now.wall));
                Ok(Answer::Ready(self.keep(core, stored, exchange, "; stored")))
            }
            Collected::More(prefix) => Ok(self.pass(core, exchange, prefix)),
            Collected::Broken => {
                let denial = Denial::new(ProblemKind::UpstreamMalformed, "the service's response broke off").maybe_processed();
                self.failed(core, denial, trail).map(Answer::Ready)
            }
        }
    }

    fn freshness(&self, core: &Core, route: &Route, status: StatusCode, headers: &HeaderMap) -> Option<policy::Freshness> {
        // What the gateway itself makes of a field for each request cannot be compared with what a client sends.
        let rules = route.filters.as_ref().and_then(|filters| filters.request_fields.as_ref());
        if policy::vary(headers).any(|name| rules.is_some_and(|rules| FieldRules::gives(rules, &name))) {
            return None;
        }
        let grants = Grants { while_revalidate: self.rules.while_revalidate, if_error: self.rules.if_error, is_authenticated: self.is_authenticated };
        let now = core.edge.clock.now();
        policy::freshness(status, headers, grants, now.wall, now.boot.nanos_since(self.requested_at) / 1_000_000_000)
    }

    /// The service says that what is stored is still good.
    fn confirmed(mut self, core: &Core, route: &Route, stored: &Stored, exchange: Exchange, tags: Option<&[Tag]>) -> Response<Bytes> {
        let headers = stored.confirmed(exchange.response.headers());
        let now = core.edge.clock.now();
        let fresh = self.freshness(core, route, stored.status(), &headers);
        let freshness = fresh.unwrap_or(policy::Freshness { age: 0, lifetime: 0, while_revalidate: 0, if_error: 0 });
        let label = tags.and_then(|tags| Label::new(self.position, route, tags).and(stored.label()));
        self.may_keep = fresh.is_some() && label.is_some();
        let label = label.unwrap_or_else(|| Label::new(self.position, route, &[]));
        let origin = Origin { requested_at: self.requested_at, label };
        let again = Stored::new(stored.status(), headers, stored.body(), &self.asked, freshness, origin, (now.boot, now.wall));
        self.keep(core, again, exchange, "; fwd-status=304")
    }

    /// Keeps a response, tells those who wait, and gives the connection back.
    fn keep(mut self, core: &Core, stored: Stored, exchange: Exchange, detail: &str) -> Response<Bytes> {
        let now = core.edge.clock.boot();
        // Its connection went back when its body was over.
        drop(exchange);
        let stored = Arc::new(stored);
        // What was purged while it was on its way goes to the one who asked before, and to nobody after.
        let is_purged = core.edge.cache.purges.names(stored.label());
        if self.may_keep && !is_purged {
            core.edge.cache.keep(self.key.clone(), Arc::clone(&stored));
            if let Some(lead) = self.lead.take() {
                lead.land(Landing::Stored(Arc::clone(&stored)));
            }
        }
        self.answer(&stored, now, if is_purged { "; detail=purged" } else { detail })
    }

    /// Whether a response may be given as far as purges go: those that are known here, and those that may not be yet.
    fn is_current(&self, core: &Core, stored: &Stored) -> bool {
        let is_covered = core.edge.lease.covers(self.keys, stored.requested_at(), core.edge.clock.boot());
        is_covered && !core.edge.cache.purges.names(stored.label())
    }

    /// Lets a response through that may not be kept.
    fn pass(mut self, core: &Core, mut exchange: Exchange, prefix: Bytes) -> Answer {
        // An error says nothing about what was there before; anything else takes its place.
        let superseded = self.stored.as_ref().filter(|_| !exchange.response.status().is_server_error());
        core.edge.cache.pass(self.key.clone(), superseded, core.edge.clock.boot());
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::Pass);
        }
        say(exchange.response.headers_mut(), &format!("causeway; fwd={}", self.why));
        Answer::Service(exchange, prefix)
    }

    /// A failure: what is stored may stand in for it, else those who wait share it.
    fn failed(mut self, core: &Core, denial: Denial, trail: &mut Trail) -> Result<Response<Bytes>, Denial> {
        let is_upstreams = denial.kind.blame() == Blame::Upstream || matches!(denial.kind, ProblemKind::Overloaded | ProblemKind::RegionUnavailable);
        if !is_upstreams {
            return Err(denial);
        }
        if let Some(stale) = self.stale(core, trail) {
            return Ok(stale);
        }
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::Failed(Arc::new(denial.clone())));
        }
        Err(denial)
    }

    /// What is stored, if it may be given because the service failed.
    fn stale(&mut self, core: &Core, trail: &mut Trail) -> Option<Response<Bytes>> {
        let now = core.edge.clock.boot();
        let stored = self.stored.clone().filter(|stored| stored.may_be_stale_on_error(now) && self.is_current(core, stored))?;
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::Stored(Arc::clone(&stored)));
        }
        trail.consistency("served stale from the cache, the service failed");
        Some(self.answer(&stored, now, "; detail=stale-if-error"))
    }

    fn answer(&self, stored: &Stored, now: BootNanos, detail: &str) -> Response<Bytes> {
        let mut response = stored.response(&self.asked, now);
        say(response.headers_mut(), &format!("causeway; fwd={}; ttl={}{detail}", self.why, stored.ttl(now)));
        response
    }
}

/// What could be read of a body.
#[derive(Debug)]
enum Collected {
    /// All of it.
    Whole(Bytes),
    /// Its beginning: it is too large, or comes too slowly.
    More(Bytes),
    /// It broke off.
    Broken,
}

/// Reads a body of at most so many bytes. Trailers are dropped, as any recipient may (RFC 9110 section 6.5.1).
async fn collect<B: Body<Data = Bytes> + Unpin>(body: &mut B, bytes_max: u64) -> Collected {
    if body.size_hint().lower() > bytes_max {
        return Collected::More(Bytes::new());
    }
    let mut whole = BytesMut::new();
    let deadline = tokio::time::Instant::now() + COLLECT_WITHIN;
    loop {
        if u64::try_from(whole.len()).unwrap_or(u64::MAX) > bytes_max {
            return Collected::More(whole.freeze());
        }
        match tokio::time::timeout_at(deadline, body.frame()).await {
            Err(_late) => return Collected::More(whole.freeze()),
            Ok(None) => return Collected::Whole(whole.freeze()),
            Ok(Some(Err(_))) => return Collected::Broken,
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    whole.extend_from_slice(&data);
                }
            }
        }
    }
}
