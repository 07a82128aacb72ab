//! Purges: stored responses that must not be given any more, by tag, by route, by tenant.
//!
//! Nothing has to be walked for a purge to be in force. Purges are numbered as they are applied, and a table remembers for each
//! thing that a purge can name (a tag, a tag of a route, a tenant, …) the number of the newest one that named it. Each response
//! carries the number that stood when its request left, and the places in the table of everything that can name it: it is purged
//! when one of those places holds a later number. So a response that is still on its way is purged like one that is stored, and
//! the table is all that is remembered, however many purges there were. What is purged is cleared from memory afterwards.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName};
use model::{
    purge::{Purge, TAGS_MAX, Tag},
    structure::Route,
    time::BootNanos,
};
use parking_lot::Mutex;

use super::{Cache, Key, Known, Stored};

/// The field by which services tag what they answer. It is for this cache and does not go on to clients.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Things that can be named, by a hash: those that share a place are purged together, which costs a request to the service and is
/// never wrong. 512 KiB, taken with the first purge.
const PLACES: u32 = 65_536;
/// Places of one response: three without a tag, four for each.
const PLACES_MAX: usize = 3 + 4 * TAGS_MAX;

/// The number of the last purge that was applied at some moment. Taken before a response is looked for or asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

/// By what a response can be purged, and since when.
#[derive(Debug)]
pub struct Label {
    since: Position,
    places: Box<[u32]>,
    /// The newest number that the response was looked at under and not found purged: then one comparison is enough.
    clear_until: AtomicU64,
}

/// Where a response comes from.
#[derive(Debug)]
pub struct Origin {
    /// When its request left.
    pub requested_at: BootNanos,
    /// By what it can be purged.
    pub label: Label,
}

impl Label {
    /// Of a response of this route with these tags, whose request leaves after `since` was taken.
    pub fn new(since: Position, route: &Route, tags: &[Tag]) -> Self {
        Self::of(since, &route.tenant, &route.name, tags)
    }

    pub(super) fn of(since: Position, tenant: &str, route: &str, tags: &[Tag]) -> Self {
        let (tenant, route) = (Some(tenant), Some(route));
        let mut places = vec![place(tenant, None, None), place(None, route, None), place(tenant, route, None)];
        for tag in tags.iter().map(|tag| Some(tag.as_str())) {
            places.extend([place(None, None, tag), place(tenant, None, tag), place(None, route, tag), place(tenant, route, tag)]);
        }
        Self::at(since, places)
    }

    /// Of a stored response that was confirmed: what named it before names it still, because its body is the same.
    ///
    /// `None` when by now more tags name it than one response may have.
    pub fn and(self, before: &Self) -> Option<Self> {
        let both = Self::at(self.since, self.places.iter().chain(&before.places).copied().collect());
        (both.places.len() <= PLACES_MAX).then_some(both)
    }

    fn at(since: Position, mut places: Vec<u32>) -> Self {
        places.sort_unstable();
        places.dedup();
        Self { since, places: places.into(), clear_until: AtomicU64::new(since.0) }
    }

    /// What it takes of the memory, in bytes.
    pub const fn bytes(&self) -> usize {
        self.places.len() * size_of::<u32>()
    }
}

/// Where a thing stands in the table: the same on every node and after every start, so that what shares a place always does.
fn place(tenant: Option<&str>, route: Option<&str>, tag: Option<&str>) -> u32 {
    let mut hasher = DefaultHasher::new();
    (tenant, route, tag).hash(&mut hasher);
    u32::try_from(hasher.finish() % u64::from(PLACES)).unwrap_or(0)
}

/// Takes the tags off a response; `None` when they cannot be read, or are too many: then no purge might find it.
pub fn take_tags(headers: &mut HeaderMap) -> Option<Vec<Tag>> {
    if !headers.contains_key(CACHE_TAG) {
        return Some(Vec::new());
    }
    let tags = read_tags(headers);
    headers.remove(CACHE_TAG);
    tags
}

fn read_tags(headers: &HeaderMap) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    for value in headers.get_all(CACHE_TAG) {
        let members = value.to_str().ok()?.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
        for member in members {
            if tags.len() == TAGS_MAX {
                return None;
            }
            tags.push(Tag::parse(member).ok()?);
        }
    }
    Some(tags)
}

/// The purges that were applied.
#[derive(Debug, Default)]
pub struct Purges {
    /// The number of the last one. Written last: whoever sees it sees the places of that purge.
    last: AtomicU64,
    /// The number of the last one that named everything.
    floor: AtomicU64,
    named: OnceLock<Box<[AtomicU64]>>,
    applying: Mutex<()>,
    /// The number up to which memory was cleared.
    cleared: AtomicU64,
    n_applied: AtomicU64,
    n_dropped: AtomicU64,
}

impl Purges {
    /// The number of the last purge.
    pub fn position(&self) -> Position {
        Position(self.last.load(Ordering::Acquire))
    }

    /// True when a response must not be given any more.
    pub fn names(&self, label: &Label) -> bool {
        let last = self.position();
        if last.0 <= label.clear_until.load(Ordering::Relaxed) {
            return false;
        }
        let named = self.named.get();
        let number =
            |place: &u32| named.and_then(|named| named.get(usize::try_from(*place).ok()?)).map_or(0, |number| number.load(Ordering::Acquire));
        let is_purged = self.floor.load(Ordering::Acquire) > label.since.0 || label.places.iter().any(|place| number(place) > label.since.0);
        if !is_purged {
            label.clear_until.fetch_max(last.0, Ordering::Relaxed);
        }
        is_purged
    }

    fn apply(&self, purges: &[Purge]) {
        let _one_at_a_time = self.applying.lock();
        let number = self.last.load(Ordering::Relaxed) + 1;
        for purge in purges {
            if purge.is_everything() {
                self.floor.store(number, Ordering::Release);
                continue;
            }
            let named = self.named.get_or_init(|| (0..PLACES).map(|_| AtomicU64::new(0)).collect());
            let (tenant, route) = (purge.tenant.as_deref(), purge.route.as_deref());
            let tags = purge.tags.iter().map(|tag| Some(tag.as_str()));
            let all = purge.tags.is_empty().then_some(None);
            for tag in tags.chain(all) {
                let place = usize::try_from(place(tenant, route, tag)).ok().and_then(|place| named.get(place));
                if let Some(place) = place {
                    place.store(number, Ordering::Release);
                }
            }
        }
        self.last.store(number, Ordering::Release);
    }

    /// Leaves of some responses those that are not purged.
    pub(super) fn leave(&self, variants: &mut Vec<Arc<Stored>>) {
        let before = variants.len();
        variants.retain(|variant| !self.names(variant.label()));
        self.dropped(before - variants.len());
    }

    fn dropped(&self, n: usize) {
        self.n_dropped.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
    }

    /// How many were applied, and how many responses were dropped for them.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.n_applied.load(Ordering::Relaxed), self.n_dropped.load(Ordering::Relaxed))
    }
}

impl Cache {
    /// Applies purges: from now on nothing is given, or kept, that they name and whose request left before.
    pub fn purge(&self, purges: &[Purge]) {
        if purges.is_empty() {
            return;
        }
        self.purges.n_applied.fetch_add(u64::try_from(purges.len()).unwrap_or(0), Ordering::Relaxed);
        self.purges.apply(purges);
    }

    /// Forgets everything: purges may have been missed.
    pub fn forget(&self) {
        self.purges.apply(&[Purge::default()]);
    }

    /// True when purged responses may still take memory.
    pub fn is_clearing_due(&self) -> bool {
        self.purges.cleared.load(Ordering::Relaxed) < self.purges.position().0
    }

    /// Drops what is purged, so that its memory is free for what can be given. It looks at every stored response, and holds up
    /// those who want one for as long as one part of the map takes: not for the data plane's threads.
    pub fn clear_purged(&self) {
        let upto = self.purges.position();
        if let Some(map) = self.map.get() {
            let mixed = Mutex::new(Vec::new());
            map.retain(|key, known| {
                let purged = known.variants.iter().filter(|variant| self.purges.names(variant.label())).count();
                let is_whole = purged > 0 && purged == known.variants.len();
                if is_whole {
                    self.purges.dropped(purged);
                } else if purged > 0 {
                    mixed.lock().push(Key::clone(key));
                }
                !is_whole
            });
            for key in mixed.into_inner() {
                let Some(known) = map.peek(&key) else { continue };
                let mut known = Known::clone(&known);
                self.purges.leave(&mut known.variants);
                map.insert(key, known.into());
            }
        }
        self.purges.cleared.fetch_max(upto.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
