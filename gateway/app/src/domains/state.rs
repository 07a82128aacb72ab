//! What is known about the servers of one domain: samples in, positions out.

use std::{sync::Arc, time::Duration};

use edge::positions::{Shown, View};
use model::{
    position::{Epoch, Epochs, Found, Lsn, Position, Writer},
    structure::{Domain, DomainServer},
};
use parking_lot::Mutex;
use store::sample::{Sample, choose_primary};
use tokio::{sync::watch, time::Instant};

use super::Writers;

#[cfg(test)]
mod tests;

/// How long a node that cannot say what a new primary has of the epoch before waits for one that can.
const PATIENCE: Duration = Duration::from_secs(3);

/// A domain's state, shared by the tasks that ask its servers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    servers: Vec<DomainServer>,
    state: Mutex<State>,
    view: watch::Sender<Arc<View>>,
    writers: watch::Sender<Writers>,
}

#[derive(Debug, Default)]
struct State {
    epochs: Arc<Epochs>,
    samples: Vec<Option<Sample>>,
    /// What standbys had shown before each of these was asked for.
    before: Vec<Option<Position>>,
    shown: Vec<Shown>,
    /// The last position of each server as a standby, and the connection that it was shown over.
    followed: Vec<Option<(Position, u64)>>,
    /// The furthest that a standby has shown in the newest epoch: its primary has as much, unless it was restored.
    replayed: Option<Position>,
    primary: Option<usize>,
    /// The newest timeline that a primary was seen to write, and of which cluster: who writes an earlier one was replaced.
    newest: Option<(u64, u32)>,
    /// Of a primary that writes no known epoch: its server, its timeline, what it says about those before, and since when it is waited for.
    unknown: Option<Unknown>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unknown {
    server: usize,
    connection: u64,
    found: Found,
    has_asked: bool,
    since: Instant,
}

impl Shared {
    /// `epochs` is what is known of the domain already.
    pub(super) fn new(domain: &Domain, epochs: Arc<Epochs>, writers: watch::Sender<Writers>) -> (Self, watch::Receiver<Arc<View>>) {
        let shown = domain.servers.iter().map(|server| Shown {
            region: Arc::clone(&server.region),
            is_read: server.is_read,
            is_primary: false,
            position: None,
            is_held: false,
            connection: 0,
        });
        let shown: Vec<Shown> = shown.collect();
        let state = State {
            epochs: Arc::clone(&epochs),
            samples: vec![None; shown.len()],
            before: vec![None; shown.len()],
            followed: vec![None; shown.len()],
            shown: shown.clone(),
            ..State::default()
        };
        let (view, seen) = watch::channel(Arc::new(View { epochs, servers: shown.into(), primary: None }));
        (Self { name: Arc::clone(&domain.name), servers: domain.servers.clone(), state: Mutex::new(state), view, writers }, seen)
    }

    /// The furthest that a standby has shown: to be noted before a server is asked. A far primary's answer may be older than what a near
    /// standby shows meanwhile.
    pub(super) fn replayed(&self) -> Option<Position> {
        self.state.lock().replayed
    }

    /// Takes what a server said, or that it said nothing, and what standbys had shown before it was asked; what it shows by that.
    pub(super) fn record(&self, index: usize, sample: Option<Sample>, before: Option<Position>) -> Option<Shown> {
        let mut state = self.state.lock();
        *state.samples.get_mut(index)? = sample;
        *state.before.get_mut(index)? = before;
        state.choose();
        state.forget_replaced(&self.servers);
        state.show(index, &self.servers);
        if state.look_for_unknown(&self.servers) {
            // What follows a timeline that two write is of neither.
            (0..self.servers.len()).for_each(|index| state.show(index, &self.servers));
        }
        let shown = state.shown.get(index).filter(|_| sample.is_some()).cloned();
        self.publish(&state);
        shown
    }

    fn publish(&self, state: &State) {
        let view = View { epochs: Arc::clone(&state.epochs), primary: state.primary, servers: state.shown.as_slice().into() };
        self.view.send_if_modified(|known| {
            let is_new = **known != view;
            if is_new {
                *known = Arc::new(view);
            }
            is_new
        });
        if let Some(server) = state.primary.and_then(|primary| self.servers.get(primary)) {
            self.writers.send_if_modified(|known| {
                known.0.insert(Arc::clone(&self.name), Arc::clone(&server.region)).is_none_or(|before| before != server.region)
            });
        }
    }

    /// The timeline whose history would say what this server has of the epochs before.
    pub(super) fn wants_history(&self, index: usize) -> Option<u32> {
        let state = self.state.lock();
        state.unknown.as_ref().filter(|unknown| unknown.server == index && !unknown.has_asked).map(|unknown| unknown.found.writer.timeline)
    }

    pub(super) fn learn_history(&self, index: usize, timeline: u32, history: Option<Vec<(u32, Lsn)>>) {
        let mut state = self.state.lock();
        if let Some(unknown) = &mut state.unknown
            && unknown.server == index
            && unknown.found.writer.timeline == timeline
        {
            unknown.has_asked = true;
            unknown.found.history = history;
        }
    }

    /// A primary for which an epoch is to be begun, once all is known about it that this node can know.
    pub(super) fn found(&self) -> Option<Found> {
        let state = self.state.lock();
        let unknown = state.unknown.as_ref().filter(|unknown| unknown.has_asked)?;
        let is_first = state.epochs.newest().is_none();
        let can_say = state.epochs.proves(&unknown.found);
        // Nobody can say what a server has that was set back.
        let is_set_back = unknown.found.set_back_from.is_some();
        (is_first || can_say || is_set_back || unknown.since.elapsed() > PATIENCE).then(|| unknown.found.clone())
    }

    /// All epochs that are known.
    pub(super) fn epochs(&self) -> Arc<Epochs> {
        Arc::clone(&self.state.lock().epochs)
    }

    /// Takes the epochs that the control database has. None is forgotten: a database that was restored has fewer.
    pub(super) fn learn(&self, epochs: &Epochs) {
        let mut state = self.state.lock();
        let joined = state.epochs.with(epochs);
        if joined == *state.epochs {
            return;
        }
        state.epochs = Arc::new(joined);
        state.forget_replaced(&self.servers);
        state.unknown = None;
        for _ in 0..2 {
            (0..self.servers.len()).for_each(|index| state.show(index, &self.servers));
            if !state.look_for_unknown(&self.servers) {
                break;
            }
        }
        self.publish(&state);
    }
}

impl State {
    /// Finds the primary. One that does not answer stays it until another one is seen, or it is seen to follow; one that writes an earlier
    /// timeline than was seen is none.
    fn choose(&mut self) {
        let sample = |index: Option<usize>| index.and_then(|index| self.samples.get(index)?.as_ref());
        let chosen = choose_primary(&self.samples, self.primary);
        let seen = sample(chosen).and_then(|sample| Some((sample.system_identifier, sample.timeline?)));
        let is_replaced = seen.zip(self.newest).is_some_and(|(seen, newest)| seen.0 == newest.0 && seen.1 < newest.1);
        let is_silent = self.primary.is_some() && sample(self.primary).is_none();
        if chosen.is_some() && !is_replaced {
            (self.primary, self.newest) = (chosen, seen);
        } else if !is_silent {
            self.primary = None;
        }
    }

    /// A primary that does not answer stays it until another node has begun an epoch for another server: that one has replaced it, though
    /// it was not seen here. What is written to the silent one would be told to be of the new epoch, which never has it.
    fn forget_replaced(&mut self, servers: &[DomainServer]) {
        let Some(primary) = self.primary else { return };
        let is_silent = self.samples.get(primary).is_none_or(Option::is_none);
        let address = servers.get(primary).map(|server| &*server.address);
        // One that was seen on a later timeline is newer than what anybody has begun.
        let is_older = |(system, timeline), epoch: &Epoch| epoch.writer.system_identifier != system || epoch.writer.timeline >= timeline;
        let is_replaced = |epoch: &Epoch| Some(&*epoch.writer.server) != address && self.newest.is_none_or(|seen| is_older(seen, epoch));
        if is_silent && self.epochs.newest().is_some_and(is_replaced) {
            self.primary = None;
        }
    }

    /// Finds a server's position by its sample.
    fn show(&mut self, index: usize, servers: &[DomainServer]) {
        let (Some(sample), Some(server)) = (self.samples.get(index), servers.get(index)) else { return };
        let Some(shown) = self.shown.get(index) else { return };
        let next = match sample {
            None => Shown { position: None, is_primary: false, is_held: false, connection: 0, ..shown.clone() },
            Some(sample) => {
                let held = shown.position.filter(|_| shown.connection == sample.connection && !shown.is_primary && sample.in_recovery);
                let exact = self.position(index, sample, server);
                Shown {
                    is_primary: !sample.in_recovery,
                    position: exact.or(held),
                    is_held: exact.is_none() && held.is_some_and(|held| Some(held.lsn.0) != sample.lsn),
                    connection: sample.connection,
                    ..shown.clone()
                }
            }
        };
        if let (Some(position), Some(sample)) = (next.position.filter(|_| !next.is_primary), sample) {
            if self.replayed.is_none_or(|known| known < position) {
                self.replayed = Some(position);
            }
            if let Some(followed) = self.followed.get_mut(index) {
                *followed = Some((position, sample.connection));
            }
        }
        if let Some(shown) = self.shown.get_mut(index) {
            *shown = next;
        }
    }

    /// Where a sample stands; `None` where its epoch is not known. A standby whose receiver is away says nothing new: what it showed before
    /// over the same connection is still so.
    fn position(&self, index: usize, sample: &Sample, server: &DomainServer) -> Option<Position> {
        let lsn = Lsn(sample.lsn?);
        let epoch = if sample.in_recovery {
            let timeline = sample.followed_timeline?;
            // Another primary writes this timeline, too, and nobody knows by which epoch.
            let is_doubtful = self.unknown.as_ref().is_some_and(|unknown| unknown.found.writer.timeline == timeline);
            self.epochs.followed(sample.system_identifier, timeline).filter(|_| !is_doubtful)?
        } else {
            self.epochs.written_by(&writer(sample, server)?)?
        };
        let position = Position { epoch: epoch.number, lsn };
        let before = self.before.get(index).copied().flatten();
        let is_set_back = !sample.in_recovery && before.is_some_and(|before| is_set_back(position, before));
        (!is_set_back).then_some(position)
    }

    /// Looks whether the primary writes an epoch that nobody has begun. True when that has changed.
    fn look_for_unknown(&mut self, servers: &[DomainServer]) -> bool {
        let looked = self.primary.and_then(|primary| {
            let (sample, server) = (self.samples.get(primary)?.as_ref()?, servers.get(primary)?);
            let is_known = self.shown.get(primary).is_some_and(|shown| shown.is_primary && shown.position.is_some());
            let writer = writer(sample, server).filter(|_| !is_known && !sample.in_recovery)?;
            let set_back_from = self.epochs.written_by(&writer).map(|epoch| epoch.number);
            let followed = self.followed.get(primary).copied().flatten().filter(|(_, connection)| *connection == sample.connection);
            Some((primary, sample.connection, Found { writer, history: None, followed: followed.map(|(position, _)| position), set_back_from }))
        });
        let before = self.unknown.as_ref().map(|unknown| unknown.found.writer.clone());
        self.unknown = looked.map(|(server, connection, found)| match self.unknown.take() {
            Some(known) if known.server == server && known.connection == connection && known.found.writer == found.writer => {
                Unknown { found: Found { history: known.found.history.clone(), ..found }, ..known }
            }
            _ => Unknown { server, connection, found, has_asked: false, since: Instant::now() },
        });
        before != self.unknown.as_ref().map(|unknown| unknown.found.writer.clone())
    }
}

/// A primary that has less than its standbys had before was restored. A crash alone takes nothing that a standby had: those get what is on
/// disk.
fn is_set_back(primary: Position, replayed: Position) -> bool {
    replayed.epoch == primary.epoch && replayed.lsn > primary.lsn
}

fn writer(sample: &Sample, server: &DomainServer) -> Option<Writer> {
    Some(Writer { system_identifier: sample.system_identifier, timeline: sample.timeline?, server: server.address.clone() })
}
