//! The control listener: TLS in front of the control plane's router.

mod heard_out;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request, middleware::Next, response::Response};
use control::port::PeerAddress;
use edge::accept::{NodePhase, entrance::Handshakes, handshake};
use http::{HeaderValue, Version, header};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use model::problem::{Denial, ProblemKind};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use self::heard_out::HeardOut;
use crate::task::Tasks;

/// Connections at once: operators, scrapers and portals, not traffic.
const CONNECTIONS_MAX: usize = 1_024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest life of a connection; a slow client cannot keep one for ever.
const CONNECTION_MAX: Duration = Duration::from_hours(1);
/// How long a connection that is to end waits for a request to answer with `Connection: close`.
const LAST_REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// What every connection needs.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The TLS configuration.
    pub tls: Arc<Handshakes>,
    /// The control plane.
    pub router: Router,
    /// This node's region, for problem documents.
    pub region: Arc<str>,
    /// Whether the control listener is to end.
    pub phase: watch::Receiver<NodePhase>,
}

/// Accepts from one socket until the phase turns; connections then end after what runs.
pub async fn run(listener: TcpListener, shared: Shared, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut ending = shared.phase.clone();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            _ended = ending.wait_for(|phase| *phase == NodePhase::Draining) => return,
        };
        let Some((accepted, place)) = accepted else { return };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "accepting a control connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let shared = shared.clone();
        tasks.spawn("control connection", async move {
            let served = tokio::time::timeout(CONNECTION_MAX, connection(stream, address, shared)).await;
            drop((served, place));
        });
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, shared: Shared) {
    let Shared { tls, router, region, mut phase } = shared;
    let plain = || {
        let denial = Denial::new(ProblemKind::TlsRequired, "this port speaks TLS; write https:// instead of http://");
        denial.to_json(&uuid::Uuid::now_v7().to_string(), &region).to_string()
    };
    let handshake = handshake::accept(stream, &tls, |_| false, plain);
    let Ok(Some(handshake::Accepted { stream, .. })) = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await else { return };
    let ending = phase.clone();
    let router = router
        .layer(axum::Extension(PeerAddress(address.ip().to_canonical())))
        .layer(axum::middleware::from_fn(move |request, next| last_answer(ending.clone(), request, next)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(15));
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).keep_alive_interval(Some(Duration::from_secs(30)));
    let connection = builder.serve_connection(TokioIo::new(HeardOut::new(stream)), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = async {
            let ended = phase.wait_for(|phase| *phase == NodePhase::Draining).await.is_ok();
            debug_assert!(ended, "the node outlives its connections");
            tokio::time::sleep(LAST_REQUEST_WITHIN).await;
        } => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        tracing::debug!(error = &*error, "a control connection ended early");
    }
}

/// Tells a client of HTTP/1.1 that its connection ends with this answer, once the listener is to end.
async fn last_answer(phase: watch::Receiver<NodePhase>, request: Request, next: Next) -> Response {
    let is_http1 = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if is_http1 && *phase.borrow() == NodePhase::Draining {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
