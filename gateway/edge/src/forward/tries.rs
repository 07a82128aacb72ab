//! The tries of one request: which endpoint each goes to, what its end says about that endpoint, and whether another follows.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use model::{
    problem::{Denial, ProblemKind},
    structure::{
        Route,
        resilience::{InFlight, Resilience, Retries},
    },
    time::BootNanos,
};

use super::{
    Attempt, Exchange, call_over, timed_out, unreachable,
    verdict::{Owed, Verdict},
};
use crate::{
    balance::{
        breaker::Pass,
        cluster::{Cluster, Facts, Peer, Tried},
        places::Place,
        tally::Event,
    },
    body::{Meter, RequestBody},
    deadline::Within,
    grpc::{self, replay::Replay},
    health::Outcome,
    message::Message,
    region::{Candidate, Target},
    runtime::Core,
    trail::Trail,
    validate,
};

/// Endpoints that are looked at for a place before one is waited for.
const FULL_MAX: usize = 5;
/// The longest pause before a retry, however often it was doubled.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The tries of one request.
pub(super) struct Tries<'s> {
    core: &'s Core,
    route: &'s Route,
    target: &'s Target<'s>,
    deadline: BootNanos,
    /// Something that was sent may be sent again: the method is idempotent (RFC 9110 section 9.2.2) and the body at hand; or
    /// it is a call of gRPC, and the route names the statuses after which its calls are repeated.
    may_repeat: bool,
    is_call: bool,
    /// When the client of a call stops waiting, if it has said so.
    ends: Option<BootNanos>,
    is_at_hand: bool,
    made: u32,
    given_up: GivenUp,
    tried: Tried,
    /// The region that `tried` is about.
    cluster: &'s Cluster,
    /// Why the last try failed.
    failure: Option<Denial>,
}

/// What became of the tries that were given up.
#[derive(Debug, Clone, Copy)]
enum GivenUp {
    /// No service has had anything of them.
    Unsent,
    /// A service may have done what was asked.
    PerhapsSent,
}

/// One try, from the choice of its endpoint to what became of it. Dropped in between, it says nothing about the endpoint.
pub(super) struct Turn<'s> {
    candidate: Candidate<'s>,
    cluster: &'s Cluster,
    peer: &'s Peer,
    pass: Pass,
    place: Option<Place>,
    began: BootNanos,
}

/// What follows a try.
pub(super) enum Next {
    /// This is the answer.
    Answer(Exchange),
    /// Another try, with this body.
    Again(RequestBody),
}

impl<'s> Turn<'s> {
    /// The endpoint.
    pub(super) const fn candidate(&self) -> &Candidate<'s> {
        &self.candidate
    }
}

impl<'s> Tries<'s> {
    pub(super) fn new(core: &'s Core, route: &'s Route, target: &'s Target<'s>, deadline: BootNanos, message: &Message) -> Option<Self> {
        let is_at_hand = !matches!(message.body, RequestBody::Stream(_));
        let is_call = message.is_call();
        let may_repeat = is_at_hand && is_idempotent(message.method()) || is_call && !route.retries.grpc.is_empty();
        let cluster = target.clusters().next()?;
        let (made, given_up, tried, failure) = (0, GivenUp::Unsent, Tried::default(), None);
        let ends = message.ends();
        Some(Self { core, route, target, deadline, may_repeat, is_call, ends, is_at_hand, made, given_up, tried, cluster, failure })
    }

    /// For a request that another gateway has handed over: that one tries again what may have been sent, by the same route.
    pub(super) const fn leave_repeating_to_the_first(&mut self) {
        self.may_repeat = false;
    }

    /// Whether a service may have done something for a try that has not been answered to the client.
    pub(super) const fn may_have_sent(&self) -> bool {
        matches!(self.given_up, GivenUp::PerhapsSent)
    }

    /// Whether a try was made before the one that was chosen last.
    pub(super) const fn is_later(&self) -> bool {
        self.made > 1
    }

    /// Chooses the endpoint of the next try, and waits for a place there if the service has a cap.
    pub(super) async fn next(&mut self, trail: &mut Trail) -> Result<Turn<'s>, Denial> {
        let now = self.core.edge.clock.boot();
        if self.made == 0 {
            self.target.group().budget.request(now);
        }
        let (mut refusal, mut full) = (None, None);
        while let Some((cluster, peer)) = self.pick(now) {
            let pass = match self.pass(cluster, now) {
                Ok(pass) => pass,
                // The breaker is about the whole region: the next one, if the request may go there.
                Err(denial) => {
                    refusal = Some(denial);
                    if self.move_on() {
                        continue;
                    }
                    break;
                }
            };
            self.tried.add(cluster.position(peer));
            let Some(cap) = &self.resilience().in_flight else { return Ok(self.turn(cluster, peer, pass, None, now, trail)) };
            if let Some(place) = peer.kept.endpoint.places().take(cap.max) {
                return Ok(self.turn(cluster, peer, pass, Some(place), now, trail));
            }
            full = Some((cluster, peer, pass, cap));
            if self.tried.len() >= FULL_MAX {
                break;
            }
        }
        if let Some((cluster, peer, pass, cap)) = full {
            if let Some(place) = self.wait(cap, peer).await {
                return Ok(self.turn(cluster, peer, pass, Some(place), self.core.edge.clock.boot(), trail));
            }
            refusal = Some(overloaded());
        }
        Err(self.failure.take().or(refusal).unwrap_or_else(unreachable))
    }

    fn turn(&mut self, cluster: &'s Cluster, peer: &'s Peer, pass: Pass, place: Option<Place>, now: BootNanos, trail: &mut Trail) -> Turn<'s> {
        trail.target(&cluster.region, &peer.target);
        self.made += 1;
        Turn { candidate: self.target.candidate(cluster, peer), cluster, peer, pass, place, began: now }
    }

    async fn wait(&self, cap: &InFlight, peer: &Peer) -> Option<Place> {
        let tally = &self.core.edge.tally;
        tally.count(Event::Queued);
        let place = peer.kept.endpoint.places().wait(cap, cap.wait.min(self.remaining(self.core.edge.clock.boot()))).await;
        if place.is_none() {
            tally.count(Event::QueueRefused);
        }
        place
    }

    fn resilience(&self) -> &'s Resilience {
        &self.target.upstream().resilience
    }

    fn pick(&mut self, now: BootNanos) -> Option<(&'s Cluster, &'s Peer)> {
        let edge = &self.core.edge;
        loop {
            let all = self.cluster.is_in_panic(self.target.upstream(), edge.health.changes(), now);
            if all && self.made == 0 && self.tried.is_empty() {
                edge.tally.count(Event::Panic);
            }
            let facts = Facts { dice: &self.core.dice, now, all, is_retry: self.made > 0 };
            if let Some(peer) = self.cluster.pick(self.resilience(), self.target.hash(), &self.tried, facts) {
                return Some((self.cluster, peer));
            }
            if !self.move_on() {
                return None;
            }
        }
    }

    /// Turns to the next region that may serve the request.
    fn move_on(&mut self) -> bool {
        let here = self.cluster;
        let Some(next) = self.target.clusters().skip_while(|cluster| !std::ptr::eq(*cluster, here)).nth(1) else { return false };
        self.cluster = next;
        self.tried = Tried::default();
        true
    }

    fn pass(&self, cluster: &Cluster, now: BootNanos) -> Result<Pass, Denial> {
        let (Some(breaker), Some(rule)) = (&cluster.breaker, &self.resilience().breaker) else { return Ok(Pass::Free) };
        breaker.admit(rule, now).map_err(|nanos| {
            self.core.edge.tally.count(Event::BreakerRefused);
            Denial::new(ProblemKind::CircuitOpen, "the service failed too often and is left alone for a moment")
                .retry_after(nanos.div_ceil(1_000_000_000).max(1))
        })
    }

    const fn remaining(&self, now: BootNanos) -> Duration {
        Duration::from_nanos(self.deadline.nanos_since(now))
    }

    /// The body to send again, where the route wants that and it is safe.
    pub(super) fn copy(&self, message: &Message) -> Option<RequestBody> {
        if !self.may_repeat || self.made > self.route.retries.max || !self.route.retries.wants_copy() {
            return None;
        }
        match &message.body {
            RequestBody::Empty => Some(RequestBody::Empty),
            RequestBody::Whole(bytes) => Some(RequestBody::Whole(bytes.clone())),
            RequestBody::Stream(_) => None,
        }
    }

    /// Keeps what passes of a call's body, where the route repeats calls: most are one small message.
    pub(super) fn keep(&self, message: &mut Message) -> Option<Arc<Replay>> {
        let may = self.is_call && self.may_repeat && self.made <= self.route.retries.max;
        if may { message.body.keep() } else { None }
    }

    /// Runs a try within its deadline and the request's; `None` when it took too long.
    pub(super) fn within<F: Future>(&self, turn: &Turn<'_>, tried: F) -> Within<'s, F, fn() -> bool> {
        let per_try = self.route.retries.per_try.filter(|_| self.is_at_hand);
        let remaining = self.remaining(turn.began);
        let limit = per_try.map_or(remaining, |per_try| per_try.min(remaining));
        self.core.within(limit, tried)
    }

    /// Notes what became of a try, and decides whether another follows.
    pub(super) async fn judge(
        &mut self,
        turn: Turn<'s>,
        result: Option<Result<Exchange, Attempt>>,
        spare: Option<RequestBody>,
        meter: &Meter,
        trail: &mut Trail,
    ) -> Result<Next, Denial> {
        let retries = &self.route.retries;
        // What a client may send again nobody has sent.
        if !matches!(&result, Some(Err(Attempt::NotSent { .. }))) && !matches!(&result, Some(Err(Attempt::Failed(denial))) if denial.is_retryable) {
            self.given_up = GivenUp::PerhapsSent;
        }
        let (denial, event, again) = match result {
            Some(Ok(exchange)) => {
                let (place, wants_another) = self.answered(turn, &exchange, trail);
                let spare = spare.filter(|_| wants_another && self.may_try(Event::RetryStatus));
                let Some(spare) = spare else {
                    trail.hold(place);
                    return Ok(Next::Answer(exchange));
                };
                drop((exchange, place));
                self.pause().await;
                return Ok(Next::Again(spare));
            }
            Some(Err(Attempt::NotSent { body, denial })) => {
                self.settle(turn, Outcome::GatewayFailure);
                // The same endpoint would refuse again: only another one is tried.
                let again = self.is_another_left().then_some(body);
                (denial, Event::RetryConnect, again)
            }
            None if self.ends.is_some_and(|ends| ends <= self.core.edge.clock.boot()) => {
                if self.was_fair(&turn) {
                    self.settle(turn, Outcome::GatewayFailure);
                }
                return Err(call_over("the call's grpc-timeout is over; it may have been processed").maybe_processed());
            }
            None if meter.is_waiting_for_client() => return Err(validate::stalled()),
            None => {
                if self.was_fair(&turn) {
                    self.settle(turn, Outcome::GatewayFailure);
                }
                (timed_out(), Event::RetryTimeout, spare.filter(|_| retries.on_timeout))
            }
            Some(Err(Attempt::Failed(denial))) => {
                let Some((event, may)) = ended(denial.kind, retries) else { return Err(denial) };
                self.settle(turn, Outcome::GatewayFailure);
                (denial, event, spare.filter(|_| may))
            }
        };
        match again {
            Some(body) if self.may_try(event) => {
                if event != Event::RetryConnect {
                    self.pause().await;
                }
                self.failure = Some(denial);
                Ok(Next::Again(body))
            }
            Some(_) | None => Err(denial),
        }
    }

    /// Notes an answer: the place that it holds, and whether the route wants another one instead.
    fn answered(&self, turn: Turn<'s>, exchange: &Exchange, trail: &mut Trail) -> (Option<Place>, bool) {
        let status = exchange.response.status();
        let retries = &self.route.retries;
        if !self.is_call || status != StatusCode::OK {
            let status = status.as_u16();
            return (self.settle(turn, Outcome::of_status(status)), retries.statuses.contains(&status));
        }
        let headers = exchange.response.headers();
        let Some(code) = grpc::status(headers) else {
            return (self.defer(turn, trail), false);
        };
        // A service that says when to come back says it to the client.
        let wants_another = retries.grpc.contains(&code) && !headers.contains_key(grpc::PUSHBACK);
        (self.settle(turn, grpc::outcome(code)), wants_another)
    }

    /// Tells everybody who counts what became of a try; gives back the place, for as long as the answer goes on.
    fn settle(&self, turn: Turn<'s>, outcome: Outcome) -> Option<Place> {
        let now = self.observe(&turn);
        let Turn { candidate: _, cluster, peer, pass, place, began: _ } = turn;
        Verdict {
            kept: &peer.kept,
            window: &cluster.window,
            breaker: cluster.breaker.as_deref(),
            upstream: self.target.upstream(),
            region: &cluster.region,
        }
        .tell(outcome, pass, &self.core.edge.tally, now);
        place
    }

    /// Leaves what became of a call to its trailers. One that finds out whether a service is well again has found out: it may
    /// go on for hours.
    fn defer(&self, turn: Turn<'s>, trail: &mut Trail) -> Option<Place> {
        let is_trial = matches!(turn.pass, Pass::Trial(_));
        let owed = Owed::new(&turn.peer.kept, &turn.cluster.window, turn.cluster.breaker.as_ref(), self.target.upstream(), &turn.cluster.region);
        trail.owe(Box::new(owed));
        if is_trial {
            return self.settle(turn, Outcome::Good);
        }
        self.observe(&turn);
        turn.place
    }

    /// Notes how long a try took.
    fn observe(&self, turn: &Turn<'_>) -> BootNanos {
        let now = self.core.edge.clock.boot();
        if turn.cluster.peers.len() > 1 {
            turn.peer.kept.load.observe(now.nanos_since(turn.began), now);
        }
        now
    }

    /// True when an endpoint that did not answer had the time to: not when the client had used up most of the request's own.
    fn was_fair(&self, turn: &Turn<'_>) -> bool {
        let usual = self.route.retries.per_try.map_or(self.route.timeout, |per_try| per_try.min(self.route.timeout));
        let ran = Duration::from_nanos(self.core.edge.clock.boot().nanos_since(turn.began));
        ran >= usual / 2
    }

    /// True when another endpoint could take a request that did not leave.
    fn is_another_left(&self) -> bool {
        self.cluster.peers.len() > self.tried.len() || self.target.clusters().last().is_some_and(|last| !std::ptr::eq(last, self.cluster))
    }

    /// Takes a retry, if the route, the time and the budget allow one.
    fn may_try(&mut self, event: Event) -> bool {
        if self.made > self.route.retries.max || self.remaining(self.core.edge.clock.boot()).is_zero() {
            return false;
        }
        let tally = &self.core.edge.tally;
        if !self.target.group().budget.take(&self.resilience().budget, self.core.edge.clock.boot()) {
            tally.count(Event::RetryRefused);
            return false;
        }
        tally.count(event);
        // What was sent may go to the same endpoint again, when there is no other.
        if event != Event::RetryConnect && !self.is_another_left() {
            self.tried = Tried::default();
        }
        true
    }

    /// Pauses for a drawn time, so that the retries of many clients do not come as one wave.
    async fn pause(&self) {
        let longest = self.route.retries.backoff.saturating_mul(1 << self.made.saturating_sub(1).min(8)).min(BACKOFF_MAX);
        let longest = longest.min(self.remaining(self.core.edge.clock.boot()));
        let micros = usize::try_from(longest.as_micros()).unwrap_or(0);
        if micros > 0 {
            tokio::time::sleep(Duration::from_micros(u64::try_from(self.core.dice.below(micros)).unwrap_or(0))).await;
        }
    }
}

/// What ended a try whose request had left, and whether that is worth another; `None` when the endpoint has no part in it: the
/// client broke off, or a cap of ours was reached.
#[expect(clippy::wildcard_enum_match_arm, reason = "three kinds are the endpoint's, all others are not")]
const fn ended(kind: ProblemKind, retries: &Retries) -> Option<(Event, bool)> {
    match kind {
        ProblemKind::UpstreamTimeout => Some((Event::RetryTimeout, retries.on_timeout)),
        ProblemKind::UpstreamUnreachable => Some((Event::RetryReset, retries.on_reset)),
        ProblemKind::UpstreamMalformed => Some((Event::RetryReset, false)),
        _ => None,
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

fn overloaded() -> Denial {
    Denial::new(ProblemKind::Overloaded, "every endpoint of the service has as many requests in flight as it may have").retry_after(1)
}
