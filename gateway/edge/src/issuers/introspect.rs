//! Asks issuers about tokens that only they can read (RFC 7662), and remembers for a short while what they said.
//!
//! Whoever sends tokens of their own making makes a node ask. So a text that can be no token is not asked about; one text is asked about once at a
//! time; so many questions go to an issuer at once and no more, and the others wait or are given up; and the gate in front refuses
//! addresses that keep failing.

pub(in crate::issuers) mod client;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use model::{
    jwt::introspection::{self, Answer},
    structure::identity::Introspection,
    time::BootNanos,
};
use parking_lot::{Mutex, RwLock};
use quick_cache::{Weighter, sync::Cache};
use rustls::ClientConfig;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

pub use self::client::Client;
use super::fetch::{self, Fault};
use crate::{clock::Clock, outside};

/// From a request's question to its answer, whoever asks it.
const WITHIN: Duration = Duration::from_secs(2);
/// How long a "no" is remembered: a token that was just issued may not be known to all of its issuer's machines.
const NO_KEPT: Duration = Duration::from_secs(5);
/// Questions that go to one issuer at once.
pub(super) const AT_ONCE_MAX: usize = 32;
/// Questions that wait for their turn.
const WAITING_MAX: usize = 256;
/// Answers of one issuer that say yes.
const BYTES_MAX: u64 = 8 << 20;
/// Those that say no: somebody who invents tokens pushes out their own alone.
const NOES_MAX: usize = 8_192;

/// A token's hash: the token itself is kept nowhere.
type Name = [u8; 32];

/// There is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable;

/// What came of a question; nothing while it is under way.
type Outcome = Option<Result<Arc<Answer>, Unreachable>>;

/// Numbers by their outcomes.
type Counts = [(&'static str, u64); 3];

/// The issuers that are asked.
#[derive(Debug, Default)]
pub struct Introspections {
    clients: HashMap<Box<str>, Client>,
    desks: RwLock<HashMap<Arc<str>, Arc<Desk>>>,
}

impl Introspections {
    /// What the node proves itself with to issuers, by the names that documents use.
    pub fn new(clients: HashMap<Box<str>, Client>) -> Self {
        Self { clients, desks: RwLock::default() }
    }

    /// The names of what it proves itself with.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.clients.keys().map(|name| &**name)
    }

    /// Where an issuer is asked. What is remembered goes when the document says anything else about it.
    pub fn desk(&self, name: &Arc<str>, introspection: &Arc<Introspection>) -> Arc<Desk> {
        if let Some(desk) = self.desks.read().get(name).filter(|desk| desk.introspection == *introspection) {
            return Arc::clone(desk);
        }
        let mut desks = self.desks.write();
        if let Some(desk) = desks.get(name).filter(|desk| desk.introspection == *introspection) {
            return Arc::clone(desk);
        }
        let desk = Arc::new(Desk::new(Arc::clone(introspection), self.clients.get(&*introspection.client).cloned()));
        desks.insert(Arc::clone(name), Arc::clone(&desk));
        desk
    }

    /// Forgets the issuers that are not asked any more.
    pub(super) fn keep(&self, is_asked: impl Fn(&str) -> bool) {
        if !self.desks.read().is_empty() {
            self.desks.write().retain(|name, _| is_asked(name));
        }
    }

    /// Questions of each issuer: those that were answered, those that were not, and those that something that was remembered answered.
    pub fn counts(&self) -> Vec<(Arc<str>, Counts)> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let of = |desk: &Desk| [("ok", load(&desk.answered)), ("failed", load(&desk.failed)), ("kept", load(&desk.hits))];
        self.desks.read().iter().map(|(name, desk)| (Arc::clone(name), of(desk))).collect()
    }
}

/// Where one issuer is asked.
pub struct Desk {
    introspection: Arc<Introspection>,
    client: Option<Client>,
    tls: OnceLock<Arc<ClientConfig>>,
    yes: Cache<Name, Kept, Weight>,
    no: Cache<Name, Kept>,
    flights: Mutex<HashMap<Name, watch::Receiver<Outcome>>>,
    places: Semaphore,
    waiting: AtomicUsize,
    answered: AtomicU64,
    failed: AtomicU64,
    hits: AtomicU64,
}

/// What was said about tokens is nobody's business.
impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("introspection", &self.introspection).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Kept {
    answer: Arc<Answer>,
    until: BootNanos,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Name, Kept> for Weight {
    fn weight(&self, _: &Name, kept: &Kept) -> u64 {
        // Members are kept as their texts, each with a place of its own.
        u64::try_from(kept.answer.bytes() * 2 + 256).unwrap_or(u64::MAX)
    }
}

/// Who asks.
enum Turn<'d> {
    /// This request does.
    Ask(Flight<'d>),
    /// Another one does, about the same token.
    Wait(watch::Receiver<Outcome>),
}

/// A question under way. Given up, it wakes who waits for it, and the first of them asks.
struct Flight<'d> {
    desk: &'d Desk,
    name: Name,
    done: watch::Sender<Outcome>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.desk.flights.lock().remove(&self.name);
    }
}

impl Desk {
    fn new(introspection: Arc<Introspection>, client: Option<Client>) -> Self {
        Self {
            introspection,
            client,
            tls: OnceLock::new(),
            yes: Cache::with_weighter(1_024, BYTES_MAX, Weight),
            no: Cache::new(NOES_MAX),
            flights: Mutex::default(),
            places: Semaphore::new(AT_ONCE_MAX),
            waiting: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }
    }

    /// What the issuer says about a token, or has said a moment ago.
    ///
    /// # Errors
    /// [`Unreachable`], when there is no answer within two seconds, none that can be understood, or too many others ask.
    ///
    /// # Cancel
    /// Gives the question up; whoever waits for the same asks it again.
    pub async fn ask(&self, token: &str, clock: Clock) -> Result<Arc<Answer>, Unreachable> {
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(answer) = self.kept(&name, clock.boot()) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(answer);
        }
        timeout(WITHIN, self.settle(name, token, clock)).await.unwrap_or_else(|_| {
            self.failed.fetch_add(1, Ordering::Relaxed);
            Err(Unreachable)
        })
    }

    async fn settle(&self, name: Name, token: &str, clock: Clock) -> Result<Arc<Answer>, Unreachable> {
        loop {
            match self.turn(name) {
                Turn::Ask(flight) => {
                    // It may have been answered between the look and the turn.
                    let outcome = match self.kept(&name, clock.boot()) {
                        Some(answer) => Ok(answer),
                        None => self.question(token, clock).await.map(|(answer, asked)| self.keep(name, answer, asked)),
                    };
                    flight.done.send_replace(Some(outcome.clone()));
                    return outcome;
                }
                Turn::Wait(mut done) => {
                    if let Ok(outcome) = done.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
                        return outcome.unwrap_or(Err(Unreachable));
                    }
                }
            }
        }
    }

    fn turn(&self, name: Name) -> Turn<'_> {
        let mut flights = self.flights.lock();
        if let Some(done) = flights.get(&name) {
            return Turn::Wait(done.clone());
        }
        let (done, waits) = watch::channel(None);
        flights.insert(name, waits);
        Turn::Ask(Flight { desk: self, name, done })
    }

    fn kept(&self, name: &Name, now: BootNanos) -> Option<Arc<Answer>> {
        let kept = self.yes.get(name).filter(|kept| now < kept.until).or_else(|| self.no.get(name).filter(|kept| now < kept.until));
        kept.map(|kept| kept.answer)
    }

    /// Remembers an answer from when it was asked for: what is said of a token is then never older than the document allows.
    fn keep(&self, name: Name, answer: Arc<Answer>, asked: BootNanos) -> Arc<Answer> {
        let span = match &*answer {
            Answer::Active(_) => self.introspection.cache,
            Answer::Inactive => self.introspection.cache.min(NO_KEPT),
        };
        let until = BootNanos(asked.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)));
        let kept = Kept { answer: Arc::clone(&answer), until };
        match &*answer {
            Answer::Active(_) => self.yes.insert(name, kept),
            Answer::Inactive => self.no.insert(name, kept),
        }
        answer
    }

    /// Asks the issuer, when it is this question's turn.
    async fn question(&self, token: &str, clock: Clock) -> Result<(Arc<Answer>, BootNanos), Unreachable> {
        let _place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => self.queue().await?,
        };
        let asked = clock.boot();
        match self.exchange(token).await {
            Ok(answer) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                Ok((Arc::new(answer), asked))
            }
            Err(fault) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(endpoint = %self.introspection.endpoint, "an issuer cannot be asked about a token: {fault}");
                Err(Unreachable)
            }
        }
    }

    async fn queue(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Unreachable> {
        let _waiting = super::Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            return Err(Unreachable);
        }
        self.places.acquire().await.map_err(|_| Unreachable)
    }

    async fn exchange(&self, token: &str) -> Result<Answer, Fault> {
        let Introspection { endpoint, ca, allows_private, .. } = &*self.introspection;
        // A document whose client this node lacks was refused.
        let client = self.client.as_ref().ok_or(Fault::NoClient)?;
        let tls = if let Some(tls) = self.tls.get() {
            Arc::clone(tls)
        } else {
            let made = outside::tls(ca.as_deref()).map_err(Fault::Trust)?;
            Arc::clone(self.tls.get_or_init(|| made))
        };
        let body = client.question(token);
        let asked =
            fetch::Asked { url: endpoint, allows_private: *allows_private, bytes_max: introspection::ANSWER_BYTES_MAX + 1, question: Some(body) };
        let answer = fetch::exchange(asked, &tls).await?;
        Answer::read(&answer).map_err(Fault::Answer)
    }
}

#[cfg(test)]
mod tests;
