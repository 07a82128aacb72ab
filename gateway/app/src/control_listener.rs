//! The control listener: TLS in front of the control plane's router.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use control::port::PeerAddress;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use crate::task::Tasks;

/// Connections at once: operators, scrapers and portals, not traffic.
const CONNECTIONS_MAX: usize = 1_024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest life of a connection; a slow client cannot keep one for ever.
const CONNECTION_MAX: Duration = Duration::from_hours(1);

/// Accepts for as long as the node runs.
pub async fn run(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "accepting a control connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, router) = (Arc::clone(&tls), router.clone());
        tasks.spawn("control connection", async move {
            let served = tokio::time::timeout(CONNECTION_MAX, connection(stream, address, tls, router)).await;
            drop((served, place));
        });
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, tls: Arc<ServerConfig>, router: Router) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream)).await else { return };
    let router = router.layer(axum::Extension(PeerAddress(address.ip().to_canonical())));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(15));
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).keep_alive_interval(Some(Duration::from_secs(30)));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await {
        tracing::debug!(error = &*error, "a control connection ended early");
    }
}
