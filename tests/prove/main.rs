//! `prove`: counted claims about a running deployment, one line each.
//!
//! ```text
//! claim=<slug> n=<N> failures=<F> key=value..
//! claim=<slug> skipped=<reason>
//! ```
//!
//! The exit status is 1 on any failure. With `--mutant NAME` the deployment is spoiled in a way that the claim must notice: the run
//! must fail, and the line says `caught=yes` or `caught=no`. Sentences about single failures go to standard error.
//!
//! Reading order: [`claim`] (what a claim is), [`api`] (how a deployment is used), then one module a claim.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its product")]

mod admin_api;
mod api;
mod audit_crash;
mod bounded_staleness;
mod cancel_storm;
mod claim;
mod conformance;
mod failover;
mod figures;
mod ground;
mod hop_guard;
mod jwks_rotation;
mod jwt;
mod key_timing;
mod keys;
mod limit_headers;
mod many_keys;
mod memory;
mod models;
mod namespaces;
mod neighbor;
mod no_secrets;
mod outage;
mod patroni;
mod portal;
mod propagation;
mod purge;
mod read_your_writes;
mod reload;
mod residency;
mod revocation;
mod sign_in_timing;
mod sloppy;
mod slow_clients;
mod smuggling;
#[cfg(test)]
mod tests;
mod timing;
mod tokens;
mod upstream_faults;
mod validation;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use harness::seed::Random;

use claim::{Claim, Context, Verdict};

/// Runs counted claims against real deployments.
#[derive(Debug, Parser)]
#[command(name = "prove")]
struct Arguments {
    /// The claims to run; all when none is named.
    claims: Vec<String>,
    /// A claim that is left out; may be given several times.
    #[arg(long, value_name = "CLAIM")]
    except: Vec<String>,
    /// Trials of each claim; each claim has its own default.
    #[arg(long)]
    n: Option<u64>,
    /// Regions of the deployment, for claims whose deployment can have more than two.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=5))]
    regions: Option<u32>,
    /// Decides every choice that a run makes; printed with each line.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of the numbered inputs of a claim that generates them: goes on where a run with the same seed has ended.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How long a claim soaks that soaks.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Writes what a claim has recorded as JSON, one object a line; of claims that record.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Spoils the deployment by the named mutant; the run must fail.
    #[arg(long)]
    mutant: Option<String>,
    /// Lists the claims with their mutants and ends.
    #[arg(long)]
    list: bool,
}

/// Every claim, in the order in which a whole run takes them.
const CLAIMS: [Claim; 32] = [
    models::CLAIM,
    audit_crash::CLAIM,
    propagation::KEY,
    propagation::REVOCATION,
    revocation::CLAIM,
    read_your_writes::CLAIM,
    namespaces::CLAIM,
    bounded_staleness::CLAIM,
    residency::CLAIM,
    hop_guard::CLAIM,
    failover::CLAIM,
    keys::CLAIM,
    key_timing::CLAIM,
    sign_in_timing::CLAIM,
    jwt::CLAIM,
    jwks_rotation::CLAIM,
    no_secrets::CLAIM,
    purge::CLAIM,
    outage::CLAIM,
    patroni::CLAIM,
    limit_headers::CLAIM,
    validation::CLAIM,
    admin_api::CLAIM,
    portal::CLAIM,
    upstream_faults::CLAIM,
    smuggling::CLAIM,
    conformance::CLAIM,
    cancel_storm::CLAIM,
    slow_clients::CLAIM,
    reload::CLAIM,
    memory::CLAIM,
    many_keys::CLAIM,
];

/// Claims whose deployment can have more regions than two, with the number that it has when none is given.
const REGIONS: [(&str, u32); 3] = [
    (revocation::CLAIM.slug, revocation::REGIONS),
    (read_your_writes::CLAIM.slug, read_your_writes::REGIONS),
    (bounded_staleness::CLAIM.slug, bounded_staleness::REGIONS),
];

/// The regions of a claim whose number is fixed.
fn own_regions(claim: &Claim) -> u32 {
    if claim.slug == namespaces::CLAIM.slug { namespaces::REGIONS } else { 2 }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("prove: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every claim held.
fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        for claim in &CLAIMS {
            let regions = REGIONS.iter().find(|(slug, _)| *slug == claim.slug).map_or(own_regions(claim), |(_, regions)| *regions);
            println!("{:<24} n={:<4} regions={regions} mutants={:<18} {}", claim.slug, claim.trials, claim.mutants.join(","), claim.promise);
        }
        return Ok(true);
    }
    let chosen = choose(&arguments.claims, &arguments.except, arguments.mutant.as_deref())?;
    let seed = arguments.seed.unwrap_or_else(Random::fresh_seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("no runtime")?;
    let mut held = true;
    for claim in chosen {
        let takes_regions = REGIONS.iter().any(|(slug, _)| *slug == claim.slug);
        let own = own_regions(claim);
        if let Some(regions) = arguments.regions.filter(|regions| *regions != own && !takes_regions) {
            println!("claim={} skipped=\"its deployment has {own} regions, not {regions}\"", claim.slug);
            continue;
        }
        if let Some(reason) = (claim.obstacle)() {
            println!("claim={} skipped={reason:?}", claim.slug);
            continue;
        }
        let mut context = Context {
            trials: arguments.n.unwrap_or(claim.trials).max(1),
            from: arguments.from,
            seconds: arguments.seconds,
            regions: arguments.regions,
            history: arguments.history.clone(),
            seed,
            random: Random::new(seed),
            mutant: arguments.mutant.clone(),
        };
        let mut verdict = Verdict::default();
        // A run that cannot be carried out has shown nothing, so it counts as a failure and never as a success.
        if let Err(error) = runtime.block_on((claim.run)(&mut context, &mut verdict)) {
            verdict.broke_off(&format!("{error:#}"));
        }
        println!("{}", line(claim, &context, &verdict));
        held &= verdict.failures() == 0;
    }
    Ok(held)
}

fn choose(names: &[String], except: &[String], mutant: Option<&str>) -> Result<Vec<&'static Claim>> {
    const ALL: &[Claim] = &CLAIMS;
    let mut chosen = Vec::new();
    for name in names {
        let found = ALL.iter().find(|claim| claim.slug == name);
        chosen.push(found.with_context(|| format!("there is no claim {name}; see --list"))?);
    }
    if names.is_empty() {
        chosen.extend(ALL);
    }
    if let Some(name) = except.iter().find(|name| !ALL.iter().any(|claim| claim.slug == **name)) {
        bail!("there is no claim {name}; see --list");
    }
    chosen.retain(|claim| !except.iter().any(|name| name == claim.slug));
    let Some(mutant) = mutant else {
        return Ok(chosen);
    };
    if let Some(claim) = chosen.iter().find(|claim| !names.is_empty() && !claim.mutants.contains(&mutant)) {
        bail!("claim {} has no mutant {mutant}; see --list", claim.slug);
    }
    chosen.retain(|claim| claim.mutants.contains(&mutant));
    if chosen.is_empty() {
        bail!("no claim has a mutant {mutant}; see --list");
    }
    Ok(chosen)
}

fn line(claim: &Claim, context: &Context, verdict: &Verdict) -> String {
    let mut line = format!("claim={} n={} failures={} seed={}", claim.slug, verdict.trials(), verdict.failures(), context.seed);
    if let Some(mutant) = &context.mutant {
        // A run that broke off has not caught anything: the mutant must be seen by a check.
        let caught = if verdict.is_caught() { "yes" } else { "no" };
        line = format!("{line} mutant={mutant} caught={caught}");
    }
    for (name, value) in verdict.figures() {
        line = format!("{line} {name}={value}");
    }
    line
}
