//! Where the data of a consumer may lie: set through the admin API, obeyed by every node within a second, and not forgotten by a restart.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use app::sealed::Sealed;
use harness::client::{self, Version};
use harness::dev::{Dev, RegionReady};
use harness::node::{Node, Under};
use harness::upstream::{Behavior, Ending, Recorder};
use harness::wait;
use harness::websocket::{self, Echo, Session};
use model::secret::SecretKey;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::calls::{Answer, Calls, Issued};
use crate::open_streams::{cut, ticking};
use crate::program::causeway_at;
use crate::site::apply;
use crate::wire::Wire;

const SOON: Duration = Duration::from_secs(20);
/// From the answer to a change to when every node goes by it.
const WITHIN: Duration = Duration::from_secs(1);
const REFUSED: &str = "residency-mismatch";

/// Two regions with a label each, and services that say in which one they run.
struct Place {
    dev: Dev,
    calls: Calls,
    services: [Recorder; 2],
    events: u16,
    _ticking: JoinSet<()>,
    echo: (Echo, u16),
}

impl Place {
    async fn start() -> Self {
        let dev = Dev::start().await.unwrap();
        let calls = Calls::of(dev.ready()).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let events = listener.local_addr().unwrap().port();
        let services = [Recorder::start(says("eu-west")).await.unwrap(), Recorder::start(says("us-east")).await.unwrap()];
        let (echo, address) = Echo::anywhere().await.unwrap();
        let place = Self { dev, calls, services, events, _ticking: ticking(listener), echo: (echo, address.port()) };
        place.apply(&place.document());
        let first = place.calls.first_key().to_owned();
        for door in place.doors() {
            wait::until("the routes", SOON, async || place.get(door, "/both/ready", &first).await.status == 200).await.unwrap();
        }
        place
    }

    fn document(&self) -> Value {
        let target = |port: u16| json!({ "targets": [format!("http://127.0.0.1:{port}")] });
        let [eu, us] = self.services.each_ref().map(|service| target(service.address().port()));
        let mut writer = eu;
        writer["role"] = json!("writer");
        let route = |name: &str, upstream: &str, more: Value| {
            let mut route = json!({ "name": name, "match": { "path": format!("/{name}/**") }, "upstream": upstream,
                "consistency": { "keys": { "max_staleness": "10m", "on_stale": "allow" } } });
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        };
        json!({
            "version": 1,
            "regions": [{ "name": "eu-west", "residency": ["eu", "hipaa"] }, { "name": "us-east", "residency": ["us"] }],
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
            "plans": [{ "name": "free", "limits": { "burst": { "rate": "200/s" } } }],
            "consumers": [{ "name": "demo" }, { "name": "filed", "residency": ["us"] }],
            "applications": [{ "name": "default", "consumer": "demo", "plan": "free" }, { "name": "filed", "consumer": "filed" }],
            "upstreams": [
                { "name": "both", "regions": { "eu-west": writer, "us-east": us } },
                { "name": "events", "regions": { "us-east": target(self.events) } },
                { "name": "echo", "regions": { "us-east": target(self.echo.1) } },
            ],
            "routes": [
                route("both", "both", json!({})), route("kept", "both", json!({ "cache": { "shared": true } })),
                route("events", "events", json!({ "match": { "path": "/events/**", "methods": ["GET"] } })),
                route("echo", "echo", json!({ "match": { "path": "/echo/**", "methods": ["GET"] }, "websocket": {} })),
            ],
        })
    }

    fn apply(&self, document: &Value) {
        apply(&self.dev, document, &self.dev.ready().ca.with_file_name("residency.json"));
    }

    /// The regions as clients reach them: eu-west and us-east.
    fn doors(&self) -> [&RegionReady; 2] {
        [self.dev.writer().unwrap(), self.dev.reader().unwrap()]
    }

    async fn get(&self, door: &RegionReady, path: &str, key: &str) -> Answer {
        self.calls.get(door, path, key).await.unwrap()
    }

    /// Which region's service answers at each door, or why none does.
    async fn served(&self, key: &Issued) -> [String; 2] {
        let [eu, us] = self.doors();
        let word = |answer: Answer| if answer.status == 200 { answer.body } else { answer.code() };
        [word(self.get(eu, "/both/a", &key.secret).await), word(self.get(us, "/both/a", &key.secret).await)]
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Value {
        let http = client::http(&self.dev.ready().ca, Version::Http1).unwrap();
        let url = format!("{}{path}", self.dev.writer().unwrap().control);
        let request = http.request(method, url).bearer_auth(&self.dev.ready().operator_token).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        let mut told: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        told["status"] = json!(status);
        told
    }

    /// A consumer with a key that works at both doors.
    async fn consumer(&self, name: &str, more: Value) -> Issued {
        let mut body = json!({ "name": name });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.send(Method::POST, "/v1/consumers", &body).await;
        assert_eq!((&made["status"], &made["residency"]), (&json!(201), &body["residency"]), "{made}");
        assert_eq!(self.send(Method::POST, "/v1/applications", &json!({ "name": name, "consumer": name })).await["status"], 201);
        self.key(name).await
    }

    async fn key(&self, application: &str) -> Issued {
        let issued = self.send(Method::POST, "/v1/keys", &json!({ "name": "k", "application": application })).await;
        let key: Issued = serde_json::from_value(issued).unwrap();
        for door in self.doors() {
            wait::until("the key", SOON, async || self.get(door, "/both/ready", &key.secret).await.status != 401).await.unwrap();
        }
        key
    }

    async fn change(&self, name: &str, labels: Value) -> Value {
        let changed = self.send(Method::PATCH, &format!("/v1/consumers/{name}"), &json!({ "residency": labels })).await;
        assert_eq!((&changed["status"], &changed["residency"]), (&json!(200), &labels), "{changed}");
        changed
    }

    /// Waits until a node has in force what a change was answered with.
    async fn reached(&self, door: &RegionReady, changed: &Value) {
        let revision = changed["revision"]["authority"].as_u64().unwrap();
        let is_there = async || {
            let status = self.calls.control(door, "/status").await.unwrap().json();
            status["node"]["authority_revision"].as_u64().is_some_and(|there| there >= revision)
        };
        wait::until("the revision", SOON, is_there).await.unwrap();
    }

    /// Waits until both doors answer so; how long that took.
    async fn becomes(&self, key: &Issued, expected: [&str; 2]) -> Duration {
        let began = Instant::now();
        wait::until(&format!("{expected:?}"), SOON, async || self.served(key).await == expected).await.unwrap();
        began.elapsed()
    }

    async fn records(&self, query: &str, n: usize) -> Vec<Value> {
        let path = format!("/v1/audit/events?limit=100&{query}");
        let read = async || {
            let items = self.calls.control(self.dev.writer().unwrap(), &path).await.unwrap().json()["items"].as_array().unwrap().clone();
            (items.len() >= n).then_some(items)
        };
        wait::some(query, SOON, read).await.unwrap().0
    }
}

/// A service that says where it is, in answers that anybody may keep.
fn says(region: &'static str) -> Behavior {
    let bytes = format!("HTTP/1.1 200 OK\r\ncache-control: public, max-age=600\r\ncontent-length: {}\r\n\r\n{region}", region.len());
    Behavior::Raw { bytes: bytes.into(), then: Ending::Close }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_goes_by_a_consumers_labels_within_a_second_of_their_change() {
    let place = Place::start().await;
    hostile(&place).await;

    let key = place.consumer("acme", json!({})).await;
    let near = ["eu-west", "us-east"];
    assert_eq!(place.served(&key).await, near);
    for (labels, expected) in
        [(json!(["eu"]), ["eu-west"; 2]), (json!(["us"]), ["us-east"; 2]), (json!(["hipaa", "us"]), near), (json!(["hipaa"]), ["eu-west"; 2])]
    {
        place.change("acme", labels.clone()).await;
        let took = place.becomes(&key, expected).await;
        assert!(took < WITHIN, "{labels}: {took:?}");
    }
    let again = place.change("acme", json!(["hipaa"])).await;
    assert_eq!(again["revision"], place.change("acme", json!(["hipaa"])).await["revision"], "what is so already gets no revision");
    assert_eq!(
        place.send(Method::PATCH, "/v1/consumers/acme", &json!({})).await["residency"],
        json!(["hipaa"]),
        "nothing is asked, and nothing changed"
    );

    // Writes go to eu-west alone.
    place.change("acme", json!(["us"])).await;
    place.becomes(&key, ["us-east"; 2]).await;
    let seen = place.services.each_ref().map(|service| service.seen().len());
    let write = client::http(&place.dev.ready().ca, Version::Http1).unwrap().post(format!("{}/both/w", place.doors()[1].data));
    let refused = write.header("x-api-key", &key.secret).header("x-request-id", "residency-write").body("{}").send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(serde_json::from_slice::<Value>(&refused.bytes().await.unwrap()).unwrap()["code"], REFUSED);
    assert_eq!(place.services.each_ref().map(|service| service.seen().len()), seen, "nothing came to any service");
    let record = &place.records("request_id=residency-write", 1).await[0];
    assert_eq!((&record["reason"], &record["consumer"], &record["status"]), (&json!(REFUSED), &json!("acme"), &json!(503)), "{record}");

    let id = place.calls.control(place.doors()[0], "/v1/consumers/acme").await.unwrap().json()["id"].as_str().unwrap().to_owned();
    let records = place.records("action=consumer.change", 6).await;
    let about = format!("consumer:{id}");
    assert!(records.iter().any(|record| record["object"] == json!(about) && record["status"] == 200), "{records:?}");

    filed(&place).await;
    adrift(&place, &key).await;
    command_line(&place).await;
    place.dev.stop().await.unwrap();
}

/// What nobody may ask for is refused where it stands, and changes nothing.
async fn hostile(place: &Place) {
    let made = place.send(Method::POST, "/v1/consumers", &json!({ "name": "fixed", "residency": ["eu"] })).await;
    assert_eq!(made["status"], 201, "{made}");
    let many: Vec<_> = (0..33).map(|number| format!("l{number}")).collect();
    for (labels, pointer, words) in [
        (json!([]), "/residency", "empty"),
        (json!(many), "/residency", "at most 32"),
        (json!(["eu", "us", "eu"]), "/residency", "once"),
        (json!(["EU"]), "/residency", "a label is"),
        (json!(["e\u{0}"]), "/residency", "a label is"),
        (json!(["x".repeat(64)]), "/residency", "a label is"),
        (json!("eu"), "/residency", ""),
        (json!(["us", "hippa"]), "/residency/1", "is not a label of a region; did you mean `hipaa`? regions have: eu, hipaa, us"),
        (json!(["somewhere-else"]), "/residency/0", "is not a label of a region; regions have: eu, hipaa, us"),
    ] {
        for (method, path, body) in [
            (Method::POST, "/v1/consumers", json!({ "name": "never", "residency": labels })),
            (Method::PATCH, "/v1/consumers/fixed", json!({ "residency": labels })),
        ] {
            let told = place.send(method, path, &body).await;
            let error = &told["errors"][0];
            assert_eq!((&told["status"], &error["pointer"]), (&json!(422), &json!(pointer)), "{body}: {told}");
            assert!(error["message"].as_str().unwrap().contains(words), "{body}: {told}");
        }
    }
    assert_eq!(place.send(Method::PATCH, "/v1/consumers/nobody", &json!({ "residency": ["eu"] })).await["status"], 404);
    let shown = async |name: &str| place.calls.control(place.doors()[0], &format!("/v1/consumers/{name}")).await.unwrap();
    assert_eq!(shown("fixed").await.json()["residency"], json!(["eu"]));
    assert_eq!(shown("never").await.status, 404);
    assert_eq!(shown("demo").await.json().get("residency"), Some(&Value::Null), "always there");
}

/// What the gateway file says of a consumer is changed there.
async fn filed(place: &Place) {
    let key = place.key("filed").await;
    assert_eq!(place.served(&key).await, ["us-east"; 2]);
    let refused = place.send(Method::PATCH, "/v1/consumers/filed", &json!({ "residency": null })).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(409), &json!("resource-conflict")), "{refused}");
    let mut document = place.document();
    document["consumers"][1]["residency"] = json!(["eu"]);
    place.apply(&document);
    place.becomes(&key, ["eu-west"; 2]).await;
}

/// A label that goes with the document leaves its consumers nowhere to be served, and whoever applies it is told.
async fn adrift(place: &Place, key: &Issued) {
    let mut document = place.document();
    document["regions"][1]["residency"] = json!(["usa"]);
    document["consumers"][1]["residency"] = json!(["usa"]);
    let file = place.dev.ready().ca.with_file_name("without.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let told = causeway_at(place.dev.ready(), &["apply", "-f", file.to_str().unwrap()]).await.expect(0);
    assert!(told.stdout.contains("! consumer acme: no region has a label that it asks for"), "{told:?}");
    assert!(!told.stdout.contains("consumer fixed:") && !told.stdout.contains("consumer filed:"), "{told:?}");
    place.becomes(key, [REFUSED; 2]).await;
    place.apply(&place.document());
    place.becomes(key, ["us-east"; 2]).await;
}

async fn command_line(place: &Place) {
    let run = async |arguments: &[&str], code| causeway_at(place.dev.ready(), arguments).await.expect(code);
    let made = run(&["consumers", "create", "typed", "--residency", "eu", "--residency", "us", "--json"], 0).await.json();
    assert_eq!(made["residency"], json!(["eu", "us"]));
    let shown = run(&["consumers", "show", "typed"], 0).await.stdout;
    assert!(shown.contains("eu us"), "{shown}");
    let listed = run(&["consumers", "list", "--tenant", "demo"], 0).await.stdout;
    assert!(listed.contains("RESIDENCY") && listed.contains("eu us") && listed.contains("(any)"), "{listed}");
    let free = run(&["consumers", "change", "typed", "--anywhere"], 0).await.stdout;
    assert!(free.contains("(any)"), "{free}");
    let wrong = run(&["consumers", "change", "typed", "--residency", "hippa"], 1).await;
    assert!(wrong.stderr.contains("did you mean `hipaa`?"), "{wrong:?}");
    run(&["consumers", "change", "typed"], 2).await;
    run(&["consumers", "change", "typed", "--anywhere", "--residency", "eu"], 2).await;
    run(&["consumers", "delete", "typed"], 0).await;
    run(&["consumers", "show", "typed"], 1).await;
}

/// A copy in a node is data that lie there, and what is kept for one list of labels is for no other.
#[tokio::test(flavor = "multi_thread")]
async fn kept_responses_and_open_streams_obey_a_consumers_labels() {
    let place = Place::start().await;
    let (free, bound) = (place.consumer("free", json!({})).await, place.consumer("bound", json!({ "residency": ["eu"] })).await);
    let [eu, us] = place.doors();
    let ask = async |door: &RegionReady, key: &Issued| {
        let answer = place.get(door, "/kept/x", &key.secret).await;
        let is_hit = answer.header("cache-status").map(|status| status.contains("hit"));
        (answer.body, is_hit)
    };
    let (at_eu, at_us) = ("eu-west".to_owned(), "us-east".to_owned());

    assert_eq!(ask(us, &free).await, (at_us.clone(), Some(false)));
    assert_eq!(ask(us, &free).await, (at_us.clone(), Some(true)));
    for _ in 0..2 {
        assert_eq!(ask(us, &bound).await, (at_eu.clone(), None), "a node of another region keeps nothing for it, and gives it nothing that is kept");
    }
    assert_eq!(ask(eu, &free).await, (at_eu.clone(), Some(false)));
    assert_eq!(ask(eu, &bound).await, (at_eu.clone(), Some(false)), "what was kept for others is not for it");
    assert_eq!(ask(eu, &bound).await, (at_eu.clone(), Some(true)));
    place.change("bound", json!(["us"])).await;
    place.becomes(&bound, ["us-east"; 2]).await;
    assert_eq!(ask(us, &bound).await, (at_us.clone(), Some(false)), "what was kept for others is not for it");
    assert_eq!(ask(eu, &bound).await, (at_us.clone(), None));
    place.change("bound", json!(["eu", "us"])).await;
    place.becomes(&bound, ["eu-west", "us-east"]).await;
    assert_eq!(ask(eu, &bound).await, (at_eu.clone(), Some(false)), "nor is what was kept when it asked for others");

    streams(&place, &free).await;
    place.dev.stop().await.unwrap();
}

/// A WebSocket through the node of us-east.
async fn opened(place: &Place, version: Version, key: &Issued) -> websocket::Client {
    let alpn = if version == Version::Http1 { "http/1.1" } else { "h2" };
    let address = place.doors()[1].data_address().unwrap();
    let stream = Box::new(Wire::connect(address, &place.dev.ready().ca, alpn, None).await.into_stream());
    let fields = [("x-api-key", key.secret.as_str())];
    let mut client = match version {
        Version::Http1 => websocket::open_http1(stream, "/echo/a", &fields).await.unwrap().unwrap(),
        Version::Http2 => Session::start(stream).await.unwrap().open("/echo/a", &fields).await.unwrap().unwrap(),
    };
    client.echo("hello").await.unwrap();
    client
}

/// What has begun to stream from a region ends when that region may not serve any more.
async fn streams(place: &Place, stays: &Issued) {
    let moves = place.consumer("moves", json!({ "residency": ["us", "eu"] })).await;
    let door = place.doors()[1];
    for version in [Version::Http1, Version::Http2] {
        let http = client::http(&place.dev.ready().ca, version).unwrap();
        let begun = async |key: &Issued, id: &str| {
            let request = http.get(format!("{}/events/a", door.data)).header("x-api-key", &key.secret).header("x-request-id", id);
            let mut answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(answer.chunk().await.unwrap().is_some());
            answer
        };
        let id = format!("residency-{version:?}");
        let (doomed, other) = (begun(&moves, &id).await, begun(stays, "residency-stays").await);
        let (mut socket, mut others) = (opened(place, version, &moves).await, opened(place, version, stays).await);
        let both = place.change("moves", json!(["us", "hipaa"])).await;
        place.reached(door, &both).await;
        socket.echo("it may stay").await.unwrap();
        place.change("moves", json!(["eu"])).await;
        let closed = tokio::time::timeout(WITHIN, socket.closed());
        let (took, other, code) = tokio::join!(cut(doomed, SOON), cut(other, WITHIN), closed);
        assert_eq!(code.expect("within a second").unwrap(), Some(1013), "{version:?}: a new one may be served elsewhere");
        others.echo("another consumer's goes on").await.unwrap();
        assert!(took.is_some_and(|took| took < WITHIN), "{version:?}: {took:?} from the answer to the change to the end");
        assert_eq!(other, None, "{version:?}: another consumer's goes on");
        let refused = place.get(door, "/events/a", &moves.secret).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, REFUSED));
        let records = place.records(&format!("request_id={id}"), 2).await;
        let close = records.iter().find(|record| record["phase"] == "close").unwrap_or_else(|| panic!("{records:?}"));
        assert_eq!((&close["outcome"], &close["reason"]), (&json!("denied"), &json!(REFUSED)), "{close}");
        place.change("moves", json!(["us", "eu"])).await;
        place.becomes(&moves, ["eu-west", "us-east"]).await;
    }
}

/// From the sealed snapshot, and from the journal behind it: a node that cannot ask any database sends nothing where it may not lie.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_databases_forgets_no_consumers_labels() {
    let place = Place::start().await;
    let (sealed, journaled) = (place.consumer("sealed", json!({ "residency": ["eu"] })).await, place.consumer("journaled", json!({})).await);
    place.becomes(&sealed, ["eu-west"; 2]).await;
    let region = place.doors()[1].clone();
    let mut node = Node::adopt(&place.dev, &region).unwrap();
    let state = region.node_config.parent().unwrap().join("state");
    let fact = async |member: &str| {
        let told = async || place.calls.control(&region, "/status").await.ok()?.json()["node"][member].as_u64();
        wait::some(member, SOON, told).await.unwrap().0
    };
    let journals = || {
        let entries = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("journal-")).collect::<Vec<PathBuf>>()
    };
    let applied = fact("authority_revision").await;
    let is_sealed = async || fact("journaled_revision").await >= applied && journals().is_empty();
    wait::until("the consumers in the snapshot on disk", SOON, is_sealed).await.unwrap();

    // No snapshot is written from here on.
    let file = Sealed::in_folder(&state, SecretKey::new([0; 32])).unwrap();
    let held = wait::some("the file of the next snapshot", SOON, async || file.hold_next().unwrap()).await.unwrap();
    let before = fact("authority_revision").await;
    place.change("journaled", json!(["eu"])).await;
    wait::until("the change in the journal", SOON, async || fact("journaled_revision").await > before).await.unwrap();
    node.kill().await.unwrap();
    drop(held);
    assert!(!journals().is_empty());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports: Vec<_> = place.dev.ready().regions.iter().map(|region| format!("127.0.0.1:{}", region.postgres_port)).collect();
    node.reconfigure(|text| ports.iter().fold(text.to_owned(), |text, port| text.replace(port, &format!("127.0.0.1:{closed}")))).unwrap();

    for (what, expected) in [("with its journal", ["eu-west"; 2]), ("without", ["eu-west", "us-east"])] {
        node.start(Under::Bare).await.unwrap();
        node.wait_ready(SOON).await.unwrap();
        let (_, text) = place.calls.readiness(&region).await.unwrap();
        assert!(text.contains("read from disk"), "{text}");
        let served = [&sealed, &journaled].map(|key| place.get(&region, "/both/a", &key.secret));
        let served = futures_util::future::join_all(served).await;
        assert_eq!(served.iter().map(|answer| answer.body.as_str()).collect::<Vec<_>>(), expected, "{what}");
        node.kill().await.unwrap();
        for path in journals() {
            std::fs::remove_file(path).unwrap();
        }
    }
    place.dev.stop().await.unwrap();
}
