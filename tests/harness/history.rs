//! What a recorded run proves: checkers over histories, each tested on histories with planted violations.

pub mod revocation;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One finished operation of a client, one JSON object a line when written to a file. Times count from the run's start on
/// one clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// The client session.
    pub session: u32,
    /// What it did.
    pub action: Action,
    /// The thing it did it to.
    pub item: u32,
    /// The version written, or the version that was read.
    pub version: u64,
    /// When it was sent, in microseconds.
    pub began_us: u64,
    /// When its answer had come, in microseconds.
    pub ended_us: u64,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was acknowledged.
    Write,
    /// It was answered.
    Read,
}

/// A broken promise, by the positions of the operations that show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The operation that set the promise.
    pub promised_by: usize,
    /// The read that broke it.
    pub broken_by: usize,
}

/// Reads that do not reflect an earlier write of the same session.
pub fn read_your_writes(history: &[Op]) -> Vec<Violation> {
    session_floor(history, Action::Write)
}

/// Reads that show less than an earlier read of the same session.
pub fn monotonic_reads(history: &[Op]) -> Vec<Violation> {
    session_floor(history, Action::Read)
}

/// Reads that miss a write, of any session, acknowledged more than `bound` before the read began.
pub fn bounded_staleness(history: &[Op], bound: Duration) -> Vec<Violation> {
    let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    let floor = |read: &Op, op: &Op| op.action == Action::Write && op.ended_us.saturating_add(bound_us) < read.began_us;
    broken(history, floor)
}

fn session_floor(history: &[Op], by: Action) -> Vec<Violation> {
    broken(history, |read, op| op.action == by && op.session == read.session && op.ended_us <= read.began_us)
}

/// For each read, the strongest operation on the same item that `floor` selects; a violation when the read shows less.
fn broken(history: &[Op], floor: impl Fn(&Op, &Op) -> bool) -> Vec<Violation> {
    let mut by_item: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, op) in history.iter().enumerate() {
        by_item.entry(op.item).or_default().push(at);
    }
    let mut violations = Vec::new();
    for ops in by_item.values() {
        let reads = ops.iter().filter_map(|at| Some((*at, history.get(*at)?)));
        for (at, read) in reads.filter(|(_, op)| op.action == Action::Read) {
            let strongest = ops
                .iter()
                .filter_map(|other| Some((*other, history.get(*other)?)))
                .filter(|(other, op)| *other != at && floor(read, op))
                .max_by_key(|(_, op)| op.version);
            if let Some((promised_by, _)) = strongest.filter(|(_, op)| op.version > read.version) {
                violations.push(Violation { promised_by, broken_by: at });
            }
        }
    }
    violations
}

/// Keys that were dispatched more than once, with how often.
pub fn dispatched_twice<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, u64)> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts.into_iter().filter(|(_, n)| *n > 1).collect()
}

/// How the audit log compares with the answers that clients hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Answers received whole.
    pub acknowledged: u64,
    /// Of these, request ids without an outcome record.
    pub missing: Vec<String>,
    /// Request ids, acknowledged or not, with more than one outcome record.
    pub doubled: Vec<String>,
}

impl AuditVerdict {
    /// Missing and doubled together.
    pub fn failures(&self) -> u64 {
        (self.missing.len() + self.doubled.len()) as u64
    }
}

/// Compares the request ids of answers received whole with the number of outcome records of each request id.
///
/// A record without an answer is lawful: the answer may have been lost on its way.
pub fn audit(acknowledged: &[String], recorded: &BTreeMap<String, u64>) -> AuditVerdict {
    let mut verdict = AuditVerdict { acknowledged: acknowledged.len() as u64, ..AuditVerdict::default() };
    for id in acknowledged {
        if !recorded.contains_key(id) {
            verdict.missing.push(id.clone());
        }
    }
    for (id, n) in recorded {
        if *n > 1 {
            verdict.doubled.push(id.clone());
        }
    }
    verdict.missing.sort();
    verdict.doubled.sort();
    verdict
}

/// One look at a key through one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// When the request was sent.
    pub began: Duration,
    /// Whether it was served (or refused for the key).
    pub served: Served,
}

/// Whether a key was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Accepted.
    Yes,
    /// Refused for the key.
    No,
}

/// Looks that fall back: after a run of looks has once shown `settled`, every later one must. Returns their positions.
pub fn falls_back(sights: &[Sight], settled: Served) -> Vec<usize> {
    let first = sights.iter().position(|sight| sight.served == settled);
    let Some(first) = first else {
        return Vec::new();
    };
    (first..sights.len()).filter(|at| sights.get(*at).is_some_and(|sight| sight.served != settled)).collect()
}
