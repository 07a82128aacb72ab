//! Whether revoked keys were refused when they had to be, and whether receipts told the truth.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

/// How far two clocks of one machine, one of them rounded to milliseconds, may be apart.
const TOLERANCE_US: u64 = 2_000;

/// A run. Times are microseconds from its start, on one clock; keys and nodes are numbered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The names of the nodes, by their numbers.
    pub nodes: Vec<String>,
    /// One for each key.
    pub revocations: Vec<Revocation>,
    /// In any order.
    pub looks: Vec<Look>,
}

/// A key that was revoked, as the client saw it that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which key.
    pub key: u32,
    /// When it was asked for.
    pub sent_us: u64,
    /// When the answer had come, whole.
    pub answered_us: u64,
    /// When the change was made, by the answer.
    pub committed_us: Option<u64>,
    /// What the answer says about where it is in force.
    pub receipt: Option<Receipt>,
}

/// Where a revocation is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Everywhere, on routes that demand confirmed keys.
    pub is_effective: bool,
    /// Since when.
    pub effective_us: Option<u64>,
    /// How long that took, by the receipt.
    pub elapsed_us: Option<u64>,
    /// When nodes that have not answered can have served the key last.
    pub fenced_us: u64,
    /// What is known of each node.
    pub witnesses: Vec<Witness>,
}

/// What a receipt says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Which node; one that the run does not know has the number behind the last.
    pub node: u16,
    /// What it did.
    pub state: WitnessState,
    /// When it said so.
    pub acknowledged_us: Option<u64>,
}

/// What a node did about a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WitnessState {
    /// It has the change.
    Acknowledged,
    /// It cannot have served the key since `fenced_us` where confirmed keys are demanded.
    Fenced,
    /// Neither yet.
    Waiting,
}

/// One request with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Which key.
    pub key: u32,
    /// Through which node.
    pub node: u16,
    /// When it was sent.
    pub began_us: u64,
    /// When the answer had come.
    pub ended_us: u64,
    /// How long a key may be served after its revocation where the request went; without a bound where it may be for as long as the
    /// node is cut off.
    pub bound_us: Option<u64>,
    /// The status; 0 without an answer.
    pub status: u16,
    /// What that means.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The key was accepted, whatever the service made of it.
    Accepted,
    /// 401: the key is none.
    Refused,
    /// 503 `authority-stale`: the node cannot tell.
    Stale,
    /// Something else, which shows neither.
    Other,
}

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A request was sent later than the bound after the revocation's answer, and the key accepted.
    AcceptedAfterBound,
    /// A request was sent after the receipt's fence, and the key accepted.
    AcceptedAfterFence,
    /// A node accepted a key that it had refused before.
    CameBack,
    /// A request was sent after the effect, or to a node after its acknowledgement, by the receipt, and the key accepted.
    AcceptedAfterReceipt,
    /// The receipt says effective, and not since when, or since before the commit or after the answer, or names a node that waits.
    Effective,
    /// A node is said to have acknowledged before the commit, after the effect, or at no moment.
    Acknowledged,
    /// The receipt says that it took longer than the client waited.
    Elapsed,
}

/// One of them, with the key, and the look that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// Which key.
    pub key: u32,
    /// What is wrong.
    pub fault: Fault,
    /// The position of the look, when it is one.
    pub look: Option<usize>,
}

impl History {
    /// Everything in it that breaks a promise.
    ///
    /// A look counts by the moment when it was sent, and the revocation by the moment when its answer had come: what is found
    /// is wrong whatever the ways took.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let by_key = self.looks_by_key();
        for revocation in &self.revocations {
            let looks = by_key.get(&revocation.key).map(Vec::as_slice).unwrap_or_default();
            if let Some(receipt) = &revocation.receipt {
                found.extend(lies(revocation, receipt).into_iter().map(|fault| Violation { key: revocation.key, fault, look: None }));
            }
            let refused = first_refusals(looks);
            for (at, look) in looks.iter().filter(|(_, look)| look.outcome == Outcome::Accepted) {
                let mut faults = too_late(revocation, look);
                if refused.get(&look.node).is_some_and(|refused| look.began_us > *refused) {
                    faults.push(Fault::CameBack);
                }
                found.extend(faults.into_iter().map(|fault| Violation { key: revocation.key, fault, look: Some(*at) }));
            }
        }
        found
    }

    /// Looks that ended before their key's revocation was sent: how many were accepted, and how many there are.
    pub fn served_before(&self) -> (u64, u64) {
        let sent: BTreeMap<u32, u64> = self.revocations.iter().map(|revocation| (revocation.key, revocation.sent_us)).collect();
        let before = || self.looks.iter().filter(|look| sent.get(&look.key).is_some_and(|sent| look.ended_us <= *sent));
        (before().filter(|look| look.outcome == Outcome::Accepted).count() as u64, before().count() as u64)
    }

    /// For each node and key of some, when the first refusal of the key had come; microseconds from the revocation's answer, or from its commit when the answer waited for the effect.
    pub fn took_us(&self, keys: std::ops::Range<u32>) -> BTreeMap<u16, Vec<u64>> {
        let mut took: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        let by_key = self.looks_by_key();
        for revocation in self.revocations.iter().filter(|revocation| keys.contains(&revocation.key)) {
            let origin = if revocation.receipt.is_some() { revocation.committed_us.unwrap_or(revocation.sent_us) } else { revocation.answered_us };
            let looks = by_key.get(&revocation.key).map(Vec::as_slice).unwrap_or_default();
            for (node, refused) in first_refusals(looks) {
                took.entry(node).or_default().push(refused.saturating_sub(origin));
            }
        }
        took
    }

    /// Writes it as JSON, one object a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut *to, &serde_json::json!({ "nodes": self.nodes }))?;
        to.write_all(b"\n")?;
        for revocation in &self.revocations {
            serde_json::to_writer(&mut *to, revocation)?;
            to.write_all(b"\n")?;
        }
        for look in &self.looks {
            serde_json::to_writer(&mut *to, look)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }

    fn looks_by_key(&self) -> BTreeMap<u32, Vec<(usize, &Look)>> {
        let mut by_key: BTreeMap<u32, Vec<(usize, &Look)>> = BTreeMap::new();
        for (at, look) in self.looks.iter().enumerate() {
            by_key.entry(look.key).or_default().push((at, look));
        }
        by_key
    }
}

/// When each node had first refused the key.
fn first_refusals(looks: &[(usize, &Look)]) -> BTreeMap<u16, u64> {
    let mut first: BTreeMap<u16, u64> = BTreeMap::new();
    for (_, look) in looks.iter().filter(|(_, look)| look.outcome == Outcome::Refused) {
        let known = first.entry(look.node).or_insert(look.ended_us);
        *known = look.ended_us.min(*known);
    }
    first
}

/// What is wrong with this look having been accepted.
fn too_late(revocation: &Revocation, look: &Look) -> Vec<Fault> {
    let mut faults = Vec::new();
    if look.bound_us.is_some_and(|bound| look.began_us > revocation.answered_us.saturating_add(bound)) {
        faults.push(Fault::AcceptedAfterBound);
    }
    let Some(receipt) = &revocation.receipt else { return faults };
    if look.bound_us.is_some() && look.began_us > receipt.fenced_us.saturating_add(TOLERANCE_US) {
        faults.push(Fault::AcceptedAfterFence);
    }
    // What it says holds from the moment that it names, and from its own at the latest.
    let since = |at: Option<u64>| at.map_or(revocation.answered_us, |at| at.saturating_add(TOLERANCE_US).min(revocation.answered_us));
    let is_after_effect = receipt.is_effective && look.bound_us.is_some() && look.began_us > since(receipt.effective_us);
    let is_after_word = |witness: &Witness| {
        witness.node == look.node && witness.state == WitnessState::Acknowledged && look.began_us > since(witness.acknowledged_us)
    };
    if is_after_effect || receipt.witnesses.iter().any(is_after_word) {
        faults.push(Fault::AcceptedAfterReceipt);
    }
    faults
}

/// What a receipt says that cannot be.
fn lies(revocation: &Revocation, receipt: &Receipt) -> Vec<Fault> {
    let mut faults = Vec::new();
    let committed = revocation.committed_us.unwrap_or(revocation.sent_us);
    let is_between = |at: u64, least: u64, most: u64| at.saturating_add(TOLERANCE_US) >= least && at <= most.saturating_add(TOLERANCE_US);
    let is_lawful = match (receipt.is_effective, receipt.effective_us) {
        (true, Some(effective)) => {
            is_between(effective, committed, revocation.answered_us)
                && receipt.witnesses.iter().all(|witness| match witness.state {
                    WitnessState::Acknowledged => true,
                    WitnessState::Fenced => effective.saturating_add(TOLERANCE_US) >= receipt.fenced_us,
                    WitnessState::Waiting => false,
                })
        }
        (true, None) | (false, Some(_)) => false,
        (false, None) => true,
    };
    if !is_lawful {
        faults.push(Fault::Effective);
    }
    let until = receipt.effective_us.unwrap_or(revocation.answered_us);
    let is_told = |witness: &Witness| match (witness.state, witness.acknowledged_us) {
        (WitnessState::Acknowledged, Some(at)) => is_between(at, committed, until),
        (WitnessState::Acknowledged, None) => false,
        (WitnessState::Fenced | WitnessState::Waiting, at) => at.is_none(),
    };
    if !receipt.witnesses.iter().all(is_told) {
        faults.push(Fault::Acknowledged);
    }
    let waited = revocation.answered_us.saturating_sub(revocation.sent_us);
    if receipt.elapsed_us.is_some_and(|elapsed| elapsed > waited.saturating_add(TOLERANCE_US)) {
        faults.push(Fault::Elapsed);
    }
    faults
}
