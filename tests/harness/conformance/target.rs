//! The server under test: where it listens, whom it trusts, and which request it serves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client::{Version, install_provider};
use crate::frames::Wire;

/// How long connecting may take.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);

/// The server under test.
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// What requests name as their host.
    pub authority: String,
    /// A path that is answered with 200 and a body of some bytes, whatever the method.
    pub path: String,
    /// Fields that each request needs to be served, with lower-case names.
    pub fields: Vec<(String, String)>,
    /// `None` where plain TCP is spoken.
    tls: Option<Tls>,
}

struct Tls {
    http1: TlsConnector,
    http2: TlsConnector,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Target {
    /// A server without TLS that tells the protocols apart by their first bytes: a control.
    pub fn plain(address: SocketAddr, path: &str) -> Self {
        Self { address, authority: address.to_string(), path: path.to_owned(), fields: Vec::new(), tls: None }
    }

    /// A server whose certificate stands in the PEM file `trusted`, or is signed by one that does.
    ///
    /// # Errors
    /// When the file is unreadable or holds no certificate.
    pub fn new(address: SocketAddr, trusted: &Path, path: &str, fields: Vec<(String, String)>) -> Result<Self> {
        let tls = Tls { http1: connector(trusted, "http/1.1")?, http2: connector(trusted, "h2")? };
        Ok(Self { fields, tls: Some(tls), ..Self::plain(address, path) })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn connect(&self, version: Version) -> Result<Box<dyn Wire>> {
        let connected = async {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            let Some(tls) = &self.tls else { return Ok(Box::new(tcp) as Box<dyn Wire>) };
            let connector = if version == Version::Http1 { &tls.http1 } else { &tls.http2 };
            let stream = connector.connect(ServerName::from(self.address.ip()), tcp).await.context("the handshake failed")?;
            let wanted: &[u8] = if version == Version::Http1 { b"http/1.1" } else { b"h2" };
            ensure!(stream.get_ref().1.alpn_protocol() == Some(wanted), "{version:?} was not agreed on");
            Ok(Box::new(stream) as Box<dyn Wire>)
        };
        timeout(CONNECTS_WITHIN, connected).await.context("connecting takes too long")?
    }

    /// Sees that both protocols are spoken.
    pub(super) async fn probe(&self) -> Result<()> {
        for version in [Version::Http1, Version::Http2] {
            drop(self.connect(version).await.with_context(|| format!("no {version:?} at {}", self.address))?);
        }
        Ok(())
    }
}

fn connector(trusted: &Path, alpn: &str) -> Result<TlsConnector> {
    install_provider();
    let mut roots = rustls::RootCertStore::empty();
    let mut pinned = Vec::new();
    for certificate in CertificateDer::pem_file_iter(trusted).with_context(|| format!("cannot read {}", trusted.display()))? {
        let certificate = certificate?;
        roots.add(certificate.clone())?;
        pinned.push(certificate);
    }
    let verifier = Trust { roots: WebPkiServerVerifier::builder(Arc::new(roots)).build()?, pinned };
    let config = rustls::ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes a certificate that it knows byte by byte (self-signed ones are no authorities), or that a known one has signed.
#[derive(Debug)]
struct Trust {
    roots: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}
