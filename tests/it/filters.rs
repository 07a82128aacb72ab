//! What a route asks to be done to messages: CORS, header fields, paths and hosts, compression.

use std::io::Read;

use harness::client::Version;
use serde_json::{Value, json};

use crate::service::{Act, Seen, raw};
use crate::site::{SOON, Site, site};
use crate::wire::{Answer, Wire};

/// Services that these tests play.
pub(crate) const SERVICES: [&str; 6] = ["cors", "crossed", "dressed", "moved", "packed", "ticker"];

/// The routes to them.
pub(crate) fn routes() -> Vec<Value> {
    let route = |name: &str, service: &str, matches: Value, more: Value| {
        let mut route = json!({ "name": name, "match": { "host": ["127.0.0.1", "localhost"] }, "upstream": service, "auth": "none" });
        route["match"].as_object_mut().unwrap().extend(matches.as_object().unwrap().clone());
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    let cors = json!({ "origins": ["https://app.example", "https://*.pages.example"], "credentials": true, "expose": ["X-Total"], "max_age": "1h" });
    let fields = json!({
        "request": {
            "remove": ["X-Gone"],
            "set": { "X-Caller": "${consumer}/${application}", "X-Where": "${route} in ${region} for ${host}", "X-Id": "${request_id}", "X-Fixed": "yes" },
            "add": { "X-Many": ["two", "three"] },
        },
        "response": { "remove": ["Server"], "set": { "Strict-Transport-Security": "max-age=63072000", "X-Echo": "${request_id}" }, "add": { "X-More": "2" } },
    });
    vec![
        route("cors", "cors", json!({ "path": "/cors/items", "methods": ["GET", "PUT"] }), json!({ "cors": cors.clone(), "auth": "api_key" })),
        route("cors-post", "cors", json!({ "path": "/cors/items", "methods": ["POST"] }), json!({})),
        route("cors-any", "cors", json!({ "path": "/cors/any" }), json!({ "cors": { "origins": "*", "headers": "*" } })),
        route("crossed", "crossed", json!({ "path": "/crossed" }), json!({})),
        route("crossed-own", "crossed", json!({ "path": "/crossed/own" }), json!({ "cors": cors })),
        route("dressed", "dressed", json!({ "path": "/dressed" }), json!({ "auth": "api_key", "headers": fields })),
        route(
            "moved-prefix",
            "moved",
            json!({ "path": "/caf\u{e9}/**" }),
            json!({ "rewrite": { "strip_prefix": "/caf\u{e9}", "add_prefix": "/v2" } }),
        ),
        route(
            "moved-added",
            "moved",
            json!({ "path": "/moved/added/**" }),
            json!({ "rewrite": { "add_prefix": "/inner" }, "upstream_host": "preserve" }),
        ),
        route(
            "moved-template",
            "moved",
            json!({ "path": "/moved/{kind}/{id}/**" }),
            json!({ "rewrite": { "path": "/v3/{id}/as/{kind}/**" }, "upstream_host": "inner.example:8080" }),
        ),
        route("packed", "packed", json!({ "path": "/packed/**" }), json!({ "compression": { "min": "100B" } })),
        route(
            "ticker",
            "ticker",
            json!({ "path": "/ticker" }),
            json!({ "compression": { "types": ["text/event-stream"], "codings": ["gzip", "br"] } }),
        ),
    ]
}

/// A response with fields of its own.
fn with(fields: &str, body: &str) -> Vec<Act> {
    raw(&format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()))
}

async fn ask(site: &Site, line: &str, fields: &str) -> Answer {
    let mut wire = Wire::http1(site).await;
    wire.send(format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n")).await;
    wire.answer().await.unwrap()
}

fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let fields = answer.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_gateway_before_any_credential_is_asked_for() {
    let site = site().await;
    let service = site.service("cors", |_| with("", "served"));
    let preflight = async |path: &str, origin: &str, method: &str| {
        let fields = format!("origin: {origin}\r\naccess-control-request-method: {method}\r\naccess-control-request-headers: x-api-key, x-odd\r\n");
        ask(site, &format!("OPTIONS {path}"), &fields).await
    };

    for origin in ["https://app.example", "https://a.pages.example"] {
        let answer = preflight("/cors/items", origin, "PUT").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.head);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, PUT, HEAD"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, content-type, x-api-key"));
        assert_eq!(answer.header("access-control-max-age"), Some("3600"));
        assert_eq!(all(&answer, "vary"), ["origin", "access-control-request-method", "access-control-request-headers"]);
        assert!(answer.header("x-request-id").is_some());
    }
    for origin in ["https://evil.example", "null", "https://a.b.pages.example", "http://app.example"] {
        let answer = preflight("/cors/items", origin, "PUT").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None), "{origin}");
        assert!(answer.header("access-control-allow-methods").is_none());
        assert!(all(&answer, "vary").contains(&"origin"));
    }
    let any = preflight("/cors/any", "null", "DELETE").await;
    assert_eq!((any.header("access-control-allow-origin"), any.header("access-control-allow-headers")), (Some("*"), Some("x-api-key, x-odd")));
    assert_eq!(any.header("access-control-allow-credentials"), None);
    assert!(service.seen().is_empty(), "no preflight of a route with CORS reaches the service: {:?}", service.seen());

    // Neither a plain OPTIONS nor the preflight of a method whose route has no CORS is the gateway's to answer.
    assert_eq!(ask(site, "OPTIONS /cors/any", "origin: https://app.example\r\n").await.status, 200);
    assert_eq!(preflight("/cors/items", "https://app.example", "POST").await.status, 405);
    assert_eq!(service.seen().len(), 1);

    let records = site.records("route=cors&method=OPTIONS", 6).await;
    assert!(records.len() == 6 && records.iter().all(|record| record["status"] == 204 && record["decision"] == "allow"), "{records:?}");
}

#[tokio::test]
async fn a_response_carries_the_routes_cors_fields_and_never_the_services() {
    let site = site().await;
    let claims = "access-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\naccess-control-expose-headers: x-secret\r\n";
    let service = site.service("crossed", move |_| with(claims, "own"));
    // A route without CORS leaves the service's word alone.
    let own = ask(site, "GET /crossed", "origin: https://evil.example\r\n").await;
    assert_eq!((own.header("access-control-allow-origin"), all(&own, "vary").len()), (Some("*"), 0));
    let page = ask(site, "GET /crossed/own", "origin: https://app.example\r\n").await;
    assert_eq!(
        (all(&page, "access-control-allow-origin"), all(&page, "access-control-expose-headers")),
        (vec!["https://app.example"], vec!["x-total"])
    );
    let other = ask(site, "GET /crossed/own", "origin: https://evil.example\r\n").await;
    assert_eq!((other.status, other.body.as_slice()), (200, b"own".as_slice()), "the page is kept from it by its browser, not by us");
    assert!(!other.head.contains("access-control-"), "{}", other.head);
    assert_eq!(service.seen().len(), 3);

    // The refusal of a request without a key is readable for a page that may ask, and for no other.
    for (origin, expected) in [("https://app.example", Some("https://app.example")), ("https://evil.example", None)] {
        let refused = ask(site, "GET /cors/items", &format!("origin: {origin}\r\n")).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, expected));
        assert_eq!(refused.header("access-control-expose-headers"), expected.map(|_| "x-total"));
        assert_eq!(all(&refused, "vary"), ["origin"]);
    }
    let bare = ask(site, "GET /cors/items", "").await;
    assert_eq!((bare.header("access-control-allow-origin"), all(&bare, "vary")), (None, vec!["origin"]), "caches must know, without an origin too");
}

#[tokio::test]
async fn fields_are_removed_set_and_added_in_both_directions() {
    let site = site().await;
    let service = site.service("dressed", |_| with("server: secret/1.0\r\nx-more: 1\r\nx-echo: no\r\n", "served"));
    let key = site.dev_key();
    let fields = format!(
        "x-api-key: {key}\r\nx-request-id: id-of-the-client\r\nx-gone: 1\r\nx-caller: admin\r\nx-many: one\r\nx-fixed: no\r\nx-fixed: never\r\n"
    );

    let answer = ask(site, "GET /dressed", &fields).await;

    let seen = &service.seen()[0];
    assert_eq!(seen.header("x-caller"), ["demo/default"], "what the client claimed is replaced");
    assert_eq!(seen.header("x-where"), ["dressed in eu-west for 127.0.0.1"]);
    assert_eq!((seen.header("x-id"), seen.header("x-fixed")), (vec!["id-of-the-client"], vec!["yes"]));
    assert_eq!((seen.header("x-gone").len(), seen.header("x-many")), (0, vec!["one", "two", "three"]));
    assert_eq!((answer.status, answer.header("server"), answer.header("x-echo")), (200, None, Some("id-of-the-client")));
    assert_eq!((all(&answer, "x-more"), all(&answer, "strict-transport-security")), (vec!["1", "2"], vec!["max-age=63072000"]));
}

#[tokio::test]
async fn paths_and_hosts_are_rewritten_whatever_spelling_they_came_in() {
    let site = site().await;
    let service = site.service("moved", |seen| with("", seen.line()));
    let target = service_host(site, "moved");

    for (path, sent, host) in [
        ("/caf%C3%A9/a?b=/caf%C3%A9", "/v2/a?b=/caf%C3%A9", target.as_str()),
        ("/caf%c3%a9/a%3bb", "/v2/a%3Bb", target.as_str()),
        ("/c%61f%C3%A9", "/v2", target.as_str()),
        ("/moved/added/x?y", "/inner/moved/added/x?y", "127.0.0.1:7"),
        ("/moved/books/7%20x/**/z?q=1", "/v3/7%20x/as/books/**/z?q=1", "inner.example:8080"),
        ("/moved/books/7", "/v3/7/as/books", "inner.example:8080"),
    ] {
        let mut wire = Wire::http1(site).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:7\r\n\r\n")).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (200, format!("GET {sent} HTTP/1.1").as_str()), "{path}");
        let seen = service.seen().pop().unwrap();
        assert_eq!((seen.header("host"), seen.header("x-forwarded-host")), (vec![host], vec!["127.0.0.1"]), "{path}");
    }

    let over_http2 = site.http(Version::Http2).get(site.url("/moved/added")).send().await.unwrap();
    assert_eq!(over_http2.status(), 200);
    let seen = service.seen().pop().unwrap();
    assert_eq!(seen.header("host"), [site.address().to_string()], "HTTP/2 says its host in a pseudo-header");
}

fn service_host(site: &Site, name: &str) -> String {
    site.listener(name).local_addr().unwrap().to_string()
}

fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(bytes, 4_096).read_to_end(&mut out),
        "zstd" => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out),
        other => panic!("what is {other}?"),
    };
    // A stream that still runs has no end yet.
    drop(read);
    out
}

fn packed(seen: &Seen) -> Vec<Act> {
    let line = seen.line();
    let text = "It was the best of times, it was the worst of times. ".repeat(40);
    let plain = "content-type: text/plain\r\netag: \"v1\"\r\naccept-ranges: bytes\r\n";
    if line.contains("/chunked") {
        let pieces = format!("{:x}\r\n{text}\r\n", text.len()).repeat(50);
        return raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n{pieces}0\r\n\r\n"
        ));
    }
    if line.contains("/large") {
        return with("content-type: text/html\r\n", &text.repeat(200));
    }
    match line.split(['/', ' ']).nth(3).unwrap_or_default() {
        "small" => with(plain, "small"),
        "image" => with("content-type: image/png\r\n", &text),
        "fixed" => with("content-type: text/plain\r\ncache-control: no-transform\r\n", &text),
        "encoded" => with("content-type: text/plain\r\ncontent-encoding: deflate\r\n", &text),
        "part" => raw(&format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-{}/9999\r\ncontent-length: {}\r\n\r\n{text}",
            text.len() - 1,
            text.len()
        )),
        "head" => raw(&format!("HTTP/1.1 200 OK\r\n{plain}content-length: {}\r\n\r\n", text.len())),
        _ => with(plain, &text),
    }
}

#[tokio::test]
async fn responses_of_listed_types_are_compressed_as_the_client_accepts() {
    let site = site().await;
    let _service = site.service("packed", packed);
    let text = "It was the best of times, it was the worst of times. ".repeat(40);

    for (accept, coding) in [("gzip", "gzip"), ("br;q=0.9, gzip;q=0.1", "br"), ("gzip, br, zstd", "zstd"), ("zstd;q=0, *", "br")] {
        for (path, whole) in [("/packed/text", text.clone()), ("/packed/chunked", text.repeat(50)), ("/packed/large", text.repeat(200))] {
            let answer = ask(site, &format!("GET {path}"), &format!("accept-encoding: {accept}\r\n")).await;
            assert_eq!((answer.status, answer.header("content-encoding")), (200, Some(coding)), "{accept} {path}");
            assert!(answer.body.len() < whole.len() / 5, "{} of {}", answer.body.len(), whole.len());
            assert!(decoded(coding, &answer.body) == whole.as_bytes(), "{accept} {path}");
            assert_eq!(all(&answer, "vary"), ["accept-encoding"]);
        }
        let text = ask(site, "GET /packed/text", &format!("accept-encoding: {accept}\r\n")).await;
        assert_eq!((text.header("etag"), text.header("accept-ranges")), (Some("W/\"v1\""), None));
    }
    for (path, accept, varies) in [
        ("text", "", true),
        ("text", "identity", true),
        ("text", "gzip;q=0, deflate", true),
        ("small", "gzip", true),
        ("image", "gzip", false),
        ("fixed", "gzip", false),
        ("part", "gzip", false),
    ] {
        let answer = ask(site, &format!("GET /packed/{path}"), &format!("accept-encoding: {accept}\r\n")).await;
        assert_eq!((answer.header("content-encoding"), !all(&answer, "vary").is_empty()), (None, varies), "{path} {accept}");
        assert!(answer.body == text.as_bytes() || answer.body == b"small", "{path}");
    }
    let encoded = ask(site, "GET /packed/encoded", "accept-encoding: gzip\r\n").await;
    assert_eq!((all(&encoded, "content-encoding"), encoded.body == text.as_bytes()), (vec!["deflate"], true));
    let mut wire = Wire::http1(site).await;
    wire.send("HEAD /packed/head HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-encoding: gzip\r\n\r\n").await;
    let head = wire.head_answer().await.unwrap();
    assert_eq!((head.header("content-encoding"), head.header("etag")), (None, Some("\"v1\"")), "{}", head.head);

    let http2 = site.http(Version::Http2).get(site.url("/packed/chunked")).header("accept-encoding", "br").send().await.unwrap();
    assert_eq!(http2.headers()["content-encoding"], "br");
    assert!(decoded("br", &http2.bytes().await.unwrap()) == text.repeat(50).as_bytes());
}

#[tokio::test]
async fn a_compressed_event_stream_is_not_held_back() {
    let site = site().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let _service = site.service("ticker", move |_| vec![Act::Send(format!("{head}f\r\ndata: first\r\n\r\n\r\n").into()), Act::Hang]);

    for coding in ["gzip", "br"] {
        let mut answer = site.http(Version::Http2).get(site.url("/ticker")).header("accept-encoding", coding).send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], coding);
        let mut so_far = Vec::new();
        let read = async {
            while decoded(coding, &so_far) != b"data: first\r\n\r\n" {
                so_far.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
            }
        };
        tokio::time::timeout(SOON, read).await.expect("the first event comes while the service holds the stream open");
    }
}
