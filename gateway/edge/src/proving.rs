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
/// Texts that are remembered, right and wrong ones apart: somebody who invents texts pushes out their own alone.
const KNOWN_MAX: usize = 1_024;
/// Keys whose texts were verified and that the database does not know about yet, and those that it was told about lately.
const TOLD_MAX: usize = 1_024;
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

/// What a node verifies, and what it has verified.
#[derive(Default)]
pub struct Proving {
    /// Made by the first question: a node without such keys has no thread.
    desk: OnceLock<Arc<Desk>>,
    queue: Mutex<Option<SyncSender<Job>>>,
    /// What the database is to be told, and what it has been told: nothing any more.
    told: Mutex<HashMap<KeyId, Option<Proved>>>,
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
        if let Some(done) = flights.get(&question.mark.0) {
            return Ok(done.subscribe());
        }
        let (done, outcome) = watch::channel(None);
        flights.insert(question.mark.0, done.clone());
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
    pub fn tell(&self, id: KeyId, proved: impl FnOnce() -> Option<Proved>) {
        let mut told = self.told.lock();
        if told.contains_key(&id) {
            return;
        }
        if told.len() >= TOLD_MAX {
            told.retain(|_, proved| proved.is_some());
        }
        if told.len() < TOLD_MAX
            && let Some(proved) = proved()
        {
            told.insert(id, Some(proved));
            self.news.notify_one();
        }
    }

    /// Waits until there may be something to tell.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Something to tell; the same until it is settled.
    pub fn next(&self) -> Option<Proved> {
        self.told.lock().values().find_map(|proved| *proved)
    }

    /// The database knows, or does not want to.
    pub fn settled(&self, id: KeyId) {
        self.told.lock().insert(id, None);
    }

    /// Texts that were verified, by what came of it, and requests that were told to come again.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [right, wrong] = self.desk.get().map_or([0, 0], |desk| [load(&desk.n_right), load(&desk.n_wrong)]);
        [("right", right), ("wrong", wrong), ("busy", load(&self.busy))]
    }
}

/// What requests and the thread share.
struct Desk {
    right: Cache<Mark, KeyId>,
    wrong: Cache<Mark, Arc<[KeyId]>>,
    flights: Mutex<HashMap<Mark, watch::Sender<Outcome>>>,
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
    /// Refuses who has sent too many wrong texts, and texts of keys that got too many.
    fn check(&self, candidates: &[Candidate], address: IpAddr, now: BootNanos) -> Result<(), Busy> {
        let of_keys = candidates.iter().filter_map(|candidate| self.keys.wait(candidate.id, now)).max();
        let longest = of_keys.max(self.addresses.wait(Prefix::of(address), now));
        longest.map_or(Ok(()), |nanos| Err(Busy::after(nanos)))
    }

    fn failed(&self, id: KeyId, address: IpAddr, now: BootNanos) {
        self.n_wrong.fetch_add(1, Ordering::Relaxed);
        self.keys.charge(id, now);
        self.addresses.charge(Prefix::of(address), now);
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
        let outcome = self.verify().map(Arc::new);
        if let Ok(found) = &outcome {
            match found.right {
                Some(id) => self.desk.right.insert(self.mark, id),
                None => self.desk.wrong.insert(self.mark, self.known_wrong(&found.wrong)),
            }
        }
        let done = self.done.clone();
        // Out of the way first: who comes now finds it among what is known.
        drop(self);
        done.send_replace(Some(outcome));
    }

    fn verify(&self) -> Result<Found, Busy> {
        let mut found = Found::default();
        // It has passed `Foreign::parse` before.
        let Some(text) = Foreign::parse(self.text.expose_secret()) else { return Ok(found) };
        for candidate in &self.candidates {
            // Looked at again: those before it in the queue may have used up what there was.
            self.desk.check(std::slice::from_ref(candidate), self.address, self.clock.boot())?;
            if candidate.hash.verify(&text) {
                self.desk.n_right.fetch_add(1, Ordering::Relaxed);
                found.right = Some(candidate.id);
                break;
            }
            self.desk.failed(candidate.id, self.address, self.clock.boot());
            found.wrong.push(candidate.id);
        }
        Ok(found)
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
