//! A body that breaks its description is refused with a pointer and never forwarded; one over the cap is cut off.

use harness::client::Version;
use serde_json::Value;

use crate::service::ok;
use crate::site::{Site, site, source};
use crate::wire::{DATA, END_STREAM, Frames, HEADERS, RST_STREAM, Wire, frame, request, status};

async fn post(site: &Site, body: impl Into<reqwest::Body>, fields: &[(&str, &str)]) -> (u16, Value) {
    let request = site.http(Version::Http1).post(site.url("/checked/things")).body(body);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn bad_bodies_are_refused_with_a_pointer_and_good_ones_arrive_unchanged() {
    let site = site().await;
    let service = site.service("checked", |_| ok("served"));
    let json_type = [("content-type", "application/json")];
    let deep = format!(r#"{{"name":"a","quantity":1,"any":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let bomb = format!(r#"{{"name":"a","quantity":1,"any":{{{}}}}}"#, (0..5_000).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(","));

    for (body, pointer) in [
        ("", None),
        ("{", None),
        ("{}{}", None),
        (r#"{"name":"a","quantity":1}x"#, None),
        ("null", Some("")),
        ("[]", Some("")),
        (r#"{"quantity":1}"#, Some("/name")),
        (r#"{"name":"","quantity":1}"#, Some("/name")),
        (r#"{"name":"a","quantity":-1}"#, Some("/quantity")),
        (r#"{"name":"a","quantity":"1"}"#, Some("/quantity")),
        (r#"{"name":"a","quantity":1.5}"#, Some("/quantity")),
        (r#"{"name":"a","quantity":1,"extra":1}"#, Some("/extra")),
        (r#"{"name":"a","quantity":1,"quantity":-1}"#, Some("/quantity")),
        (r#"{"name":"a","quantity":1,"na\u006de":"b"}"#, Some("/name")),
        ("{\"name\":\"\u{0}\",\"quantity\":1}", None),
        (deep.as_str(), None),
    ] {
        let (code, problem) = post(site, body.to_owned(), &json_type).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!((code, problem["code"].as_str()), (422, Some("request-invalid")), "{shown}: {problem}");
        let errors = problem["errors"].as_array().unwrap();
        let found = pointer.is_none_or(|pointer| errors.iter().any(|error| error["pointer"] == pointer || error["pointer"] == ""));
        assert!(found && !errors.is_empty(), "{shown}: {problem}");
    }
    assert_eq!(post(site, "name=a", &[("content-type", "application/x-www-form-urlencoded")]).await.0, 415);
    assert_eq!(post(site, r#"{"name":"a","quantity":1}"#, &[]).await.0, 415, "no content type");
    assert_eq!(post(site, "\u{1f}\u{8b}", &[("content-type", "application/json"), ("content-encoding", "gzip")]).await.0, 415);
    assert_eq!(post(site, " ".repeat(70 << 10), &json_type).await.0, 413);
    let refused = post(site, vec![b'{', 0xff, b'}'], &json_type).await;
    assert_eq!(refused.0, 422, "{refused:?}");
    let seen: Vec<_> = service.seen().iter().map(|seen| seen.head.clone()).collect();
    assert_eq!(seen, Vec::<String>::new());

    let good = " {\"quantity\" : 0,\t\"name\":\"\u{e9}\\u00e9\"}\n";
    assert_eq!(post(site, good, &json_type).await.0, 200);
    assert_eq!(post(site, good, &[("content-type", "Application/JSON; charset=utf-8")]).await.0, 200);
    assert!(matches!(post(site, bomb, &json_type).await.0, 200 | 422), "many members");
    assert!(service.seen().iter().take(2).all(|seen| seen.body == good.as_bytes()), "{:?}", service.seen());
    for (path, expected) in [("/checked/things/7", 200), ("/checked/things/0", 422), ("/checked/things/x", 422), ("/checked/other", 404)] {
        let answer = site.http(Version::Http2).get(site.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
    }
    let wrong = site.http(Version::Http2).delete(site.url("/checked/things")).send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), wrong.headers()["allow"].to_str().unwrap()), (405, "POST"));
}

#[tokio::test]
async fn bodies_over_the_cap_are_refused_with_and_without_a_length() {
    let site = site().await;
    let service = site.service("cap", |_| ok("served"));

    for version in [Version::Http1, Version::Http2] {
        let http = site.http(version);
        let pieces = || futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1 << 10])));
        let with_length = http.post(site.url("/cap/small")).body(vec![b'x'; 100 << 10]).send().await.unwrap();
        let without = http.post(site.url("/cap/small")).body(reqwest::Body::wrap_stream(pieces())).send().await.unwrap();
        let under = http.post(site.url("/cap/small")).body(vec![b'x'; 64 << 10]).send().await.unwrap();
        assert_eq!(
            (with_length.status(), without.status(), under.status()),
            (http::StatusCode::PAYLOAD_TOO_LARGE, http::StatusCode::PAYLOAD_TOO_LARGE, http::StatusCode::OK),
            "{version:?}"
        );
    }

    assert!(service.seen().iter().all(|seen| seen.body.len() == 64 << 10), "a cut body came whole");
    assert_eq!(service.seen().len(), 2);
}

/// A client that goes on sending must still get to read why it was refused: closing a socket with unread bytes resets it.
#[tokio::test]
async fn client_that_is_still_sending_reads_the_refusal() {
    let site = site().await;
    let _service = site.service("linger", |_| ok("served"));

    for n in 0..10 {
        let mut wire = Wire::http1(site).await;
        wire.send("POST /linger/small HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 8388608\r\n\r\n").await;
        let piece = vec![b'x'; 1 << 16];
        let mut sent = 0;
        while sent < 8 << 20 && wire.send(&piece).await {
            sent += piece.len();
        }
        let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer in round {n} after {sent} bytes"));
        assert_eq!((answer.status, answer.code().as_str()), (413, "body-too-large"));
    }
}

#[tokio::test]
async fn http2_stream_over_the_cap_is_refused_alone() {
    let site = site().await;
    let mut frames = Frames::connect(site, Some(source(8)), &[]).await;

    frames.send(request(1, "POST", "/linger/small/h2", &[("content-length", "999999")], 0)).await;
    frames.send(frame(DATA, 0, 1, &[b'x'; 16_384])).await;
    let refused = frames.stream(1).await;
    frames.send(request(3, "GET", "/nowhere", &[], END_STREAM)).await;
    let next = frames.stream(3).await;

    assert_eq!(refused.iter().find(|frame| frame.kind == HEADERS).map(|frame| status(&frame.payload)), Some(413), "{refused:?}");
    assert!(next.iter().any(|frame| frame.kind == HEADERS) && next.iter().all(|frame| frame.kind != RST_STREAM), "{next:?}");
}
