//! The load: keys are issued and revoked through each node and used on each kind of route, whatever happens to the database.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::dev::RegionReady;
use harness::wait;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::history::{Acknowledged, History, Key, Revision, State, lock};
use crate::api::{Answer, Api};

/// Routes by their preset: 2 s and 10 s, then refused; served for as long as nothing else is known.
pub(super) const FINANCE: &str = "/demo/v1/finance/echo";
pub(super) const HEALTH: &str = "/demo/v1/health/echo";
pub(super) const SOCIAL: &str = "/demo/v1/social/echo";
/// For how long a key may be served on the strictest of them after its revocation was committed.
const BOUND: Duration = Duration::from_secs(2);
/// Between two changes through one node, and how many of them may be under way. All changes take turns, and on a machine that is shared with
/// a build a turn can take 50 ms: what has piled up during a failover must not take seconds to be worked off, or that would be measured.
const CHANGE_EVERY: Duration = Duration::from_millis(150);
const CHANGES_MAX: usize = 16;
/// Between two calls of one node.
const CALL_EVERY: Duration = Duration::from_millis(20);
/// Between two looks at what a node has applied.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// A key counts as known everywhere after so long without a failover.
const KNOWN_AFTER: Duration = Duration::from_secs(2);

/// Whoever is under way.
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    over: CancellationToken,
}

struct Shared {
    api: Api,
    regions: Vec<RegionReady>,
    history: Arc<Mutex<History>>,
}

impl Load {
    pub(super) fn start(api: &Api, regions: &[RegionReady]) -> Self {
        let shared = Arc::new(Shared { api: api.clone(), regions: regions.to_vec(), history: Arc::default() });
        let (mut tasks, over) = (JoinSet::new(), CancellationToken::new());
        for node in 0..regions.len() {
            tasks.spawn(changes(Arc::clone(&shared), node, over.clone()));
            tasks.spawn(calls(Arc::clone(&shared), node, over.clone()));
            tasks.spawn(heads(Arc::clone(&shared), node, over.clone()));
        }
        Self { shared, tasks, over }
    }

    pub(super) fn history(&self) -> &Mutex<History> {
        &self.shared.history
    }

    /// From here on a leader is missing; answers the newest epoch of before.
    pub(super) fn strike(&self, at: Instant) -> u64 {
        let mut history = lock(&self.shared.history);
        (history.struck, history.blow) = (Some(at), Some(at));
        history.epoch()
    }

    pub(super) fn calm(&self) {
        lock(&self.shared.history).calm(self.shared.regions.len());
    }

    /// When a change had been made through each node in a later epoch than `epoch`; none when that has not come about by `deadline`.
    pub(super) async fn serves_again(&self, epoch: u64, deadline: Instant) -> Option<Instant> {
        let made = async || lock(&self.shared.history).made_again(self.shared.regions.len(), epoch);
        let found = wait::some("changes through each node", deadline.saturating_duration_since(Instant::now()), made).await;
        found.ok().map(|(at, _)| at)
    }

    /// Ends it, and waits for what is under way.
    pub(super) async fn stop(mut self) -> Arc<Mutex<History>> {
        self.over.cancel();
        while self.tasks.join_next().await.is_some() {}
        Arc::clone(&self.shared.history)
    }
}

/// Issues and revokes through one node, at a pace that no answer slows down.
async fn changes(shared: Arc<Shared>, node: usize, over: CancellationToken) {
    let mut pending = JoinSet::new();
    let mut ticks = interval(CHANGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0_u64.. {
        tokio::select! {
            () = over.cancelled() => break,
            _ = ticks.tick() => {}
        }
        while pending.try_join_next().is_some() {}
        if pending.len() >= CHANGES_MAX {
            continue;
        }
        let shared = Arc::clone(&shared);
        pending.spawn(async move { if turn % 3 == 2 { revoke(&shared, node).await } else { issue(&shared, node, turn).await } });
    }
    while pending.join_next().await.is_some() {}
}

async fn issue(shared: &Shared, node: usize, turn: u64) {
    let Some(region) = shared.regions.get(node) else { return };
    let began = Instant::now();
    let answer = shared.api.post_control(region, "/v1/keys", &json!({ "name": format!("{node} {turn}") })).await;
    let mut history = lock(&shared.history);
    let Some((answer, change)) = told(&mut history, began, answer, 201) else { return };
    history.acknowledge(node, change);
    let body = answer.json();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    history.keys.push(Key { id: text("id"), secret: text("secret"), issued_at: change.ended, state: State::Live });
}

async fn revoke(shared: &Shared, node: usize) {
    let Some(region) = shared.regions.get(node) else { return };
    // One that every node may have been asked for.
    let chosen = {
        let mut history = lock(&shared.history);
        let old = history.keys.iter().position(|key| key.state == State::Live && key.issued_at.elapsed() > KNOWN_AFTER);
        old.and_then(|index| {
            let key = history.keys.get_mut(index)?;
            key.state = State::Open;
            Some((index, key.clone()))
        })
    };
    let Some((index, key)) = chosen else { return };
    let began = Instant::now();
    let answer = shared.api.post_control(region, &format!("/v1/keys/{}/revoke", key.id), &json!({})).await;
    let change = {
        let mut history = lock(&shared.history);
        let Some((_, change)) = told(&mut history, began, answer, 200) else { return };
        history.acknowledge(node, change);
        if let Some(key) = history.keys.get_mut(index) {
            key.state = State::Revoked;
        }
        change
    };
    // It was committed before it was acknowledged: from here on no node may take it where confirmed keys are demanded.
    sleep_until(change.ended + BOUND).await;
    for region in &shared.regions {
        let answer = shared.api.get(region, FINANCE, &key.secret).await;
        let mut history = lock(&shared.history);
        history.bounds += 1;
        if answer.is_ok_and(|answer| answer.status == 200) {
            history.wrong.push(format!("{} took key {} later than {} s after its revocation was acknowledged", region.name, key.id, BOUND.as_secs()));
        }
    }
}

/// Sorts an answer to a change: acknowledged, or not. Whatever is neither is wrong.
fn told(history: &mut History, began: Instant, answer: anyhow::Result<Answer>, expected: u16) -> Option<(Answer, Acknowledged)> {
    let ended = Instant::now();
    let answer = match answer {
        Ok(answer) => answer,
        // No answer in time, or none at all: the change may be made or not.
        Err(error) => {
            let is_late = error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout);
            history.refuse(if is_late { "no answer in time" } else { "no answer" }.to_owned());
            return None;
        }
    };
    if answer.status == expected {
        let body = answer.json();
        let number = |name: &str| body.get("revision").and_then(|revision| revision.get(name)).and_then(Value::as_u64);
        if let (Some(epoch), Some(authority)) = (number("epoch"), number("authority")) {
            return Some((answer, Acknowledged { began, ended, revision: Revision { epoch, authority } }));
        }
    }
    if answer.status == 503 {
        let detail = answer.json().get("detail").and_then(Value::as_str).unwrap_or_default().to_owned();
        history.refuse(format!("{}: {detail}", answer.summary()));
    } else {
        history.wrong.push(format!("a change was answered {}: {}", answer.summary(), answer.body));
    }
    None
}

/// Calls one node with keys that are valid and known to it.
async fn calls(shared: Arc<Shared>, node: usize, over: CancellationToken) {
    let Some(region) = shared.regions.get(node) else { return };
    let mut ticks = interval(CALL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let routes = [SOCIAL, FINANCE, SOCIAL, HEALTH];
    for (turn, route) in routes.iter().cycle().enumerate() {
        tokio::select! {
            () = over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (in_failover, key) = {
            let history = lock(&shared.history);
            let known = |key: &&Key| key.state == State::Live && key.issued_at + KNOWN_AFTER < history.struck.unwrap_or_else(Instant::now);
            // The youngest that is known, so that it is not the next to be revoked.
            let issued = history.keys.iter().rev().find(known).map(|key| (key.id.clone(), key.secret.clone(), key.issued_at));
            (history.struck.is_some(), issued.filter(|_| turn % 2 == 0))
        };
        let secret = key.as_ref().map_or(shared.api.first_key(), |(_, secret, _)| secret);
        let answer = shared.api.get(region, route, secret).await;
        let mut history = lock(&shared.history);
        let is_judged = key.as_ref().is_none_or(|(id, ..)| history.keys.iter().rev().any(|key| key.id == *id && key.state == State::Live));
        if !is_judged {
            continue;
        }
        let served = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        history.call(node, route, in_failover, served);
        // Who demands confirmed keys may be refused, in these words; nobody else.
        let is_stale = answer.as_ref().is_ok_and(|answer| answer.status == 503 && answer.code() == "authority-stale");
        let may_be_refused = is_stale && *route != SOCIAL;
        if !served && !may_be_refused {
            let said = answer.map_or_else(|error| format!("{error:#}"), |answer| answer.summary());
            let key =
                key.map_or_else(|| "the first key".to_owned(), |(id, _, at)| format!("key {id}, issued {} ms before,", at.elapsed().as_millis()));
            let blow = history.blow.map_or(0, |blow| blow.elapsed().as_millis());
            history.wrong.push(format!("{} answered {key} on {route} with {said}, {blow} ms after the last blow", region.name));
        }
    }
}

/// Asks one node what it has applied.
async fn heads(shared: Arc<Shared>, node: usize, over: CancellationToken) {
    let Some(region) = shared.regions.get(node) else { return };
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Some(head) = head(&shared.api, region).await {
            lock(&shared.history).head(node, head);
        }
    }
}

/// What a node has applied, from its metrics, which need no database.
pub(super) async fn head(api: &Api, region: &RegionReady) -> Option<Revision> {
    let answer = api.control(region, "/metrics").await.ok().filter(|answer| answer.status == 200)?;
    let gauge = |name: &str| {
        let line = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        // Whole numbers, which may be written with a point.
        line.split('.').next()?.trim().parse().ok()
    };
    Some(Revision { epoch: gauge("causeway_config_epoch")?, authority: gauge("causeway_config_authority_revision")? })
}
