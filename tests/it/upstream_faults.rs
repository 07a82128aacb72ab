//! Whatever a service does, a client gets a clear answer or a visibly broken one; never another client's, never a doubled write.

use std::time::Duration;

use harness::client::Version;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::service::{Act, ok, raw, raw_then, read_request};
use crate::site::{Site, site};
use crate::wire::{END_STREAM, Frames, Wire, request};

async fn get(site: &Site, version: Version, path: &str) -> (u16, Value, String) {
    let answer = site.http(version).get(site.url(path)).send().await.unwrap();
    let proxy_status = answer.headers().get("proxy-status").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default(), proxy_status)
}

#[tokio::test]
async fn services_that_fail_before_an_answer_give_502_or_504_with_who_is_to_blame() {
    let site = site().await;
    let bad = site.service("bad", |seen| match seen.line().split(['/', ' ']).nth(3).unwrap_or_default() {
        "closes" => vec![Act::Close],
        "resets" => vec![Act::Reset],
        "nonsense" => raw_then("nonsense\r\n\r\n", Act::Close),
        "status" => raw_then("HTTP/1.1 20 OK\r\n\r\n", Act::Close),
        "half" => raw_then("HTTP/1.1 200 OK\r\ncontent-le", Act::Close),
        "header" => raw_then("HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n", Act::Close),
        "lengths" => raw_then("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na", Act::Close),
        "large" => raw_then(&format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(300 << 10)), Act::Close),
        "many" => raw_then(&format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: 1\r\n".repeat(1_000)), Act::Close),
        "switch" => raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n"),
        "chunk" => raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        "hangs" => vec![Act::Hang],
        other => ok(other),
    });

    for version in [Version::Http1, Version::Http2] {
        for (path, status, code, blame) in [
            ("/bad/closes", 502, "upstream-unreachable", "connection"),
            ("/bad/resets", 502, "upstream-unreachable", "connection"),
            ("/bad/nonsense", 502, "upstream-malformed", "http_protocol_error"),
            ("/bad/status", 502, "upstream-malformed", "http_protocol_error"),
            ("/bad/half", 502, "upstream-unreachable", "connection"),
            ("/bad/header", 502, "upstream-malformed", "http_protocol_error"),
            ("/bad/lengths", 502, "upstream-malformed", "http_protocol_error"),
            ("/bad/large", 502, "upstream-malformed", "http_protocol_error"),
            ("/bad/many", 502, "upstream-malformed", "http_protocol_error"),
            ("/bad/switch", 502, "upstream-malformed", "http_protocol_error"),
            ("/bad/chunk", 502, "upstream-malformed", "http_protocol_error"),
            ("/refusing/x", 502, "upstream-unreachable", "connection"),
        ] {
            let (got, problem, proxy_status) = get(site, version, path).await;
            assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{path} {version:?}: {problem}");
            assert!(proxy_status.contains(blame), "{path}: {proxy_status}");
        }
        let began = Instant::now();
        assert_eq!(get(site, version, "/bad/hangs").await.1["code"], "upstream-timeout");
        assert!(began.elapsed() < Duration::from_secs(4), "the response deadline is 2 s: {:?}", began.elapsed());
        assert_eq!(get(site, version, "/bad/fine").await.0, 200);
    }

    let twice = bad.seen().iter().filter(|seen| seen.line().contains("hangs")).count();
    assert_eq!(twice, 2, "a request that may have been processed is not sent again");
}

/// A body that was cut must not look whole: no last chunk, no full length, and a reset on HTTP/2.
#[tokio::test]
async fn body_that_breaks_off_never_looks_complete() {
    let site = site().await;
    let _service = site.service("cut", |seen| match seen.line().split(['/', ' ']).nth(3).unwrap_or_default() {
        "length" => raw_then("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789", Act::Close),
        "reset" => raw_then("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789", Act::Reset),
        "chunk" => raw_then("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\nhalf", Act::Close),
        "end" => raw_then("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", Act::Close),
        "size" => raw_then("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", Act::Hang),
        "stall" => raw_then("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789", Act::Hang),
        _ => raw_then("HTTP/1.1 200 OK\r\n\r\nuntil the end", Act::Close),
    });

    for version in [Version::Http1, Version::Http2] {
        for path in ["/cut/length", "/cut/reset", "/cut/chunk", "/cut/end", "/cut/size"] {
            let id = format!("cut-{version:?}{}", path.replace('/', "-"));
            // When the end comes together with the beginning, not even the head may have left: that is no whole answer either.
            let body = async { site.http(version).get(site.url(path)).header("x-request-id", &id).send().await?.bytes().await }.await;
            assert!(body.is_err(), "{path} {version:?}: {body:?}");
            let records = site.records(&format!("request_id={id}"), 2).await;
            let mut phases: Vec<_> =
                records.iter().map(|record| format!("{} {}", record["phase"].as_str().unwrap(), record["outcome"].as_str().unwrap())).collect();
            phases.sort();
            assert_eq!(phases, ["close error", "outcome ok"], "{records:?}");
        }
        let whole = site.http(version).get(site.url("/cut/whole")).send().await.unwrap();
        assert_eq!(whole.text().await.unwrap(), "until the end");
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_never_become_another_clients_answer() {
    let site = site().await;
    let service = site.service("more", |_| raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen"));
    let http = site.http(Version::Http1);

    for _ in 0..50 {
        let text = http.get(site.url("/more")).send().await.unwrap().text().await.unwrap();
        assert_eq!(text, "mine");
    }

    assert_eq!(service.connections(), 50, "a connection in doubt is not used again");
}

#[tokio::test]
async fn interim_answers_are_not_taken_for_the_answer() {
    let site = site().await;
    let _service = site.service("interim", |_| raw("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal"));

    for version in [Version::Http1, Version::Http2] {
        for _ in 0..3 {
            let answer = site.http(version).get(site.url("/interim")).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "final"), "{version:?}");
        }
    }
}

/// Bytes behind a 204, a 304 or an answer to HEAD are no body (RFC 9110 section 6.4.1).
#[tokio::test]
async fn answers_without_a_body_stay_without_one() {
    let site = site().await;
    let service = site.service("bodiless", |seen| match seen.line() {
        line if line.contains("/204") => raw("HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nstolen"),
        line if line.contains("/304") => raw("HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\nstolen"),
        line if line.starts_with("HEAD") => raw("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen"),
        _ => ok("fine"),
    });

    let mut wire = Wire::http1(site).await;
    for _ in 0..3 {
        for (method, path, expected) in [("GET", "/bodiless/204", 204), ("GET", "/bodiless/304", 304), ("HEAD", "/bodiless", 200)] {
            wire.send(format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await;
            assert_eq!(wire.head_answer().await.unwrap().status, expected, "{path}");
            let next = wire.get("/bodiless/next").await.unwrap();
            assert_eq!(next.body, b"fine", "after {path}");
        }
    }
    for (method, path) in [("GET", "/bodiless/204"), ("GET", "/bodiless/304"), ("HEAD", "/bodiless")] {
        let mut frames = Frames::connect(site, None, &[]).await;
        frames.send(request(1, method, path, &[], END_STREAM)).await;
        let answer = frames.stream(1).await;
        assert!(answer.len() == 1 || answer.iter().skip(1).all(|frame| frame.kind == 0 && frame.payload.is_empty()), "{path}: {answer:?}");
    }

    assert!(service.seen().len() >= 21);
}

/// A service that closes kept connections as requests come: safe ones are sent once more, on a new connection.
#[tokio::test]
async fn closed_kept_connections_cost_no_get_and_double_no_post() {
    let site = site().await;
    // Every connection serves one request; the second one on it is read and then cut off without an answer.
    let stale = site.service("stale", |seen| if seen.turn == 0 { ok("fine") } else { vec![Act::Close] });
    let post = site.service("stalepost", |seen| if seen.turn == 0 { ok("fine") } else { vec![Act::Reset] });
    let http = site.http(Version::Http1);

    let mut posted = Vec::new();
    for n in 0..20 {
        let answer = http.get(site.url("/stale")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "GET {n}");
        let answer = http.post(site.url(&format!("/stalepost/{n}"))).body("x").send().await.unwrap();
        posted.push(answer.status().as_u16());
    }

    assert_eq!(stale.seen().len() - 20, stale.seen().iter().filter(|seen| seen.turn > 0).count());
    for (n, status) in posted.iter().enumerate() {
        let times = post.seen().iter().filter(|seen| seen.line().starts_with(&format!("POST /stalepost/{n} "))).count();
        assert_eq!(times, 1, "POST {n} was sent {times} times; its client got {status}");
    }
    assert!(posted.contains(&200), "{posted:?}");
}

/// A service that ends each connection after its answer, without saying so before.
#[tokio::test]
async fn connection_that_was_closed_while_idle_fails_no_get_and_doubles_no_post() {
    let site = site().await;
    let service = site.service("restart", |_| raw_then("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine", Act::Close));
    let http = site.http(Version::Http2);

    let mut posts = 0;
    for n in 0..40 {
        let request = if n % 2 == 0 { http.get(site.url("/restart")) } else { http.post(site.url("/restart")).body("x") };
        let status = request.send().await.unwrap().status();
        // A write may meet the end of the connection under way; then it was not processed, and is not said to be.
        posts += usize::from(n % 2 == 1 && status == 200);
        assert!(status == 200 || n % 2 == 1 && status == 502, "request {n}: {status}");
    }

    assert_eq!(service.seen().iter().filter(|seen| seen.line().starts_with("POST")).count(), posts);
    assert!(posts > 0);
}

/// The response deadline counts from the end of the request: an upload may take longer than it.
#[tokio::test]
async fn slow_upload_is_not_taken_for_a_slow_service() {
    let site = site().await;
    let service = site.service("longupload", |seen| ok(&seen.body.len().to_string()));
    let pieces = futures_util::stream::unfold((0_u32, tokio::time::interval(Duration::from_millis(400))), async |(n, mut pulse)| {
        pulse.tick().await;
        (n < 8).then_some((Ok::<_, std::io::Error>("x"), (n + 1, pulse)))
    });

    let answer = site.http(Version::Http1).post(site.url("/longupload")).body(reqwest::Body::wrap_stream(pieces)).send().await.unwrap();

    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "8"), "2.8 s of upload, 2 s for the response");
    assert_eq!(service.seen().len(), 1);
}

/// Fields of a response that only the gateway may set, or that belong to one connection, do not pass; trailers obey too.
#[tokio::test]
async fn what_a_service_may_not_say_does_not_reach_the_client() {
    let site = site().await;
    let listener = site.listener("poison");
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut left = Vec::new();
            while read_request(&mut stream, &mut left, 0).await.is_ok() {
                let head = "HTTP/1.1 200 OK\r\ncauseway-region: evil\r\nx-request-id: evil\r\nconnection: x-hop\r\nx-hop: evil\r\nkeep-alive: evil\r\nproxy-authenticate: evil\r\nx-kept: 1\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n";
                drop(stream.write_all(format!("{head}2\r\nok\r\n0\r\nx-end: 1\r\ncauseway-end: evil\r\n\r\n").as_bytes()).await);
            }
        }
    });

    let mut wire = Wire::http1(site).await;
    wire.send("GET /poison HTTP/1.1\r\nhost: 127.0.0.1\r\nte: trailers\r\n\r\n").await;
    let answer = wire.answer().await.unwrap();
    let mut frames = Frames::connect(site, None, &[]).await;
    frames.send(request(1, "GET", "/poison", &[("te", "trailers")], END_STREAM)).await;
    let streamed = frames.stream(1).await;

    assert!(!answer.head.contains("evil") && answer.header("x-kept") == Some("1"), "{}", answer.head);
    assert_eq!((answer.body.as_slice(), answer.header("causeway-region")), (&b"ok"[..], Some("eu-west")));
    assert!(streamed.iter().all(|frame| !frame.payload.windows(12).any(|window| window == b"causeway-end")), "{streamed:?}");
}
