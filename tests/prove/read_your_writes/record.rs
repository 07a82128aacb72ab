//! What sessions have seen.

use std::io::Write;

use harness::history::{self, Action, Op, Violation};
use serde::Serialize;

use super::session::{Door, Ground};

/// Sentences about single mistakes that are kept.
pub(super) const TOLD_MAX: usize = 5;

/// Where an operation went, and where it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    node: u8,
    /// The region that answered, by the answer.
    answered: Option<u8>,
}

impl Place {
    /// The region that answered.
    pub(super) fn answered(self, ground: &Ground) -> Option<&'static str> {
        ground.regions.get(usize::from(self.answered?)).copied()
    }

    /// The region that was asked.
    pub(super) fn asked(self, ground: &Ground) -> &'static str {
        let region = self.door(ground).and_then(|door| ground.regions.get(door.region));
        region.copied().unwrap_or_default()
    }

    /// Whether another region than the one that was asked has answered.
    pub(super) fn is_elsewhere(self, ground: &Ground) -> bool {
        self.answered(ground) != Some(self.asked(ground))
    }

    /// The node that was asked.
    pub(super) fn node(self, ground: &Ground) -> &str {
        self.door(ground).map_or("?", |door| &door.name)
    }

    fn door(self, ground: &Ground) -> Option<&Door> {
        ground.doors.get(usize::from(self.node))
    }

    pub(super) fn of(node: usize, answered: Option<usize>) -> Self {
        Self { node: u8::try_from(node).unwrap_or(u8::MAX), answered: answered.and_then(|region| u8::try_from(region).ok()) }
    }
}

/// What was counted beside the history.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) writes: u64,
    /// Writes that were not answered, or not with an item.
    pub(super) unwritten: u64,
    pub(super) reads: u64,
    /// Reads without any answer.
    pub(super) unanswered: u64,
    /// Answers that ought to bring a token and do not.
    pub(super) without_token: u64,
    /// Reads that were answered with a warning that they may be stale.
    pub(super) marked: u64,
    /// 503 `position-unreached`.
    pub(super) unreached: u64,
    /// Other answers of 500 and more: a region whose service or server is gone.
    pub(super) unavailable: u64,
    /// Answers that nothing in this run explains.
    pub(super) wrong: u64,
    pub(super) told: Vec<String>,
}

impl Tally {
    /// An answer that is no item and no missing item.
    pub(super) fn refused(&mut self, status: u16, body: &[u8], what: impl FnOnce() -> String) {
        #[derive(serde::Deserialize)]
        struct Problem {
            code: String,
        }
        let code = serde_json::from_slice::<Problem>(body).map(|problem| problem.code).unwrap_or_default();
        match (status, code.as_str()) {
            (503, "position-unreached") => self.unreached += 1,
            (500.., _) => self.unavailable += 1,
            _ => self.wrong(|| format!("{} was answered {status} {code}", what())),
        }
    }

    /// Something that must not be.
    pub(super) fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.wrong += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what());
        }
    }

    fn take(&mut self, other: Self) {
        self.writes += other.writes;
        self.unwritten += other.unwritten;
        self.reads += other.reads;
        self.unanswered += other.unanswered;
        self.without_token += other.without_token;
        self.marked += other.marked;
        self.unreached += other.unreached;
        self.unavailable += other.unavailable;
        self.wrong += other.wrong;
        self.told.extend(other.told);
        self.told.truncate(TOLD_MAX);
    }
}

/// Everything of one run.
#[derive(Debug, Default)]
pub(super) struct Record {
    ops: Vec<Op>,
    /// Of each operation.
    places: Vec<Place>,
    pub(super) sessions: u64,
    pub(super) tally: Tally,
}

/// What the checkers found.
#[derive(Debug)]
pub(super) struct Broken {
    /// Reads that miss a write of their own session.
    pub(super) stale: Vec<Violation>,
    /// Reads that show less than an earlier one of their session.
    pub(super) back: Vec<Violation>,
}

impl Record {
    pub(super) fn add(&mut self, op: Op, place: Place) {
        self.ops.push(op);
        self.places.push(place);
    }

    pub(super) fn take(&mut self, other: Self) {
        self.ops.extend(other.ops);
        self.places.extend(other.places);
        self.tally.take(other.tally);
    }

    pub(super) fn broken(&self) -> Broken {
        Broken { stale: history::read_your_writes(&self.ops), back: history::monotonic_reads(&self.ops) }
    }

    /// Each operation with its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Op, Place)> {
        self.ops.iter().zip(self.places.iter().copied())
    }

    /// An operation with its place, by its position in the history.
    pub(super) fn get(&self, at: usize) -> Option<(&Op, Place)> {
        Some((self.ops.get(at)?, *self.places.get(at)?))
    }

    /// Served reads, of all those for which a place holds.
    pub(super) fn served(&self, holds: impl Fn(Place) -> bool) -> u64 {
        self.iter().filter(|(op, place)| op.action == Action::Read && holds(*place)).count() as u64
    }

    /// Writes the history as JSON, one object a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, to: &mut impl Write, run: &str, ground: &Ground) -> std::io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            run: &'a str,
            node: &'a str,
            region: Option<&'a str>,
            #[serde(flatten)]
            op: &'a Op,
        }
        for (op, place) in self.ops.iter().zip(&self.places) {
            serde_json::to_writer(&mut *to, &Line { run, node: place.node(ground), region: place.answered(ground), op })?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}
