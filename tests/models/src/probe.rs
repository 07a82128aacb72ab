//! Confirmed probes: how a node knows, by its own clock, since when what it knows has been the truth.
//!
//! Stands for "Confirmed probe" of the design. A node notes its time `T0`, reads the primary that it believes in, and believes the
//! answer once that server has shown that its quorum still followed it after the read. Time is true ticks; a node's clock may lose one
//! tick in the life of a bound ([`DRIFT`]). Only ages are kept, so a run has no last moment.

use crate::check::Label;
use crate::cluster::{Cluster, Head, Touch, Trust};

/// The bound that a route asks for, in true ticks.
pub(crate) const BOUND: u8 = 2;
/// The ticks that a node's clock may lose within it.
pub(crate) const DRIFT: u8 = 1;

/// One mistake with probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A probe counts when it is answered.
    Unconfirmed,
    /// `acked >= k` confirms.
    AckedSeen,
    /// `acked >= k + 1` confirms.
    AckedNext,
    /// The confirmation may be read from the server after it has restarted.
    AnyIncarnation,
    /// The settings are compared as they are at both ends, and may have been others between.
    SettingsByValue,
    /// The bound counts from the confirmation.
    FromTheEnd,
    /// Ages are taken from the wall clock.
    WallClock,
    /// Ages are taken from a clock that stands still while the machine sleeps.
    SleepingClock,
    /// The node's bound is the route's, as if no clock lost a tick.
    NoDrift,
    /// A probe counts before what it saw is applied.
    Unapplied,
    /// See [`Trust`].
    Cluster(Trust),
}

impl Flaw {
    /// What of the servers is taken for granted.
    pub(crate) fn trust(flaw: Option<Self>) -> Trust {
        if let Some(Self::Cluster(trust)) = flaw { trust } else { Trust::Sound }
    }
}

/// An age by the node's clock, and the ticks that the clock has lost since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Timer {
    pub(crate) age: u8,
    lost: u8,
}

impl Timer {
    const NOW: Self = Self { age: 0, lost: 0 };

    /// Its clock's next tick, or one that the clock loses; `None` when it has lost too many.
    fn tick(self, is_lost: bool, flaw: Option<Flaw>) -> Option<Self> {
        if !is_lost {
            Some(Self { age: self.age.min(BOUND) + 1, ..self })
        } else if flaw == Some(Flaw::SleepingClock) {
            Some(self)
        } else {
            (self.lost < DRIFT).then_some(Self { lost: self.lost + 1, ..self })
        }
    }
}

/// A probe under way. One at a time: that they overlap serves availability alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Probe {
    Idle,
    Sent(Timer),
    /// Answered by `P`; it has restarted, or read its settings again, since.
    Old {
        at: Timer,
        saw: Head,
        is_restarted: bool,
        is_reloaded: bool,
    },
    /// Answered by `S` after its promotion, whose own quorum is not modelled: always confirmed.
    New {
        at: Timer,
        saw: Head,
    },
}

/// What a node knows about the age of what it knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    /// Since the start of the newest confirmed probe whose revision is applied.
    pub(crate) lease: Option<Timer>,
    probe: Probe,
}

impl Watch {
    pub(crate) const START: Self = Self { lease: None, probe: Probe::Idle };

    /// The bound by the node's own clock: shorter by what the clock may lose.
    fn limit(flaw: Option<Flaw>) -> u8 {
        if flaw == Some(Flaw::NoDrift) { BOUND } else { BOUND - DRIFT }
    }

    /// Whether what is applied may be relied on.
    pub(crate) fn is_fresh(&self, flaw: Option<Flaw>) -> bool {
        self.lease.is_some_and(|lease| lease.age <= Self::limit(flaw))
    }

    /// Forgets heartbeats that no probe looks at, and tells the probe what happened to its server.
    pub(crate) fn follow(&mut self, cluster: &mut Cluster, touch: Touch) {
        match &mut self.probe {
            Probe::Old { is_restarted, is_reloaded, .. } => {
                *is_restarted |= touch == Touch::Restarted;
                *is_reloaded |= touch == Touch::Reloaded;
            }
            Probe::Idle | Probe::Sent(_) | Probe::New { .. } => cluster.count_from_here(),
        }
    }

    /// A tick of the node's clock, or one that it loses.
    pub(crate) fn tick(&self, is_lost: bool, flaw: Option<Flaw>) -> Option<Self> {
        let lease = match self.lease {
            Some(lease) => Some(lease.tick(is_lost, flaw)?).filter(|lease| lease.age <= Self::limit(flaw)),
            None => None,
        };
        let is_old = |at: Timer| at.age > Self::limit(flaw) && flaw != Some(Flaw::FromTheEnd);
        let probe = match self.probe {
            Probe::Idle => Probe::Idle,
            Probe::Sent(at) => Probe::Sent(at.tick(is_lost, flaw)?),
            Probe::Old { at, saw, is_restarted, is_reloaded } => Probe::Old { at: at.tick(is_lost, flaw)?, saw, is_restarted, is_reloaded },
            Probe::New { at, saw } => Probe::New { at: at.tick(is_lost, flaw)?, saw },
        };
        let (Probe::Sent(at) | Probe::Old { at, .. } | Probe::New { at, .. }) = probe else { return Some(Self { lease, probe }) };
        Some(Self { lease, probe: if is_old(at) { Probe::Idle } else { probe } })
    }

    /// Whether what `P` shows now confirms a probe that it answered.
    fn confirms(cluster: &Cluster, is_restarted: bool, is_reloaded: bool, flaw: Option<Flaw>) -> bool {
        // The probe saw heartbeat 1.
        let acked_from = match flaw {
            Some(Flaw::Unconfirmed) => 0,
            Some(Flaw::AckedSeen) => 1,
            Some(Flaw::AckedNext) => 2,
            _ => 3,
        };
        let is_same_server = !is_restarted || flaw == Some(Flaw::AnyIncarnation);
        let is_same_settings = match flaw {
            Some(Flaw::SettingsByValue) => cluster.is_synchronous,
            Some(Flaw::Cluster(Trust::Asynchronous)) => true,
            _ => !is_reloaded,
        };
        // A standby of `S` shows the heartbeats of `S`, which go on from where `S` was: as many as one likes.
        is_same_server && is_same_settings && (cluster.is_rejoined || cluster.shown_acked >= acked_from)
    }

    /// What the node can do about probes. `position` is what `P` answers one with, `applied` what the answers are held against.
    pub(crate) fn steps(&self, cluster: &Cluster, position: Head, applied: Head, flaw: Option<Flaw>, to: &mut impl FnMut(Label, Self)) {
        let with = |probe| Self { probe, ..self.clone() };
        match self.probe {
            Probe::Idle => to(Label("start a probe", ""), with(Probe::Sent(Timer::NOW))),
            Probe::Sent(at) => {
                let is_counted = cluster.is_synchronous || flaw == Some(Flaw::Cluster(Trust::Asynchronous));
                if !cluster.is_rejoined && is_counted {
                    to(Label("read for the probe", "P"), with(Probe::Old { at, saw: position, is_restarted: false, is_reloaded: false }));
                }
                if cluster.is_promoted {
                    to(Label("read for the probe", "S"), with(Probe::New { at, saw: cluster.new_head() }));
                }
            }
            Probe::Old { at, saw, is_restarted, is_reloaded } => {
                to(Label("give up the probe", ""), with(Probe::Idle));
                if Self::confirms(cluster, is_restarted, is_reloaded, flaw) {
                    self.confirm(at, saw, applied, flaw, to);
                }
            }
            Probe::New { at, saw } => {
                to(Label("give up the probe", ""), with(Probe::Idle));
                self.confirm(at, saw, applied, flaw, to);
            }
        }
        if flaw == Some(Flaw::WallClock) {
            let lease = self.lease.map(|_| Timer::NOW);
            to(Label("step back by an hour", "wall clock"), Self { lease, ..self.clone() });
        }
    }

    fn confirm(&self, at: Timer, saw: Head, applied: Head, flaw: Option<Flaw>, to: &mut impl FnMut(Label, Self)) {
        let is_applied = saw.epoch == applied.epoch && saw.has_write <= applied.has_write;
        if !is_applied && flaw != Some(Flaw::Unapplied) {
            return;
        }
        let at = if flaw == Some(Flaw::FromTheEnd) { Timer::NOW } else { at };
        let lease = Some(self.lease.filter(|lease| (lease.age + lease.lost) < (at.age + at.lost)).unwrap_or(at));
        to(Label("confirm the probe", ""), Self { lease, probe: Probe::Idle });
    }
}
