//! `database-outage`: with every database server gone, running nodes serve known keys where the route allows it; restarted nodes
//! do so from their sealed snapshot, and answer 503 `authority-stale` where the route demands confirmed keys.

use std::time::Duration;

use anyhow::Result;
use harness::dev::{Dev, RegionReady};
use harness::node::{Node, Under};
use harness::process::Process;
use harness::wait;
use rustix::process::Signal;

use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::share;

/// Routes by their preset, and how long the authority of a running node stays good on each.
const STRICT: [(&str, Duration); 2] = [("/demo/v1/finance/echo", Duration::from_secs(2)), ("/demo/v1/health/echo", Duration::from_secs(10))];
const LENIENT: &str = "/demo/v1/social/echo";
/// Beyond a route's bound, for a loaded machine.
const SLACK: Duration = Duration::from_secs(3);
/// A node seals its last good snapshot within this time of a change.
const SEALED_WITHIN: Duration = Duration::from_secs(10);

/// A restarted node gives the database a moment before it takes what lies on disk.
const READY_WITHIN: Duration = Duration::from_secs(10);

pub(crate) const CLAIM: Claim = Claim {
    slug: "database-outage",
    promise: "without any database known keys are served where the route allows it, by running and by restarted nodes",
    trials: 100,
    mutants: &["snapshot-removed"],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let api = Api::of(dev.ready())?;
    let regions = dev.ready().regions.clone();
    let mut nodes = regions.iter().map(|region| Node::adopt(&dev, region)).collect::<Result<Vec<_>>>()?;
    for region in &regions {
        for path in [LENIENT, STRICT[0].0, STRICT[1].0] {
            expect(&api, verdict, region, path, 200, "before").await;
        }
        sealed(region).await?;
    }

    // The standby first: a primary waits for what its standby has not received.
    let mut servers: Vec<&RegionReady> = regions.iter().collect();
    servers.sort_by_key(|region| region.role == harness::dev::Role::Writer);
    for region in servers {
        let postmaster = Process::of(region.postgres_pid)?;
        postmaster.signal(Signal::INT);
        postmaster.wait_gone(Duration::from_secs(30)).await?;
    }

    let mut served = serve(&api, verdict, &regions, context.trials, "running").await;
    for (path, bound) in STRICT {
        for region in &regions {
            let stale = wait::until("a stale authority", bound + SLACK, async || {
                api.get(region, path, api.first_key()).await.is_ok_and(|answer| answer.status == 503 && answer.code() == "authority-stale")
            })
            .await;
            verdict.trial(stale.is_ok(), || format!("{} goes on serving {path} past its bound", region.name));
        }
    }
    degraded(&api, verdict, &regions, "running").await;

    for node in &mut nodes {
        node.kill().await?;
        if context.is_mutant("snapshot-removed") {
            remove_snapshots(node.region())?;
        }
        node.start(Under::Bare).await?;
        let ready = node.wait_ready(READY_WITHIN).await;
        verdict.trial(ready.is_ok(), || format!("the restarted node of {} does not get ready without a database", node.region().name));
    }
    served += serve(&api, verdict, &regions, context.trials, "restarted").await;
    for region in &regions {
        for (path, _) in STRICT {
            expect(&api, verdict, region, path, 503, "restarted").await;
        }
    }
    degraded(&api, verdict, &regions, "restarted").await;
    verdict.figure("share_served", share(served, 2 * 2 * context.trials));

    for node in &mut nodes {
        node.stop().await?;
    }
    dev.stop().await
}

/// Known keys on the route that allows it; answers how many were served.
async fn serve(api: &Api, verdict: &mut Verdict, regions: &[RegionReady], trials: u64, when: &str) -> u64 {
    let mut served = 0;
    for region in regions {
        for _ in 0..trials {
            served += u64::from(expect(api, verdict, region, LENIENT, 200, when).await);
        }
        // Refusing nothing would be no authentication: an unknown key is refused as ever.
        let stranger = api.get(region, LENIENT, "cw_live_nobody").await;
        verdict
            .trial(stranger.as_ref().is_ok_and(|answer| answer.status == 401), || format!("{when}: {} does not refuse a malformed key", region.name));
    }
    served
}

async fn expect(api: &Api, verdict: &mut Verdict, region: &RegionReady, path: &str, status: u16, when: &str) -> bool {
    let answer = api.get(region, path, api.first_key()).await;
    let held = answer.as_ref().is_ok_and(|answer| {
        // A refusal must be the right one: any 503 would also cover a node that cannot do anything.
        answer.status == status && (status != 503 || answer.code() == "authority-stale")
    });
    verdict.trial(held, || match answer {
        Ok(answer) => format!("{when}: {} answered {path} with {}", region.name, answer.summary()),
        Err(error) => format!("{when}: {} did not answer {path}: {error:#}", region.name),
    });
    held
}

/// Loss of the database is *degraded*, not *unready*.
async fn degraded(api: &Api, verdict: &mut Verdict, regions: &[RegionReady], when: &str) {
    for region in regions {
        let answer = api.control(region, "/readyz?verbose").await;
        let held = answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.body.contains("degraded"));
        verdict.trial(held, || match answer {
            Ok(answer) => format!("{when}: /readyz of {} answered {}: {}", region.name, answer.status, answer.body),
            Err(error) => format!("{when}: /readyz of {} did not answer: {error:#}", region.name),
        });
    }
}

/// Waits until the node has sealed a snapshot to disk.
async fn sealed(region: &RegionReady) -> Result<()> {
    wait::until("a sealed snapshot", SEALED_WITHIN, async || snapshots(region).is_ok_and(|found| !found.is_empty())).await?;
    Ok(())
}

fn remove_snapshots(region: &RegionReady) -> Result<()> {
    for path in snapshots(region)? {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// The files of the node's `state` folder, as its configuration names it.
fn snapshots(region: &RegionReady) -> Result<Vec<std::path::PathBuf>> {
    let text = std::fs::read_to_string(&region.node_config)?;
    let state = text.lines().find_map(|line| line.strip_prefix("state:")).unwrap_or_default().trim().trim_matches(['"', '\'']);
    let folder = region.node_config.parent().unwrap_or(std::path::Path::new("/")).join(state);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}
