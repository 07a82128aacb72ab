//! `upstream-faults`: whatever a service does, its client gets a clean error or a visibly cut body and never another request's bytes,
//! and a connection in doubt is never used again.
//!
//! Every request carries a nonce in its path, a header and its body; every answer repeats it in a header and as its body. Faults and
//! lawful requests share one pool, so that a desync of one shows in the other.

mod line;
mod script;
mod service;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::client::Version;
use harness::seed::Random;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::share;
use crate::ground::{self, Door, Ground, Service};
use crate::neighbor::{self, Neighbors};
use crate::sloppy::Sloppy;
use script::{CUT, Case, FAULTS, FINE, Kind, PROBLEM, WHOLE, When};
use service::{Poison, Shared};

/// Requests at the same time.
const PARALLEL: usize = 48;
/// The longest that any request may take: the node's deadlines here are below 2 s, and two of them may follow each other.
const ENDS_WITHIN: Duration = Duration::from_secs(12);
/// How an answer is told of that broke off before its head.
const HEADLESS: &str = "no head";
/// The mutant: a proxy in the gateway's place that keeps every connection.
const CARELESS_POOL: &str = "careless-pool";
/// How an idle connection is spoiled. The 408 is what servers send to connections that are idle for too long.
const POISONS: [Poison; 6] = [
    Poison::Bytes("HTTP/1.1 200 OK\r\nx-nonce: stolenstolensto\r\ncontent-length: 16\r\n\r\nstolenstolenstol"),
    Poison::Bytes("garbage"),
    Poison::Bytes("\r\n"),
    Poison::BytesThenEnd("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
    Poison::BytesThenEnd(""),
    Poison::Reset,
];

pub(crate) const CLAIM: Claim = Claim {
    slug: "upstream-faults",
    promise: "a service that fails in any way gives a clean error or a visibly cut body, never another request's bytes",
    trials: 5,
    mutants: &[CARELESS_POOL],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (faults, faults_port) = ground::listener().await?;
    let (poison, poison_port) = ground::listener().await?;
    let (honest, honest_port) = ground::listener().await?;
    let line = line::Line::start().await?;
    let hasty = |name, port| Service { patience: "1s", ..Service::new(name, port) };
    let services = [hasty("faults", faults_port), hasty("poison", poison_port), hasty("line", line.port()), Service::new("honest", honest_port)];
    let _honest = neighbor::service(honest);
    let (shared, poisoned) = (Arc::<Shared>::default(), Arc::<Shared>::default());
    let _faults = service::start(faults, Arc::clone(&shared));
    let (orders, taken) = mpsc::channel(1);
    let _poisoner = service::start_poisoner(poison, Arc::clone(&poisoned), taken);
    let ground = Ground::start("stall_timeout: 1s", &ground::document(&services), "/honest/ready").await?;
    let neighbors = Neighbors::start(&ground.door)?;

    let stand_in = if context.is_mutant(CARELESS_POOL) { Some(Sloppy::start(faults_port).await?) } else { None };
    let spoiled = stand_in.as_ref().map(|sloppy| ground.door.stand_in(sloppy.address));
    let versions: &[Version] = if spoiled.is_some() { &[Version::Http1] } else { &[Version::Http1, Version::Http2] };
    scripts(context, verdict, spoiled.as_ref().unwrap_or(&ground.door), versions).await?;
    judge_service(verdict, &shared);
    if spoiled.is_none() {
        let before = verdict.trials();
        idle_poison(context, verdict, &ground.door, &orders).await?;
        judge_service(verdict, &poisoned);
        verdict.figure("idle_poisons", verdict.trials() - before);
        line.check(context, verdict, &ground.door).await?;
    }
    neighbors.judge(verdict);
    ground.stop().await
}

/// What a client holds of one answer.
#[derive(Debug)]
pub(crate) struct Got {
    /// One of [`WHOLE`], [`CUT`], [`PROBLEM`]; 0 for nothing clean.
    what: u8,
    /// What is wrong whatever the case is.
    wrong: Option<String>,
    told: String,
}

/// As [`ask`], and a request whose kept connection ended under it is sent once more where that may not be, as clients do (RFC 9112 section 9.3.1).
/// Every answer that ends its connection must have said so, so this is counted, and none may be.
async fn ask_again(http: &reqwest::Client, url: &str, case: &Case, nonces: [&str; 2]) -> (Got, Option<String>) {
    let [first, second] = nonces;
    let got = ask(http, url, case, first).await;
    if got.what & case.may == 0 && got.told.starts_with(HEADLESS) {
        return (ask(http, url, case, second).await, Some(got.told));
    }
    (got, None)
}

/// Sends one request and reads what comes.
async fn ask(http: &reqwest::Client, url: &str, case: &Case, nonce: &str) -> Got {
    let target = format!("{url}/{}/{nonce}", case.name);
    let request = match case.kind {
        Kind::Get => http.get(target),
        Kind::Head => http.head(target),
        // More than the sockets on the way hold, where the service is not to read it.
        Kind::Post => http.post(target).body(nonce.repeat(if case.when == When::AfterHead { 1 << 18 } else { 4 })),
    };
    match tokio::time::timeout(ENDS_WITHIN, read(request.header("x-nonce", nonce), case, nonce)).await {
        Ok(got) => got,
        Err(_) => Got { what: 0, wrong: Some(format!("no end within {} s", ENDS_WITHIN.as_secs())), told: "late".into() },
    }
}

async fn read(request: reqwest::RequestBuilder, case: &Case, nonce: &str) -> Got {
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        // The connection or the stream ended before a head: the body was cut at its very beginning.
        Err(error) if !error.is_timeout() && !error.is_connect() => return Got { what: CUT, wrong: None, told: format!("{HEADLESS}: {error:?}") },
        Err(error) => return Got { what: 0, wrong: Some(format!("no answer: {error:?}")), told: "none".into() },
    };
    let status = answer.status().as_u16();
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let is_problem = header("content-type") == "application/problem+json";
    let told_nonce = header("x-nonce");
    let mut body = Vec::new();
    let whole = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let told = format!("{status} problem={is_problem} whole={whole} body={}", body.get(..body.len().min(320)).unwrap_or_default().escape_ascii());
    if is_problem || told_nonce.is_empty() {
        let clean = whole && matches!(status, 502..=504) && (is_problem || case.kind == Kind::Head);
        let wrong = (!clean).then(|| format!("neither the service's answer nor a clean problem: {told}"));
        return Got { what: PROBLEM, wrong, told };
    }
    let is_own = told_nonce == nonce && service::is_of(&body, nonce);
    let wrong = (!is_own).then(|| format!("another request's bytes, or none of ours: asked {nonce}, told {told_nonce}, {told}"));
    let is_all = whole && body.len() == case.nonces * nonce.len();
    // A body that is shorter or longer than the service's, and looks whole, is the worst of all.
    let wrong = wrong.or_else(|| (whole && !is_all).then(|| format!("looks whole and is not: {} bytes, {told}", body.len())));
    Got { what: if whole { WHOLE } else { CUT }, wrong, told }
}

/// 16 characters that stand for one request.
pub(crate) fn nonce(random: &mut Random) -> String {
    format!("{:016x}", random.next_u64())
}

/// Every case over every protocol in each round, in random order, a lawful request behind each fault.
async fn scripts(context: &mut Context, verdict: &mut Verdict, door: &Door, versions: &[Version]) -> Result<()> {
    let mut trials = Vec::new();
    for _ in 0..context.trials {
        for case in FINE.iter().chain(FAULTS) {
            trials.extend(versions.iter().map(|version| (case, *version)));
        }
    }
    for at in (1..trials.len()).rev() {
        let other = usize::try_from(context.random.below(at as u64 + 1)).unwrap_or_default();
        trials.swap(at, other);
    }
    let clients = [door.client(Version::Http1)?, door.client(Version::Http2)?];
    let url = format!("{}/faults", door.url());
    let gate = Arc::new(Semaphore::new(PARALLEL));
    let mut running = JoinSet::new();
    for (case, version) in trials {
        let permit = Arc::clone(&gate).acquire_owned().await?;
        let [http1, http2] = &clients;
        let http = if version == Version::Http1 { http1.clone() } else { http2.clone() };
        let url = url.clone();
        let nonces = [(); 4].map(|()| nonce(&mut context.random));
        let fine = FINE.get(usize::try_from(context.random.below(FINE.len() as u64)).unwrap_or_default()).context("no lawful case")?;
        running.spawn(async move {
            let [first, second, third, fourth] = nonces;
            let got = ask_again(&http, &url, case, [&first, &third]).await;
            let after = ask_again(&http, &url, fine, [&second, &fourth]).await;
            drop(permit);
            [(case, version, got), (fine, version, after)]
        });
    }
    let (mut asked, mut served, mut headless, mut again) = (0_u64, 0, 0_u64, 0_u64);
    let (mut posts, mut unlucky) = (0_u64, 0_u64);
    while let Some(done) = running.join_next().await {
        for (case, version, (got, unsaid)) in done? {
            if let Some(told) = unsaid {
                again += 1;
                verdict.trial(false, || format!("{} over {version:?} met a connection that was being closed unsaid: {told}", case.name));
            }
            headless += u64::from(got.told.starts_with(HEADLESS));
            if case.may == WHOLE {
                asked += 1;
                served += u64::from(got.what == WHOLE && got.wrong.is_none());
            }
            posts += u64::from(case.kind == Kind::Post && case.may == WHOLE);
            if met_a_close(case, &got) {
                unlucky += 1;
                continue;
            }
            judge(verdict, case, version, &got);
        }
    }
    // It takes a service that closes in the very moment: rare, or it is no coincidence.
    verdict.trial(unlucky <= 2 + posts / 50, || format!("{unlucky} of {posts} posts met a connection that was being closed"));
    verdict.figure("posts", posts);
    verdict.figure("posts_met_a_close", unlucky);
    verdict.figure("cases", FAULTS.len());
    verdict.figure("asked_again", again);
    verdict.figure("cut_before_head", headless);
    verdict.figure("fine", asked);
    verdict.figure("fine_share", share(served, asked));
    Ok(())
}

/// True for a write whose kept connection the service closed, unsaid, in the moment at which the write left. Whether the service has
/// taken it nobody knows, so it must not be sent again (RFC 9110 section 9.2.2): the client is told.
fn met_a_close(case: &Case, got: &Got) -> bool {
    case.kind == Kind::Post
        && case.may == WHOLE
        && got.what == PROBLEM
        && got.wrong.is_none()
        && got.told.contains("the request may have been processed")
}

/// One trial.
fn judge(verdict: &mut Verdict, case: &Case, version: Version, got: &Got) {
    let held = got.wrong.is_none() && got.what & case.may != 0;
    verdict.trial(held, || format!("{} over {version:?}: {}", case.name, got.wrong.clone().unwrap_or_else(|| format!("not allowed: {}", got.told))));
}

/// What the service saw of requests that must never be.
fn judge_service(verdict: &mut Verdict, shared: &Shared) {
    let requests = shared.requests.load(Ordering::SeqCst);
    let seen = shared.seen();
    for (what, found) in [
        ("request over a connection in doubt, after", &seen.reused_in_doubt),
        ("request that nobody sent:", &seen.malformed),
        ("write that was sent twice:", &seen.doubled),
        ("endless answer that was taken to its end:", &seen.endless),
    ] {
        verdict.trials_of(requests, found.len() as u64, || format!("{what} {found:?}"));
    }
}

/// A kept connection on which the service says something before it is asked. What it says lies in the gateway's socket before the
/// next request begins, so there is no race to excuse a mix-up.
async fn idle_poison(
    context: &mut Context,
    verdict: &mut Verdict,
    door: &Door,
    orders: &mpsc::Sender<(Poison, tokio::sync::oneshot::Sender<()>)>,
) -> Result<()> {
    let http = door.client(Version::Http1)?;
    let url = format!("{}/poison", door.url());
    let lawful = |name: &str| FINE.iter().find(|case| case.name == name).context("no such case");
    let (get, post) = (lawful("fine")?, lawful("fine-post")?);
    for _ in 0..context.trials {
        for poison in POISONS {
            for second in [get, post] {
                let first = ask(&http, &url, get, &nonce(&mut context.random)).await;
                judge(verdict, get, Version::Http1, &first);
                let (done, acknowledged) = tokio::sync::oneshot::channel();
                orders.send((poison, done)).await?;
                acknowledged.await?;
                let got = ask(&http, &url, second, &nonce(&mut context.random)).await;
                verdict.trial(got.wrong.is_none() && got.what == WHOLE, || {
                    format!("{} over a kept connection after {poison:?}: {}", second.name, got.wrong.clone().unwrap_or_else(|| got.told.clone()))
                });
            }
        }
    }
    Ok(())
}
