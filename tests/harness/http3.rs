//! A client of HTTP/3, and connections of QUIC for what no client would send.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use h3::client::SendRequest;
use http::{HeaderMap, Request};
use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::task::JoinSet;

use crate::client::install_provider;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields of its head.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// What followed it.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// A field of the head, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a request sends behind its head.
#[derive(Debug, Default, Clone)]
pub struct Content {
    /// Pieces of its body.
    pub pieces: Vec<Bytes>,
    /// What follows them.
    pub trailers: Option<HeaderMap>,
}

impl From<Vec<u8>> for Content {
    fn from(body: Vec<u8>) -> Self {
        Self { pieces: vec![body.into()], trailers: None }
    }
}

/// A socket of its own, and how QUIC is spoken over it.
///
/// # Errors
/// When the CA is unreadable, or there is no such address.
pub fn endpoint(from: Option<IpAddr>, ca: &Path) -> Result<(quinn::Endpoint, quinn::ClientConfig)> {
    install_provider();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("cannot read {}", ca.display()))? {
        roots.add(certificate?)?;
    }
    let tls = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    // So that a test sees whether a server takes it.
    tls.enable_early_data = true;
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let endpoint = quinn::Endpoint::client(SocketAddr::new(from.unwrap_or(IpAddr::from([0, 0, 0, 0])), 0))?;
    Ok((endpoint, config))
}

/// A connection of QUIC.
///
/// # Errors
/// When the CA is unreadable, or the handshake fails.
pub async fn connect(to: SocketAddr, from: Option<IpAddr>, name: &str, ca: &Path) -> Result<quinn::Connection> {
    let (endpoint, config) = endpoint(from, ca)?;
    Ok(endpoint.connect_with(config, to, name)?.await?)
}

/// A client on a connection of its own.
pub struct Client {
    connection: quinn::Connection,
    requests: SendRequest<h3_quinn::OpenStreams, Bytes>,
    driver: JoinSet<()>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a server that proves to be `name`.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn connect(to: SocketAddr, from: Option<IpAddr>, name: &str, ca: &Path) -> Result<Self> {
        let connection = connect(to, from, name, ca).await?;
        let (mut above, requests) = h3::client::new(h3_quinn::Connection::new(connection.clone())).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(poll_fn(|cx| above.poll_close(cx)).await) });
        Ok(Self { connection, requests, driver })
    }

    /// The connection below.
    pub const fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Waits for the end of the connection.
    pub async fn ended(&mut self) {
        while self.driver.join_next().await.is_some() {}
    }

    /// One request, and its answer.
    ///
    /// # Errors
    /// When the stream or the connection ends before the answer.
    pub async fn send(&mut self, request: Request<()>, content: Content) -> Result<Answer> {
        let stream = self.requests.send_request(request).await?;
        let (mut up, mut down) = stream.split();
        let upload = async {
            for piece in content.pieces {
                up.send_data(piece).await?;
            }
            if let Some(trailers) = content.trailers {
                up.send_trailers(trailers).await?;
            }
            up.finish().await
        };
        let download = async {
            let head = down.recv_response().await?;
            let mut answer = Answer { status: head.status().as_u16(), headers: head.headers().clone(), body: Vec::new(), trailers: None };
            while let Some(mut piece) = down.recv_data().await? {
                answer.body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
            }
            answer.trailers = down.recv_trailers().await?;
            Ok::<_, h3::error::StreamError>(answer)
        };
        // A server that answers early need not read to the end.
        let (_uploaded, answer) = tokio::join!(upload, download);
        Ok(answer?)
    }
}
