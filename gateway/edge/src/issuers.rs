//! Key sets of the issuers of tokens: fetched on a schedule and when a token names a key that is not known, kept through reloads, and
//! used while they are young enough when the issuer does not answer.
//!
//! However many tokens with invented key ids come, an issuer is asked because of them at most once in [`COOL_DOWN_NANOS`], beside the
//! schedule, and all who wait share the answer.

pub mod ask;
mod fetch;
pub mod introspect;
mod refusal;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use model::{
    jwt::{keys::KeySet, token::KeyHint},
    structure::identity::{Issuer, KeySource, Remote},
    time::BootNanos,
};
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use self::introspect::Introspections;
pub use self::refusal::Refusal;
use crate::{
    authenticate::{Replays, Verdicts},
    runtime::Edge,
};

/// Between two fetches because of keys that are not known, for each issuer.
pub const COOL_DOWN_NANOS: u64 = 30_000_000_000;
/// The whole of a fetch, from the look-up of a name to the last byte; for both, where the place has to be asked for.
const FETCH_WITHIN: Duration = Duration::from_secs(2);
/// How long a request waits for one: it may begin behind one that is under way.
const WAIT_MAX: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 4_000 });
/// Requests that wait for one issuer.
const WAITING_MAX: usize = 4_096;
/// After a fetch that failed: twice as long each time, from the first to the second of these.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// How often it is seen that other issuers are in force.
const PULSE: Duration = Duration::from_millis(50);

/// A key set, and when it was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// When the fetch began.
    pub at: BootNanos,
}

/// What is known of one issuer.
#[derive(Debug, Default)]
struct State {
    set: ArcSwapOption<Fetched>,
    /// Fetches that were begun, and the newest one that is over.
    begun: AtomicU64,
    done: watch::Sender<u64>,
    /// The last time that a key was not known, and the fetch that was asked for then.
    asked: Mutex<Option<(BootNanos, u64)>>,
    bell: Notify,
    /// Whether the last fetch failed, and why.
    is_failing: AtomicBool,
    fault: Mutex<Option<Box<str>>>,
    waiting: AtomicUsize,
    fetched: AtomicU64,
    failed: AtomicU64,
}

/// One issuer's key set, as a request sees it.
#[derive(Debug, Clone)]
pub struct Known {
    remote: Arc<Remote>,
    state: Arc<State>,
}

/// What came of asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// A fetch that began after the question is over.
    Done,
    /// It was asked not long ago.
    Resting,
    /// There was no answer in time.
    Late,
}

impl Known {
    /// How it is fetched.
    pub const fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// The newest key set; `None` before the first.
    pub fn keys(&self) -> Option<Fetched> {
        self.state.set.load().as_ref().map(|fetched| Fetched::clone(fetched))
    }

    /// Whether the last fetch failed.
    pub fn is_failing(&self) -> bool {
        self.state.is_failing.load(Ordering::Acquire)
    }

    /// Why the last fetch failed, for the operator.
    pub fn fault(&self) -> Option<Box<str>> {
        self.state.fault.lock().clone()
    }

    /// Fetches so far: those that brought a key set, and those that failed.
    pub fn fetches(&self) -> [u64; 2] {
        [&self.state.fetched, &self.state.failed].map(|count| count.load(Ordering::Relaxed))
    }

    /// Waits for the first fetch, if it is not over.
    ///
    /// # Cancel
    /// Loses nothing.
    pub async fn first(&self) -> Option<Fetched> {
        self.until(1).await;
        self.keys()
    }

    /// Has the set fetched once more, because it lacks a key.
    ///
    /// # Cancel
    /// Loses nothing.
    pub async fn again(&self, now: BootNanos) -> Again {
        let fetch = {
            let mut asked = self.state.asked.lock();
            match *asked {
                Some((at, fetch)) if now.nanos_since(at) < COOL_DOWN_NANOS => {
                    if *self.state.done.borrow() >= fetch {
                        return Again::Resting;
                    }
                    fetch
                }
                _ => {
                    // One that is under way may have left before the issuer had the new key.
                    let fetch = self.state.begun.load(Ordering::Acquire) + 1;
                    *asked = Some((now, fetch));
                    self.state.bell.notify_one();
                    fetch
                }
            }
        };
        if self.until(fetch).await { Again::Done } else { Again::Late }
    }

    /// Waits until this fetch is over; false when it takes too long, or too many wait.
    async fn until(&self, fetch: u64) -> bool {
        let mut done = self.state.done.subscribe();
        if *done.borrow() >= fetch {
            return true;
        }
        let _place = Place(&self.state.waiting);
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            return false;
        }
        matches!(timeout(WAIT_MAX, done.wait_for(|done| *done >= fetch)).await, Ok(Ok(_)))
    }
}

/// Gives the place of one who waits back, also when it is given up.
struct Place<'p>(&'p AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The key sets of all issuers.
#[derive(Debug)]
pub struct Issuers {
    known: RwLock<HashMap<Arc<str>, Entry>>,
    /// Moves when an entry does.
    changes: watch::Sender<u64>,
    refused: Box<[AtomicU64]>,
    offered: Box<[AtomicU64]>,
    /// Proofs of possession that were used.
    pub(crate) replays: Replays,
    /// Tokens that were verified.
    pub verdicts: Verdicts,
    /// Issuers that are asked about tokens.
    pub introspections: Introspections,
}

/// One issuer's place.
#[derive(Debug)]
struct Entry {
    known: Known,
    /// As it was before the last change: requests that began then are still under way.
    before: Option<Known>,
}

impl Default for Issuers {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            changes: watch::Sender::new(0),
            refused: Refusal::all().map(|_| AtomicU64::new(0)).collect(),
            offered: KeyHint::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            replays: Replays::default(),
            verdicts: Verdicts::default(),
            introspections: Introspections::default(),
        }
    }
}

impl Issuers {
    /// None yet, and what the node proves itself with to those that it will ask about tokens.
    pub fn asking_as(clients: HashMap<Box<str>, introspect::Client>) -> Self {
        Self { introspections: Introspections::new(clients), ..Self::default() }
    }

    /// What is known of an issuer. One that was just put in force is waited for; `None` when it does not come.
    ///
    /// # Cancel
    /// Loses nothing.
    pub async fn of(&self, name: &str, remote: &Remote) -> Option<Known> {
        if let Some(known) = self.find(name, remote) {
            return Some(known);
        }
        let mut changes = self.changes.subscribe();
        let found = timeout(WAIT_MAX, async {
            loop {
                if let Some(known) = self.find(name, remote) {
                    return Some(known);
                }
                changes.changed().await.ok()?;
            }
        });
        found.await.ok().flatten()
    }

    fn find(&self, name: &str, remote: &Remote) -> Option<Known> {
        let all = self.known.read();
        let entry = all.get(name)?;
        std::iter::once(&entry.known).chain(&entry.before).find(|known| *known.remote == *remote).cloned()
    }

    /// Puts issuers in force, and forgets all others. The task that fetches is the only one who calls this.
    fn set(&self, wanted: &HashMap<Arc<str>, Arc<Remote>>) {
        let mut all = self.known.write();
        all.retain(|name, _| wanted.contains_key(name));
        for (name, remote) in wanted {
            let Some(entry) = all.get_mut(name) else {
                let known = Known { remote: Arc::clone(remote), state: Arc::default() };
                all.insert(Arc::clone(name), Entry { known, before: None });
                continue;
            };
            if *entry.known.remote != **remote {
                // Also a change that is taken back finds what was known before it.
                let mut seen = std::iter::once(&entry.known).chain(&entry.before);
                let state = seen.find(|known| is_same_set(&known.remote, remote)).map(|known| Arc::clone(&known.state)).unwrap_or_default();
                entry.before = Some(std::mem::replace(&mut entry.known, Known { remote: Arc::clone(remote), state }));
            }
        }
        drop(all);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Counts a token that was refused.
    pub fn refused(&self, why: Refusal) {
        let at = Refusal::all().position(|known| known == why);
        if let Some(count) = at.and_then(|at| self.refused.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what tokens offered as keys, which is ignored.
    pub fn offered(&self, hints: &[KeyHint]) {
        for hint in hints {
            let at = KeyHint::ALL.iter().position(|known| known == hint);
            if let Some(count) = at.and_then(|at| self.offered.get(at)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Refused tokens by reason, and offered keys by kind, each with its label.
    pub fn counts(&self) -> [Vec<(&'static str, u64)>; 2] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            Refusal::all().map(Refusal::code).zip(self.refused.iter().map(load)).collect(),
            KeyHint::ALL.iter().map(|hint| hint.name()).zip(self.offered.iter().map(load)).collect(),
        ]
    }

    /// Every issuer whose keys are fetched.
    pub fn view(&self) -> Vec<(Arc<str>, Known)> {
        self.known.read().iter().map(|(name, entry)| (Arc::clone(name), entry.known.clone())).collect()
    }
}

/// Whether a change of the one to the other leaves the keys as good as they were.
fn is_same_set(before: &Remote, after: &Remote) -> bool {
    // Named one by one: whoever adds one decides whether it changes where the keys come from.
    let Remote { place, algorithms, ca, allows_private, refresh: _, stale_max: _ } = before;
    (place, algorithms, ca, allows_private) == (&after.place, &after.algorithms, &after.ca, &after.allows_private)
}

/// Fetches the key sets of what is published, for as long as the node runs.
pub async fn run(edge: Arc<Edge>) {
    let mut running: HashMap<Arc<str>, (Arc<Remote>, AbortHandle)> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut seen = None;
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        while tasks.try_join_next().is_some() {}
        let generation = edge.current.generation();
        // A task ends by itself only when it has panicked.
        let is_any_over = running.values().any(|(_, task)| task.is_finished());
        if seen.replace(generation) == Some(generation) && !is_any_over {
            continue;
        }
        edge.issuers.set(&wanted(&edge));
        edge.issuers.introspections.keep(|name| is_asked(&edge, name));
        let known: HashMap<_, _> = edge.issuers.view().into_iter().collect();
        running.retain(|name, (remote, task)| {
            let stays = !task.is_finished() && known.get(name).is_some_and(|known| Arc::ptr_eq(&known.remote, remote));
            if !stays {
                task.abort();
            }
            stays
        });
        for (name, known) in known {
            let remote = Arc::clone(&known.remote);
            running.entry(Arc::clone(&name)).or_insert_with(|| (remote, tasks.spawn(keep(Arc::clone(&edge), name, known))));
        }
    }
}

fn wanted(edge: &Edge) -> HashMap<Arc<str>, Arc<Remote>> {
    let Some(snapshot) = edge.current.load() else { return HashMap::new() };
    let remote = |source: &KeySource| match source {
        KeySource::Fixed { .. } | KeySource::Introspection(_) => None,
        KeySource::Remote(remote) => Some(Arc::clone(remote)),
    };
    snapshot.structure.issuers.iter().filter_map(|issuer| Some((Arc::clone(&issuer.name), remote(&issuer.keys)?))).collect()
}

fn is_asked(edge: &Edge, name: &str) -> bool {
    let is_so = |issuer: &Issuer| *issuer.name == *name && matches!(issuer.keys, KeySource::Introspection(_));
    edge.current.load().is_some_and(|snapshot| snapshot.structure.issuers.iter().any(|issuer| is_so(issuer)))
}

/// Fetches one issuer's keys on its schedule, and when the bell rings.
async fn keep(edge: Arc<Edge>, name: Arc<str>, known: Known) {
    let Known { remote, state } = known;
    let mut failures = 0_u32;
    let mut trust = None;
    loop {
        let number = state.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let at = edge.clock.boot();
        let outcome = timeout(FETCH_WITHIN, fetch::key_set(&remote, &mut trust)).await.unwrap_or(Err(fetch::Fault::Late));
        match outcome {
            Ok(keys) => {
                tell_refused(&name, &keys);
                if failures > 0 {
                    tracing::info!(issuer = &*name, keys = keys.n_usable(), "the issuer's key set can be had again");
                }
                failures = 0;
                *state.fault.lock() = None;
                state.fetched.fetch_add(1, Ordering::Relaxed);
                state.set.store(Some(Arc::new(Fetched { keys: Arc::new(keys), at })));
            }
            Err(fault) => {
                failures = failures.saturating_add(1);
                *state.fault.lock() = Some(fault.to_string().into());
                state.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(issuer = &*name, failures, "the issuer's key set cannot be had: {fault}; the one before stays in use");
            }
        }
        state.is_failing.store(failures > 0, Ordering::Release);
        state.done.send_replace(number);
        let pause = if failures == 0 { remote.refresh } else { retry_after(failures) };
        tokio::select! {
            () = tokio::time::sleep(with_jitter(pause, number)) => {}
            () = state.bell.notified() => {}
        }
    }
}

fn tell_refused(name: &str, keys: &KeySet) {
    if let Some(first) = keys.refused().first() {
        let (refused, position) = (keys.refused().len(), first.position);
        tracing::warn!(issuer = name, refused, position, "keys of the issuer's set are not used; the first: {}", first.fault);
    }
}

fn retry_after(failures: u32) -> Duration {
    let [first, last] = RETRY_AFTER;
    first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(last)
}

/// Up to a fifth less, so that the nodes of a deployment do not ask at one time.
fn with_jitter(pause: Duration, number: u64) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = u32::try_from(RandomState::new().hash_one(number) % 201).unwrap_or(100);
    pause.saturating_mul(1_000 - share) / 1_000
}

#[cfg(test)]
mod tests;
