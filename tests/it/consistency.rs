//! Read your writes: what a client has written is read in whichever region it asks, or it is told that it may not be.

use std::path::PathBuf;
use std::time::Duration;

use harness::client::{self, Version};
use harness::dev::{Dev, RegionReady};
use harness::sql::Sql;
use harness::wait;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::site::apply_text;

mod cookie;
mod newness;
mod servers;

const WITHIN: Duration = Duration::from_secs(20);
const TOKEN: &str = "consistency-token";

/// An answer, without what no test looks at.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn token(&self) -> String {
        let token = self.header(TOKEN);
        assert!(!token.is_empty() && token.len() <= 256, "{self:?}");
        token.to_owned()
    }

    /// What it came to: status, the region that answered, what is said about staleness.
    fn told(&self) -> (u16, &str, &str) {
        (self.status, self.header("causeway-region"), self.header("causeway-staleness"))
    }
}

/// Two regions, with the routes of the demo's items read by a policy: `/items` as given, `/eventual/items` without a promise.
struct Place {
    dev: Dev,
    client: Client,
    primary: Sql,
    root: PathBuf,
    text: String,
}

impl Place {
    async fn start(policy: &str) -> Self {
        let dev = Dev::start().await.unwrap();
        let client = client::http(&dev.ready().ca, Version::Http2).unwrap();
        let primary = Sql::open(dev.writer().unwrap().postgres_port, &dev.reader().unwrap().postgres_data_dir).unwrap();
        let root = dev.ready().ca.parent().unwrap().parent().unwrap().to_owned();
        let text = std::fs::read_to_string(root.join("gateway.yaml")).unwrap();
        let place = Self { dev, client, primary, root, text };
        place.policy(policy).await;
        // The first write tells a position once the domain's epoch is known.
        let known = async || place.create(place.writer(), None).await.headers.contains_key(TOKEN);
        wait::until("a token", WITHIN, known).await.unwrap();
        let caught_up =
            async || place.read(place.reader(), 1, Some(&place.create(place.writer(), None).await.token())).await.told() == (200, "us-east", "");
        wait::until("a standby whose position is known", WITHIN, caught_up).await.unwrap();
        place
    }

    /// Puts another policy on the routes of items.
    async fn policy(&self, reads: &str) {
        self.apply(&self.text, reads).await;
    }

    /// Applies a document with a policy on the routes of items.
    async fn apply(&self, text: &str, reads: &str) {
        let wanted =
            format!("upstream: demo\n  audit: buffered\n  consistency: {{ keys: {{ on_stale: allow }}, reads: {reads} }}\n  scopes: [ \"items:");
        let with_policy = text.replace("upstream: demo\n  consistency: social\n  scopes: [ \"items:", &wanted);
        assert_ne!(with_policy, text);
        apply_text(&self.dev, &with_policy, &self.root.join("consistency.yaml"));
        for region in &self.dev.ready().regions {
            let revision = async || {
                let status =
                    self.client.get(format!("{}/status", region.control)).bearer_auth(&self.dev.ready().operator_token).send().await.unwrap();
                status.json::<Value>().await.unwrap()["node"]["structural_revision"].as_u64().unwrap()
            };
            let newest = self.primary.ask("causeway", "select max(rev) from control_head where lane = 'structural'").await;
            let newest = match newest {
                Ok(rows) => rows.concat().parse::<u64>().unwrap(),
                Err(_) => continue,
            };
            wait::until("the policy", WITHIN, async || revision().await >= newest).await.unwrap();
        }
    }

    fn writer(&self) -> &RegionReady {
        self.dev.writer().unwrap()
    }

    fn reader(&self) -> &RegionReady {
        self.dev.reader().unwrap()
    }

    fn standby(&self) -> Sql {
        self.primary.on(self.reader().postgres_port)
    }

    async fn send(&self, request: RequestBuilder, token: Option<&str>) -> Answer {
        let request = request.header("x-api-key", &self.dev.ready().api_key);
        let request = token.into_iter().fold(request, |request, token| request.header(TOKEN, token));
        let answer = request.timeout(WITHIN).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: answer.json().await.unwrap_or_default() }
    }

    async fn create(&self, at: &RegionReady, token: Option<&str>) -> Answer {
        self.send(self.client.post(format!("{}/demo/v1/items", at.data)).json(&json!({ "name": "pens", "quantity": 3 })), token).await
    }

    async fn read(&self, at: &RegionReady, id: i64, token: Option<&str>) -> Answer {
        self.send(self.client.get(format!("{}/demo/v1/items/{id}", at.data)), token).await
    }

    /// A new item's number, and the token of its writer.
    async fn item(&self, at: &RegionReady) -> (i64, String) {
        let created = self.create(at, None).await;
        assert_eq!(created.told(), (201, "eu-west", ""), "{created:?}");
        (created.body["id"].as_i64().unwrap(), created.token())
    }

    async fn pause(&self) {
        let standby = self.standby();
        standby.ask("postgres", "select pg_wal_replay_pause()").await.unwrap();
        let paused = async || standby.ask("postgres", "select pg_get_wal_replay_pause_state()").await.is_ok_and(|rows| rows == ["paused"]);
        wait::until("a paused standby", WITHIN, paused).await.unwrap();
    }

    async fn resume(&self) {
        self.standby().ask("postgres", "select pg_wal_replay_resume()").await.unwrap();
    }

    async fn event(&self, region: &RegionReady, event: &str) -> u64 {
        let text = self
            .client
            .get(format!("{}/metrics", region.control))
            .bearer_auth(&self.dev.ready().operator_token)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let name = format!("causeway_consistency_total{{event=\"{event}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("no {event} in {text}")).parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_what_it_wrote_wherever_it_asks() {
    let place = Place::start("{ mode: read_your_writes, wait: 100ms, else: primary }").await;
    let reader = place.reader();
    // Written through the other region, too.
    let (id, token) = place.item(reader).await;
    let caught_up = async || place.read(reader, id, Some(&token)).await.told() == (200, "us-east", "");
    wait::until("the standby", WITHIN, caught_up).await.unwrap();

    place.pause().await;
    let (id, token) = place.item(reader).await;
    let stale = place.read(reader, id, None).await;
    assert_eq!(stale.told(), (404, "us-east", ""), "without a token the nearest answers, however far behind");
    assert!(stale.headers.get(TOKEN).is_none());
    let read = place.read(reader, id, Some(&token)).await;
    assert_eq!(read.told(), (200, "eu-west", ""), "this region does not have it");
    assert!(place.event(reader, "elsewhere").await > 0);
    // What was read is read again (C2): the token of the answer stands for it.
    assert_eq!(place.read(reader, id, Some(&read.token())).await.told(), (200, "eu-west", ""));

    // It waits for this region when that has it soon.
    place.resume().await;
    place.policy("{ mode: read_your_writes, wait: 10s, else: primary }").await;
    place.pause().await;
    let (id, token) = place.item(reader).await;
    let (waiting, ()) = tokio::join!(place.read(reader, id, Some(&token)), async {
        // Behind the request, as far as can be told.
        wait::until("somebody who asks", WITHIN, async || place.primary.ask("postgres", "select 1").await.is_ok()).await.unwrap();
        place.resume().await;
    });
    assert_eq!(waiting.told(), (200, "us-east", ""));
    place.dev.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_none_are_refused_and_nothing_is_sent() {
    let place = Place::start("{ mode: read_your_writes, else: primary }").await;
    let reader = place.reader();
    let (id, token) = place.item(reader).await;
    let items = async || place.primary.ask("demo", "select count(*) from item").await.unwrap();
    let before = items().await;
    let altered = format!("{}{}", if token.starts_with('A') { 'B' } else { 'A' }, &token[1..]);
    let mut last = token.clone().into_bytes();
    let at = last.len() - 9;
    last[at] = if last[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(last).unwrap();
    for bad in ["", "x", "\u{e4}", &altered, &forged, &format!("{token}AAAA"), &token[..20], &"A".repeat(8_000)] {
        for answer in [place.read(reader, id, Some(bad)).await, place.create(reader, Some(bad)).await] {
            assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some("consistency-token-invalid")), "{bad}: {answer:?}");
        }
    }
    let twice = place.client.get(format!("{}/demo/v1/items/{id}", reader.data)).header(TOKEN, &token);
    assert_eq!(place.send(twice, Some(&token)).await.status, 400, "which of them is meant cannot be told");
    assert_eq!(items().await, before);
    assert!(place.event(reader, "token_rejected").await >= 17);
    // Where no promise is made, it plays no part, and goes nowhere.
    let eventual = place.send(place.client.get(format!("{}/demo/v1/eventual/items/{id}", reader.data)), Some("x")).await;
    assert_eq!(eventual.status / 100, if eventual.status == 404 { 4 } else { 2 });
    let forged = place.client.get(format!("{}/demo/v1/echo", reader.data)).header("consistency-require", "forged");
    let seen = place.send(forged, Some(&token)).await.body["headers"].clone();
    assert!(seen.get(TOKEN).is_none(), "{seen}");
    assert!(!seen["consistency-require"].as_str().unwrap_or_default().contains("forged"), "{seen}");
    place.dev.stop().await.unwrap();
}

/// T2: the standby is promoted without the tail, and the old primary still answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_promotion_lost_is_told_and_what_survived_is_read() {
    let place = Place::start("{ mode: read_your_writes, wait: 100ms, else: refuse }").await;
    let (reader, standby) = (place.reader(), place.standby());
    let (kept, kept_token) = place.item(reader).await;
    let caught_up = async || place.read(reader, kept, Some(&kept_token)).await.told() == (200, "us-east", "");
    wait::until("the standby", WITHIN, caught_up).await.unwrap();

    // From here on the standby gets nothing.
    standby.ask("postgres", "alter system set primary_conninfo = ''").await.unwrap();
    standby.ask("postgres", "select pg_reload_conf()").await.unwrap();
    let cut = async || standby.ask("postgres", "select count(*) from pg_stat_wal_receiver").await.is_ok_and(|rows| rows == ["0"]);
    wait::until("a standby that is cut off", WITHIN, cut).await.unwrap();
    let (lost, lost_token) = place.item(reader).await;
    assert_eq!(place.read(reader, lost, Some(&lost_token)).await.told(), (200, "eu-west", ""));
    standby.ask("postgres", "select pg_promote()").await.unwrap();

    let told = async || place.read(reader, lost, Some(&lost_token)).await.body["code"] == "position-lost";
    wait::until("the loss to be told", WITHIN, told).await.unwrap();
    for region in &place.dev.ready().regions {
        let told = async || place.read(region, lost, Some(&lost_token)).await.body["code"] == "position-lost";
        wait::until("the loss to be told everywhere", WITHIN, told).await.unwrap();
        let write = place.create(region, Some(&lost_token)).await;
        assert_eq!((write.status, write.body["code"].as_str()), (409, Some("position-lost")), "before it is sent: {write:?}");
        // The position was seen on the standby while it was one: it has provably survived.
        let survived = place.read(region, kept, Some(&kept_token)).await;
        assert_eq!(survived.told(), (200, "us-east", ""), "{survived:?}");
    }
    // A new beginning.
    let created = place.create(reader, None).await;
    assert_eq!(created.told(), (201, "us-east", ""), "{created:?}");
    let id = created.body["id"].as_i64().unwrap();
    for region in &place.dev.ready().regions {
        assert_eq!(place.read(region, id, Some(&created.token())).await.told(), (200, "us-east", ""), "the old primary's region is none");
    }
    // A client that has both goes on from both, and is told of nothing that is not lost.
    let both = place.create(reader, Some(&kept_token)).await;
    assert_eq!(both.told(), (201, "us-east", ""), "{both:?}");
    place.dev.stop().await.unwrap();
}
