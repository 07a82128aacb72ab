//! Connections to places that others name: over TLS alone, to public addresses alone unless they may be private. Who names one must not
//! be able to have the gateway ask servers that only it can reach.

mod address;
mod exchange;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

pub use self::exchange::{Answered, Question, send};
use crate::connect;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// To open a connection to one of them.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Those of the public Internet.
    PublicAlone,
    /// Every one.
    Any,
}

/// Why there is no connection, or no answer. No part of what was sent or said stands in it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The URL names no place.
    #[error("the URL names no place")]
    Place,
    /// The name is not known.
    #[error("its name cannot be looked up: {0}")]
    Name(std::io::Error),
    /// It is at an address that is not public.
    #[error("it is at an address that is not public")]
    NotPublic,
    /// No connection, or no TLS over it.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// The answer is no HTTP.
    #[error("the answer is not valid HTTP: {0}")]
    Http(hyper::Error),
    /// The body of an answer broke off, or is longer than this.
    #[error("the answer is longer than {0} bytes, or broke off")]
    Body(usize),
}

/// TLS for HTTP/1.1 that trusts these roots, or the system's.
///
/// # Errors
/// A sentence for the operator, when there are none or one cannot be used.
pub fn tls(ca: Option<&[CertificateDer<'static>]>) -> Result<Arc<ClientConfig>, String> {
    let mut config = ClientConfig::builder().with_root_certificates(connect::roots(ca)?).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Connects to one of the addresses that were judged: a second look-up could bring others.
///
/// # Errors
/// The last [`Fault`]. There is no deadline for the look-up and for TLS: that is the caller's.
///
/// # Cancel
/// Closes what was opened.
pub async fn open(url: &Url, addresses: Addresses, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Fault> {
    let port = url.port_or_known_default().unwrap_or(443);
    let (found, name) = match url.host() {
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, port)).await.map_err(Fault::Name)?;
            (found.map(|address| address.ip()).collect(), ServerName::try_from(name.to_owned()).map_err(|_| Fault::Place)?)
        }
        Some(Host::Ipv4(address)) => (vec![IpAddr::V4(address)], ServerName::from(IpAddr::V4(address))),
        Some(Host::Ipv6(address)) => (vec![IpAddr::V6(address)], ServerName::from(IpAddr::V6(address))),
        None => return Err(Fault::Place),
    };
    let may = |address: &IpAddr| addresses == Addresses::Any || address::is_public(*address);
    let mut last = Fault::NotPublic;
    for address in found.into_iter().filter(may).take(ADDRESSES_MAX) {
        let opened = async {
            // One address that nobody answers at must leave time for the next.
            let connected = timeout(CONNECT_WITHIN, TcpStream::connect(SocketAddr::new(address, port)));
            let stream = connected.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
            TlsConnector::from(Arc::clone(tls)).connect(name.clone(), stream).await
        };
        match opened.await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Fault::Connect(error),
        }
    }
    Err(last)
}
