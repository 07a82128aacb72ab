//! `models`: the protocols behind the promises about regions hold in every state that their models have, and the models see mistakes.
//!
//! Nothing is started and nothing is left to chance: `--n` and `--seed` change nothing. With `--mutant` one mistake is made, and the way
//! to the broken invariant is printed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use models::{ALL, Entry, MUTANTS, Outcome};
use tokio::time::Instant;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};

pub(crate) const CLAIM: Claim = Claim {
    slug: "models",
    promise: "every state of the models of revisions, revocation, positions and staleness keeps its invariants (n: states; each model: states/steps/time)",
    trials: 1,
    mutants: &MUTANTS,
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    if let Some(mutant) = &context.mutant {
        let spoiled = ALL.into_iter().find_map(|entry| entry.mutants.iter().find(|known| known.name == mutant).map(|known| (entry, known.name)));
        let (entry, name) = spoiled.context("no model has this mutant")?;
        let (outcome, _) = look(entry, Some(name)).await?;
        judge(entry, &outcome, verdict);
        return Ok(());
    }
    let mut killed = 0;
    for entry in ALL {
        let (outcome, took) = look(entry, None).await?;
        judge(entry, &outcome, verdict);
        verdict.figure(entry.name, format!("{}/{}/{:.1}s", outcome.states, outcome.depth, took.as_secs_f64()));
        for mutant in entry.mutants {
            let (outcome, _) = look(entry, Some(mutant.name)).await?;
            let is_killed = outcome.fault() == Some(mutant.breaks);
            killed += usize::from(is_killed);
            verdict.trials_of(0, u64::from(!is_killed), || format!("{} does not see {}", entry.name, mutant.name));
        }
    }
    verdict.figure("killed", format!("{killed}/{}", MUTANTS.len()));
    Ok(())
}

async fn look(entry: &'static Entry, mutant: Option<&'static str>) -> Result<(Outcome, Duration)> {
    let began = Instant::now();
    let outcome = tokio::task::spawn_blocking(move || models::run(entry.name, mutant)).await?;
    Ok((outcome.context("there is no such model")?, began.elapsed()))
}

fn judge(entry: &Entry, outcome: &Outcome, verdict: &mut Verdict) {
    verdict.trials_of(outcome.states as u64, u64::from(!outcome.holds()), || match &outcome.violated {
        Some(violation) => format!("{}: {violation}", entry.name),
        None if outcome.is_complete => format!("{}: not possible: {}", entry.name, outcome.unreached.join(", ")),
        None => format!("{}: has more states than it may have", entry.name),
    });
}
