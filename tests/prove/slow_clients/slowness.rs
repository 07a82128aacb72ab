//! The ways in which a client is slow.

use std::time::Duration;

use anyhow::Result;
use harness::client::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

use crate::ground::Door;
use harness::frames::{END_STREAM, WINDOW_UPDATE, Wire, frame, request};

/// Looked at once a second by the node; the rest is for a machine that others use too.
const SLACK: Duration = Duration::from_millis(3_500);
/// When a client gives up waiting for its end.
const GIVES_UP: Duration = Duration::from_secs(20);
/// Between two drops of a drip.
const DRIP: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slowness {
    /// A head, byte by byte.
    HeadByBytes,
    /// A head, line by line, without end.
    HeadByLines,
    /// Half a head, and silence.
    HeadHalf,
    /// A body that stops.
    BodyStops,
    /// A body, byte by byte: each piece is in time, the whole is not.
    BodyDrips,
    /// An HTTP/2 body that never comes.
    StreamStops,
    /// An answer that nobody reads.
    Unread,
    /// The same with the smallest receive buffer, read a byte at a time.
    ReadByBytes,
    /// An HTTP/2 answer without a window.
    NoWindow,
    /// The same with a window that grows by a byte at a time.
    WindowByBytes,
    /// No byte of a handshake.
    HandshakeNone,
    /// Half a handshake.
    HandshakeHalf,
    /// A handshake, byte by byte.
    HandshakeDrips,
    /// A connection on which nothing is asked.
    Idle,
    /// An HTTP/2 connection on which nothing is asked.
    IdleStreams,
}

pub(super) const ALL: [Slowness; 15] = [
    Slowness::HeadByBytes,
    Slowness::HeadByLines,
    Slowness::HeadHalf,
    Slowness::BodyStops,
    Slowness::BodyDrips,
    Slowness::StreamStops,
    Slowness::Unread,
    Slowness::ReadByBytes,
    Slowness::NoWindow,
    Slowness::WindowByBytes,
    Slowness::HandshakeNone,
    Slowness::HandshakeHalf,
    Slowness::HandshakeDrips,
    Slowness::Idle,
    Slowness::IdleStreams,
];

const HALF_HELLO: [u8; 7] = [0x16, 3, 1, 2, 0, 1, 0];

impl Slowness {
    /// What the node's file and the document say.
    pub(super) fn deadline(self) -> Duration {
        Duration::from_secs(match self {
            Self::HeadByBytes
            | Self::HeadByLines
            | Self::HeadHalf
            | Self::BodyStops
            | Self::StreamStops
            | Self::Unread
            | Self::ReadByBytes
            | Self::NoWindow
            | Self::WindowByBytes => 2,
            Self::BodyDrips => 3,
            Self::HandshakeNone | Self::HandshakeHalf | Self::HandshakeDrips => 10,
            Self::Idle | Self::IdleStreams => 4,
        })
    }

    pub(super) fn latest(self) -> Duration {
        self.deadline() + SLACK
    }

    /// Whoever is cut off too early was refused, and not waited for.
    pub(super) fn earliest(self) -> Duration {
        // The time for a connection on which nothing happens runs in a handshake as well, and is shorter here.
        let deadline = self.deadline().min(Self::Idle.deadline());
        deadline.saturating_sub(Duration::from_millis(1_100))
    }

    /// One client; how long it lasted.
    pub(super) async fn run(self, door: &Door) -> Result<Duration> {
        let post = b"POST /plain/x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{";
        let get = b"GET /large/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        match self {
            Self::HeadByBytes => drip(http1(door, b"GET /plain/x HTTP/1.1\r\nhost: 127.0.0.1\r\nx-drip: ").await?, b"a").await,
            Self::HeadByLines => drip(http1(door, b"GET /plain/x HTTP/1.1\r\nhost: 127.0.0.1\r\n").await?, b"x-drip: a\r\n").await,
            Self::HeadHalf => silence(http1(door, b"GET /plain/x HTTP/1.1\r\nhost: 127.0").await?).await,
            Self::BodyStops => silence(http1(door, post).await?).await,
            Self::BodyDrips => drip(http1(door, post).await?, b" ").await,
            Self::Idle => silence(http1(door, b"").await?).await,
            Self::Unread => unread(http1(door, get).await?).await,
            Self::ReadByBytes => by_bytes(door, get).await,
            Self::StreamStops => streams(door, &[], request(1, "POST", "/plain/x", 0), None).await,
            Self::NoWindow => streams(door, &[(4, 1_024)], request(1, "GET", "/large/x", END_STREAM), None).await,
            Self::WindowByBytes => {
                streams(door, &[(4, 1_024)], request(1, "GET", "/large/x", END_STREAM), Some(frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()))).await
            }
            Self::IdleStreams => streams(door, &[], Vec::new(), None).await,
            Self::HandshakeNone => silence(Box::new(TcpStream::connect(door.address).await?)).await,
            Self::HandshakeHalf => {
                let mut tcp = TcpStream::connect(door.address).await?;
                tcp.write_all(&HALF_HELLO).await?;
                silence(Box::new(tcp)).await
            }
            Self::HandshakeDrips => {
                let mut tcp = TcpStream::connect(door.address).await?;
                tcp.write_all(&HALF_HELLO).await?;
                drip(Box::new(tcp), &[0]).await
            }
        }
    }
}

async fn http1(door: &Door, bytes: &[u8]) -> Result<Box<dyn Wire>> {
    let mut wire = door.connect(Version::Http1).await?;
    wire.write_all(bytes).await?;
    wire.flush().await?;
    Ok(wire)
}

/// Waits for an answer or an end: both mean that the gateway waits no longer.
async fn silence(mut wire: Box<dyn Wire>) -> Result<Duration> {
    let began = Instant::now();
    let mut sink = [0; 4_096];
    timeout(GIVES_UP, wire.read(&mut sink)).await.ok();
    Ok(began.elapsed())
}

/// Sends a drop at a time until an answer or an end comes.
async fn drip(mut wire: Box<dyn Wire>, bytes: &[u8]) -> Result<Duration> {
    let began = Instant::now();
    let mut sink = [0; 4_096];
    while began.elapsed() < GIVES_UP {
        if timeout(DRIP, wire.read(&mut sink)).await.is_ok() || wire.write_all(bytes).await.is_err() || wire.flush().await.is_err() {
            break;
        }
    }
    Ok(began.elapsed())
}

/// Leaves an answer unread until its deadline is over, and then looks whether it was cut. The end itself cannot be seen without
/// reading, so the duration is that of the deadline where the answer was cut.
async fn unread(mut wire: Box<dyn Wire>) -> Result<Duration> {
    let began = Instant::now();
    let slow = Slowness::Unread;
    sleep_until(began + slow.latest()).await;
    let mut all = 0;
    let mut sink = vec![0; 1 << 16];
    while let Ok(Ok(n @ 1..)) = timeout(GIVES_UP, wire.read(&mut sink)).await {
        all += n;
    }
    Ok(if all < 64 << 20 { slow.deadline() } else { GIVES_UP })
}

/// Reads a byte at a time through the smallest receive buffer.
async fn by_bytes(door: &Door, bytes: &[u8]) -> Result<Duration> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(2_048)?;
    let mut wire = door.dress(socket.connect(door.address).await?, Version::Http1).await?;
    wire.write_all(bytes).await?;
    wire.flush().await?;
    let began = Instant::now();
    let slow = Slowness::ReadByBytes;
    let mut byte = [0];
    while began.elapsed() < slow.latest() {
        if !matches!(timeout(DRIP, wire.read(&mut byte)).await, Ok(Ok(1)) | Err(_)) {
            break;
        }
        sleep_until(Instant::now() + DRIP).await;
    }
    let mut all = 0;
    let mut sink = vec![0; 1 << 16];
    while let Ok(Ok(n @ 1..)) = timeout(GIVES_UP, wire.read(&mut sink)).await {
        all += n;
    }
    Ok(if all < 32 << 20 { slow.deadline() } else { GIVES_UP })
}

/// An HTTP/2 client that answers pings and settings, and sends a drop now and then, until an answer to its stream has ended or the
/// connection is over.
async fn streams(door: &Door, settings: &[(u16, u32)], bytes: Vec<u8>, drop_of: Option<Vec<u8>>) -> Result<Duration> {
    let is_idle = bytes.is_empty();
    let mut frames = door.frames(settings).await?;
    frames.send(bytes).await;
    let began = Instant::now();
    while began.elapsed() < GIVES_UP {
        // An idle client answers nothing: one that answers pings is not idle.
        let next = async { if is_idle { frames.read().await } else { frames.next().await } };
        match timeout(DRIP, next).await {
            Ok(None) => break,
            Ok(Some(frame)) if frame.stream == 1 && (frame.kind == harness::frames::RST_STREAM || frame.flags & END_STREAM != 0) => break,
            Ok(Some(frame)) if frame.kind == harness::frames::GOAWAY => break,
            Ok(Some(_)) => {}
            Err(_) => {
                if let Some(bytes) = &drop_of
                    && !frames.send(bytes).await
                {
                    break;
                }
            }
        }
    }
    Ok(began.elapsed())
}
