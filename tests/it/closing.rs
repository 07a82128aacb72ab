//! A connection that ends behind an answer says so in the answer, and the answer arrives (RFC 9112 section 9.6, RFC 9113 section 6.8).

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::service::{ok, read_request};
use crate::site::{SOON, site};
use crate::wire::{self, DATA, END_STREAM, Frames, GOAWAY, PING, RST_STREAM, Wire, block, frame};

const HEAD: &str = "host: 127.0.0.1\r\n";

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\n{HEAD}{fields}\r\n\r\n{body}")
}

/// Each of these answers comes before the whole request has; nothing else makes the connection end.
#[tokio::test]
async fn refused_body_that_is_not_read_ends_the_connection_and_the_answer_says_so() {
    let chunks = "5\r\nabcde\r\n".repeat(3);
    for (fields, body) in [
        ("content-length: 1000000", "some"),
        ("transfer-encoding: chunked", chunks.as_str()),
        ("transfer-encoding: chunked", "5\r\nabcde\r\n0\r\n\r\n"),
        ("expect: 100-continue\r\ncontent-length: 5", ""),
    ] {
        let mut wire = Wire::http1(site().await).await;
        wire.send(post("/nowhere", fields, body)).await;

        let answer = wire.answer().await.unwrap();

        assert_eq!((answer.status, answer.header("connection")), (404, Some("close")), "{fields:?} {body:?}");
        assert!(wire.closes(SOON).await, "{fields:?} {body:?}");
    }
}

/// A client that looks for the answer only when it has sent everything would lose it to a reset.
#[tokio::test]
async fn answer_to_an_upload_that_is_refused_reaches_a_client_that_sends_it_all_first() {
    let body = "a".repeat(8 << 20);
    let mut wire = Wire::http1(site().await).await;

    let is_sent = wire.send(post("/nowhere", &format!("content-length: {}", body.len()), &body)).await;
    let answer = wire.answer().await.expect("the answer is not lost");
    assert!(is_sent, "the connection was reset while the client was sending");

    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
    assert!(wire.closes(SOON).await);
}

/// Over HTTP/2 a client may still be sending when it is refused. One that has its answer, and a reset in the same breath, may report
/// the reset and lose the answer; so the reset waits for a moment, and need not come at all.
#[tokio::test]
async fn upload_that_is_refused_over_http2_can_be_finished_and_is_reset_when_it_goes_on() {
    let mut frames = Frames::connect(site().await, None, &[]).await;
    let refused = async |frames: &mut Frames, id: u32| {
        frames.send([wire::request(id, "POST", "/nowhere", &[], 0), frame(DATA, 0, id, b"some")].concat()).await;
        let answer = frames.stream(id).await;
        assert_eq!(wire::status(&answer[0].payload), 404);
        assert!(answer.last().is_some_and(|last| last.kind != RST_STREAM), "the whole answer comes before a reset");
    };

    refused(&mut frames, 1).await;
    frames.send([frame(DATA, END_STREAM, 1, b"the rest"), frame(PING, 0, 0, b"finished")].concat()).await;
    // The server answers frames in order.
    while let Some(next) = frames.next().await.filter(|next| next.kind != PING) {
        assert_ne!(next.kind, RST_STREAM, "the client has finished");
    }

    refused(&mut frames, 3).await;
    let mut reset = frames.next().await;
    while reset.as_ref().is_some_and(|next| next.kind != RST_STREAM) {
        reset = frames.next().await;
    }
    let reset = reset.expect("a reset, and the connection goes on");
    assert_eq!((reset.stream, reset.payload.as_slice()), (3, [0; 4].as_slice()), "NO_ERROR: the answer counts");
    refused(&mut frames, 5).await;
}

#[tokio::test]
async fn connection_goes_on_behind_bodies_that_were_read_or_passed_over() {
    let service = site().await.service("reread", |_| ok("served"));
    let mut wire = Wire::http1(site().await).await;

    for (path, fields, body, status) in [
        ("/reread", "content-length: 5", "abcde", 200),
        ("/nowhere", "content-length: 5", "abcde", 404),
        ("/reread", "transfer-encoding: chunked", "5\r\nabcde\r\n5\r\nabcde\r\n0\r\n\r\n", 200),
        ("/reread", "transfer-encoding: chunked", "5\r\nabcde\r\n0\r\nx-sum: 1\r\n\r\n", 200),
        ("/nowhere", "content-length: 0", "", 404),
        ("/reread", "content-length: 0", "", 200),
    ] {
        wire.send(post(path, fields, body)).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, None), "{path} {fields}");
    }

    assert_eq!(service.seen().len(), 4);
}

/// The service answers as soon as it has the head; what the client still sends will not be read.
#[tokio::test]
async fn answer_that_comes_before_the_request_is_whole_says_that_the_connection_ends() {
    let listener: TcpListener = site().await.listener("hasty");
    let (told, go_on) = tokio::sync::oneshot::channel();
    let service = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            assert!(tokio::io::AsyncReadExt::read_buf(&mut stream, &mut head).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nso").await.unwrap();
        go_on.await.unwrap();
        stream.write_all(b"on").await.unwrap();
        stream
    };
    let client = async {
        let mut wire = Wire::http1(site().await).await;
        wire.send(post("/hasty", "content-length: 1000000", "some")).await;
        let answer = wire.head_answer().await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        told.send(()).unwrap();
        assert_eq!(wire.some(4).await, b"soon");
        assert!(wire.closes(SOON).await);
    };
    let (stream, ()) = tokio::join!(service, client);
    drop(stream);
}

/// Reads a request whole: the service above this module's tests does it by itself.
#[tokio::test]
async fn body_that_follows_its_head_late_is_read_and_the_connection_goes_on() {
    let listener: TcpListener = site().await.listener("unhurried");
    let service = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut left = Vec::new();
        for turn in 0..2 {
            drop(read_request(&mut stream, &mut left, turn).await.unwrap());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
        }
        stream
    };
    let client = async {
        let mut wire = Wire::http1(site().await).await;
        for _ in 0..2 {
            wire.send(post("/unhurried", "expect: 100-continue\r\ncontent-length: 5", "")).await;
            assert_eq!(wire.answer().await.unwrap().status, 100);
            wire.send("abcde").await;
            let answer = wire.answer().await.unwrap();
            assert_eq!((answer.status, answer.header("connection")), (200, None));
        }
    };
    let (stream, ()) = tokio::join!(service, client);
    drop(stream);
}

/// A client that floods its connection is told to calm down, and which of its requests was the last that was served.
#[tokio::test]
async fn flood_of_frames_ends_with_a_word_and_the_last_stream() {
    let site = site().await;
    let _service = site.service("calm", |_| ok("served"));
    for flood in
        [frame(PING, 0, 0, &[1; 8]), frame(4, 0, 0, &[]), frame(2, 0, 1, &[0, 0, 0, 0, 1]), frame(8, 0, 0, &[0, 0, 0, 1]), frame(0xbe, 0, 0, &[])]
    {
        let mut frames = Frames::connect(site, None, &[]).await;
        frames.send(wire::request(1, "GET", "/calm", &[], END_STREAM)).await;
        assert!(!frames.stream(1).await.is_empty());

        let (mut goaway, mut rounds) = (None, 0);
        while goaway.is_none() {
            rounds += 1;
            assert!(rounds < 100, "100,000 frames of kind {} are borne", flood[3]);
            frames.send(flood.repeat(1_000)).await;
            frames.send(frame(PING, 0, 0, b"are we?!")).await;
            loop {
                match frames.next().await {
                    Some(frame) if frame.kind == GOAWAY => goaway = Some(frame.payload),
                    // The answer to our question comes behind all others.
                    Some(frame) if frame.kind != PING || frame.payload != b"are we?!" => continue,
                    Some(_) => {}
                    None => panic!("an end without a word, kind {}", flood[3]),
                }
                break;
            }
        }

        let payload = goaway.unwrap();
        assert_eq!(payload[..8], [0, 0, 0, 1, 0, 0, 0, 11], "kind {}: ENHANCE_YOUR_CALM behind stream 1", flood[3]);
    }
}

#[tokio::test]
async fn targets_that_are_not_the_gateways_are_refused() {
    let site = site().await;
    let service = site.service("targets", |_| ok("served"));
    let mut refused = 0;
    for target in ["/targets#part", "xttp://127.0.0.1/targets", "https://me@127.0.0.1/targets", "https://me:secret@127.0.0.1/targets"] {
        let mut wire = Wire::http1(site).await;
        wire.send(format!("GET {target} HTTP/1.1\r\n{HEAD}\r\n")).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "request-malformed"), "{target}");
        refused += 1;
    }
    for (scheme, authority, value) in
        [("xttp", "127.0.0.1", "1"), ("https", "me@127.0.0.1", "1"), ("https", "127.0.0.1", " 1"), ("https", "127.0.0.1", "1\t")]
    {
        let mut frames = Frames::connect(site, None, &[]).await;
        let fields = block(&[(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", "/targets"), ("x-a", value)]);
        frames.send(frame(1, 5, 1, &fields)).await;
        let answer = frames.stream(1).await;
        assert!(
            answer.first().is_some_and(|head| head.kind == 1 && wire::status(&head.payload) == 400),
            "{scheme} {authority} {value:?}: {answer:?}"
        );
        refused += 1;
    }

    let answer = site.http(harness::client::Version::Http1).get(site.url("/targets")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), refused, service.seen().len()), (200, 8, 1));
}
