//! What clients were told, against what the database and the nodes have in the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt as _, stream};
use harness::dev::RegionReady;
use harness::wait;
use tokio::time::Instant;

use super::ground::Ground;
use super::history::{History, Key, State, lock};
use super::load::{SOCIAL, head};
use crate::api::Api;
use crate::claim::Verdict;

/// How long nodes may take to show what the database has.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// Looks at once.
const AT_ONCE: usize = 8;

/// After a blow, while the load goes on: nothing that was acknowledged is gone from the database that leads now.
pub(super) async fn trial(verdict: &mut Verdict, ground: &Ground, history: &Mutex<History>, number: u64) -> Result<()> {
    let before = lock(history).keys.clone();
    let rows = rows(ground).await?;
    let lost = compare(&mut lock(history), &before, &rows);
    verdict.trials_of(0, count(&lost), || format!("trial {number}: {}", lost.join("; ")));
    Ok(())
}

/// In the end, with the load over: the database, and each key through each node.
pub(super) async fn whole(verdict: &mut Verdict, ground: &Ground, history: &Mutex<History>) -> Result<()> {
    let keys = lock(history).keys.clone();
    let rows = rows(ground).await?;
    let lost = compare(&mut lock(history), &keys, &rows);
    verdict.trials_of(0, count(&lost), || format!("in the end: {}", lost.join("; ")));
    for region in ground.regions() {
        let other = shown(&ground.api, &region, &keys).await;
        verdict.trials_of(0, count(&other), || format!("in the end {}: {}", region.name, other.join("; ")));
    }
    let disorder = lock(history).disorder();
    verdict.trials_of(0, count(&disorder), || disorder.join("; "));
    let wrong = lock(history).wrong.clone();
    for sentence in wrong {
        verdict.trials_of(0, 1, || sentence);
    }
    epochs(verdict, ground, history).await
}

/// Each promotion began one epoch, by itself: they follow one another, each from the one before and each on a timeline of its own, and every
/// node is in the newest.
async fn epochs(verdict: &mut Verdict, ground: &Ground, history: &Mutex<History>) -> Result<()> {
    let leader = ground.patroni.leader().await?;
    let chain = "with here as (select e.*, lag(epoch_id) over (order by epoch) as before_id from control_epoch as e) \
                 select count(*), count(distinct (system_identifier, timeline)), count(*) filter (where parent_id is distinct from before_id), max(epoch) from here";
    let said = ground.patroni.ask(leader, "causeway", chain).await?.concat();
    let numbers: Vec<u64> = said.split('|').filter_map(|number| number.parse().ok()).collect();
    let &[epochs, timelines, strays, newest] = numbers.as_slice() else { anyhow::bail!("the epochs are not understood: {said}") };
    verdict.trials_of(0, u64::from(epochs != timelines || strays > 0), || {
        format!("{epochs} epochs on {timelines} timelines, {strays} of them not from the one before")
    });
    verdict.figure("epochs", epochs);
    let told = lock(history).epoch();
    verdict.trials_of(0, u64::from(told != newest), || format!("the newest epoch that was acknowledged is {told}, the database's {newest}"));
    for region in ground.regions() {
        let there = async || head(&ground.api, &region).await.is_some_and(|head| head.epoch == newest);
        let reached = wait::until("the newest epoch", SHOWN_WITHIN, there).await;
        verdict.trials_of(0, u64::from(reached.is_err()), || format!("{} is not in epoch {newest}", region.name));
    }
    Ok(())
}

/// The ids of all keys, and whether they are revoked.
async fn rows(ground: &Ground) -> Result<BTreeMap<String, bool>> {
    let leader = ground.patroni.leader().await?;
    let rows = ground.patroni.ask(leader, "causeway", "select key_id, revoked_at is not null from api_key").await?;
    Ok(rows.iter().filter_map(|row| row.split_once('|')).map(|(id, revoked)| (id.to_owned(), revoked == "t")).collect())
}

/// What was acknowledged of these keys, read before the rows were, and is not so there. Each is told once.
fn compare(history: &mut History, before: &[Key], rows: &BTreeMap<String, bool>) -> Vec<String> {
    let mut lost = Vec::new();
    for (key, now) in before.iter().zip(history.keys.clone()) {
        let sentence = match (key.state, rows.get(&key.id)) {
            (_, None) => "it was issued, and is gone",
            (State::Revoked, Some(false)) => "its revocation was acknowledged, and is gone",
            (State::Live, Some(true)) if now.state == State::Live => "nobody has revoked it, and it is revoked",
            (State::Live | State::Open | State::Revoked, Some(_)) => continue,
        };
        if history.lost.insert(key.id.clone()) {
            lost.push(format!("key {}: {sentence}", key.id));
        }
    }
    lost
}

/// Keys that a node does not come to show as they are.
async fn shown(api: &Api, region: &RegionReady, keys: &[Key]) -> Vec<String> {
    let deadline = Instant::now() + SHOWN_WITHIN;
    let looks = keys.iter().filter(|key| key.state != State::Open).map(async |key| {
        let expected = if key.state == State::Live { 200 } else { 401 };
        let mut last = String::new();
        let seen = wait::until("a key as it is", deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)), async || {
            let answer = api.get(region, SOCIAL, &key.secret).await;
            last = answer.as_ref().map_or_else(|error| format!("{error:#}"), crate::api::Answer::summary);
            answer.is_ok_and(|answer| answer.status == expected)
        })
        .await;
        seen.err().map(|_| format!("key {} is answered {last}, not {expected}", key.id))
    });
    stream::iter(looks).buffer_unordered(AT_ONCE).filter_map(async |sentence| sentence).collect().await
}

fn count(sentences: &[String]) -> u64 {
    u64::try_from(sentences.len()).unwrap_or(u64::MAX)
}
