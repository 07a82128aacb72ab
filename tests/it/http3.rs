//! HTTP/3 for clients, asked by a client that others wrote; what it would not send goes over bare streams in [`bare`].

mod bare;
mod leaving;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use harness::client::Version;
use harness::http3::{Answer, Client, Content};
use harness::wait;
use http::{HeaderMap, HeaderValue, Request};
use serde_json::{Value, json};

use crate::operation::{Running, Station};
use crate::service::{Act, Seen, Service, ok, raw};
use crate::site::{SOON, apply, source, upstream};

/// Bytes of a large response.
const LARGE: usize = 1 << 20;

/// A node that serves HTTP/3, and what lies behind it.
struct Place {
    station: Station,
    node: Running,
    service: Service,
}

fn edited(text: &str, limits: &str) -> String {
    let text = text.replacen("server.key\" }\ncontrol", "server.key\", http3: {} }\ncontrol", 1);
    format!("{text}limits: {{ {limits} }}\ndrain: {{ delay: 100ms, timeout: 20s }}\n")
}

fn act(seen: &Seen) -> Vec<Act> {
    if seen.line().contains("/large") {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
        return vec![Act::Send(head.into()), Act::Send(Bytes::from(vec![b'a'; LARGE]))];
    }
    if seen.line().contains("/trailers") {
        return raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n");
    }
    if seen.line().contains("/cut") {
        let begun = Act::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nbegun"));
        return vec![begun, Act::Reset];
    }
    ok(&String::from_utf8_lossy(&seen.body))
}

impl Place {
    async fn start(limits: &str) -> Self {
        let station = Station::start(|text| edited(&text, limits)).await;
        let node = station.serve().await;
        let listeners: [TcpListener; 2] = std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [echo, slow] = [0, 1].map(|index: usize| listeners[index].local_addr().unwrap().port());
        let route = |name: &str, more: Value| {
            let mut route = json!({ "name": name, "match": { "path": format!("/{name}/**") }, "upstream": "echo", "body_max": "64KiB" });
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        };
        let mut patient = upstream("slow", slow);
        patient["timeouts"]["response"] = json!("30s");
        let document = json!({
            "version": 1,
            "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }],
            "plans": [{ "name": "free", "limits": { "burst": { "rate": "200/s", "burst": 400 } } }],
            "consumers": [{ "name": "demo", "tenant": "demo" }],
            "applications": [{ "name": "default", "consumer": "demo", "plan": "free", "scopes": [] }],
            "upstreams": [upstream("echo", echo), patient],
            "routes": [route("open", json!({ "auth": "none" })), route("keyed", json!({})), route("slow", json!({ "auth": "none", "upstream": "slow" }))],
        });
        apply(&station.dev, &document, &station.folder().join("http3.json"));
        let [echo, slow] = listeners.map(|listener| {
            listener.set_nonblocking(true).unwrap();
            tokio::net::TcpListener::from_std(listener).unwrap()
        });
        drop(slow);
        let place = Self { station, node, service: Service::start(echo, act) };
        let http = place.station.http(Version::Http1);
        let url = format!("{}/open/ready", place.station.region.data);
        wait::until("the routes", SOON, async || http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)).await.unwrap();
        place
    }

    /// A client with a connection of its own, from an address of its own.
    async fn client(&self, net: u8) -> Client {
        Client::connect(self.station.address(), Some(source(net)), "localhost", self.station.ca()).await.unwrap()
    }

    /// A bare connection.
    async fn bare(&self, net: u8) -> quinn::Connection {
        harness::http3::connect(self.station.address(), Some(source(net)), "localhost", self.station.ca()).await.unwrap()
    }

    fn request(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
        let uri = format!("https://localhost:{}{path}", self.station.address().port());
        fields.iter().fold(Request::builder().method(method).uri(uri), |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    async fn send(&self, client: &mut Client, method: &str, path: &str, fields: &[(&str, &str)], content: impl Into<Content>) -> Answer {
        client.send(self.request(method, path, fields), content.into()).await.unwrap()
    }

    /// What the service saw of a path, if it saw it whole.
    fn seen(&self, path: &str) -> Option<Seen> {
        self.service.seen().into_iter().find(|seen| seen.line().contains(path))
    }

    /// The record of a request's outcome.
    async fn record(&self, id: &str) -> Value {
        self.record_where(&format!("request_id = '{id}'")).await
    }

    async fn record_where(&self, which: &str) -> Value {
        let question = format!("select convert_from(event, 'UTF8') from audit_event where {which} and phase = 'outcome'");
        let sql = self.station.sql();
        let read = async || sql.ask("causeway", &question).await.ok().filter(|rows| !rows.is_empty());
        let (rows, _) = wait::some("the record", SOON, read).await.unwrap();
        serde_json::from_str(&rows[0]).unwrap()
    }
}

fn none() -> Content {
    Content::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_http3_are_served_checked_and_recorded_like_all_others() {
    let place = Place::start("head: 16KiB, head_timeout: 2s, idle_timeout: 3s, connections_per_address: 6").await;

    answers(&place).await;
    bodies(&place).await;
    refusals(&place).await;
    told_over_the_other_versions(&place).await;
    bare::malformed_heads(&place).await;
    bare::broken_protocol(&place).await;
    bare::bodies_of_another_length(&place).await;
    bare::floods(&place).await;
    bare::half_a_head(&place).await;
    bare::places(&place).await;
    bare::early_data(&place).await;

    assert!(place.node.process.is_alive(), "{}", place.node.log());
    assert!(!place.node.log().contains("panicked"), "{}", place.node.log());
    let requests = place.station.metric("causeway_http3_requests_total").await;
    let connections = place.station.metric("causeway_http3_connections_total").await;
    assert!(requests >= 20.0 && connections >= 10.0, "{requests} {connections}");
    place.station.stop().await;
}

/// Heads both ways, what the service is told, and the record.
async fn answers(place: &Place) {
    let mut client = place.client(90).await;
    let answer =
        place.send(&mut client, "GET", "/open/get?q=1", &[("x-request-id", "http3-get"), ("cookie", "a=1"), ("cookie", "b=2")], none()).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(answer.header("x-request-id"), "http3-get");
    assert!(answer.header("date").ends_with(" GMT"), "{:?}", answer.headers);
    let seen = place.seen("/open/get").unwrap();
    assert_eq!(seen.line(), "GET /open/get?q=1 HTTP/1.1");
    for (name, value) in [("x-forwarded-for", "127.99.90.1"), ("x-forwarded-proto", "https"), ("cookie", "a=1; b=2")] {
        assert_eq!(seen.header(name), [value], "{}", seen.head);
    }
    assert!(seen.header("via")[0].starts_with("3 causeway-"), "{}", seen.head);
    assert!(seen.header("transfer-encoding").is_empty() && seen.header("content-length").is_empty(), "a GET has no body: {}", seen.head);

    let record = place.record("http3-get").await;
    assert_eq!((record["protocol"].as_str(), record["status"].as_u64()), (Some("h3"), Some(200)), "{record}");
    assert_eq!((record["tls_version"].as_str(), record["sni"].as_str()), (Some("1.3"), Some("localhost")), "{record}");
    assert_eq!(record["personal"]["data"]["client_address"], "127.99.90.1");

    let answer = place.send(&mut client, "HEAD", "/open/large", &[], none()).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, "1048576", 0));
    let answer = place.send(&mut client, "GET", "/open/large", &[], none()).await;
    assert_eq!((answer.status, answer.body.len()), (200, LARGE));
    assert!(answer.body.iter().all(|byte| *byte == b'a'));
    let key = place.station.calls.first_key();
    assert_eq!(place.send(&mut client, "GET", "/keyed/own", &[("x-api-key", key)], none()).await.status, 200);
    let cut = client.send(place.request("GET", "/open/cut", &[]), none()).await;
    assert!(cut.is_err(), "half an answer must not look like a whole one: {cut:?}");
    assert_eq!(place.send(&mut client, "GET", "/open/after", &[], none()).await.status, 200, "the other streams go on");
}

/// Bodies with and without a length, in pieces, with trailers.
async fn bodies(place: &Place) {
    let mut client = place.client(90).await;
    let pieces: Vec<Bytes> = (0..40_u8).map(|n| Bytes::from(vec![b'a' + n % 26; 1_000])).collect();
    let whole = pieces.concat();
    let content = Content { pieces: pieces.clone(), trailers: None };
    let answer = place.send(&mut client, "POST", "/open/pieces", &[], content.clone()).await;
    assert_eq!((answer.status, answer.body == whole), (200, true));
    assert_eq!(place.seen("/open/pieces").unwrap().header("transfer-encoding"), ["chunked"]);
    let answer = place.send(&mut client, "PUT", "/open/sized", &[("content-length", "40000")], content).await;
    assert_eq!((answer.status, answer.body == whole), (200, true));
    let seen = place.seen("/open/sized").unwrap();
    assert!(seen.header("content-length") == ["40000"] && seen.header("transfer-encoding").is_empty(), "{}", seen.head);

    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("6"));
    trailers.insert("causeway-consumer", HeaderValue::from_static("evil"));
    let content = Content { pieces, trailers: Some(trailers) };
    assert_eq!(place.send(&mut client, "POST", "/open/summed", &[], content).await.status, 200);
    assert_eq!(place.seen("/open/summed").unwrap().trailers, ["x-sum: 6"], "without what only the gateway may say");
    let answer = place.send(&mut client, "GET", "/open/trailers", &[("te", "trailers")], none()).await;
    assert_eq!((answer.text().as_str(), answer.trailers.unwrap()["x-sum"].to_str().unwrap()), ("abc", "6"));

    // Many at once on one connection, each with its own answer.
    let count = AtomicU32::new(0);
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(place.client(90).await);
    }
    futures_util::future::join_all(others.iter_mut().enumerate().map(|(n, client)| {
        let count = &count;
        async move {
            for turn in 0..25 {
                let text = format!("{n}-{turn}");
                let answer = place.send(client, "POST", "/open/many", &[], text.clone().into_bytes()).await;
                assert_eq!(answer.text(), text);
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }))
    .await;
    assert_eq!(count.load(Ordering::Relaxed), 100);
}

/// Method, path, fields and content of a request; the status and the code of its refusal.
type Refused<'r> = (&'r str, &'r str, &'r [(&'r str, &'r str)], Content, u16, &'r str);

/// What is refused, with a problem each, and the connection goes on.
async fn refusals(place: &Place) {
    let mut client = place.client(91).await;
    let many: Vec<(String, String)> = (0..101).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let long = format!("/open/{}", "a".repeat(9_000));
    let large = || Content::from(vec![b'a'; 300 << 10]);
    let key = "cw_live_0000000000000000000000";
    let cases: [Refused<'_>; 9] = [
        ("GET", "/keyed/x", &[], none(), 401, "credentials-missing"),
        ("GET", "/keyed/x", &[("x-api-key", key)], none(), 401, "credentials-invalid"),
        ("GET", "/nowhere", &[], none(), 404, "route-not-found"),
        ("GET", "/open/%2e%2e/x", &[], none(), 400, "path-invalid"),
        ("TRACE", "/open/x", &[], none(), 405, "method-not-allowed"),
        ("GET", "/open/x", &many, none(), 431, "headers-too-large"),
        ("GET", &long, &[], none(), 414, "uri-too-long"),
        ("POST", "/open/x", &[], large(), 413, "body-too-large"),
        ("POST", "/open/x", &[("content-length", "307200")], large(), 413, "body-too-large"),
    ];
    for (method, path, fields, content, status, code) in cases {
        let answer = place.send(&mut client, method, path, fields, content).await;
        assert_eq!(answer.status, status, "{code}: {answer:?}");
        assert!(answer.text().contains(code), "{code}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{code}");
        assert!(!answer.header("x-request-id").is_empty() && !answer.header("proxy-status").is_empty(), "{code}");
    }
    assert_eq!(place.send(&mut client, "GET", "/open/still", &[], none()).await.status, 200);
}

async fn told_over_the_other_versions(place: &Place) {
    let expected = format!("h3=\":{}\"; ma=86400", place.station.address().port());
    for version in [Version::Http1, Version::Http2] {
        for path in ["/open/told", "/nowhere"] {
            let answer = place.station.http(version).get(format!("{}{path}", place.station.region.data)).send().await.unwrap();
            assert_eq!(answer.headers().get("alt-svc").map(HeaderValue::as_bytes), Some(expected.as_bytes()), "{version:?} {path}");
        }
    }
}
