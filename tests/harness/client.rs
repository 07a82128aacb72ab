//! Clients: an ordinary one over HTTP/1.1 or HTTP/2, and a raw TLS socket for bytes that no library would send.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long an ordinary request may take in all.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// The version of HTTP that a client insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, agreed by ALPN; a server that answers HTTP/1.1 is an error of the request.
    Http2,
}

/// Makes aws-lc-rs the process's TLS provider. Every constructor here calls it.
pub fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Only a second installation fails, and then the process has a provider already.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    });
}

/// An HTTP client that trusts only the CA in the PEM file `ca`.
///
/// It keeps connections open, follows no redirects, and gives up after 30 seconds.
///
/// # Errors
/// When the file is unreadable or holds no certificate.
pub fn http(ca: &Path, version: Version) -> Result<reqwest::Client> {
    http_from(ca, version, None)
}

/// The same from an address of this machine's own, `127.0.0.0/8`: to the other end it is somebody else.
///
/// # Errors
/// When the file is unreadable or holds no certificate.
pub fn http_from(ca: &Path, version: Version, from: Option<IpAddr>) -> Result<reqwest::Client> {
    install_provider();
    let pem = std::fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem).with_context(|| format!("{} holds no certificate", ca.display()))?;
    let builder = reqwest::Client::builder()
        .tls_certs_only(roots)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(REQUEST_WITHIN)
        .local_address(from);
    let builder = match version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_prior_knowledge(),
    };
    builder.build().context("cannot build a client")
}

/// A TLS connection that carries whatever bytes the test likes.
#[derive(Debug)]
pub struct RawTls {
    stream: TlsStream<TcpStream>,
    /// Read past the end of the last answer.
    left: Vec<u8>,
}

/// An answer read from a raw connection.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, values trimmed, in order.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl RawTls {
    /// Connects and completes the handshake, offering `alpn` (for example `http/1.1`), trusting only the CA in `ca`.
    ///
    /// # Errors
    /// When the file, the connection or the handshake fails.
    pub async fn connect(address: SocketAddr, name: &str, ca: &Path, alpn: &str) -> Result<Self> {
        install_provider();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("cannot read {}", ca.display()))? {
            roots.add(certificate?)?;
        }
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = ServerName::try_from(name.to_owned())?;
        let tcp = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        Ok(Self { stream, left: Vec::new() })
    }

    /// The certificate that the server showed for itself.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.stream.get_ref().1.peer_certificates()?.first()
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the server has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Reads one answer, for at most `limit`.
    ///
    /// # Errors
    /// When the connection ends before the answer does, when the answer is malformed, or when the time is over.
    pub async fn answer(&mut self, limit: Duration) -> Result<RawAnswer> {
        tokio::time::timeout(limit, self.read_answer()).await.with_context(|| format!("no whole answer within {} ms", limit.as_millis()))?
    }

    /// Whether the server ends the connection within `limit`; what it still sends is read and dropped.
    pub async fn closes(&mut self, limit: Duration) -> bool {
        let drained = async {
            let mut sink = [0_u8; 4096];
            while matches!(self.stream.read(&mut sink).await, Ok(n) if n > 0) {}
        };
        tokio::time::timeout(limit, drained).await.is_ok()
    }

    async fn read_answer(&mut self) -> Result<RawAnswer> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).context("the head is not UTF-8")?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .with_context(|| format!("{status_line:?} is no status line"))?;
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').with_context(|| format!("{line:?} is no header"))?;
                Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut answer = RawAnswer { status, headers, body: Vec::new() };
        answer.body = self.body(&answer).await?;
        Ok(answer)
    }

    async fn body(&mut self, head: &RawAnswer) -> Result<Vec<u8>> {
        if head.status / 100 == 1 || head.status == 204 || head.status == 304 {
            return Ok(Vec::new());
        }
        if head.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let line = String::from_utf8(self.until(b"\r\n").await?)?;
                let size = line.trim().split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(size, 16).with_context(|| format!("{line:?} is no chunk size"))?;
                let chunk = self.exactly(size + 2).await?;
                body.extend_from_slice(chunk.get(..size).unwrap_or_default());
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        if let Some(length) = head.header("content-length") {
            return self.exactly(length.parse()?).await;
        }
        self.rest().await
    }

    async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.left.windows(mark.len()).position(|window| window == mark) {
                let rest = self.left.split_off(at + mark.len());
                return Ok(std::mem::replace(&mut self.left, rest));
            }
            ensure!(self.left.len() < 1 << 20, "the server sends no end of its head");
            self.more().await?;
        }
    }

    async fn exactly(&mut self, n: usize) -> Result<Vec<u8>> {
        while self.left.len() < n {
            self.more().await?;
        }
        let rest = self.left.split_off(n);
        Ok(std::mem::replace(&mut self.left, rest))
    }

    async fn rest(&mut self) -> Result<Vec<u8>> {
        while self.more().await.is_ok() {}
        Ok(std::mem::take(&mut self.left))
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.left).await? == 0 {
            bail!("the connection ended after {} bytes", self.left.len());
        }
        Ok(())
    }
}
