//! Bytes on the wire: a TLS connection that sends what no library would, over HTTP/1.1 or in HTTP/2 frames.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::client::install_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::site::{SOON, Site};

/// A client's TLS configuration that trusts one CA and offers one protocol.
pub(crate) fn tls(ca: &Path, alpn: &str) -> Arc<rustls::ClientConfig> {
    install_provider();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

/// A TCP connection from a given address of this machine.
pub(crate) async fn tcp(to: SocketAddr, from: Option<IpAddr>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0)).unwrap();
    }
    let stream = socket.connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection that carries whatever bytes the test likes.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
    left: Vec<u8>,
}

/// An answer in HTTP/1.1.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The problem's code; empty when the body is no problem.
    pub(crate) fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json.get("code").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Wire {
    /// Connects to the shared deployment.
    pub(crate) async fn http1(site: &Site) -> Self {
        Self::connect(site.address(), site.ca(), "http/1.1", None).await
    }

    /// Connects with an ALPN name and from an address.
    pub(crate) async fn connect(to: SocketAddr, ca: &Path, alpn: &str, from: Option<IpAddr>) -> Self {
        let tcp = tcp(to, from).await;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = timeout(SOON, TlsConnector::from(tls(ca, alpn)).connect(name, tcp)).await.unwrap().unwrap();
        Self { stream, left: Vec::new() }
    }

    /// The stream itself, when nothing was read of it past an answer.
    pub(crate) fn into_stream(self) -> TlsStream<TcpStream> {
        assert!(self.left.is_empty());
        self.stream
    }

    /// Ends the sending side, as TLS wants it.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Writes bytes as they are; false when the server has closed.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Sends a GET with a host, and reads the answer.
    pub(crate) async fn get(&mut self, path: &str) -> Option<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads one answer that has a length or is chunked; `None` when the connection ends first.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(SOON, self.read_answer()).await.expect("an answer or an end comes in time")
    }

    /// Like [`Self::answer`], for an answer that has no body whatever its length says (HEAD).
    pub(crate) async fn head_answer(&mut self) -> Option<Answer> {
        timeout(SOON, self.read_head()).await.expect("an answer or an end comes in time")
    }

    /// True when the server ends the connection within `limit`; what still comes is counted and dropped.
    pub(crate) async fn closes(&mut self, limit: Duration) -> bool {
        let mut sink = vec![0_u8; 1 << 16];
        timeout(limit, async { while matches!(self.stream.read(&mut sink).await, Ok(n) if n > 0) {} }).await.is_ok()
    }

    /// Reads at most `n` bytes, whatever they are.
    pub(crate) async fn some(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.left);
        while bytes.len() < n {
            match timeout(SOON, self.stream.read_buf(&mut bytes)).await.expect("bytes come in time") {
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
        bytes
    }

    async fn read_head(&mut self) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.get(9..12)?.parse().ok()?;
        Some(Answer { status, head, body: Vec::new() })
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let mut answer = self.read_head().await?;
        if answer.status / 100 == 1 || matches!(answer.status, 204 | 304) {
            return Some(answer);
        }
        if let Some(length) = answer.header("content-length").and_then(|text| text.parse().ok()) {
            answer.body = self.exactly(length).await?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = String::from_utf8(self.until(b"\r\n").await?).ok()?;
                let size = usize::from_str_radix(line.trim(), 16).ok()?;
                if size == 0 {
                    while self.until(b"\r\n").await? != b"\r\n" {}
                    break;
                }
                let chunk = self.exactly(size + 2).await?;
                answer.body.extend_from_slice(&chunk[..size]);
            }
        }
        Some(answer)
    }

    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.left.windows(mark.len()).position(|window| window == mark) {
                let rest = self.left.split_off(at + mark.len());
                return Some(std::mem::replace(&mut self.left, rest));
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.left.len() < n {
            self.more().await?;
        }
        let rest = self.left.split_off(n);
        Some(std::mem::replace(&mut self.left, rest))
    }

    async fn more(&mut self) -> Option<()> {
        (self.stream.read_buf(&mut self.left).await.ok()? > 0).then_some(())
    }
}

/// HTTP/2 by hand: frames as RFC 9113 section 4.1 has them, header blocks without compression.
#[derive(Debug)]
pub(crate) struct Frames {
    wire: Wire,
}

/// One frame that came.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

impl Frames {
    /// Connects, and sends the preface with the given settings (identifier and value).
    pub(crate) async fn connect(site: &Site, from: Option<IpAddr>, settings: &[(u16, u32)]) -> Self {
        Self::connect_to(site.address(), site.ca(), from, settings).await
    }

    pub(crate) async fn connect_to(to: SocketAddr, ca: &Path, from: Option<IpAddr>, settings: &[(u16, u32)]) -> Self {
        let mut wire = Wire::connect(to, ca, "h2", from).await;
        let payload: Vec<u8> = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        wire.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)].concat()).await;
        Self { wire }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.send(bytes).await
    }

    /// The next frame; settings are acknowledged and pings answered on the way. `None` when the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = timeout(SOON, self.read()).await.expect("a frame or an end comes in time")?;
            match (frame.kind, frame.flags & 1) {
                (SETTINGS, 0) => drop(self.wire.send(self::frame(SETTINGS, 1, 0, &[])).await),
                (PING, 0) => drop(self.wire.send(self::frame(PING, 1, 0, &frame.payload)).await),
                _ => return Some(frame),
            }
        }
    }

    /// Frames of one stream until it ends; `None` in the place of the end means that the connection was over.
    pub(crate) async fn stream(&mut self, id: u32) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                all.push(frame);
                break;
            }
            if frame.stream != id {
                continue;
            }
            let ends = frame.kind == RST_STREAM || matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            all.push(frame);
            if ends {
                break;
            }
        }
        all
    }

    /// True when the server ends the connection within `limit`; pings are answered until then.
    pub(crate) async fn closes(&mut self, limit: Duration) -> bool {
        let drained = async {
            while let Some(frame) = self.read().await {
                if frame.kind == PING && frame.flags & 1 == 0 {
                    self.wire.send(self::frame(PING, 1, 0, &frame.payload)).await;
                }
            }
        };
        timeout(limit, drained).await.is_ok()
    }

    async fn read(&mut self) -> Option<Frame> {
        let head = self.wire.exactly(9).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.wire.exactly(length).await?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals without indexing (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// An integer with a 7-bit prefix (RFC 7541 section 5.1).
fn integer(out: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        out.push(u8::try_from(value).unwrap());
        return;
    }
    out.push(127);
    value -= 127;
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
}

/// A whole request without a body: one HEADERS frame.
pub(crate) fn request(stream: u32, method: &str, path: &str, more: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", path)];
    frame(HEADERS, END_HEADERS | flags, stream, &block(&[&pseudo[..], more].concat()))
}

/// The status in a header block that comes from our server: indexed, or a literal of the indexed name `:status`.
pub(crate) fn status(block: &[u8]) -> u16 {
    match block.first() {
        Some(0x88) => 200,
        Some(0x89) => 204,
        Some(0x8a) => 206,
        Some(0x8b) => 304,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        // A literal with a Huffman value: ten bits and more for three digits; decoding needs 5 or 6 bits a digit.
        Some(0x48 | 0x08) if block.get(1).is_some_and(|length| length & 0x80 != 0) => huffman_digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
        Some(0x48 | 0x08) => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        other => panic!("no status: {other:?}"),
    }
}

/// Digits in the Huffman code of RFC 7541, appendix B: 0, 1 and 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0_u16, |all, bit| all << 1 | u16::from(*bit));
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let five = number(&bits[at..at + 5]);
        let (digit, length) = if five < 3 { (five, 5) } else { (number(&bits[at..at + 6]) - 0x19 + 3, 6) };
        (value, at) = (value * 10 + digit, at + length);
    }
    value
}
