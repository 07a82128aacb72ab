//! Asks a node one question over HTTPS, to see whether it is up.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::client;

/// Asks nodes of one deployment.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the connector has none, and it holds session secrets")]
pub struct Probe {
    tls: TlsConnector,
}

impl Probe {
    /// Trusts the deployment's CA.
    ///
    /// # Errors
    /// When the CA file cannot be used.
    pub fn new(ca: &Path) -> Result<Self> {
        Ok(Self { tls: TlsConnector::from(Arc::new(client::tls_config(Some(ca))?)) })
    }

    /// The status of a GET, with a key if one is given; at most 2 s.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn status(&self, port: u16, path: &str, key: Option<&str>) -> Result<StatusCode> {
        tokio::time::timeout(Duration::from_secs(2), self.get(port, path, key)).await.context("no answer in 2 s")?
    }

    async fn get(&self, port: u16, path: &str, key: Option<&str>) -> Result<StatusCode> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let tls = self.tls.connect(ServerName::try_from("localhost")?, tcp).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(tls)).await?;
        let mut request = Request::get(path).header("host", "localhost");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let exchange = async move {
            let response = sender.send_request(request.body(Empty::new())?).await?;
            anyhow::Ok(response.status())
        };
        tokio::select! {
            biased;
            status = exchange => status,
            ended = connection => Err(ended.err().map_or_else(|| anyhow::anyhow!("the connection closed"), Into::into)),
        }
    }
}
