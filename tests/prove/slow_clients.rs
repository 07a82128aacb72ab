//! `slow-clients`: whoever is slow, in sending, in reading or in the handshake, is cut off at the deadline that the node's file names;
//! nobody else notices, and nothing is left.

mod slowness;

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::ground::{self, Ground, Service};
use crate::neighbor::{self, Neighbors};
use slowness::ALL;

/// What the node may grow by while the slow are there.
const GROWTH_MAX: u64 = 64 << 20;
/// Descriptors that may be left: connections to services are kept.
const LEFT_MAX: usize = 64;
/// A head may take 2 s, a pause 2 s, an idle connection 4 s.
const HASTY: &str = "head_timeout: 2s, stall_timeout: 2s, idle_timeout: 4s";
/// The mutant: a node with its ordinary deadlines, which are 15 s and more.
const PATIENT_NODE: &str = "patient-node";

pub(crate) const CLAIM: Claim = Claim {
    slug: "slow-clients",
    promise: "slow heads, bodies, readers and handshakes end at their deadlines; neighbors are served (n: clients of each kind)",
    trials: 20,
    mutants: &[PATIENT_NODE],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (honest, honest_port) = ground::listener().await?;
    let (plain, plain_port) = ground::listener().await?;
    let (large, large_port) = ground::listener().await?;
    let _services = (neighbor::service(honest), absorbing(plain), endless(large));
    let brief = Service { route: json!({ "timeout": "3s" }), ..Service::new("plain", plain_port) };
    let services = [brief, Service::new("large", large_port), Service::new("honest", honest_port)];
    let limits = if context.is_mutant(PATIENT_NODE) { "" } else { HASTY };
    let ground = Ground::start(limits, &ground::document(&services), "/honest/ready").await?;
    let neighbors = Neighbors::start(&ground.door)?;

    let process = ground.process();
    let (before, descriptors) = (process.resident_bytes(), process.descriptors());
    let mut clients = JoinSet::new();
    for slowness in ALL {
        for _ in 0..context.trials {
            let door = ground.door.clone();
            clients.spawn(async move { (slowness, slowness.run(&door).await) });
        }
    }
    let (mut peak, mut slowest) = (before, Duration::ZERO);
    let mut pulse = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            done = clients.join_next() => {
                let Some(done) = done else { break };
                let (slowness, ended) = done?;
                let ended = ended?;
                slowest = slowest.max(ended.saturating_sub(slowness.deadline()));
                verdict.trial(ended <= slowness.latest() && ended >= slowness.earliest(), || {
                    format!("{slowness:?} ended after {} ms; its deadline is {} ms", ended.as_millis(), slowness.deadline().as_millis())
                });
            }
            _ = pulse.tick() => peak = peak.max(process.resident_bytes()),
        }
    }
    let left = harness::wait::until("the descriptors", Duration::from_secs(10), async || process.descriptors() <= descriptors + LEFT_MAX).await;
    verdict.trial(left.is_ok(), || format!("{descriptors} descriptors before, {} after", process.descriptors()));
    verdict.trial(peak.saturating_sub(before) <= GROWTH_MAX, || format!("the node grew from {before} to {peak} bytes"));
    verdict.figure("kinds", ALL.len());
    verdict.figure("latest_beyond_deadline_ms", slowest.as_millis());
    verdict.figure("descriptors_before", descriptors);
    verdict.figure("descriptors_after", process.descriptors());
    verdict.figure("rss_before_mib", before >> 20);
    verdict.figure("rss_peak_mib", peak >> 20);
    neighbors.judge(verdict);
    ground.stop().await
}

/// Takes everything and answers nothing.
fn absorbing(listener: TcpListener) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            served.spawn(async move {
                let mut sink = [0; 4_096];
                while matches!(stream.read(&mut sink).await, Ok(n) if n > 0) {}
            });
        }
    });
    task
}

/// Answers every request with 64 MiB.
fn endless(listener: TcpListener) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            served.spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut head).await, Ok(n) if n > 0) {
                        return;
                    }
                }
                let piece = vec![b'a'; 1 << 16];
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n").await);
                for _ in 0..1_024 {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    task
}
