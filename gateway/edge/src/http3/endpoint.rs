//! QUIC below HTTP/3: sockets, TLS, and what the transport bounds by itself.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{HandshakeData, NoInitialCipherSuite, QuicServerConfig},
};
use rustls::{server::NoServerSessionStorage, version::TLS13};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    runtime::Settings,
    tls::{Certificates, TlsError, TlsFacts},
};

/// Asks a client that says nothing whether it is there, as over HTTP/2.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A client that does not answer for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Streams on which a client may speak about the connection at once: three are known, others are for practice (RFC 9114
/// section 6.2.3).
const CONTROL_STREAMS_MAX: u32 = 8;
/// What one stream may have on its way to us: enough for 20 MB/s at 12 ms, or 2.5 MB/s at 100 ms.
const STREAM_WINDOW: u32 = 256 << 10;
/// What all streams of a connection may: the most that a client can make the node keep for it.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What may be on its way to a client and not acknowledged; kept until it is.
const SEND_WINDOW: u64 = 2 << 20;
/// Connections that wait for their first look. They are looked at at once: a flood is dropped, not stored.
const INCOMING_MAX: usize = 1_024;
/// Bytes that come for them meanwhile.
const INCOMING_BYTES_MAX: u64 = 1 << 20;
/// Datagrams that the kernel holds for a core: 2 MiB are some 1,500.
const SOCKET_BUFFER: usize = 2 << 20;

/// Why HTTP/3 cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Http3Error {
    /// The listener's TLS.
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsError),
    /// The provider lacks what QUIC begins with.
    #[error("the TLS provider has no cipher suite for QUIC's first packets")]
    Suite(#[source] NoInitialCipherSuite),
}

/// How QUIC is spoken: TLS 1.3 over the chains of the data listener, so that a reload counts here, too.
///
/// No 0-RTT: what comes with it can be sent again by anybody who has seen it (RFC 8446 section 8). No migration: a client's
/// address is what its limits, its records and its route to a core hang on.
///
/// # Errors
/// See [`Http3Error`].
pub(super) fn server_config(certificates: Arc<Certificates>, settings: &Settings) -> Result<ServerConfig, Http3Error> {
    let mut tls = rustls::ServerConfig::builder_with_protocol_versions(&[&TLS13]).with_no_client_auth().with_cert_resolver(certificates);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.send_tls13_tickets = 1;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| Http3Error::Tls(TlsError::Provider(error)))?;
    tls.max_early_data_size = 0;
    let crypto = QuicServerConfig::try_from(tls).map_err(Http3Error::Suite)?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(CONTROL_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(IdleTimeout::try_from(SILENCE_MAX).ok())
        .datagram_receive_buffer_size(None);
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport))
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX >> 4)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX);
    Ok(config)
}

/// Binds `count` UDP sockets to one address with `SO_REUSEPORT`. The kernel chooses among them by both addresses of a
/// datagram, and a connection does not change its own: all of its datagrams come to one core.
///
/// # Errors
/// What the kernel says, `AddrInUse` among it: another process has the port, shared or not.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    let unbound = || Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP));
    // Another process's sockets in the same group would take a part of the datagrams.
    unbound()?.bind(&address.into())?;
    let socket = || -> io::Result<UdpSocket> {
        let socket = unbound()?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // The kernel may allow less.
        socket.set_recv_buffer_size(SOCKET_BUFFER).ok();
        socket.set_send_buffer_size(SOCKET_BUFFER).ok();
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    (0..count).map(|_| socket()).collect()
}

/// Begins to listen. Each endpoint has keys of its own for stateless resets: with shared ones anybody who sees a connection
/// could have another core write the packet that ends it (RFC 9000 section 21.11).
///
/// # Errors
/// When the socket cannot be registered.
pub(super) fn listen(socket: UdpSocket, config: ServerConfig) -> io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

/// What a handshake agreed on; QUIC's library does not tell the suite and the group.
pub(super) fn tls_facts(connection: &quinn::Connection) -> TlsFacts {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let server_name = data.and_then(|data| data.server_name).map(Into::into);
    TlsFacts { version: "1.3", cipher: "unknown", group: "unknown", server_name }
}

#[cfg(test)]
mod tests;
