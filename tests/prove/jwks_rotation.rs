//! `jwks-rotation`: an issuer can change its keys at any moment, and the first request with the new one is served, unless somebody has come
//! with an invented key id within thirty seconds before; however many of those come, the issuer hears of them at most once in that time;
//! while it is down, what is known goes on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use futures_util::stream;
use harness::issuer::{Manner, Signer};
use harness::wait;
use serde_json::Value;
use tokio::time::Instant;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{Durations, share};
use crate::tokens::Tokens;

/// Issuers that rotate: each has a rest of its own.
const ISSUERS: usize = 6;
/// Requests that come at once with the new key.
const AT_ONCE: usize = 20;
/// The fewest tokens with invented ids.
const INVENTED_MIN: u64 = 500;
/// The rest after such a fetch.
const REST: Duration = Duration::from_secs(30);
/// Parts of the flood: the mutant comes between them.
const PARTS: u64 = 4;
/// Clients that flood.
const CLIENTS: usize = 16;
/// The mutants: keys are published only after they were used; the way to the keys changes all the time.
const LATE_PUBLICATION: &str = "late-publication";
const RELOADS: &str = "reloads";

pub(crate) const CLAIM: Claim = Claim {
    slug: "jwks-rotation",
    promise: "the first request with an issuer's new key is served, and invented key ids make at most one fetch in 30 s (n: requests)",
    trials: 10_000,
    mutants: &[LATE_PUBLICATION, RELOADS],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let first = (0..ISSUERS).map(|number| Signer::p256(&format!("first-{number}")).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let place = Tokens::start(ISSUERS, |number| first.get(number).cloned().into_iter().collect()).await?;
    let mut waited = Durations::default();
    // The last issuer stays for what follows.
    for number in 0..ISSUERS - 1 {
        rotate(context, &place, verdict, &first, number, &mut waited).await?;
    }
    verdict.figure("rotations", ISSUERS - 1);
    verdict.figure("first_request_p50_ms", waited.percentile(50));
    verdict.figure("first_request_max_ms", waited.percentile(100));
    flood(context, &place, verdict, &first).await?;
    outage(&place, verdict, &first).await?;
    place.ground.stop().await
}

fn claims(place: &Tokens, number: usize) -> Result<Value> {
    Ok(place.issuers.get(number).context("no issuer")?.claims())
}

/// The issuer signs with a new key, beside the one before; many come with it at once. Every third issuer is slow.
async fn rotate(
    context: &Context,
    place: &Tokens,
    verdict: &mut Verdict,
    first: &[Arc<Signer>],
    number: usize,
    waited: &mut Durations,
) -> Result<()> {
    let issuer = place.issuers.get(number).context("no issuer")?;
    let old = first.get(number).context("no key")?;
    let new = Signer::p256(&format!("second-{number}"))?;
    let token = old.token(&issuer.claims())?;
    wait::until("the first key", Duration::from_secs(10), async || place.ask(&token).await.is_ok_and(|got| got.status == 200)).await?;
    let before = issuer.fetches();
    if number % 3 == 2 {
        issuer.behave(Manner::Slow(Duration::from_millis(700)));
    }
    let publish = || issuer.publish(&[old, &new]);
    if !context.is_mutant(LATE_PUBLICATION) {
        publish()?;
    }
    let tokens = (0..AT_ONCE).map(|_| new.token(&issuer.claims())).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| place.ask(token))).await;
    waited.add(began.elapsed());
    publish()?;
    for answer in answers {
        let got = answer?;
        verdict.trial(got.status == 200, || format!("issuer {number}: the first request with a new key was answered {} {}", got.status, got.code()));
    }
    let got = place.ask(&token).await?;
    verdict.trial(got.status == 200, || format!("issuer {number}: the key before was answered {}", got.status));
    let fetches = issuer.fetches() - before;
    verdict.trial(fetches == 1, || format!("issuer {number}: {AT_ONCE} requests made {fetches} fetches"));
    Ok(())
}

/// Invented ids come as fast as they can, beside tokens that are good.
async fn flood(context: &Context, place: &Tokens, verdict: &mut Verdict, first: &[Arc<Signer>]) -> Result<()> {
    let number = ISSUERS - 1;
    let issuer = place.issuers.get(number).context("no issuer")?;
    let known = first.get(number).context("no key")?;
    let invented = context.trials.max(INVENTED_MIN);
    let good = known.token(&claims(place, number)?)?;
    let before = issuer.fetches();
    let began = Instant::now();
    let ask = async |turn: u64| -> Result<(u16, Option<u16>)> {
        let unknown = Signer::p256(&format!("invented-{turn}-{}", context.seed))?;
        let got = place.ask(&unknown.token(&issuer.claims())?).await?;
        let beside = if turn.is_multiple_of(8) { Some(place.ask(&good).await?.status) } else { None };
        Ok((got.status, beside))
    };
    let (mut refused, mut asked, mut served) = (0_u64, 0_u64, 0_u64);
    for part in 0..PARTS {
        if context.is_mutant(RELOADS) {
            place.fetch_anew(usize::try_from(part)?).await?;
        }
        let turns = invented * part / PARTS..invented * (part + 1) / PARTS;
        let mut answers = stream::iter(turns).map(&ask).buffer_unordered(CLIENTS);
        while let Some(answer) = answers.next().await {
            let (status, beside) = answer?;
            refused += u64::from(status == 401);
            asked += u64::from(beside.is_some());
            served += u64::from(beside == Some(200));
        }
    }
    let elapsed = began.elapsed();
    let allowed = 1 + elapsed.as_secs() / REST.as_secs();
    let fetches = issuer.fetches() - before;
    verdict.trials_of(invented, invented - refused, || format!("{refused} of {invented} tokens with invented ids were refused with 401"));
    verdict.trials_of(asked, asked - served, || format!("{served} of {asked} good tokens were served beside them"));
    verdict
        .trial(fetches <= allowed, || format!("{invented} invented ids in {} s made {fetches} fetches; {allowed} would be right", elapsed.as_secs()));
    verdict.trial(fetches >= 1, || "no fetch at all: nothing was shown".to_owned());
    verdict.figure("invented", invented);
    verdict.figure("seconds", elapsed.as_secs());
    verdict.figure("fetches", fetches);
    verdict.figure("good_share", share(served, asked));
    Ok(())
}

/// An issuer that is down: known keys go on, unknown ones are another problem, and it passes by itself.
async fn outage(place: &Tokens, verdict: &mut Verdict, first: &[Arc<Signer>]) -> Result<()> {
    let issuer = place.issuers.first().context("no issuer")?;
    let known = first.first().context("no key")?;
    issuer.behave(Manner::Status(503));
    // Everything that was known goes, and nothing can be had.
    place.fetch_anew(1).await?;
    let lost = wait::until("an issuer that cannot be had", Duration::from_secs(10), async || {
        let Ok(token) = known.token(&issuer.claims()) else { return false };
        place.ask(&token).await.is_ok_and(|got| got.status == 503 && got.code() == "issuer-unreachable")
    });
    verdict.trial(lost.await.is_ok(), || "without keys a token was not answered 503 issuer-unreachable".to_owned());
    let other = place.ask(&first.last().context("no key")?.token(&claims(place, ISSUERS - 1)?)?).await?;
    verdict.trial(other.status == 200, || format!("another issuer's token was answered {}", other.status));
    issuer.behave(Manner::Well);
    let back = wait::until("an issuer that is back", Duration::from_secs(20), async || {
        let Ok(token) = known.token(&issuer.claims()) else { return false };
        place.ask(&token).await.is_ok_and(|got| got.status == 200)
    });
    let back = back.await;
    verdict.trial(back.is_ok(), || "the issuer is back, and its tokens are still refused".to_owned());
    verdict.figure("back_after_ms", back.map_or_else(|_| "never".to_owned(), |took| took.as_millis().to_string()));
    Ok(())
}
