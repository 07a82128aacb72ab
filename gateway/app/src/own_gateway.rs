//! Calls through this node's own data listener, for the control plane: what a developer tries out is routed, limited and recorded like
//! the request of any client.

mod leaf;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use control::port::{Called, Calling, Gateway, GatewayFault};
use edge::{
    accept::proxy::{self, ProxyProtocol},
    clock::Clock,
    forwarded::TrustedHops,
    tls::Certificates,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long a call may take in all: a person waits for it.
pub const WITHIN: Duration = Duration::from_secs(10);
/// How much of a body is shown: more than a person reads, and little for each of the calls that run at once.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Fields of an answer; one with more is broken.
const HEADERS_MAX: usize = 100;
/// Fields about the connection and the framing, which are this side's own: hyper would take a caller's at their word.
const OWN_FIELDS: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Who may tell the data listener that a connection or a request is somebody else's.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    /// By the PROXY protocol.
    pub proxy: Option<ProxyProtocol>,
    /// By a header field.
    pub hops: Option<TrustedHops>,
}

/// This node's own data listener.
#[derive(Debug, Clone)]
pub struct OwnGateway {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    senders: Senders,
    within: Duration,
}

impl OwnGateway {
    /// The listener that is bound to an address and serves these certificates; a call ends `within` a time.
    pub fn new(bound: SocketAddr, certificates: Arc<Certificates>, senders: Senders, within: Duration) -> Self {
        Self { address: reachable(bound), certificates, senders, within }
    }

    async fn exchange(self, from: IpAddr, mut request: Request<Bytes>) -> Result<Called, GatewayFault> {
        let (began, end) = (Clock.boot(), Instant::now() + self.within);
        let head = async {
            let stream = TcpStream::connect(self.address).await.map_err(|error| fault(GatewayFault::Unreachable, &error))?;
            let stream = self.introduce(from, stream, request.headers_mut()).await.map_err(|error| fault(GatewayFault::Unreachable, &error))?;
            let stream = self.shake_hands(stream, request.headers()).await?;
            http1::Builder::new().max_headers(HEADERS_MAX).handshake(TokioIo::new(stream)).await.map_err(|error| fault(GatewayFault::Broken, &error))
        };
        let (mut sender, connection) = timeout_at(end, head).await.map_err(|_| GatewayFault::TimedOut)??;
        let exchange = async {
            let answer = timeout_at(end, sender.send_request(framed(request))).await.map_err(|_| GatewayFault::TimedOut)?;
            let (parts, body) = answer.map_err(|error| fault(GatewayFault::Broken, &error))?.into_parts();
            let (body, is_cut) = shown(body, end).await?;
            Ok((Response::from_parts(parts, body), is_cut))
        };
        // The connection may end before the answer has been read; then only the exchange goes on.
        let drive = async {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection to the own data listener ended early");
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        let (response, is_cut) = tokio::select! {
            answer = exchange => answer?,
            never = drive => match never {},
        };
        Ok(Called { response, is_cut, took: Duration::from_nanos(Clock.boot().0.saturating_sub(began.0)) })
    }

    /// Says whose call it is, where the listener believes this machine: by the PROXY protocol, which it then insists on, or by the field
    /// of a trusted hop, which must not be left to the caller.
    async fn introduce(&self, from: IpAddr, mut stream: TcpStream, headers: &mut HeaderMap) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        // The listener sees this address.
        let mut seen = stream.local_addr()?.ip().to_canonical();
        if self.senders.proxy.as_ref().is_some_and(|proxy| proxy.from.contains(seen)) {
            stream.write_all(&proxy::header(from)).await?;
            seen = from;
        }
        if let Some(hops) = self.senders.hops.as_ref().filter(|hops| hops.trusts(seen)) {
            hops.tell(from, headers);
        }
        Ok(stream)
    }

    async fn shake_hands(&self, stream: TcpStream, headers: &HeaderMap) -> Result<TlsStream<TcpStream>, GatewayFault> {
        let config = leaf::client_config(&self.certificates).map_err(|error| fault(GatewayFault::Broken, &error))?;
        let connected = TlsConnector::from(config).connect(self.server_name(headers), stream).await;
        connected.map_err(|error| {
            // A verdict of TLS, or an alert. Otherwise the listener has closed: this address has too many connections, or it is full.
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            fault(if tls.is_some() { GatewayFault::Broken } else { GatewayFault::Unreachable }, &error)
        })
    }

    /// The name that TLS asks for. An address asks for none (RFC 6066 section 3), and a host that cannot be one neither: the listener
    /// has its own words for it.
    fn server_name(&self, headers: &HeaderMap) -> ServerName<'static> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(model::host::normalize);
        let name = host.and_then(|host| ServerName::try_from(host.as_str().to_owned()).ok());
        name.unwrap_or_else(|| ServerName::IpAddress(self.address.ip().into()))
    }
}

impl Gateway for OwnGateway {
    fn call(&self, from: IpAddr, request: Request<Bytes>) -> Calling {
        Box::pin(self.clone().exchange(from, request))
    }
}

/// Where a listener can be reached from here: one on every address, over loopback.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let loopback = if bound.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(if bound.ip().is_unspecified() { loopback } else { bound.ip() }, bound.port())
}

/// The request as it is sent: one for this connection alone.
fn framed(request: Request<Bytes>) -> Request<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    parts.uri = parts.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    parts.version = Version::HTTP_11;
    for name in OWN_FIELDS {
        parts.headers.remove(name);
    }
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Request::from_parts(parts, Full::new(body))
}

/// What is shown of a body, and whether there was more. At the deadline there was: a stream of events has no end.
async fn shown(mut body: Incoming, end: Instant) -> Result<(Bytes, bool), GatewayFault> {
    let mut shown = BytesMut::new();
    loop {
        let Ok(frame) = timeout_at(end, body.frame()).await else { return Ok((shown.freeze(), true)) };
        let Some(frame) = frame else { return Ok((shown.freeze(), false)) };
        let frame = frame.map_err(|error| fault(GatewayFault::Broken, &error))?;
        // Trailers are not shown.
        let Ok(mut data) = frame.into_data() else { continue };
        let is_more = data.len() > BODY_BYTES_MAX - shown.len();
        data.truncate(BODY_BYTES_MAX - shown.len());
        shown.extend_from_slice(&data);
        if is_more {
            return Ok((shown.freeze(), true));
        }
    }
}

/// Notes the cause, which holds nothing of the request: that has a key in it.
fn fault(fault: GatewayFault, cause: &(dyn std::error::Error + 'static)) -> GatewayFault {
    tracing::debug!(error = cause, "{fault}");
    fault
}

#[cfg(test)]
mod tests;
