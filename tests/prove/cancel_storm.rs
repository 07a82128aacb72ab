//! `cancel-storm`: clients that open and reset streams, make the gateway reset them, or flood it with frames, lose their connections
//! and cost nobody else a request or memory.

mod attack;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use harness::process::Process;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::ground::{self, Door, Ground, Service};
use crate::neighbor::{self, Neighbors};
use attack::{ATTACKS, Attack, Ends, Outcome};

/// Attackers of one kind at the same time.
const PARALLEL: u64 = 8;
/// What the node may grow by under attack and after it.
const GROWTH_MAX: u64 = 64 << 20;
/// The mutant: a server in the gateway's place that takes everything, keeps it and never ends a connection.
const HOARDER: &str = "hoarder";

pub(crate) const CLAIM: Claim = Claim {
    slug: "cancel-storm",
    promise: "resets, made resets and floods over HTTP/2 end the attacker's connection; neighbors are served and memory stays (n: attackers of each kind)",
    trials: 24,
    mutants: &[HOARDER],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (honest, honest_port) = ground::listener().await?;
    let (prey, prey_port) = ground::listener().await?;
    let services = [Service::new("prey", prey_port), Service::new("honest", honest_port)];
    let _services = (neighbor::service(honest), neighbor::service(prey));
    let ground = Ground::start("stall_timeout: 2s", &ground::document(&services), "/honest/ready").await?;
    let neighbors = Neighbors::start(&ground.door)?;
    let (hoarder, hoarder_port) = ground::listener().await?;
    let _hoarder = hoard(hoarder);
    let is_spoiled = context.is_mutant(HOARDER);
    let door = if is_spoiled { ground.door.stand_in(([127, 0, 0, 1], hoarder_port).into()) } else { ground.door.clone() };
    let process = if is_spoiled { Process::of(std::process::id())? } else { ground.process() };

    let before = process.resident_bytes();
    let descriptors = process.descriptors();
    let (mut peak, mut connections, mut frames) = (before, 0, 0);
    for attack in ATTACKS {
        let calm = neighbors.served();
        let began = Instant::now();
        let found = storm(&door, attack, context.trials, process, &mut peak).await?;
        for outcome in &found {
            connections += 1;
            frames += outcome.frames;
            verdict.trial(outcome.holds(attack), || format!("{}: {outcome:?}", attack.name));
        }
        let ended = found.iter().filter(|outcome| outcome.ended).count();
        let with_goaway = found.iter().filter(|outcome| outcome.goaway.is_some()).count();
        eprintln!(
            "  cancel-storm: {:<24} ended {ended}/{} goaway {with_goaway} frames {} in {} ms, neighbors +{}",
            attack.name,
            found.len(),
            found.iter().map(|outcome| outcome.frames).sum::<u64>(),
            began.elapsed().as_millis(),
            neighbors.served() - calm,
        );
    }
    let after = process.resident_bytes();
    verdict.trial(peak.saturating_sub(before) <= GROWTH_MAX, || format!("the node grew from {before} to {peak} bytes"));
    // What the attackers held is given back: descriptors but for the connections to services that are kept.
    let left = harness::wait::until("the attackers' descriptors", Duration::from_secs(10), async || process.descriptors() <= descriptors + 64).await;
    verdict.trial(left.is_ok() || is_spoiled, || format!("{descriptors} descriptors before, {} after", process.descriptors()));
    verdict.figure("attacks", ATTACKS.len());
    verdict.figure("attackers", connections);
    verdict.figure("frames", frames);
    verdict.figure("rss_before_mib", before >> 20);
    verdict.figure("rss_peak_mib", peak >> 20);
    verdict.figure("rss_after_mib", after >> 20);
    neighbors.judge(verdict);
    ground.stop().await
}

/// Lets `n` attackers of a kind loose, and watches the memory meanwhile.
async fn storm(door: &Door, attack: &'static Attack, n: u64, process: Process, peak: &mut u64) -> Result<Vec<Outcome>> {
    let gate = Arc::new(tokio::sync::Semaphore::new(usize::try_from(PARALLEL).unwrap_or(1)));
    let mut attackers = JoinSet::new();
    for _ in 0..n {
        let (door, gate) = (door.clone(), Arc::clone(&gate));
        attackers.spawn(async move {
            let _permit = gate.acquire_owned().await?;
            attack.run(&door).await
        });
    }
    let over = CancellationToken::new();
    let watch = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(50));
        let mut most = 0;
        while !over.is_cancelled() {
            pulse.tick().await;
            most = process.resident_bytes().max(most);
        }
        most
    };
    let all = async {
        let mut all = Vec::new();
        while let Some(done) = attackers.join_next().await {
            all.push(done??);
        }
        over.cancel();
        Ok::<_, anyhow::Error>(all)
    };
    let (most, all) = tokio::join!(watch, all);
    *peak = most.max(*peak);
    all
}

impl Outcome {
    fn holds(&self, attack: &Attack) -> bool {
        self.is_lawful && (attack.ends == Ends::May || self.ended)
    }
}

/// Takes everything and keeps it.
fn hoard(listener: TcpListener) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            served.spawn(async move {
                let mut all = Vec::new();
                while matches!(stream.read_buf(&mut all).await, Ok(n) if n > 0) {}
                std::future::pending::<()>().await;
                drop(all);
            });
        }
    });
    task
}
