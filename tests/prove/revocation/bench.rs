//! Keys, looks at them through every node, and their revocations.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::history::Served;
use harness::history::revocation::{History, Look, Outcome, Revocation};
use harness::regions::Member;
use harness::site::Site;
use harness::wait;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::receipt::{self, Clock};
use crate::api::{Answer, Api, Issued};

/// How long a key may be served after its revocation where confirmed keys are demanded: the preset `finance`.
pub(super) const BOUND: Duration = Duration::from_secs(2);
/// How much longer than the bound a node that is cut off is looked at.
const BEYOND: Duration = Duration::from_millis(500);
/// Between two looks at a key through one node, and once it refuses.
const LOOK_EVERY: Duration = Duration::from_millis(30);
const LOOK_SELDOM: Duration = Duration::from_millis(100);
/// A key counts as refused after so many refusals in a row.
const REFUSALS: u32 = 3;
/// How long a key is looked at after the answer to its revocation.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a revocation may take to be answered, waiting included.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Keys that are made at a time.
const ISSUED_AT_ONCE: usize = 8;

/// Keys that are made before the run, and their first number.
const SPARE: u32 = 8;
const FIRST_SPARE: u32 = u32::MAX - SPARE;
/// How long nodes that have just started may take to serve without a gap.
const STEADY_WITHIN: Duration = Duration::from_secs(40);

/// Where a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// 2 s, then 503.
    Finance,
    /// Served for as long as the node knows nothing else.
    Social,
}

impl Route {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Finance => "/demo/v1/finance/echo",
            Self::Social => "/demo/v1/social/echo",
        }
    }

    fn bound_us(self) -> Option<u64> {
        match self {
            Self::Finance => u64::try_from(BOUND.as_micros()).ok(),
            Self::Social => None,
        }
    }
}

/// How a key is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// The answer comes with the commit.
    Plainly,
    /// It comes with the effect.
    ForTheEffect,
}

impl Asking {
    /// Revocations under way at once: those that wait do little meanwhile.
    pub(super) const fn in_flight(self) -> usize {
        match self {
            Self::Plainly => 8,
            Self::ForTheEffect => 16,
        }
    }
}

/// A key with its number in the history.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub(super) number: u32,
    pub(super) key: Issued,
}

/// What was seen of one key.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) revocation: Revocation,
    pub(super) looks: Vec<Look>,
    /// The nodes that did not come to refuse it in time.
    pub(super) unsettled: Vec<String>,
    /// The status of the revocation's answer.
    pub(super) status: u16,
}

/// Lets some revocations begin together.
#[derive(Debug)]
pub(super) struct Gate {
    /// How many keys have been seen to work through every node.
    ready: watch::Sender<usize>,
    is_open: watch::Sender<bool>,
}

impl Gate {
    pub(super) fn new(is_open: bool) -> Self {
        Self { ready: watch::Sender::new(0), is_open: watch::Sender::new(is_open) }
    }

    /// Waits until so many keys are ready.
    pub(super) async fn wait_ready(&self, keys: usize) {
        drop(self.ready.subscribe().wait_for(|ready| *ready >= keys).await);
    }

    pub(super) fn open(&self) {
        self.is_open.send_replace(true);
    }

    async fn pass(&self) {
        self.ready.send_modify(|ready| *ready += 1);
        drop(self.is_open.subscribe().wait_for(|is_open| *is_open).await);
    }
}

/// A deployment under the claim.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) regions: Site,
    pub(super) api: Api,
    pub(super) clock: Clock,
    pub(super) nodes: Vec<String>,
}

impl Bench {
    pub(super) fn of(regions: Site) -> Result<Self> {
        let api = Api::of(regions.ready())?;
        let nodes = regions.members().iter().map(|member| member.name.clone()).collect();
        Ok(Self { regions, api, clock: Clock::start(), nodes })
    }

    /// Makes keys that nobody uses, so that nodes have made their connections, and waits until every node has served where confirmed keys are
    /// demanded for as long as such a route waits for them. Answers how long that took.
    pub(super) async fn steady(&self) -> Result<Duration> {
        let began = Instant::now();
        self.issue(FIRST_SPARE..FIRST_SPARE + SPARE).await?;
        let mut since = Instant::now();
        wait::until("nodes that serve steadily", STEADY_WITHIN, async || {
            let served = join_all(self.regions.members().iter().map(async |member| {
                let answer = self.api.get(member.node.region(), Route::Finance.path(), self.api.first_key()).await;
                answer.is_ok_and(|answer| answer.status == 200)
            }));
            if served.await.contains(&false) {
                since = Instant::now();
            }
            since.elapsed() > BOUND
        })
        .await?;
        Ok(began.elapsed())
    }

    /// Makes keys for both routes, and waits until the last one works through every node; then the others do, too.
    pub(super) async fn issue(&self, numbers: std::ops::Range<u32>) -> Result<Vec<Numbered>> {
        let keys: Vec<Numbered> = stream::iter(numbers.map(|number| self.issue_one(number))).buffered(ISSUED_AT_ONCE).try_collect().await?;
        // Made at once, they were committed in any order.
        for numbered in keys.iter().rev().take(ISSUED_AT_ONCE) {
            let settling = self.regions.members().iter().map(async |member| {
                let looks = self.api.settles(member.node.region(), &numbered.key.secret, Served::Yes, PATIENCE, Duration::ZERO).await;
                ensure!(looks.took.is_some(), "a new key does not come to work through {}: {}", member.name, looks.odd.unwrap_or_default());
                Ok(())
            });
            try_join_all(settling).await?;
        }
        Ok(keys)
    }

    async fn issue_one(&self, number: u32) -> Result<Numbered> {
        let body = json!({ "name": format!("key {number}"), "routes": ["demo", "demo-finance", "demo-social"] });
        let answer = self.api.post_control(self.regions.writer()?, "/v1/keys", &body).await?;
        ensure!(answer.status == 201, "issuing a key was answered {}: {}", answer.status, answer.body);
        Ok(Numbered { number, key: serde_json::from_str(&answer.body)? })
    }

    /// Revokes a key while it is looked at through every node, until each has shown what it has to: a refusal, or, in the region that is
    /// cut off, that it does not serve beyond the bound.
    pub(super) async fn revoke(&self, numbered: &Numbered, asking: Asking, cut_off: Option<usize>, gate: &Gate) -> Result<Seen> {
        let members = self.regions.members();
        let (working, answered) = (watch::Sender::new(0_usize), watch::Sender::new(None));
        let watching = join_all(members.iter().enumerate().map(|(node, member)| {
            let is_cut_off = cut_off == Some(member.region);
            self.watch(numbered, node, is_cut_off, &working, answered.subscribe())
        }));
        let revoking = async {
            drop(tokio::time::timeout(PATIENCE, working.subscribe().wait_for(|working| *working == members.len())).await);
            gate.pass().await;
            let sent = Instant::now();
            let answer = self.ask(numbered, asking).await?;
            let at = Instant::now();
            answered.send_replace(Some(at));
            anyhow::Ok((sent, at, answer))
        };
        let (watched, revoked) = tokio::join!(watching, revoking);
        let (sent, at, answer) = revoked?;
        ensure!(answer.status / 100 == 2, "revoking was answered {}: {}", answer.status, answer.body);
        let (committed, receipt) = receipt::read(&answer.json(), self.clock, &self.nodes)?;
        let (sent_us, answered_us) = (self.clock.at(sent), self.clock.at(at));
        let revocation = Revocation { key: numbered.number, sent_us, answered_us, committed_us: Some(committed), receipt };
        let unsettled = watched.iter().zip(&self.nodes).filter(|(looks, _)| looks.is_err()).map(|(_, name)| name.clone()).collect();
        let looks = watched.into_iter().flat_map(|looks| looks.unwrap_or_else(|looks| looks)).collect();
        Ok(Seen { revocation, looks, unsettled, status: answer.status })
    }

    async fn ask(&self, numbered: &Numbered, asking: Asking) -> Result<Answer> {
        let query = match asking {
            Asking::Plainly => "",
            Asking::ForTheEffect => receipt::WAIT,
        };
        let path = format!("/v1/keys/{}/revoke{query}", numbered.key.id);
        self.api.post_control_within(self.regions.writer()?, &path, &json!({}), ANSWER_WITHIN).await
    }

    /// What the control API says later about a revocation that nobody waited for, held against what was seen; a sentence when it is wrong.
    pub(super) async fn propagated(&self, numbered: &Numbered, seen: &Seen) -> Result<Option<String>> {
        let path = format!("/v1/keys/{}/propagation", numbered.key.id);
        let writer = self.regions.writer()?;
        let told = async || {
            let answer = self.api.control(writer, &path).await.ok()?.json();
            let receipt = receipt::one(answer.get("receipt")?, self.clock, &self.nodes);
            receipt.ok().filter(|receipt| receipt.is_effective)
        };
        let Ok((receipt, _)) = wait::some("a revocation that is effective", PATIENCE, told).await else {
            return Ok(Some(format!("{path} does not come to say that it is effective")));
        };
        let mut revocation = Revocation { answered_us: self.clock.at(Instant::now()), ..seen.revocation.clone() };
        let is_whole = receipt.witnesses.len() == self.nodes.len();
        revocation.receipt = Some(receipt);
        let history = History { revocations: vec![revocation], looks: seen.looks.clone(), ..History::default() };
        let violations = history.violations();
        Ok((!is_whole || !violations.is_empty()).then(|| format!("{path} says {:?}: {violations:?}", history.revocations)))
    }

    /// Looks through one node until it has shown what it has to; the looks are an error when it did not in time.
    async fn watch(
        &self,
        numbered: &Numbered,
        node: usize,
        is_cut_off: bool,
        working: &watch::Sender<usize>,
        answered: watch::Receiver<Option<Instant>>,
    ) -> Result<Vec<Look>, Vec<Look>> {
        let Some(member) = self.regions.members().get(node) else { return Ok(Vec::new()) };
        let given_up = Instant::now() + PATIENCE + ANSWER_WITHIN + PATIENCE;
        // The nodes are looked at one after the other, so that what one look costs does not delay the others.
        let mut next = Instant::now() + LOOK_EVERY * u32::try_from(node).unwrap_or(0) / 8;
        let (mut looks, mut has_worked, mut in_a_row) = (Vec::new(), false, 0);
        loop {
            tokio::time::sleep_until(next).await;
            let began = Instant::now();
            // Where keys may be served without a bound is looked at, too, now and then.
            let route = if looks.len() % 4 == 3 { Route::Social } else { Route::Finance };
            let look = self.look(numbered, node, member, route).await;
            looks.push(look);
            if look.outcome == Outcome::Accepted && !has_worked {
                has_worked = true;
                working.send_modify(|working| *working += 1);
            }
            let is_shut = look.outcome == Outcome::Refused || (is_cut_off && look.outcome == Outcome::Stale);
            in_a_row = match (is_shut, route) {
                (true, _) => in_a_row + 1,
                // What the node serves without a bound while it is cut off says nothing.
                (false, Route::Social) if is_cut_off => in_a_row,
                (false, _) => 0,
            };
            let answered = *answered.borrow();
            let beyond = if is_cut_off { BOUND + BEYOND } else { Duration::ZERO };
            if in_a_row >= REFUSALS && answered.is_some_and(|answered| began > answered + beyond) {
                return Ok(looks);
            }
            if answered.is_some_and(|answered| began > answered + PATIENCE) || began > given_up {
                return Err(looks);
            }
            next = Instant::now().max(next + if in_a_row >= REFUSALS { LOOK_SELDOM } else { LOOK_EVERY });
        }
    }

    /// One look.
    pub(super) async fn look(&self, numbered: &Numbered, node: usize, member: &Member, route: Route) -> Look {
        let began = Instant::now();
        let answer = self.api.get(member.node.region(), route.path(), &numbered.key.secret).await;
        let ended = Instant::now();
        let (status, outcome) = answer.as_ref().map_or((0, Outcome::Other), |answer| (answer.status, outcome(answer)));
        Look {
            key: numbered.number,
            node: u16::try_from(node).unwrap_or(u16::MAX),
            began_us: self.clock.at(began),
            ended_us: self.clock.at(ended),
            bound_us: route.bound_us(),
            status,
            outcome,
        }
    }

    /// Looks at a revoked key through one node until that can tell, for at most [`PATIENCE`].
    pub(super) async fn until_told(&self, numbered: &Numbered, node: usize, member: &Member) -> Vec<Look> {
        let mut looks = Vec::new();
        // In vain: the last look says so.
        drop(
            wait::until("a node that can tell", PATIENCE, async || {
                let look = self.look(numbered, node, member, Route::Finance).await;
                looks.push(look);
                look.outcome != Outcome::Stale
            })
            .await,
        );
        looks
    }
}

/// What an answer says about the key.
fn outcome(answer: &Answer) -> Outcome {
    match (answer.status, answer.code().as_str()) {
        // A service that failed was asked, and so the key was accepted.
        (200 | 502 | 504, _) => Outcome::Accepted,
        (401, "credentials-invalid") => Outcome::Refused,
        (503, "authority-stale") => Outcome::Stale,
        _ => Outcome::Other,
    }
}
