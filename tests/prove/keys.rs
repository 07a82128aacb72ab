//! `keys`: a roll under load loses no request: the old secret works until the overlap is over and not longer, the new one from the
//! moment that the region has it, the count of requests with the old one falls to zero; and whatever is done to a key at the same
//! time as its revocation, it ends revoked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::{Dev, RegionReady};
use harness::history::Served;
use harness::wait;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{Api, Issued};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{Durations, millis};

/// The overlap of each roll.
const OVERLAP: Duration = Duration::from_secs(4);
/// How soon a region has a change.
const WITHIN: Duration = Duration::from_secs(1);
/// How much longer than its overlap an old secret may be seen to work: the way of one request.
const SLACK: Duration = Duration::from_millis(250);
/// Between two requests of one client: two clients and two regions, some 160 requests a second.
const PACE: Duration = Duration::from_millis(25);
/// How long a count may take to fall: half a minute is looked back at.
const PATIENCE: Duration = Duration::from_secs(45);
/// The mutant: every roll is made without its overlap.
const NO_OVERLAP: &str = "no-overlap";

pub(crate) const CLAIM: Claim = Claim {
    slug: "keys",
    promise: "a roll under load fails no request, the old secret dies on time, and a revocation wins over whatever comes at the same time",
    trials: 5,
    mutants: &[NO_OVERLAP],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let api = Api::of(dev.ready())?;
    let mut taken = Durations::default();
    let mut lateness = Durations::default();
    let (mut served, mut old) = (0, 0);
    for trial in 0..context.trials {
        let overlap = if context.is_mutant(NO_OVERLAP) { Duration::ZERO } else { OVERLAP };
        let rolled = roll(&dev, &api, verdict, &format!("rolled {trial}"), overlap).await?;
        taken.add(rolled.taken);
        lateness.add(rolled.late);
        served += rolled.served;
        old += rolled.old;
    }
    counter_falls_to_zero(&dev, &api, verdict).await?;
    for trial in 0..context.trials {
        revocation_wins(&dev, &api, verdict, &format!("contested {trial}")).await?;
    }
    verdict.figure("served", served);
    verdict.figure("asked_with_old_secret", old);
    verdict.figure("new_secret_p50_ms", taken.percentile(50));
    verdict.figure("new_secret_max_ms", taken.percentile(100));
    verdict.figure("old_secret_late_max_ms", lateness.percentile(100));
    dev.stop().await
}

/// What one roll has shown.
struct Rolled {
    taken: Duration,
    late: Duration,
    served: u64,
    old: u64,
}

/// Clients in both regions use the old secret until they are told the new one, as deployments of a service do, one after the other.
async fn roll(dev: &Dev, api: &Api, verdict: &mut Verdict, name: &str, overlap: Duration) -> Result<Rolled> {
    let key = api.issue(dev.writer()?, name).await?;
    for region in &dev.ready().regions {
        api.settles(region, &key.secret, Served::Yes, Duration::from_secs(5), Duration::ZERO).await.took.context("a new key does not work")?;
    }
    let load = Load::start(api, &dev.ready().regions, &key);

    let rolled = api.act(dev.writer()?, &key.id, "roll", &json!({ "overlap": overlap.as_secs() })).await?;
    let rolled_at = Instant::now();
    let new = Issued { id: key.id.clone(), secret: secret_of(&rolled)? };
    let mut taken = Duration::ZERO;
    for region in &dev.ready().regions {
        let looks = api.settles(region, &new.secret, Served::Yes, WITHIN, Duration::ZERO).await;
        verdict.trial(looks.took.is_some(), || format!("{name}: {} did not take the new secret within {} ms", region.name, millis(WITHIN)));
        taken = taken.max(rolled_at.elapsed());
    }
    // The old secret is in use until shortly before its end; then everybody has the new one.
    wait::until("most of the overlap", OVERLAP, async || rolled_at.elapsed() + Duration::from_millis(600) >= OVERLAP).await?;
    load.switch(&new);
    let late = dies(dev.writer()?, api, &key, rolled_at + overlap).await?;
    verdict.trial(late <= SLACK, || format!("{name}: the old secret worked {} ms longer than its overlap", millis(late)));
    let told = load.end().await?;
    verdict.trials_of(told.asked, told.failed.len() as u64, || format!("{name}: {}", told.failed.first().cloned().unwrap_or_default()));
    ensure!(told.old > 0 && told.asked > told.old, "the load has used {} old secrets in {} requests", told.old, told.asked);
    Ok(Rolled { taken, late, served: told.asked - told.failed.len() as u64, old: told.old })
}

/// How long after its end the old secret was seen to work last.
async fn dies(region: &RegionReady, api: &Api, key: &Issued, end: Instant) -> Result<Duration> {
    let mut last = None;
    let ((), _) = wait::some("the end of the old secret", OVERLAP + PATIENCE, async || {
        let began = Instant::now();
        match api.look(region, &key.secret).await {
            Ok(Served::Yes) => {
                last = Some(began);
                None
            }
            Ok(Served::No) => Some(()),
            Err(_) => None,
        }
    })
    .await?;
    Ok(last.map_or(Duration::ZERO, |last| last.saturating_duration_since(end)))
}

/// Everybody has changed over: the key's page says that nobody comes with the old secret any more.
async fn counter_falls_to_zero(dev: &Dev, api: &Api, verdict: &mut Verdict) -> Result<()> {
    let key = api.issue(dev.writer()?, "counted").await?;
    let region = dev.writer()?;
    api.settles(region, &key.secret, Served::Yes, Duration::from_secs(5), Duration::ZERO).await.took.context("a new key does not work")?;
    let rolled = api.act(region, &key.id, "roll", &json!({ "overlap": 3600 })).await?;
    let new = secret_of(&rolled)?;
    api.settles(region, &new, Served::Yes, WITHIN, Duration::ZERO).await.took.context("the new secret does not work")?;
    for _ in 0..10 {
        ensure!(api.look(region, &key.secret).await == Ok(Served::Yes), "the old secret does not work in its overlap");
    }
    let count = async || {
        let shown = api.control(region, &format!("/v1/keys/{}", key.id)).await.ok()?.json();
        shown.get("previous_requests_30s")?.as_u64()
    };
    let rose = wait::until("the count", Duration::from_secs(10), async || count().await == Some(10)).await;
    verdict.trial(rose.is_ok(), || "ten requests with the old secret were not counted".to_owned());
    ensure!(api.look(region, &new).await == Ok(Served::Yes), "the new secret does not work");
    let fell = wait::until("no more of them", PATIENCE, async || count().await == Some(0)).await;
    verdict.trial(fell.is_ok(), || format!("nobody uses the old secret, and after {} s it is still counted", PATIENCE.as_secs()));
    verdict.figure("counter_zero_after_ms", fell.map_or_else(|_| "never".to_owned(), |took| took.as_millis().to_string()));
    Ok(())
}

/// A revocation beside everything else that can be done to a key.
async fn revocation_wins(dev: &Dev, api: &Api, verdict: &mut Verdict, name: &str) -> Result<()> {
    let key = api.issue(dev.writer()?, name).await?;
    let region = dev.writer()?;
    api.settles(region, &key.secret, Served::Yes, Duration::from_secs(5), Duration::ZERO).await.took.context("a new key does not work")?;

    let none = json!({});
    let (first, second, _, _, revoked) = tokio::join!(
        api.act(region, &key.id, "roll", &none),
        api.act(region, &key.id, "roll", &none),
        api.act(region, &key.id, "disable", &none),
        api.act(region, &key.id, "enable", &none),
        api.revoke(region, &key.id),
    );
    revoked?;
    let after = api.act(region, &key.id, "enable", &none).await.is_err() && api.act(region, &key.id, "roll", &none).await.is_err();
    let secrets = [first, second].into_iter().flatten().filter_map(|rolled| secret_of(&rolled).ok());
    let mut open = Vec::new();
    for secret in secrets.chain([key.secret.clone()]) {
        for region in &dev.ready().regions {
            let looks = api.settles(region, &secret, Served::No, WITHIN, Duration::from_millis(100)).await;
            if looks.took.is_none() {
                open.push(region.name.clone());
            }
        }
    }
    verdict.trial(after && open.is_empty(), || format!("{name}: revoked, and yet it can be enabled ({}), or works in {open:?}", !after));
    Ok(())
}

/// Requests with the secret that is in use.
struct Load {
    clients: JoinSet<Told>,
    has_switched: Arc<AtomicBool>,
    new: Arc<std::sync::OnceLock<String>>,
    is_over: Arc<AtomicBool>,
    old: Arc<AtomicU64>,
}

/// What the clients of a load have seen.
#[derive(Debug, Default)]
struct Told {
    asked: u64,
    old: u64,
    failed: Vec<String>,
}

impl Load {
    /// Two clients in each region.
    fn start(api: &Api, regions: &[RegionReady], key: &Issued) -> Self {
        let load = Self { clients: JoinSet::new(), has_switched: Arc::default(), new: Arc::default(), is_over: Arc::default(), old: Arc::default() };
        let mut clients = JoinSet::new();
        for region in regions.iter().chain(regions) {
            let (api, region, old) = (api.clone(), region.clone(), key.secret.clone());
            let (has_switched, new, is_over, count) =
                (Arc::clone(&load.has_switched), Arc::clone(&load.new), Arc::clone(&load.is_over), Arc::clone(&load.old));
            clients.spawn(async move {
                let mut told = Told::default();
                let mut next = Instant::now();
                while !is_over.load(Ordering::Relaxed) {
                    tokio::time::sleep_until(next).await;
                    next = Instant::now() + PACE;
                    let new = has_switched.load(Ordering::Acquire).then(|| new.get()).flatten();
                    count.fetch_add(u64::from(new.is_none()), Ordering::Relaxed);
                    told.asked += 1;
                    match api.look(&region, new.unwrap_or(&old)).await {
                        Ok(Served::Yes) => {}
                        Ok(Served::No) => told.failed.push(format!("{} refused a valid secret", region.name)),
                        Err(odd) => told.failed.push(odd),
                    }
                }
                told
            });
        }
        Self { clients, ..load }
    }

    /// From now on every request comes with the new secret.
    fn switch(&self, new: &Issued) {
        self.new.set(new.secret.clone()).ok();
        self.has_switched.store(true, Ordering::Release);
    }

    async fn end(mut self) -> Result<Told> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut told = Told { old: self.old.load(Ordering::Relaxed), ..Told::default() };
        while let Some(client) = self.clients.join_next().await {
            let client: Told = client.context("a client of the load ended early")?;
            told.asked += client.asked;
            told.failed.extend(client.failed);
        }
        Ok(told)
    }
}

/// The new secret in the answer to a roll.
fn secret_of(rolled: &Value) -> Result<String> {
    Ok(rolled.get("secret").and_then(Value::as_str).context("the answer has no secret")?.to_owned())
}

impl Api {
    /// An act on a key.
    async fn act(&self, region: &RegionReady, id: &str, verb: &str, body: &Value) -> Result<Value> {
        let answer = self.post_control(region, &format!("/v1/keys/{id}/{verb}"), body).await?;
        ensure!(answer.status / 100 == 2, "{verb} was answered {}: {}", answer.status, answer.body);
        Ok(answer.json())
    }
}
