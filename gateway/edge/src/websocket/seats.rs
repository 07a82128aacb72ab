//! Who holds a WebSocket open, and whether they still may: one look ten times a second at all of a core's.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::task::AtomicWaker;
use model::{
    identity::ImportedKeysDoc,
    snapshot::Snapshot,
    structure::{
        Route,
        identity::{Auth, Kinds, TokenRule},
        websocket::WebSocketRules,
    },
    time::Now,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{pipe::Turn, tally::End};
use crate::{
    authenticate::{self, Certified, KeyProof, Principal, Token},
    authorize::{self, Use},
    certificate::Shown,
    runtime::{Core, Edge},
};

/// Between two looks: a revocation that is published takes effect within it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a WebSocket waits for when one side has ended and the other says nothing.
const HALF_OPEN_MAX: Duration = Duration::from_secs(30);
/// What is read in one call.
const BUFFER_BYTES: usize = 64 << 10;

/// One core's open WebSockets.
#[derive(Debug, Default)]
pub struct Seats {
    list: Mutex<Vec<Arc<Seat>>>,
    /// Rung by each that is opened.
    bell: Notify,
    /// Milliseconds of the boot clock, moved by each look.
    tick: AtomicU64,
    /// The node stops: those that are open are told, those that come are told at once.
    is_draining: AtomicBool,
    /// Where all of them read.
    pub(super) buffer: Mutex<Vec<u8>>,
}

/// One WebSocket, as the look sees it.
#[derive(Debug)]
pub(super) struct Seat {
    waker: AtomicWaker,
    told: AtomicU8,
    opened_at: u64,
    moved_at: AtomicU64,
    /// Since when what is there for one side is not taken, for each direction; 0 while it is.
    blocked_since: [AtomicU64; 2],
    is_half_open: AtomicBool,
    /// The generation of the snapshot that the caller was last looked up in; 0 before the first time.
    checked: AtomicU64,
    expires_at: AtomicI64,
    idle: u64,
    lifetime: u64,
    route: Mutex<Arc<Route>>,
    principal: Option<Principal>,
    source: Source,
}

/// Where a WebSocket comes from, as far as a key can be bound to it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The client's address.
    pub(super) address: IpAddr,
    /// What its connection's handshake showed.
    pub(super) shown: Shown,
}

impl Seats {
    /// Seats a WebSocket that was just opened.
    pub(super) fn seat(&self, route: &Arc<Route>, rules: &WebSocketRules, principal: Option<Principal>, source: Source, now: Now) -> Arc<Seat> {
        let opened_at = now.boot.0 / 1_000_000;
        let seat = Arc::new(Seat {
            waker: AtomicWaker::new(),
            told: AtomicU8::new(0),
            opened_at,
            moved_at: AtomicU64::new(opened_at),
            blocked_since: [AtomicU64::new(0), AtomicU64::new(0)],
            is_half_open: AtomicBool::new(false),
            checked: AtomicU64::new(0),
            expires_at: AtomicI64::new(i64::MAX),
            idle: millis(rules.idle),
            lifetime: millis(rules.lifetime),
            route: Mutex::new(Arc::clone(route)),
            principal,
            source,
        });
        let mut buffer = self.buffer.lock();
        if buffer.is_empty() {
            buffer.resize(BUFFER_BYTES, 0);
        }
        drop(buffer);
        self.tick.fetch_max(opened_at, Ordering::Relaxed);
        self.list.lock().push(Arc::clone(&seat));
        self.bell.notify_one();
        seat
    }

    /// Notes what a WebSocket did in its turn, by direction.
    pub(super) fn note(&self, seat: &Seat, turns: [Turn; 2], is_half_open: bool) {
        let tick = self.tick.load(Ordering::Relaxed);
        for (turn, since) in turns.into_iter().zip(&seat.blocked_since) {
            if turn.has_moved {
                seat.moved_at.store(tick, Ordering::Relaxed);
            }
            if !turn.is_blocked {
                since.store(0, Ordering::Relaxed);
            } else if turn.has_moved || since.load(Ordering::Relaxed) == 0 {
                since.store(tick.max(1), Ordering::Relaxed);
            }
        }
        seat.is_half_open.store(is_half_open, Ordering::Relaxed);
    }

    /// Tells every WebSocket that the node stops; how many there are.
    pub fn drain(&self) -> usize {
        self.is_draining.store(true, Ordering::Relaxed);
        let list = self.list.lock();
        list.iter().filter(|seat| seat.told().is_none()).for_each(|seat| seat.tell(End::Drain));
        list.len()
    }

    /// Looks at all of them for as long as the core runs; rests while there are none.
    pub async fn watch(core: Arc<Core>) {
        loop {
            if core.websockets.list.lock().is_empty() {
                core.websockets.bell.notified().await;
            }
            core.websockets.look(&core.edge);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn look(&self, edge: &Edge) {
        let now = edge.clock.now();
        self.tick.store(now.boot.0 / 1_000_000, Ordering::Relaxed);
        // Before the snapshot: one that is published in between is looked at again.
        let generation = edge.current.generation();
        let Some(snapshot) = edge.current.load() else { return };
        let is_draining = self.is_draining.load(Ordering::Relaxed);
        let mut routes = None;
        self.list.lock().retain(|seat| {
            // Its tunnel holds the other reference.
            if Arc::strong_count(seat) == 1 {
                return false;
            }
            if seat.told().is_none() {
                let end = seat.overdue(edge, now).or_else(|| {
                    let has_changed = seat.checked.swap(generation, Ordering::Relaxed) != generation;
                    let refused = || seat.refused(&snapshot, routes.get_or_insert_with(|| by_name(&snapshot)), now);
                    has_changed.then(refused).flatten().or_else(|| seat.unconfirmed(edge, &snapshot, now))
                });
                if let Some(end) = end.or(is_draining.then_some(End::Drain)) {
                    seat.tell(end);
                }
            }
            true
        });
    }
}

fn by_name(snapshot: &Snapshot) -> HashMap<&str, &Arc<Route>> {
    snapshot.structure.routes.iter().map(|route| (&*route.name, route)).collect()
}

/// Whether the route still takes what the caller came with: the same kinds of credentials, a key of another system only where such are taken,
/// a token by the same rules, a signature of the same signer by the same rules, and a certificate of the same authority. A token whose issuer or audience has changed would have to be verified again, and it is not kept.
fn is_taken(route: &Route, principal: &Principal) -> bool {
    let (key, token, certified, signed) = (principal.key(), principal.token(), principal.certified(), principal.signed());
    if route.imported_keys == ImportedKeysDoc::Refuse && key.is_some_and(KeyProof::is_foreign) {
        return false;
    }
    if matches!(route.auth, Auth::ApiKey) {
        return key.is_some() && token.is_none() && certified.is_none() && signed.is_none();
    }
    let kinds = Kinds { key: key.is_some(), token: token.is_some(), certificate: certified.is_some(), signature: signed.is_some() };
    let Some(way) = route.auth.way(kinds) else { return false };
    let is_same = |token: &Token, rule: &TokenRule| {
        let (before, after) = (&token.issuer, &rule.issuer);
        let is_issuers = before.name == after.name && before.holder == after.holder && before.keys.is_same(&after.keys);
        let is_bound_alike = before.certificate_bound == after.certificate_bound && before.dpop == after.dpop;
        is_issuers && is_bound_alike && token.rules == rule.rules
    };
    let is_token_taken = token.is_none_or(|token| way.token_rules().into_iter().flatten().any(|rule| is_same(token, rule)));
    let is_vouched_for = |certified: &Certified| way.authorities().into_iter().flatten().any(|known| known.name() == certified.authority.name());
    let is_signature_taken = signed.is_none_or(|signed| way.signature_rule().is_some_and(|rule| signed.is_taken(rule)));
    is_token_taken && is_signature_taken && certified.is_none_or(|certified| is_vouched_for(certified))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Seat {
    /// Leaves the waker of the tunnel, and gives what it was told.
    pub(super) fn listen(&self, waker: &std::task::Waker) -> Option<End> {
        self.waker.register(waker);
        self.told()
    }

    fn told(&self) -> Option<End> {
        End::of(self.told.load(Ordering::Relaxed))
    }

    fn tell(&self, end: End) {
        self.told.store(end as u8, Ordering::Relaxed);
        self.waker.wake();
    }

    /// What its own clocks say.
    fn overdue(&self, edge: &Edge, now: Now) -> Option<End> {
        let tick = now.boot.0 / 1_000_000;
        let is_over = |since: &AtomicU64, limit: u64| tick.saturating_sub(since.load(Ordering::Relaxed)) > limit;
        let stall = millis(edge.settings.stall_timeout);
        if self.blocked_since.iter().any(|since| since.load(Ordering::Relaxed) != 0 && is_over(since, stall)) {
            return Some(End::Stalled);
        }
        if tick.saturating_sub(self.opened_at) > self.lifetime {
            return Some(End::Lifetime);
        }
        let is_half_open = self.is_half_open.load(Ordering::Relaxed);
        let idle = if is_half_open { self.idle.min(millis(HALF_OPEN_MAX)) } else { self.idle };
        if is_over(&self.moved_at, idle) {
            return Some(End::Idle);
        }
        (self.expires_at.load(Ordering::Relaxed) <= now.wall.0).then_some(End::Revoked)
    }

    /// Decides again, over a snapshot that has changed: the route of the same name, and the key.
    fn refused(&self, snapshot: &Snapshot, routes: &HashMap<&str, &Arc<Route>>, now: Now) -> Option<End> {
        let mut own = self.route.lock();
        let Some(route) = routes.get(&*own.name).filter(|route| route.tenant == own.tenant && route.websocket.is_some()) else {
            return Some(End::Withdrawn);
        };
        *own = Arc::clone(route);
        match &self.principal {
            _ if route.auth.is_none() => None,
            None => Some(End::Withdrawn),
            Some(principal) => {
                if !is_taken(route, principal) {
                    return Some(End::Withdrawn);
                }
                let Some((principal, expires_at)) = authenticate::again(snapshot, principal, &route.tenant, now) else {
                    return Some(End::Revoked);
                };
                let is_bound = principal.key().and_then(|proof| proof.key.restrictions()).is_some_and(|bound| bound.certificates.is_some());
                let certificate = self.source.shown.certificate().filter(|_| is_bound).map(|shown| shown.facts().ends_after(now.wall));
                self.expires_at.store(certificate.map_or(expires_at, |end| end.min(expires_at)).0, Ordering::Relaxed);
                let usage = Use { method: "GET", address: self.source.address, shown: &self.source.shown, now };
                authorize::may_use(route, &principal, usage).err().map(|_| End::Withdrawn)
            }
        }
    }

    /// What the lease on the knowledge about keys says, by the route's policy. A WebSocket counts as the GET that it began with.
    fn unconfirmed(&self, edge: &Edge, snapshot: &Snapshot, now: Now) -> Option<End> {
        let route = self.route.lock();
        let is_open = route.auth.is_none() || edge.lease.check(route.keys, true, snapshot, now).is_ok();
        (!is_open).then_some(End::Stale)
    }
}

#[cfg(test)]
mod tests;
