//! What clients were told, and what they saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::load::{FINANCE, HEALTH, SOCIAL};
use crate::claim::Verdict;
use crate::figures::{Durations, share};

/// The number of a change, as its answer named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Revision {
    pub(super) epoch: u64,
    pub(super) authority: u64,
}

/// A change that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) revision: Revision,
}

/// What is known of a key that was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody has tried to revoke it.
    Live,
    /// Somebody tries, or has tried and was not told that it is done: it may be either.
    Open,
    /// Its revocation was acknowledged.
    Revoked,
}

/// A key whose issue was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) issued_at: Instant,
    pub(super) state: State,
}

/// Calls of valid keys on one route.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    pub(super) served: u64,
    pub(super) all: u64,
}

/// One run.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) keys: Vec<Key>,
    pub(super) acknowledged: Vec<Acknowledged>,
    /// Ids of keys whose issue or revocation was acknowledged and is gone.
    pub(super) lost: BTreeSet<String>,
    /// What must never be seen, as sentences.
    pub(super) wrong: Vec<String>,
    /// Since when there is a leader that is not the one of before; none while the load is steady.
    pub(super) struck: Option<Instant>,
    /// When the last blow fell.
    pub(super) blow: Option<Instant>,
    /// Of each node, the newest epoch in which it was told that a change is made, and when it was told first.
    epochs: BTreeMap<usize, (u64, Instant)>,
    /// What each node had applied when it was asked last.
    heads: BTreeMap<usize, Revision>,
    /// Changes that were not acknowledged, by what was said.
    refused: BTreeMap<String, u64>,
    /// Since when changes are made again, and the nodes that have not served a strict route since.
    calm: Option<(Instant, BTreeSet<usize>)>,
    /// How long that took, after each blow and through each node.
    strict_after: Durations,
    /// Looks at revoked keys at the end of the bound.
    pub(super) bounds: u64,
    /// By route, while the load is steady and from a blow until changes are made again.
    calls: BTreeMap<(&'static str, bool), Calls>,
}

pub(super) fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    pub(super) fn acknowledge(&mut self, node: usize, change: Acknowledged) {
        self.acknowledged.push(change);
        let newest = self.epochs.entry(node).or_insert((change.revision.epoch, change.ended));
        if change.revision.epoch > newest.0 {
            *newest = (change.revision.epoch, change.ended);
        }
    }

    pub(super) fn refuse(&mut self, what: String) {
        *self.refused.entry(what).or_default() += 1;
    }

    /// A call of a valid key that began while a leader was missing, or did not.
    pub(super) fn call(&mut self, node: usize, route: &'static str, in_failover: bool, served: bool) {
        let calls = self.calls.entry((route, in_failover)).or_default();
        calls.all += 1;
        calls.served += u64::from(served);
        if let Some((since, nodes)) = &mut self.calm
            && route == FINANCE
            && served
            && !in_failover
            && nodes.remove(&node)
        {
            self.strict_after.add(since.elapsed());
        }
    }

    /// Changes are made again through each of `nodes`.
    pub(super) fn calm(&mut self, nodes: usize) {
        self.struck = None;
        self.calm = Some((Instant::now(), (0..nodes).collect()));
    }

    /// The newest epoch in which anybody was told that a change is made.
    pub(super) fn epoch(&self) -> u64 {
        self.epochs.values().map(|(epoch, _)| *epoch).max().unwrap_or(0)
    }

    /// When each of `nodes` had been told of a change in a later epoch than `epoch`, if all have.
    pub(super) fn made_again(&self, nodes: usize, epoch: u64) -> Option<Instant> {
        let later = self.epochs.values().filter(|(of, _)| *of > epoch).map(|(_, at)| *at);
        let (count, last) = later.fold((0, None), |(count, last), at| (count + 1, last.max(Some(at))));
        last.filter(|_| count == nodes)
    }

    /// What a node has applied never goes back.
    pub(super) fn head(&mut self, node: usize, head: Revision) {
        if let Some(before) = self.heads.insert(node, head)
            && before > head
        {
            self.wrong.push(format!("node {node} went back from {before:?} to {head:?}"));
        }
    }

    /// Acknowledged changes out of order: numbers that were given twice, or that a change has which began only after another, with a higher
    /// one, had been acknowledged.
    pub(super) fn disorder(&self) -> Vec<String> {
        let mut by_number: Vec<_> = self.acknowledged.iter().map(|change| change.revision).collect();
        by_number.sort_unstable();
        let twice = by_number.iter().zip(by_number.iter().skip(1)).filter(|(one, next)| one == next);
        let mut found: Vec<String> = twice.map(|(one, _)| format!("{one:?} was given to two changes")).collect();

        let (mut begun, mut ended): (Vec<_>, Vec<_>) = (self.acknowledged.iter().collect(), self.acknowledged.iter().collect());
        begun.sort_unstable_by_key(|change| change.began);
        ended.sort_unstable_by_key(|change| change.ended);
        let mut ended = ended.into_iter().peekable();
        let mut highest = None;
        for change in begun {
            while let Some(earlier) = ended.next_if(|earlier| earlier.ended < change.began) {
                highest = highest.max(Some(earlier.revision));
            }
            if highest > Some(change.revision) {
                found.push(format!("{:?} was given to a change that began after {highest:?} was acknowledged", change.revision));
            }
        }
        found
    }

    pub(super) fn figures(&self, verdict: &mut Verdict) {
        verdict.figure("acknowledged", self.acknowledged.len());
        verdict.figure("lost", self.lost.len());
        verdict.figure("not_acknowledged", self.refused.values().sum::<u64>());
        for (what, times) in &self.refused {
            eprintln!("  not acknowledged {times} times: {what}");
        }
        verdict.figure("revoked_at_bound", self.bounds);
        verdict.figure("strict_after_p50_ms", self.strict_after.percentile(50));
        verdict.figure("strict_after_max_ms", self.strict_after.percentile(100));
        for (name, route, in_failover) in [
            ("share_social", SOCIAL, true),
            ("share_health", HEALTH, true),
            ("share_finance", FINANCE, true),
            ("steady_share_social", SOCIAL, false),
            ("steady_share_finance", FINANCE, false),
        ] {
            let calls = self.calls.get(&(route, in_failover)).copied().unwrap_or_default();
            verdict.figure(name, format!("{}({})", share(calls.served, calls.all), calls.all));
        }
    }
}
