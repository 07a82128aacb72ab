//! Bytes on streams of QUIC that no client of HTTP/3 would send.

use std::time::Duration;

use harness::wait;
use quinn::{ConnectionError, VarInt};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Place, none};
use crate::site::{SOON, source};

const DATA: u64 = 0;
const HEADERS: u64 = 1;
const SETTINGS: u64 = 4;
const GOAWAY: u64 = 7;
/// A frame without a meaning (RFC 9114 section 7.2.8).
const GREASE: u64 = 0x21;

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/open/bare")];

/// An integer of four bytes (RFC 9000 section 16).
fn integer(value: usize) -> [u8; 4] {
    (u32::try_from(value).unwrap() | 0x8000_0000).to_be_bytes()
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [&[u8::try_from(kind).unwrap()][..], &integer(payload.len()), payload].concat()
}

/// A field section with everything written out (RFC 9204 section 4.5.6).
fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    let number = |out: &mut Vec<u8>, pattern: u8, max: usize, value: usize| {
        if value < max {
            return out.push(pattern | u8::try_from(value).unwrap());
        }
        out.push(pattern | u8::try_from(max).unwrap());
        let mut left = value - max;
        while left >= 128 {
            out.push(u8::try_from(left & 127).unwrap() | 128);
            left >>= 7;
        }
        out.push(u8::try_from(left).unwrap());
    };
    for (name, value) in fields {
        number(&mut out, 0x20, 7, name.len());
        out.extend_from_slice(name.as_bytes());
        number(&mut out, 0, 127, value.len());
        out.extend_from_slice(value.as_bytes());
    }
    out
}

fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, &section(fields))
}

/// Sends bytes on a request stream of their own and reads what comes back; `None` when the stream is reset.
async fn ask(connection: &quinn::Connection, bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    // A server that answers early need not read to the end.
    drop(send.write_all(bytes).await);
    drop(send.finish());
    timeout(SOON, receive.read_to_end(1 << 20)).await.expect("an answer, or a reset").ok()
}

/// The statuses of the answers here, as they begin (RFC 9204 appendix A): indexed, or with the name of index 24.
fn status(answer: &[u8]) -> u16 {
    let begin = answer.windows(2).position(|pair| pair == [0, 0]).expect("a section") + 2;
    match &answer[begin..] {
        [0xd9, ..] => 200,
        [0xff, 4, ..] => 400,
        [0x5f, 9, 3, digits @ ..] => std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap(),
        other => panic!("an unknown status: {}", other.escape_ascii()),
    }
}

/// With what the server closes.
async fn closed(connection: &quinn::Connection) -> u64 {
    let why = timeout(SOON, connection.closed()).await.expect("the connection ends");
    let ConnectionError::ApplicationClosed(close) = &why else { panic!("{why}") };
    close.error_code.into_inner()
}

/// Heads with more than one reading, and heads that are too large: a problem each, and a record.
pub(super) async fn malformed_heads(place: &Place) {
    let connection = place.bare(92).await;
    let with = |more: &[(&'static str, &'static str)]| GET.iter().chain(more).copied().collect::<Vec<_>>();
    let cases = [
        with(&[(":path", "/open/other")]),
        with(&[("connection", "close")]),
        with(&[("te", "gzip")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("X-Upper", "a")]),
        with(&[("x-blank", " a")]),
        with(&[("x-break", "a\r\nx-api-key: b")]),
        [("accept", "*/*")].into_iter().chain(GET).collect(),
        GET[..3].to_vec(),
    ];
    for fields in &cases {
        let answer = ask(&connection, &head(fields)).await.unwrap();
        assert_eq!(status(&answer), 400, "{fields:?}");
        assert!(String::from_utf8_lossy(&answer).contains("request-malformed"), "{fields:?}");
    }
    let large = "v".repeat(20_000);
    let fields: Vec<_> = GET.iter().copied().chain([("x-large", large.as_str())]).collect();
    let bomb = [&section(&GET)[..], &[0xf4].repeat(500)].concat();
    let endless = [&[1][..], &[0xc0, 0, 0, 1, 0, 0, 0, 0], &vec![0; 20_000]].concat();
    for bytes in [head(&fields), frame(HEADERS, &bomb), endless] {
        let answer = ask(&connection, &bytes).await.unwrap();
        assert!(status(&answer) == 431 && String::from_utf8_lossy(&answer).contains("headers-too-large"));
    }
    assert_eq!(status(&ask(&connection, &head(&GET)).await.unwrap()), 200, "the connection goes on");
    assert_eq!(place.service.seen().iter().filter(|seen| seen.line().contains("/open/bare")).count(), 1, "the service saw the last one alone");
    let record =
        place.record_where("convert_from(event, 'UTF8') like '%127.99.92.1%' and convert_from(event, 'UTF8') like '%headers-too-large%'").await;
    assert_eq!(record["protocol"], Value::from("h3"), "{record}");
}

/// What breaks the protocol ends the connection with the code that says why.
pub(super) async fn broken_protocol(place: &Place) {
    let settings = [&[0][..], &frame(SETTINGS, &[])].concat();
    let request: [(&str, Vec<u8>, u64); 6] = [
        ("DATA before a head", frame(DATA, b"x"), 0x105),
        ("settings on a request", frame(SETTINGS, &[]), 0x105),
        ("a frame of HTTP/2", [head(&GET), frame(6, b"")].concat(), 0x105),
        ("a third section", [head(&GET), frame(HEADERS, &section(&[("x-a", "b")])), frame(HEADERS, &section(&[]))].concat(), 0),
        ("half a frame", vec![1, 0x40], 0x106),
        ("a dynamic entry", frame(HEADERS, &[0, 0, 0x80]), 0x200),
    ];
    for (what, bytes, code) in request {
        let connection = place.bare(93).await;
        let asked = ask(&connection, &bytes).await;
        if code == 0 {
            // Nobody reads behind trailers; the request is over with them.
            assert_eq!(status(&asked.unwrap()), 200, "{what}");
            continue;
        }
        assert_eq!(closed(&connection).await, code, "{what}");
    }
    let about: [(&str, Vec<u8>, u64); 9] = [
        ("no settings", [&[0][..], &frame(GOAWAY, &[0])].concat(), 0x10a),
        ("settings twice", [&settings[..], &frame(SETTINGS, &[])].concat(), 0x105),
        ("a setting of HTTP/2", [&[0][..], &frame(SETTINGS, &[2, 0])].concat(), 0x109),
        ("endless settings", [&[0, 4][..], &integer(1 << 20)].concat(), 0x107),
        ("DATA about the connection", [&settings[..], &frame(DATA, b"x")].concat(), 0x105),
        ("a push that nobody promised", [&settings[..], &frame(3, &[0])].concat(), 0x108),
        ("pushes by a client", vec![1, 0], 0x103),
        ("an entry for the table", vec![2, 0x3f, 0xe1, 0x1f], 0x201),
        ("an acknowledgment of nothing", vec![3, 0x84], 0x202),
    ];
    for (what, bytes, code) in about {
        let connection = place.bare(94).await;
        connection.open_uni().await.unwrap().write_all(&bytes).await.unwrap();
        assert_eq!(closed(&connection).await, code, "{what}");
    }
    let connection = place.bare(94).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&settings).await.unwrap();
        streams.push(stream);
    }
    assert_eq!(closed(&connection).await, 0x103, "two control streams");
    let connection = place.bare(94).await;
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&settings).await.unwrap();
    stream.finish().unwrap();
    assert_eq!(closed(&connection).await, 0x104, "a control stream that ends");
}

/// A body that is longer or shorter than its head says never reaches a service as a whole request.
pub(super) async fn bodies_of_another_length(place: &Place) {
    let connection = place.bare(95).await;
    for (path, body) in [("/open/shorter", &b"abc"[..]), ("/open/longer", b"abcdefg")] {
        let fields = [(":method", "POST"), GET[1], GET[2], (":path", path), ("content-length", "5")];
        let answer = ask(&connection, &[head(&fields), frame(DATA, body)].concat()).await;
        assert!(answer.is_none_or(|answer| status(&answer) != 200), "{path}");
        assert!(place.seen(path).is_none(), "{path}: the service saw a request");
    }
    // The excess comes later than all that was announced, and the service has seen nothing until then.
    for (path, length, begin) in [("/open/later", "5", frame(DATA, b"abcde")), ("/open/empty", "0", Vec::new())] {
        let fields = [(":method", "POST"), GET[1], GET[2], (":path", path), ("content-length", length)];
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&[head(&fields), begin].concat()).await.unwrap();
        // Streams are served side by side: behind ten answers the gateway has read what came before.
        for _ in 0..10 {
            assert_eq!(status(&ask(&connection, &head(&GET)).await.unwrap()), 200);
        }
        assert!(place.seen(path).is_none(), "{path}: a request whose end is not known");
        drop(send.write_all(&frame(DATA, b"fg")).await);
        drop(send.finish());
        let answer = timeout(SOON, receive.read_to_end(1 << 20)).await.expect("an answer, or a reset").ok();
        assert!(answer.is_none_or(|answer| answer.is_empty() || status(&answer) != 200), "{path}");
        assert!(place.seen(path).is_none(), "{path}: the service saw a request");
    }
    let fields = [(":method", "POST"), GET[1], GET[2], (":path", "/open/exact"), ("content-length", "5")];
    let body = [frame(DATA, b"ab"), frame(DATA, b""), frame(GREASE, b"zzz"), frame(DATA, b"cde")].concat();
    assert_eq!(status(&ask(&connection, &[head(&fields), body].concat()).await.unwrap()), 200);
    assert_eq!(place.seen("/open/exact").unwrap().body, b"abcde", "empty and unknown frames are no part of it");
}

/// Each flood ends its connection, or costs the node nothing, while others are served.
pub(super) async fn floods(place: &Place) {
    let connection = place.bare(96).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    let post = [(":method", "POST"), GET[1], GET[2], (":path", "/open/flood")];
    send.write_all(&head(&post)).await.unwrap();
    let many = frame(GREASE, b"").repeat(1_000);
    for _ in 0..1_000 {
        if send.write_all(&many).await.is_err() {
            break;
        }
    }
    assert_eq!(closed(&connection).await, 0x107, "frames that move nothing");

    let connection = place.bare(96).await;
    let mut n = 0;
    while n < 20_000 && connection.close_reason().is_none() {
        let Ok((mut send, mut receive)) = connection.open_bi().await else { break };
        drop(send.write_all(&head(&GET)).await);
        drop(send.reset(VarInt::from_u32(0x10c)));
        drop(receive.stop(VarInt::from_u32(0x10c)));
        n += 1;
    }
    assert_eq!(closed(&connection).await, 0x107, "requests that are given up at once: {n}");

    // 32 MiB of a frame without a meaning pass by; none of it is kept.
    let memory = || {
        let text = std::fs::read_to_string(format!("/proc/{}/status", place.node.process.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    let connection = place.bare(96).await;
    let before = memory();
    let body = [&[0x21][..], &integer(32 << 20), &vec![0; 32 << 20]].concat();
    let answer = ask(&connection, &[head(&post), body, frame(DATA, b"end")].concat()).await.unwrap();
    assert_eq!(status(&answer), 200);
    let growth = memory().saturating_sub(before);
    assert!(growth < 16 << 20, "the node grew by {growth} bytes");
    let mut client = place.client(97).await;
    assert_eq!(place.send(&mut client, "GET", "/open/meanwhile", &[], none()).await.status, 200);
}

/// A head that does not come to its end ends its stream; an idle connection ends in order, with nothing said against it.
pub(super) async fn half_a_head(place: &Place) {
    let connection = place.bare(98).await;
    let began = Instant::now();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&head(&GET)[..20]).await.unwrap();
    let reset = timeout(SOON, receive.read_to_end(1_000)).await.expect("an end").unwrap_err();
    assert!(matches!(reset, quinn::ReadToEndError::Read(quinn::ReadError::Reset(code)) if code == VarInt::from_u32(0x10d)), "{reset}");
    assert!(began.elapsed() > Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!(status(&ask(&connection, &head(&GET)).await.unwrap()), 200, "the connection goes on");

    let began = Instant::now();
    assert_eq!(closed(&connection).await, 0x100, "an idle connection");
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
}

/// One address holds so many connections and no more; a place that is given back is taken again.
pub(super) async fn places(place: &Place) {
    let from = Some(source(99));
    let open = async || harness::http3::connect(place.station.address(), from, "localhost", place.station.ca()).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(open().await.unwrap());
    }
    assert!(open().await.is_err(), "a seventh connection");
    held.pop().unwrap().close(VarInt::from_u32(0x100), b"");
    wait::until("the place that was given back", SOON, async || open().await.is_ok()).await.unwrap();
}

/// A client that comes back may resume its session, and may not send anything before the handshake is over.
pub(super) async fn early_data(place: &Place) {
    let (endpoint, config) = harness::http3::endpoint(Some(source(100)), place.station.ca()).unwrap();
    let connect = || endpoint.connect_with(config.clone(), place.station.address(), "localhost").unwrap();
    let connection = connect().await.unwrap();
    // The ticket comes behind the handshake, in time for an answer.
    assert_eq!(status(&ask(&connection, &head(&GET)).await.unwrap()), 200);

    let again = connect().into_0rtt().err().expect("early data is not offered");
    assert_eq!(status(&ask(&again.await.unwrap(), &head(&GET)).await.unwrap()), 200);
}
