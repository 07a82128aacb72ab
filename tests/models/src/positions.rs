//! Positions, tokens and promotions: C1, C2, C4, C5, C6 and C7.
//!
//! Stands for "Positions of replicas" of the design. Three database servers replicate asynchronously; a standby may be promoted though it
//! lacks a tail, twice, and the old primary goes on until it comes back as a standby. A region reads from a set of servers, and which
//! one answers is not its choice. One client writes and reads with its token; another client writes too. A second domain shares the
//! token. The model keeps what the client has written and seen, and looks for it in each answer that is served as satisfied.
//!
//! Bounds: 3 servers, 2 promotions, 2 writes, 1 client with one request at a time, and one of three: a restart of a standby below its
//! position, a change of the read set, a write to the second domain. Reads without end.
//!
//! Decided here, where the design is silent:
//! - An answer is held back until the connections that its samples came from have been seen alive once more (C6): a standby that
//!   restarts between the check and the query is below its sample.
//! - What was read counts for the token: the highest position of the read set, sampled after the answer. The sample that a set was chosen
//!   by is a lower bound, and C2 needs an upper one.
//! - A set is a candidate only while all of it is in one epoch.
//! - The position after a write counts only when the server is, before and after, the same primary in the same epoch; else the token
//!   says that the write is not known to have survived: its own epoch, and no end.
//! - A write goes to no primary of an older epoch than its token's, or the maximum would hide it.
//! - A merge that would replace a position which has not survived says so in its answer: the maximum alone hides the loss.
//! - An epoch names the one before it. The timelines of two standbys that were promoted one after the other need not descend from each
//!   other, and may have the same number.

use crate::check::{Label, Model, Steps, run};
use crate::{Entry, mutants};

mod history;
use history::{EPOCHS, History, LSN_MAX, Position};

const C1: &str = "C1";
const C2: &str = "C2";
const C4: &str = "C4";
const C5: &str = "C5";
const C6: &str = "C6";
const C7: &str = "C7";

const SERVED: &str = "a read is served with a token by two standbys";
const REFUSED: &str = "a read is refused for its token";
const SURVIVED: &str = "a position of an older epoch is served";
const TWICE: &str = "a position is served over two promotions";
const LOST: &str = "a lost write is told";
const NEW_WRITE: &str = "a write after a promotion is read";
const HELD_BACK: &str = "an answer is held back";
const OTHER: &str = "the second domain is read with a token";

pub(crate) const ENTRY: Entry = Entry {
    name: "positions",
    promise: "a read with a token shows what the token stands for, or is refused, also over two promotions that lose a tail",
    bounds: "3 servers, 2 promotions, 2 writes, 1 client, one of: a restart below, a change of the read set, a second domain; reads without end",
    invariants: &[C1, C2, C4, C5, C6, C7],
    possible: &[SERVED, REFUSED, SURVIVED, TWICE, LOST, NEW_WRITE, HELD_BACK, OTHER],
    mutants: Mutant::TABLE,
    run: |mutant| run(&Positions { mutant: mutant.and_then(Mutant::of) }, ENTRY.possible),
};

mutants! {
    /// Positions are compared without their epochs (T2).
    BareLsn "bare-lsn" breaks "C4";
    /// A position has survived when the next fork lies above it.
    NextFork "later-forks-ignored" breaks "C4";
    /// Epochs are a line, each the child of the one before.
    Line "epochs-in-a-line" breaks "C4";
    /// A timeline's number is taken for an epoch: two standbys promoted apart have the same.
    Timeline "timeline-as-epoch" breaks "C4";
    /// The position of a write is taken before its commit (T1).
    BeforeCommit "lsn-before-commit" breaks "C1";
    /// The position after a write is the newest primary's, whoever that is by now.
    AnyPrimary "position-across-promotion" breaks "C1";
    /// A write goes to a primary of an older epoch than its token's.
    OldPrimary "write-below-token-epoch" breaks "C1";
    /// One replica of the set has caught up (T3).
    OneOfSet "unstick-on-one" breaks "C1";
    /// The set is chosen, and read later as it is then (T4).
    TwoSteps "choose-then-check" breaks "C7";
    /// A sample outlives its connection (T11).
    SampleKept "sample-kept-after-reconnect" breaks "C1";
    /// An answer is released without a second look at the connections.
    NoSecondLook "no-second-look" breaks "C6";
    /// Reads add nothing to the token.
    ReadsForgotten "reads-add-nothing" breaks "C2";
    /// Reads add the sample that they were chosen by.
    LowerBound "reads-add-lower-bound" breaks "C2";
    /// A set may be in two epochs at once.
    MixedEpochs "mixed-epochs" breaks "C2";
    /// The newest token replaces the one before, domains and all.
    NewestToken "newest-token-wins" breaks "C1";
    /// The maximum of two positions, though the lower one is lost in the epoch of the higher one.
    Maximum "merge-hides-loss" breaks "C1";
    /// The writer is a server by configuration.
    FixedWriter "fixed-writer" breaks "C5";
    /// Reads with a token are refused.
    RefuseAll "refuse-every-token" breaks "a read is served with a token by two standbys";
}

const SERVERS: usize = 3;
const EXTRAS: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Server {
    at: Position,
    is_primary: bool,
}

/// The request that the client waits for. `low` is the highest sample before it, where a mutant looks at that; without the second look
/// that ends a read at once, torn says that a server of its set has become another one since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    None,
    /// A set was sampled, satisfies the token, and was sent to the service, which asks a server of it.
    Read {
        set: u8,
        low: Option<Position>,
        is_torn: bool,
    },
    /// A server has answered.
    Answered {
        set: u8,
        low: Option<Position>,
        is_torn: bool,
        epoch: u8,
        content: u8,
    },
    /// A write was sent to this primary, which was in that epoch.
    Writing {
        to: u8,
        epoch: u8,
        low: Option<Position>,
        is_torn: bool,
    },
    /// It is committed there.
    Written {
        to: u8,
        epoch: u8,
        low: Option<Position>,
        is_torn: bool,
        write: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    history: History,
    servers: [Server; SERVERS],
    writes: u8,
    /// A restart below, a change of the read set, or a write to the second domain: this many of them in a run.
    extras: u8,
    /// The read set of the region, a bit for each server.
    members: u8,
    request: Request,
    token: Option<Position>,
    /// What the client has written with acknowledgement, and what it has seen; no node knows this.
    own: u8,
    seen: u8,
    /// The second domain: what its primary and its replica have, what the token says, what the client wrote.
    other: (bool, bool),
    other_token: bool,
    other_own: bool,
}

struct Positions {
    mutant: Option<Mutant>,
}

const NAMES: [&str; SERVERS] = ["server 0", "server 1", "server 2"];

fn name(server: usize) -> &'static str {
    NAMES.get(server).copied().unwrap_or("")
}

fn bit(server: usize) -> u8 {
    1 << server
}

impl State {
    fn server(&self, at: u8) -> Server {
        self.servers[usize::from(at)]
    }

    fn set(&self, set: u8) -> impl Iterator<Item = Server> + '_ {
        self.servers.iter().enumerate().filter(move |(at, _)| set & bit(*at) != 0).map(|(_, server)| *server)
    }

    /// The server is another one to all who were connected to it: it has restarted, or changed its timeline. True when an answer is
    /// waited for that may come from it.
    fn tear(&mut self, server: usize) -> bool {
        match &mut self.request {
            Request::Read { set, is_torn, .. } | Request::Answered { set, is_torn, .. } if *set & bit(server) != 0 => {
                *is_torn = true;
                return true;
            }
            Request::Writing { to, is_torn, .. } | Request::Written { to, is_torn, .. } => *is_torn |= usize::from(*to) == server,
            Request::None | Request::Read { .. } | Request::Answered { .. } => {}
        }
        false
    }

    fn newest(&self) -> Server {
        self.servers.iter().copied().filter(|server| server.is_primary).max_by_key(|server| server.at.epoch).unwrap_or(self.servers[0])
    }
}

impl Positions {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether a server that shows `at` has what `token` stands for.
    fn satisfies(&self, history: &History, at: Position, token: Option<Position>) -> bool {
        let Some(token) = token else { return true };
        let survived = match self.mutant {
            Some(Mutant::BareLsn) => true,
            Some(Mutant::NextFork) => history.survived_next(token, at.epoch),
            Some(Mutant::Line) => history.survived_in_line(token, at.epoch),
            Some(Mutant::Timeline) => history.timeline(token.epoch) == history.timeline(at.epoch) || history.survived(token, at.epoch),
            _ => history.survived(token, at.epoch),
        };
        survived && at.lsn >= token.lsn
    }

    /// The servers and those who run them.
    fn servers(&self, state: &State, seen: &mut Steps<State>) {
        for (at, server) in state.servers.iter().enumerate() {
            if server.is_primary {
                if state.writes > 0 && state.history.len(server.at.epoch) < LSN_MAX {
                    let mut next = state.clone();
                    next.commit(at);
                    seen.to(Label("commit a write of another client", name(at)), next);
                }
            } else {
                self.standby(state, at, *server, seen);
            }
            let newest = state.newest();
            if newest.at.epoch > server.at.epoch {
                let mut next = state.clone();
                let kept = state.history.common(server.at, newest.at.epoch);
                next.servers[at] = Server { at: Position { epoch: newest.at.epoch, lsn: kept }, is_primary: false };
                self.tear(&mut next, at, seen);
                let is_rewound = server.is_primary || kept < server.at.lsn;
                seen.to(Label(if is_rewound { "come back, rewound" } else { "follow the new primary" }, name(at)), next);
            }
        }
        if state.extras > 0 {
            for members in [0b010, 0b111] {
                seen.to(Label("change the read set", ""), State { members, extras: state.extras - 1, ..state.clone() });
            }
        }
    }

    /// An answer that comes from a server which is not what it was when it was chosen is held back: nothing else can become of it.
    fn tear(&self, next: &mut State, server: usize, seen: &mut Steps<State>) {
        if next.tear(server) && !self.is(Mutant::NoSecondLook) {
            seen.reached(HELD_BACK);
            next.request = Request::None;
        }
    }

    fn standby(&self, state: &State, at: usize, server: Server, seen: &mut Steps<State>) {
        let is_fed = state.servers.iter().any(|other| other.is_primary && other.at.epoch == server.at.epoch);
        if is_fed && server.at.lsn < state.history.len(server.at.epoch) {
            let mut next = state.clone();
            next.servers[at].at.lsn += 1;
            seen.to(Label("replay", name(at)), next);
        }
        if state.extras > 0 && server.at.lsn > 0 {
            let mut next = State { extras: state.extras - 1, ..state.clone() };
            next.servers[at].at.lsn -= 1;
            if self.is(Mutant::SampleKept) {
                next.tear(at);
            } else {
                self.tear(&mut next, at, seen);
            }
            seen.to(Label("restart below its position", name(at)), next);
        }
        let mut history = state.history;
        if let Some(epoch) = history.promote(server.at) {
            let mut next = State { history, ..state.clone() };
            next.servers[at] = Server { at: Position { epoch, lsn: server.at.lsn }, is_primary: true };
            self.tear(&mut next, at, seen);
            seen.to(Label("promote", name(at)), next);
        }
    }

    fn choose(&self, state: &State, seen: &mut Steps<State>) {
        let primaries = (0..SERVERS).filter(|at| state.servers[*at].is_primary).map(bit);
        for set in std::iter::once(state.members).chain(primaries) {
            let all: Vec<Server> = state.set(set).collect();
            let mut satisfied = all.iter().map(|server| self.satisfies(&state.history, server.at, state.token));
            let is_satisfied = if self.is(Mutant::OneOfSet) { satisfied.any(|is| is) } else { satisfied.all(|is| is) };
            let is_one_epoch = all.windows(2).all(|pair| pair[0].at.epoch == pair[1].at.epoch);
            let is_candidate = is_satisfied && (is_one_epoch || self.is(Mutant::MixedEpochs));
            if !is_candidate || self.is(Mutant::RefuseAll) && state.token.is_some() {
                if state.token.is_some() {
                    seen.reached(REFUSED);
                }
                continue;
            }
            let low = all.iter().map(|server| server.at).max().filter(|_| self.is(Mutant::LowerBound));
            let request = Request::Read { set, low, is_torn: false };
            seen.to(Label("sample, choose and send", if set == state.members { "read set" } else { "primary" }), State { request, ..state.clone() });
        }
    }

    fn request(&self, state: &State, seen: &mut Steps<State>) {
        let with = |request| State { request, ..state.clone() };
        match state.request {
            Request::None => self.idle(state, seen),
            Request::Read { set, low, is_torn } => {
                if is_torn && self.is(Mutant::SampleKept) {
                    // A new connection vouches for what an old one has said.
                    seen.to(Label("connect again, and keep the sample", ""), with(Request::Read { set, low, is_torn: false }));
                }
                let asked = if self.is(Mutant::TwoSteps) { state.members } else { set };
                for (at, by) in state.servers.iter().enumerate().filter(|(at, _)| asked & bit(*at) != 0) {
                    let label = Label("answer the read", name(at));
                    let content = state.history.content(by.at);
                    if set & bit(at) == 0 && (state.own | state.seen) & !content != 0 {
                        seen.broken(C7, label);
                    }
                    seen.to(label, with(Request::Answered { set, low, is_torn, epoch: by.at.epoch, content }));
                }
            }
            Request::Answered { .. } => self.release(state, seen),
            Request::Writing { to, epoch, low, is_torn } => {
                let server = state.server(to);
                if server.is_primary && !is_torn && state.writes > 0 && state.history.len(server.at.epoch) < LSN_MAX {
                    let mut next = state.clone();
                    let write = next.commit(usize::from(to));
                    next.request = Request::Written { to, epoch, low, is_torn, write };
                    seen.to(Label("commit the client's write", name(usize::from(to))), next);
                }
                seen.to(Label("fail the write", ""), with(Request::None));
            }
            Request::Written { .. } => self.acknowledge(state, seen),
        }
    }

    fn idle(&self, state: &State, seen: &mut Steps<State>) {
        self.choose(state, seen);
        for (at, server) in (0_u8..).zip(state.servers) {
            let is_writer = if self.is(Mutant::FixedWriter) { at == 0 } else { server.is_primary };
            let is_new_enough = state.token.is_none_or(|token| token.epoch <= server.at.epoch) || self.is(Mutant::OldPrimary);
            if is_writer && is_new_enough && state.writes > 0 {
                let label = Label("send a write", name(usize::from(at)));
                if !server.is_primary {
                    seen.broken(C5, label);
                }
                let low = Some(server.at).filter(|_| self.is(Mutant::BeforeCommit));
                let request = Request::Writing { to: at, epoch: server.at.epoch, low, is_torn: false };
                seen.to(label, State { request, ..state.clone() });
            }
        }
        let newest = state.newest();
        if state.token.is_some_and(|token| token.epoch < newest.at.epoch && !state.history.survived(token, newest.at.epoch)) {
            seen.reached(LOST);
            seen.to(Label("tell that a position is lost", ""), State { token: None, own: 0, seen: 0, ..state.clone() });
        }
        self.second(state, seen);
    }

    /// The second domain: one server, one replica, one write.
    fn second(&self, state: &State, seen: &mut Steps<State>) {
        let (primary, replica) = state.other;
        if !primary && state.extras > 0 {
            let mut next = State { extras: state.extras - 1, other: (true, false), other_token: true, other_own: true, ..state.clone() };
            if self.is(Mutant::NewestToken) {
                next.token = None;
            }
            seen.to(Label("write", "second domain"), next);
        }
        if primary && !replica {
            seen.to(Label("replay", "second domain"), State { other: (true, true), ..state.clone() });
        }
        if replica >= state.other_token {
            if state.other_token {
                seen.reached(OTHER);
            }
            if state.other_own && !replica {
                seen.broken(C1, Label("serve a read", "second domain"));
            }
        }
    }

    /// Judges an answer, and adds it to the token.
    fn release(&self, state: &State, seen: &mut Steps<State>) {
        let Request::Answered { set, low, is_torn, epoch, content } = state.request else { return };
        if is_torn && !self.is(Mutant::NoSecondLook) {
            seen.to(Label("hold the answer back", ""), State { request: Request::None, ..state.clone() });
            return;
        }
        let label = Label("serve the answer", "");
        let (own, both) = (state.own & !content, (state.own | state.seen) & !content);
        if is_torn && both != 0 {
            seen.broken(C6, label);
        } else if both != 0 && state.token.is_some_and(|token| token.epoch != epoch) {
            seen.broken(C4, label);
        } else if own != 0 {
            seen.broken(C1, label);
        } else if both != 0 {
            seen.broken(C2, label);
        }
        if let Some(token) = state.token {
            if set == 0b110 {
                seen.reached(SERVED);
            }
            if token.epoch < epoch {
                seen.reached(SURVIVED);
            }
            if token.epoch + 1 < epoch && state.history.parent(epoch) == token.epoch + 1 {
                seen.reached(TWICE);
            }
        }
        if state.own & content != 0 && epoch > 1 && state.token.is_some_and(|token| token.epoch == epoch) {
            seen.reached(NEW_WRITE);
        }
        let high = state.set(set).map(|server| server.at).max();
        let read = match self.mutant {
            Some(Mutant::ReadsForgotten) => None,
            Some(Mutant::LowerBound) => low,
            _ => high,
        };
        let mut next = State { request: Request::None, seen: state.seen | content, ..state.clone() };
        self.add(&mut next, read);
        seen.to(label, next);
    }

    /// Tells the client its write's position.
    fn acknowledge(&self, state: &State, seen: &mut Steps<State>) {
        let Request::Written { to, epoch, low, is_torn, write } = state.request else { return };
        let at = match self.mutant {
            Some(Mutant::BeforeCommit) => low,
            Some(Mutant::AnyPrimary) => Some(state.newest().at),
            _ if is_torn => Some(Position::unknown(epoch)),
            _ => Some(state.server(to).at),
        };
        let mut next = State { request: Request::None, ..state.clone() };
        self.add(&mut next, at);
        next.own |= write;
        seen.to(Label("acknowledge the write", ""), next);
    }

    /// Merges a position into the token of the answer, and that into the client's. What has not survived is told, or it would be hidden.
    fn add(&self, next: &mut State, at: Option<Position>) {
        let is_lost = at.zip(next.token).is_some_and(|(at, token)| token.epoch < at.epoch && !next.history.survived(token, at.epoch));
        if is_lost && !self.is(Mutant::Maximum) {
            (next.own, next.seen) = (0, 0);
        }
        next.token = next.token.max(at);
        if self.is(Mutant::NewestToken) {
            next.other_token = false;
        }
    }
}

impl State {
    /// Commits a write at a primary; the bit that stands for it.
    fn commit(&mut self, at: usize) -> u8 {
        let write = self.history.append(self.servers[at].at.epoch);
        self.servers[at].at.lsn = self.history.len(self.servers[at].at.epoch);
        self.writes -= 1;
        write
    }
}

impl Model for Positions {
    type State = State;

    fn start(&self) -> State {
        let at = Position { epoch: 1, lsn: 0 };
        let mut servers = [Server { at, is_primary: false }; SERVERS];
        servers[0].is_primary = true;
        State {
            history: History::START,
            servers,
            writes: LSN_MAX,
            extras: EXTRAS,
            members: 0b110,
            request: Request::None,
            token: None,
            own: 0,
            seen: 0,
            other: (false, false),
            other_token: false,
            other_own: false,
        }
    }

    fn steps(&self, state: &State, seen: &mut Steps<State>) {
        self.servers(state, seen);
        self.request(state, seen);
    }
}

const _: () = assert!(EPOCHS == 3, "two promotions");
