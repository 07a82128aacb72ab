//! A revocation and its receipt: R3, and that a receipt which says effective is true.
//!
//! Stands for "Revocation with a bound and a receipt" of the design, on the servers of [`cluster`](crate::cluster) with the probes of
//! [`probe`](crate::probe). The watched write revokes the one key. A node polls any server, applies what is newer, seals it to its
//! journal, and reports what it has sealed. It serves the key on a `deny` route while its lease lasts, and on an `allow` route always.
//! The control plane gives one receipt: when the node has acknowledged the revision, or when it must have fenced itself.
//!
//! Bounds: 2 servers, 1 promotion, 1 node, 1 revocation, heartbeats and probes without end, a bound of 2 ticks of which a clock may
//! lose 1, and 3 faults (canceled commits, restarts of the primary, changes of its settings, reboots of the node) in any order.
//!
//! Decided here, where the design is silent:
//! - A node's lease lasts `L` less what its clock may lose, or R3 holds for `L + drift` only; the receipt's fence adds what the clock of
//!   the control plane may gain, and begins after the last tick at which a lease may hold.
//! - An acknowledgement names its epoch: one for revision r of an earlier epoch says nothing about r of this one.
//! - A canceled commit of the revocation is repeated by a barrier commit behind it before anything counts from it.
//! - For `allow` routes a receipt speaks of nodes that acknowledged, and of no others.

use crate::check::{Label, Model, Steps, run};
use crate::cluster::{Cluster, Head, Touch, Trust};
use crate::probe::{BOUND, DRIFT, Flaw, Watch};
use crate::{Entry, mutants};

const R3: &str = "R3";
const RECEIPT: &str = "receipt";

const HELD: &str = "a lease is held";
const DENY: &str = "a deny route accepts";
const NEW_LEASE: &str = "a lease is held on the new primary";
const REFUSED: &str = "a node without a lease refuses a key that it takes for good";
const ACKED: &str = "a receipt by acknowledgement";
const FENCED: &str = "a receipt by fencing";
const CUT_OFF: &str = "a cut-off node serves the revoked key on an allow route";

pub(crate) const ENTRY: Entry = Entry {
    name: "revocation",
    promise: "no deny route accepts a key after commit + L, and a receipt that says effective is true",
    bounds: "2 servers, 1 promotion, 1 node, 1 revocation, L = 2 ticks with a drift of 1, 3 faults, heartbeats and probes without end",
    invariants: &[R3, RECEIPT],
    possible: &[HELD, DENY, NEW_LEASE, REFUSED, ACKED, FENCED, CUT_OFF],
    mutants: Mutant::TABLE,
    run: |mutant| run(&Revocation { mutant: mutant.and_then(Mutant::of) }, ENTRY.possible),
};

mutants! {
    /// Probes count unconfirmed: an old primary behind a partition still answers.
    UnconfirmedProbe "unconfirmed-probe" breaks "R3";
    /// `acked >= k`: a heartbeat that the quorum took before the read confirms it.
    AckedSeen "acked-at-k" breaks "R3";
    /// `acked >= k + 1`: the same, with one canceled commit.
    AckedNext "acked-at-k-plus-1" breaks "R3";
    /// Confirmed by a server that has become a standby of the new primary.
    AnyIncarnation "confirmed-across-restart" breaks "R3";
    /// Settings that were changed and changed back.
    SettingsByValue "settings-compared-by-value" breaks "R3";
    /// Canceled heartbeats count (T6).
    CanceledBeats "canceled-heartbeat-counted" breaks "R3";
    /// The lease counts from the end of the probe.
    FromTheEnd "lease-from-probe-end" breaks "R3";
    /// The lease runs on the wall clock.
    WallClock "lease-on-wall-clock" breaks "R3";
    /// The lease runs on a clock that stands still while the machine sleeps.
    SleepingClock "lease-on-sleeping-clock" breaks "R3";
    /// The lease lasts `L` on a clock that loses ticks.
    NoDrift "lease-without-drift" breaks "R3";
    /// The lease is confirmed before the revision is applied.
    Unapplied "lease-before-applied" breaks "R3";
    /// The lease outlives a reboot that forgets what it rested on.
    LeaseKept "lease-kept-over-reboot" breaks "R3";
    /// Authority is checked when a request comes, and not again before it is dispatched.
    CheckedOnce "checked-once" breaks "R3";
    /// A canceled commit of the revocation is trusted (T6).
    CanceledWrites "canceled-commit-trusted" breaks "receipt";
    /// Acknowledged before the journal is on disk.
    AckBeforeSync "ack-before-fsync" breaks "receipt";
    /// Acknowledgements are compared by revision alone.
    AckWithoutEpoch "ack-without-epoch" breaks "receipt";
    /// The fence is counted as if no clock gained a tick.
    FenceWithoutDrift "fence-without-drift" breaks "receipt";
    /// Nothing is ever confirmed: a gateway that refuses everything is safe, and useless.
    NeverConfirmed "never-confirmed" breaks "a lease is held";
}

impl Mutant {
    fn flaw(self) -> Option<Flaw> {
        match self {
            Self::UnconfirmedProbe => Some(Flaw::Unconfirmed),
            Self::AckedSeen => Some(Flaw::AckedSeen),
            Self::AckedNext => Some(Flaw::AckedNext),
            Self::AnyIncarnation => Some(Flaw::AnyIncarnation),
            Self::SettingsByValue => Some(Flaw::SettingsByValue),
            Self::CanceledBeats => Some(Flaw::Cluster(Trust::CanceledBeats)),
            Self::FromTheEnd => Some(Flaw::FromTheEnd),
            Self::WallClock => Some(Flaw::WallClock),
            Self::SleepingClock => Some(Flaw::SleepingClock),
            Self::NoDrift => Some(Flaw::NoDrift),
            Self::Unapplied => Some(Flaw::Unapplied),
            Self::CanceledWrites => Some(Flaw::Cluster(Trust::CanceledWrites)),
            Self::LeaseKept | Self::CheckedOnce | Self::AckBeforeSync | Self::AckWithoutEpoch | Self::FenceWithoutDrift | Self::NeverConfirmed => {
                None
            }
        }
    }
}

/// What the control plane has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Receipt {
    Pending,
    Acknowledged,
    Fenced,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    cluster: Cluster,
    watch: Watch,
    applied: Head,
    /// What is on the node's disk.
    journal: Head,
    receipt: Receipt,
    /// A request that passed the first check waits for its body; only a node that does not look again needs to remember it.
    is_passed: bool,
}

struct Revocation {
    mutant: Option<Mutant>,
}

impl Revocation {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn flaw(&self) -> Option<Flaw> {
        self.mutant.and_then(Mutant::flaw)
    }

    /// What routes answer in this state, judged.
    fn look(&self, state: &State, seen: &mut Steps<State>) {
        let is_alive = !state.applied.has_write;
        let is_fresh = state.watch.is_fresh(self.flaw());
        let accepts = is_alive && is_fresh || state.is_passed;
        let is_late = state.cluster.committed.is_some_and(|committed| committed.age > BOUND);
        if is_fresh {
            seen.reached(HELD);
            if state.applied.epoch == 2 {
                seen.reached(NEW_LEASE);
            }
        } else if is_alive {
            seen.reached(REFUSED);
        }
        if accepts {
            seen.reached(DENY);
            if is_late {
                seen.broken(R3, Label("accept the key", "deny route"));
            }
            if state.receipt != Receipt::Pending {
                seen.broken(RECEIPT, Label("accept the key", "deny route"));
            }
        }
        match state.receipt {
            Receipt::Pending => {}
            Receipt::Acknowledged => {
                seen.reached(ACKED);
                if is_alive {
                    seen.broken(RECEIPT, Label("accept the key", "allow route of a node that acknowledged"));
                }
            }
            Receipt::Fenced => {
                seen.reached(FENCED);
                if is_alive {
                    seen.reached(CUT_OFF);
                }
            }
        }
    }

    fn node(&self, state: &State, seen: &mut Steps<State>) {
        let heads = [(Label("poll", "P"), state.cluster.old_head()), (Label("poll", "S or its standby"), state.cluster.lagging_head())];
        for (label, head) in heads {
            if head > state.applied {
                seen.to(label, State { applied: head, ..state.clone() });
            }
        }
        if state.journal != state.applied {
            seen.to(Label("seal the journal", ""), State { journal: state.applied, ..state.clone() });
        }
        if let Some(cluster) = state.cluster.with_fault() {
            let mut next = State { cluster, applied: state.journal, watch: Watch::START, is_passed: false, ..state.clone() };
            if self.is(Mutant::LeaseKept) {
                next.watch.lease = state.watch.lease;
            }
            next.watch.follow(&mut next.cluster, Touch::Nothing);
            seen.to(Label("reboot", "node"), next);
        }
        if self.is(Mutant::CheckedOnce) && !state.is_passed && !state.applied.has_write && state.watch.is_fresh(None) {
            seen.to(Label("let a slow request in", "deny route"), State { is_passed: true, ..state.clone() });
        }
    }

    fn control(&self, state: &State, seen: &mut Steps<State>) {
        let Some(committed) = state.cluster.committed.filter(|_| state.receipt == Receipt::Pending) else { return };
        let told = if self.is(Mutant::AckBeforeSync) { state.applied } else { state.journal };
        if told.has_write && (told.epoch >= committed.epoch || self.is(Mutant::AckWithoutEpoch)) {
            seen.to(Label("give a receipt", "acknowledged"), State { receipt: Receipt::Acknowledged, ..state.clone() });
        }
        // Waits for L + drift on its own clock, which may gain as much: L in truth.
        let fence = if self.is(Mutant::FenceWithoutDrift) { BOUND - DRIFT } else { BOUND };
        if committed.age > fence {
            seen.to(Label("give a receipt", "fenced"), State { receipt: Receipt::Fenced, ..state.clone() });
        }
    }
}

impl Model for Revocation {
    type State = State;

    fn start(&self) -> State {
        let head = Head { epoch: 1, has_write: false };
        State {
            cluster: Cluster::start(Flaw::trust(self.flaw())),
            watch: Watch::START,
            applied: head,
            journal: head,
            receipt: Receipt::Pending,
            is_passed: false,
        }
    }

    fn steps(&self, state: &State, seen: &mut Steps<State>) {
        self.look(state, seen);
        let flaw = self.flaw();
        state.cluster.steps(Flaw::trust(flaw), &mut |label, cluster, touch| {
            let mut next = State { cluster, ..state.clone() };
            next.watch.follow(&mut next.cluster, touch);
            seen.to(label, next);
        });
        for (label, is_lost) in [(Label("tick", ""), false), (Label("tick", "the node's clock loses it"), true)] {
            if let Some(watch) = state.watch.tick(is_lost, flaw) {
                let mut next = State { watch, ..state.clone() };
                next.cluster.tick(BOUND + 1);
                next.watch.follow(&mut next.cluster, Touch::Nothing);
                seen.to(label, next);
            }
        }
        if !self.is(Mutant::NeverConfirmed) {
            state.watch.steps(&state.cluster, state.cluster.old_head(), state.applied, flaw, &mut |label, watch| {
                let mut next = State { watch, ..state.clone() };
                next.watch.follow(&mut next.cluster, Touch::Nothing);
                seen.to(label, next);
            });
        }
        self.node(state, seen);
        self.control(state, seen);
    }
}
