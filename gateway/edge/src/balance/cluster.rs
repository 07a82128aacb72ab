//! The endpoints of one service in one region, as one core sees them, and the choice between them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use model::{
    structure::{
        Target, Upstream,
        resilience::{Balance, Resilience},
    },
    time::BootNanos,
};

use super::{breaker::Breaker, dice::Dice, load::Load, ring::Ring, window::Window};
use crate::{health::Endpoint, pool::TargetPool};

/// Endpoints that one request can have tried: a try and as many retries as a route may ask for, and a few for full ones.
const TRIED_MAX: usize = 8;

/// One endpoint.
#[derive(Debug)]
pub struct Peer {
    /// How requests to it are addressed.
    pub target: Arc<Target>,
    /// Its connections on this core.
    pub pool: Arc<TargetPool>,
    /// What outlives a reload.
    pub kept: Arc<KeptPeer>,
}

/// What a core knows about an endpoint, and keeps through reloads.
#[derive(Debug)]
pub struct KeptPeer {
    /// What all cores know.
    pub endpoint: Arc<Endpoint>,
    /// How slow it is.
    pub load: Load,
    /// How many of its answers were good.
    pub window: Window,
}

/// Endpoints that a request has tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    indexes: [u32; TRIED_MAX],
    len: usize,
}

impl Tried {
    /// Adds one; beyond the most, the last place is overwritten.
    pub fn add(&mut self, index: usize) {
        let at = self.len.min(TRIED_MAX - 1);
        if let Some(place) = self.indexes.get_mut(at) {
            *place = u32::try_from(index).unwrap_or(u32::MAX);
        }
        self.len = at + 1;
    }

    /// True when it was tried.
    pub fn has(&self, index: usize) -> bool {
        self.indexes.iter().take(self.len).any(|tried| usize::try_from(*tried) == Ok(index))
    }

    /// How many were tried.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when none was.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// How many endpoints are usable, counted when something changed.
#[derive(Debug)]
struct Count {
    changes: AtomicU64,
    /// When the next rest ends.
    until: AtomicU64,
    usable: AtomicUsize,
}

/// The endpoints of one service in one region.
#[derive(Debug)]
pub struct Cluster {
    /// The region.
    pub region: Arc<str>,
    /// The endpoints, at least one.
    pub peers: Box<[Peer]>,
    /// The breaker, if the service has one; shared by all cores.
    pub breaker: Option<Arc<Breaker>>,
    /// How many of the service's answers were good, for the breaker.
    pub window: Arc<Window>,
    ring: Option<Ring>,
    turn: AtomicUsize,
    count: Count,
}

impl Cluster {
    /// Joins endpoints to a cluster.
    pub fn new(region: Arc<str>, peers: Box<[Peer]>, breaker: Option<Arc<Breaker>>, balance: &Balance) -> Self {
        let ring = matches!(balance, Balance::Hash(_)).then(|| Ring::new(peers.iter().map(|peer| &*peer.target.address)));
        // No count is known: the first request makes it.
        let count = Count { changes: AtomicU64::new(u64::MAX), until: AtomicU64::new(0), usable: AtomicUsize::new(0) };
        Self { region, peers, breaker, window: Arc::default(), ring, turn: AtomicUsize::new(0), count }
    }

    /// Whether requests for it go by way of another region's gateway.
    pub fn is_behind_gateway(&self) -> bool {
        self.peers.first().is_some_and(|peer| peer.target.is_gateway)
    }

    /// How many endpoints are usable. `changes` tells whether anything but time has passed since they were counted.
    pub fn usable(&self, changes: u64, now: BootNanos) -> usize {
        let count = &self.count;
        if count.changes.load(Ordering::Relaxed) == changes && now.0 < count.until.load(Ordering::Relaxed) {
            return count.usable.load(Ordering::Relaxed);
        }
        let usable = self.peers.iter().filter(|peer| peer.kept.endpoint.is_usable(now)).count();
        let ends = self.peers.iter().map(|peer| peer.kept.endpoint.rest_until().0).filter(|until| *until > now.0);
        count.until.store(ends.min().unwrap_or(u64::MAX), Ordering::Relaxed);
        count.usable.store(usable, Ordering::Relaxed);
        count.changes.store(changes, Ordering::Relaxed);
        usable
    }

    /// True when so few endpoints are usable that all of them are tried: sparing the rest would drown the few.
    pub fn is_in_panic(&self, upstream: &Upstream, changes: u64, now: BootNanos) -> bool {
        self.usable(changes, now) * 100 < usize::from(upstream.resilience.panic_percent) * self.peers.len()
    }

    /// True when a request would be refused by the breaker.
    pub fn is_broken(&self, upstream: &Upstream, now: BootNanos) -> bool {
        self.breaker.as_ref().zip(upstream.resilience.breaker.as_ref()).is_some_and(|(breaker, rule)| breaker.refuses(rule, now))
    }

    /// The endpoint for a request that has tried `tried`; `None` when none is left.
    pub fn pick(&self, rule: &Resilience, hash: Option<u64>, tried: &Tried, facts: Facts<'_>) -> Option<&Peer> {
        if let [only] = &*self.peers {
            let may = tried.is_empty() && (facts.all || only.kept.endpoint.is_usable(facts.now));
            return may.then_some(only);
        }
        let fresh = |index: usize| !tried.has(index);
        let usable = |index: usize| fresh(index) && (facts.all || self.peers.get(index).is_some_and(|peer| peer.kept.endpoint.is_usable(facts.now)));
        let index = self.choose(rule, hash, &usable, facts);
        // A retry goes to an endpoint that rests rather than nowhere.
        let index = index.or_else(|| if facts.is_retry { self.first(facts.dice, &fresh) } else { None });
        self.peers.get(index?)
    }

    fn choose(&self, rule: &Resilience, hash: Option<u64>, usable: &impl Fn(usize) -> bool, facts: Facts<'_>) -> Option<usize> {
        match (&rule.balance, &self.ring, hash) {
            (Balance::Hash(_), Some(ring), Some(hash)) => ring.walk(hash).find(|index| usable(*index)),
            (Balance::RoundRobin, _, _) => self.round_robin(rule, usable, facts),
            (Balance::LeastRequests, _, _) => self.least(rule, usable, facts),
            // Without a value to hash, any endpoint will do.
            (Balance::P2c | Balance::Hash(_), _, _) => self.better_of_two(rule, usable, facts),
        }
    }

    fn round_robin(&self, rule: &Resilience, usable: &impl Fn(usize) -> bool, facts: Facts<'_>) -> Option<usize> {
        let n = self.peers.len();
        let mut first = None;
        for _ in 0..n {
            let turn = self.turn.load(Ordering::Relaxed);
            self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
            let index = turn % n;
            if !usable(index) {
                continue;
            }
            first = first.or(Some(index));
            if rule.slow_start_nanos == 0 || facts.dice.hits(ten_thousandths(self.share(index, rule, facts))) {
                return Some(index);
            }
        }
        first
    }

    fn least(&self, rule: &Resilience, usable: &impl Fn(usize) -> bool, facts: Facts<'_>) -> Option<usize> {
        let n = self.peers.len();
        // From a drawn place on: among equals nobody is always the first.
        let start = facts.dice.below(n);
        let mut best: Option<(f64, usize)> = None;
        for index in (start..n).chain(0..start).filter(|index| usable(*index)) {
            let Some(peer) = self.peers.get(index) else { continue };
            let in_flight = u32::try_from(peer.pool.in_flight()).unwrap_or(u32::MAX);
            let cost = (f64::from(in_flight) + 1.0) / self.share(index, rule, facts);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, index));
            }
        }
        best.map(|(_, index)| index)
    }

    fn better_of_two(&self, rule: &Resilience, usable: &impl Fn(usize) -> bool, facts: Facts<'_>) -> Option<usize> {
        let first = self.first(facts.dice, usable)?;
        let Some(second) = self.first(facts.dice, &|index| index != first && usable(index)) else { return Some(first) };
        let cost = |index: usize| {
            let cost = self.peers.get(index).map_or(f64::MAX, |peer| peer.kept.load.cost(peer.pool.in_flight(), facts.now));
            cost / self.share(index, rule, facts)
        };
        Some(if cost(second) < cost(first) { second } else { first })
    }

    /// A drawn endpoint among those that may be used.
    fn first(&self, dice: &Dice, may: &impl Fn(usize) -> bool) -> Option<usize> {
        /// Most draws hit when most endpoints may be used; after these, they are looked at in order.
        const DRAWS: usize = 3;
        let n = self.peers.len();
        (0..DRAWS).map(|_| dice.below(n)).find(|index| may(*index)).or_else(|| {
            let start = dice.below(n);
            (start..n).chain(0..start).find(|index| may(*index))
        })
    }

    fn share(&self, index: usize, rule: &Resilience, facts: Facts<'_>) -> f64 {
        self.peers.get(index).map_or(1.0, |peer| peer.kept.endpoint.share(rule.slow_start_nanos, facts.now))
    }

    /// The position of one of this cluster's endpoints.
    pub fn position(&self, peer: &Peer) -> usize {
        self.peers.iter().position(|other| std::ptr::eq(other, peer)).unwrap_or(usize::MAX)
    }
}

/// What a choice depends on besides the endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Chance.
    pub dice: &'a Dice,
    /// The time.
    pub now: BootNanos,
    /// Endpoints that rest or are out may be used as well.
    pub all: bool,
    /// Something failed already: an endpoint that rests is better than none.
    pub is_retry: bool,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 1")]
fn ten_thousandths(share: f64) -> u32 {
    (share * 10_000.0) as u32
}

#[cfg(test)]
mod tests;
