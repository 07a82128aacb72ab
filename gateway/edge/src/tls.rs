//! TLS for the listeners, and what is known about a connection.

mod chain;
mod client;
mod identity;
mod table;

use std::{net::IpAddr, sync::Arc};

use rustls::{
    ServerConfig, ServerConnection,
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};

use crate::certificate::Shown;

pub use self::{
    chain::{Chain, ChainFault},
    client::Asking,
    identity::{Identities, Identity},
    table::{Certificates, ChainTable, UnknownHost},
};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate text holds none, or is damaged.
    #[error("the certificate file holds no valid PEM certificate")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    /// The first certificate is no X.509 certificate (RFC 5280).
    #[error("the first certificate of the file cannot be read")]
    Leaf,
    /// The key text holds none, or is damaged.
    #[error("the key file holds no valid PEM private key")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// They do not belong together, or the algorithm is not supported.
    #[error("the certificate and the key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// There is no randomness for the keys of session tickets.
    #[error("the keys of session tickets cannot be made")]
    Provider(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3 with X25519MLKEM768 preferred, HTTP/2 and HTTP/1.1 by ALPN, over chains that can be replaced.
///
/// Tickets of one configuration open no session under another: a client that was not asked for a certificate is asked.
/// One TLS 1.3 ticket for each handshake: a second one costs 19 us and is rarely used.
///
/// # Errors
/// [`TlsError::Provider`] when the machine cannot make random keys for tickets.
pub fn server_config(certificates: Arc<Certificates>, asking: Asking) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config =
        ServerConfig::builder_with_protocol_versions(&[&TLS13, &TLS12]).with_client_cert_verifier(asking.verifier()).with_cert_resolver(certificates);
    config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).to_vec();
    config.send_tls13_tickets = 1;
    // Tickets are stateless: nothing to keep for sessions, and nothing that two cores would share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Provider)?;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Which HTTP a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3, which has a listener of its own: ALPN never chooses it here.
    Http3,
}

impl Protocol {
    /// As records name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "h1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        }
    }
}

/// A connection's other end.
#[derive(Debug)]
pub struct Peer {
    /// Its address, IPv4-mapped ones as IPv4; behind a trusted balancer or hop, the client's.
    pub address: IpAddr,
    /// The same as text: each request on the connection writes it twice.
    pub address_text: Box<str>,
    /// What was agreed by ALPN.
    pub protocol: Protocol,
    /// What was agreed by TLS.
    pub tls: TlsFacts,
    /// The certificate that it proved to hold the key of.
    pub shown: Shown,
}

impl Peer {
    /// The other end at an address.
    pub fn new(address: IpAddr, protocol: Protocol, tls: TlsFacts, shown: Shown) -> Self {
        Self { address, address_text: address.to_string().into(), protocol, tls, shown }
    }

    /// The same connection's other end at another address: a client behind a trusted hop. The certificate is the hop's, not the client's.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Self {
        let shown = if matches!(self.shown, Shown::NotAsked) { Shown::NotAsked } else { Shown::OfHop };
        Self::new(address, self.protocol, self.tls.clone(), shown)
    }
}

/// What a handshake agreed on, as records name it.
#[derive(Debug, Clone)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: &'static str,
    /// The key exchange group.
    pub group: &'static str,
    /// The server name that the client asked for.
    pub server_name: Option<Box<str>>,
}

impl TlsFacts {
    /// Reads them from a connection whose handshake is over.
    pub fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
            _ => "unknown",
        };
        let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        let group = connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str()).unwrap_or("unknown");
        Self { version, cipher, group, server_name: connection.server_name().map(Into::into) }
    }
}
