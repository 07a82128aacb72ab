//! Where the databases of fronted services stand: what each of their servers has shown, and a way to ask them now.
//!
//! The monitor (`app/domains`) writes, requests with a promise about their own writes read. What a server has shown is a lower bound of
//! what it has, for as long as the connection lives over which it was shown.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use model::consistency_token::DomainMark;
use tokio::sync::{mpsc, oneshot, watch};

use self::heartbeat::Heartbeat;
pub use self::view::{Merged, Pin, ServerId, Shown, Standing, View};

pub mod heartbeat;
mod view;

/// Questions to one server that wait for its next answer; whoever finds no room gets none.
pub const QUESTIONS_MAX: usize = 4_096;

/// The domains that this node watches, and what came of the promises about them.
#[derive(Debug, Default)]
pub struct Positions {
    domains: ArcSwap<HashMap<DomainMark, Arc<Domain>>>,
    tally: [AtomicU64; Event::ALL.len()],
}

/// What a promise came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A read with a token was sent to this region's service.
    Local,
    /// So it was, after waiting.
    Waited,
    /// It was sent to another region.
    Elsewhere,
    /// It was served though nobody could say that it has the client's writes.
    Stale,
    /// It was refused: nobody had, or nobody could prove.
    Unreached,
    /// An answer was thrown away, because a server of its set was not the same any more.
    HeldBack,
    /// A client was told that a write of its may be lost.
    Lost,
    /// The position of a write was told.
    Told,
    /// A write was answered whose position could not be had.
    Untold,
    /// A token was refused.
    Rejected,
}

impl Event {
    /// All, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::Local,
        Self::Waited,
        Self::Elsewhere,
        Self::Stale,
        Self::Unreached,
        Self::HeldBack,
        Self::Lost,
        Self::Told,
        Self::Untold,
        Self::Rejected,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Waited => "waited",
            Self::Elsewhere => "elsewhere",
            Self::Stale => "stale",
            Self::Unreached => "unreached",
            Self::HeldBack => "held_back",
            Self::Lost => "lost",
            Self::Told => "told",
            Self::Untold => "untold",
            Self::Rejected => "token_rejected",
        }
    }
}

impl Positions {
    /// A domain that this node watches.
    pub fn domain(&self, mark: DomainMark) -> Option<Arc<Domain>> {
        self.domains.load().get(&mark).cloned()
    }

    /// Puts other domains in the place of those before.
    pub fn watch(&self, domains: HashMap<DomainMark, Arc<Domain>>) {
        self.domains.store(Arc::new(domains));
    }

    /// All of them, for people.
    pub fn all(&self) -> Arc<HashMap<DomainMark, Arc<Domain>>> {
        self.domains.load_full()
    }

    /// Counts.
    pub fn count(&self, event: Event) {
        if let Some(counter) = self.tally.get(event as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> impl Iterator<Item = (Event, u64)> + '_ {
        Event::ALL.into_iter().zip(&self.tally).map(|(event, counter)| (event, counter.load(Ordering::Relaxed)))
    }
}

/// A question to a server: what it shows over an exchange that begins afterwards.
pub type Question = oneshot::Sender<Option<Shown>>;

/// How a server is asked.
#[derive(Debug, Clone)]
pub struct Way {
    /// Which server.
    pub to: ServerId,
    /// Its questions; [`QUESTIONS_MAX`] have room.
    pub questions: mpsc::Sender<Question>,
}

/// A domain as the data plane sees it.
#[derive(Debug)]
pub struct Domain {
    /// Its name.
    pub name: Arc<str>,
    view: watch::Receiver<Arc<View>>,
    ways: ArcSwap<Vec<Way>>,
    heartbeat: ArcSwap<Heartbeat>,
}

impl Domain {
    /// A domain that shows what the monitor writes; its servers cannot be asked before [`Self::reach`].
    pub fn new(name: Arc<str>, view: watch::Receiver<Arc<View>>) -> Self {
        Self { name, view, ways: ArcSwap::default(), heartbeat: ArcSwap::default() }
    }

    /// From now on these servers are asked, and no others.
    pub fn reach(&self, ways: Vec<Way>) {
        self.ways.store(Arc::new(ways));
    }

    /// What is known now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Follows what is known.
    pub fn changes(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// What is known of its heartbeat.
    pub fn heartbeat(&self) -> Arc<Heartbeat> {
        self.heartbeat.load_full()
    }

    /// Puts something else in the place of what is known of its heartbeat; `next` may be called more than once.
    pub fn beat(&self, next: impl Fn(&Heartbeat) -> Heartbeat) {
        self.heartbeat.rcu(|known| next(known));
    }

    /// Asks servers, all at once; requests that ask at the same time share an exchange. `None` where there is no answer.
    ///
    /// # Cancel
    /// The answer is lost.
    pub async fn ask(&self, pins: &[Pin]) -> Vec<Option<Shown>> {
        join_all(pins.iter().map(|pin| async {
            let (question, answer) = oneshot::channel();
            // The guard ends before the answer is waited for.
            self.ways.load().iter().find(|way| way.to == pin.server)?.questions.try_send(question).ok()?;
            answer.await.ok()?
        }))
        .await
    }
}
