//! `memory`: what an idle TLS connection costs, and that a node under ordinary traffic stays as large as it is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::client::Version;
use harness::websocket::Echo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::ground::{self, Door, Ground, Service};
use crate::neighbor::{self, Neighbors};
use crate::reload::sockets;
use harness::frames::{END_STREAM, Frames, HEADERS, Wire, is_200, request};

/// The fewest connections and the fewest WebSockets of a run: with fewer, the allocator's steps hide them.
const CONNECTIONS_MIN: u64 = 400;
/// Connections for one WebSocket, which takes a connection to its service, too: 10,000 and 1,000 fit into 20,000 open files.
const CONNECTIONS_PER_SOCKET: u64 = 10;
/// Handshakes at the same time.
const AT_ONCE: u64 = 32;
/// What an idle connection may cost: buffers of TLS and HTTP, and the task.
const UNIT_MAX: u64 = 128 << 10;
/// What an idle WebSocket may cost: its connection, and the one to its service.
const SOCKET_MAX: u64 = 96 << 10;
/// What a soak may add, beside a twentieth of what was there.
const SOAK_MAX: u64 = 8 << 20;
/// The mutant: connections go on being opened during the soak.
const GROWING: &str = "growing";

pub(crate) const CLAIM: Claim = Claim {
    slug: "memory",
    promise: "an idle TLS connection costs at most 128 KiB, an idle WebSocket 96 KiB, and a soak of --seconds adds nothing (n: connections, a tenth of it WebSockets, at least 400 each)",
    trials: 1_000,
    mutants: &[GROWING],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// A connection that has served once and rests.
enum Idle {
    Http1(Box<dyn Wire>),
    Http2(Frames),
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (honest, port) = ground::listener().await?;
    let _honest = neighbor::service(honest);
    let (talking, talking_port) = ground::listener().await?;
    let _talking = Echo::start(talking);
    let talking = Service { route: json!({ "websocket": { "max": 10_000, "idle": "10h" } }), ..Service::new("talking", talking_port) };
    let document = ground::document(&[Service::new("honest", port), talking]);
    let ground = Ground::start("idle_timeout: 10h, stall_timeout: 60s", &document, "/honest/ready").await?;
    let process = ground.process();
    let neighbors = Neighbors::start(&ground.door)?;
    let n = context.trials.max(CONNECTIONS_MIN);
    // Everything that is allocated once is there before the measure begins.
    drop(open(&ground.door, Version::Http1, AT_ONCE).await?);
    drop(open(&ground.door, Version::Http2, AT_ONCE).await?);

    let mut all = Vec::new();
    for (version, name) in [(Version::Http1, "h1_bytes_each"), (Version::Http2, "h2_bytes_each")] {
        let before = process.resident_bytes();
        all.extend(open(&ground.door, version, n / 2).await?);
        let each = process.resident_bytes().saturating_sub(before) / (n / 2);
        verdict.trials_of(n / 2, u64::from(each > UNIT_MAX), || format!("an idle connection over {version:?} costs {each} bytes"));
        verdict.figure(name, each);
    }
    // A WebSocket that is quiet holds no buffer of its own.
    drop(sockets::open(&ground.door, Version::Http1, "/talking/x", AT_ONCE).await?);
    drop(sockets::open(&ground.door, Version::Http2, "/talking/x", AT_ONCE).await?);
    let websockets = (n / CONNECTIONS_PER_SOCKET).max(CONNECTIONS_MIN);
    let mut talking = Vec::new();
    for (version, name) in [(Version::Http1, "h1_websocket_bytes_each"), (Version::Http2, "h2_websocket_bytes_each")] {
        let before = process.resident_bytes();
        let mut opened = sockets::open(&ground.door, version, "/talking/x", websockets / 2).await?;
        for client in &mut opened {
            client.echo("hello").await?;
        }
        talking.extend(opened);
        let each = process.resident_bytes().saturating_sub(before) / (websockets / 2);
        verdict.trials_of(websockets / 2, u64::from(each > SOCKET_MAX), || format!("an idle WebSocket over {version:?} costs {each} bytes"));
        verdict.figure(name, each);
    }
    let before = process.resident_bytes();
    let seconds = context.seconds.max(1);
    if context.is_mutant(GROWING) {
        all.extend(open(&ground.door, Version::Http1, n).await?);
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut all = all.into_iter().map(|idle| idle.hold(until)).collect::<JoinSet<_>>().join_all().await;
    sleep_until(until).await;
    let after = process.resident_bytes();
    verdict.trial(after <= before + before / 20 + SOAK_MAX, || format!("{before} bytes became {after} in {seconds} s"));
    let mut alive = 0;
    for connection in &mut all {
        alive += u64::from(connection.is_alive().await);
    }
    let mut lost = 0;
    for client in &mut talking {
        lost += u64::from(client.echo("still here").await.is_err());
    }
    let sockets_open = talking.len() as u64;
    verdict.trials_of(sockets_open, lost, || format!("{lost} of {sockets_open} idle WebSockets were lost"));
    verdict.figure("websockets", sockets_open);
    let opened = all.len() as u64;
    verdict.trials_of(opened, opened - alive, || format!("{} of {opened} idle connections were lost", opened - alive));
    verdict.figure("connections", opened);
    verdict.figure("soak_seconds", seconds);
    verdict.figure("rss_before_soak_kib", before >> 10);
    verdict.figure("rss_after_soak_kib", after >> 10);
    drop((all, talking));
    neighbors.judge(verdict);
    ground.stop().await
}

/// Opens connections that have each served one request.
async fn open(door: &Door, version: Version, n: u64) -> Result<Vec<Idle>> {
    let mut all = Vec::new();
    let mut opening = JoinSet::new();
    for _ in 0..n {
        if opening.len() as u64 >= AT_ONCE {
            all.push(opening.join_next().await.context("no connection")???);
        }
        let door = door.clone();
        opening.spawn(async move {
            let mut idle = match version {
                Version::Http1 => Idle::Http1(door.connect(version).await?),
                Version::Http2 => Idle::Http2(door.frames(&[]).await?),
            };
            anyhow::ensure!(idle.asks(1).await, "a new connection does not serve");
            Ok::<_, anyhow::Error>(idle)
        });
    }
    while let Some(opened) = opening.join_next().await {
        all.push(opened??);
    }
    Ok(all)
}

impl Idle {
    /// Rests as a client does: the node's pings are answered, for it closes a connection that is silent (RFC 9113 section 6.7).
    async fn hold(mut self, until: Instant) -> Self {
        if let Self::Http2(frames) = &mut self {
            while let Ok(Some(_)) = timeout_at(until, frames.next()).await {}
        }
        self
    }

    /// Whether it serves once more.
    async fn is_alive(&mut self) -> bool {
        self.asks(3).await
    }

    async fn asks(&mut self, stream: u32) -> bool {
        let asked = async {
            match self {
                Self::Http1(wire) => {
                    let sent = wire.write_all(b"GET /honest/idle HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.is_ok() && wire.flush().await.is_ok();
                    let mut answer = Vec::new();
                    while sent && !answer.ends_with(b"\r\n\r\n/honest/idle") {
                        if !matches!(wire.read_buf(&mut answer).await, Ok(n) if n > 0) {
                            return false;
                        }
                    }
                    answer.starts_with(b"HTTP/1.1 200")
                }
                Self::Http2(frames) => {
                    frames.send(request(stream, "GET", "/honest/idle", END_STREAM)).await;
                    let mut is_served = false;
                    while let Some(frame) = frames.next().await {
                        is_served |= frame.kind == HEADERS && frame.stream == stream && is_200(&frame.payload);
                        if frame.stream == stream && frame.flags & END_STREAM != 0 {
                            return is_served;
                        }
                    }
                    false
                }
            }
        };
        timeout(Duration::from_secs(10), asked).await.unwrap_or(false)
    }
}
