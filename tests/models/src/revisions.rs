//! Revisions: R1, R2 and R4.
//!
//! Stands for "Control plane: revisions" of the design. Two sessions write control transactions, each for one lane or both: a row of the
//! authority lane may be unreadable, a document of the structural lane may not compile. Each locks the heads of its lanes, is numbered,
//! and commits or rolls back. A standby replays the commits one by one and may be promoted, with a lost tail; the old primary goes on, and may later be promoted by itself.
//! One node polls either server, by deltas or by whole loads, quarantines, refuses (NACK), seals its journal, and restarts from it.
//!
//! Bounds: 2 servers, 2 promotions, 2 sessions, 3 transactions, 1 node, 1 reboot; polls, whole loads and seals without end.
//!
//! Decided here, where the design is silent:
//! - R1 holds over a reboot from what the journal holds: a database that shows less is waited for.
//! - A structure that is kept because its successor does not compile keeps its own epoch as well as its revision. Under the epoch of its
//!   successor the same number may be another document.
//! - An epoch has an identity beside its number. The number is counted in the database that is forked, so two servers that are promoted
//!   apart count the same one. A node takes nothing from another epoch of its own epoch's number; the writer that begins an epoch takes
//!   a number above every one that it has heard of.
//! - An unreadable row counts as applied, and what it names is refused: it may have been a revocation.

use crate::check::{Label, Model, Steps, run};
use crate::{Entry, mutants};

const R1: &str = "R1";
const R2: &str = "R2";
const R4: &str = "R4";

const PROMOTED: &str = "a node follows a promotion";
const TWICE: &str = "a node follows two promotions";
const AHEAD: &str = "a node is ahead of the standby";
const QUARANTINED: &str = "authority moves on past an unreadable row";
const NACKED: &str = "authority moves on under a NACK";
const RECOVERED: &str = "a structure compiles after a NACK";
const BOOTED: &str = "a node starts from its journal";
const SKIPPED: &str = "a number that was rolled back is given again";

pub(crate) const ENTRY: Entry = Entry {
    name: "revisions",
    promise: "what a node has is a prefix of each lane, goes forward only, and takes nothing of what it refused",
    bounds: "2 servers, 2 promotions, 2 sessions, 3 transactions, 2 lanes, 1 node, 1 reboot; polls, loads and seals without end",
    invariants: &[R1, R2, R4],
    possible: &[PROMOTED, TWICE, AHEAD, QUARANTINED, NACKED, RECOVERED, BOOTED, SKIPPED],
    mutants: Mutant::TABLE,
    run: |mutant| run(&Revisions { mutant: mutant.and_then(Mutant::of) }, ENTRY.possible),
};

mutants! {
    /// Numbers of a sequence, without a lock (T8).
    SerialId "serial-id-as-change-log" breaks "R2";
    /// A whole load takes the heads from one server and the rows from another (T7).
    TwoNodes "load-across-two-nodes" breaks "R2";
    /// The new primary writes before its epoch row.
    EpochLate "epoch-row-late" breaks "R2";
    /// Epochs of one number are taken for one: two servers that were promoted apart have each counted for itself.
    EpochNumber "epoch-by-number" breaks "R2";
    /// A node knows revisions by their number alone, and goes on by deltas over a promotion.
    BareRevision "bare-revision" breaks "R2";
    /// An unreadable row is left out, and what it names stays as it was.
    RowSkipped "unreadable-row-skipped" breaks "R2";
    /// A structure that is kept over a promotion is given the new epoch.
    Relabeled "kept-structure-relabeled" breaks "R2";
    /// A server that lags is believed.
    Regressed "regression-taken" breaks "R1";
    /// A restarted node takes whatever the database has.
    NoFloor "boot-without-floor" breaks "R1";
    /// What compiles of a document is put in force.
    InParts "compiled-in-parts" breaks "R4";
    /// A refused document is sealed, and in force after a reboot.
    NackSealed "nacked-structure-sealed" breaks "R4";
    /// An unreadable row stops its lane.
    RowStops "unreadable-row-stops-lane" breaks "authority moves on past an unreadable row";
    /// A document that does not compile stops both lanes.
    NackStops "nack-stops-authority" breaks "authority moves on under a NACK";
}

const TRANSACTIONS: usize = 3;

/// An epoch: its number times two, and one more for the other epoch of that number.
type Epoch = u8;
const FIRST: Epoch = 2;
/// The standby's, after its promotion.
const SECOND: Epoch = 4;
/// The old primary's when it is promoted by itself by a writer that has not heard of the second.
const SIBLING: Epoch = 5;
/// The same by one that has.
const THIRD: Epoch = 6;

const fn number(epoch: Epoch) -> u8 {
    epoch / 2
}

/// What a transaction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    /// A readable row of the authority lane.
    Row,
    /// An unreadable one.
    BadRow,
    /// A document that compiles.
    Document,
    /// One that does not.
    BadDocument,
    /// A readable row, and a document that compiles.
    Both,
}

impl Kind {
    const ALL: [(Self, &str); 5] = [
        (Self::Row, "a row"),
        (Self::BadRow, "an unreadable row"),
        (Self::Document, "a document"),
        (Self::BadDocument, "a document that does not compile"),
        (Self::Both, "a row and a document"),
    ];

    fn is_authority(self) -> bool {
        matches!(self, Self::Row | Self::BadRow | Self::Both)
    }

    fn is_structural(self) -> bool {
        matches!(self, Self::Document | Self::BadDocument | Self::Both)
    }
}

/// One transaction. `id` is what it wrote, whatever it is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Transaction {
    id: u8,
    kind: Kind,
    authority: u8,
    structural: u8,
}

/// The committed transactions of one server, in the order in which they can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Log([Option<Transaction>; TRANSACTIONS]);

impl Log {
    fn iter(&self) -> impl Iterator<Item = Transaction> + '_ {
        self.0.iter().flatten().copied()
    }

    fn push(&mut self, transaction: Transaction) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some(transaction);
        }
    }

    fn authority(&self) -> u8 {
        self.iter().map(|transaction| transaction.authority).max().unwrap_or(0)
    }

    fn structural(&self) -> u8 {
        self.iter().map(|transaction| transaction.structural).max().unwrap_or(0)
    }

    /// What the authority lane holds up to a revision, a bit for each transaction.
    fn rows(&self, after: u8, to: u8) -> u8 {
        self.iter().filter(|tx| tx.kind.is_authority() && tx.authority > after && tx.authority <= to).fold(0, |rows, tx| rows | 1 << tx.id)
    }

    /// The newest document up to a revision; 0 is the empty one.
    fn document(&self, to: u8) -> u8 {
        self.iter().filter(|tx| tx.kind.is_structural() && tx.structural <= to).map(|tx| tx.id).last().unwrap_or(0)
    }

    fn is_bad(&self, document: u8) -> bool {
        self.iter().any(|tx| tx.id == document && tx.kind == Kind::BadDocument)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Server {
    epoch: Epoch,
    log: Log,
}

/// What a node has in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Applied {
    epoch: Epoch,
    authority: u8,
    rows: u8,
    /// The label of the structure in force.
    structure: (Epoch, u8),
    /// The documents that its routes and its upstreams come from.
    parts: (u8, u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    old: Server,
    /// The standby, and later the new primary.
    new: Server,
    is_promoted: bool,
    next_id: u8,
    open: [Option<(bool, Transaction)>; 2],
    applied: Applied,
    /// The newest document that was looked at, compiled or not.
    looked_at: u8,
    is_nacked: bool,
    journal: Applied,
    reboots: u8,
}

struct Revisions {
    mutant: Option<Mutant>,
}

impl Revisions {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The epoch that a node finds at a server.
    fn epoch(&self, server: &Server) -> Epoch {
        match self.mutant {
            Some(Mutant::BareRevision) => FIRST,
            Some(Mutant::EpochNumber) => 2 * number(server.epoch),
            _ => server.epoch,
        }
    }

    fn judge(state: &State, seen: &mut Steps<State>) {
        let applied = state.applied;
        let log = |epoch| if epoch == SECOND { &state.new.log } else { &state.old.log };
        if applied.rows != log(applied.epoch).rows(0, applied.authority) {
            seen.broken(R2, Label("look at", "the rows of the node"));
        }
        let (epoch, revision) = applied.structure;
        let (routes, upstreams) = applied.parts;
        if routes != upstreams || [&state.old.log, &state.new.log].iter().any(|log| log.is_bad(routes)) {
            seen.broken(R4, Label("look at", "the structure of the node"));
        } else if routes != log(epoch).document(revision) {
            seen.broken(R2, Label("look at", "the structure of the node"));
        }
        if applied.epoch == SECOND {
            seen.reached(PROMOTED);
        }
        if applied.epoch == THIRD && state.journal.epoch == SECOND {
            seen.reached(TWICE);
        }
        if !state.is_promoted && applied.authority > state.new.log.authority() {
            seen.reached(AHEAD);
        }
        let has_bad_row = log(applied.epoch).iter().any(|tx| tx.kind == Kind::BadRow && tx.authority < applied.authority);
        if has_bad_row {
            seen.reached(QUARANTINED);
        }
        let is_late = |(at, tx): (u8, Transaction)| tx.id > at;
        if state.open == [None; 2] && (1..).zip(state.old.log.iter()).any(is_late) {
            seen.reached(SKIPPED);
        }
    }

    /// The node goes from one state to another; both are judged together.
    fn go(state: &State, label: Label, next: State, seen: &mut Steps<State>) {
        let (before, after) = (state.applied, next.applied);
        let lane = |applied: Applied| (number(applied.epoch), applied.authority);
        let structure = |applied: Applied| (number(applied.structure.0), applied.structure.1);
        if lane(after) < lane(before) || structure(after) < structure(before) {
            seen.broken(R1, label);
        }
        if state.is_nacked && after.authority > before.authority && next.is_nacked {
            seen.reached(NACKED);
        }
        if state.is_nacked && !next.is_nacked {
            seen.reached(RECOVERED);
        }
        if next != *state {
            seen.to(label, next);
        }
    }

    fn write(&self, state: &State, seen: &mut Steps<State>) {
        let is_locked = |at_new: bool, kind: Kind| {
            state.open.iter().flatten().any(|(held_at_new, tx)| {
                *held_at_new == at_new && (tx.kind.is_authority() && kind.is_authority() || tx.kind.is_structural() && kind.is_structural())
            })
        };
        let at_new_too = state.is_promoted && (state.new.epoch == SECOND || self.is(Mutant::EpochLate));
        for at_new in [false, true] {
            let Some(free) = state.open.iter().position(Option::is_none) else { break };
            if at_new && !at_new_too || usize::from(state.next_id) > TRANSACTIONS {
                continue;
            }
            let log = if at_new { &state.new.log } else { &state.old.log };
            for (kind, name) in Kind::ALL {
                if is_locked(at_new, kind) && !self.is(Mutant::SerialId) {
                    continue;
                }
                let pending = state.open.iter().flatten().filter(|(held_at_new, tx)| *held_at_new == at_new && tx.kind.is_authority()).count();
                let ahead = if self.is(Mutant::SerialId) { u8::try_from(pending).unwrap_or(0) } else { 0 };
                let authority = if kind.is_authority() { log.authority() + 1 + ahead } else { 0 };
                let structural = if kind.is_structural() { log.structural() + 1 } else { 0 };
                let mut next = state.clone();
                if let Some(place) = next.open.get_mut(free) {
                    *place = Some((at_new, Transaction { id: state.next_id, kind, authority, structural }));
                }
                next.next_id += 1;
                seen.to(Label(if at_new { "begin at the new primary" } else { "begin at the primary" }, name), next);
            }
        }
        for (at, open) in state.open.iter().enumerate() {
            let Some((at_new, transaction)) = *open else { continue };
            let mut next = state.clone();
            next.open[at] = None;
            next.open.sort_unstable_by_key(Option::is_none);
            seen.to(Label("roll back", ""), next.clone());
            if at_new { &mut next.new } else { &mut next.old }.log.push(transaction);
            seen.to(Label("commit", ""), next);
        }
    }

    fn replicate(state: &State, seen: &mut Steps<State>) {
        if !state.is_promoted {
            let replayed = state.new.log.iter().count();
            if let Some(transaction) = state.old.log.iter().nth(replayed) {
                let mut next = state.clone();
                next.new.log.push(transaction);
                seen.to(Label("replay", "standby"), next);
            }
            seen.to(Label("promote", "standby"), State { is_promoted: true, ..state.clone() });
        } else if state.new.epoch == FIRST {
            let mut next = state.clone();
            next.new.epoch = SECOND;
            seen.to(Label("write the epoch", "new primary"), next);
        } else if state.old.epoch == FIRST {
            // Stopped, started as a standby of nobody, and promoted: its own row says that this is the second epoch.
            for (epoch, label) in [(SIBLING, "by a writer that knows of no other"), (THIRD, "by a writer that knows of one")] {
                let mut next = State { open: state.open.map(|open| open.filter(|(at_new, _)| *at_new)), ..state.clone() };
                next.open.sort_unstable_by_key(Option::is_none);
                next.old.epoch = epoch;
                seen.to(Label("promote the old primary by itself", label), next);
            }
        }
    }

    fn follow(&self, state: &State, seen: &mut Steps<State>) {
        for (server, other, name) in [(&state.old, &state.new, "old primary"), (&state.new, &state.old, "standby or new primary")] {
            if self.epoch(server) == state.applied.epoch {
                self.delta(state, server, name, seen);
            }
            self.load(state, server, other, name, seen);
        }
        if state.journal != state.applied {
            let mut next = State { journal: state.applied, ..state.clone() };
            if self.is(Mutant::NackSealed) && state.is_nacked {
                let document = state.old.log.document(state.looked_at);
                (next.journal.parts, next.journal.structure) = ((document, document), (FIRST, state.looked_at));
            }
            seen.to(Label("seal the journal", ""), next);
        } else if self.is(Mutant::NackSealed) && state.is_nacked && state.applied.epoch == FIRST {
            let document = state.old.log.document(state.looked_at);
            let mut next = state.clone();
            (next.journal.parts, next.journal.structure) = ((document, document), (FIRST, state.looked_at));
            seen.to(Label("seal the journal", ""), next);
        }
        if state.reboots == 0 {
            let applied = state.journal;
            let next = State { applied, looked_at: applied.structure.1, is_nacked: false, reboots: 1, ..state.clone() };
            seen.to(Label("reboot from the journal", ""), next);
        } else {
            seen.reached(BOOTED);
        }
    }

    /// The changes that follow what is applied.
    fn delta(&self, state: &State, server: &Server, name: &'static str, seen: &mut Steps<State>) {
        let head = server.log.authority();
        if head < state.applied.authority && !self.is(Mutant::Regressed) {
            return;
        }
        let mut next = state.clone();
        let applied = &mut next.applied;
        let mut rows = server.log.rows(applied.authority, head);
        let bad = server.log.iter().filter(|tx| tx.kind == Kind::BadRow && tx.authority > applied.authority).fold(0, |rows, tx| rows | 1 << tx.id);
        if self.is(Mutant::RowSkipped) {
            rows &= !bad;
        }
        let stops = self.is(Mutant::RowStops) && bad != 0 || self.is(Mutant::NackStops) && state.is_nacked;
        if !stops {
            applied.rows |= rows;
            applied.authority = head;
        }
        if server.log.structural() > state.looked_at {
            self.take_document(&mut next, server);
        }
        Self::go(state, Label("poll by delta", name), next, seen);
    }

    /// Everything, in one transaction of one server.
    fn load(&self, state: &State, server: &Server, other: &Server, name: &'static str, seen: &mut Steps<State>) {
        let head = server.log.authority();
        let (epoch, applied) = (self.epoch(server), state.applied.epoch);
        let is_older = (number(epoch), head) < (number(applied), state.applied.authority);
        // Two epochs of one number: neither is the later one, and nothing is taken from the other.
        let is_other = number(epoch) == number(applied) && epoch != applied;
        let is_taken = self.is(Mutant::NoFloor) && state.reboots == 1;
        let stops = self.is(Mutant::RowStops) && server.log.iter().any(|tx| tx.kind == Kind::BadRow) || self.is(Mutant::NackStops) && state.is_nacked;
        if is_older && !is_taken || is_other || stops {
            return;
        }
        let mut next = state.clone();
        let rows_from = if self.is(Mutant::TwoNodes) { other } else { server };
        let is_new_epoch = self.epoch(server) != state.applied.epoch;
        next.applied = Applied { epoch: self.epoch(server), authority: head, rows: rows_from.log.rows(0, head), ..state.applied };
        if self.is(Mutant::RowSkipped) {
            next.applied.rows &= !server.log.iter().filter(|tx| tx.kind == Kind::BadRow).fold(0, |rows, tx| rows | 1 << tx.id);
        }
        // Within an epoch a server may show a newer authority with an older structure than another has shown already.
        if is_new_epoch || server.log.structural() > state.looked_at {
            self.take_document(&mut next, server);
        }
        Self::go(state, Label("load everything", name), next, seen);
    }

    /// Compiles the newest document of a server; one that does not compile leaves the last good one in force.
    fn take_document(&self, next: &mut State, server: &Server) {
        next.looked_at = server.log.structural();
        let document = server.log.document(next.looked_at);
        next.is_nacked = server.log.is_bad(document);
        if !next.is_nacked {
            next.applied.structure = (self.epoch(server), next.looked_at);
            next.applied.parts = (document, document);
        } else if self.is(Mutant::InParts) {
            next.applied.parts.0 = document;
        } else if self.is(Mutant::Relabeled) {
            next.applied.structure.0 = server.epoch;
        }
    }
}

impl Model for Revisions {
    type State = State;

    fn start(&self) -> State {
        let server = Server { epoch: FIRST, log: Log::default() };
        let applied = Applied { epoch: FIRST, structure: (FIRST, 0), ..Applied::default() };
        State {
            old: server,
            new: server,
            is_promoted: false,
            next_id: 1,
            open: [None; 2],
            applied,
            looked_at: 0,
            is_nacked: false,
            journal: applied,
            reboots: 0,
        }
    }

    fn steps(&self, state: &State, seen: &mut Steps<State>) {
        Self::judge(state, seen);
        self.write(state, seen);
        Self::replicate(state, seen);
        self.follow(state, seen);
    }
}
