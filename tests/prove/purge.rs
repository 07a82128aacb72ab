//! `cache-purge`: once a purge is committed, no region gives what it names for longer than a second, also over a line of 150 ms each
//! way; what it does not name stays.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::{self, RegionReady};
use harness::node::Topology;
use harness::wait;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{Durations, millis};

/// The promise.
const WITHIN: Duration = Duration::from_secs(1);
/// How long a trial goes on looking after the promise is broken, to tell late from never.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long nothing old may come back.
const LINGER: Duration = Duration::from_millis(200);
/// Between two looks, so that the loaders of the access log keep up.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The injected delay, each way.
const DELAY: Duration = Duration::from_millis(150);
/// How long the cut-off region must go on giving what it has.
const WATCH: Duration = Duration::from_millis(1500);
/// The mutant: the reader's node has the primary's address in place of its standby's.
const READ_PRIMARY: &str = "read-primary";

pub(crate) const CLAIM: Claim = Claim {
    slug: "cache-purge",
    promise: "a purged response is given by no region later than 1 s after the commit, and every other one stays",
    trials: 20,
    mutants: &[READ_PRIMARY],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let mut topology = Topology::start().await?;
    if context.is_mutant(READ_PRIMARY) {
        topology.read_primary().await?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let mut service = JoinSet::new();
    service.spawn(serve(listener));
    apply(&topology, port).await?;
    let bench = Bench { api: Api::of(topology.dev().ready())?, topology };

    bench.reads_the_standby(verdict).await?;
    let mut late = 0;
    for (delay, names) in [(Duration::ZERO, ["p50_ms", "max_ms"]), (DELAY, ["delayed_p50_ms", "delayed_max_ms"])] {
        bench.topology.delay(delay);
        let mut durations = Durations::default();
        for trial in 0..context.trials {
            late += bench.trial(verdict, &mut durations, &format!("{}-{trial}", delay.as_millis())).await?;
        }
        for (name, percent) in names.into_iter().zip([50, 100]) {
            verdict.figure(name, durations.percentile(percent));
        }
    }
    verdict.figure("given_after_bound", late);
    verdict.figure("delay_each_way_ms", DELAY.as_millis());
    bench.topology.stop().await
}

/// A service whose every answer is another one, tagged with the last part of its path.
async fn serve(listener: TcpListener) {
    let (count, mut served) = (Arc::<AtomicU64>::default(), JoinSet::new());
    while let Ok((stream, _)) = listener.accept().await {
        served.spawn(answer(stream, Arc::clone(&count)));
    }
}

async fn answer(mut stream: TcpStream, count: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&head);
        let tag = text.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let body = format!("answer {}", count.fetch_add(1, Ordering::Relaxed));
        let fields = format!("cache-control: public, max-age=600\r\ncache-tag: {tag}\r\ncontent-length: {}", body.len());
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").as_bytes()).await?;
        head.clear();
    }
}

async fn apply(topology: &Topology, port: u16) -> Result<()> {
    let ready = topology.dev().ready();
    let document = json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "upstreams": [{ "name": "kept", "regions": { "eu-west": { "targets": [format!("http://127.0.0.1:{port}")], "role": "writer" } } }],
        "routes": [{ "name": "kept", "match": { "host": "127.0.0.1", "path": "/kept/**" }, "upstream": "kept", "auth": "none", "cache": { "shared": true } }],
    });
    let file = ready.ca.with_file_name("purge.json");
    std::fs::write(&file, document.to_string())?;
    let done = tokio::process::Command::new(dev::binary()?)
        .args(["apply", "-f"])
        .arg(&file)
        .env("CAUSEWAY_CONTROL", &topology.writer.region().control)
        .env("CAUSEWAY_TOKEN", &ready.operator_token)
        .env("CAUSEWAY_CA", &ready.ca)
        .output()
        .await?;
    ensure!(done.status.success(), "apply: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

struct Bench {
    api: Api,
    topology: Topology,
}

/// What a region did after a purge.
struct Effect {
    /// Until its first answer that was not the purged one.
    took: Option<Duration>,
    /// Answers with the purged one that were asked for after the bound, or came after another one.
    late: u64,
}

impl Bench {
    fn regions(&self) -> [&RegionReady; 2] {
        [self.topology.writer.region(), self.topology.reader.region()]
    }

    async fn get(&self, region: &RegionReady, tag: &str) -> Result<(String, bool)> {
        let answer = self.api.get(region, &format!("/kept/{tag}"), "").await?;
        ensure!(answer.status == 200, "{} answered {}", region.name, answer.summary());
        let is_hit = answer.header("cache-status").is_some_and(|text| text.starts_with("causeway; hit"));
        Ok((answer.body, is_hit))
    }

    /// What a region has stored under a tag.
    async fn stored(&self, region: &RegionReady, tag: &str) -> Result<String> {
        let found = wait::some("a stored response", PATIENCE, async || self.get(region, tag).await.ok().filter(|(_, is_hit)| *is_hit)).await;
        Ok(found.with_context(|| format!("{} keeps nothing", region.name))?.0.0)
    }

    async fn effect(&self, region: &RegionReady, tag: &str, old: &str, committed: Instant) -> Result<Effect> {
        let mut effect = Effect { took: None, late: 0 };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let asked = committed.elapsed();
            let (text, _) = self.get(region, tag).await?;
            if text != old {
                // The answer's moment counts and not the question's: what a client sees is later.
                effect.took.get_or_insert_with(|| committed.elapsed());
            } else if asked > WITHIN || effect.took.is_some() {
                effect.late += 1;
            }
            if asked > effect.took.map_or(PATIENCE, |took| took + LINGER) {
                return Ok(effect);
            }
        }
    }

    /// One trial, timed from the answer of the commit; how many old answers came late.
    async fn trial(&self, verdict: &mut Verdict, durations: &mut Durations, trial: &str) -> Result<u64> {
        let (tag, other) = (format!("t{trial}"), format!("o{trial}"));
        let [near, far] = self.regions();
        let before = [self.stored(near, &tag).await?, self.stored(far, &tag).await?];
        let others = [self.stored(near, &other).await?, self.stored(far, &other).await?];

        self.api.purge(near, &tag).await?;
        let committed = Instant::now();
        let (first, second) = tokio::join!(self.effect(near, &tag, &before[0], committed), self.effect(far, &tag, &before[1], committed));

        let mut late = 0;
        for (region, effect) in [(near, first?), (far, second?)] {
            let held = effect.late == 0 && effect.took.is_some_and(|took| took <= WITHIN);
            verdict.trial(held, || {
                format!("{trial}: {} gave the purged response {} times too late; first other answer: {:?}", region.name, effect.late, effect.took)
            });
            if region.name == far.name {
                durations.add(effect.took.unwrap_or(PATIENCE));
            }
            late += effect.late;
        }
        for (region, old) in [near, far].into_iter().zip(others) {
            let after = self.get(region, &other).await?;
            verdict.trial(after == (old, true), || format!("{trial}: {} lost what was not purged", region.name));
        }
        Ok(late)
    }

    /// The control without which the rest proves nothing: with replay paused on the standby and the line to the primary cut, the
    /// reader region goes on giving what it has, for it cannot know; once replay goes on it must not, the line still cut.
    async fn reads_the_standby(&self, verdict: &mut Verdict) -> Result<()> {
        let [near, far] = self.regions();
        let before = [self.stored(near, "control").await?, self.stored(far, "control").await?];
        let standby = self.topology.standby();
        standby.ask("postgres", "select pg_wal_replay_pause()").await?;
        wait::until("a paused standby", PATIENCE, async || {
            standby.ask("postgres", "select pg_get_wal_replay_pause_state()").await.is_ok_and(|rows| rows == ["paused"])
        })
        .await?;
        self.topology.to_primary.partition();
        self.api.purge(near, "control").await?;

        let gone = async |region, old: &str, limit| {
            wait::until("another answer", limit, async || self.get(region, "control").await.is_ok_and(|(text, _)| text != old)).await
        };
        verdict.trial(gone(near, &before[0], WITHIN).await.is_ok(), || format!("control: {} does not show its own purge", near.name));
        verdict.trial(gone(far, &before[1], WATCH).await.is_err(), || {
            format!("control: {} knows what its standby has not replayed: it reads the primary", far.name)
        });
        standby.ask("postgres", "select pg_wal_replay_resume()").await?;
        let resumed = Instant::now();
        let after = gone(far, &before[1], WITHIN).await;
        verdict.trial(after.is_ok(), || format!("control: {} does not follow its standby within 1 s", far.name));
        verdict.figure("cut_off_ms", millis(resumed.elapsed()));
        self.topology.to_primary.heal();
        Ok(())
    }
}
