//! A region is cut off from all databases, its own nodes' line to the primary and what its standby streams, while keys are revoked.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};
use harness::history::revocation::{Look, Outcome, WitnessState};
use harness::wait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Proof;
use super::bench::{Asking, Bench, Gate, Numbered, Route, Seen};
use super::receipt;
use crate::claim::Verdict;
use crate::figures::millis;

/// The region that is cut off first; the others follow in turn, and the writer's never is.
pub(super) const FIRST: usize = 1;
/// Keys that are revoked in one partition.
const AT_ONCE: u32 = 8;
/// Between two calls of a bystander.
const CALL_EVERY: Duration = Duration::from_millis(50);
/// How soon a region serves again once it is joined.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);

impl Proof {
    /// Revokes keys while a region is cut off, some at a time, and joins the region again.
    pub(super) async fn cut_off(&mut self, verdict: &mut Verdict, numbers: std::ops::Range<u32>) -> Result<()> {
        let others = self.bench.regions.names().len() - FIRST;
        let mut from = numbers.start;
        for cycle in 0.. {
            if from >= numbers.end {
                break;
            }
            let until = numbers.end.min(from.saturating_add(AT_ONCE));
            let asking = if receipt::GIVEN && cycle % 2 == 0 { Asking::ForTheEffect } else { Asking::Plainly };
            self.partition(verdict, FIRST + cycle % others, from..until, asking).await?;
            from = until;
        }
        verdict.figure("cut_off_keys", numbers.len());
        Ok(())
    }

    async fn partition(&mut self, verdict: &mut Verdict, region: usize, numbers: std::ops::Range<u32>, asking: Asking) -> Result<()> {
        let keys = self.bench.issue(numbers).await?;
        let (bench, gate, is_over) = (&self.bench, Gate::new(false), watch::Sender::new(false));
        let revoking = async {
            let seen = try_join_all(keys.iter().map(|key| bench.revoke(key, asking, Some(region), &gate))).await;
            is_over.send_replace(true);
            seen
        };
        let cutting = async {
            gate.wait_ready(keys.len()).await;
            let cut = bench.regions.cut_off(region);
            gate.open();
            cut
        };
        let (seen, cut, bystanders) = tokio::join!(revoking, cutting, bench.bystanders(region, is_over.subscribe()));
        cut?;
        let (seen, (served, called, others)) = (seen?, bystanders);
        verdict.trial(served == called && called > 0, || {
            format!("{} of {called} calls with a valid key were not served while a region was cut off: {}", called - served, others.join(", "))
        });
        for seen in &seen {
            self.bench.knows_nothing(verdict, region, seen);
            if asking == Asking::ForTheEffect {
                self.bench.is_fenced(verdict, region, seen);
            }
        }

        bench.regions.rejoin(region)?;
        let joined = Instant::now();
        let (recovered, told) = tokio::join!(bench.recovers(region), bench.all_told(region, &keys));
        verdict.trial(recovered, || {
            format!("{} does not serve {} ms after it was joined again", bench.regions.names().get(region).unwrap_or(&"?"), millis(RECOVERS_WITHIN))
        });
        self.recovered.add(joined.elapsed());
        self.bystanders.0 += served;
        self.bystanders.1 += called;
        self.history.looks.extend(told);
        self.keys.extend(keys);
        for seen in seen {
            self.take(seen);
        }
        Ok(())
    }
}

impl Bench {
    /// Whether the numbered node is in a region.
    fn is_in(&self, region: usize, node: u16) -> bool {
        self.regions.members().get(usize::from(node)).is_some_and(|member| member.region == region)
    }

    /// Calls with a valid key until it is over: through the nodes of other regions where confirmed keys are demanded, and through those that
    /// are cut off where they are not. Answers how many were served, how many there were, and what became of the others.
    async fn bystanders(&self, region: usize, is_over: watch::Receiver<bool>) -> (u64, u64, Vec<String>) {
        let calls = join_all(self.regions.members().iter().map(async |member| {
            let path = if member.region == region { Route::Social } else { Route::Finance }.path();
            let (mut served, mut called, mut others) = (0, 0, Vec::new());
            let (began, mut next) = (Instant::now(), Instant::now());
            while !*is_over.borrow() {
                tokio::time::sleep_until(next).await;
                next = Instant::now() + CALL_EVERY;
                let answer = self.api.get(member.node.region(), path, self.api.first_key()).await;
                called += 1;
                match answer {
                    Ok(answer) if answer.status == 200 => served += 1,
                    Ok(answer) => others.push(format!("{} {} {} after {} ms", member.name, answer.status, answer.code(), millis(began.elapsed()))),
                    Err(error) => others.push(format!("{} {error:#} after {} ms", member.name, millis(began.elapsed()))),
                }
            }
            (served, called, others)
        }));
        calls.await.into_iter().fold((0, 0, Vec::new()), |(served, called, mut others), of| {
            others.extend(of.2);
            (served + of.0, called + of.1, others)
        })
    }

    /// The control without which the rest proves nothing: a region that is cut off cannot know that the key is revoked. It says that it
    /// cannot tell where confirmed keys are demanded, and serves the key elsewhere.
    fn knows_nothing(&self, verdict: &mut Verdict, region: usize, seen: &Seen) {
        let key = seen.revocation.key;
        let cut_off = || seen.looks.iter().filter(|look| self.is_in(region, look.node));
        let told = cut_off().filter(|look| look.outcome == Outcome::Refused).count();
        verdict.trial(told == 0, || format!("key {key}: {told} looks were refused for the key in a region that cannot know: it is not cut off"));
        let nodes: std::collections::BTreeSet<u16> = cut_off().filter(|look| look.outcome == Outcome::Stale).map(|look| look.node).collect();
        let all = self.regions.members().iter().filter(|member| member.region == region).count();
        verdict.trial(nodes.len() == all, || format!("key {key}: {} of {all} nodes that are cut off say authority-stale", nodes.len()));
        // What is read strongly there asks the writer's region until the bound is over: in vain, if the service is cut off, too.
        let in_vain = |look: &Look| self.regions.cuts_services() && look.bound_us.is_some() && [0, 503].contains(&look.status);
        let is_other = |look: &Look| look.outcome == Outcome::Other && !in_vain(look);
        let odd = |look: &&Look| look.bound_us.is_none() && look.outcome != Outcome::Accepted || is_other(look);
        let odd: Vec<u16> = cut_off().filter(odd).map(|look| look.status).collect();
        verdict.trial(odd.is_empty(), || format!("key {key}: nodes that are cut off answered {odd:?} where keys are served all the same"));
    }

    /// The receipt names the nodes that are cut off as fenced, and all others as having acknowledged.
    fn is_fenced(&self, verdict: &mut Verdict, region: usize, seen: &Seen) {
        let Some(receipt) = &seen.revocation.receipt else {
            return verdict.trial(false, || format!("key {}: there is no receipt", seen.revocation.key));
        };
        let expected = |node: u16| if self.is_in(region, node) { WitnessState::Fenced } else { WitnessState::Acknowledged };
        let is_whole = receipt.witnesses.len() == self.nodes.len();
        let held = seen.status == 200 && receipt.is_effective && is_whole && receipt.witnesses.iter().all(|of| of.state == expected(of.node));
        verdict.trial(held, || format!("key {}: the receipt ({}) of a region that is cut off is {receipt:?}", seen.revocation.key, seen.status));
    }

    /// Waits until the nodes of a region serve a valid key again where confirmed keys are demanded.
    async fn recovers(&self, region: usize) -> bool {
        let all = join_all(self.regions.members().iter().filter(|member| member.region == region).map(async |member| {
            let served = async || {
                let answer = self.api.get(member.node.region(), Route::Finance.path(), self.api.first_key()).await;
                answer.is_ok_and(|answer| answer.status == 200)
            };
            wait::until("a region that serves again", RECOVERS_WITHIN, served).await.is_ok()
        }));
        all.await.into_iter().all(|recovered| recovered)
    }

    /// Looks at revoked keys through the nodes of a region until those can tell.
    async fn all_told(&self, region: usize, keys: &[Numbered]) -> Vec<Look> {
        let members = self.regions.members().iter().enumerate().filter(|(_, member)| member.region == region);
        let all = members.flat_map(|(node, member)| keys.iter().map(move |key| self.until_told(key, node, member)));
        join_all(all).await.into_iter().flatten().collect()
    }
}
