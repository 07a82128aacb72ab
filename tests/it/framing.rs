//! What two programs could read differently is refused, and no service sees it (RFC 9112 section 11).
#![expect(clippy::print_stdout, reason = "figures that a reader of the test log wants to see")]

use bytes::Bytes;
use harness::client::Version;
use harness::seed::Random;
use harness::wait;

use crate::service::{Act, ok};
use crate::site::{SOON, site, source};
use crate::wire::{self, DATA, END_STREAM, Frames, HEADERS, PING, RST_STREAM, Wire, block, frame};

const HEAD: &str = "host: 127.0.0.1\r\n";

/// Sends bytes on a connection of their own; the status of the answer, its problem, and whether the connection ended.
async fn verdict(bytes: &[u8]) -> (u16, String) {
    let mut wire = Wire::connect(site().await.address(), site().await.ca(), "http/1.1", Some(source(1))).await;
    wire.send(bytes).await;
    let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer to {}", bytes.escape_ascii()));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", bytes.escape_ascii());
    assert_eq!(answer.header("connection"), Some("close"), "{}", bytes.escape_ascii());
    assert!(wire.closes(SOON).await, "open after {}", bytes.escape_ascii());
    (answer.status, answer.code())
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_closed_and_the_service_sees_nothing() {
    let service = site().await.service("ambiguous", |_| ok("served"));
    let post = |fields: &str, body: &str| format!("POST /ambiguous HTTP/1.1\r\n{HEAD}{fields}\r\n\r\n{body}");
    let chunked = |body: &str| post("transfer-encoding: chunked", body);
    let five = "5\r\nabcde\r\n0\r\n\r\n";

    for text in [
        post("content-length: 5\r\ntransfer-encoding: chunked", five),
        post("transfer-encoding: chunked\r\ncontent-length: 5", five),
        post("content-length: 5\r\ncontent-length: 5", "abcde"),
        post("content-length: 5\r\ncontent-length: 6", "abcde"),
        post("content-length: 5, 5", "abcde"),
        post("content-length: +5", "abcde"),
        post("content-length: -5", "abcde"),
        post("content-length: 5 5", "abcde"),
        post("content-length: 0x5", "abcde"),
        post("content-length:", "abcde"),
        post("content-length: 18446744073709551614", "abcde"),
        post("content-length: 18446744073709551615", "abcde"),
        post("content-length: 18446744073709551616", "abcde"),
        post("content-length : 5", "abcde"),
        post("transfer-encoding: gzip, chunked", five),
        post("transfer-encoding: chunked, gzip", five),
        post("transfer-encoding: identity", "abcde"),
        post("transfer-encoding: xchunked", five),
        post("transfer-encoding: \u{b}chunked", five),
        post("transfer-encoding: ,chunked", five),
        post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", five),
        post("transfer-encoding: identity\r\ntransfer-encoding: chunked", five),
        post("transfer-encoding: chunked", five).replace("HTTP/1.1", "HTTP/1.0"),
        chunked("zz\r\nabcde\r\n0\r\n\r\n"),
        chunked("-5\r\nabcde\r\n0\r\n\r\n"),
        chunked("0x5\r\nabcde\r\n0\r\n\r\n"),
        chunked("5 \r\nabcde\r\n0\r\n\r\n"),
        chunked(" 5\r\nabcde\r\n0\r\n\r\n"),
        chunked("5\nabcde\r\n0\r\n\r\n"),
        chunked("5;a\nb\r\nabcde\r\n0\r\n\r\n"),
        chunked("5\r\nabcdef\r\n0\r\n\r\n"),
        chunked("5\r\nabcde\n0\r\n\r\n"),
        chunked("ffffffffffffffff5\r\nabcde\r\n0\r\n\r\n"),
        format!("GET /ambiguous HTTP/1.1\n{HEAD}\r\n"),
        format!("GET /ambiguous HTTP/1.1\r\n{HEAD}x-a: b\nx-c: d\r\n\r\n"),
        format!("GET /ambiguous HTTP/1.1\r\n{HEAD}\n"),
    ] {
        let (status, _) = verdict(text.as_bytes()).await;
        assert_eq!(status, 400, "{text:?}");
    }

    let whole: Vec<_> = service.seen().iter().map(|seen| seen.head.clone()).collect();
    assert_eq!(whole, Vec::<String>::new());
}

/// The codec reads over a blank behind a chunk's size. When that comes after the head was let through, the body breaks off.
#[tokio::test]
async fn body_that_becomes_ambiguous_on_its_way_never_reaches_its_end() {
    let service = site().await.service("turning", |_| ok("served"));
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";

    for rest in ["5 \r\nabcde\r\n0\r\n\r\n", "1\r\na\r\n4\t\r\nbcde\r\n0\r\n\r\n", "5 ;a\r\nabcde\r\n0\r\n\r\n"] {
        let mut wire = Wire::connect(site().await.address(), site().await.ca(), "http/1.1", Some(source(1))).await;
        wire.send(format!("POST /turning HTTP/1.1\r\n{HEAD}expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n")).await;
        assert_eq!(wire.some(go_on.len()).await, go_on, "the body is awaited");
        wire.send(rest).await;

        let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer to {rest:?}"));
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{rest:?}");
        assert!(wire.closes(SOON).await, "open after {rest:?}");
    }

    assert_eq!(service.seen().iter().map(|seen| seen.head.clone()).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn malformed_heads_are_refused_closed_and_recorded() {
    let service = site().await.service("malformed", |_| ok("served"));
    let get = |rest: &str| format!("GET /malformed HTTP/1.1\r\n{HEAD}{rest}\r\n\r\n");
    let many = "x-many: 1\r\n".repeat(120);

    for (text, expected) in [
        (get("x-a: b\r\n folded"), 400),
        (get("x-a: b\rx-c: d"), 400),
        (get("x-a : b"), 400),
        (get(": b"), 400),
        (get("x-a: b\0c"), 400),
        (get("x-a: b\u{1}c"), 400),
        (get("no colon"), 400),
        (get("x-a: b").replace("HTTP/1.1", "HTTP/2.0"), 400),
        (get("x-a: b").replace("HTTP/1.1", "http/1.1"), 400),
        (get("x-a: b").replace("GET ", "GET  "), 400),
        (get("x-a: b").replace("GET ", " GET "), 400),
        ("\0\u{1}\u{2}\u{3}".repeat(9), 400),
        (get(many.trim_end()), 431),
        (get(&format!("x-a: {}", "a".repeat(1 << 16))), 431),
        (get(&format!("x-a: {}", "a".repeat(1 << 20))), 431),
    ] {
        let (status, code) = verdict(text.as_bytes()).await;
        let word = if expected == 431 { "headers-too-large" } else { "request-malformed" };
        assert_eq!((status, code.as_str()), (expected, word), "{:?}", &text[..text.len().min(120)]);
    }

    assert!(service.seen().is_empty());
    // Other tests are refused so, too.
    let own = async || {
        let records = site().await.records("status=431&decision=deny", 0).await;
        records.iter().filter(|record| record.to_string().contains("127.99.1.1")).count()
    };
    wait::until("the records", SOON, async || own().await >= 3).await.unwrap();
}

#[tokio::test]
async fn lawful_chunks_arrive_as_the_same_body() {
    let service = site().await.service("lawful", |_| ok("served"));
    let mut wire = Wire::http1(site().await).await;

    for body in ["5\r\nab\nde\r\n3;ext=1\r\n\r\n\n\r\n0\r\n\r\n", "008\r\nab\nde\r\n\n\r\n000\r\n\r\n"] {
        wire.send(format!("POST /lawful HTTP/1.1\r\n{HEAD}transfer-encoding: Chunked\r\n\r\n{body}")).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }

    assert!(service.seen().iter().all(|seen| seen.body == b"ab\nde\r\n\n"), "{:?}", service.seen());
}

#[tokio::test]
async fn request_inside_a_body_stays_a_body() {
    let service = site().await.service("inner", |_| ok("served"));
    let mut wire = Wire::http1(site().await).await;
    let inner = "GET /inner/smuggled HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

    wire.send(format!("POST /inner HTTP/1.1\r\n{HEAD}content-length: {}\r\n\r\n{inner}", inner.len())).await;
    let first = wire.answer().await.unwrap();
    let second = wire.get("/inner/after").await.unwrap();

    assert_eq!((first.status, second.status), (200, 200));
    let lines: Vec<_> = service.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, ["POST /inner HTTP/1.1", "GET /inner/after HTTP/1.1"]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let service = site().await.service("pipeline", |seen| ok(seen.line()));
    let mut wire = Wire::http1(site().await).await;
    let one = |n: u32| format!("GET /pipeline/{n} HTTP/1.1\r\n{HEAD}\r\n");

    wire.send((0..20).map(one).collect::<String>()).await;
    for n in 0..20 {
        let answer = wire.answer().await.unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), format!("GET /pipeline/{n} HTTP/1.1"));
    }

    assert_eq!(service.seen().len(), 20);
}

#[tokio::test]
async fn connection_goes_on_after_a_refusal_that_leaves_no_doubt() {
    let _service = site().await.service("reuse", |_| ok("served"));
    let mut wire = Wire::http1(site().await).await;

    for (path, expected) in [("/reuse", 200), ("/nowhere", 404), ("/reuse/%2e%2e/x", 400), ("/keyed", 401), ("/reuse", 200)] {
        assert_eq!(wire.get(path).await.unwrap().status, expected, "{path}");
    }
    wire.send(format!("POST /nowhere HTTP/1.1\r\n{HEAD}content-length: 5\r\n\r\nabcde")).await;
    assert_eq!(wire.answer().await.unwrap().status, 404);
}

/// Mutants of a request with another one hidden inside, by a printed seed: no mutation brings the hidden one to a service.
#[tokio::test]
async fn no_mutation_smuggles_a_request() {
    const N: usize = 400;
    /// Some mutants ask for more than they send, and get no answer.
    const PATIENCE: std::time::Duration = std::time::Duration::from_millis(100);
    let service = site().await.service("mutants", |_| ok("served"));
    let seed = Random::fresh_seed();
    let mut random = Random::new(seed);
    let fields = [
        "content-length: 0",
        "content-length: 5",
        "content-length: 49",
        "Content-Length : 5",
        "transfer-encoding: chunked",
        "Transfer-Encoding : chunked",
        "transfer-encoding: \tchunked",
        "transfer-encoding: chunked, identity",
        "transfer_encoding: chunked",
        "connection: content-length",
        "connection: transfer-encoding",
        "x: y\n",
        "x: y\r z",
        "te: chunked",
    ];

    let mut wires = Vec::new();
    let mut served = 0;
    for n in 0..N {
        let hidden = format!("GET /mutants/hidden-{n} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let mut pick = |n: usize| usize::try_from(random.below(n as u64)).unwrap();
        let chosen = (0..=pick(3)).fold(String::new(), |chosen, _| chosen + fields[pick(fields.len())] + "\r\n");
        let body = ["", "0\r\n\r\n", "5\r\nabcde\r\n0\r\n\r\n", "31\r\n", "abcde"][pick(5)];
        let mut text = format!("POST /mutants HTTP/1.1\r\n{HEAD}{chosen}\r\n{body}{hidden}").into_bytes();
        // Half of the mutants lose, gain or change one byte before the hidden request.
        if pick(2) == 0 {
            let at = pick(text.len() - hidden.len());
            match pick(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, b"\r\n\t :;\0"[pick(7)]),
                _ => text[at] = b"\r\n\t :;\0"[pick(7)],
            }
        }
        let mut wire = Wire::connect(site().await.address(), site().await.ca(), "http/1.1", Some(source(2))).await;
        wire.send(&text).await;
        served += usize::from(tokio::time::timeout(PATIENCE, wire.answer()).await.ok().flatten().is_some_and(|answer| answer.status == 200));
        wires.push((wire, text));
    }

    // One that came in the open, behind a request that was whole, is no smuggling: its client was answered as often.
    for seen in service.seen().iter().filter(|seen| seen.line().contains("hidden")) {
        let n: usize = seen.line().split(['-', ' ']).nth(2).and_then(|text| text.parse().ok()).unwrap();
        let (wire, text) = &mut wires[n];
        assert!(wire.answer().await.is_some(), "seed {seed}: {}", text.escape_ascii());
    }
    println!("mutants={N} served={served}");
    assert!(served > N / 20, "refusing everything proves nothing: {served} of {N}, seed {seed}");
}

#[tokio::test]
async fn what_a_client_may_not_say_is_not_said_in_headers_or_trailers() {
    let service = site().await.service("fields", |_| ok("served"));
    let mut wire = Wire::http1(site().await).await;
    let forged = "causeway-principal: evil\r\nCauseway_Principal: evil\r\nx-forwarded-for: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\n\
                  x-real-ip: 6.6.6.6\r\nclient-cert: evil\r\nclient_cert: evil\r\ncontent_length: 7\r\nkeep-alive: evil\r\nproxy-connection: evil\r\n\
                  proxy-authorization: evil\r\nte: trailers, gzip\r\nx-api_key: evil\r\nconnection: x-hop, host, content-length, close-not\r\nx-hop: evil\r\n\
                  x-request-id: evil evil\r\nx-kept: 1\r\nx_kept: 2\r\nvia: 1.0 before\r\n";

    wire.send(format!("POST /fields HTTP/1.1\r\n{HEAD}{forged}trailer: causeway-principal\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ncauseway-principal: evil\r\nx-real_ip: evil\r\n\r\n")).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);

    let seen = service.seen().remove(0);
    assert!(!seen.head.contains("evil") && !seen.head.contains("6.6.6.6"), "{}", seen.head);
    assert!(!seen.trailers.join(" ").contains("evil"), "{:?}", seen.trailers);
    assert_eq!((seen.header("x-kept"), seen.header("x_kept")), (vec!["1"], vec!["2"]));
    assert_eq!((seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")), (vec!["127.0.0.1"], vec!["https"]));
    let via = seen.header("via").join(", ");
    assert!(via.starts_with("1.0 before, 1.1 causeway-eu-west-"), "{via}");
    assert_eq!(seen.header("x-forwarded-host"), ["127.0.0.1"]);
}

#[tokio::test]
async fn upgrades_are_refused_in_clear_words() {
    let service = site().await.service("upgrade", |_| ok("served"));
    let mut wire = Wire::http1(site().await).await;

    wire.send(format!("GET /upgrade HTTP/1.1\r\n{HEAD}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n")).await;
    let answer = wire.answer().await.unwrap();

    assert_eq!((answer.status, answer.code().as_str()), (501, "upgrade-unsupported"));
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn expect_100_is_met_and_no_other_expectation() {
    let service = site().await.service("expect", |_| ok("served"));
    let mut wire = Wire::http1(site().await).await;

    wire.send(format!("POST /expect HTTP/1.1\r\n{HEAD}expect: 100-continue\r\ncontent-length: 5\r\n\r\n")).await;
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.send("abcde").await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    wire.send(format!("POST /nowhere HTTP/1.1\r\n{HEAD}expect: 100-continue\r\ncontent-length: 5\r\n\r\n")).await;
    assert_eq!(wire.answer().await.unwrap().status, 404, "the refusal comes in place of 100");
    let mut other = Wire::http1(site().await).await;
    other.send(format!("POST /expect HTTP/1.1\r\n{HEAD}expect: 200-maybe\r\ncontent-length: 5\r\n\r\nabcde")).await;
    assert_eq!(other.answer().await.unwrap().status, 417);

    assert_eq!(service.seen().len(), 1);
    assert_eq!(service.seen()[0].header("expect"), Vec::<&str>::new());
}

#[tokio::test]
async fn http2_requests_that_break_its_rules_do_not_reach_the_service() {
    let service = site().await.service("h2fields", |_| ok("served"));
    let request = |more: &[(&str, &str)]| wire::request(1, "GET", "/h2fields", more, END_STREAM);

    for bytes in [
        request(&[("connection", "close")]),
        request(&[("transfer-encoding", "chunked")]),
        request(&[("te", "gzip")]),
        request(&[("X-Upper", "1")]),
        request(&[("x a", "1")]),
        request(&[("x-a", "b\r\nx-c: d")]),
        request(&[("x-a", "b\0")]),
        request(&[(":path", "/h2fields/again")]),
        request(&[("host", "other.example")]),
        wire::request(1, "GET", "/h2fields\r\nx: y", &[], END_STREAM),
        wire::request(1, "GET", "/h2fields/\0", &[], END_STREAM),
        wire::request(1, "POST", "/h2fields", &[("content-length", "3")], END_STREAM),
        [wire::request(1, "POST", "/h2fields", &[("content-length", "3")], 0), frame(DATA, END_STREAM, 1, b"abcde")].concat(),
        [wire::request(1, "POST", "/h2fields", &[("content-length", "9")], 0), frame(DATA, END_STREAM, 1, b"abcde")].concat(),
        frame(HEADERS, 5, 1, &block(&[(":method", "GET"), (":scheme", "https"), (":path", "/h2fields")])),
        frame(HEADERS, 5, 1, &block(&[(":method", "CONNECT"), (":authority", "127.0.0.1:443")])),
    ] {
        let mut frames = Frames::connect(site().await, Some(source(3)), &[]).await;
        frames.send(&bytes).await;
        let answer = frames.stream(1).await;
        let refused =
            answer.iter().find(|frame| frame.kind == HEADERS).is_none_or(|head| matches!(wire::status(&head.payload), 400 | 405 | 421 | 431));
        assert!(refused, "{}: {answer:?}", bytes.escape_ascii());
    }

    assert_eq!(service.seen().iter().map(|seen| seen.head.clone()).collect::<Vec<_>>(), Vec::<String>::new());
}

/// RFC 9113 section 8.1.1: a stream that goes on behind its announced length is malformed, however long it waits before it does.
#[tokio::test]
async fn last_announced_byte_over_http2_reaches_the_service_only_with_the_end_of_its_stream() {
    let service = site().await.service("h2length", |_| ok("served"));
    let mut frames = Frames::connect(site().await, Some(source(64)), &[]).await;
    let head = |stream, more: &[(&str, &str)]| wire::request(stream, "POST", "/h2length", &[&[("content-length", "3")], more].concat(), 0);
    // The server answers frames in order: behind this it has taken all that came before.
    let taken = async |frames: &mut Frames| {
        frames.send(frame(PING, 0, 0, b"so far..")).await;
        while let Some(next) = frames.next().await.filter(|next| next.kind != PING) {
            assert_ne!(next.kind, HEADERS, "nothing is answered before the end: {next:?}");
        }
    };

    frames.send([head(1, &[]), frame(DATA, 0, 1, b"GET")].concat()).await;
    taken(&mut frames).await;
    frames.send(frame(DATA, END_STREAM, 1, b" /evil HTTP/1.1\r\n\r\n")).await;
    let answer = frames.stream(1).await;
    assert!(answer.iter().find(|frame| frame.kind == HEADERS).is_none_or(|head| wire::status(&head.payload) == 400), "{answer:?}");

    frames.send([head(3, &[]), frame(DATA, 0, 3, b"end")].concat()).await;
    taken(&mut frames).await;
    frames.send(frame(DATA, END_STREAM, 3, b"")).await;
    assert_eq!(wire::status(&frames.stream(3).await[0].payload), 200);
    frames.send([head(5, &[]), frame(DATA, 0, 5, b"bye"), frame(HEADERS, 5, 5, &block(&[("x-sum", "1")]))].concat()).await;
    assert_eq!(wire::status(&frames.stream(5).await[0].payload), 200);

    // A body announced as empty: the service would take the head alone for the whole request.
    let empty = |stream| wire::request(stream, "POST", "/h2length", &[("content-length", "0")], 0);
    frames.send(empty(7)).await;
    taken(&mut frames).await;
    frames.send(frame(DATA, END_STREAM, 7, b"evil")).await;
    let answer = frames.stream(7).await;
    assert!(answer.iter().find(|frame| frame.kind == HEADERS).is_none_or(|head| wire::status(&head.payload) == 400), "{answer:?}");
    frames.send(empty(9)).await;
    taken(&mut frames).await;
    frames.send(frame(DATA, END_STREAM, 9, b"")).await;
    assert_eq!(wire::status(&frames.stream(9).await[0].payload), 200);

    let seen: Vec<_> = service.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert_eq!(seen, ["end", "bye", ""]);
}

/// RFC 9110 section 9.3.2; over HTTP/2 nothing below us takes the bytes of a problem away.
#[tokio::test]
async fn answers_to_head_have_no_body_over_either_protocol() {
    let _service = site().await.service("head", |_| vec![Act::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"))]);

    for (path, expected) in [("/head", 200), ("/keyed", 401), ("/nowhere", 404)] {
        let mut frames = Frames::connect(site().await, Some(source(4)), &[]).await;
        frames.send(wire::request(1, "HEAD", path, &[], END_STREAM)).await;
        let answer = frames.stream(1).await;
        assert_eq!(answer.len(), 1, "{path}: {answer:?}");
        assert_eq!((answer[0].kind, wire::status(&answer[0].payload)), (HEADERS, expected), "{path}");
        let mut wire = Wire::http1(site().await).await;
        for _ in 0..2 {
            wire.send(format!("HEAD {path} HTTP/1.1\r\n{HEAD}\r\n")).await;
            assert_eq!(wire.head_answer().await.unwrap().status, expected, "{path}");
        }
    }
}

/// RFC 9113 section 8.2.3: an HTTP/1.1 service reads one `Cookie` field.
#[tokio::test]
async fn cookies_of_an_http2_request_arrive_as_one_field() {
    let service = site().await.service("cookies", |_| ok("served"));
    let mut frames = Frames::connect(site().await, None, &[]).await;

    frames.send(wire::request(1, "GET", "/cookies", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")], END_STREAM)).await;
    let answer = frames.stream(1).await;

    assert!(answer.iter().all(|frame| frame.kind != RST_STREAM), "{answer:?}");
    assert_eq!(service.seen()[0].header("cookie"), ["a=1; b=2; c=3"]);
    assert!(service.seen()[0].header("via")[0].starts_with("2 causeway-eu-west-"));
}

#[tokio::test]
async fn both_protocols_take_the_same_number_of_headers() {
    let site = site().await;
    let _service = site.service("respond", |_| ok("served"));

    for (version, count, expected) in [(Version::Http1, 80, 200), (Version::Http2, 80, 200), (Version::Http1, 150, 431), (Version::Http2, 150, 431)] {
        let request = (0..count).fold(site.http(version).get(site.url("/respond")), |request, n| request.header(format!("x-{n}"), "1"));
        assert_eq!(request.send().await.unwrap().status(), expected, "{version:?}, {count}");
    }
}
