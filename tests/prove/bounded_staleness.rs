//! `bounded-staleness`: over several regions that are far from each other, a read on a route with a bound shows everything that was
//! acknowledged longer ago, to whomever, or is refused; while lines are held, standbys stand still, nodes die, and while nobody can tell
//! whether the primary is one still.
//!
//! No clock of a server plays a part: clients judge by their own. The same reads on a route without a bound must miss what the narrowest
//! bound demands, or the rest proves nothing.

mod document;
mod reader;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::history;
use harness::regions::{Distance, Plan, Quorum, Regions};
use harness::seed::Random;
use tokio::time::{Instant, sleep_until};

use self::document::{Falsehood, Kind};
use self::reader::{Course, Record};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::share;
use crate::read_your_writes::faults;

/// Reads at a time for so many of a run, within bounds.
const READS_PER_WORKER: u64 = 200;
const WORKERS: (u64, u64) = (12, 64);
/// For so long commits wait for nobody that is there, and how often in a run of so many reads.
const ALONE: Duration = Duration::from_millis(6_500);
const ALONE_EACH: u64 = 100_000;
/// What a request that was sent a moment before may take to be seen by a node.
const SLACK: Duration = Duration::from_millis(50);
/// Of so many reads without a bound one must be late at least.
const LATE_EACH: u64 = 500;
/// The mutant: the document names a server that has everything at once as the one that a region reads.
const CAUGHT_UP: &str = "replica-shown-as-caught-up";
/// The mutant: the document has a wider bound than clients were promised.
const WIDER: &str = "bound-wider-than-promised";
/// The mutant: commits come to wait for nobody, so that a primary which was cut off from all others would go on.
const NO_QUORUM: &str = "no-quorum";

/// The regions of the deployment when `--regions` is not given.
pub(crate) const REGIONS: u32 = 3;

pub(crate) const CLAIM: Claim = Claim {
    slug: "bounded-staleness",
    promise: "a read with a bound shows all that was acknowledged longer ago, in whichever region, or is refused",
    trials: 3_000,
    mutants: &[CAUGHT_UP, WIDER, NO_QUORUM],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let plan = Plan { regions: usize::try_from(context.regions.unwrap_or(REGIONS))?, quorum: Quorum::InRegion, distance: Distance::CONTINENTS };
    let mut regions = Box::pin(Regions::start(plan)).await?;
    apply(context, &regions).await?;
    let workers = usize::try_from((context.trials / READS_PER_WORKER).clamp(WORKERS.0, WORKERS.1))?;
    let course = Arc::new(Course::new(&regions, context.trials)?);
    course.settled().await?;
    let began = Instant::now();
    let mut random = context.random.clone();
    let times = 1 + context.trials / ALONE_EACH;
    let is_without_quorum = context.is_mutant(NO_QUORUM);
    let disturbed = async {
        course.hold_open(true);
        let made = Box::pin(disturb(&mut regions, &mut random, &course, times, is_without_quorum)).await;
        course.hold_open(false);
        made
    };
    let (record, made) = tokio::join!(course.run(workers, &mut context.random), disturbed);
    let (record, (faults, alone)) = (record?, made?);

    judge(context, verdict, &record);
    judge_alone(verdict, &record, &alone);
    verdict.figure("faults", faults);
    verdict.figure("alone", alone.len());
    verdict.figure("regions", regions.names().len());
    verdict.figure("nodes", regions.members().len());
    verdict.figure("took_s", began.elapsed().as_secs());
    if let Some(file) = &context.history {
        record.write(file)?;
    }
    regions.stop().await
}

/// Applies the routes of the claim, and what is false in the document of a mutant.
async fn apply(context: &Context, regions: &Regions) -> Result<()> {
    let falsehood = if context.is_mutant(CAUGHT_UP) {
        Some(Falsehood::Server(regions.partner().context("no standby stands beside the primary")?))
    } else {
        context.is_mutant(WIDER).then_some(Falsehood::Wider)
    };
    let failure = RefCell::new(None);
    let edit = |text: &str| match document::with_routes(text, falsehood) {
        Ok(edited) => edited,
        Err(error) => {
            failure.replace(Some(error));
            text.to_owned()
        }
    };
    regions.apply(edit).await?;
    failure.into_inner().map_or(Ok(()), Err)
}

/// Makes faults until enough was read, and then lets commits wait for nobody that is there: whatever the primary says from then on is
/// confirmed by nothing. Returns when that was so, on the clock of the history.
async fn disturb(
    regions: &mut Regions,
    random: &mut Random,
    course: &Arc<Course>,
    times: u64,
    is_without_quorum: bool,
) -> Result<(faults::Faults, Vec<(u64, u64)>)> {
    let faults = Box::pin(faults::make(regions, random, || course.is_enough())).await?;
    let mut alone = Vec::new();
    for _ in 0..times {
        if is_without_quorum {
            regions.wait_for_nobody().await?;
        }
        regions.stop_partner().await.context("the standby that commits wait for")?;
        let from = course.now();
        sleep_until(Instant::now() + ALONE).await;
        let until = course.now();
        regions.start_partner().await.context("the standby that commits wait for")?;
        alone.push((from, until));
        course.is_served().await?;
    }
    Ok((faults, alone))
}

fn judge(context: &Context, verdict: &mut Verdict, record: &Record) {
    for kind in Kind::ALL {
        let Some(bound) = kind.bound() else { continue };
        let (ops, asked) = (record.of(kind), record.asked(kind));
        let broken = history::bounded_staleness(&ops, bound);
        let failures = broken.len() as u64;
        verdict.trials_of(asked, failures, || {
            let tell = |violation: &history::Violation| {
                let read = ops.get(violation.broken_by)?;
                let write = ops.get(violation.promised_by)?;
                Some(format!("\n    item {} was acknowledged at {} us and not there at {} us", read.item, write.ended_us, read.began_us))
            };
            format!("{failures} reads with the bound {}:{}", kind.name(), broken.iter().take(5).filter_map(tell).collect::<String>())
        });
        let served = record.served(kind);
        verdict.figure(kind.served_name(), share(served, asked));
        // What is refused while nobody can tell is for the next check; outside of that nearly everything is to be served.
        if context.mutant.is_none() {
            verdict.trials_of(0, u64::from(served * 10 < asked * 6), || format!("{served} of {asked} reads with {} were served", kind.name()));
        }
    }
    let control = record.of(Kind::Eventual);
    let late = history::bounded_staleness(&control, Kind::narrowest()).len() as u64;
    let wanted = (context.trials / LATE_EACH).max(1);
    if context.mutant.is_none() {
        verdict.trials_of(0, u64::from(late < wanted), || format!("without a bound {late} reads are late and not {wanted}: this proves nothing"));
        verdict.trials_of(0, record.wrong, || format!("{} answers are wrong: {}", record.wrong, record.told.join("; ")));
    }
    verdict.figure("late_without_bound", late);
    verdict.figure("reads_without_bound", record.asked(Kind::Eventual));
    verdict.figure("writes", record.writes());
    verdict.figure("served_where_asked", share(record.at_home(), record.away()));
    verdict.figure("refused", record.refused);
    verdict.figure("unanswered", record.unanswered);
}

/// While nobody can confirm that the primary is one, a read is refused once its bound is over.
fn judge_alone(verdict: &mut Verdict, record: &Record, alone: &[(u64, u64)]) {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (mut refused, mut served) = (0, 0);
    for (from, until) in alone {
        for kind in Kind::ALL {
            let Some(bound) = kind.bound() else { continue };
            let after = from + micros(bound + SLACK);
            served += record.served_between(kind, after, *until);
            refused += record.refused_between(kind, after, *until);
        }
    }
    verdict
        .trials_of(refused + served, served, || format!("{served} reads were served while nothing could be confirmed for longer than their bound"));
    verdict.trials_of(0, u64::from(refused == 0), || "no read was asked while nothing could be confirmed".to_owned());
    verdict.figure("refused_while_alone", refused);
}
