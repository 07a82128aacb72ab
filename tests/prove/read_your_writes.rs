//! `read-your-writes`: over several regions that are far from each other, a client that sends its newest token back reads what it wrote and
//! never less than it has read, through whichever node and region, while lines are held, standbys stand still and nodes die.
//!
//! The demo service is what is fronted: an item that was made is there (200) or not yet (404). What was seen is judged by
//! [`harness::history`], which is tested on planted violations. The same sessions without tokens come first: they must read what is stale,
//! or the rest proves nothing.

pub(crate) mod document;
pub(crate) mod faults;
mod judge;
mod record;
mod session;

use std::cell::RefCell;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use harness::dev::Ready;
use harness::regions::{Distance, Member, Plan, Quorum, Regions};
use harness::site::Site;
use harness::sql::Sql;
use tokio::time::Instant;

use self::document::Falsehood;
use self::record::Record;
use self::session::{Course, Ground, Sends};
use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};

/// One session at a time for so many reads, within bounds: most of them wait, for a replica or for their person.
const READS_PER_WORKER: u64 = 100;
const WORKERS: (u64, u64) = (16, 320);
/// The control run has one read for so many, and this many at least.
const CONTROL_EACH: u64 = 10;
const CONTROL_MIN: u64 = 500;
/// Of so many reads with a token, the control run must show one that is stale.
const STALE_EACH: u64 = 1_000;
/// The mutant: clients do not send the token that they have got.
pub(crate) const TOKEN_DROPPED: &str = "token-dropped";
/// The mutant: the document names a server that has everything at once as the one that a region reads.
const CAUGHT_UP: &str = "replica-shown-as-caught-up";
/// The mutant: a region's service reads two standbys, and the document names one of them.
const ONE_OF_SET: &str = "one-of-set";

/// What became of reads with tokens, by the nodes' own counts.
const EVENTS: [&str; 5] = ["local", "waited", "elsewhere", "unreached", "held_back"];

/// The regions of the deployment when `--regions` is not given.
pub(crate) const REGIONS: u32 = 3;

pub(crate) const CLAIM: Claim = Claim {
    slug: "read-your-writes",
    promise: "a read with a token shows what its client wrote and has read before, in whichever region, or is refused",
    trials: 4_000,
    mutants: &[TOKEN_DROPPED, CAUGHT_UP, ONE_OF_SET],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let plan = Plan { regions: usize::try_from(context.regions.unwrap_or(REGIONS))?, quorum: Quorum::InRegion, distance: Distance::CONTINENTS };
    let mut regions = Box::pin(Regions::start(plan)).await?;
    apply(context, &regions).await?;
    let ground = Arc::new(Ground::of(regions.members(), regions.dev().ready(), regions.names())?);
    ground.settled().await?;

    let workers = usize::try_from((context.trials / READS_PER_WORKER).clamp(WORKERS.0, WORKERS.1))?;
    let control = control(context, &ground, context.trials, workers).await?;
    let sends = sends(context);
    let course = Arc::new(Course::new(Arc::clone(&ground), sends, context.trials, workers));
    let began = Instant::now();
    let mut random = context.random.clone();
    let running = course.run(&mut context.random);
    let faulting = async {
        course.hold_open(true);
        let faults = Box::pin(faults::make(&mut regions, &mut random, || course.is_enough())).await;
        course.hold_open(false);
        faults
    };
    let (with_tokens, faults) = tokio::join!(running, faulting);
    let with_tokens = with_tokens?;
    let took = began.elapsed();

    judge::history(&with_tokens, verdict, &ground);
    // A mutant must be seen by the history: whatever else it upsets has caught nothing.
    if context.mutant.is_none() {
        judge::answers(&with_tokens, verdict, "with tokens");
        judge::service(&with_tokens, verdict, &ground);
        judge::answers(&control, verdict, "without tokens");
    }
    judge_control(context, verdict, &control, context.trials);
    verdict.figure("events", events(regions.members(), regions.dev().ready()).await?);
    verdict.figure("regions", ground.regions.len());
    verdict.figure("nodes", ground.doors.len());
    verdict.figure("faults", faults?);
    verdict.figure("took_s", took.as_secs());
    if let Some(file) = &context.history {
        let mut file = std::io::BufWriter::new(std::fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?);
        control.write(&mut file, "control", &ground)?;
        with_tokens.write(&mut file, "token", &ground)?;
        std::io::Write::flush(&mut file)?;
    }
    regions.stop().await
}

/// The same sessions in regions that are there, with so many reads, while one of their standbys stands still after the other.
pub(crate) async fn over(site: &Site, servers: (&Sql, &[Sql]), context: &mut Context, verdict: &mut Verdict, reads: u64) -> Result<()> {
    let ground = Arc::new(Ground::of(site.members(), site.ready(), site.names())?);
    ground.settled().await?;
    let workers = usize::try_from((reads / READS_PER_WORKER).clamp(WORKERS.0, WORKERS.1))?;
    // A write that crosses takes as long to be answered as to be replicated. So nothing is stale now and then, unless a standby stands still.
    let control = Arc::new(Course::new(Arc::clone(&ground), Sends::Nothing, control_reads(reads), workers));
    let (control, _) = while_standbys_stand_still(&control, servers, context).await?;
    let course = Arc::new(Course::new(Arc::clone(&ground), sends(context), reads, workers));
    let (with_tokens, paused) = while_standbys_stand_still(&course, servers, context).await?;
    verdict.figure("paused", paused);
    judge::history(&with_tokens, verdict, &ground);
    if context.mutant.is_none() {
        judge::answers(&with_tokens, verdict, "with tokens");
        judge::service(&with_tokens, verdict, &ground);
    }
    judge_control(context, verdict, &control, reads);
    verdict.figure("events", events(site.members(), site.ready()).await?);
    Ok(())
}

/// The demo's document with the routes of the claim.
pub(crate) fn document(text: &str) -> Result<String> {
    document::with_routes(text, None)
}

/// Runs a course to its end, and one standby after the other stands still meanwhile. Answers how often, too.
async fn while_standbys_stand_still(course: &Arc<Course>, servers: (&Sql, &[Sql]), context: &mut Context) -> Result<(Record, usize)> {
    let mut random = context.random.clone();
    let pausing = async {
        course.hold_open(true);
        let paused = faults::pauses(servers.0, servers.1, &mut random, || course.is_enough()).await;
        course.hold_open(false);
        paused
    };
    let (record, paused) = tokio::join!(course.run(&mut context.random), pausing);
    Ok((record?, paused?))
}

/// How many reads the run without tokens has.
fn control_reads(trials: u64) -> u64 {
    (trials / CONTROL_EACH).max(CONTROL_MIN)
}

/// The run whose clients send no tokens.
async fn control(context: &mut Context, ground: &Arc<Ground>, trials: u64, workers: usize) -> Result<Record> {
    Arc::new(Course::new(Arc::clone(ground), Sends::Nothing, control_reads(trials), workers)).run(&mut context.random).await
}

fn sends(context: &Context) -> Sends {
    if context.is_mutant(TOKEN_DROPPED) { Sends::Nothing } else { Sends::Token }
}

/// Applies the routes of the claim, and what is false in the document of a mutant.
async fn apply(context: &Context, regions: &Regions) -> Result<()> {
    let falsehood = if context.is_mutant(CAUGHT_UP) {
        Some(Falsehood::Server(regions.partner().context("no standby stands beside the primary")?))
    } else {
        context.is_mutant(ONE_OF_SET).then_some(Falsehood::OneOfSet)
    };
    let failure = RefCell::new(None);
    regions
        .apply(|text| {
            document::with_routes(text, falsehood).unwrap_or_else(|error| {
                failure.replace(Some(error));
                text.to_owned()
            })
        })
        .await?;
    failure.into_inner().map_or(Ok(()), Err)
}

/// What the nodes that run have counted since they were started.
async fn events(members: &[Member], ready: &Ready) -> Result<String> {
    let api = Api::of(ready)?;
    let mut counts = EVENTS.map(|event| (event, 0_u64));
    for member in members {
        let text = api.control(member.node.region(), "/metrics").await?.body;
        for (event, count) in &mut counts {
            let start = format!("causeway_consistency_total{{event=\"{event}\"}} ");
            *count += text.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(counts.map(|(event, count)| format!("{event}:{count}")).join(","))
}

/// Without tokens there must be stale reads: a testbed in which none can be seen shows nothing.
fn judge_control(context: &Context, verdict: &mut Verdict, control: &Record, trials: u64) {
    let broken = control.broken();
    let wanted = (trials / STALE_EACH).max(1);
    let stale = broken.stale.len() as u64;
    let is_lacking = stale < wanted && context.mutant.is_none();
    verdict.trials_of(0, u64::from(is_lacking), || format!("the control run shows {stale} stale reads and not {wanted}: this proves nothing"));
    verdict.figure("control_reads", control.tally.reads);
    verdict.figure("stale_control", stale);
    verdict.figure("back_control", broken.back.len());
}
