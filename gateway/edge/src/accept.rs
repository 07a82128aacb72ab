//! From a listening socket to requests: accepting, TLS, HTTP, and the end of all three.

mod asking;
mod corked;
pub mod entrance;
mod explain;
pub mod handshake;
mod linger;
pub mod places;
pub mod proxy;
pub(crate) mod record;

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::problem::{Denial, ProblemKind};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};
use tokio_rustls::server::TlsStream;

use self::{
    corked::Corked,
    entrance::{Acceptors, Arrival, Entered},
    explain::Explained,
    linger::linger,
    proxy::Source,
};
use crate::{
    coalesce::Coalesced,
    crossing, deadline,
    http2::STREAM_WINDOW_BYTES,
    intake::Intake,
    listener::BACKLOG,
    refuse,
    runtime::{Core, Edge},
    serve,
    stay::streams::Streams,
    strict::AmbiguousFraming,
    tls::{Peer, Protocol, TlsFacts},
    watch::{Tick, Watch, Watched, WatchedBody},
    websocket::{self, seats::Seats, tunnel::LAST_WORD_WITHIN},
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

/// How long a connection that is to end waits for one more request, which is then answered with `Connection: close`. A
/// client that uses its connection is told so; closing at once would cut off a request that is on its way.
const LAST_REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// What of a refused body is read before the connection is reset: clients that look for an answer only when they have sent
/// everything get one for uploads of up to this size.
const LINGER_BYTES_MAX: usize = 16 << 20;

/// One core's connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) tick: Arc<Tick>,
    pub(crate) watches: Mutex<Vec<Arc<Watch>>>,
}

/// Where a core's connections come from.
#[derive(Debug)]
pub struct Doors {
    /// Its listening sockets: one as a rule; more after a hand-over from a process with more cores.
    pub sockets: Vec<std::net::TcpListener>,
    /// What it serves HTTP/3 with.
    #[cfg(feature = "http3")]
    pub http3: Option<crate::http3::Door>,
}

impl Doors {
    /// TCP alone.
    pub const fn over(sockets: Vec<std::net::TcpListener>) -> Self {
        Self {
            sockets,
            #[cfg(feature = "http3")]
            http3: None,
        }
    }
}

/// Serves one core until the phase turns to draining and its connections are over, or the drain deadline has passed.
///
/// # Errors
/// Only when a socket cannot be registered.
pub async fn run(core: Arc<Core>, doors: Doors, acceptors: Arc<Acceptors>, phase: watch::Receiver<NodePhase>) -> std::io::Result<()> {
    let listeners = doors.sockets.into_iter().map(TcpListener::from_std).collect::<std::io::Result<Vec<_>>>()?;
    let connections = Arc::new(Connections::default());
    connections.tick.set(core.edge.clock.boot().0 / 1_000_000_000);
    spawn(core.lane.deliver());
    spawn(deadline::watch(Arc::clone(&core.deadlines), core.edge.clock));
    spawn(Seats::watch(Arc::clone(&core)));
    spawn(Streams::watch(Arc::clone(&core)));
    spawn(sweep(Arc::clone(&core), Arc::clone(&connections), Arc::clone(&acceptors)));
    let accepted =
        futures_util::future::join_all(listeners.into_iter().map(|listener| accept(&core, &connections, &acceptors, listener, phase.clone())));
    #[cfg(feature = "http3")]
    let (_, endpoint) = tokio::join!(accepted, crate::http3::accept(&core, &connections, &acceptors, doors.http3, phase.clone()));
    #[cfg(feature = "http3")]
    tokio::select! {
        () = drain(&core) => {}
        () = crate::http3::refuse(endpoint.as_ref()) => {}
    }
    #[cfg(feature = "http3")]
    if let Some(endpoint) = endpoint {
        crate::http3::flushed(&endpoint).await;
    }
    #[cfg(not(feature = "http3"))]
    {
        accepted.await;
        drain(&core).await;
    }
    Ok(())
}

/// Accepts from one socket until the node drains.
async fn accept(
    core: &Arc<Core>,
    connections: &Arc<Connections>,
    acceptors: &Arc<Acceptors>,
    listener: TcpListener,
    phase: watch::Receiver<NodePhase>,
) {
    let mut draining = phase.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => admit(core, connections, acceptors, stream, address, &phase),
                Err(error) => {
                    // Out of descriptors or memory: serving goes on, accepting pauses.
                    tracing::warn!(error = &error as &dyn std::error::Error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _changed = draining.wait_for(|phase| *phase == NodePhase::Draining) => break,
        }
    }
    // The kernel resets what it holds for a socket that nobody has any more: serve what has come so far. The kernel is asked
    // itself, because the runtime may not have heard of the last ones yet; not for ever, because a flood need not end.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((stream, address)) = listener.accept() else { return };
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            admit(core, connections, acceptors, stream, address, &phase);
        }
    }
}

async fn drain(core: &Core) {
    let finished = || async {
        let mut pulse = tokio::time::interval(Duration::from_millis(10));
        while core.counters.open() > 0 {
            pulse.tick().await;
        }
    };
    if tokio::time::timeout(core.edge.settings.drain_timeout, finished()).await.is_ok() {
        return;
    }
    // WebSockets have no end of their own to wait for: they are told, and have a moment to hear it.
    let told = core.websockets.drain();
    if told == 0 || tokio::time::timeout(LAST_WORD_WITHIN, finished()).await.is_err() {
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
    let arrival = if is_full {
        None
    } else if acceptors.is_proxy(address) {
        Some(Arrival::Proxy(address))
    } else {
        acceptors.enter(address).map(Arrival::Client)
    };
    let Some(arrival) = arrival else {
        core.counters.connection_refused();
        return;
    };
    core.counters.connection_opened();
    let watch = Watch::new(&connections.tick);
    connections.watches.lock().push(Arc::clone(&watch));
    let (core, acceptors, phase) = (Arc::clone(core), Arc::clone(acceptors), phase.clone());
    spawn(async move {
        let guard = Opened(Arc::clone(&core));
        tokio::select! {
            () = connection(&core, stream, arrival, &acceptors, Arc::clone(&watch), phase) => {}
            () = watch.killed() => {}
        }
        drop(guard);
    });
}

/// An open connection, as it is counted.
#[derive(Debug)]
pub(crate) struct Opened(pub(crate) Arc<Core>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.counters.connection_closed();
    }
}

async fn connection(
    core: &Arc<Core>,
    stream: TcpStream,
    arrival: Arrival,
    acceptors: &Acceptors,
    watch: Arc<Watch>,
    phase: watch::Receiver<NodePhase>,
) {
    stream.set_nodelay(true).ok();
    let opened = tokio::time::timeout(core.edge.settings.handshake_timeout, open(core, stream, arrival, acceptors)).await;
    let Ok(Some((handshake::Accepted { stream, shown }, entered))) = opened else {
        core.counters.handshake_failed();
        return;
    };
    let (_, session) = stream.get_ref();
    let protocol = if session.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
    let peer = Arc::new(Peer::new(entered.address, protocol, TlsFacts::of(session), shown));
    let io = Watched::new(stream, Arc::clone(&watch), protocol);
    match protocol {
        Protocol::Http2 => serve_http2(core, peer, io, watch, phase).await,
        // Over TCP there is no third one.
        Protocol::Http1 | Protocol::Http3 => serve_http1(core, peer, io, watch, phase).await,
    }
    drop(entered);
}

/// Learns whose connection it is, and finishes the handshake.
async fn open(core: &Core, mut stream: TcpStream, arrival: Arrival, acceptors: &Acceptors) -> Option<(handshake::Accepted, Entered)> {
    let entered = match (arrival, &acceptors.proxy) {
        (Arrival::Client(entered), _) => entered,
        (Arrival::Proxy(sender), None) => enter(core, acceptors, sender)?,
        (Arrival::Proxy(sender), Some(rule)) => match proxy::read(&mut stream, rule.version_1).await {
            Ok(Source::Client(address)) => enter(core, acceptors, address)?,
            Ok(Source::Sender) => enter(core, acceptors, sender)?,
            Err(error) => {
                core.counters.proxy_header_refused();
                tracing::debug!(error = &error as &dyn std::error::Error, "a balancer's connection is closed");
                return None;
            }
        },
    };
    let accepted = handshake::accept(stream, &acceptors.tls, |name| asking::asks(core, name), || tls_required(core)).await?;
    Some((accepted, entered))
}

/// Lets a connection in that a balancer passed on, or counts it as refused.
fn enter(core: &Core, acceptors: &Acceptors, address: IpAddr) -> Option<Entered> {
    let entered = acceptors.enter(address);
    if entered.is_none() {
        core.counters.connection_refused();
    }
    entered
}

fn tls_required(core: &Core) -> String {
    let denial = Denial::new(ProblemKind::TlsRequired, "this port speaks TLS; write https:// instead of http://");
    core.counters.refused(denial.kind);
    denial.to_json(&core.uuid(core.edge.clock.now()).to_string(), &core.edge.region).to_string()
}

/// Who a request on a connection comes from.
pub(crate) fn client(edge: &Edge, peer: &Arc<Peer>, headers: &HeaderMap) -> Arc<Peer> {
    match &edge.settings.trusted_hops {
        Some(hops) if !crossing::is_from_gateway(edge, peer, headers) => hops.client(peer, headers),
        Some(_) | None => Arc::clone(peer),
    }
}

/// Tells a client where HTTP/3 is spoken (RFC 7838), where it is. One that was asked for a certificate stays: over HTTP/3 it could show none.
#[cfg(feature = "http3")]
fn advertise(edge: &Edge, peer: &Peer, headers: &mut HeaderMap) {
    if let Some(value) = edge.settings.alt_svc.as_ref().filter(|_| matches!(peer.shown, crate::certificate::Shown::NotAsked)) {
        headers.insert(header::ALT_SVC, value.clone());
    }
}

type Io = Watched<TlsStream<Corked>>;

async fn serve_http1(core: &Arc<Core>, peer: Arc<Peer>, io: Io, watch: Arc<Watch>, mut phase: watch::Receiver<NodePhase>) {
    let settings = &core.edge.settings;
    let is_closing = AtomicBool::new(false);
    let tunnel = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = watch.enter(Protocol::Http1);
        let number = watch.begin();
        let mut request = request.map(|body| Intake::of_connection(body, &watch));
        let is_chunked = request.body().is_chunked();
        if watch.is_ambiguous() {
            request.extensions_mut().insert(AmbiguousFraming);
        }
        let caller = client(&core.edge, &peer, request.headers());
        let is_own = caller.address == peer.address;
        #[cfg(feature = "http3")]
        let told = Arc::clone(&caller);
        let (parts, body) = request.into_parts();
        // Boxed, the future and the head as well: they are large, and moved several times.
        let served = Box::pin(serve::handle(Arc::clone(core), caller, Box::new(parts), body));
        let (is_closing, watch, tunnel) = (&is_closing, &watch, &tunnel);
        async move {
            let mut response = served.await?;
            #[cfg(feature = "http3")]
            advertise(&core.edge, &told, response.headers_mut());
            if let Some(carried) = websocket::carried(&mut response) {
                *tunnel.lock() = Some(carried);
            } else if watch.is_ambiguous()
                || is_closing.load(Ordering::Relaxed)
                || watch.is_left_unread(number, is_chunked)
                // Another request here would be misdirected, too (RFC 9110 section 15.5.20). A trusted hop's connection carries others', and goes on.
                || is_own && refuse::is_misdirected(&response)
            {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| WatchedBody::new(body, in_flight)))
        }
    });
    let explain = |status| record::explain(core, status, watch.is_ambiguous());
    let io = Explained::new(io, Arc::clone(&watch), explain);
    // The time for a head is kept by the watch: hyper's own timer would also end connections that are only idle.
    let mut connection = http1::Builder::new()
        .max_headers(settings.headers_max)
        .max_buf_size(usize::try_from(settings.head_bytes_max).unwrap_or(usize::MAX).max(8_192))
        .serve_connection(TokioIo::new(io), service);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        // Nothing is on its way here, so there is nobody to be told.
        () = watch.left_alone() => return,
        _draining = phase.wait_for(|phase| *phase == NodePhase::Draining) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        is_closing.store(true, Ordering::Relaxed);
        if let Ok(ended) = tokio::time::timeout(LAST_REQUEST_WITHIN, &mut connection).await {
            ended
        } else {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let carried = tunnel.lock().take();
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let (mut io, told) = io.into_inner().into_parts();
    if let (Ok(()), Some(tunnel)) = (&ended, carried) {
        io.switch();
        let _busy = watch.enter(Protocol::Http1);
        // Boxed: a connection that is none should not be larger for it.
        Box::pin(tunnel.run(io, read_buf)).await;
        return;
    }
    if let Err(error) = &ended {
        record::malformed(core, &peer, error, told);
    }
    // A response that broke off must look broken; after all others the client is heard out.
    if ended.is_ok() || ended.is_err_and(|error| error.is_parse()) {
        let (stream, _session) = io.into_inner().into_inner();
        linger(stream.into_inner(), LINGER_BYTES_MAX).await;
    }
}

async fn serve_http2(core: &Arc<Core>, peer: Arc<Peer>, io: Io, watch: Arc<Watch>, mut phase: watch::Receiver<NodePhase>) {
    let settings = &core.edge.settings;
    let owned = Arc::clone(core);
    let own_watch = Arc::clone(&watch);
    let is_gateways = crossing::is_gateways(&core.edge, &peer);
    let misdirected = Arc::new(Notify::new());
    let tell = Arc::clone(&misdirected);
    let service = service_fn(move |request: Request<Incoming>| {
        let in_flight = own_watch.enter(Protocol::Http2);
        let tell = Arc::clone(&tell);
        let request = request.map(Intake::of_stream);
        if crossing::is_from_gateway(&owned.edge, &peer, request.headers()) {
            own_watch.share();
        }
        let caller = client(&owned.edge, &peer, request.headers());
        let is_own = caller.address == peer.address;
        #[cfg(feature = "http3")]
        let (core, told) = (Arc::clone(&owned), Arc::clone(&caller));
        let (parts, body) = request.into_parts();
        let served = Box::pin(serve::handle(Arc::clone(&owned), caller, Box::new(parts), body));
        async move {
            let response = served.await?;
            // The next request would be misdirected, too: the client makes another connection after GOAWAY. A trusted hop's carries others'.
            if is_own && refuse::is_misdirected(&response) {
                tell.notify_one();
            }
            #[cfg(feature = "http3")]
            let response = {
                let mut response = response;
                advertise(&core.edge, &told, response.headers_mut());
                response
            };
            Ok::<_, Infallible>(response.map(|body| WatchedBody::new(body, in_flight)))
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        // RFC 8441 section 3: clients may ask for WebSockets; each route decides.
        .enable_connect_protocol()
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(settings.head_bytes_max)
        // Rapid reset (CVE-2023-44487): resets that are still pending close the connection beyond this.
        .max_pending_accept_reset_streams(Some(32))
        .max_local_error_reset_streams(Some(256))
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(15));
    if is_gateways {
        // A body that a service does not take must not keep other clients' bodies back.
        let all = STREAM_WINDOW_BYTES.saturating_mul(settings.streams_max);
        builder.initial_stream_window_size(STREAM_WINDOW_BYTES).initial_connection_window_size(all);
    }
    let connection = builder.serve_connection(TokioIo::new(Coalesced::new(io)), service);
    let mut connection = std::pin::pin!(connection);
    let is_late = *phase.borrow() == NodePhase::Draining;
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = watch.left_alone() => {}
        () = misdirected.notified() => {}
        _draining = phase.wait_for(|phase| *phase == NodePhase::Draining) => {}
    }
    // A connection that has just begun is served once: before its preface a shutdown would be an end without GOAWAY.
    if is_late && tokio::time::timeout(LAST_REQUEST_WITHIN, connection.as_mut()).await.is_ok() {
        return;
    }
    connection.as_mut().graceful_shutdown();
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
        core.counters.beat(seconds);
        let settings = &core.edge.settings;
        connections.watches.lock().retain(|watch| {
            if watch.sweep(seconds, settings) {
                core.counters.stalled();
            }
            // The connection's task holds the other reference.
            Arc::strong_count(watch) > 1
        });
        core.pools.sweep(now.boot);
        core.principals.sweep(now.boot);
        record::floods(&core);
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(60) {
            core.edge.cells.sweep(now.boot);
            core.kept.sweep();
            acceptors.handshakes.retain_recent();
        }
    }
}
