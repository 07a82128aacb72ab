//! `limit-headers`: a limit of 5 per minute admits five requests, says at each what is left, refuses the sixth, and keeps its word
//! about when to come back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::{Dev, RegionReady};
use harness::history::Served;
use harness::wait;
use tokio::time::Instant;

use crate::api::{Answer, Api};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::millis;

const PATH: &str = "/demo/v1/limited";
const BURST: u64 = 5;
const WINDOW_SECONDS: u64 = 60;

pub(crate) const CLAIM: Claim = Claim {
    slug: "limit-headers",
    promise: "a used-up limit answers 429 with RateLimit headers that are true and a Retry-After that is kept",
    trials: 5,
    mutants: &[],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let api = Api::of(dev.ready())?;
    for trial in 0..context.trials {
        // Each region counts for itself, so they take turns.
        let region = if trial % 2 == 0 { dev.writer()? } else { dev.reader()? };
        let key = api.issue(dev.writer()?, &format!("limited {trial}")).await?;
        let looks = api.settles(region, &key.secret, Served::Yes, Duration::from_secs(5), Duration::ZERO).await;
        looks.took.context("a new key does not come to work")?;
        exhaust(&api, verdict, region, &key.secret).await?;
        if trial == 0 {
            comes_back(&api, verdict, region, &key.secret).await?;
        }
    }
    dev.stop().await
}

/// Five admitted with their headers, two refused.
async fn exhaust(api: &Api, verdict: &mut Verdict, region: &RegionReady, key: &str) -> Result<()> {
    for left in (0..BURST).rev() {
        let answer = api.get(region, PATH, key).await?;
        let told = facts(&answer);
        let held = answer.status == 200
            && told.as_ref().is_ok_and(|told| told.quota == BURST && told.window == WINDOW_SECONDS && told.remaining == left && told.seconds > 0);
        verdict.trial(held, || format!("{} with {left} left: {} {told:?}", region.name, answer.summary()));
    }
    for _ in 0..2 {
        let answer = api.get(region, PATH, key).await?;
        let told = facts(&answer);
        let retry = retry_after(&answer);
        let body = answer.json();
        let held = answer.status == 429
            && answer.code() == "quota-exceeded"
            && told.as_ref().is_ok_and(|told| told.remaining == 0 && retry.is_some_and(|retry| retry >= told.seconds))
            && retry.is_some_and(|retry| (1..=WINDOW_SECONDS / BURST + 1).contains(&retry))
            && body.get("retry_after_seconds").and_then(serde_json::Value::as_u64) == retry
            && answer.header("content-type").is_some_and(|value| value.starts_with("application/problem+json"));
        verdict.trial(held, || format!("{} used up: {} retry-after {retry:?} {told:?}", region.name, answer.summary()));
    }
    Ok(())
}

/// The moment that `Retry-After` names is not too early, and not much too late. A refused request charges nothing.
async fn comes_back(api: &Api, verdict: &mut Verdict, region: &RegionReady, key: &str) -> Result<()> {
    let began = Instant::now();
    let refused = api.get(region, PATH, key).await?;
    ensure!(refused.status == 429, "the limit is not used up: {}", refused.summary());
    let promised = Duration::from_secs(retry_after(&refused).context("no Retry-After")?);
    let mut next = began;
    let ((), took) = wait::some("an admitted request", promised + Duration::from_secs(2), async || {
        tokio::time::sleep_until(next).await;
        next = Instant::now() + Duration::from_millis(100);
        let answer = api.get(region, PATH, key).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await?;
    // Seconds are whole, so the truth is at most one second before the promise.
    let early = promised.saturating_sub(Duration::from_millis(1200));
    verdict.trial(took >= early && took <= promised + Duration::from_millis(500), || {
        format!("Retry-After said {} s, and it took {} ms", promised.as_secs(), took.as_millis())
    });
    verdict.figure("promised_ms", promised.as_millis());
    verdict.figure("waited_ms", millis(took));
    Ok(())
}

/// What the two headers say about the route's only limit.
#[derive(Debug)]
struct Facts {
    quota: u64,
    window: u64,
    remaining: u64,
    seconds: u64,
}

fn facts(answer: &Answer) -> Result<Facts> {
    let policy = answer.header("ratelimit-policy").context("no RateLimit-Policy")?;
    let state = answer.header("ratelimit").context("no RateLimit")?;
    ensure!(name(policy) == name(state), "{policy} and {state} speak of different limits");
    Ok(Facts { quota: parameter(policy, "q")?, window: parameter(policy, "w")?, remaining: parameter(state, "r")?, seconds: parameter(state, "t")? })
}

/// The quoted name at the start of a structured field's (last) member.
fn name(field: &str) -> Option<&str> {
    field.rsplit(", ").next()?.split(';').next()
}

fn parameter(field: &str, name: &str) -> Result<u64> {
    let member = field.rsplit(", ").next().unwrap_or_default();
    let found = member.split(';').skip(1).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    found.with_context(|| format!("{field} has no {name}"))?.parse().with_context(|| format!("{field}: {name} is no number"))
}

fn retry_after(answer: &Answer) -> Option<u64> {
    answer.header("retry-after")?.parse().ok()
}
