//! Stored responses: who gets one, for how long, and what happens when the service changes, fails or is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use harness::client::Version;
use harness::wait;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::service::{Act, raw, raw_then};
use crate::site::{SOON, Site, site};
use crate::wire::{Answer, Wire};

/// Services that these tests play.
pub(crate) const SERVICES: [&str; 9] = ["kept", "private-kept", "revalidated", "behind", "erring", "herd", "deserted", "altered", "unkept"];

/// The routes to them.
pub(crate) fn routes() -> Vec<Value> {
    let route = |name: &str, path: &str, service: &str, auth: &str, cache: Value| json!({ "name": format!("cache-{name}"), "match": { "host": ["127.0.0.1", "localhost"], "path": path }, "upstream": service, "auth": auth, "cache": cache });
    let mut altered = route("altered-writes", "/altered/**", "altered", "none", json!({}));
    altered.as_object_mut().unwrap().remove("cache");
    altered["match"]["methods"] = json!(["POST", "DELETE"]);
    let mut kept = route("kept", "/kept/**", "kept", "none", json!({}));
    kept["headers"] = json!({ "response": { "set": { "x-for": "${request_id}" } } });
    kept["compression"] = json!({ "min": "1B" });
    vec![
        kept,
        route("private", "/private-kept/own/**", "private-kept", "api_key", json!({})),
        route("shared", "/private-kept/shared/**", "private-kept", "api_key", json!({ "shared": true })),
        route("revalidated", "/revalidated/**", "revalidated", "none", json!({})),
        route("behind", "/behind/**", "behind", "none", json!({})),
        route("erring", "/erring/**", "erring", "none", json!({ "stale_if_error": "1h" })),
        route("herd", "/herd/**", "herd", "none", json!({})),
        route("deserted", "/deserted/**", "deserted", "none", json!({})),
        route("altered", "/altered/**", "altered", "none", json!({})),
        altered,
        route("unkept", "/unkept/**", "unkept", "none", json!({ "object_max": "1KiB" })),
    ]
}

fn with(fields: &str, body: &str) -> Vec<Act> {
    raw(&format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()))
}

async fn ask(site: &Site, line: &str, fields: &str) -> Answer {
    let mut wire = Wire::http1(site).await;
    wire.send(format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n")).await;
    wire.answer().await.unwrap()
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("no cache-status")
}

/// A service that counts its answers in their bodies.
fn counting(fields: &'static str) -> impl Fn(&crate::service::Seen) -> Vec<Act> + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move |_| with(fields, &format!("answer {}", count.fetch_add(1, Ordering::SeqCst)))
}

#[tokio::test]
async fn a_fresh_response_is_given_again_with_its_age_and_a_record_of_each_request() {
    let site = site().await;
    let service = site.service(
        "kept",
        counting(
            "cache-control: max-age=600\r\nage: 100\r\netag: \"v\"\r\nvary: x-kind\r\ncontent-type: text/plain\r\nx-hop: 1\r\nconnection: x-hop\r\n",
        ),
    );

    let first = ask(site, "GET /kept/a?q", "").await;
    let again = ask(site, "GET /kept/a?q", "x-request-id: second-request\r\n").await;

    assert_eq!((text(&first).as_str(), status(&first)), ("answer 0", "causeway; fwd=uri-miss; ttl=500; stored"));
    assert_eq!(text(&again), "answer 0");
    assert!(status(&again).starts_with("causeway; hit; ttl="), "{}", status(&again));
    assert!(again.header("age").unwrap().parse::<u64>().unwrap() >= 100);
    assert_eq!((again.header("x-for"), again.header("x-request-id")), (Some("second-request"), Some("second-request")));
    assert_eq!((again.header("x-hop"), again.header("content-length")), (None, Some("8")));
    assert_eq!(again.header("causeway-region"), Some("eu-west"));

    let known = ask(site, "GET /kept/a?q", "if-none-match: W/\"v\"\r\n").await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some("\"v\"")));
    let mut wire = Wire::http1(site).await;
    wire.send("HEAD /kept/a?q HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await;
    let head = wire.head_answer().await.unwrap();
    assert!(head.status == 200 && status(&head).starts_with("causeway; hit"), "{}", head.head);
    let over_http2 = site.http(Version::Http2).get(site.url("/kept/a?q")).send().await.unwrap();
    assert!(over_http2.headers()["cache-status"].to_str().unwrap().starts_with("causeway; hit"), "{:?}", over_http2.headers());
    assert_eq!(service.seen().len(), 1);

    for (path, fields, expected) in [
        ("/kept/a?other", "", "causeway; fwd=uri-miss; ttl=500; stored"),
        ("/kept/a?q", "x-kind: b\r\n", "causeway; fwd=vary-miss; ttl=500; stored"),
        ("/kept/a?q", "cache-control: no-cache\r\n", "causeway; fwd=request; ttl=500; stored"),
        ("/kept/a?q", "cache-control: no-store\r\n", "causeway; fwd=request"),
        ("/kept/a?q", "range: bytes=0-1\r\n", "causeway; fwd=bypass"),
        ("/kept/a?q", "authorization: Bearer other\r\n", "causeway; fwd=bypass"),
    ] {
        let answer = ask(site, &format!("GET {path}"), fields).await;
        assert_eq!(status(&answer), expected, "{path} {fields}");
        assert_ne!(text(&answer), "answer 0");
    }

    let records = site.records("route=cache-kept&request_id=second-request", 1).await;
    assert_eq!((records[0]["status"].as_u64(), records[0]["consistency"].as_str()), (Some(200), Some("served from the cache")), "{records:?}");
    assert!(records[0].get("upstream_status").is_none(), "{records:?}");
}

#[tokio::test]
async fn a_consumers_response_is_given_to_nobody_else_unless_the_route_shares_it() {
    let site = site().await;
    let service = site.service("private-kept", |seen| {
        let control = if seen.line().contains("/unsaid") { "max-age=600" } else { "public, max-age=600" };
        with(&format!("cache-control: {control}\r\n"), seen.header("x-tell").first().unwrap_or(&""))
    });
    let second = site.key(json!({ "name": "cache-second", "application": "other" })).await;
    let sibling = site.key(json!({ "name": "cache-sibling", "application": "sibling" })).await;
    let get = async |path: &str, key: &str, tell: &str| {
        ask(site, &format!("GET /private-kept/{path}"), &format!("x-api-key: {key}\r\nx-tell: {tell}\r\n")).await
    };

    assert_eq!(text(&get("own/a", site.dev_key(), "demo's").await), "demo's");
    assert_eq!(text(&get("own/a", &second.secret, "second's").await), "second's", "another consumer");
    assert_eq!(text(&get("own/a", &sibling.secret, "new").await), "demo's", "another application of the same consumer");
    assert_eq!(text(&get("own/a", &second.secret, "new").await), "second's");

    assert_eq!(text(&get("shared/a", site.dev_key(), "everybody's").await), "everybody's");
    assert_eq!(text(&get("shared/a", &second.secret, "new").await), "everybody's");

    // RFC 9111 section 3.5: without `public`, `s-maxage` or `must-revalidate` nothing is kept for requests with a key.
    assert_eq!(text(&get("shared/unsaid", site.dev_key(), "first").await), "first");
    assert_eq!(text(&get("shared/unsaid", site.dev_key(), "then").await), "then");

    // What is stored is behind the key all the same.
    let before = service.seen().len();
    assert_eq!(ask(site, "GET /private-kept/shared/a", "").await.status, 401);
    assert_eq!(get("shared/a", "cw_live_nonsense", "x").await.status, 401);
    assert_eq!(service.seen().len(), before);
}

#[tokio::test]
async fn a_stale_response_is_confirmed_with_its_validators() {
    let site = site().await;
    let service = site.service("revalidated", |seen| match seen.header("if-none-match").first() {
        Some(tag) if *tag == "\"v1\"" => raw("HTTP/1.1 304 Not Modified\r\ncache-control: no-cache\r\nx-turn: confirmed\r\n\r\n"),
        _ => with("cache-control: no-cache\r\netag: \"v1\"\r\nlast-modified: Wed, 21 Oct 2015 07:00:00 GMT\r\nx-turn: new\r\n", "the body"),
    });

    let first = ask(site, "GET /revalidated/a", "if-none-match: \"theirs\"\r\n").await;
    let second = ask(site, "GET /revalidated/a", "").await;
    let third = ask(site, "GET /revalidated/a", "if-none-match: \"v1\"\r\n").await;

    assert_eq!((first.status, text(&first).as_str(), first.header("x-turn")), (200, "the body", Some("new")));
    assert_eq!((second.status, text(&second).as_str(), second.header("x-turn")), (200, "the body", Some("confirmed")));
    assert!(status(&second).starts_with("causeway; fwd=stale") && status(&second).ends_with("fwd-status=304"), "{}", status(&second));
    assert_eq!((third.status, third.body.len()), (304, 0));
    let seen = service.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen[0].header("if-none-match").is_empty(), "the client's own condition would bring nothing that can be kept");
    assert_eq!(seen[1].header("if-none-match"), ["\"v1\""]);
    assert_eq!(seen[1].header("if-modified-since"), ["Wed, 21 Oct 2015 07:00:00 GMT"]);
}

#[tokio::test]
async fn a_stale_response_is_given_while_it_is_asked_for_again() {
    let site = site().await;
    // Sent with an age beyond its lifetime, it is stale from the beginning.
    let service = site.service("behind", counting("cache-control: max-age=10, stale-while-revalidate=1000\r\nage: 20\r\n"));

    assert_eq!(text(&ask(site, "GET /behind/a", "").await), "answer 0");
    let stale = ask(site, "GET /behind/a", "").await;
    assert_eq!(text(&stale), "answer 0");
    assert!(status(&stale).contains("hit; ttl=-") && status(&stale).contains("detail=stale-while-revalidate"), "{}", status(&stale));

    wait::until("the second answer", SOON, async || text(&ask(site, "GET /behind/a", "").await) != "answer 0").await.unwrap();
    assert!(service.seen().len() >= 2);
    let records = site.records("route=cache-behind", 3).await;
    let notes: Vec<_> = records.iter().filter_map(|record| record["consistency"].as_str()).collect();
    assert!(notes.contains(&"refreshes the cache") && notes.contains(&"served from the cache"), "{notes:?}");
}

#[tokio::test]
async fn a_stale_response_stands_in_for_a_service_that_fails_only_where_it_may() {
    let site = site().await;
    let broken = Arc::<AtomicBool>::default();
    let fails = Arc::clone(&broken);
    let service = site.service("erring", move |seen| match (fails.load(Ordering::SeqCst), seen.line()) {
        (false, line) if line.contains("/strict") => with("cache-control: max-age=10, must-revalidate\r\nage: 20\r\netag: \"a\"\r\n", "good"),
        (false, _) => with("cache-control: max-age=10\r\nage: 20\r\n", "good"),
        (true, line) if line.contains("/dies") => vec![Act::Close],
        (true, _) => raw("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ndown"),
    });
    for path in ["/erring/503", "/erring/dies", "/erring/strict"] {
        assert_eq!(text(&ask(site, &format!("GET {path}"), "").await), "good");
    }

    broken.store(true, Ordering::SeqCst);

    for path in ["/erring/503", "/erring/dies"] {
        let stale = ask(site, &format!("GET {path}"), "").await;
        assert_eq!((stale.status, text(&stale).as_str()), (200, "good"), "{path}");
        assert!(status(&stale).contains("detail=stale-if-error"), "{}", status(&stale));
    }
    let strict = ask(site, "GET /erring/strict", "").await;
    assert_eq!((strict.status, text(&strict).as_str()), (503, "down"), "must-revalidate");
    assert_eq!(ask(site, "GET /erring/dies-new", "").await.status, 502, "nothing is stored");
    assert!(service.seen().len() >= 6);
}

/// A service that holds its answers until it is told.
fn held(site: &Site, name: &str, answer: &'static str) -> (watch::Sender<bool>, Arc<AtomicUsize>, JoinSet<()>) {
    let (go, told) = watch::channel(false);
    let (listener, asked) = (site.listener(name), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&asked);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut told, count) = (told.clone(), Arc::clone(&count));
            served.spawn(async move {
                let mut left = Vec::new();
                while crate::service::read_request(&mut stream, &mut left, 0).await.is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                    drop(told.wait_for(|go| *go).await);
                    if tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (go, asked, task)
}

#[tokio::test]
async fn a_hundred_requests_at_once_ask_the_service_once() {
    let site = site().await;
    let (go, asked, _task) = held(site, "herd", "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 4\r\n\r\nonce");
    let mut clients = JoinSet::new();
    for n in 0..100 {
        let request = site.http(if n % 2 == 0 { Version::Http1 } else { Version::Http2 }).get(site.url("/herd/a"));
        clients.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    }

    wait::until("the first request", SOON, async || asked.load(Ordering::SeqCst) > 0).await.unwrap();
    go.send(true).unwrap();

    for answer in clients.join_all().await {
        assert_eq!(answer, "once");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(site.records("route=cache-herd", 100).await.len(), 100, "each request has its own record");
}

#[tokio::test]
async fn those_who_wait_do_not_hang_when_the_one_that_asked_hangs_up() {
    let site = site().await;
    let (go, asked, _task) = held(site, "deserted", "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 4\r\n\r\nlate");
    let mut leader = Wire::http1(site).await;
    leader.send("GET /deserted/a HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await;
    wait::until("the leader's request", SOON, async || asked.load(Ordering::SeqCst) == 1).await.unwrap();
    let mut followers = JoinSet::new();
    for _ in 0..5 {
        let mut wire = Wire::http1(site).await;
        wire.send("GET /deserted/a HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await;
        followers.spawn(async move { wire.answer().await.unwrap() });
    }

    drop(leader);

    wait::until("another one's request", SOON, async || asked.load(Ordering::SeqCst) == 2).await.unwrap();
    go.send(true).unwrap();
    for answer in followers.join_all().await {
        assert_eq!((answer.status, text(&answer).as_str()), (200, "late"));
    }
    assert!(asked.load(Ordering::SeqCst) <= 3, "{}", asked.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_change_through_the_gateway_makes_what_is_stored_worthless() {
    let site = site().await;
    let count = AtomicUsize::new(0);
    let _service = site.service("altered", move |seen| match seen.line().split(' ').next() {
        Some("GET") => with("cache-control: max-age=600\r\n", &format!("state {}", count.load(Ordering::SeqCst))),
        _ if seen.line().contains("refused") => raw("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
        _ => {
            count.fetch_add(1, Ordering::SeqCst);
            with("", "changed")
        }
    });
    let get = async |path: &str| text(&ask(site, &format!("GET {path}"), "").await);
    assert_eq!(
        (get("/altered/a").await, get("/altered/a?page=2").await, get("/altered/b").await),
        ("state 0".into(), "state 0".into(), "state 0".into())
    );

    assert_eq!(ask(site, "POST /altered/a?refused", "content-length: 0\r\n").await.status, 400);
    assert_eq!(get("/altered/a").await, "state 0", "nothing was changed");
    assert_eq!(ask(site, "POST /altered/%61", "content-length: 0\r\n").await.status, 200);

    assert_eq!(
        (get("/altered/a").await, get("/altered/a?page=2").await, get("/altered/b").await),
        ("state 1".into(), "state 1".into(), "state 0".into())
    );
    assert_eq!(ask(site, "DELETE /altered/b", "").await.status, 200);
    assert_eq!(get("/altered/b").await, "state 2");
}

#[tokio::test]
async fn what_may_not_be_kept_passes_unchanged() {
    let site = site().await;
    let large = "x".repeat(5_000);
    let body = large.clone();
    let service = site.service("unkept", move |seen| match seen.line().split(['/', ' ']).nth(3).unwrap_or_default() {
        "large" => with("cache-control: max-age=600\r\n", &body),
        "chunked" => raw(&format!(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n{0}\r\nfa0\r\n{1}\r\n0\r\n\r\n",
            &body[..1_000],
            &body[..4_000]
        )),
        "cookie" => with("cache-control: max-age=600\r\nset-cookie: a=b\r\n", "own"),
        "half" => raw_then("HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 100\r\n\r\nhalf", Act::Close),
        _ => with("", "plain"),
    });

    for (path, expected) in [("large", large.as_str()), ("chunked", &large), ("cookie", "own"), ("plain", "plain")] {
        for _ in 0..2 {
            let answer = ask(site, &format!("GET /unkept/{path}"), "").await;
            assert!(text(&answer) == expected, "{path}: {} bytes", answer.body.len());
            assert_eq!((status(&answer), answer.header("age")), ("causeway; fwd=uri-miss", None), "{path}");
        }
    }
    assert_eq!(service.seen().len(), 8);
    // A response that breaks off is an error for everybody, and never half a success.
    assert_eq!(ask(site, "GET /unkept/half", "").await.status, 502);
}
