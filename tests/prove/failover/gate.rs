//! How clients ask.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::document;
use super::record::{Act, Entry, Said, Stake, Way};

/// The longest that one answer may take before it counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const TOKEN: &str = "consistency-token";

/// Whether clients send the tokens that they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    Token,
    Nothing,
}

/// The nodes, as clients reach them.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) client: reqwest::Client,
    /// The data listener of each node.
    pub(super) nodes: Vec<String>,
    pub(super) sends: Sends,
    pub(super) began: Instant,
}

/// An answer, and what its client holds from then on.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) entry: Entry,
    pub(super) stake: Option<Stake>,
}

impl Gate {
    /// Makes an item with a name that no other one has.
    pub(super) async fn write(&self, domain: &str, way: Way, name: &str, has: Option<&Stake>) -> Heard {
        let url = self.url(domain, way, "items");
        let request = self.client.post(url).json(&json!({ "name": name, "quantity": 1 }));
        let name: Arc<str> = name.into();
        let mut heard = self.send(request, self.sends, way, Act::Write(Arc::clone(&name)), has).await;
        if let Some(stake) = heard.stake.as_mut().filter(|_| heard.entry.status == 201) {
            stake.name = name;
        } else {
            heard.stake = None;
        }
        heard
    }

    /// Reads the item that a token stands for.
    pub(super) async fn read(&self, domain: &str, way: Way, has: &Stake) -> Heard {
        self.read_as(self.sends, domain, way, has).await
    }

    /// The same, by a client that may send its token where others do not.
    pub(super) async fn read_as(&self, sends: Sends, domain: &str, way: Way, has: &Stake) -> Heard {
        let request = self.client.get(self.url(domain, way, &format!("items/{}", has.id)));
        let mut heard = self.send(request, sends, way, Act::Read, Some(has)).await;
        // What was read stands for the same write, if it shows it, and may for more.
        heard.stake = heard.stake.filter(|_| heard.entry.shows_own()).map(|stake| Stake { name: Arc::clone(&has.name), ..stake });
        heard
    }

    /// Microseconds since the run began.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn url(&self, domain: &str, way: Way, rest: &str) -> String {
        let node = self.nodes.get(way.node).map_or("", String::as_str);
        format!("{node}{}/{rest}", document::path(domain, way.mode))
    }

    async fn send(&self, request: reqwest::RequestBuilder, sends: Sends, way: Way, act: Act, has: Option<&Stake>) -> Heard {
        let token = has.filter(|_| sends == Sends::Token);
        let request = token.into_iter().fold(request, |request, has| request.header(TOKEN, &*has.token));
        let began_us = self.now_us();
        let answer = answer(request).await;
        let ended_us = self.now_us();
        let Answer { status, code, staleness, region, token, item } = answer;
        let said = said(status, &code, &staleness);
        let entry = Entry {
            way,
            act,
            has: has.map(|has| Arc::clone(&has.name)),
            began_us,
            ended_us,
            status,
            code,
            said,
            region,
            shows: item.as_ref().map(|(_, name)| name.clone()),
        };
        let stake = token.zip(item).map(|(token, (id, name))| Stake { name: name.into(), id, token: token.into() });
        Heard { entry, stake }
    }
}

/// What a node answered; status 0 for nothing.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    /// Of a problem of the gateway's own.
    code: String,
    staleness: String,
    region: String,
    token: Option<String>,
    item: Option<(i64, String)>,
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let Ok(response) = request.timeout(ANSWER_WITHIN).send().await else { return Answer::default() };
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (status, staleness, region, token) = (response.status().as_u16(), header("causeway-staleness"), header("causeway-region"), header(TOKEN));
    let body: Value = response.json().await.unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let item = body.get("id").and_then(Value::as_i64).zip(text("name"));
    Answer { status, code: text("code").unwrap_or_default(), staleness, region, token: Some(token).filter(|token| !token.is_empty()), item }
}

fn said(status: u16, code: &str, staleness: &str) -> Said {
    match (status, code, staleness) {
        (409, "position-lost", _) => Said::Refused,
        // What has a code is the gateway's own: a service that misses an item answers 404 without one.
        // Told is told, also with an answer of a service whose own database is gone.
        (200..=599, "", "lost") => Said::Lost,
        (200 | 201 | 404, "", "") => Said::Served,
        (200 | 201 | 404, "", _) => Said::Warned,
        (0 | 502..=504, _, _) => Said::Unavailable,
        _ => Said::Odd,
    }
}
