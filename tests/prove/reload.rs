//! `reload`: the document changes again and again under load, and nobody notices but those whom it concerns: no request is dropped, no
//! stream is cut, no WebSocket closed, no limit begins anew.

pub(crate) mod sockets;
mod stream;

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::client::Version;
use harness::node::Under;
use harness::wait;
use harness::websocket::Echo;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::Durations;
use crate::ground::{self, Ground, Service};
use crate::neighbor::{self, Neighbors};
use sockets::Sockets;
use stream::Streams;

/// What the limited route admits in an hour from one address.
const ADMITTED: u64 = 20;
/// WebSockets that are open all the time: ten for each change, and this many at most.
const SOCKETS_MAX: u64 = 200;
/// How soon a change is served.
const SERVED_WITHIN: Duration = Duration::from_secs(5);
/// The mutant: the node is restarted in place of the first reload.
const RESTART: &str = "restart";

pub(crate) const CLAIM: Claim = Claim {
    slug: "reload",
    promise: "a changed document is served soon; under load no request is dropped, no stream cut, no WebSocket closed, no limit refilled (n: changes)",
    trials: 20,
    mutants: &[RESTART],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (honest, honest_port) = ground::listener().await?;
    let (long, long_port) = ground::listener().await?;
    let (talking, talking_port) = ground::listener().await?;
    let _services = (neighbor::service(honest), stream::service(long), Echo::start(talking));
    let plan = |round: u64| document(honest_port, long_port, talking_port, round);
    let mut ground = Ground::start("", &plan(0), "/honest/ready").await?;
    let http = ground.door.client(Version::Http1)?;
    let limited = format!("{}/limited/x", ground.door.url());
    let mut admitted = 0;
    for _ in 0..ADMITTED / 2 {
        admitted += u64::from(http.get(&limited).send().await?.status() == 200);
    }
    verdict.trial(admitted == ADMITTED / 2, || format!("{admitted} of the first {} requests were admitted", ADMITTED / 2));

    // Everything that must outlive a reload begins before the first.
    let streams = Streams::start(&ground.door).await?;
    let sockets_open = context.trials.saturating_mul(10).min(SOCKETS_MAX);
    let sockets = Sockets::start(&ground.door, "/talking/x", sockets_open).await?;
    let neighbors = Neighbors::start(&ground.door)?;
    let mut took = Durations::default();
    for round in 1..=context.trials {
        if round == 1 && context.is_mutant(RESTART) {
            ground.node.kill().await?;
            ground.node.start(Under::Bare).await?;
        }
        let began = Instant::now();
        ground.apply(&plan(round)).await?;
        let applied = began.elapsed();
        let (new, old) = (format!("{}/round-{round}/x", ground.door.url()), format!("{}/round-{}/x", ground.door.url(), round - 1));
        let is = async |url: &str, status: u16| http.get(url).send().await.is_ok_and(|answer| answer.status().as_u16() == status);
        let served = wait::until("the new route", SERVED_WITHIN, async || is(&new, 200).await && is(&old, 404).await).await;
        verdict.trial(served.is_ok(), || format!("change {round} is not served within {} s of its commit", SERVED_WITHIN.as_secs()));
        took.add(began.elapsed().saturating_sub(applied));
    }
    // Once the limit's first half was used, all reloads together admit the second.
    for _ in 0..ADMITTED * 2 {
        admitted += u64::from(http.get(&limited).send().await.context("no answer on the limited route")?.status() == 200);
    }
    verdict.trial(admitted == ADMITTED, || format!("a limit of {ADMITTED} an hour admitted {admitted} over {} reloads", context.trials));
    let (pieces, cut) = streams.end().await;
    verdict.trial(cut.is_empty() && pieces > 0, || format!("streams were cut: {cut:?}"));
    let (messages, closed) = sockets.end().await;
    let lost = closed.len() as u64;
    verdict.trials_of(sockets_open, lost, || format!("{lost} WebSockets were closed: {:?}", closed.first()));
    verdict.trial(messages >= sockets_open, || format!("{messages} messages came back over {sockets_open} WebSockets"));
    verdict.figure("websockets", sockets_open);
    verdict.figure("websocket_messages", messages);
    verdict.figure("reloads", context.trials);
    verdict.figure("served_after_p50_ms", took.percentile(50));
    verdict.figure("served_after_p99_ms", took.percentile(99));
    verdict.figure("stream_pieces", pieces);
    verdict.figure("admitted", admitted);
    let lost = neighbors.lost();
    verdict.trials_of(neighbors.asked(), lost, || format!("{lost} requests were lost"));
    neighbors.judge(verdict);
    ground.stop().await
}

/// The document of a round: it has a route of its own, and other deadlines of the service than the round before.
fn document(honest: u16, long: u16, talking: u16, round: u64) -> Value {
    let limited = Service {
        route: json!({ "limits": [{ "name": "exact", "rate": format!("{ADMITTED}/h"), "by": "address" }] }),
        ..Service::new("limited", honest)
    };
    let even = if round.is_multiple_of(2) { "5s" } else { "6s" };
    // Its own route changes each time, too: what is open keeps to the rules that it began with.
    let sockets = json!({ "websocket": { "max": 1_000 + round }, "timeout": even });
    let talking = Service { route: sockets, patience: even, ..Service::new("talking", talking) };
    let services = [Service::new("honest", honest), Service { patience: even, ..Service::new("long", long) }, limited, talking];
    let mut document = ground::document(&services);
    let own = json!({ "name": format!("round-{round}"), "match": { "path": format!("/round-{round}/**") }, "auth": "none", "upstream": "honest", "audit": "buffered" });
    if let Some(routes) = document.get_mut("routes").and_then(Value::as_array_mut) {
        routes.push(own);
    }
    document
}
