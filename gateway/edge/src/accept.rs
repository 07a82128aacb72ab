//! From a listening socket to requests: accepting, TLS, HTTP, and the end of all three.

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use audit::event::{Class, Decision, Event, Outcome, Personal, Phase};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::problem::{Denial, ProblemKind};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    gate::Prefix,
    runtime::Core,
    serve,
    strict::AmbiguousFraming,
    tls::{Peer, Protocol, TlsFacts},
    watch::{Tick, Watch, Watched, WatchedBody},
};

/// Spawns a task on this core. The one place where the data plane does so; every task ends with its connection.
#[expect(clippy::disallowed_methods, reason = "this is the tracked spawner of the data plane")]
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

/// What a node's cores are told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePhase {
    /// Accept and serve.
    Serving,
    /// Accept no more, finish what runs.
    Draining,
}

/// What all cores' acceptors share.
#[derive(Debug)]
pub struct Acceptors {
    /// The TLS configuration for new connections.
    pub tls: Arc<ServerConfig>,
    /// Handshakes that one address may begin.
    pub handshakes: DefaultKeyedRateLimiter<IpAddr>,
}

impl Acceptors {
    /// Makes the shared part; `per_second` handshakes an address, with twice as many at once.
    pub fn new(tls: Arc<ServerConfig>, per_second: NonZeroU32) -> Arc<Self> {
        let quota = Quota::per_second(per_second).allow_burst(per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1)));
        Arc::new(Self { tls, handshakes: RateLimiter::keyed(quota) })
    }
}

/// One core's connections.
#[derive(Debug, Default)]
struct Connections {
    tick: Arc<Tick>,
    watches: Mutex<Vec<Arc<Watch>>>,
}

/// Serves one core until the phase turns to draining and its connections are over, or the drain deadline has passed.
///
/// # Errors
/// Only when the socket cannot be registered.
pub async fn run(
    core: Arc<Core>,
    socket: std::net::TcpListener,
    acceptors: Arc<Acceptors>,
    phase: watch::Receiver<NodePhase>,
) -> std::io::Result<()> {
    let mut draining = phase.clone();
    let listener = TcpListener::from_std(socket)?;
    let connections = Arc::new(Connections::default());
    connections.tick.set(core.edge.clock.boot().0 / 1_000_000_000);
    spawn(core.lane.deliver());
    spawn(sweep(Arc::clone(&core), Arc::clone(&connections), Arc::clone(&acceptors)));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => admit(&core, &connections, &acceptors, stream, address, &phase),
                Err(error) => {
                    // Out of descriptors or memory: serving goes on, accepting pauses.
                    tracing::warn!(error = &error as &dyn std::error::Error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _changed = draining.wait_for(|phase| *phase == NodePhase::Draining) => break,
        }
    }
    drop(listener);
    drain(&core).await;
    Ok(())
}

async fn drain(core: &Core) {
    let finished = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(10));
        while core.counters.open() > 0 {
            pulse.tick().await;
        }
    };
    if tokio::time::timeout(core.edge.settings.drain_timeout, finished).await.is_err() {
        tracing::warn!(connections = core.counters.open(), "the drain deadline has passed; the remaining connections are closed");
    }
}

fn admit(
    core: &Arc<Core>,
    connections: &Arc<Connections>,
    acceptors: &Arc<Acceptors>,
    stream: TcpStream,
    address: SocketAddr,
    phase: &watch::Receiver<NodePhase>,
) {
    let address = address.ip().to_canonical();
    let is_full = usize::try_from(core.counters.open()).is_ok_and(|open| open >= core.edge.settings.connections_max);
    if is_full || acceptors.handshakes.check_key(&address).is_err() {
        core.counters.connection_refused();
        return;
    }
    core.counters.connection_opened();
    let watch = Watch::new(&connections.tick);
    connections.watches.lock().push(Arc::clone(&watch));
    let (core, tls, phase) = (Arc::clone(core), Arc::clone(&acceptors.tls), phase.clone());
    spawn(async move {
        let guard = Opened(Arc::clone(&core));
        tokio::select! {
            () = connection(&core, stream, address, tls, Arc::clone(&watch), phase) => {}
            () = watch.killed() => {}
        }
        drop(guard);
    });
}

struct Opened(Arc<Core>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.counters.connection_closed();
    }
}

async fn connection(
    core: &Arc<Core>,
    stream: TcpStream,
    address: IpAddr,
    tls: Arc<ServerConfig>,
    watch: Arc<Watch>,
    phase: watch::Receiver<NodePhase>,
) {
    stream.set_nodelay(true).ok();
    let handshake = tokio::time::timeout(core.edge.settings.handshake_timeout, handshake(core, stream, tls)).await;
    let Ok(Some(stream)) = handshake else {
        core.counters.handshake_failed();
        return;
    };
    let (_, session) = stream.get_ref();
    let protocol = if session.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
    let peer = Arc::new(Peer { address, protocol, tls: TlsFacts::of(session) });
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&watch), protocol));
    match protocol {
        Protocol::Http1 => serve_http1(core, peer, io, watch, phase).await,
        Protocol::Http2 => serve_http2(core, peer, io, watch, phase).await,
    }
}

/// Finishes a handshake; answers plain HTTP with a sentence, because people do type `http://`.
async fn handshake(core: &Core, mut stream: TcpStream, tls: Arc<ServerConfig>) -> Option<TlsStream<TcpStream>> {
    let mut first = [0_u8; 1];
    // 0x16: a TLS record with a handshake (RFC 8446 section 5.1).
    match stream.peek(&mut first).await {
        Ok(1) if first == [0x16] => TlsAcceptor::from(tls).accept(stream).await.ok(),
        Ok(1) if first.first().is_some_and(u8::is_ascii_uppercase) => {
            let now = core.edge.clock.now();
            let denial = Denial::new(ProblemKind::TlsRequired, "this port speaks TLS; write https:// instead of http://");
            core.counters.refused(denial.kind);
            let body = denial.to_json(&core.uuid(now).to_string(), &core.edge.region).to_string();
            let text = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).await.ok();
            stream.shutdown().await.ok();
            // What the client still sends is read and dropped, or closing would reset the connection and lose the answer.
            let mut sink = [0_u8; 4_096];
            for _ in 0..64 {
                if !matches!(tokio::time::timeout(Duration::from_millis(500), tokio::io::AsyncReadExt::read(&mut stream, &mut sink)).await, Ok(Ok(n)) if n > 0)
                {
                    break;
                }
            }
            None
        }
        _ => None,
    }
}

type Io = TokioIo<Watched<TlsStream<TcpStream>>>;

async fn serve_http1(core: &Arc<Core>, peer: Arc<Peer>, io: Io, watch: Arc<Watch>, mut phase: watch::Receiver<NodePhase>) {
    let settings = &core.edge.settings;
    let service = service_fn(|mut request: Request<Incoming>| {
        let in_flight = watch.enter(Protocol::Http1);
        let is_ambiguous = watch.is_ambiguous();
        if is_ambiguous {
            request.extensions_mut().insert(AmbiguousFraming);
        }
        // Boxed: the future is some kilobytes large, and hyper moves it several times.
        let served = Box::pin(serve::handle(Arc::clone(core), Arc::clone(&peer), request));
        async move {
            let mut response = served.await?;
            if is_ambiguous {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| WatchedBody::new(body, in_flight)))
        }
    });
    // The time for a head is kept by the watch: hyper's own timer would also end connections that are only idle.
    let connection = http1::Builder::new()
        .max_headers(settings.headers_max)
        .max_buf_size(usize::try_from(settings.head_bytes_max).unwrap_or(usize::MAX).max(8_192))
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _draining = phase.wait_for(|phase| *phase == NodePhase::Draining) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        record_malformed(core, &peer, &error);
    }
}

async fn serve_http2(core: &Arc<Core>, peer: Arc<Peer>, io: Io, watch: Arc<Watch>, mut phase: watch::Receiver<NodePhase>) {
    let settings = &core.edge.settings;
    let owned = Arc::clone(core);
    let service = service_fn(move |request| {
        let in_flight = watch.enter(Protocol::Http2);
        let served = Box::pin(serve::handle(Arc::clone(&owned), Arc::clone(&peer), request));
        async move { Ok::<_, Infallible>(served.await?.map(|body| WatchedBody::new(body, in_flight))) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(settings.head_bytes_max)
        // Rapid reset (CVE-2023-44487): resets that are still pending close the connection beyond this.
        .max_pending_accept_reset_streams(Some(32))
        .max_local_error_reset_streams(Some(256))
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(15))
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        _draining = phase.wait_for(|phase| *phase == NodePhase::Draining) => connection.as_mut().graceful_shutdown(),
    }
    connection.await.ok();
}

/// Once a second: connections that do not move, idle connections to services, limits without debt, refused floods.
async fn sweep(core: Arc<Core>, connections: Arc<Connections>, acceptors: Arc<Acceptors>) {
    let mut pulse = tokio::time::interval(Duration::from_secs(1));
    let mut rounds = 0_u32;
    loop {
        pulse.tick().await;
        let now = core.edge.clock.now();
        let seconds = now.boot.0 / 1_000_000_000;
        connections.tick.set(seconds);
        let settings = &core.edge.settings;
        connections.watches.lock().retain(|watch| {
            if watch.sweep(seconds, settings) {
                core.counters.stalled();
            }
            // The connection's task holds the other reference.
            Arc::strong_count(watch) > 1
        });
        core.pools.sweep(now.boot);
        record_floods(&core);
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(60) {
            core.edge.cells.sweep(now.boot);
            core.kept.sweep();
            acceptors.handshakes.retain_recent();
        }
    }
}

/// Writes one record for each address prefix whose requests were refused unrecorded, with their number.
fn record_floods(core: &Core) {
    let now = core.edge.clock.now();
    for (prefix, count) in core.edge.gate.take_refused(now.boot) {
        record_flood(core, prefix, count);
    }
}

fn record_flood(core: &Core, prefix: Prefix, count: u64) {
    let Ok(mut reservation) = core.lane.reserve(audit::spool::Durability::Buffered, 1) else { return };
    let now = core.edge.clock.now();
    let (id, address) = (core.uuid(now), prefix.address().to_string());
    let request_id = id.to_string();
    let mut event = Event::new(Class::Access, Phase::Outcome, id, now.wall.0, &core.edge.region, &core.edge.node, &request_id);
    event.outcome = Outcome::Denied;
    event.decision = Decision::Deny;
    event.severity = 2;
    event.reason = Some(ProblemKind::PeerLimited.code());
    event.status = Some(ProblemKind::PeerLimited.status().as_u16());
    event.count = Some(count);
    event.personal = Personal { client_address: Some(&address), user_agent: None };
    drop(reservation.record(&event));
}

/// Records a request whose head the codec could not read; it has answered 400 or 431 by itself, and closed.
fn record_malformed(core: &Core, peer: &Peer, error: &hyper::Error) {
    if !error.is_parse() {
        return;
    }
    let kind = if error.is_parse_too_large() { ProblemKind::HeadersTooLarge } else { ProblemKind::RequestMalformed };
    core.counters.refused(kind);
    let now = core.edge.clock.now();
    // Under a flood these are counted with the other refusals of their prefix.
    if core.edge.gate.check(peer.address, now.boot).is_err() {
        return;
    }
    core.edge.gate.failed(peer.address, now.boot);
    let Ok(mut reservation) = core.lane.reserve(audit::spool::Durability::Buffered, 1) else { return };
    let (id, address) = (core.uuid(now), peer.address.to_string());
    let request_id = id.to_string();
    let mut event = Event::new(Class::Access, Phase::Outcome, id, now.wall.0, &core.edge.region, &core.edge.node, &request_id);
    event.outcome = Outcome::Denied;
    event.decision = Decision::Deny;
    event.severity = 2;
    event.reason = Some(kind.code());
    event.status = Some(kind.status().as_u16());
    event.scheme = Some("https");
    event.protocol = Some("h1");
    event.tls_version = Some(peer.tls.version);
    event.tls_cipher = Some(peer.tls.cipher);
    event.sni = peer.tls.server_name.as_deref();
    event.personal = Personal { client_address: Some(&address), user_agent: None };
    drop(reservation.record(&event));
}
