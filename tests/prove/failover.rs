//! `failover`: a fronted database's standby is promoted without the last writes. Every token that stands for one of them is told to be lost,
//! through every node; every one that stands for what has survived is served; and no write goes to the old primary once a node knows.
//!
//! What has survived is what the promoted database has, asked past the gateway. What clients were answered is the history that is judged
//! ([`judge`]); what nodes count plays no part.

mod chain;
mod clients;
mod document;
mod gate;
mod ground;
mod judge;
mod record;
mod stage;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use harness::seed::Random;
use serde::Serialize;
use tokio::time::Instant;

use self::chain::{Beside, Chain, Proof};
use self::clients::Clients;
use self::gate::{Gate, Sends};
use self::ground::{Ground, Plan};
use self::record::Entry;
use self::stage::{Fate, Memory, Shown, Steps};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{Durations, share};

/// Domains whose promotions go on side by side, at most, and one of them for so many trials. When there are so many, the role of the last one
/// may not read histories of timelines: what has survived is then known by sight alone.
const DOMAINS: (usize, u64) = (4, 3);
/// Sentences about one trial.
const TOLD_MAX: usize = 5;
/// The mutant: the control database says that each epoch left the one before later than it did.
const FORK_IGNORED: &str = "fork-ignored";
/// The mutant: clients do not send the token that they have got.
const TOKEN_DROPPED: &str = "token-dropped";
/// The mutant: the service beside the promoted server goes on with the old one.
const LEFT_BEHIND: &str = "service-left-behind";

pub(crate) const CLAIM: Claim = Claim {
    slug: "failover",
    promise: "what a promotion lost is told for every token, what survived is served, and no write goes to the old primary once a node knows",
    trials: 6,
    mutants: &[FORK_IGNORED, TOKEN_DROPPED, LEFT_BEHIND],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// How a trial goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// One promotion.
    Once,
    /// Two in a row, each with its own lost tail.
    Twice,
    /// Two in a row, of which no node sees the first.
    Unseen,
}

/// One trial of a domain.
struct Trial {
    number: u64,
    kind: Kind,
    fate: Fate,
    proof: Proof,
    promotions: Vec<Shown>,
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let domains = usize::try_from(context.trials.div_ceil(DOMAINS.1))?.clamp(1, DOMAINS.0);
    let plan = Plan {
        domains,
        sends: if context.is_mutant(TOKEN_DROPPED) { Sends::Nothing } else { Sends::Token },
        beside: if context.is_mutant(LEFT_BEHIND) { Beside::First } else { Beside::Own },
    };
    let mut ground = Box::pin(Ground::start(plan)).await?;
    if context.is_mutant(FORK_IGNORED) {
        ground.forget_forks().await?;
    }
    let began = Instant::now();
    let (gate, chains) = ground.parts();
    let step = chains.len();
    let courses = chains.iter_mut().enumerate().map(|(domain, chain)| {
        let numbers = (0..context.trials).skip(domain).step_by(step);
        Box::pin(course(gate, chain, numbers, context.random.next_u64()))
    });
    let courses = courses.collect::<Vec<_>>();
    let trials = try_join_all(courses).await;
    // A mutant that was caught may well break off what comes after.
    let (mut done, mut broke_off) = (Vec::new(), None);
    for (trials, error) in trials? {
        done.extend(trials);
        if let Some(error) = &error {
            eprintln!("  broke off: {error:#}");
        }
        broke_off = broke_off.or(error);
    }
    let trials: Vec<Trial> = done;
    tell(verdict, &trials);
    verdict.figure("domains", domains);
    verdict.figure("took_s", began.elapsed().as_secs());
    if let Some(file) = &context.history {
        write(file, &trials).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(error) = broke_off {
        return Err(error);
    }
    ground.stop().await
}

/// The trials of one domain, one after the other, and what ended them early.
async fn course(gate: &Gate, chain: &mut Chain, numbers: impl Iterator<Item = u64>, seed: u64) -> Result<(Vec<Trial>, Option<anyhow::Error>)> {
    let (mut trials, mut memory, mut random) = (Vec::new(), Memory::default(), Random::new(seed));
    for number in numbers {
        let mut trial = Trial { number, kind: kind(number), fate: fate(number), proof: chain.proof, promotions: Vec::new() };
        let done = carry_out(gate, chain, &mut memory, &mut random, &mut trial).await;
        let kind = trial.kind;
        let fate = trial.fate;
        trials.push(trial);
        if let Err(error) = done {
            let error = error.context(format!("trial {number} of {} ({kind:?}, {fate:?})", chain.name));
            return Ok((trials, Some(error)));
        }
    }
    Ok((trials, None))
}

async fn carry_out(gate: &Gate, chain: &mut Chain, memory: &mut Memory, random: &mut Random, trial: &mut Trial) -> Result<()> {
    let first = chain.first;
    let (steps, promotions) = match trial.kind {
        Kind::Once => (Steps::Seen, 1),
        Kind::Twice => (Steps::Seen, 2),
        Kind::Unseen => (Steps::Unseen, 1),
    };
    for promotion in 0..promotions {
        let prefix = format!("{}-{}-{promotion}", chain.name, trial.number);
        let clients = Clients::new(gate, chain.name.clone(), prefix, random.clone());
        random.next_u64();
        trial.promotions.push(stage::promote(clients, chain, memory, trial.fate, steps).await?);
    }
    // Whatever was replaced comes back behind the last one.
    let mut replaced = first;
    while replaced != chain.first {
        chain.rebuild(replaced).await?;
        replaced = Chain::behind(replaced);
    }
    Ok(())
}

const fn kind(number: u64) -> Kind {
    match number % 3 {
        0 => Kind::Once,
        1 => Kind::Twice,
        _ => Kind::Unseen,
    }
}

/// Each kind comes with each of them.
const fn fate(number: u64) -> Fate {
    match (number + number / 3) % 3 {
        0 => Fate::Alive,
        1 => Fate::Killed,
        _ => Fate::Partitioned,
    }
}

fn tell(verdict: &mut Verdict, trials: &[Trial]) {
    let found = || trials.iter().flat_map(|trial| trial.promotions.iter().map(|shown| &shown.found));
    for trial in trials {
        let broken: Vec<&String> = trial.promotions.iter().flat_map(|shown| &shown.found.broken).collect();
        verdict.trial(broken.is_empty(), || {
            let sentences: Vec<&str> = broken.iter().take(TOLD_MAX).map(|sentence| sentence.as_str()).collect();
            let Trial { number, kind, fate, .. } = trial;
            format!("trial {number} ({kind:?}, {fate:?}): {} broken promises:\n    {}", broken.len(), sentences.join("\n    "))
        });
    }
    let sum = |of: fn(&judge::Found) -> u64| found().map(of).sum::<u64>();
    // A promotion that loses nothing, or of which nothing survives, proves nothing.
    let idle = found().filter(|found| found.lost == 0 || found.survivors == 0).count() as u64;
    verdict.trials_of(0, idle, || format!("{idle} promotions have lost nothing, or kept nothing"));
    let mut again = Durations::default();
    let mut silent = 0_u64;
    for found in found() {
        match found.again_us {
            Some(us) => again.add(Duration::from_micros(us)),
            None => silent += 1,
        }
    }
    verdict.trials_of(0, silent, || format!("behind {silent} promotions nothing was written that lasts"));
    verdict.figure("promotions", found().count());
    verdict.figure("tokens_lost", sum(|found| found.lost));
    verdict.figure("reported", sum(|found| found.reported));
    verdict.figure("served_as_if_there", sum(|found| found.silent));
    for (proof, names) in [(Proof::History, ["tokens_kept", "share_served"]), (Proof::Sight, ["tokens_kept_unproved", "share_served_unproved"])] {
        let of_these = || trials.iter().filter(|trial| trial.proof == proof).flat_map(|trial| &trial.promotions).map(|shown| &shown.found);
        if of_these().next().is_some() {
            let kept = of_these().map(|found| found.survivors).sum();
            verdict.figure(names[0], kept);
            verdict.figure(names[1], share(of_these().map(|found| found.served).sum(), kept));
        }
    }
    verdict.figure("told_in_vain", sum(|found| found.in_vain));
    verdict.figure("requests", trials.iter().flat_map(|trial| &trial.promotions).map(|shown| shown.entries.len()).sum::<usize>());
    verdict.figure("writes_again_p50_ms", again.percentile(50));
    verdict.figure("writes_again_max_ms", again.percentile(100));
}

/// Writes the history as JSON, one request a line.
fn write(file: &std::path::Path, trials: &[Trial]) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        trial: u64,
        promotion: usize,
        kind: Kind,
        #[serde(flatten)]
        entry: &'a Entry,
    }
    let mut file = std::io::BufWriter::new(std::fs::File::create(file)?);
    for trial in trials {
        for (promotion, shown) in trial.promotions.iter().enumerate() {
            for entry in &shown.entries {
                serde_json::to_writer(&mut file, &Line { trial: trial.number, promotion, kind: trial.kind, entry })?;
                file.write_all(b"\n")?;
            }
        }
    }
    file.flush()?;
    Ok(())
}
