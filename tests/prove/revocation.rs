//! `revocation`: over several regions that are far from each other, no route with `on_stale: deny` accepts a key later than its bound
//! after the revocation was committed, also where a region is cut off from all databases; and a receipt that says effective is true.
//!
//! Each key is looked at through each node, from before its revocation until it was refused, and once more at the end. What was seen is
//! judged by [`harness::history::revocation`], which is tested on planted violations.

mod bench;
mod partition;
mod receipt;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::history::revocation::{Fault, History, Outcome, Receipt};
use harness::regions::{Distance, Plan, Quorum, Regions};
use harness::site::Site;
use tokio::time::Instant;

use self::bench::{Asking, Bench, Gate, Numbered, Seen};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{Durations, millis, share};

/// Keys that are made, and then revoked, together.
const CHUNK: u32 = 500;
/// Of so many keys that were revoked without waiting, one is asked about later.
const ASKED_LATER: usize = 16;
/// Looks at once when all keys are looked at again.
const SWEPT_AT_ONCE: usize = 16;
/// How often the nodes of other regions are asked how old what they know is.
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// The mutant: the route takes keys that were not confirmed for five minutes, and the checker expects two seconds.
pub(crate) const UNFENCED: &str = "unfenced";
/// The mutant: the nodes of the region that is cut off reach the primary all the same.
const READ_PRIMARY: &str = "read-primary";
/// The mutant: an answer that waited for nothing is taken for a receipt that says effective.
const RECEIPT_BEFORE_ACK: &str = "receipt-before-ack";

/// The regions of the deployment when `--regions` is not given.
pub(crate) const REGIONS: u32 = 3;

pub(crate) const CLAIM: Claim = Claim {
    slug: "revocation",
    promise: "no deny route accepts a key later than commit + L, partitions included, and a receipt that says effective is true",
    trials: 60,
    mutants: &[UNFENCED, READ_PRIMARY, RECEIPT_BEFORE_ACK],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let plan = Plan { regions: usize::try_from(context.regions.unwrap_or(REGIONS))?, quorum: Quorum::InRegion, distance: Distance::CONTINENTS };
    let mut regions = Box::pin(Regions::start(plan)).await?;
    regions.apply(|text| document(text, false)).await?;
    if context.is_mutant(UNFENCED) {
        regions.apply(|text| document(text, true)).await?;
    }
    if context.is_mutant(READ_PRIMARY) {
        regions.read_primary(partition::FIRST).await?;
    }
    let mut proof = Proof::of(Site::Loopback(Box::new(regions)), context.is_mutant(RECEIPT_BEFORE_ACK))?;
    proof.run(verdict, u32::try_from(context.trials)?).await?;
    if let Some(file) = &context.history {
        let mut file = std::io::BufWriter::new(std::fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?);
        proof.history.write(&mut file)?;
        std::io::Write::flush(&mut file)?;
    }
    proof.bench.regions.stop().await
}

/// The same in regions that are there, with keys of that number; answers the regions.
pub(crate) async fn over(site: Site, verdict: &mut Verdict, trials: u32) -> Result<Site> {
    let mut proof = Proof::of(site, false)?;
    proof.run(verdict, trials).await?;
    Ok(proof.bench.regions)
}

/// The demo's document as the claim needs it, or with the mutant [`UNFENCED`] in it.
pub(crate) fn document(text: &str, is_unfenced: bool) -> String {
    if is_unfenced {
        let careless = "consistency: { keys: { max_staleness: 300s, on_stale: deny }, reads: { mode: eventual } }";
        return text.replace("consistency: finance", careless);
    }
    // A receipt waits for a silent node by the widest bound of its routes.
    // And this is not about the disk, which ten servers share: a record that is late would cost its call.
    let text = text.replace("consistency: finance", "consistency: finance\n  audit: buffered");
    let text = text.replace("consistency: social", "consistency: social\n  audit: buffered");
    text.replace("consistency: health", "consistency: social").replace("token_endpoint: {}", "token_endpoint: {}\n  consistency: finance")
}

/// A run under way, and what was seen so far.
struct Proof {
    bench: Bench,
    history: History,
    keys: Vec<Numbered>,
    /// Keys that a node did not come to refuse in time, with sentences.
    unsettled: Vec<(u32, String)>,
    takes_answers_for_receipts: bool,
    ages: Durations,
    receipts: Durations,
    recovered: Durations,
    /// Calls of valid keys while a region was cut off: served, and all.
    bystanders: (u64, u64),
    /// Keys below this number were revoked while every line carried.
    healthy: u32,
}

impl Proof {
    fn of(regions: Site, takes_answers_for_receipts: bool) -> Result<Self> {
        let bench = Bench::of(regions)?;
        let history = History { nodes: bench.nodes.clone(), ..History::default() };
        Ok(Self {
            bench,
            history,
            keys: Vec::new(),
            unsettled: Vec::new(),
            takes_answers_for_receipts,
            ages: Durations::default(),
            receipts: Durations::default(),
            recovered: Durations::default(),
            bystanders: (0, 0),
            healthy: 0,
        })
    }

    async fn run(&mut self, verdict: &mut Verdict, trials: u32) -> Result<()> {
        verdict.figure("steady_after_ms", millis(self.bench.steady().await?));
        // One in fifty is revoked while a region is cut off: each costs seconds.
        let cut_off = (trials / 50).clamp(2, 96).min(trials);
        let healthy = trials - cut_off;
        let waiting = if receipt::GIVEN { healthy * 3 / 4 } else { 0 };
        self.healthy(0..healthy - waiting, Asking::Plainly).await?;
        self.healthy(healthy - waiting..healthy, Asking::ForTheEffect).await?;
        self.cut_off(verdict, healthy..trials).await?;
        self.sweep().await?;
        self.judge(verdict);
        Ok(())
    }

    /// Revokes keys while every line carries.
    async fn healthy(&mut self, numbers: std::ops::Range<u32>, asking: Asking) -> Result<()> {
        let mut from = numbers.start;
        while from < numbers.end {
            let until = numbers.end.min(from.saturating_add(CHUNK));
            let keys = self.bench.issue(from..until).await?;
            let (bench, gate) = (&self.bench, Gate::new(true));
            let revoking = stream::iter(keys.iter().map(|key| bench.revoke(key, asking, None, &gate))).buffer_unordered(asking.in_flight());
            let seen = tokio::select! {
                seen = revoking.try_collect::<Vec<Seen>>() => seen?,
                () = ages(bench, &mut self.ages) => Vec::new(),
            };
            if receipt::GIVEN && asking == Asking::Plainly {
                for seen in seen.iter().step_by(ASKED_LATER) {
                    let Some(key) = keys.iter().find(|key| key.number == seen.revocation.key) else { continue };
                    let wrong = bench.propagated(key, seen).await?;
                    self.unsettled.extend(wrong.map(|wrong| (key.number, wrong)));
                }
            }
            for seen in seen.iter().filter(|_| asking == Asking::ForTheEffect) {
                let is_whole = |receipt: &Receipt| receipt.is_effective && receipt.witnesses.len() == bench.nodes.len();
                if seen.status != 200 || !seen.revocation.receipt.as_ref().is_some_and(is_whole) {
                    let key = seen.revocation.key;
                    self.unsettled.push((key, format!("the revocation of key {key} was answered {}, without the effect", seen.status)));
                }
            }
            self.keys.extend(keys);
            for seen in seen {
                self.take(seen);
            }
            from = until;
        }
        self.healthy = numbers.end;
        Ok(())
    }

    /// Takes in what was seen of a key.
    fn take(&mut self, seen: Seen) {
        let Seen { mut revocation, looks, unsettled, .. } = seen;
        if !unsettled.is_empty() {
            self.unsettled.push((revocation.key, format!("key {} was not seen to be refused through {}", revocation.key, unsettled.join(", "))));
        }
        if let Some(elapsed) = revocation.receipt.as_ref().and_then(|receipt| receipt.elapsed_us) {
            self.receipts.add(Duration::from_micros(elapsed));
        }
        if self.takes_answers_for_receipts && revocation.receipt.is_none() {
            let at = revocation.answered_us;
            let fenced_us = at + u64::try_from(bench::BOUND.as_micros()).unwrap_or(u64::MAX);
            let receipt = Receipt { is_effective: true, effective_us: Some(at), elapsed_us: None, fenced_us, witnesses: Vec::new() };
            revocation.receipt = Some(receipt);
        }
        self.history.revocations.push(revocation);
        self.history.looks.extend(looks);
    }

    /// Looks at every key through every node once more. A node that cannot tell just then, on a machine that is busy, is asked until it can.
    async fn sweep(&mut self) -> Result<()> {
        let bench = &self.bench;
        let all = self.keys.iter().flat_map(|key| bench.regions.members().iter().enumerate().map(move |(node, member)| (key, node, member)));
        let looks = stream::iter(all.map(|(key, node, member)| bench.until_told(key, node, member))).buffer_unordered(SWEPT_AT_ONCE);
        let looks: Vec<_> = looks.collect().await;
        for look in looks.iter().filter_map(|looks| looks.last()).filter(|look| look.outcome != Outcome::Refused) {
            let node = bench.nodes.get(usize::from(look.node)).cloned().unwrap_or_default();
            self.unsettled.push((look.key, format!("key {} was answered {} by {node} at the end", look.key, look.status)));
        }
        self.history.looks.extend(looks.into_iter().flatten());
        Ok(())
    }

    /// Judges each key, and adds the figures.
    fn judge(&self, verdict: &mut Verdict) {
        let violations = self.history.violations();
        let broken: BTreeSet<u32> = violations.iter().map(|violation| violation.key).chain(self.unsettled.iter().map(|(key, _)| *key)).collect();
        for key in &broken {
            let of_key = violations.iter().filter(|violation| violation.key == *key);
            let told = of_key.take(3).map(|violation| match violation.look.and_then(|at| self.history.looks.get(at)) {
                Some(look) => {
                    let node = self.history.nodes.get(usize::from(look.node)).map_or("?", String::as_str);
                    format!("{:?} by {node}, asked at {} us", violation.fault, look.began_us)
                }
                None => format!("{:?}", violation.fault),
            });
            let told: Vec<String> = told.chain(self.unsettled.iter().filter(|(of, _)| of == key).map(|(_, why)| why.clone())).collect();
            let revocation = self.history.revocations.iter().find(|revocation| revocation.key == *key);
            verdict.trial(false, || {
                let of = revocation.map(|of| format!("sent {} us, answered {} us, {:?}", of.sent_us, of.answered_us, of.receipt));
                format!("key {key}: {}; {}", told.join("; "), of.unwrap_or_default())
            });
        }
        verdict.trials_of(self.keys.len().saturating_sub(broken.len()) as u64, 0, String::new);
        // Refusing everything would keep every promise above.
        let (served, before) = self.history.served_before();
        verdict.trial(served == before && before > 0, || format!("{} of {before} looks before the revocation were not served", before - served));

        let count = |fault: Fault| violations.iter().filter(|violation| violation.fault == fault).count();
        verdict.figure("regions", self.bench.regions.names().len());
        verdict.figure("nodes", self.history.nodes.len());
        verdict.figure("looks", self.history.looks.len());
        verdict.figure("served_before", share(served, before));
        verdict.figure("accepted_after_bound", count(Fault::AcceptedAfterBound) + count(Fault::AcceptedAfterFence));
        verdict.figure("came_back", count(Fault::CameBack));
        verdict.figure("accepted_after_receipt", count(Fault::AcceptedAfterReceipt));
        self.times(verdict);
    }

    fn times(&self, verdict: &mut Verdict) {
        let took = self.history.took_us(0..self.healthy);
        let percentiles = [("p50_ms", 50), ("p99_ms", 99), ("max_ms", 100)];
        let mut by_region = Vec::new();
        for (region, name) in self.bench.regions.names().iter().enumerate() {
            let mut durations = Durations::default();
            for (node, _) in self.bench.regions.members().iter().enumerate().filter(|(_, member)| member.region == region) {
                let of_node = u16::try_from(node).ok().and_then(|node| took.get(&node));
                of_node.into_iter().flatten().for_each(|us| durations.add(Duration::from_micros(*us)));
            }
            by_region.push((name, durations));
        }
        for (figure, percent) in percentiles {
            let values: Vec<String> = by_region.iter().map(|(name, durations)| format!("{name}:{}", durations.percentile(percent))).collect();
            verdict.figure(figure, values.join(","));
        }
        if receipt::GIVEN {
            for (figure, percent) in [("receipt_p50_ms", 50), ("receipt_p99_ms", 99), ("receipt_max_ms", 100)] {
                verdict.figure(figure, self.receipts.percentile(percent));
            }
        } else {
            verdict.figure("receipts", "none");
        }
        for (figure, percent) in [("far_age_p50_ms", 50), ("far_age_p99_ms", 99), ("far_age_max_ms", 100)] {
            verdict.figure(figure, self.ages.percentile(percent));
        }
        verdict.figure("bystanders_served", share(self.bystanders.0, self.bystanders.1));
        verdict.figure("recovered_max_ms", self.recovered.percentile(100));
    }
}

/// Asks the nodes of other regions how old what they know about keys is, for as long as it is let.
async fn ages(bench: &Bench, ages: &mut Durations) {
    let mut next = Instant::now();
    loop {
        tokio::time::sleep_until(next).await;
        next = Instant::now() + ASKED_EVERY;
        for member in bench.regions.members().iter().filter(|member| member.region > 0) {
            let Ok(answer) = bench.api.control(member.node.region(), "/status").await else { continue };
            let age = answer.json().pointer("/node/authority_age_ms").and_then(serde_json::Value::as_u64);
            if let Some(age) = age {
                ages.add(Duration::from_millis(age));
            }
        }
    }
}
