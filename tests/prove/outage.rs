//! `database-outage`: with every database server gone, running nodes serve known keys where the route allows it; restarted nodes
//! do so from their sealed snapshot, and answer 503 `authority-stale` where the route demands confirmed keys.

//!
//! What each kind of route answers in each phase is printed as a table, and held against what is written ([`table`]). `--seconds` says how
//! long the outage lasts at least.

mod ground;
mod table;

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::dev::RegionReady;
use harness::node::Under;
use harness::wait;
use tokio::time::{Instant, sleep_until};

use self::ground::{Given, Ground};
use self::table::{Phase, Table};
use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{millis, share};

/// Routes by their preset, and how long the authority of a running node stays good on each.
const STRICT: [(&str, Duration); 2] = [("/demo/v1/finance/echo", Duration::from_secs(2)), ("/demo/v1/health/echo", Duration::from_secs(10))];
const LENIENT: &str = "/demo/v1/social/echo";
/// Beyond a route's bound, for a loaded machine.
const SLACK: Duration = Duration::from_secs(3);
/// A node seals its last good snapshot within this time of a change.
const SEALED_WITHIN: Duration = Duration::from_secs(10);

/// How long nodes may take to serve on every route once the database is there.
const WELL_WITHIN: Duration = Duration::from_mins(1);
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
    let mut ground = Box::pin(Ground::start()).await?;
    let api = Api::of(ground.dev.ready())?;
    let regions = ground.dev.ready().regions.clone();
    let mut table = Table::of(&ground)?;
    well(&mut table, &regions, "before").await?;
    for region in &regions {
        for path in [LENIENT, STRICT[0].0, STRICT[1].0] {
            expect(&api, verdict, region, path, 200, "before").await;
        }
        table.look(region, Phase::Before, verdict).await;
        sealed(region).await?;
    }

    ground.stop_servers().await?;
    let began = Instant::now();
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
    for region in &regions {
        table.look(region, Phase::Down, verdict).await;
    }

    for node in &mut ground.nodes {
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
    if context.mutant.is_none() {
        for region in &regions {
            table.settled(region).await?;
            table.look(region, Phase::Restarted, verdict).await;
        }
    }
    verdict.figure("share_served", share(served, 2 * 2 * context.trials));
    if context.mutant.is_none() {
        Box::pin(add_and_return(context, verdict, &mut ground, &mut table, began)).await?;
    }
    verdict.figure("down_s", began.elapsed().as_secs());
    eprintln!("{}", table.text());
    ground.stop().await
}

/// Nodes are added while the outage lasts, and then the servers come back.
async fn add_and_return(context: &Context, verdict: &mut Verdict, ground: &mut Ground, table: &mut Table, began: Instant) -> Result<()> {
    for (name, given, phase) in [("added-1", Given::Nothing, Phase::Added), ("added-2", Given::Copy, Phase::AddedWithCopy)] {
        ground.add(name, given).await?;
        let node = ground.nodes.last().context("no node was added")?;
        if given == Given::Copy {
            let ready = node.wait_ready(READY_WITHIN).await;
            verdict.trial(ready.is_ok(), || "the added node does not get ready with a copy of a sealed snapshot".to_owned());
            table.settled(node.region()).await?;
        }
        table.look(node.region(), phase, verdict).await;
    }
    sleep_until(began + Duration::from_secs(context.seconds)).await;
    let places: Vec<RegionReady> = ground.nodes.iter().map(|node| node.region().clone()).collect();
    for place in places.iter().take(2) {
        table.look(place, Phase::AtEnd, verdict).await;
    }
    if let Some(empty) = places.get(2) {
        table.look(empty, Phase::Added, verdict).await;
    }
    ground.start_servers().await?;
    let back = Instant::now();
    well(table, &places, "after the outage").await?;
    verdict.figure("well_again_ms", millis(back.elapsed()));
    for place in &places {
        table.look(place, Phase::Returned, verdict).await;
    }
    Ok(())
}

/// Waits until every node serves on every route.
async fn well(table: &mut Table, places: &[RegionReady], when: &str) -> Result<()> {
    for place in places {
        wait::until(&format!("{} to serve {when}", place.name), WELL_WITHIN, async || table.is_well(place).await).await?;
    }
    Ok(())
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
