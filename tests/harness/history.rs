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
///
/// This and the two below take `n log n` steps for `n` operations, and answer in the order of the reads.
pub fn read_your_writes(history: &[Op]) -> Vec<Violation> {
    broken(history, |op| (op.session, op.item), Action::Write, 0)
}

/// Reads that show less than an earlier read of the same session.
pub fn monotonic_reads(history: &[Op]) -> Vec<Violation> {
    broken(history, |op| (op.session, op.item), Action::Read, 0)
}

/// Reads that miss a write, of any session, acknowledged more than `bound` before the read began.
pub fn bounded_staleness(history: &[Op], bound: Duration) -> Vec<Violation> {
    let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    broken(history, |op| op.item, Action::Write, bound_us.saturating_add(1))
}

/// For each read, the strongest operation of the kind `by`, among those of the same `key`, that had ended `before_us` before the read began
/// or earlier; a violation when the read shows less.
fn broken<K: Ord>(history: &[Op], key: impl Fn(&Op) -> K, by: Action, before_us: u64) -> Vec<Violation> {
    let of = |action: Action| history.iter().enumerate().filter(move |(_, op)| op.action == action);
    let mut promises: Vec<(usize, &Op)> = of(by).collect();
    promises.sort_by_key(|(_, op)| (key(op), op.ended_us));
    let mut reads: Vec<(usize, &Op)> = of(Action::Read).collect();
    reads.sort_by_key(|(_, op)| (key(op), op.began_us));

    let mut promises = promises.into_iter().peekable();
    let mut strongest: Option<(usize, &Op)> = None;
    let mut violations = Vec::new();
    for (at, read) in reads {
        let group = key(read);
        strongest = strongest.filter(|(_, op)| key(op) == group);
        // What belongs to a smaller key is passed over: nobody has read that thing since.
        while let Some((promised_by, op)) =
            promises.next_if(|(_, op)| key(op).cmp(&group).then_with(|| op.ended_us.saturating_add(before_us).cmp(&read.began_us)).is_le())
        {
            if key(op) == group && strongest.is_none_or(|(_, known)| op.version >= known.version) {
                strongest = Some((promised_by, op));
            }
        }
        if let Some((promised_by, _)) = strongest.filter(|(_, op)| op.version > read.version) {
            violations.push(Violation { promised_by, broken_by: at });
        }
    }
    violations.sort_by_key(|violation| violation.broken_by);
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
