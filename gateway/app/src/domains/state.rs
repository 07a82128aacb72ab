//! What is known about the servers of one domain: samples in, positions out.

use std::{sync::Arc, time::Duration};

use edge::positions::{Shown, View};
use model::{
    position::{Epochs, Found, Lsn, Position, Writer},
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
    shown: Vec<Shown>,
    /// The last position of each server as a standby, and the connection that it was shown over.
    followed: Vec<Option<(Position, u64)>>,
    /// The furthest that a standby has shown in the newest epoch: its primary has as much, unless it was restored.
    replayed: Option<Position>,
    primary: Option<usize>,
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
    pub(super) fn new(domain: &Domain, writers: watch::Sender<Writers>) -> (Self, watch::Receiver<Arc<View>>) {
        let shown = domain.servers.iter().map(|server| Shown {
            region: Arc::clone(&server.region),
            is_read: server.is_read,
            is_primary: false,
            position: None,
            connection: 0,
        });
        let shown: Vec<Shown> = shown.collect();
        let state = State { samples: vec![None; shown.len()], followed: vec![None; shown.len()], shown: shown.clone(), ..State::default() };
        let (view, seen) = watch::channel(Arc::new(View { servers: shown.into(), ..View::default() }));
        (Self { name: Arc::clone(&domain.name), servers: domain.servers.clone(), state: Mutex::new(state), view, writers }, seen)
    }

    /// Takes what a server said, or that it said nothing; what it shows by that.
    pub(super) fn record(&self, index: usize, sample: Option<Sample>) -> Option<Shown> {
        let mut state = self.state.lock();
        *state.samples.get_mut(index)? = sample;
        state.primary = choose_primary(&state.samples, state.primary);
        state.show(index, &self.servers);
        state.look_for_unknown(&self.servers);
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
        (is_first || can_say || unknown.since.elapsed() > PATIENCE).then(|| unknown.found.clone())
    }

    /// Takes the epochs that the control database has. They only grow.
    pub(super) fn learn(&self, epochs: &Epochs) {
        let mut state = self.state.lock();
        if *state.epochs == *epochs || epochs.iter().count() < state.epochs.iter().count() {
            return;
        }
        state.epochs = Arc::new(epochs.clone());
        for index in 0..self.servers.len() {
            state.show(index, &self.servers);
        }
        state.look_for_unknown(&self.servers);
        self.publish(&state);
    }
}

impl State {
    /// Finds a server's position by its sample.
    fn show(&mut self, index: usize, servers: &[DomainServer]) {
        let (Some(sample), Some(server)) = (self.samples.get(index), servers.get(index)) else { return };
        let Some(shown) = self.shown.get(index) else { return };
        let next = match sample {
            None => Shown { position: None, is_primary: false, ..shown.clone() },
            Some(sample) => {
                let held = shown.position.filter(|_| shown.connection == sample.connection && !shown.is_primary && sample.in_recovery);
                Shown {
                    is_primary: !sample.in_recovery,
                    position: self.position(sample, server).or(held),
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
    fn position(&self, sample: &Sample, server: &DomainServer) -> Option<Position> {
        let lsn = Lsn(sample.lsn?);
        let epoch = if sample.in_recovery {
            self.epochs.followed(sample.system_identifier, sample.followed_timeline?)?
        } else {
            self.epochs.written_by(&writer(sample, server)?)?
        };
        let position = Position { epoch: epoch.number, lsn };
        let is_set_back = !sample.in_recovery && self.is_set_back(position);
        (!is_set_back).then_some(position)
    }

    /// A primary that has less than its standbys had was restored. A crash alone takes nothing that a standby had: those get what is on disk.
    fn is_set_back(&self, primary: Position) -> bool {
        self.replayed.is_some_and(|replayed| replayed.epoch == primary.epoch && replayed.lsn > primary.lsn)
    }

    /// Whether the primary writes an epoch that nobody has begun.
    fn look_for_unknown(&mut self, servers: &[DomainServer]) {
        let looked = self.primary.and_then(|primary| {
            let (sample, server) = (self.samples.get(primary)?.as_ref()?, servers.get(primary)?);
            let is_known = self.shown.get(primary).is_some_and(|shown| shown.is_primary && shown.position.is_some());
            let writer = writer(sample, server).filter(|_| !is_known && !sample.in_recovery)?;
            let set_back_from = self.epochs.written_by(&writer).map(|epoch| epoch.number);
            let followed = self.followed.get(primary).copied().flatten().filter(|(_, connection)| *connection == sample.connection);
            Some((primary, sample.connection, Found { writer, history: None, followed: followed.map(|(position, _)| position), set_back_from }))
        });
        self.unknown = looked.map(|(server, connection, found)| match self.unknown.take() {
            Some(known) if known.server == server && known.connection == connection && known.found.writer == found.writer => {
                Unknown { found: Found { history: known.found.history.clone(), ..found }, ..known }
            }
            _ => Unknown { server, connection, found, has_asked: false, since: Instant::now() },
        });
    }
}

fn writer(sample: &Sample, server: &DomainServer) -> Option<Writer> {
    Some(Writer { system_identifier: sample.system_identifier, timeline: sample.timeline?, server: server.address.clone() })
}
