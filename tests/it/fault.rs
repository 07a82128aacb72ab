//! The fault proxy does what it says: a test behind a proxy that does nothing would prove nothing.

use std::time::Duration;

use harness::fault::{Direction, Proxy};
use harness::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(10);

/// An echo service behind a proxy, and a connection through it.
struct Line {
    proxy: Proxy,
    _echo: JoinSet<()>,
}

impl Line {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap()).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut echoes = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                echoes.spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    drop(tokio::io::copy(&mut reader, &mut writer).await);
                    drop(writer.shutdown().await);
                });
            }
        });
        Self { proxy, _echo: tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.proxy.port())).await.unwrap()
    }
}

async fn ping(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await?;
    Ok(back)
}

#[tokio::test]
async fn faultless_line_carries_bytes_and_the_end_of_the_stream() {
    let line = Line::new().await;
    let mut stream = line.connect().await;

    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut back)).await.unwrap().unwrap();

    assert_eq!(back, b"hello");
    assert_eq!(line.proxy.connections(), 1);
    assert_eq!(line.proxy.bytes(Direction::Up), 5);
    assert_eq!(line.proxy.bytes(Direction::Down), 5);
}

#[tokio::test]
async fn delay_is_paid_in_both_directions_and_by_the_handshake() {
    let line = Line::new().await;
    line.proxy.delay(Duration::from_millis(100));
    let began = Instant::now();
    let mut stream = line.connect().await;

    ping(&mut stream, b"first").await.unwrap();
    let first = began.elapsed();
    let began = Instant::now();
    ping(&mut stream, b"second").await.unwrap();
    let second = began.elapsed();

    assert!(first >= Duration::from_millis(400), "handshake and round trip: {first:?}");
    assert!(second >= Duration::from_millis(200), "round trip: {second:?}");
    assert!(second < first, "the handshake is paid once: {second:?} after {first:?}");
}

#[tokio::test]
async fn delay_is_latency_and_not_throughput() {
    let line = Line::new().await;
    let mut stream = line.connect().await;
    ping(&mut stream, b"open").await.unwrap();
    line.proxy.delay_one_way(Direction::Up, Duration::from_millis(150), Duration::ZERO);
    let (mut reader, mut writer) = stream.split();

    // 200 pieces, far enough apart to be carried one by one: a line that waited for each would take 30 seconds.
    let began = Instant::now();
    let pieces = async {
        for _ in 0..200 {
            writer.write_all(&[7; 1000]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut back = vec![0; 200_000];
    let ((), read) = tokio::join!(pieces, timeout(LIMIT, reader.read_exact(&mut back)));
    read.unwrap().unwrap();
    let took = began.elapsed();

    assert!(took >= Duration::from_millis(150), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn jitter_and_a_shrinking_delay_do_not_reorder_bytes() {
    let line = Line::new().await;
    let mut stream = line.connect().await;
    ping(&mut stream, b"open").await.unwrap();
    let sent: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = stream.split();

    let pieces = async {
        for (at, piece) in sent.chunks(500).enumerate() {
            let delay = Duration::from_millis(if at % 2 == 0 { 20 } else { 0 });
            line.proxy.delay_one_way(Direction::Up, delay, Duration::from_millis(10));
            writer.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut back = vec![0; sent.len()];
    let ((), read) = tokio::join!(pieces, timeout(LIMIT, reader.read_exact(&mut back)));
    read.unwrap().unwrap();

    assert!(back == sent, "bytes came back in another order");
}

#[tokio::test]
async fn cut_resets_open_connections_and_leaves_new_ones_alone() {
    let line = Line::new().await;
    let mut stream = line.connect().await;
    ping(&mut stream, b"open").await.unwrap();

    line.proxy.cut();
    let mut buffer = [0; 1];
    let ended = timeout(LIMIT, stream.read(&mut buffer)).await.unwrap();
    let mut fresh = line.connect().await;

    let error = ended.expect_err("a reset, not an orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(ping(&mut fresh, b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn refused_port_refuses_and_serves_again_when_healed() {
    let line = Line::new().await;
    let address = ("127.0.0.1", line.proxy.port());
    let mut old = line.connect().await;
    ping(&mut old, b"open").await.unwrap();

    line.proxy.refuse();
    wait::until("a refusal", LIMIT, async || {
        let error = TcpStream::connect(address).await.err();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await
    .unwrap();
    let lives_on = ping(&mut old, b"old").await.unwrap();
    line.proxy.heal();

    assert_eq!(lives_on, b"old");
    wait::until("a connection", LIMIT, async || TcpStream::connect(address).await.is_ok()).await.unwrap();
}

#[tokio::test]
async fn held_direction_is_silent_until_it_is_released() {
    let line = Line::new().await;
    let mut stream = line.connect().await;
    ping(&mut stream, b"open").await.unwrap();

    line.proxy.hold(Direction::Down);
    stream.write_all(b"late").await.unwrap();
    wait::until("the echo to have it", LIMIT, async || line.proxy.bytes(Direction::Up) == 8).await.unwrap();
    let mut back = [0; 4];
    let silent = timeout(Duration::from_millis(200), stream.read_exact(&mut back)).await;
    line.proxy.release(Direction::Down);
    timeout(LIMIT, stream.read_exact(&mut back)).await.unwrap().unwrap();

    assert!(silent.is_err(), "nothing comes through a held direction");
    assert_eq!(&back, b"late");
}

#[tokio::test]
async fn partition_is_silent_for_open_and_new_connections_and_heals() {
    let line = Line::new().await;
    let mut old = line.connect().await;
    ping(&mut old, b"open").await.unwrap();

    line.proxy.partition();
    let mut fresh = line.connect().await;
    let silence = Duration::from_millis(200);
    let old_silent = timeout(silence, ping(&mut old, b"x")).await.is_err();
    let fresh_silent = timeout(silence, ping(&mut fresh, b"x")).await.is_err();
    line.proxy.heal();
    let mut back = [0; 1];
    timeout(LIMIT, old.read_exact(&mut back)).await.unwrap().unwrap();

    assert!(old_silent && fresh_silent);
    assert_eq!(&back, b"x", "what was held is delivered");
}
