//! How a node leaves: told first, then nothing new, then nothing cut before the deadline.

use std::time::{Duration, Instant};

use harness::wait;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::operation::Station;
use crate::site::SOON;
use crate::wire::{self, END_STREAM, Frames, GOAWAY, HEADERS, Wire, tcp};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test's own clock and tasks")]
async fn node_that_stops_says_so_then_takes_leave_of_each_client_and_cuts_nothing_before_the_deadline() {
    let station = Station::start(|text| format!("{text}drain: {{ delay: 1500ms, timeout: 6s }}\n")).await;
    let mut node = station.serve().await;
    let key = station.calls.first_key().to_owned();
    let mut kept = Wire::connect(station.address(), station.ca(), "http/1.1", None).await;
    assert!(kept.get("/none").await.is_some());
    let mut frames = Frames::connect_to(station.address(), station.ca(), None, &[]).await;
    let call = |path: &'static str| {
        let (calls, region, key) = (station.calls.clone(), station.region.clone(), key.clone());
        tokio::spawn(async move { calls.get(&region, path, &key).await.map(|answer| answer.status) })
    };
    let (short, long) = (call("/demo/v1/slow?ms=4000"), call("/demo/v1/slow?ms=14000"));
    let fields = [("x-api-key", key.as_str())];
    assert!(frames.send(wire::request(1, "GET", "/demo/v1/slow?ms=3500", &fields, END_STREAM)).await);
    wait::until("three requests in flight", SOON, async || station.metric("causeway_connections_open").await >= 4.0).await.unwrap();

    let began = Instant::now();
    node.process.signal(Signal::TERM);
    let unready = wait::until("a node out of rotation", SOON, async || {
        station.calls.readiness(&station.region).await.is_ok_and(|(status, text)| status == 503 && text.contains("the node is stopping"))
    });
    assert!(unready.await.unwrap() < Duration::from_millis(1_400));
    let answer = kept.get("/none").await.unwrap();
    assert_eq!(answer.header("connection"), None, "nothing else changes at first");

    let mut is_answered = false;
    loop {
        let frame = frames.next().await.expect("GOAWAY comes before the end");
        is_answered |= frame.kind == HEADERS && frame.stream == 1;
        if frame.kind == GOAWAY {
            break;
        }
    }
    assert!(!is_answered && began.elapsed() > Duration::from_millis(1_400), "after the delay: {:?}", began.elapsed());
    let answer = kept.get("/none").await.expect("a kept connection gets one more answer");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(kept.closes(SOON).await);

    let status = loop {
        let frame = frames.next().await.expect("a stream from before GOAWAY is served");
        if frame.kind == HEADERS && frame.stream == 1 {
            break wire::status(&frame.payload);
        }
    };
    assert_eq!(status, 200);
    assert_eq!(short.await.unwrap().unwrap(), 200, "what ends before the deadline is not cut");
    let cut = long.await.unwrap();
    assert!(cut.is_err(), "what does not is: {cut:?}");
    let took = began.elapsed();
    assert!(took > Duration::from_millis(7_400) && took < Duration::from_secs(12), "the deadline is 6 s after the delay: {took:?}");
    assert_eq!(node.ended(SOON).await, Some(0), "{}", node.log());
    station.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_port_ends_garbage_in_order_and_tells_plain_http_what_it_is() {
    let site = crate::site::site().await;
    let to = site.region().control.strip_prefix("https://").unwrap().parse().unwrap();
    let answer = async |bytes: &[u8]| {
        let mut stream = tcp(to, None).await;
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        let ended = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends");
        assert!(ended.is_ok(), "in order, not by a reset: {ended:?} after {}", bytes.escape_ascii());
        String::from_utf8_lossy(&answer).into_owned()
    };

    let told = answer(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("tls-required") && told.contains("https://"), "{told}");
    for bytes in [&[0_u8; 64][..], &[0xff; 4_096], b"ssh-2.0-x\r\n", &[0x16; 512]] {
        assert!(answer(bytes).await.len() < 64);
    }
}
