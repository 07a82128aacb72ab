//! `patroni`: the control database runs under Patroni with a strict synchronous standby, and loses its leader again and again while
//! keys are issued, revoked and used. Nothing that was acknowledged is lost; keys are served throughout; and changes are made again without
//! anybody's hand.
//!
//! Before each blow but the planned one the leader is kept from sending anything to its standbys: what it acknowledges then, it alone has.

mod ground;
mod history;
mod judge;
mod load;
#[cfg(test)]
mod tests;
mod times;

use std::time::Duration;

use anyhow::Result;
use harness::patroni::{self, Fault, Held, Patroni, Replication};
use tokio::time::{Instant, sleep_until};

use self::ground::Ground;
use self::history::lock;
use self::load::Load;
use self::times::Times;
use crate::claim::{Claim, Context, Run, Verdict};

/// How long the leader sends nothing before it is struck.
const ALONE: Duration = Duration::from_millis(700);
/// How long a change may take to be made again, from the blow on: the leader's key, the election, and room for a loaded machine.
const SERVED_WITHIN: Duration = Duration::from_secs(45);
/// How long the old leader may take to stream again.
const REJOINED_WITHIN: Duration = Duration::from_mins(1);
/// The load goes on for so long before a blow, and after the old leader is awake again.
const STEADY: Duration = Duration::from_millis(500);
/// The mutant: commits wait for nothing.
const ASYNCHRONOUS: &str = "asynchronous";
/// The mutant: nodes know the address of the first leader alone.
const ONE_ADDRESS: &str = "one-address";

pub(crate) const CLAIM: Claim = Claim {
    slug: "patroni",
    promise: "with the control database under Patroni no acknowledged change is lost by a failover, and nodes serve through it and write again",
    trials: 12,
    mutants: &[ASYNCHRONOUS, ONE_ADDRESS],
    obstacle: patroni::obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// What happens to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Unplanned(Fault),
    Switchover,
}

/// One after another. The two that cost the whole life of the leader's key come last of their three.
const BLOWS: [Blow; 6] = [
    Blow::Unplanned(Fault::Crash),
    Blow::Switchover,
    Blow::Unplanned(Fault::Kill),
    Blow::Unplanned(Fault::Crash),
    Blow::Switchover,
    Blow::Unplanned(Fault::Freeze),
];

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let replication = if context.is_mutant(ASYNCHRONOUS) { Replication::Asynchronous } else { Replication::Strict };
    let mut ground = Box::pin(Ground::start(replication, context.is_mutant(ONE_ADDRESS))).await?;
    let load = Load::start(&ground.api, &ground.regions());
    let mut times = Times::default();
    for (trial, blow) in (0..context.trials).zip(BLOWS.iter().cycle()) {
        let mut trial = Trial { number: trial, ground: &mut ground, load: &load, times: &mut times };
        if !Box::pin(trial.run(verdict, *blow)).await? {
            break;
        }
    }
    let history = load.stop().await;
    judge::whole(verdict, &ground, &history).await?;
    verdict.figure("patroni", ground.patroni.version());
    verdict.figure("ttl_s", patroni::TTL.as_secs());
    lock(&history).figures(verdict);
    times.figures(verdict);
    ground.stop().await
}

/// One blow, and what comes of it.
struct Trial<'a> {
    number: u64,
    ground: &'a mut Ground,
    load: &'a Load,
    times: &'a mut Times,
}

impl Trial<'_> {
    /// Whether another one makes sense after it.
    async fn run(&mut self, verdict: &mut Verdict, blow: Blow) -> Result<bool> {
        sleep_until(Instant::now() + STEADY).await;
        let patroni = &mut self.ground.patroni;
        let leader = patroni.leader().await?;
        let mut at = Instant::now();
        let mut frozen = Held::default();
        let epoch = match blow {
            Blow::Switchover => self.load.strike(at),
            Blow::Unplanned(fault) => {
                let senders = patroni.hold_senders(leader)?;
                sleep_until(at + ALONE).await;
                at = Instant::now();
                let epoch = self.load.strike(at);
                frozen = patroni.strike(fault, leader).await?;
                drop(senders);
                epoch
            }
        };
        let patroni: &Patroni = patroni;
        let switched = async {
            match blow {
                Blow::Switchover => patroni.switch_over(leader).await,
                Blow::Unplanned(_) => Ok(()),
            }
        };
        let (switched, accepted, served) =
            tokio::join!(switched, patroni.accepts(leader, SERVED_WITHIN), self.load.serves_again(epoch, at + SERVED_WITHIN));
        switched?;
        let accepted = accepted?;
        self.load.calm();

        let number = self.number;
        verdict.trial(served.is_some(), || {
            format!("trial {number}: after {blow:?} changes were not made again through each node within {} s", SERVED_WITHIN.as_secs())
        });
        let Some(served) = served else { return Ok(false) };
        self.times.add(blow, accepted.duration_since(at), served.duration_since(at));

        // It wakes, or comes back, under the same load.
        drop(frozen);
        let woken = Instant::now();
        self.ground.patroni.bring_back(leader)?;
        sleep_until(woken + STEADY).await;
        self.ground.patroni.wait_whole(REJOINED_WITHIN).await?;
        self.times.rejoined(woken.elapsed());
        judge::trial(verdict, self.ground, self.load.history(), number).await?;
        Ok(true)
    }
}
