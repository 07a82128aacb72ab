//! `audit-crash`: a node is killed under load again and again, with the power gone as well; every answer that a client received whole
//! has exactly one outcome record in the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::{Dev, RegionReady};
use harness::history::{self, Served};
use harness::node::{Node, Under};
use harness::power::{self, Fdatasync, Loss};
use harness::sql::Sql;
use harness::wait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict};
use crate::figures::share;

/// Clients that send one request after another.
const CLIENTS: usize = 8;
/// How long after the first served request of a round the node dies.
const LIFE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(600));
/// How long the loader may take for what the last incarnations left.
const LOADED_WITHIN: Duration = Duration::from_secs(30);
/// How long a restarted node may take to serve.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// The mutant: `fdatasync` answers 0 and does nothing.
const FDATASYNC_REMOVED: &str = "fdatasync-removed";

pub(crate) const CLAIM: Claim = Claim {
    slug: "audit-crash",
    promise: "no answer that a client received lacks its record, or has two, over kills under load with power loss",
    trials: 10,
    mutants: &[FDATASYNC_REMOVED],
    obstacle: || power::strace().err().map(|error| error.to_string()),
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// What clients hold.
#[derive(Debug, Default)]
struct Received {
    /// Request ids of answers read to their end, with what was answered.
    whole: BTreeMap<String, String>,
    /// Request ids that came with more than one answer.
    reused: u64,
    /// Requests without one.
    broken: u64,
    /// Of these, how many did what was asked: 200, or 422 where that was asked for.
    served: u64,
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let api = Api::of(dev.ready())?;
    let region = dev.writer()?.clone();
    let database = Sql::open(region.postgres_port, &dev.reader()?.postgres_data_dir)?;
    let mut node = Node::adopt(&dev, &region)?;
    let fdatasync = if context.is_mutant(FDATASYNC_REMOVED) { Fdatasync::Removed } else { Fdatasync::Real };
    let received = Arc::new(Mutex::new(Received::default()));
    let (mut dropped, mut syncs) = (Loss::default(), 0);

    // A key each, so that the limit of one key does not throttle the load.
    let mut keys = Vec::new();
    for client in 0..CLIENTS {
        let key = api.issue(&region, &format!("client {client}")).await?;
        let looks = api.settles(&region, &key.secret, Served::Yes, Duration::from_secs(5), Duration::ZERO).await;
        looks.took.context("a new key does not come to work")?;
        keys.push(key.secret);
    }

    node.kill().await?;
    for _ in 0..context.trials {
        node.start(Under::Trace(fdatasync)).await?;
        let life = context.random.between(LIFE.0, LIFE.1);
        load_until_killed(&api, &keys, &mut node, &received, life).await?;
        let trace = node.trace()?;
        let counts = trace.counts();
        // A trace that shows no write, or no sync, would make the run prove nothing.
        ensure!(counts.writes > 0 && counts.syncs + counts.removed_syncs > 0, "the trace shows no write or no sync of the spool");
        let loss = trace.drop_unsynced(&region.spool_dir)?;
        dropped.bytes += loss.bytes;
        dropped.removed += loss.removed;
        syncs += counts.syncs;
    }
    node.start(Under::Bare).await?;
    node.wait_ready(READY_WITHIN).await?;
    verdict.figure("kills", context.trials);

    judge(verdict, &api, &region, &database, &received).await?;
    verdict.figure("dropped_bytes", dropped.bytes);
    verdict.figure("dropped_files", dropped.removed);
    verdict.figure("syncs", syncs);
    node.stop().await?;
    dev.stop().await
}

/// Sends requests from all clients, and kills the node `life` after the first request that it serves.
async fn load_until_killed(api: &Api, keys: &[String], node: &mut Node, received: &Arc<Mutex<Received>>, life: Duration) -> Result<()> {
    let before = lock(received).served;
    let over = CancellationToken::new();
    let mut clients = JoinSet::new();
    for (client, key) in keys.iter().enumerate() {
        // Every fourth client sends what must be refused: refusals have records too.
        let body = client.is_multiple_of(4).then_some(r#"{"name":"crash","quantity":-1}"#);
        clients.spawn(request_until(api.clone(), node.region().clone(), key.clone(), body, Arc::clone(received), over.clone()));
    }
    // What is answered before the node is ready counts too; its life begins with the first request that it serves.
    wait::until("a first served request", READY_WITHIN, async || lock(received).served > before).await?;
    tokio::time::sleep(life).await;
    node.kill().await?;
    over.cancel();
    while clients.join_next().await.is_some() {}
    Ok(())
}

async fn request_until(api: Api, region: RegionReady, key: String, body: Option<&str>, received: Arc<Mutex<Received>>, over: CancellationToken) {
    let expected = if body.is_some() { 422 } else { 200 };
    while !over.is_cancelled() {
        let answer = match body {
            Some(body) => api.post(&region, "/demo/v1/items", &key, "application/json", body).await,
            None => api.get(&region, "/demo/v1/echo", &key).await,
        };
        let mut received = lock(&received);
        let Ok(answer) = answer else {
            // The node is gone: what would fail from here on says nothing.
            received.broken += 1;
            return;
        };
        received.served += u64::from(answer.status == expected);
        if let Some(id) = answer.header("x-request-id") {
            received.reused += u64::from(received.whole.insert(id.to_owned(), answer.summary()).is_some());
        }
    }
}

/// Compares what clients hold with what the database holds, once the loader has caught up.
async fn judge(verdict: &mut Verdict, api: &Api, region: &RegionReady, database: &Sql, received: &Mutex<Received>) -> Result<()> {
    // The loader works in order, so a record of the newest incarnation means that the older ones are through.
    let marker = api.get(region, "/demo/v1/echo", api.first_key()).await?;
    let marker = marker.header("x-request-id").context("an answer without X-Request-Id")?.to_owned();
    wait::until("the newest record in the database", LOADED_WITHIN, async || {
        outcomes(database).await.is_ok_and(|recorded| recorded.contains_key(&marker))
    })
    .await?;
    let (answers, reused, broken, served) = {
        let received = lock(received);
        (received.whole.clone(), received.reused, received.broken, received.served)
    };
    let whole: Vec<String> = answers.keys().cloned().collect();
    let caught_up = wait::until("the loader", LOADED_WITHIN, async || {
        outcomes(database).await.is_ok_and(|recorded| whole.iter().all(|id| recorded.contains_key(id)))
    })
    .await;
    let recorded = outcomes(database).await?;
    let found = history::audit(&whole, &recorded);
    debug_assert_eq!(caught_up.is_ok(), found.missing.is_empty());

    verdict.trials_of(found.acknowledged, found.failures() + reused, || {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for id in &found.missing {
            *kinds.entry(answers.get(id).map_or("", String::as_str)).or_default() += 1;
        }
        format!("answers without a record by kind {kinds:?}, with several {:?}, request ids used twice {reused}", found.doubled)
    });
    let asked = found.acknowledged + broken;
    verdict.figure("acknowledged", found.acknowledged);
    verdict.figure("missing", found.missing.len());
    verdict.figure("doubled", found.doubled.len());
    verdict.figure("unanswered", broken);
    verdict.figure("share_served", share(served, asked));
    Ok(())
}

/// Outcome records of each request id.
async fn outcomes(database: &Sql) -> Result<BTreeMap<String, u64>> {
    let rows = database
        .ask("causeway", "select request_id, count(*) from audit_event where phase = 'outcome' and request_id is not null group by request_id")
        .await?;
    rows.iter()
        .map(|row| {
            let (id, n) = row.rsplit_once('|').context("a row without a count")?;
            Ok((id.to_owned(), n.parse()?))
        })
        .collect()
}

fn lock(received: &Mutex<Received>) -> std::sync::MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}
