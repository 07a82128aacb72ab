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
use model::{
    consistency_token::DomainMark,
    position::{Epochs, Lsn, Position},
};
use tokio::sync::{mpsc, oneshot, watch};

use self::heartbeat::Heartbeat;

pub mod heartbeat;
#[cfg(test)]
mod tests;

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

/// What a server has shown, over one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The region whose services read it.
    pub region: Arc<str>,
    /// Whether they do while it is a standby.
    pub is_read: bool,
    /// Whether it takes writes.
    pub is_primary: bool,
    /// What it has at least; `None` while it does not answer, or its epoch is not known.
    pub position: Option<Position>,
    /// It may have more, of whatever epoch: it was shown before, and nobody knows what came since.
    pub is_held: bool,
    /// Tells its connections apart; 0 while there is none.
    pub connection: u64,
}

/// All servers of a domain at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The epochs that are known.
    pub epochs: Arc<Epochs>,
    /// The index of the server that takes the writes.
    pub primary: Option<usize>,
    /// In the order of the document.
    pub servers: Box<[Shown]>,
}

/// Which server is meant, and what must not have changed about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Its index.
    pub server: usize,
    /// The epoch that it was in.
    pub epoch: u32,
    /// The connection over which it said so.
    pub connection: u64,
}

impl Pin {
    /// The position that is shown now, if it is the same server in the same epoch.
    pub fn still(&self, shown: Option<&Shown>) -> Option<Position> {
        shown.filter(|shown| shown.connection == self.connection && !shown.is_held)?.position.filter(|position| position.epoch == self.epoch)
    }
}

/// Whoever answers at all, of whatever epoch.
fn answering(server: usize, shown: &Shown) -> Option<Pin> {
    (shown.connection != 0).then_some(Pin { server, epoch: 0, connection: shown.connection })
}

/// Whether the servers that a region reads have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All of them have it.
    Has,
    /// One of them has it not yet.
    Behind,
    /// Nobody can say: one does not answer or is in another epoch, or none is known.
    Unknown,
}

impl View {
    /// The newest epoch's number.
    pub fn epoch(&self) -> Option<u32> {
        self.epochs.newest().map(|epoch| epoch.number)
    }

    /// The primary, if it writes the newest epoch.
    pub fn writer(&self) -> Option<Pin> {
        let server = self.primary?;
        self.pin(server, self.servers.get(server)?)
    }

    /// Whether writes have nowhere to go: an epoch is known, and what answers as a primary writes an earlier one, or none is known that has
    /// not been replaced. One that writes the newest epoch and does not answer for the moment is not meant.
    pub fn lacks_writer(&self) -> bool {
        let shown = self.primary.and_then(|primary| self.servers.get(primary));
        self.epoch().is_some() && self.writer().is_none() && shown.is_none_or(|shown| shown.position.is_some())
    }

    /// A primary whose epoch nobody has begun yet.
    pub fn unknown_primary(&self) -> Option<usize> {
        self.primary.filter(|primary| self.servers.get(*primary).is_some_and(|shown| shown.is_primary && shown.position.is_none()))
    }

    /// A pin, and those of the other servers in its region that answer: one of them may be the primary by now.
    pub fn beside(&self, pin: Pin) -> Vec<Pin> {
        let region = self.servers.get(pin.server).map(|shown| &shown.region);
        let others = self.servers.iter().enumerate().filter(|(index, shown)| *index != pin.server && Some(&shown.region) == region);
        std::iter::once(pin).chain(others.filter_map(|(index, shown)| answering(index, shown))).collect()
    }

    /// A set, and those servers of its region that nobody reads as long as they stand by.
    pub fn with_unread(&self, set: &[Pin]) -> Vec<Pin> {
        let region = set.first().and_then(|pin| self.servers.get(pin.server)).map(|shown| &shown.region);
        let is_in = |index: usize| set.iter().any(|pin| pin.server == index);
        let others = self.servers.iter().enumerate().filter(|(index, shown)| !is_in(*index) && Some(&shown.region) == region);
        set.iter().copied().chain(others.filter_map(|(index, shown)| answering(index, shown))).collect()
    }

    /// Whether these are the servers that their region reads now, in the newest epoch.
    pub fn is_set(&self, set: &[Pin]) -> bool {
        let region = set.first().and_then(|pin| self.servers.get(pin.server)).map(|shown| &*shown.region);
        region.is_some_and(|region| {
            self.set(region).count() == set.len()
                && self.set(region).all(|(index, _)| set.iter().any(|pin| pin.server == index && Some(pin.epoch) == self.epoch()))
        })
    }

    /// The servers that services of a region read: standbys that are read, and the primary where it is.
    fn set<'v>(&'v self, region: &'v str) -> impl Iterator<Item = (usize, &'v Shown)> {
        let is_member = move |(index, shown): &(usize, &Shown)| *shown.region == *region && (shown.is_read || self.primary == Some(*index));
        self.servers.iter().enumerate().filter(is_member)
    }

    /// Whether a primary's region reads nothing but it.
    pub fn is_read_alone(&self, writer: Pin) -> bool {
        self.servers.get(writer.server).is_some_and(|shown| self.set(&shown.region).count() == 1)
    }

    fn pin(&self, server: usize, shown: &Shown) -> Option<Pin> {
        let epoch = shown.position.filter(|position| Some(position.epoch) == self.epoch())?.epoch;
        Some(Pin { server, epoch, connection: shown.connection })
    }

    /// Whether a region's services read what a position stands for, whichever server answers them.
    pub fn standing(&self, region: &str, position: Position) -> Standing {
        let Some(newest) = self.epoch().filter(|newest| self.epochs.survives(position, *newest)) else { return Standing::Unknown };
        let mut standing = Standing::Unknown;
        for (index, shown) in self.set(region) {
            // A set in two epochs shows what the other one has lost.
            let Some(at) = shown.position.filter(|at| at.epoch == newest) else { return Standing::Unknown };
            // A primary has all of its epoch, also what nobody knows the place of.
            let is_source = self.primary == Some(index) && shown.is_primary && position.epoch == newest;
            if !is_source && at.lsn < position.lsn {
                standing = Standing::Behind;
            } else if standing == Standing::Unknown {
                standing = Standing::Has;
            }
        }
        standing
    }

    /// The servers that a region reads, to be looked at again; `None` when one of them cannot be.
    pub fn pins(&self, region: &str) -> Option<Vec<Pin>> {
        self.set(region).map(|(server, shown)| self.pin(server, shown)).collect()
    }

    /// Whether a position is of an epoch that is over, and not known to have survived it.
    pub fn has_lost(&self, position: Position) -> bool {
        self.epoch().is_some_and(|newest| position.epoch <= newest && !self.epochs.survives(position, newest))
    }

    /// The regions that read a server, in the order of the document.
    pub fn regions(&self) -> Vec<&str> {
        let mut regions = Vec::new();
        for (_, shown) in self.servers.iter().enumerate().filter(|(index, shown)| shown.is_read || self.primary == Some(*index)) {
            if !regions.contains(&&*shown.region) {
                regions.push(&*shown.region);
            }
        }
        regions
    }

    /// How far the servers that a region reads are behind the primary, in bytes of the log.
    pub fn lag_bytes(&self, region: &str) -> Option<u64> {
        let head = self.servers.get(self.primary?)?.position?;
        let places = self.set(region).map(|(_, shown)| shown.position.filter(|at| at.epoch == head.epoch).map(|at| at.lsn));
        Some(head.lsn.0.saturating_sub(places.min()??.0))
    }

    /// Adds a position to the one that a client has. The maximum, unless that would hide a loss: then that is told.
    pub fn merge(&self, has: Option<Position>, new: Position) -> Merged {
        let Some(has) = has else { return Merged { position: new, is_lost: false } };
        // The place of a write that nobody knew is known once the primary of its epoch was seen afterwards.
        if has.lsn == Lsn::END && has.epoch == new.epoch {
            return Merged { position: new, is_lost: false };
        }
        let is_lost = has.epoch < new.epoch && !self.epochs.survives(has, new.epoch);
        Merged { position: has.max(new), is_lost }
    }
}

/// What a client has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// For its token.
    pub position: Position,
    /// What it had has not provably survived.
    pub is_lost: bool,
}

/// A question to a server: what it shows over an exchange that begins afterwards.
pub type Question = oneshot::Sender<Option<Shown>>;

/// A domain as the data plane sees it.
#[derive(Debug)]
pub struct Domain {
    /// Its name.
    pub name: Arc<str>,
    view: watch::Receiver<Arc<View>>,
    servers: Box<[mpsc::Sender<Question>]>,
    heartbeat: ArcSwap<Heartbeat>,
}

impl Domain {
    /// Joins what the monitor writes and the ways to its servers, in the order of the view.
    pub fn new(name: Arc<str>, view: watch::Receiver<Arc<View>>, servers: Box<[mpsc::Sender<Question>]>) -> Self {
        Self { name, view, servers, heartbeat: ArcSwap::default() }
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
            self.servers.get(pin.server)?.try_send(question).ok()?;
            answer.await.ok()?
        }))
        .await
    }
}
