//! Fetches a key set: over https alone, from a public address alone, without following anybody anywhere else.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use model::{
    jwt::keys::{KeySet, SetFault},
    structure::identity::{Place, Remote},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

use super::address;
use crate::connect;

/// One byte more than the largest key set, so that it says itself that it is too long.
const ANSWER_BYTES_MAX: usize = (256 << 10) + 1;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// To open a connection to one of them.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// Bytes of an answer's head, and its fields.
const HEAD_BYTES_MAX: usize = 32 << 10;
const FIELDS_MAX: usize = 100;

/// Why there is no key set. No part of a key set or a configuration stands in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It took too long.
    #[error("it took longer than two seconds")]
    Late,
    /// The name is not known.
    #[error("its name cannot be looked up: {0}")]
    Name(std::io::Error),
    /// It is at an address that is not public.
    #[error("it is at an address that is not public; `private_addresses: true` allows that")]
    NotPublic,
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// The roots cannot be used.
    #[error("{0}")]
    Trust(String),
    /// The answer is no HTTP.
    #[error("the answer is not valid HTTP: {0}")]
    Http(hyper::Error),
    /// The answer is not 200. Redirects are not followed: whoever can make one would choose the keys.
    #[error("the answer is {0} and not 200; redirects are not followed")]
    Status(StatusCode),
    /// The body broke off, or is too long.
    #[error("the answer is longer than 256 KiB, or broke off")]
    Body,
    /// The configuration is not JSON with `issuer` and `jwks_uri`.
    #[error("the issuer's configuration is not one: `issuer` and an https `jwks_uri` must be there")]
    Configuration,
    /// The configuration is another issuer's.
    #[error("the issuer's configuration names another issuer")]
    OtherIssuer,
    /// The set cannot be taken.
    #[error("{0}")]
    Set(SetFault),
    /// No key of the set can be used: the set before is better than none.
    #[error("no key of the set can be used")]
    NoKeys,
}

/// Fetches the key set. `trust` is made at the first time and kept: the system's roots are some hundred certificates.
///
/// # Errors
/// The first [`Fault`].
///
/// # Cancel
/// Closes the connection.
pub(super) async fn key_set(remote: &Remote, trust: &mut Option<Arc<ClientConfig>>) -> Result<KeySet, Fault> {
    let tls = match trust {
        Some(tls) => Arc::clone(tls),
        None => Arc::clone(trust.insert(tls(remote)?)),
    };
    let text = match &remote.place {
        Place::KeySet(url) => get(url, remote, &tls).await?,
        Place::Configuration { url, issuer } => {
            let place = place(&get(url, remote, &tls).await?, issuer)?;
            get(&place, remote, &tls).await?
        }
    };
    let keys = KeySet::from_jwks(&text, remote.algorithms).map_err(Fault::Set)?;
    if keys.n_usable() == 0 { Err(Fault::NoKeys) } else { Ok(keys) }
}

/// Where a configuration says that the keys are (`OpenID` Connect Discovery 1.0 section 4.3: it must name the issuer exactly).
fn place(text: &str, issuer: &str) -> Result<Url, Fault> {
    let configuration: serde_json::Value = serde_json::from_str(text).map_err(|_| Fault::Configuration)?;
    let member = |name: &str| configuration.get(name).and_then(serde_json::Value::as_str).ok_or(Fault::Configuration);
    if member("issuer")? != issuer {
        return Err(Fault::OtherIssuer);
    }
    let url = Url::parse(member("jwks_uri")?).map_err(|_| Fault::Configuration)?;
    let is_plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    if is_plain { Ok(url) } else { Err(Fault::Configuration) }
}

fn tls(remote: &Remote) -> Result<Arc<ClientConfig>, Fault> {
    let roots = connect::roots(remote.ca.as_deref()).map_err(Fault::Trust)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn get(url: &Url, remote: &Remote, tls: &Arc<ClientConfig>) -> Result<String, Fault> {
    let stream = open(url, remote.allows_private, tls).await?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(FIELDS_MAX).max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(Fault::Http)?;
    // Ends with this function.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target.parse().map_err(|_| Fault::Configuration)?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| Fault::Configuration)?);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("causeway"));
    let answer = sender.send_request(request).await.map_err(Fault::Http)?;
    if answer.status() != StatusCode::OK {
        return Err(Fault::Status(answer.status()));
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|_| Fault::Body)?.to_bytes();
    String::from_utf8(body.into()).map_err(|_| Fault::Set(SetFault::Malformed))
}

/// Connects to one of the addresses that were judged: a second look-up could bring others.
pub(super) async fn open(url: &Url, allows_private: bool, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Fault> {
    let port = url.port_or_known_default().unwrap_or(443);
    let (addresses, name) = match url.host() {
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, port)).await.map_err(Fault::Name)?;
            (found.map(|address| address.ip()).collect(), ServerName::try_from(name.to_owned()).map_err(|_| Fault::Configuration)?)
        }
        Some(Host::Ipv4(address)) => (vec![IpAddr::V4(address)], ServerName::from(IpAddr::V4(address))),
        Some(Host::Ipv6(address)) => (vec![IpAddr::V6(address)], ServerName::from(IpAddr::V6(address))),
        None => return Err(Fault::Configuration),
    };
    let mut last = Fault::NotPublic;
    for address in addresses.into_iter().filter(|address| allows_private || address::is_public(*address)).take(ADDRESSES_MAX) {
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
