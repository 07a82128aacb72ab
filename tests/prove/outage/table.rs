//! What each kind of route answers in each phase of the outage, as a table: what is seen, held against what is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::client::{self, Version};
use harness::dev::RegionReady;
use harness::wait;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::ground::Ground;
use crate::claim::Verdict;

/// Calls in a row on the route with a limit of two a second.
const BURST: usize = 12;
/// How long a node may take to find a fronted database's primary.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const TOKEN: &str = "consistency-token";

/// When it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// All is well.
    Before,
    /// No server of the control database is there, for longer than any route with `on_stale: deny` bears.
    Down,
    /// So it is still, and the nodes have been restarted.
    Restarted,
    /// So it is still, and a node was added that has nothing on its disk.
    Added,
    /// And another one that was given a copy of what a node has sealed.
    AddedWithCopy,
    /// So it is still, at the end of the outage: the nodes that were restarted.
    AtEnd,
    /// The servers are back: all nodes, also those that were added.
    Returned,
}

impl Phase {
    const ALL: [Self; 7] = [Self::Before, Self::Down, Self::Restarted, Self::Added, Self::AddedWithCopy, Self::AtEnd, Self::Returned];

    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Down => "database down",
            Self::Restarted => "node restarted",
            Self::Added => "node added",
            Self::AddedWithCopy => "added with a copy",
            Self::AtEnd => "at the end",
            Self::Returned => "database back",
        }
    }
}

/// A kind of route, and what is asked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    KeyDeny2s,
    KeyDeny10s,
    KeyAllow,
    UnknownKeyAllow,
    JwtDeny2s,
    JwtAllow,
    SoftLimit,
    OwnWrite,
    OwnRefuse,
    OwnPrimary,
    OwnStale,
    Ready,
}

impl Row {
    const ALL: [Self; 12] = [
        Self::KeyDeny2s,
        Self::KeyDeny10s,
        Self::KeyAllow,
        Self::UnknownKeyAllow,
        Self::JwtDeny2s,
        Self::JwtAllow,
        Self::SoftLimit,
        Self::OwnWrite,
        Self::OwnRefuse,
        Self::OwnPrimary,
        Self::OwnStale,
        Self::Ready,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::KeyDeny2s => "key, deny 2 s",
            Self::KeyDeny10s => "key, deny 10 s",
            Self::KeyAllow => "key, allow",
            Self::UnknownKeyAllow => "unknown key, allow",
            Self::JwtDeny2s => "JWT, deny 2 s",
            Self::JwtAllow => "JWT, allow",
            Self::SoftLimit => "limit 2/s, allow",
            Self::OwnWrite => "read_your_writes: write",
            Self::OwnRefuse => "read, else refuse",
            Self::OwnPrimary => "read, else primary",
            Self::OwnStale => "read, else stale",
            Self::Ready => "/readyz",
        }
    }

    /// What is written: docs/operations.md on health and on-stale policies, docs/consistency.md and ADR 0034 on nodes without epochs.
    const fn expected(self, phase: Phase) -> &'static str {
        let is_well = matches!(phase, Phase::Before | Phase::Returned);
        let has_epochs = is_well || matches!(phase, Phase::Down);
        match (self, phase) {
            (Self::Ready, Phase::Added) => "503 not ready",
            (_, Phase::Added) => "503 not-ready",
            (Self::KeyDeny2s | Self::KeyDeny10s | Self::JwtDeny2s, _) if !is_well => "503 authority-stale",
            (Self::UnknownKeyAllow, _) => "401 credentials-invalid",
            (Self::SoftLimit, _) => "200+429",
            (Self::OwnWrite, _) if has_epochs => "201",
            (Self::OwnWrite, _) => "201 unknown",
            (Self::OwnRefuse | Self::OwnPrimary, _) if !has_epochs => "503 position-unreached",
            (Self::OwnStale, _) if !has_epochs => "200 unknown",
            (Self::Ready, _) if is_well => "200 ready",
            (Self::Ready, _) => "200 ready, degraded",
            (
                Self::KeyDeny2s
                | Self::KeyDeny10s
                | Self::KeyAllow
                | Self::JwtDeny2s
                | Self::JwtAllow
                | Self::OwnRefuse
                | Self::OwnPrimary
                | Self::OwnStale,
                _,
            ) => "200",
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Table {
    client: reqwest::Client,
    key: String,
    jwt: String,
    /// An item, and the token of its writer.
    own: Option<(i64, String)>,
    seen: BTreeMap<(Row, Phase), Vec<String>>,
}

impl Table {
    pub(super) fn of(ground: &Ground) -> Result<Self> {
        let ready = ground.dev.ready();
        let client = client::http(&ready.ca, Version::Http1)?;
        Ok(Self { client, key: ready.api_key.clone(), jwt: ground.jwt.clone(), own: None, seen: BTreeMap::new() })
    }

    /// Whether a node serves as it does when all is well.
    pub(super) async fn is_well(&mut self, node: &RegionReady) -> bool {
        for row in Row::ALL {
            // A limit that has just been used up says nothing.
            if row != Row::SoftLimit && self.ask(node, row).await != row.expected(Phase::Before) {
                return false;
            }
        }
        true
    }

    /// Waits until a node that was just started has seen where writes go: it asks the fronted database for that, and not the control database.
    pub(super) async fn settled(&mut self, node: &RegionReady) -> Result<()> {
        let knows = async || self.ask(node, Row::OwnWrite).await != "503 region-unavailable";
        wait::until(&format!("{} to know where writes go", node.name), KNOWN_WITHIN, knows).await?;
        Ok(())
    }

    /// Asks a node on every route, and holds the answers against what is written.
    pub(super) async fn look(&mut self, node: &RegionReady, phase: Phase, verdict: &mut Verdict) {
        for row in Row::ALL {
            let (seen, expected) = (self.ask(node, row).await, row.expected(phase));
            verdict.trial(seen == expected, || format!("{}: {} answers {seen} on {}, not {expected}", phase.name(), node.name, row.name()));
            let cell = self.seen.entry((row, phase)).or_default();
            if !cell.contains(&seen) {
                cell.push(seen);
            }
        }
    }

    /// The whole, for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("| route |");
        for phase in Phase::ALL {
            let _there = write!(text, " {} |", phase.name());
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(Phase::ALL.len()));
        for row in Row::ALL {
            let _there = write!(text, "\n| {} |", row.name());
            for phase in Phase::ALL {
                let cell = self.seen.get(&(row, phase)).map_or_else(|| "-".to_owned(), |seen| seen.join(" / "));
                let _there = write!(text, " {cell} |");
            }
        }
        text
    }

    async fn ask(&mut self, node: &RegionReady, row: Row) -> String {
        let told = self.told(node, row).await;
        told.unwrap_or_else(|error| format!("nothing ({error:#})"))
    }

    async fn told(&mut self, node: &RegionReady, row: Row) -> Result<String> {
        let get = |path: &str| self.client.get(format!("{}{path}", node.data)).timeout(ANSWER_WITHIN);
        let key = ("x-api-key", self.key.as_str());
        let request = match row {
            Row::KeyDeny2s => get("/demo/v1/finance/echo").header(key.0, key.1),
            Row::KeyDeny10s => get("/demo/v1/health/echo").header(key.0, key.1),
            Row::KeyAllow => get("/demo/v1/social/echo").header(key.0, key.1),
            Row::UnknownKeyAllow => get("/demo/v1/social/echo").header(key.0, "cw_live_nobody"),
            Row::JwtDeny2s => get("/jwt/deny/echo").bearer_auth(&self.jwt),
            Row::JwtAllow => get("/jwt/allow/echo").bearer_auth(&self.jwt),
            Row::SoftLimit => return self.limited(node).await,
            Row::OwnWrite => return self.write(node).await,
            Row::OwnRefuse | Row::OwnPrimary | Row::OwnStale => {
                let (id, token) = self.own.as_ref().context("nothing was written before")?;
                let kind = if row == Row::OwnRefuse { "refuse" } else { "primary" };
                let kind = if row == Row::OwnStale { "stale" } else { kind };
                get(&format!("/own/{kind}/items/{id}")).header(key.0, key.1).header(TOKEN, token)
            }
            Row::Ready => {
                let answer = self.client.get(format!("{}/readyz", node.control)).timeout(ANSWER_WITHIN).send().await?;
                let status = answer.status().as_u16();
                return Ok(format!("{status} {}", answer.text().await?.trim()));
            }
        };
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(summary(status, &headers, &answer.json().await.unwrap_or_default()))
    }

    /// Writes; the first item, with its token, is what is read from then on.
    async fn write(&mut self, node: &RegionReady) -> Result<String> {
        let request = self.client.post(format!("{}/own/refuse/items", node.data)).header("x-api-key", &self.key);
        let answer = request.json(&json!({ "name": "mine", "quantity": 1 })).timeout(ANSWER_WITHIN).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body: Value = answer.json().await.unwrap_or_default();
        let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
        if let (None, Some(id), Some(token)) = (&self.own, body.get("id").and_then(Value::as_i64), token) {
            self.own = Some((id, token.to_owned()));
        }
        Ok(summary(status, &headers, &body))
    }

    /// Calls in a row: which statuses there are among the answers.
    async fn limited(&self, node: &RegionReady) -> Result<String> {
        let (mut statuses, mut code) = (Vec::new(), String::new());
        for _ in 0..BURST {
            let request = self.client.get(format!("{}/soft/echo", node.data)).header("x-api-key", &self.key);
            let answer = request.timeout(ANSWER_WITHIN).send().await?;
            let status = answer.status().as_u16();
            if status == 503 {
                code = summary(status, &HeaderMap::new(), &answer.json().await.unwrap_or_default());
            }
            if !statuses.contains(&status) {
                statuses.push(status);
            }
        }
        statuses.sort_unstable();
        let texts: Vec<String> = statuses.iter().map(u16::to_string).collect();
        Ok(if code.is_empty() { texts.join("+") } else { code })
    }
}

/// The status, with the problem's code or what is said of staleness.
fn summary(status: u16, headers: &HeaderMap, body: &Value) -> String {
    let staleness = headers.get("causeway-staleness").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let code = body.get("code").and_then(Value::as_str).unwrap_or_default();
    [&*status.to_string(), code, staleness].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
