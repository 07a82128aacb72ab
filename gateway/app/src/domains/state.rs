//! What is known about the servers of one domain: samples in, positions out.

use std::{sync::Arc, time::Duration};

use edge::positions::{ServerId, Shown, View};
use model::{
    position::{Epoch, Epochs, Found, Lsn, Position, Writer},
    structure::DomainServer,
};
use parking_lot::Mutex;
use store::sample::{Sample, choose_primary};
use tokio::{sync::watch, time::Instant};

use super::Writers;

#[cfg(test)]
mod tests;

/// How long a node that cannot say what a new primary has of the epoch before waits for one that can.
const PATIENCE: Duration = Duration::from_secs(3);

/// So much, in microseconds, is no difference between distances.
const JITTER_US: u64 = 1_000;

/// A domain's state, shared by the tasks that ask its servers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    state: Mutex<State>,
    view: watch::Sender<Arc<View>>,
    writers: watch::Sender<Writers>,
}

#[derive(Debug, Default)]
struct State {
    epochs: Arc<Epochs>,
    /// In the order of the document.
    servers: Vec<Server>,
    /// The furthest that a standby has shown in the newest epoch: its primary has as much, unless it was restored.
    replayed: Option<Position>,
    primary: Option<ServerId>,
    /// The newest timeline that a primary was seen to write, and of which cluster: who writes an earlier one was replaced.
    newest: Option<(u64, u32)>,
    /// Of a primary that writes no known epoch: its server, its timeline, what it says about those before, and since when it is waited for.
    unknown: Option<Unknown>,
}

/// What is known of a server.
#[derive(Debug)]
struct Server {
    /// What it said last; `None` while it does not answer.
    sample: Option<Sample>,
    /// What standbys had shown before that was asked for.
    before: Option<Position>,
    /// Its last position as a standby, and the connection that it was shown over.
    followed: Option<(Position, u64)>,
    /// A moving average of how long questions to it took, in microseconds.
    rtt_us: Option<u64>,
    shown: Shown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unknown {
    server: ServerId,
    connection: u64,
    found: Found,
    has_asked: bool,
    since: Instant,
}

impl Shared {
    /// A domain without servers.
    pub(super) fn new(name: Arc<str>, writers: watch::Sender<Writers>) -> (Self, watch::Receiver<Arc<View>>) {
        let (view, seen) = watch::channel(Arc::default());
        (Self { name, state: Mutex::default(), view, writers }, seen)
    }

    /// From now on these are its servers; whatever is known of those that stay is known still.
    pub(super) fn change(&self, servers: &[(ServerId, DomainServer)]) {
        let mut state = self.state.lock();
        let mut before = std::mem::take(&mut state.servers);
        state.servers = servers
            .iter()
            .map(|(id, written)| {
                let known = before.iter().position(|server| server.shown.id == *id).map(|index| before.swap_remove(index));
                let mut server = known.unwrap_or_else(|| Server::new(*id, written));
                (server.shown.region, server.shown.is_read) = (Arc::clone(&written.region), written.is_read);
                server
            })
            .collect();
        let is_gone = |id: ServerId| state.server(id).is_none();
        let (no_primary, no_unknown) = (state.primary.is_some_and(is_gone), state.unknown.as_ref().is_some_and(|unknown| is_gone(unknown.server)));
        if no_primary {
            // What was replaced stays replaced: it may be left, and answer.
            state.primary = None;
        }
        if no_unknown {
            state.unknown = None;
        }
        state.choose();
        state.forget_replaced();
        state.show_all();
        self.publish(&state);
    }

    /// The furthest that a standby has shown: to be noted before a server is asked. A far primary's answer may be older than what a near
    /// standby shows meanwhile.
    pub(super) fn replayed(&self) -> Option<Position> {
        self.state.lock().replayed
    }

    /// Takes what a server said, or that it said nothing, and what standbys had shown before it was asked; what it shows by that.
    pub(super) fn record(&self, id: ServerId, sample: Option<Sample>, before: Option<Position>) -> Option<Shown> {
        let mut state = self.state.lock();
        let server = state.server_mut(id)?;
        (server.sample, server.before) = (sample, before);
        server.timed();
        state.choose();
        state.forget_replaced();
        state.show(id);
        if state.look_for_unknown() {
            // What follows a timeline that two write is of neither.
            state.show_all();
        }
        let shown = state.server(id).filter(|_| sample.is_some()).map(|server| server.shown.clone());
        self.publish(&state);
        shown
    }

    fn publish(&self, state: &State) {
        let servers = state.servers.iter().map(|server| server.shown.clone()).collect();
        let view = View { epochs: Arc::clone(&state.epochs), primary: state.primary, servers };
        let primary = state.primary.and_then(|primary| view.server(primary)).map(|shown| Arc::clone(&shown.region));
        self.view.send_if_modified(|known| {
            let is_new = **known != view;
            if is_new {
                *known = Arc::new(view);
            }
            is_new
        });
        if let Some(region) = primary {
            self.writers.send_if_modified(|known| {
                let before = known.0.insert(Arc::clone(&self.name), Arc::clone(&region));
                before.is_none_or(|before| before != region)
            });
        }
    }

    /// The timeline whose history would say what this server has of the epochs before.
    pub(super) fn wants_history(&self, id: ServerId) -> Option<u32> {
        let state = self.state.lock();
        state.unknown.as_ref().filter(|unknown| unknown.server == id && !unknown.has_asked).map(|unknown| unknown.found.writer.timeline)
    }

    pub(super) fn learn_history(&self, id: ServerId, timeline: u32, history: Option<Vec<(u32, Lsn)>>) {
        let mut state = self.state.lock();
        if let Some(unknown) = &mut state.unknown
            && unknown.server == id
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

    /// Takes the epochs that the control database has. None is forgotten: a database that was restored has fewer.
    pub(super) fn learn(&self, epochs: &Epochs) {
        let mut state = self.state.lock();
        let joined = state.epochs.with(epochs);
        if joined == *state.epochs {
            return;
        }
        state.epochs = Arc::new(joined);
        state.forget_replaced();
        state.unknown = None;
        for _ in 0..2 {
            state.show_all();
            if !state.look_for_unknown() {
                break;
            }
        }
        self.publish(&state);
    }
}

impl Server {
    fn new(id: ServerId, written: &DomainServer) -> Self {
        let shown = Shown {
            id,
            address: (&*written.address).into(),
            region: Arc::clone(&written.region),
            is_read: written.is_read,
            is_primary: false,
            position: None,
            is_held: false,
            connection: 0,
            rtt_us: None,
        };
        Self { sample: None, before: None, followed: None, rtt_us: None, shown }
    }

    /// Notes how long the last question took. What is shown moves when the average has moved by a quarter and more: each move is news to
    /// everybody.
    fn timed(&mut self) {
        let Some(took) = self.sample.map(|sample| sample.rtt_us) else { return };
        let average = self.rtt_us.map_or(took, |average| average - average / 8 + took / 8);
        self.rtt_us = Some(average);
        if self.shown.rtt_us.is_none_or(|shown| average.abs_diff(shown) > shown / 4 + JITTER_US) {
            self.shown.rtt_us = Some(average);
        }
    }

    /// The epoch that it writes.
    fn writer(&self) -> Option<Writer> {
        let sample = self.sample.filter(|sample| !sample.in_recovery)?;
        Some(Writer { system_identifier: sample.system_identifier, timeline: sample.timeline?, server: (&*self.shown.address).into() })
    }
}

impl State {
    fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.shown.id == id)
    }

    fn server_mut(&mut self, id: ServerId) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.shown.id == id)
    }

    /// Finds the primary. One that does not answer stays it until another one is seen, or it is seen to follow; one that writes an earlier
    /// timeline than was seen is none.
    fn choose(&mut self) {
        let samples: Vec<Option<Sample>> = self.servers.iter().map(|server| server.sample).collect();
        let current = self.servers.iter().position(|server| Some(server.shown.id) == self.primary);
        let chosen = choose_primary(&samples, current).and_then(|index| self.servers.get(index));
        let seen = chosen.and_then(|server| server.sample).and_then(|sample| Some((sample.system_identifier, sample.timeline?)));
        let is_replaced = seen.zip(self.newest).is_some_and(|(seen, newest)| seen.0 == newest.0 && seen.1 < newest.1);
        let is_silent = current.and_then(|current| self.servers.get(current)).is_some_and(|server| server.sample.is_none());
        if let Some(chosen) = chosen.filter(|_| !is_replaced) {
            (self.primary, self.newest) = (Some(chosen.shown.id), seen);
        } else if !is_silent {
            self.primary = None;
        }
    }

    /// A primary that does not answer stays it until another node has begun an epoch for another server: that one has replaced it, though
    /// it was not seen here. What is written to the silent one would be told to be of the new epoch, which never has it.
    fn forget_replaced(&mut self) {
        let Some(primary) = self.primary.and_then(|primary| self.server(primary)) else { return };
        // One that was seen on a later timeline is newer than what anybody has begun.
        let is_older = |(system, timeline), epoch: &Epoch| epoch.writer.system_identifier != system || epoch.writer.timeline >= timeline;
        let is_replaced = |epoch: &Epoch| *epoch.writer.server != *primary.shown.address && self.newest.is_none_or(|seen| is_older(seen, epoch));
        if primary.sample.is_none() && self.epochs.newest().is_some_and(is_replaced) {
            self.primary = None;
        }
    }

    fn show_all(&mut self) {
        let all: Vec<ServerId> = self.servers.iter().map(|server| server.shown.id).collect();
        for id in all {
            self.show(id);
        }
    }

    /// Finds a server's position by its sample.
    fn show(&mut self, id: ServerId) {
        let Some(server) = self.server(id) else { return };
        let shown = &server.shown;
        let next = match &server.sample {
            None => Shown { position: None, is_primary: false, is_held: false, connection: 0, ..shown.clone() },
            Some(sample) => {
                let held = shown.position.filter(|_| shown.connection == sample.connection && !shown.is_primary && sample.in_recovery);
                let exact = self.position(server, sample);
                Shown {
                    is_primary: !sample.in_recovery,
                    position: exact.or(held),
                    is_held: exact.is_none() && held.is_some_and(|held| Some(held.lsn.0) != sample.lsn),
                    connection: sample.connection,
                    ..shown.clone()
                }
            }
        };
        let followed = next.position.filter(|_| !next.is_primary);
        if followed.is_some_and(|position| self.replayed.is_none_or(|known| known < position)) {
            self.replayed = followed;
        }
        if let Some(server) = self.server_mut(id) {
            server.followed = followed.map(|position| (position, next.connection)).or(server.followed);
            server.shown = next;
        }
    }

    /// Where a sample stands; `None` where its epoch is not known. A standby whose receiver is away says nothing new: what it showed before
    /// over the same connection is still so.
    fn position(&self, server: &Server, sample: &Sample) -> Option<Position> {
        let lsn = Lsn(sample.lsn?);
        let epoch = if sample.in_recovery {
            let timeline = sample.followed_timeline?;
            // Another primary writes this timeline, too, and nobody knows by which epoch.
            let is_doubtful = self.unknown.as_ref().is_some_and(|unknown| unknown.found.writer.timeline == timeline);
            self.epochs.followed(sample.system_identifier, timeline).filter(|_| !is_doubtful)?
        } else {
            self.epochs.written_by(&server.writer()?)?
        };
        let position = Position { epoch: epoch.number, lsn };
        let is_set_back = !sample.in_recovery && server.before.is_some_and(|before| is_set_back(position, before));
        (!is_set_back).then_some(position)
    }

    /// Looks whether the primary writes an epoch that nobody has begun. True when that has changed.
    fn look_for_unknown(&mut self) -> bool {
        let looked = self.primary.and_then(|primary| {
            let server = self.server(primary)?;
            let is_known = server.shown.is_primary && server.shown.position.is_some();
            let (writer, sample) = (server.writer().filter(|_| !is_known)?, server.sample?);
            let set_back_from = self.epochs.written_by(&writer).map(|epoch| epoch.number);
            let followed = server.followed.filter(|(_, connection)| *connection == sample.connection);
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
