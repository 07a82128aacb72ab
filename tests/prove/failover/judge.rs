//! Judges one promotion by what clients have asked and were answered, and by what the promoted database has. What the gateway says of
//! itself plays no part.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::record::{Act, Entry, Mode, NODES, Said, Way};

#[cfg(test)]
mod tests;

/// What is judged.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) entries: &'a [Entry],
    /// The names of all items that the promoted database has, by itself.
    pub(super) truth: &'a HashSet<String>,
    /// When the promotion was ordered.
    pub(super) promoted_us: u64,
    /// The region of the server that was promoted.
    pub(super) region: &'a str,
    /// Writes that were known to the standby before it was cut off: what has provably survived.
    pub(super) kept: &'a [Arc<str>],
    /// Nodes can prove that it has. When they cannot, they may call it lost.
    pub(super) is_proved: bool,
    /// When every node had told a loss on every route: from here on nothing is said for want of knowledge.
    pub(super) settled_us: u64,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// A sentence for each broken promise.
    pub(super) broken: Vec<String>,
    /// Writes whose tokens are above the fork.
    pub(super) lost: u64,
    /// Of these, those whose loss every way told that was asked, in the end.
    pub(super) reported: u64,
    /// Answers that passed a lost write over in silence.
    pub(super) silent: u64,
    /// Writes whose tokens were to be served.
    pub(super) survivors: u64,
    /// Of these, those that every way served that was asked, in the end.
    pub(super) served: u64,
    /// Answers that told a loss of what has survived, where that may be.
    pub(super) in_vain: u64,
    /// From the order to promote until a write was acknowledged that the promoted database has.
    pub(super) again_us: Option<u64>,
}

/// When a node has shown by its own answers that it knows of the promotion.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// It told a loss.
    loss_us: u64,
    /// It told a loss, or a write was acknowledged in the promoted server's region.
    any_us: u64,
}

pub(super) fn judge(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    let seen: Vec<Seen> = (0..NODES).map(|node| case.seen(node)).collect();
    for entry in case.entries {
        let Some(seen) = seen.get(entry.way.node) else { continue };
        if let Some(why) = case.wrong(entry, *seen) {
            found.silent += u64::from(why == SILENT);
            found.broken.push(format!("{why}: {}", entry.told()));
        }
        found.in_vain += u64::from(case.is_in_vain(entry));
        found.again_us = found.again_us.into_iter().chain(case.again(entry)).min();
    }
    case.ends(&mut found);
    found
}

const SILENT: &str = "a lost write is passed over in silence";

impl Case<'_> {
    fn has(&self, name: &str) -> bool {
        self.truth.contains(name)
    }

    /// Whether the token of a request is above the fork.
    fn is_lost(&self, entry: &Entry) -> bool {
        entry.has.as_deref().is_some_and(|has| !self.has(has))
    }

    fn seen(&self, node: usize) -> Seen {
        let first = |is_sign: &dyn Fn(&Entry) -> bool| {
            let signs = self.entries.iter().filter(|entry| entry.way.node == node && entry.ended_us > self.promoted_us && is_sign(entry));
            signs.map(|entry| entry.ended_us).min().unwrap_or(u64::MAX)
        };
        let loss_us = first(&|entry| entry.is_told() && self.is_of_this(entry));
        Seen { loss_us, any_us: loss_us.min(first(&|entry| entry.is_acknowledged() && entry.region == self.region)) }
    }

    /// Whether a loss is of this promotion: tokens of earlier ones are told from the beginning.
    fn is_of_this(&self, entry: &Entry) -> bool {
        let is_written_here = |name: &str| self.entries.iter().any(|entry| matches!(&entry.act, Act::Write(written) if &**written == name));
        self.is_lost(entry) && entry.has.as_deref().is_some_and(is_written_here)
    }

    /// What is wrong with an answer by itself, and by what its node had shown before it was asked.
    fn wrong(&self, entry: &Entry, seen: Seen) -> Option<&'static str> {
        if entry.said == Said::Odd {
            return Some("nothing explains this answer");
        }
        // The history is of requests that began while it was still to come, too.
        let is_after = |since: u64| entry.began_us > since;
        if entry.is_acknowledged()
            && let Act::Write(name) = &entry.act
            && !self.has(name)
            && is_after(seen.any_us)
        {
            return Some("a write is acknowledged that the promoted database does not have, after its node knew");
        }
        if let (Act::Write(name), Said::Refused) = (&entry.act, entry.said)
            && self.has(name)
        {
            return Some("a write was refused, and sent all the same");
        }
        if self.is_lost(entry) { wrong_of_lost(entry, seen) } else { self.wrong_of_kept(entry) }
    }

    fn wrong_of_kept(&self, entry: &Entry) -> Option<&'static str> {
        let has = entry.has.as_ref()?;
        match entry.said {
            Said::Refused | Said::Lost if !self.may_be_in_vain(has) => Some("what has survived is told to be lost"),
            Said::Served if entry.act == Act::Read && !entry.shows_own() => Some("what has survived is not shown to its writer"),
            Said::Refused | Said::Lost | Said::Warned | Said::Served | Said::Unavailable | Said::Odd => None,
        }
    }

    /// Whether what has survived may be told to be lost all the same: nothing proves it, or the promoted server took it before its epoch was
    /// known.
    fn may_be_in_vain(&self, name: &Arc<str>) -> bool {
        let is_its = |entry: &&Entry| matches!(&entry.act, Act::Write(written) if written == name);
        let is_early = |entry: &Entry| entry.ended_us > self.promoted_us && entry.began_us < self.settled_us;
        !self.is_proved || (self.entries.iter().find(is_its).is_some_and(is_early) && !self.kept.contains(name))
    }

    fn is_in_vain(&self, entry: &Entry) -> bool {
        entry.is_told() && entry.has.as_ref().is_some_and(|has| self.has(has) && self.may_be_in_vain(has))
    }

    /// From the promotion to a write that lasts.
    fn again(&self, entry: &Entry) -> Option<u64> {
        let Act::Write(name) = &entry.act else { return None };
        let lasts = entry.is_acknowledged() && entry.ended_us > self.promoted_us && self.has(name) && !self.kept.contains(name);
        lasts.then(|| entry.ended_us - self.promoted_us)
    }

    /// What each way has said at last about each token.
    fn ends(&self, found: &mut Found) {
        let mut ends: BTreeMap<&str, BTreeMap<Way, &Entry>> = BTreeMap::new();
        let asked = self.entries.iter().filter(|entry| entry.act == Act::Read && entry.ended_us > self.promoted_us);
        for entry in asked {
            let Some(has) = entry.has.as_deref() else { continue };
            let last = ends.entry(has).or_default().entry(entry.way).or_insert(entry);
            if last.ended_us <= entry.ended_us {
                *last = entry;
            }
        }
        for (name, ways) in &ends {
            let is_kept = self.has(name);
            let may_be_told = is_kept && self.may_be_in_vain(&Arc::from(*name));
            let is_good = |entry: &Entry| if is_kept { entry.said == Said::Served && entry.shows_own() } else { entry.is_told() };
            let holds = |entry: &Entry| is_good(entry) || (may_be_told && entry.is_told());
            let wrong: Vec<&&Entry> = ways.values().filter(|entry| !holds(entry)).collect();
            let (all, good) = if is_kept { (&mut found.survivors, &mut found.served) } else { (&mut found.lost, &mut found.reported) };
            *all += 1;
            *good += u64::from(ways.values().all(|entry| is_good(entry)));
            let what = if is_kept { "what has survived is not served in the end" } else { "a loss is not told in the end" };
            found.broken.extend(wrong.iter().map(|entry| format!("{what}: {}", entry.told())));
        }
    }
}

fn wrong_of_lost(entry: &Entry, seen: Seen) -> Option<&'static str> {
    let is_read = entry.act == Act::Read;
    match entry.said {
        Said::Refused if entry.way.mode != Mode::Refuse => Some("a loss is refused on a route that tells it"),
        // What is found out while a request is under way is told with its answer, whatever the route.
        Said::Lost if entry.way.mode == Mode::Refuse && entry.began_us > seen.loss_us => Some("a loss is served on a route that refuses"),
        Said::Warned if is_read && entry.way.mode != Mode::Stale => Some("a read is said to be stale on a route that allows none"),
        // The old primary has it. That is an answer for as long as nobody knows better.
        Said::Served if is_read && !entry.shows_own() => Some(SILENT),
        Said::Served if entry.began_us > seen.loss_us => Some("a loss is not told by a node that has told it before"),
        Said::Refused | Said::Lost | Said::Warned | Said::Served | Said::Unavailable | Said::Odd => None,
    }
}
