//! Two database servers with synchronous replication: the primary `P`, and the standby `S` that its commits wait for.
//!
//! Stands for "Confirmed probe" and "Promotion" of the design. The quorum is the smallest that intersects every set that may be
//! promoted: the one standby. `S` may be promoted at any moment, also while `P` lives and still answers (split brain); later `P` may
//! come back as a standby of `S`. One write is watched (a revocation, or a row of a service); heartbeats run beside it without end.
//!
//! PostgreSQL as it is: a commit is visible on the primary, and returns, after the standby has it; it may be visible on the standby
//! before. A canceled wait, and a restart, make a commit visible that the standby may never get. Without a synchronous standby in its
//! settings the primary waits for nothing. The acknowledgement is on its way for as long as it likes: a partition or a promotion
//! behind it does not call it back.
//!
//! Heartbeats are counted from the probe that looks at them, so that they need no end: the one that the probe saw is 1.

use crate::check::Label;

/// The youngest heartbeat that is written while a probe looks: one more than the confirmation needs.
const HEARTBEAT_MAX: u8 = 5;
/// Faults in one run: canceled commits, restarts, changes of settings, reboots. Partitions and the promotion are not counted.
pub(crate) const FAULTS: u8 = 3;
/// The longest tail of the log that the standby lacks: one heartbeat, the write, its barrier.
const TAIL: usize = 3;

/// What the log holds that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Entry {
    Heartbeat,
    Write,
    Barrier,
}

/// The write, as its writer at `P` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Write {
    Unwritten,
    /// Its commit has not returned; `P` does not show it.
    Waiting,
    /// Visible at `P`; whether the standby has it is not known (T6).
    Unknown,
    /// The same, and a barrier commit behind it has not returned.
    Barred,
    /// It, or a barrier behind it, returned cleanly.
    Clean,
}

/// The heartbeat under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Beat {
    number: u8,
    /// The last one whose commit had returned cleanly when this one was written.
    acked: u8,
    is_replicated: bool,
}

/// The committed write, for the invariants alone: no node reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Committed {
    pub(crate) epoch: u8,
    /// True ticks since its commit was acknowledged.
    pub(crate) age: u8,
}

/// What a server shows: its epoch, and whether it has the write. Later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Head {
    pub(crate) epoch: u8,
    pub(crate) has_write: bool,
}

/// What of the servers a mutant takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Nothing that is not so.
    Sound,
    /// A canceled heartbeat counts as clean.
    CanceledBeats,
    /// A canceled write counts as committed.
    CanceledWrites,
    /// No commit waits for the standby, and nobody asks whether it does.
    Asynchronous,
}

/// The two servers.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and a state is compared whole")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Cluster {
    pub(crate) is_linked: bool,
    pub(crate) is_promoted: bool,
    /// `P` is a standby of `S`.
    pub(crate) is_rejoined: bool,
    /// Whether commits of `P` wait, by its settings.
    pub(crate) is_synchronous: bool,
    tail: [Option<Entry>; TAIL],
    beat: Option<Beat>,
    /// The newest heartbeat that `P` shows.
    shown: u8,
    /// What that row says about clean commits.
    pub(crate) shown_acked: u8,
    /// The last clean one, as the writer of heartbeats knows it.
    clean: u8,
    pub(crate) write: Write,
    /// Whether `S` has the write.
    pub(crate) has_write: bool,
    /// What a lagging standby of `S` shows after the promotion.
    pub(crate) lagging: bool,
    pub(crate) committed: Option<Committed>,
    pub(crate) faults: u8,
}

/// What a step of the servers does to a probe that looks at `P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    Nothing,
    Restarted,
    Reloaded,
}

impl Cluster {
    pub(crate) fn start(trust: Trust) -> Self {
        Self {
            is_linked: true,
            is_promoted: false,
            is_rejoined: false,
            is_synchronous: trust != Trust::Asynchronous,
            tail: [None; TAIL],
            beat: None,
            shown: 1,
            shown_acked: 0,
            clean: 1,
            write: Write::Unwritten,
            has_write: false,
            lagging: false,
            committed: None,
            faults: FAULTS,
        }
    }

    /// What `P` shows to a reader.
    pub(crate) fn old_head(&self) -> Head {
        if self.is_rejoined { self.new_head() } else { Head { epoch: 1, has_write: self.write >= Write::Unknown } }
    }

    /// What lies before the position that `P` inserts at: what it shows, and what waits.
    pub(crate) fn old_position(&self) -> Head {
        Head { epoch: 1, has_write: self.write >= Write::Waiting }
    }

    /// What `S` shows to a reader.
    pub(crate) fn new_head(&self) -> Head {
        Head { epoch: if self.is_promoted { 2 } else { 1 }, has_write: self.has_write }
    }

    /// What a reader of the other region finds: `S` before its promotion, then a standby of it that may lag.
    pub(crate) fn lagging_head(&self) -> Head {
        if self.is_promoted { Head { epoch: 2, has_write: self.lagging } } else { self.new_head() }
    }

    /// Counts heartbeats from the one that is shown now.
    pub(crate) fn count_from_here(&mut self) {
        let clean = self.clean;
        let was_clean = self.clean == self.shown;
        if let Some(beat) = &mut self.beat {
            beat.acked = u8::from(was_clean && beat.acked == clean);
            beat.number = 2;
        }
        (self.clean, self.shown, self.shown_acked) = (u8::from(was_clean), 1, 0);
    }

    /// A true tick passes.
    pub(crate) fn tick(&mut self, age_max: u8) {
        if let Some(committed) = &mut self.committed {
            committed.age = age_max.min(committed.age + 1);
        }
    }

    /// Uses up one fault.
    pub(crate) fn with_fault(&self) -> Option<Self> {
        (self.faults > 0).then(|| Self { faults: self.faults - 1, ..self.clone() })
    }

    /// Everything that the servers and those who write to them can do.
    pub(crate) fn steps(&self, trust: Trust, to: &mut impl FnMut(Label, Self, Touch)) {
        if !self.is_promoted {
            to(Label("partition or heal", "P-S"), Self { is_linked: !self.is_linked, ..self.clone() }, Touch::Nothing);
            let next = Self { is_promoted: true, is_linked: false, tail: [None; TAIL], lagging: self.has_write, ..self.clone() };
            to(Label("promote", "S"), next, Touch::Nothing);
            self.replicate(to);
        } else if !self.is_rejoined {
            let next = Self { is_rejoined: true, beat: None, shown_acked: 0, ..self.clone() };
            to(Label("come back as a standby", "P"), next, Touch::Restarted);
        }
        if self.is_promoted {
            if self.committed.is_none() {
                let committed = Some(Committed { epoch: 2, age: 0 });
                to(Label("commit the write", "S"), Self { has_write: true, committed, ..self.clone() }, Touch::Nothing);
            }
            if self.lagging != self.has_write {
                to(Label("replay", "standby of S"), Self { lagging: self.has_write, ..self.clone() }, Touch::Nothing);
            }
        }
        if !self.is_rejoined {
            self.beats(trust, to);
            self.writes(trust, to);
            self.faults(to);
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.is_promoted {
            return;
        }
        if let Some(place) = self.tail.iter_mut().find(|place| place.is_none()) {
            *place = Some(entry);
        }
    }

    /// Takes an entry out of the tail that nobody looks at any more.
    fn forget(&mut self, entry: Entry) {
        let kept: Vec<Entry> = self.tail.iter().flatten().copied().filter(|kept| *kept != entry).collect();
        self.tail = std::array::from_fn(|at| kept.get(at).copied());
    }

    fn replicate(&self, to: &mut impl FnMut(Label, Self, Touch)) {
        let [Some(first), second, third] = self.tail else { return };
        if !self.is_linked {
            return;
        }
        let mut next = Self { tail: [second, third, None], ..self.clone() };
        match first {
            Entry::Heartbeat => {
                if let Some(beat) = &mut next.beat {
                    beat.is_replicated = true;
                }
            }
            Entry::Write => next.has_write = true,
            Entry::Barrier => next.commit(),
        }
        to(Label("replicate", "P to S"), next, Touch::Nothing);
    }

    fn commit(&mut self) {
        self.write = Write::Clean;
        self.committed.get_or_insert(Committed { epoch: 1, age: 0 });
    }

    fn beats(&self, trust: Trust, to: &mut impl FnMut(Label, Self, Touch)) {
        let Some(beat) = self.beat else {
            if self.shown < HEARTBEAT_MAX {
                let mut next = self.clone();
                next.beat = Some(Beat { number: self.shown + 1, acked: self.clean, is_replicated: false });
                next.push(Entry::Heartbeat);
                to(Label("write a heartbeat", "P"), next, Touch::Nothing);
            }
            return;
        };
        let mut next = Self { beat: None, shown: beat.number, shown_acked: beat.acked, ..self.clone() };
        next.forget(Entry::Heartbeat);
        if beat.is_replicated || !self.is_synchronous {
            to(Label("return from the heartbeat's commit", "P"), Self { clean: beat.number, ..next }, Touch::Nothing);
        } else if self.faults > 0 {
            next.faults -= 1;
            if trust == Trust::CanceledBeats {
                next.clean = beat.number;
            }
            to(Label("cancel the heartbeat's commit", "P"), next, Touch::Nothing);
        }
    }

    fn writes(&self, trust: Trust, to: &mut impl FnMut(Label, Self, Touch)) {
        let mut next = self.clone();
        match self.write {
            Write::Unwritten => {
                next.push(Entry::Write);
                // Without a synchronous standby a commit says nothing about what survives: to a careful writer it is unknown.
                next.write = if self.is_synchronous { Write::Waiting } else { Write::Unknown };
                if trust == Trust::Asynchronous {
                    next.commit();
                }
                to(Label("write", "P"), next, Touch::Nothing);
            }
            Write::Waiting if self.has_write && self.committed.is_none() => {
                next.commit();
                to(Label("return from the write's commit", "P"), next, Touch::Nothing);
            }
            Write::Waiting => {
                let Some(mut next) = self.with_fault() else { return };
                next.write = Write::Unknown;
                if trust == Trust::CanceledWrites {
                    next.commit();
                }
                to(Label("cancel the write's commit", "P"), next, Touch::Nothing);
            }
            Write::Unknown if self.is_synchronous && !self.is_promoted => {
                next.write = Write::Barred;
                next.push(Entry::Barrier);
                to(Label("write a barrier behind it", "P"), next, Touch::Nothing);
            }
            Write::Unknown | Write::Barred | Write::Clean => {}
        }
    }

    fn faults(&self, to: &mut impl FnMut(Label, Self, Touch)) {
        let Some(mut next) = self.with_fault() else { return };
        let is_off = self.is_synchronous;
        // Who waits is let go, and is told nothing.
        if is_off {
            next.let_go();
        }
        to(Label("change the synchronous settings", "P"), Self { is_synchronous: !is_off, ..next.clone() }, Touch::Reloaded);
        next = Self { is_synchronous: self.is_synchronous, ..next };
        next.let_go();
        if let Some(beat) = next.beat.take() {
            next.forget(Entry::Heartbeat);
            (next.shown, next.shown_acked) = (beat.number, beat.acked);
        }
        to(Label("restart", "P"), next, Touch::Restarted);
    }

    fn let_go(&mut self) {
        if matches!(self.write, Write::Waiting | Write::Barred) {
            self.write = Write::Unknown;
            self.forget(Entry::Barrier);
        }
    }
}
