//! What sessions have seen, and what is said of it.

use std::io::Write;
use std::time::Duration;

use harness::history::{self, Action, Op, Violation};
use serde::Serialize;

use super::session::Ground;
use crate::claim::Verdict;
use crate::figures::{Durations, share};

/// Sentences about single mistakes that are kept.
const TOLD_MAX: usize = 5;

/// Where an operation went, and where it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    node: u8,
    /// The region that answered, by the answer.
    answered: Option<u8>,
}

impl Place {
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
    unreached: u64,
    /// Other answers of 500 and more: a region whose service or server is gone.
    unavailable: u64,
    /// Answers that nothing in this run explains.
    wrong: u64,
    told: Vec<String>,
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

    /// Served reads, of all those for which a place holds.
    fn served(&self, holds: impl Fn(&Place) -> bool) -> u64 {
        self.ops.iter().zip(&self.places).filter(|(op, place)| op.action == Action::Read && holds(place)).count() as u64
    }

    /// A sentence about each of the first violations.
    pub(super) fn sentences(&self, ground: &Ground, violations: &[Violation]) -> String {
        let tell = |at: usize| {
            let (Some(op), Some(place)) = (self.ops.get(at), self.places.get(at)) else { return String::new() };
            let node = ground.doors.get(usize::from(place.node)).map_or("?", |door| &door.name);
            let region = region(ground, *place).unwrap_or("?");
            format!("{:?} of version {} by {region} through {node} at {} to {} us", op.action, op.version, op.began_us, op.ended_us)
        };
        let of = |violation: &Violation| {
            let op = self.ops.get(violation.broken_by);
            let (session, item) = op.map_or((0, 0), |op| (op.session, op.item));
            format!("session {session}, item {item}: {}; then {}", tell(violation.promised_by), tell(violation.broken_by))
        };
        violations.iter().take(TOLD_MAX).map(of).collect::<Vec<_>>().join("\n    ")
    }

    /// Judges single answers, whatever was sent.
    pub(super) fn judge_answers(&self, verdict: &mut Verdict, run: &str) {
        let Tally { without_token, wrong, told, .. } = &self.tally;
        verdict.trials_of(0, *without_token, || format!("{run}: {without_token} answers came without the token that they ought to bring"));
        verdict.trials_of(0, *wrong, || format!("{run}: {wrong} answers are wrong: {}", told.join("; ")));
    }

    /// Judges the run whose clients sent their tokens.
    pub(super) fn judge(&self, verdict: &mut Verdict, ground: &Ground) {
        let (tally, broken) = (&self.tally, self.broken());
        let failures = (broken.stale.len() + broken.back.len()) as u64;
        verdict.trials_of(tally.reads, failures, || {
            let stale = self.sentences(ground, &broken.stale);
            let back = self.sentences(ground, &broken.back);
            format!("{} stale reads:\n    {stale}\n  and {} that went back:\n    {back}", broken.stale.len(), broken.back.len())
        });
        self.judge_answers(verdict, "with tokens");
        verdict.trials_of(0, tally.marked, || format!("{} reads are said to be stale, on routes that allow none", tally.marked));

        // Refusing everything would keep every promise above, and so would sending everything to the primary.
        let served = self.served(|_| true);
        verdict.trials_of(0, u64::from(served * 10 < tally.reads * 9), || format!("{served} of {} reads were served", tally.reads));
        let here = |place: &Place| region(ground, *place).is_some_and(|answered| answered == asked(ground, *place));
        let mut by_region = Vec::new();
        for (number, name) in ground.regions.iter().enumerate() {
            let answered = self.served(|place| place.answered.map(usize::from) == Some(number));
            let own = self.served(|place| here(place) && place.answered.map(usize::from) == Some(number));
            verdict.trials_of(0, u64::from(own == 0), || format!("{name} has answered none of its own clients' reads"));
            by_region.push(format!("{name}:{answered}"));
        }
        let is_far = |place: &Place| asked(ground, *place) != ground.regions.first().copied().unwrap_or_default();
        let (far, at_home) = (self.served(is_far), self.served(|place| is_far(place) && here(place)));
        verdict
            .trials_of(0, u64::from(at_home * 5 < far), || format!("{at_home} of {far} reads away from the primary were answered where they came"));

        verdict.figure("sessions", self.sessions);
        verdict.figure("writes", tally.writes - tally.unwritten);
        verdict.figure("stale_with_token", broken.stale.len());
        verdict.figure("back_with_token", broken.back.len());
        verdict.figure("served", share(served, tally.reads));
        verdict.figure("served_locally", share(at_home, far));
        verdict.figure("by_region", by_region.join(","));
        verdict.figure("unreached", tally.unreached);
        verdict.figure("unavailable", tally.unavailable + tally.unwritten);
        verdict.figure("unanswered", tally.unanswered);
        verdict.figure("without_token", tally.without_token);
        self.times(verdict, |place| is_far(place) && here(place));
    }

    fn times(&self, verdict: &mut Verdict, is_local: impl Fn(&Place) -> bool) {
        let (mut local, mut elsewhere, mut writes) = (Durations::default(), Durations::default(), Durations::default());
        for (op, place) in self.ops.iter().zip(&self.places) {
            let took = Duration::from_micros(op.ended_us.saturating_sub(op.began_us));
            match op.action {
                Action::Write => writes.add(took),
                Action::Read if is_local(place) => local.add(took),
                Action::Read => elsewhere.add(took),
            }
        }
        let names = [["local_p50_ms", "local_p99_ms"], ["elsewhere_p50_ms", "elsewhere_p99_ms"], ["write_p50_ms", "write_p99_ms"]];
        for (durations, names) in [local, elsewhere, writes].iter().zip(names) {
            for (name, percent) in names.into_iter().zip([50, 99]) {
                verdict.figure(name, durations.percentile(percent));
            }
        }
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
            let node = ground.doors.get(usize::from(place.node)).map_or("?", |door| &door.name);
            serde_json::to_writer(&mut *to, &Line { run, node, region: region(ground, *place), op })?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// The region that answered.
fn region(ground: &Ground, place: Place) -> Option<&'static str> {
    ground.regions.get(usize::from(place.answered?)).copied()
}

/// The region that was asked.
fn asked(ground: &Ground, place: Place) -> &'static str {
    let door = ground.doors.get(usize::from(place.node));
    door.and_then(|door| ground.regions.get(door.region)).copied().unwrap_or_default()
}
