//! Verifies texts against bcrypt hashes that another system keeps (ADR 0029), so that nobody else has to wait for it.
//!
//! bcrypt is slow on purpose, and whoever knows what a key begins with makes a node compute it. So one text is verified at a time for the
//! whole node, by a thread of its own at a low priority; few wait for it, and the others are told to come again; a key and an address
//! have so many wrong texts and no more; a text is verified once, whoever else sends it; and what came of it is remembered by a keyed
//! hash of the text.

mod throttle;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use model::{
    key::{
        Digest, KeyId,
        foreign::{
            Foreign,
            bcrypt::{BcryptHash, Proved},
        },
    },
    secret::SecretText,
    time::BootNanos,
};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use self::throttle::Throttle;
use crate::{clock::Clock, gate::Prefix};

/// From a request's question to its answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Texts that wait for the one that is verified: two seconds of work where each begins like one key of the highest cost.
const QUEUE_MAX: usize = 8;
/// Of these, texts that may be the text of one key, and texts from one address prefix: others get a turn beside them.
const OF_KEY_MAX: usize = 2;
const OF_PREFIX_MAX: usize = 3;
/// Texts that are remembered, right and wrong ones apart: somebody who invents texts pushes out their own alone.
const KNOWN_MAX: usize = 1_024;
/// Keys whose texts were verified and that the database does not know about yet, and those that it was told about lately.
const TOLD_MAX: usize = 1_024;
/// How long what the database was told is not told again: it may be lost with a primary.
const TOLD_NANOS: u64 = 60 * 1_000_000_000;
/// Turns of one question: another text of the same kind may have been verified meanwhile, or the thread may have ended.
const TURNS_MAX: usize = 4;
/// The thread's niceness: on a core that is busy with requests it gets a tenth.
const NICENESS: i32 = 10;

/// A keyed hash of a text.
type Mark = [u8; 32];

/// A key that a text may be the text of.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub id: KeyId,
    /// What verifies the text.
    pub hash: BcryptHash,
}

/// Which of some keys a text is the text of.
#[derive(Debug)]
pub struct Question<'q> {
    /// The text.
    pub text: &'q Foreign<'q>,
    /// A digest of it under a pepper, by which it is remembered.
    pub mark: Digest,
    /// The keys.
    pub candidates: Vec<Candidate>,
    /// Who sends it.
    pub address: IpAddr,
    /// The clocks.
    pub clock: Clock,
}

/// There is no place, or there were too many wrong texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// When it is worth asking again.
    pub retry_after_seconds: u64,
}

impl Busy {
    const SOON: Self = Self { retry_after_seconds: 1 };

    fn after(nanos: u64) -> Self {
        Self { retry_after_seconds: nanos.div_ceil(1_000_000_000).max(1) }
    }
}

/// What came of a text: the key that it is the text of, and those that it is not.
#[derive(Debug, Default)]
struct Found {
    right: Option<KeyId>,
    wrong: Vec<KeyId>,
}

/// Nothing while it is verified.
type Outcome = Option<Result<Arc<Found>, Busy>>;

/// What the database knows about a key.
enum Told {
    /// It is to be told this.
    NotYet(Proved),
    /// It was told, or did not want to be.
    At(BootNanos),
}

/// What a node verifies, and what it has verified.
#[derive(Default)]
pub struct Proving {
    /// Made by the first question: a node without such keys has no thread.
    desk: OnceLock<Arc<Desk>>,
    queue: Mutex<Option<SyncSender<Job>>>,
    /// What the database is to be told, and what it has been told.
    told: Mutex<HashMap<KeyId, Told>>,
    news: Notify,
    busy: AtomicU64,
}

/// How many alone.
impl fmt::Debug for Proving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proving").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Proving {
    /// Finds the key whose text this is; `None` when it is none of them.
    ///
    /// # Errors
    /// [`Busy`], when too many others ask, when it takes more than five seconds, or after too many wrong texts.
    ///
    /// # Cancel
    /// Gives the question up; a text whose turn has come is verified all the same, and remembered.
    pub async fn ask(&self, question: Question<'_>) -> Result<Option<KeyId>, Busy> {
        let answer = timeout(WITHIN, self.settle(question)).await.unwrap_or(Err(Busy::SOON));
        if answer.is_err() {
            self.busy.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn settle(&self, mut question: Question<'_>) -> Result<Option<KeyId>, Busy> {
        let desk = self.desk.get_or_init(Arc::default);
        for _ in 0..TURNS_MAX {
            if let Some(id) = desk.right.get(&question.mark.0).filter(|id| question.candidates.iter().any(|candidate| candidate.id == *id)) {
                return Ok(Some(id));
            }
            if let Some(wrong) = desk.wrong.get(&question.mark.0) {
                question.candidates.retain(|candidate| !wrong.contains(&candidate.id));
            }
            if question.candidates.is_empty() {
                return Ok(None);
            }
            desk.check(&question.candidates, question.address, question.clock.boot())?;
            let mut outcome = self.flight(desk, &question)?;
            // Given up without a word: nobody waited for it a moment ago.
            let Ok(outcome) = outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) else { continue };
            let found = outcome.unwrap_or(Err(Busy::SOON))?;
            // Another request's question may have been about other keys.
            if let Some(id) = found.right.filter(|id| question.candidates.iter().any(|candidate| candidate.id == *id)) {
                return Ok(Some(id));
            }
            question.candidates.retain(|candidate| !found.wrong.contains(&candidate.id));
            if question.candidates.is_empty() {
                return Ok(None);
            }
        }
        Err(Busy::SOON)
    }

    /// The verification of this text that is under way, or a new one.
    fn flight(&self, desk: &Arc<Desk>, question: &Question<'_>) -> Result<watch::Receiver<Outcome>, Busy> {
        let mut flights = desk.flights.lock();
        if let Some(flight) = flights.get(&question.mark.0) {
            return Ok(flight.done.subscribe());
        }
        let prefix = Prefix::of(question.address);
        let is_alike = |flight: &&Flight| flight.keys.iter().any(|id| question.candidates.iter().any(|candidate| candidate.id == *id));
        let n_of_key = flights.values().filter(is_alike).count();
        let n_of_prefix = flights.values().filter(|flight| flight.prefix == prefix).count();
        if n_of_key >= OF_KEY_MAX || n_of_prefix >= OF_PREFIX_MAX {
            return Err(Busy::SOON);
        }
        let (done, outcome) = watch::channel(None);
        let keys = question.candidates.iter().map(|candidate| candidate.id).collect();
        flights.insert(question.mark.0, Flight { done: done.clone(), prefix, keys });
        drop(flights);
        let job = Job {
            desk: Arc::clone(desk),
            text: question.text.to_secret(),
            mark: question.mark.0,
            candidates: question.candidates.clone(),
            address: question.address,
            clock: question.clock,
            done,
        };
        self.queue(job).map(|()| outcome)
    }

    /// Puts a text into the queue; the first one starts the thread, and so does the first one after a panic.
    fn queue(&self, mut job: Job) -> Result<(), Busy> {
        let mut queue = self.queue.lock();
        for _ in 0..2 {
            let sender = match &*queue {
                Some(sender) => sender.clone(),
                None => queue.insert(start()?).clone(),
            };
            match sender.try_send(job) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => return Err(Busy::SOON),
                Err(TrySendError::Disconnected(unsent)) => {
                    job = unsent;
                    *queue = None;
                }
            }
        }
        Err(Busy::SOON)
    }

    /// Notes that a key's text was shown, so that the database is told.
    pub fn tell(&self, id: KeyId, now: BootNanos, proved: impl FnOnce() -> Option<Proved>) {
        let mut told = self.told.lock();
        match told.get(&id) {
            Some(Told::NotYet(_)) => return,
            Some(Told::At(at)) if now.nanos_since(*at) < TOLD_NANOS => return,
            Some(Told::At(_)) | None => {}
        }
        told.remove(&id);
        if told.len() >= TOLD_MAX {
            told.retain(|_, told| matches!(told, Told::NotYet(_)));
        }
        if told.len() < TOLD_MAX
            && let Some(proved) = proved()
        {
            told.insert(id, Told::NotYet(proved));
            self.news.notify_one();
        }
    }

    /// Waits until there may be something to tell.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Something to tell; the same until it is settled.
    pub fn next(&self) -> Option<Proved> {
        let not_yet = |told: &Told| if let Told::NotYet(proved) = told { Some(*proved) } else { None };
        self.told.lock().values().find_map(not_yet)
    }

    /// The database knows, or does not want to. Who shows the text after a minute while the key still waits has it told again.
    pub fn settled(&self, id: KeyId, now: BootNanos) {
        self.told.lock().insert(id, Told::At(now));
    }

    /// Texts that were verified, by what came of it, and requests that were told to come again.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [right, wrong] = self.desk.get().map_or([0, 0], |desk| [load(&desk.n_right), load(&desk.n_wrong)]);
        [("right", right), ("wrong", wrong), ("busy", load(&self.busy))]
    }
}

/// A text that is verified, or waits for it.
struct Flight {
    done: watch::Sender<Outcome>,
    /// Who sent it first.
    prefix: Prefix,
    /// The keys that it may be the text of.
    keys: Box<[KeyId]>,
}

/// What requests and the thread share.
struct Desk {
    right: Cache<Mark, KeyId>,
    wrong: Cache<Mark, Arc<[KeyId]>>,
    flights: Mutex<HashMap<Mark, Flight>>,
    keys: Throttle<KeyId>,
    addresses: Throttle<Prefix>,
    n_right: AtomicU64,
    n_wrong: AtomicU64,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            right: Cache::new(KNOWN_MAX),
            wrong: Cache::new(KNOWN_MAX),
            flights: Mutex::default(),
            // A program with a wrong text sends the same again, which costs nothing: these are for people who guess. One address
            // alone does not use up what a key has.
            keys: Throttle::new(10, 2_000_000_000),
            addresses: Throttle::new(20, 5_000_000_000),
            n_right: AtomicU64::new(0),
            n_wrong: AtomicU64::new(0),
        }
    }
}

impl Desk {
    /// Refuses who has sent too many wrong texts, and a text of which each key got too many.
    fn check(&self, candidates: &[Candidate], address: IpAddr, now: BootNanos) -> Result<(), Busy> {
        let of_keys = candidates.iter().map(|candidate| self.keys.wait(candidate.id, now)).min().flatten();
        let longest = of_keys.max(self.addresses.wait(Prefix::of(address), now));
        longest.map_or(Ok(()), |nanos| Err(Busy::after(nanos)))
    }

    /// Counts a text that is none of these keys': once for whoever sent it, however many keys begin alike.
    fn failed(&self, ids: &[KeyId], address: IpAddr, now: BootNanos) {
        for id in ids {
            self.keys.charge(*id, now);
        }
        if !ids.is_empty() {
            self.addresses.charge(Prefix::of(address), now);
        }
    }
}

/// A text in the queue.
struct Job {
    desk: Arc<Desk>,
    text: SecretText,
    mark: Mark,
    candidates: Vec<Candidate>,
    address: IpAddr,
    clock: Clock,
    done: watch::Sender<Outcome>,
}

/// Whatever becomes of it, nobody waits for it any more.
impl Drop for Job {
    fn drop(&mut self) {
        self.desk.flights.lock().remove(&self.mark);
    }
}

impl Job {
    /// Verifies the text, against one key after the other.
    fn run(self) {
        // Everybody has hung up.
        if self.done.is_closed() {
            return;
        }
        let (found, busy) = self.verify();
        match found.right {
            Some(id) => self.desk.right.insert(self.mark, id),
            // Also where some keys are still to be tried: who comes back has that behind them.
            None => self.desk.wrong.insert(self.mark, self.known_wrong(&found.wrong)),
        }
        let outcome = match busy.filter(|_| found.right.is_none()) {
            Some(busy) => Err(busy),
            None => Ok(Arc::new(found)),
        };
        let done = self.done.clone();
        // Out of the way first: who comes now finds it among what is known.
        drop(self);
        done.send_replace(Some(outcome));
    }

    /// What came of it, and whether some keys could not be tried yet.
    fn verify(&self) -> (Found, Option<Busy>) {
        let (mut found, mut busy) = (Found::default(), None);
        // It has passed `Foreign::parse` before.
        let Some(text) = Foreign::parse(self.text.expose_secret()) else { return (found, busy) };
        for candidate in &self.candidates {
            // Looked at again: those before it in the queue may have used up what there was.
            if let Err(wait) = self.desk.check(std::slice::from_ref(candidate), self.address, self.clock.boot()) {
                busy = Some(wait);
                continue;
            }
            if candidate.hash.verify(&text) {
                self.desk.n_right.fetch_add(1, Ordering::Relaxed);
                found.right = Some(candidate.id);
                // That it is not another key's was no guess.
                return (found, busy);
            }
            self.desk.n_wrong.fetch_add(1, Ordering::Relaxed);
            found.wrong.push(candidate.id);
        }
        self.desk.failed(&found.wrong, self.address, self.clock.boot());
        (found, busy)
    }

    /// With what was known before: another route's keys may have been others.
    fn known_wrong(&self, wrong: &[KeyId]) -> Arc<[KeyId]> {
        let before = self.desk.wrong.get(&self.mark);
        before.iter().flat_map(|before| before.iter()).chain(wrong).copied().collect()
    }
}

/// Starts the thread. It ends with the node's `Edge`, or by a panic.
fn start() -> Result<SyncSender<Job>, Busy> {
    let (sender, jobs) = sync_channel(QUEUE_MAX);
    let started = std::thread::Builder::new().name("bcrypt".to_owned()).spawn(move || work(&jobs));
    if let Err(error) = started {
        tracing::error!(error = &error as &dyn std::error::Error, "the thread that verifies imported keys could not be started");
        return Err(Busy::SOON);
    }
    Ok(sender)
}

fn work(jobs: &Receiver<Job>) {
    // Refused or not, the texts are verified.
    rustix::process::setpriority_process(None, NICENESS).ok();
    while let Ok(job) = jobs.recv() {
        job.run();
    }
}

#[cfg(test)]
mod tests;
