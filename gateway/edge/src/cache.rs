//! A shared cache for responses (RFC 9111), on routes that ask for it; one for all cores of a node, bounded in bytes.
//!
//! A request gets this far only after it was authenticated, authorized and charged, and its record is written like any other:
//! a stored response saves the way to the service and nothing else. Keys make requests authenticated, so a stored response
//! belongs to its consumer unless the route says that it is `shared`.
//!
//! Reading order: [`policy`] (what may be kept), [`stored`] (what is kept), [`flight`] (one asks, many wait), [`ticket`] (the
//! way of one request through it), [`refresh`] (asking again behind a response that was given stale), [`purge`] (what must not be
//! given any more).

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName, StatusCode};
use model::{path, residency::Labels, structure::Route, time::BootNanos};
use quick_cache::{Weighter, sync::Cache as Map};
use uuid::Uuid;

pub mod flight;
pub mod policy;
pub mod purge;
pub mod refresh;
pub mod stored;
pub mod ticket;

use flight::Flights;
use purge::Purges;
use stored::Stored;

use crate::{authorize::Permit, head::Head};

/// Responses of one key that differ by `Vary`; the oldest goes.
const VARIANTS_MAX: usize = 16;
/// For how long requests for what may not be kept do not wait for each other.
const PASS_NANOS: u64 = 5_000_000_000;
/// Instants of the last change, by a hash of host and path: paths that share one lose their stored responses together, which
/// costs a request to the service and is never wrong. 128 KiB.
const PLACES: usize = 16_384;
/// What an average entry is guessed to take, to size the table.
const ENTRY_BYTES_GUESS: u64 = 16 << 10;

/// What a stored response answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    route: Arc<str>,
    /// Changes with the route's document, so that an answer of the old route is never one of the new.
    scope: u64,
    consumer: Option<Uuid>,
    host: Box<str>,
    target: Box<str>,
}

impl Key {
    fn new(route: &Route, scope: u64, consumer: Option<Uuid>, head: &Head) -> Self {
        let query = head.query().map_or(String::new(), |query| format!("?{query}"));
        Self { route: Arc::clone(&route.name), scope, consumer, host: head.host.as_str().into(), target: format!("{}{query}", head.path()).into() }
    }
}

/// Everything that is known about a key.
#[derive(Debug, Clone, Default)]
struct Known {
    variants: Vec<Arc<Stored>>,
    pass_until: u64,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Arc<Known>> for Weight {
    fn weight(&self, key: &Key, known: &Arc<Known>) -> u64 {
        let stored: usize = known.variants.iter().map(|variant| variant.bytes()).sum();
        u64::try_from(key.host.len() + key.target.len() + stored).unwrap_or(u64::MAX).saturating_add(256)
    }
}

/// What the cache counted since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheReading {
    /// Responses given without asking the service.
    pub hits: u64,
    /// Requests that went to the service although their route has a cache.
    pub misses: u64,
    /// Requests that waited for another one's response and got it.
    pub collapsed: u64,
    /// Purges that were applied.
    pub purges: u64,
    /// Stored responses that were dropped for them.
    pub purged: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Most that they may be.
    pub bytes_max: u64,
}

/// The stored responses of a node.
#[derive(Debug)]
pub struct Cache {
    bytes_max: u64,
    /// Made by the first route that asks for it: a node without such a route has none.
    map: OnceLock<Map<Key, Arc<Known>, Weight>>,
    changed_at: OnceLock<Box<[AtomicU64]>>,
    flights: Arc<Flights>,
    purges: Purges,
    hasher: RandomState,
    hits: AtomicU64,
    misses: AtomicU64,
    collapsed: AtomicU64,
}

/// Where a change is noted.
#[derive(Debug, Clone, Copy)]
pub struct Place(usize);

impl Cache {
    /// A cache of at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            map: OnceLock::new(),
            changed_at: OnceLock::new(),
            flights: Arc::default(),
            purges: Purges::default(),
            hasher: RandomState::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            collapsed: AtomicU64::new(0),
        }
    }

    /// What was counted.
    pub fn reading(&self) -> CacheReading {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (n_applied, n_dropped) = self.purges.counts();
        CacheReading {
            purges: n_applied,
            purged: n_dropped,
            hits: load(&self.hits),
            misses: load(&self.misses),
            collapsed: load(&self.collapsed),
            bytes: self.map.get().map_or(0, Map::weight),
            bytes_max: self.bytes_max,
        }
    }

    /// Where changes of a request's target are noted; `None` while nothing is kept anyway.
    pub fn place(&self, head: &Head) -> Option<Place> {
        self.changed_at.get().map(|_| self.place_of(head))
    }

    fn place_of(&self, head: &Head) -> Place {
        let hash = self.hasher.hash_one((head.host.as_str(), path::decode(head.path()).as_ref()));
        Place(usize::try_from(hash).unwrap_or(0) % PLACES)
    }

    /// Makes everything worthless that was asked for before `now` under this host and path (RFC 9111 section 4.4).
    ///
    /// The query is left out on purpose: what a POST to a collection changes is what its pages show.
    pub fn changed(&self, place: Place, now: BootNanos) {
        if let Some(at) = self.changed_at.get().and_then(|places| places.get(place.0)) {
            at.fetch_max(now.0, Ordering::AcqRel);
        }
    }

    /// Notes what a service answered to a request that may change something: a success, or a redirection to the result.
    pub fn answered(&self, place: Option<Place>, status: StatusCode, now: BootNanos) {
        if let Some(place) = place.filter(|_| status.is_success() || status.is_redirection()) {
            self.changed(place, now);
        }
    }

    fn last_change(&self, place: Place) -> BootNanos {
        let places = self.changed_at.get_or_init(|| (0..PLACES).map(|_| AtomicU64::new(0)).collect());
        BootNanos(places.get(place.0).map_or(0, |at| at.load(Ordering::Acquire)))
    }

    fn map(&self) -> &Map<Key, Arc<Known>, Weight> {
        self.map.get_or_init(|| {
            let items = usize::try_from(self.bytes_max / ENTRY_BYTES_GUESS).unwrap_or(usize::MAX).max(64);
            Map::with_weighter(items, self.bytes_max.max(1), Weight)
        })
    }

    /// The stored response for a request, fresh or not, unless a change or a purge came after it.
    fn find(&self, key: &Key, place: Place, asked: &HeaderMap) -> Found {
        let changed_at = self.last_change(place);
        let Some(known) = self.map().get(key) else { return Found::Nothing };
        let mut usable =
            known.variants.iter().filter(|variant| variant.requested_at() > changed_at && !self.purges.names(variant.label())).peekable();
        if usable.peek().is_none() {
            return Found::Nothing;
        }
        usable.find(|variant| variant.is_for(asked)).map_or(Found::OtherVariant, |variant| Found::Stored(Arc::clone(variant)))
    }

    /// True while requests for a key do not wait for each other, because its responses may not be kept.
    fn passes(&self, key: &Key, now: BootNanos) -> bool {
        self.map().peek(key).is_some_and(|known| known.pass_until > now.0)
    }

    /// Keeps a response beside those that differ from it by `Vary`.
    fn keep(&self, key: Key, stored: Arc<Stored>) {
        let mut known = self.map().peek(&key).map_or_else(Known::default, |known| Known::clone(&known));
        self.purges.leave(&mut known.variants);
        known.variants.retain(|variant| !variant.replaces(&stored));
        if known.variants.len() >= VARIANTS_MAX {
            known.variants.remove(0);
        }
        known.variants.push(stored);
        known.pass_until = 0;
        self.map().insert(key, Arc::new(known));
    }

    /// Notes that a key's response may not be kept; the one that it supersedes goes.
    fn pass(&self, key: Key, superseded: Option<&Arc<Stored>>, now: BootNanos) {
        let mut known = self.map().peek(&key).map_or_else(Known::default, |known| Known::clone(&known));
        known.variants.retain(|variant| superseded.is_none_or(|old| !Arc::ptr_eq(old, variant)));
        known.pass_until = now.0.saturating_add(PASS_NANOS);
        self.map().insert(key, Arc::new(known));
    }
}

/// What a look brings.
#[derive(Debug)]
enum Found {
    /// Nothing under this key.
    Nothing,
    /// Responses, but for other request fields.
    OtherVariant,
    /// A response, fresh or not.
    Stored(Arc<Stored>),
}

/// `Cache-Status` (RFC 9211): what each cache on the way did.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Whose response it is: the consumer's for a key, the subject's for a token; of each signer and each certificate apart, because the service
/// may see whose they are. What comes to a consumer that asks for labels of regions is for none that asks for others, and not for itself
/// once it asks for others: it may have come from where those are not.
/// `None` where everybody's is the same.
fn owner(permit: &Permit<'_>, is_shared: bool) -> Option<Uuid> {
    let principal = permit.principal()?;
    let labels = principal.consumer.residency.as_ref().map(Labels::number);
    if is_shared {
        return labels.map(Uuid::from_u128);
    }
    let owner = principal.token().map_or_else(|| principal.consumer_id.uuid(), |token| token.subject_id);
    let signer = principal.signed().map_or(0, |signed| signed.subject_id.as_u128());
    let owner = Uuid::from_u128(owner.as_u128() ^ signer ^ labels.unwrap_or_default());
    let Some(certified) = principal.certified() else { return Some(owner) };
    Some(Uuid::from_u128(owner.as_u128() ^ certified.subject_id.as_u128() ^ certified.certificate.facts().thumbprint().number()))
}

#[cfg(test)]
mod tests;
