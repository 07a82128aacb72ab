//! HTTP/2 by hand: frames as RFC 9113 section 4.1 has them, header blocks without compression.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A byte stream: TLS, or plain TCP.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Wire for T {}

/// A frame type.
pub const DATA: u8 = 0;
/// RFC 9113 section 6.
pub const HEADERS: u8 = 1;
/// RFC 9113 section 6.
pub const PRIORITY: u8 = 2;
/// RFC 9113 section 6.
pub const RST_STREAM: u8 = 3;
/// RFC 9113 section 6.
pub const SETTINGS: u8 = 4;
/// RFC 9113 section 6.
pub const PING: u8 = 6;
/// RFC 9113 section 6.
pub const GOAWAY: u8 = 7;
/// RFC 9113 section 6.
pub const WINDOW_UPDATE: u8 = 8;
/// RFC 9113 section 6.
pub const CONTINUATION: u8 = 9;
/// A flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// A flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;

/// One frame that came.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, without the reserved bit.
    pub stream: u32,
    /// What follows its head.
    pub payload: Vec<u8>,
}

/// A connection after its preface.
#[derive(Debug)]
pub struct Frames {
    wire: Box<dyn Wire>,
    left: Vec<u8>,
}

impl Frames {
    /// Sends the preface with the given settings (identifier and value).
    ///
    /// # Errors
    /// When the server has gone away.
    pub async fn over(mut wire: Box<dyn Wire>, settings: &[(u16, u32)]) -> Result<Self> {
        let payload: Vec<u8> = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        wire.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)].concat()).await?;
        wire.flush().await?;
        Ok(Self { wire, left: Vec::new() })
    }

    /// A connection on which the caller sends the preface.
    pub fn bare(wire: Box<dyn Wire>) -> Self {
        Self { wire, left: Vec::new() }
    }

    /// Writes bytes; false when the server has gone away.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write_all(bytes.as_ref()).await.is_ok() && self.wire.flush().await.is_ok()
    }

    /// The next frame; `None` when the connection is over. Dropping the future loses nothing.
    pub async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if !matches!(self.wire.read_buf(&mut self.left).await, Ok(n) if n > 0) {
                return None;
            }
        }
    }

    /// The next frame that is no SETTINGS and no PING; those are acknowledged.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.read().await?;
            match (frame.kind, frame.flags & 1) {
                (SETTINGS, 0) => drop(self.send(self::frame(SETTINGS, 1, 0, &[])).await),
                (PING, 0) => drop(self.send(self::frame(PING, 1, 0, &frame.payload)).await),
                (SETTINGS | PING, _) => {}
                _ => return Some(frame),
            }
        }
    }

    /// What has come already, without waiting longer than `limit` for the first of it; `None` when the connection is over.
    pub async fn drain(&mut self, limit: Duration) -> Option<Vec<Frame>> {
        let mut all = Vec::new();
        loop {
            match timeout(limit, self.read()).await {
                Ok(Some(frame)) => all.push(frame),
                Ok(None) if all.is_empty() => return None,
                Ok(None) | Err(_) => return Some(all),
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *self.left.first_chunk::<9>()?;
        let end = 9 + usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let payload = self.left.get(9..end)?.to_vec();
        self.left.drain(..end);
        Some(Frame { kind, flags, stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]), payload })
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals without indexing (RFC 7541 section 6.2.2).
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, text.len(), 7, 0);
            out.extend_from_slice(text);
        }
    }
    out
}

/// An integer (RFC 7541 section 5.1) behind the bits `first`.
pub fn integer(out: &mut Vec<u8>, mut value: usize, prefix: u32, first: u8) {
    let most = (1_usize << prefix) - 1;
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if value < most {
        return out.push(first | byte(value));
    }
    out.push(first | byte(most));
    value -= most;
    while value >= 128 {
        out.push(byte(value % 128) | 128);
        value /= 128;
    }
    out.push(byte(value));
}

/// The HEADERS frame of a request, whole.
pub fn request(stream: u32, method: &str, path: &str, flags: u8) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 4] =
        [(b":method", method.as_bytes()), (b":scheme", b"https"), (b":authority", b"127.0.0.1"), (b":path", path.as_bytes())];
    frame(HEADERS, END_HEADERS | flags, stream, &block(&fields))
}

/// Whether a header block of the server begins with `:status 200`, which it takes from the static table.
pub fn is_200(block: &[u8]) -> bool {
    block.iter().find(|byte| !matches!(byte, 0x20..=0x3f)) == Some(&0x88)
}
