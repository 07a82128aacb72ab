//! The recording upstream records and misbehaves as told.

use std::time::Duration;

use harness::upstream::{Behavior, Recorder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(10);
const GET: &[u8] = b"GET /a%2Fb?c=d HTTP/1.1\r\nhost: x\r\nx-one: 1\r\nx-one: 2\r\n\r\n";

async fn exchange(upstream: &Recorder, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream.address()).await?;
    stream.write_all(request).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the answer ends")?;
    Ok(answer)
}

#[tokio::test]
async fn request_is_recorded_as_it_was_sent() {
    let upstream = Recorder::start(Behavior::ok("fine")).await.unwrap();

    let answer = exchange(&upstream, GET).await.unwrap();
    let post = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody";
    exchange(&upstream, post).await.unwrap();

    assert!(answer.ends_with(b"\r\n\r\nfine"), "{}", String::from_utf8_lossy(&answer));
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].target, "/a%2Fb?c=d");
    let values: Vec<_> = seen[0].headers.get_all("x-one").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(seen[1].body.as_deref(), Ok(b"body".as_slice()));
    assert_eq!((seen[0].connection, seen[1].connection), (0, 1));
}

#[tokio::test]
async fn request_that_breaks_off_is_recorded_as_broken() {
    let upstream = Recorder::start(Behavior::ok("fine")).await.unwrap();

    let cut = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf";
    exchange(&upstream, cut).await.unwrap();

    assert_eq!(upstream.seen()[0].body.as_deref(), Err(&b"half"[..].into()));
}

#[tokio::test]
async fn close_early_answers_nothing_and_reset_is_a_reset() {
    let upstream = Recorder::start(Behavior::close_early()).await.unwrap();

    let closed = exchange(&upstream, GET).await.unwrap();
    upstream.behave(Behavior::reset());
    let reset = exchange(&upstream, GET).await;

    assert!(closed.is_empty());
    assert_eq!(reset.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn lies_about_length_are_written_as_told() {
    let cases = [(Behavior::promises_too_much(), "content-length: 100\r\n\r\n0123456789"), (Behavior::truncated(), "A\r\nhalf")];

    for (behavior, end) in cases {
        let upstream = Recorder::start(behavior).await.unwrap();
        let answer = exchange(&upstream, GET).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.ends_with(end), "{answer:?}");
    }
}

#[tokio::test]
async fn second_answer_is_smuggled_behind_the_first() {
    let upstream = Recorder::start(Behavior::sends_more_than_promised()).await.unwrap();
    let mut stream = TcpStream::connect(upstream.address()).await.unwrap();

    stream.write_all(GET).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"stolen") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "it stays open");
        }
    };
    timeout(LIMIT, read).await.unwrap();

    assert!(String::from_utf8(answer).unwrap().contains("\r\n\r\n0123HTTP/1.1 200"));
}

#[tokio::test]
async fn slow_upstream_waits_before_the_head_and_hanging_one_never_answers() {
    let upstream = Recorder::start(Behavior::Slow {
        before_head: Duration::from_millis(100),
        before_piece: Duration::from_millis(100),
        pieces: vec!["one".into(), "two".into()],
    })
    .await
    .unwrap();

    let began = Instant::now();
    let answer = exchange(&upstream, GET).await.unwrap();
    let took = began.elapsed();
    upstream.behave(Behavior::Hang);
    let hung = timeout(Duration::from_millis(200), exchange(&upstream, GET)).await;

    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(String::from_utf8(answer).unwrap().contains("3\r\none\r\n3\r\ntwo\r\n0\r\n"));
    assert!(hung.is_err());
    assert_eq!(upstream.seen().len(), 2, "it took the request");
}
