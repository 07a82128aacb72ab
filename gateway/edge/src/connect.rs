//! Opens connections to services: TCP, then TLS where the service asks for it.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use model::structure::reach::{HttpVersion, Reach, ReachTls};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    ahead::Ahead,
    http1::{Link, Stream},
    http2::Session,
    tls::{Identities, Identity},
};

/// How the connections of one pool are opened.
#[derive(Debug)]
pub struct Connector {
    address: Box<str>,
    reach: Arc<Reach>,
    /// By which the node proves itself; `None` also where it lacks the one that is asked for.
    identity: Option<Arc<Identity>>,
    /// Made at the first connection: most services have none.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    /// The same without HTTP/2, for connections that are switched.
    tls_http1: OnceLock<Result<Arc<ClientConfig>, String>>,
}

/// An open connection, in the form that its protocol needs.
#[derive(Debug)]
pub enum Opened {
    /// For one request at a time.
    Http1(Link),
    /// For many.
    Http2(Session),
}

impl Opened {
    /// The number of a shared connection, which is higher than those of older ones; 0 for another.
    pub const fn serial(&self) -> u64 {
        match self {
            Self::Http1(_) => 0,
            Self::Http2(session) => session.serial,
        }
    }
}

impl Connector {
    /// A connector for an address. `identities` are those of the node.
    pub fn new(address: &str, reach: &Arc<Reach>, identities: &Arc<Identities>) -> Self {
        let name = reach.tls.as_ref().and_then(|tls| tls.identity.as_deref());
        let identity = name.and_then(|name| identities.get(name)).map(Arc::clone);
        Self { address: address.into(), reach: Arc::clone(reach), identity, tls: OnceLock::new(), tls_http1: OnceLock::new() }
    }

    /// How the service is spoken to.
    pub const fn reach(&self) -> &Arc<Reach> {
        &self.reach
    }

    /// What a connection that is opened now shows of the node's identity at least: how often that was replaced. 0 without one.
    pub fn shows(&self) -> u64 {
        self.identity.as_ref().map_or(0, |identity| identity.changes())
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Of the socket, of the handshake, of the certificate; [`io::ErrorKind::InvalidInput`] when the roots cannot be loaded or the
    /// node lacks the identity.
    ///
    /// # Cancel
    /// Dropping the future closes what was opened.
    pub async fn open(&self) -> io::Result<Opened> {
        self.open_as(self.reach.version, &self.tls).await
    }

    /// Opens a connection for HTTP/1.1, whatever else the service speaks.
    ///
    /// # Errors
    /// As [`Self::open`].
    ///
    /// # Cancel
    /// Dropping the future closes what was opened.
    pub async fn open_http1(&self) -> io::Result<Opened> {
        match self.reach.version {
            HttpVersion::Http1 => self.open().await,
            HttpVersion::Negotiated => self.open_as(HttpVersion::Http1, &self.tls_http1).await,
            HttpVersion::Http2 => Err(io::Error::new(io::ErrorKind::Unsupported, "the service is spoken to over HTTP/2 alone")),
        }
    }

    async fn open_as(&self, version: HttpVersion, kept: &OnceLock<Result<Arc<ClientConfig>, String>>) -> io::Result<Opened> {
        let shown = self.shows(); // before the handshake: a chain that changes meanwhile costs one more connection, and none is kept too long
        let stream = TcpStream::connect(&*self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.reach.tls else {
            return Self::begin(Stream::Plain(stream), version == HttpVersion::Http2, shown).await;
        };
        let config = kept.get_or_init(|| client_config(tls, version, self.identity.as_ref())).clone();
        let config = config.map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        let name = ServerName::try_from(&*tls.server_name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = TlsConnector::from(config).connect(name.to_owned(), Ahead::new(stream)).await?;
        let is_http2 = match (version, stream.get_ref().1.alpn_protocol()) {
            (HttpVersion::Http2 | HttpVersion::Negotiated, Some(b"h2")) => true,
            (HttpVersion::Http2, _) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the service does not speak HTTP/2 over TLS")),
            (HttpVersion::Http1 | HttpVersion::Negotiated, _) => false,
        };
        Self::begin(Stream::Tls(Box::new(stream)), is_http2, shown).await
    }

    async fn begin(stream: Stream, is_http2: bool, shown: u64) -> io::Result<Opened> {
        if is_http2 {
            Session::start(stream, shown).await.map(Opened::Http2).map_err(io::Error::other)
        } else {
            Ok(Opened::Http1(Link::new(stream, shown)))
        }
    }
}

/// These roots, or the system's.
///
/// # Errors
/// A sentence for the operator, when there are none or one cannot be used.
pub(crate) fn roots(ca: Option<&[CertificateDer<'static>]>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in ca {
            roots.add(certificate.clone()).map_err(|error| format!("`ca` holds a certificate that cannot be a root: {error}"))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err("the system has no root certificates; install them or set `ca`".to_owned());
    }
    let (_added, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "some of the system's root certificates cannot be used");
    }
    Ok(roots)
}

/// The TLS towards a service: its own roots or the system's, the name checked, TLS 1.2 or 1.3; with an identity of the node
/// where the service wants to know who calls.
fn client_config(tls: &ReachTls, version: HttpVersion, identity: Option<&Arc<Identity>>) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder().with_root_certificates(roots(tls.ca.as_deref())?);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let identity = identity.ok_or_else(|| format!("the node file has no identity named `{name}`"))?;
            let mut config = builder.with_client_cert_resolver(Arc::<Identity>::clone(identity));
            // A session that is resumed shows no certificate: after a renewal the service would still see the old one.
            config.resumption = Resumption::disabled();
            config
        }
    };
    config.alpn_protocols = match version {
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
        HttpVersion::Negotiated => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}
