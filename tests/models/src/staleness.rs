//! Reads with a bound: C3.
//!
//! Stands for "Confirmed probe" and the mode `bounded` of the design, for the database of a service with a heartbeat grant. The watched
//! write is a row of the service. A region reads a replica `R` that follows `P`, and after the promotion `S`; it serves a bounded read
//! when `R` has replayed the position of a confirmed probe that is young enough.
//!
//! Bounds: 3 servers, 1 promotion, 1 region, 1 write, heartbeats, probes and reads without end, a bound of 2 ticks of which a clock may
//! lose 1, and 3 faults in any order.
//!
//! Decided here: the position of a probe is what `P` inserts at, so that it covers commits that wait; and the age of a read counts to
//! the moment at which its bound is checked, which is no later than the read.

use crate::check::{Label, Model, Steps, run};
use crate::cluster::{Cluster, Head, Touch, Trust};
use crate::probe::{BOUND, Flaw, Watch};
use crate::{Entry, mutants};

const C3: &str = "C3";

const SERVED: &str = "a bounded read is served";
const WITH_WRITE: &str = "a bounded read shows the write";
const LAWFULLY_STALE: &str = "a bounded read lacks a write that is younger than its bound";
const AFTER_PROMOTION: &str = "a bounded read is served after the promotion";
const REFUSED: &str = "a bounded read is refused";

pub(crate) const ENTRY: Entry = Entry {
    name: "staleness",
    promise: "a bounded read shows every commit that was acknowledged longer ago than its bound, or is refused",
    bounds: "3 servers, 1 promotion, 1 region, 1 write, d = 2 ticks with a drift of 1, 3 faults, heartbeats and probes without end",
    invariants: &[C3],
    possible: &[SERVED, WITH_WRITE, LAWFULLY_STALE, AFTER_PROMOTION, REFUSED],
    mutants: Mutant::TABLE,
    run: |mutant| run(&Staleness { mutant: mutant.and_then(Mutant::of) }, ENTRY.possible),
};

mutants! {
    /// Probes count unconfirmed.
    UnconfirmedProbe "bound-by-unconfirmed-probe" breaks "C3";
    /// Nothing waits for a standby: the proof does not exist.
    Asynchronous "asynchronous-cluster" breaks "C3";
    /// A service takes a canceled commit for one (T6): PostgreSQL answers it with a warning alone.
    CanceledWrites "canceled-commit-acknowledged" breaks "C3";
    /// The age counts from the end of the probe.
    FromTheEnd "age-from-probe-end" breaks "C3";
    /// Ages by the wall clock.
    WallClock "age-on-wall-clock" breaks "C3";
    /// The replica need not have replayed the probe's position.
    Unapplied "position-not-replayed" breaks "C3";
    /// A replica that has replayed all it has received counts as fresh (beside T5).
    CaughtUp "caught-up-with-received" breaks "C3";
    /// What was known of a replica is believed after its connection died (T11).
    SampleKept "bound-by-kept-sample" breaks "C3";
}

impl Mutant {
    fn flaw(self) -> Option<Flaw> {
        match self {
            Self::UnconfirmedProbe => Some(Flaw::Unconfirmed),
            Self::Asynchronous => Some(Flaw::Cluster(Trust::Asynchronous)),
            Self::FromTheEnd => Some(Flaw::FromTheEnd),
            Self::WallClock => Some(Flaw::WallClock),
            Self::Unapplied => Some(Flaw::Unapplied),
            Self::CanceledWrites => Some(Flaw::Cluster(Trust::CanceledWrites)),
            Self::CaughtUp | Self::SampleKept => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    cluster: Cluster,
    watch: Watch,
    replica: Head,
}

struct Staleness {
    mutant: Option<Mutant>,
}

impl Staleness {
    fn look(&self, state: &State, seen: &mut Steps<State>) {
        let is_fresh = state.watch.is_fresh(self.mutant.and_then(Mutant::flaw)) || self.mutant == Some(Mutant::CaughtUp);
        if !is_fresh {
            seen.reached(REFUSED);
            return;
        }
        seen.reached(SERVED);
        if state.cluster.is_promoted {
            seen.reached(AFTER_PROMOTION);
        }
        match state.cluster.committed {
            _ if state.replica.has_write => seen.reached(WITH_WRITE),
            Some(committed) if committed.age > BOUND => seen.broken(C3, Label("read without the write", "R")),
            Some(_) => seen.reached(LAWFULLY_STALE),
            None => {}
        }
    }
}

impl Staleness {
    fn replica(&self, state: &State, seen: &mut Steps<State>) {
        let from_old = state.cluster.old_position();
        if state.replica < from_old && !state.cluster.is_rejoined {
            seen.to(Label("replay what P has", "R"), State { replica: from_old, ..state.clone() });
        }
        if state.cluster.is_promoted && state.replica < state.cluster.new_head() {
            seen.to(Label("follow S", "R"), State { replica: state.cluster.new_head(), ..state.clone() });
        }
        if let Some(cluster) = state.cluster.with_fault().filter(|_| state.replica.has_write) {
            let mut next = State { cluster, replica: Head { has_write: false, ..state.replica }, ..state.clone() };
            if self.mutant != Some(Mutant::SampleKept) {
                next.watch = Watch::START;
            }
            next.watch.follow(&mut next.cluster, Touch::Nothing);
            seen.to(Label("restart below its position", "R"), next);
        }
    }
}

impl Model for Staleness {
    type State = State;

    fn start(&self) -> State {
        let cluster = Cluster::start(Flaw::trust(self.mutant.and_then(Mutant::flaw)));
        State { cluster, watch: Watch::START, replica: Head { epoch: 1, has_write: false } }
    }

    fn steps(&self, state: &State, seen: &mut Steps<State>) {
        self.look(state, seen);
        let flaw = self.mutant.and_then(Mutant::flaw);
        state.cluster.steps(Flaw::trust(flaw), &mut |label, cluster, touch| {
            let mut next = State { cluster, ..state.clone() };
            next.watch.follow(&mut next.cluster, touch);
            seen.to(label, next);
        });
        for (label, is_lost) in [(Label("tick", ""), false), (Label("tick", "the region's clock loses it"), true)] {
            if let Some(watch) = state.watch.tick(is_lost, flaw) {
                let mut next = State { watch, ..state.clone() };
                next.cluster.tick(BOUND + 1);
                next.watch.follow(&mut next.cluster, Touch::Nothing);
                seen.to(label, next);
            }
        }
        state.watch.steps(&state.cluster, state.cluster.old_position(), state.replica, flaw, &mut |label, watch| {
            let mut next = State { watch, ..state.clone() };
            next.watch.follow(&mut next.cluster, Touch::Nothing);
            seen.to(label, next);
        });
        self.replica(state, seen);
    }
}
