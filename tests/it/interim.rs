//! Interim responses of services (RFC 9110 section 15.2) are passed over, and a service that sends nothing else is not waited for.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::arena::{Part, arena, part, patient};
use crate::service::read_request;

const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";

/// The services of these tests, on the arena.
pub(crate) fn parts() -> Vec<Part> {
    let brief = json!({ "connect": "2s", "response": "1s", "idle": "3s" });
    vec![
        part("drip", 1, json!({ "outliers": patient() }), json!({})),
        part("flooded", 1, json!({ "protocol": "http2", "outliers": patient(), "timeouts": brief }), json!({})),
    ]
}

/// They come one by one, as they do in an attack that wants to be waited for.
#[tokio::test]
async fn interim_responses_without_end_are_an_invalid_answer() {
    let arena = arena().await;
    let listener = arena.listener("drip", 0);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let Ok(seen) = read_request(&mut stream, &mut Vec::new(), 0).await else { continue };
            let hints = if seen.line().contains("/16") { 16 } else { 17 };
            let mut pulse = tokio::time::interval(Duration::from_millis(5));
            for _ in 0..hints {
                stream.write_all(HINT).await.unwrap();
                pulse.tick().await;
            }
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nfinal").await);
        }
    });

    assert_eq!(arena.get("/drip/16").await, (200, "final".to_owned()));
    let (status, text) = arena.get("/drip/17").await;

    assert!(status == 502 && text.contains("upstream-malformed"), "{status}: {text}");
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM_AND_HEADERS: u8 = 5;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `:status`, written out (RFC 7541 section 6.2.2).
fn status(text: &str) -> Vec<u8> {
    [&[0x08, 3], text.as_bytes()].concat()
}

/// Speaks HTTP/2: the first request of a connection gets hints until it is reset, the others an answer.
async fn flood(mut stream: TcpStream) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut from, mut to) = stream.into_split();
    let (mut victim, mut hints) = (None, JoinSet::<()>::new());
    let (frames, mut written) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        while let Some(frame) = written.recv().await {
            to.write_all(&frame).await.ok();
        }
    });
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        from.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(stream);
        match kind {
            SETTINGS if flags == 0 => drop(frames.send(frame(SETTINGS, 1, 0, &[])).await),
            HEADERS if victim.is_none() => {
                victim = Some(stream);
                let frames = frames.clone();
                let many = frame(HEADERS, END_HEADERS, stream, &status("103")).repeat(100);
                hints.spawn(async move { while frames.send(many.clone()).await.is_ok() {} });
            }
            HEADERS => drop(frames.send(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &status("204"))).await),
            // The reset: other streams go on.
            3 if victim == Some(stream) => hints.abort_all(),
            _ => {}
        }
    }
}

/// Over HTTP/2 they are passed over below us, unseen; the deadline ends them, and the connection serves its other requests.
#[tokio::test]
async fn flood_of_interim_responses_ends_with_its_request() {
    let arena = arena().await;
    let listener = arena.listener("flooded", 0);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            open.spawn(async move { drop(flood(stream).await) });
        }
    });
    // One client connection: one core, and so one connection to the service.
    let http = arena.http();
    let get = async || http.get(arena.url("/flooded/x")).send().await.unwrap().status().as_u16();
    let began = Instant::now();

    assert_eq!(get().await, 504);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(get().await, 204, "the connection goes on");
}
