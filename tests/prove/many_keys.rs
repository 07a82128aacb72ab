//! `many-keys`: a node that knows a million keys takes one more, and takes one back, as fast as one that knows none.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::RegionReady;
use harness::history::{self, Served};
use harness::node::{Node, Topology, Under};
use harness::wait;
use rustix::process::Signal;
use tokio::time::{Instant, timeout};

use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{Durations, millis};

/// Keys that lie there for each trial: a hundred trials make a million.
const KEYS_PER_TRIAL: u64 = 10_000;
/// The promise.
const WITHIN: Duration = Duration::from_secs(1);
/// How long a trial goes on looking after the promise is broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a change must last once it has been seen.
const LINGER: Duration = Duration::from_millis(100);
/// How long a node may take to know all keys, from its start.
const LOADED_WITHIN: Duration = Duration::from_mins(2);
/// What a key may cost, once everything that a node allocates for all is paid for.
const KEY_BYTES_MAX: u64 = 2_048;
const NODE_BYTES: u64 = 64 << 20;
const KEYS_JUDGED: u64 = 1_000_000;
/// The mutant: a node that copies everything at each change would stand still about so long.
const COPIED_WHOLE: &str = "copied-whole";
const STILL: Duration = Duration::from_millis(1_500);

pub(crate) const CLAIM: Claim = Claim {
    slug: "many-keys",
    promise: "beside a million keys (10,000 for each of n) one that is issued works, and one that is revoked is refused, in both regions within 1 s",
    trials: 100,
    mutants: &[COPIED_WHOLE],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let mut topology = Topology::start().await?;
    let api = Api::of(topology.dev().ready())?;
    let keys = context.trials * KEYS_PER_TRIAL;
    let bare = [&topology.writer, &topology.reader].map(|node| node.process().resident_bytes());
    let mut few = Durations::default();
    for trial in 0..context.trials.min(20) {
        round(&topology, &api, verdict, &mut few, &format!("few {trial}"), false).await?;
    }

    let began = Instant::now();
    fill(&topology, keys).await?;
    verdict.figure("fill_ms", millis(began.elapsed()));
    let names = [["writer_load_ms", "writer_bytes_per_key"], ["reader_load_ms", "reader_bytes_per_key"]];
    for ((node, bare), [load, bytes]) in [&mut topology.writer, &mut topology.reader].into_iter().zip(bare).zip(names) {
        node.kill().await?;
        // As a node that comes new: what lies on disk is of before, and no change says so.
        std::fs::remove_dir_all(node.region().node_config.with_file_name("state")).context("the node's state")?;
        let began = Instant::now();
        node.start(Under::Bare).await?;
        loaded(node, &api, keys).await?;
        let each = node.process().resident_bytes().saturating_sub(bare + NODE_BYTES) / keys;
        verdict.figure(load, millis(began.elapsed()));
        verdict.figure(bytes, each);
        // With fewer, what a node allocates for all tells more than the keys.
        let judged = u64::from(keys >= KEYS_JUDGED);
        verdict.trials_of(judged, judged * u64::from(each > KEY_BYTES_MAX), || format!("a key costs {each} bytes in {}", node.region().name));
    }

    let mut many = Durations::default();
    for trial in 0..context.trials {
        round(&topology, &api, verdict, &mut many, &format!("many {trial}"), context.is_mutant(COPIED_WHOLE)).await?;
    }
    for (durations, names) in [(&mut few, ["few_p50_ms", "few_p99_ms", "few_max_ms"]), (&mut many, ["p50_ms", "p99_ms", "max_ms"])] {
        for (name, percent) in names.into_iter().zip([50, 99, 100]) {
            verdict.figure(name, durations.percentile(percent));
        }
    }
    verdict.figure("keys", keys);
    topology.stop().await
}

/// Keys that nobody holds: they are rows like all others.
async fn fill(topology: &Topology, keys: u64) -> Result<()> {
    let rows = format!(
        "insert into api_key (key_id, digest, pepper_version, application_id, name, prefix, last_four, state, expires_at, created_by)
         select lpad(i::text, 12, '0'), sha256(i::text::bytea), 1, (select application_id from application limit 1), 'one of many', 'cw_live_', 'many',
                'active', now() + interval '1 year', 'many-keys'
         from generate_series(1, {keys}) i"
    );
    topology.primary().ask("causeway", &rows).await.context("the keys cannot be written")?;
    let count = "select count(*) from api_key where created_by = 'many-keys'";
    let wanted = [keys.to_string()];
    let standby = topology.standby();
    wait::until("the keys on the standby", LOADED_WITHIN, async || standby.ask("causeway", count).await.is_ok_and(|rows| rows == wanted)).await?;
    Ok(())
}

/// Waits until a node knows all keys and answers with one.
async fn loaded(node: &Node, api: &Api, keys: u64) -> Result<()> {
    let region = node.region();
    let known = async || -> Result<bool> {
        let text = api.control(region, "/metrics").await?.body;
        let line = text.lines().find_map(|line| line.strip_prefix("causeway_keys ")).context("no number of keys")?;
        let number = line.split('.').next().and_then(|number| number.parse::<u64>().ok());
        Ok(number.is_some_and(|known| known >= keys))
    };
    wait::until("a node that knows all keys", LOADED_WITHIN, async || known().await.unwrap_or(false)).await?;
    let looks = api.settles(region, api.first_key(), Served::Yes, PATIENCE, Duration::ZERO).await;
    ensure!(looks.took.is_some(), "{} does not serve: {}", region.name, looks.odd.unwrap_or_default());
    Ok(())
}

/// A key is issued, works in both regions, is revoked and is refused in both.
async fn round(topology: &Topology, api: &Api, verdict: &mut Verdict, durations: &mut Durations, name: &str, is_still: bool) -> Result<()> {
    let regions = [topology.writer.region(), topology.reader.region()];
    let key = api.issue(topology.writer.region(), name).await?;
    both(api, regions, &key.secret, Served::Yes, verdict, durations, name).await;
    api.revoke(topology.writer.region(), &key.id).await?;
    let still = async {
        if is_still {
            let process = topology.reader.process();
            process.signal(Signal::STOP);
            let over = timeout(STILL, std::future::pending::<()>()).await;
            process.signal(Signal::CONT);
            debug_assert!(over.is_err(), "nothing else ends it");
        }
    };
    tokio::join!(still, both(api, regions, &key.secret, Served::No, verdict, durations, name));
    Ok(())
}

async fn both(api: &Api, regions: [&RegionReady; 2], secret: &str, settled: Served, verdict: &mut Verdict, durations: &mut Durations, name: &str) {
    let looks = |region| api.settles(region, secret, settled, PATIENCE, LINGER);
    let [near, far] = regions;
    let (near, far) = tokio::join!(looks(near), looks(far));
    for (region, looks) in regions.into_iter().zip([near, far]) {
        let held = looks.took.is_some_and(|took| took <= WITHIN) && history::falls_back(&looks.sights, settled).is_empty();
        durations.add(looks.took.unwrap_or(PATIENCE));
        verdict.trial(held, || format!("{name}: {} showed {settled:?} after {:?}", region.name, looks.took.map(millis)));
    }
}
