//! Bodies stream both ways: nothing is held, whoever is slow slows the other side, and an early answer is not lost.
#![expect(clippy::print_stdout, reason = "figures that a reader of the test log wants to see")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use harness::client::Version;
use harness::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::service::ok;
use crate::site::{MEMORY, SOON, Site, site};
use crate::wire::Wire;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 200 * MIB;
/// What a node may grow by while a body passes: buffers of the codecs and the kernel's, and what other tests do meanwhile.
const GROWTH_MAX: u64 = 48 * MIB;

/// Looks at the node's memory until `work` is done; the most it grew.
async fn growth<T>(site: &Site, work: impl Future<Output = T>) -> (T, u64) {
    let before = site.memory();
    let mut most = before;
    let mut pulse = tokio::time::interval(Duration::from_millis(5));
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = work.as_mut() => return (done, most.saturating_sub(before)),
            _ = pulse.tick() => most = most.max(site.memory()),
        }
    }
}

/// A service that answers each connection's first request with `SIZE` bytes, and counts what it could send.
fn endless(site: &Site, name: &str, total: u64) -> (JoinSet<()>, Arc<AtomicU64>) {
    let (listener, sent) = (site.listener(name), Arc::<AtomicU64>::default());
    let (mut task, count) = (JoinSet::new(), Arc::clone(&sent));
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            served.spawn(async move {
                let mut head = vec![0; 4_096];
                drop(stream.read(&mut head).await);
                drop(stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n").as_bytes()).await);
                let piece = vec![b'a'; 1 << 16];
                for _ in 0..total >> 16 {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                    count.fetch_add(1 << 16, Ordering::SeqCst);
                }
                drop(stream.read(&mut head).await);
            });
        }
    });
    (task, sent)
}

#[tokio::test]
async fn downloads_stream_with_flat_memory() {
    let (site, _alone) = (site().await, MEMORY.lock().await);
    let (_service, _) = endless(site, "download", SIZE);

    for version in [Version::Http1, Version::Http2] {
        let answer = site.http(version).get(site.url("/download")).send().await.unwrap();
        let pieces = answer.bytes_stream().fold(0, async |sum, piece| sum + piece.unwrap().len() as u64);
        let (length, grown) = growth(site, pieces).await;
        println!("download version={version:?} bytes={length} grown_kib={}", grown >> 10);
        assert_eq!(length, SIZE);
        assert!(grown < GROWTH_MAX, "{version:?}: the node grew by {} KiB", grown >> 10);
    }
}

#[tokio::test]
async fn uploads_stream_with_flat_memory() {
    let (site, _alone) = (site().await, MEMORY.lock().await);
    let (listener, received) = (site.listener("upload"), Arc::<AtomicU64>::default());
    let count = Arc::clone(&received);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 1 << 16];
            let (mut head, mut body) = (Vec::new(), 0);
            while let Ok(n) = stream.read(&mut buffer).await.map(|n| n as u64) {
                if body == 0 {
                    head.extend_from_slice(&buffer[..usize::try_from(n).unwrap()]);
                    let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                    body = (head.len() - at - 4) as u64;
                } else {
                    body += n;
                }
                if n == 0 || body >= SIZE {
                    break;
                }
            }
            count.store(body, Ordering::SeqCst);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await);
        }
    });

    for version in [Version::Http1, Version::Http2] {
        let piece = bytes::Bytes::from(vec![b'x'; 1 << 16]);
        let pieces = stream::iter((0..SIZE >> 16).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        let request =
            site.http(version).post(site.url("/upload")).header("content-length", SIZE.to_string()).body(reqwest::Body::wrap_stream(pieces));
        let (answer, grown) = growth(site, request.send()).await;
        println!("upload version={version:?} bytes={} grown_kib={}", received.load(Ordering::SeqCst), grown >> 10);
        assert_eq!((answer.unwrap().status().as_u16(), received.load(Ordering::SeqCst)), (200, SIZE), "{version:?}");
        assert!(grown < GROWTH_MAX, "{version:?}: the node grew by {} KiB", grown >> 10);
    }
}

#[tokio::test]
async fn client_that_does_not_read_stops_the_service_from_sending() {
    let site = site().await;
    let (_service, sent) = endless(site, "backpressure", SIZE);

    for version in [Version::Http1, Version::Http2] {
        let before = sent.load(Ordering::SeqCst);
        let answer = site.http(version).get(site.url("/backpressure")).send().await.unwrap();
        let still = async {
            let mut last = sent.load(Ordering::SeqCst);
            let mut quiet = 0;
            let mut pulse = tokio::time::interval(Duration::from_millis(20));
            while quiet < 15 {
                pulse.tick().await;
                let now = sent.load(Ordering::SeqCst);
                quiet = if now == last { quiet + 1 } else { 0 };
                last = now;
            }
        };
        tokio::time::timeout(SOON, still).await.unwrap();
        let passed = sent.load(Ordering::SeqCst) - before;
        println!("backpressure version={version:?} passed_kib={}", passed >> 10);
        assert!(passed < 32 * MIB, "{version:?}: {} KiB left the service while nobody read", passed >> 10);
        // The same client reads on, and nothing is missing.
        let length = answer.bytes_stream().fold(0, async |sum, piece| sum + piece.unwrap().len() as u64).await;
        assert_eq!(length, SIZE);
    }
}

/// A service may answer before it has read the request: the answer counts, and the half-used connection is not kept.
#[tokio::test]
async fn early_answer_reaches_a_client_that_is_still_sending() {
    let site = site().await;
    let listener = site.listener("early");
    let connections = Arc::<AtomicU64>::default();
    let count = Arc::clone(&connections);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = vec![0; 256];
            drop(stream.read(&mut head).await);
            drop(stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nearly").await);
            open.push(stream);
        }
    });

    for version in [Version::Http1, Version::Http2] {
        let pieces = stream::unfold(0_u32, async |n| {
            // The first piece goes at once, the rest never comes.
            if n > 0 {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(vec![b'x'; 1 << 10]), n + 1))
        });
        let request = site.http(version).post(site.url("/early")).body(reqwest::Body::wrap_stream(pieces)).send();
        let answer = tokio::time::timeout(SOON, request).await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (403, "early"), "{version:?}");
    }
    let mut wire = Wire::http1(site).await;
    assert_eq!(wire.get("/early").await.unwrap().status, 403);

    assert_eq!(connections.load(Ordering::SeqCst), 3, "each exchange had its own connection");
}

#[tokio::test]
async fn two_hundred_requests_at_once_are_all_answered_with_their_own_answer() {
    let site = site().await;
    let service = site.service("parallel", |seen| ok(&format!("{} {}", seen.line(), seen.body.len())));
    let clients = [site.http(Version::Http1), site.http(Version::Http2)];
    let mut tasks = JoinSet::new();

    for n in 0..400_usize {
        let (http, url) = (clients[n % 2].clone(), site.url(&format!("/parallel/{n}")));
        tasks.spawn(async move {
            let answer = http.post(url).body(vec![b'x'; n * 10]).send().await.unwrap();
            (n, answer.status().as_u16(), answer.text().await.unwrap())
        });
    }
    for (n, status, text) in tasks.join_all().await {
        assert_eq!((status, text), (200, format!("POST /parallel/{n} HTTP/1.1 {}", n * 10)));
    }

    wait::until("all requests", SOON, async || service.seen().len() == 400).await.unwrap();
}
