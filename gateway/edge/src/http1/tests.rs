use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    Answer, Ask, Cause, Failure, Link, Stream,
    chunks::{Chunks, Step},
};
use crate::body::{BodyError, BodyMemory, HeldBody, RequestBody};

const WITHIN: Duration = Duration::from_secs(10);

/// A link, and the service's end of it.
async fn pair() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Link::new(Stream::Plain(near), 0), listener.accept().await.unwrap().0)
}

fn get() -> Ask {
    Ask { head: b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), body: RequestBody::Empty, is_head: false, may_switch: false }
}

/// What a link makes of these bytes, which come in these pieces; the service closes behind them.
async fn read(pieces: Vec<Vec<u8>>, ask: Ask) -> Result<(u16, Result<Vec<u8>, BodyError>, bool), Cause> {
    let (link, mut service) = pair().await;
    service.set_nodelay(true).unwrap();
    let says = async {
        for piece in pieces {
            service.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        service.shutdown().await.unwrap();
        service
    };
    let reads = async {
        let Answer { status, headers: _, mut body } = link.exchange(ask).await.map_err(|failure| failure.cause)?;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(error) => {
                    let again = body.frame().await;
                    assert!(matches!(again, Some(Err(_))), "an error stays one: {again:?}");
                    return Ok((status.as_u16(), Err(error), false));
                }
            }
        }
        assert!(body.is_end_stream());
        Ok((status.as_u16(), Ok(bytes), body.into_link().is_some()))
    };
    tokio::time::timeout(WITHIN, async { tokio::join!(reads, says).0 }).await.unwrap()
}

/// The memory of a body that was held to be checked is wanted by others as soon as its last byte has left, not when the answer ends.
#[tokio::test]
async fn a_whole_body_is_let_go_when_it_has_left() {
    let memory = Arc::new(BodyMemory::new(1 << 20));
    let mut held = HeldBody::new(&memory, 5, 1 << 20).unwrap();
    held.push(b"hello", 1 << 20).unwrap();
    let (link, mut service) = pair().await;
    let ask =
        Ask { head: b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n".to_vec(), body: RequestBody::Whole(Some(held.freeze())), ..get() };
    let says = async {
        let mut got = Vec::new();
        while !got.ends_with(b"hello") {
            service.read_buf(&mut got).await.unwrap();
        }
        service.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await.unwrap();
    };

    let (answer, ()) = tokio::time::timeout(WITHIN, async { tokio::join!(link.exchange(ask), says) }).await.unwrap();

    let mut body = answer.unwrap_or_else(|_| panic!("no answer")).body;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "begun");
    assert_eq!(memory.bytes(), 0, "the answer has not ended");
}

async fn read_whole(text: &str) -> Result<(u16, Result<Vec<u8>, BodyError>, bool), Cause> {
    read(vec![text.as_bytes().to_vec()], get()).await
}

#[tokio::test]
async fn each_framing_ends_where_it_says_and_only_then_is_the_link_kept() {
    for (text, body, is_kept) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc", "abc", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\nt: 1\r\n\r\n", "abc", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", "", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "a", true),
        ("HTTP/1.1 200 OK\r\n\r\nabc", "abc", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc", false),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc", "abc", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n", "abc", false),
        ("HTTP/1.1 204 No Content\r\n\r\nabc", "", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nx", "a", false),
    ] {
        let (_, bytes, kept) = read_whole(text).await.unwrap();
        assert_eq!((bytes.unwrap().as_slice(), kept), (body.as_bytes(), is_kept), "{text}");
    }
}

#[tokio::test]
async fn head_with_two_readings_is_refused() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "\u{16}\u{3}\u{1}",
    ] {
        assert!(matches!(read_whole(text).await, Err(Cause::Malformed(_))), "{text}");
    }
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(17);
    assert!(matches!(read_whole(&interim).await, Err(Cause::Malformed(_))));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(130 << 10));
    assert!(matches!(read_whole(&large).await, Err(Cause::Malformed(_))));
}

#[tokio::test]
async fn body_that_breaks_off_is_an_error_and_never_an_end() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-0\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nbad name: 1\r\n\r\n",
    ] {
        assert_eq!(read_whole(text).await.unwrap().1, Err(BodyError::Broken), "{text}");
    }
    for text in ["", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        assert!(matches!(read_whole(text).await, Err(Cause::Closed)), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever the network cuts, the message is the same.
    #[test]
    fn pieces_do_not_change_the_message(cuts in proptest::collection::vec(0_usize..400, 0..12), is_chunked: bool) {
        let whole: &[u8] = if is_chunked {
            b"HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1e\r\nabcdefghijklmnopqrstuvwxyz0123\r\n0\r\nt: 1\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 31\r\n\r\naabcdefghijklmnopqrstuvwxyz0123"
        };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % whole.len()).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(whole[from..cut].to_vec());
            from = cut;
        }
        pieces.push(whole[from..].to_vec());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (status, bytes, is_kept) = runtime.block_on(read(pieces, get())).unwrap();
        prop_assert_eq!(status, 200);
        prop_assert_eq!(bytes.unwrap(), b"aabcdefghijklmnopqrstuvwxyz0123");
        prop_assert!(is_kept);
    }
}

#[tokio::test]
async fn fields_of_the_connection_and_of_the_gateway_stay_behind() {
    let (link, mut service) = pair().await;
    let text = "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-hop, content-length\r\nx-hop: 1\r\nkeep-alive: 5\r\ncauseway-region: x\r\nte: x\r\n\
                x-empty:\r\nx-goes: 1\r\nx-goes: 2\r\ncontent-length: 0\r\n\r\n";
    service.write_all(text.as_bytes()).await.unwrap();

    let Answer { headers, .. } = link.exchange(get()).await.unwrap();

    let mut fields: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["content-length: 0", "x-empty: ", "x-goes: 1", "x-goes: 2"]);
}

#[tokio::test]
async fn early_answer_is_delivered_while_the_request_is_still_being_sent_and_the_link_is_not_kept() {
    let (link, mut service) = pair().await;
    let body = RequestBody::Whole(Some(Bytes::from(vec![b'x'; 64 << 20])));
    let ask = Ask { head: b"PUT / HTTP/1.1\r\ncontent-length: 67108864\r\n\r\n".to_vec(), body, is_head: false, may_switch: false };
    let says = async {
        let mut some = [0; 1_024];
        service.read_exact(&mut some).await.unwrap();
        service.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
    };

    let answer = tokio::time::timeout(WITHIN, async { tokio::join!(link.exchange(ask), says).0 }).await.unwrap().unwrap();

    assert_eq!(answer.status, 413);
    let mut body = answer.body;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "no");
    assert!(body.is_over() && body.into_link().is_none());
}

#[tokio::test]
async fn stale_link_is_known_before_it_is_used() {
    let (mut link, mut service) = pair().await;
    assert!(!link.is_stale());
    service.write_all(b"HTTP/1.1 408 Timeout\r\n").await.unwrap();
    tokio::time::timeout(WITHIN, async {
        while !link.is_stale() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let (mut link, service) = pair().await;
    drop(service);
    tokio::time::timeout(WITHIN, async {
        while !link.is_stale() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn request_comes_back_when_the_service_closed_before_it_answered() {
    let (link, service) = pair().await;
    let says = async {
        let mut service = service;
        let mut some = [0; 8];
        service.read_exact(&mut some).await.unwrap();
    };
    let (failed, ()) = tokio::join!(link.exchange(get()), says);

    let Failure { cause, is_sent, is_answered, body } = failed.unwrap_err();

    assert!(matches!(cause, Cause::Closed | Cause::Io(_)));
    assert!(is_sent && !is_answered);
    assert!(matches!(body, Some(RequestBody::Empty)));
}

/// A switch that was asked for is the end of the answer, and what stands behind it belongs to the other protocol.
#[tokio::test]
async fn a_switch_that_was_asked_for_gives_the_connection_away() {
    let switch = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\nbytes behind");
    for (fields, is_good) in [
        ("connection: upgrade\r\nupgrade: websocket\r\n", true),
        ("connection: keep-alive, Upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n", true),
        ("upgrade: websocket\r\n", false),
        ("connection: keep-alive\r\nupgrade: websocket\r\n", false),
    ] {
        let (link, mut service) = pair().await;
        service.write_all(switch(fields).as_bytes()).await.unwrap();
        let answered = tokio::time::timeout(WITHIN, link.exchange(Ask { may_switch: true, ..get() })).await.unwrap();
        assert_eq!(answered.is_ok(), is_good, "{fields}");
        let Ok(Answer { status, headers, body }) = answered else { continue };
        assert_eq!((status.as_u16(), headers.get("upgrade").unwrap().as_bytes()), (101, &b"websocket"[..]));
        let (mut stream, early) = body.into_switched().unwrap();
        let mut more = [0; 4];
        service.write_all(b"more").await.unwrap();
        assert_eq!(early, "bytes behind");
        stream.read_exact(&mut more).await.unwrap();
        assert_eq!(&more, b"more");
    }
}

/// The pieces of a chunked body that comes at once, and how it ends: true for its end, false for more to come.
fn chunked(text: &str) -> (Vec<Bytes>, Result<bool, &'static str>) {
    let (mut chunks, mut input, mut pieces) = (Chunks::default(), BytesMut::from(text), Vec::new());
    loop {
        match chunks.next(&mut input) {
            Ok(Step::Data(piece)) => pieces.push(piece),
            Ok(Step::End(_)) => return (pieces, Ok(true)),
            Ok(Step::More) => return (pieces, Ok(false)),
            Err(reason) => return (pieces, Err(reason)),
        }
    }
}

#[test]
fn small_chunks_that_came_together_go_on_together() {
    let small = "10\r\n0123456789abcdef\r\n";
    let large = format!("400\r\n{}\r\n", "x".repeat(1024));
    let lengths = |text: String| {
        let (pieces, end) = chunked(&text);
        (pieces.iter().map(Bytes::len).collect::<Vec<_>>(), end)
    };

    assert_eq!(lengths(format!("{}0\r\n\r\n", small.repeat(700))), (vec![700 * 16], Ok(true)));
    assert_eq!(lengths(format!("{}0\r\n\r\n", small.repeat(4_096))), (vec![16 << 10; 4], Ok(true)));
    assert_eq!(lengths(format!("{small}{small}{large}{small}{small}")), (vec![32, 1024, 32], Ok(false)));
    assert_eq!(lengths(format!("{small}{small}10\r\n0123")), (vec![32, 4], Ok(false)), "what has come goes on");
    assert_eq!(lengths(format!("{small}a;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\n")), (vec![26], Ok(true)));
    for broken in ["g\r\nabc", "3\nabc\r\n", "3\r\nabcd\r\n", "3 \r\nabc\r\n"] {
        let (pieces, end) = lengths(format!("{small}{small}{broken}"));
        assert!(pieces.starts_with(&[32]) || pieces.starts_with(&[35]), "{broken:?}: {pieces:?}");
        assert!(end.is_err(), "{broken:?} is still an error");
    }
}
