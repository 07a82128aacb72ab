//! Copies of requests for a service that is tried out: sent beside the real exchange, which never waits for them.
//!
//! Each core has a bounded queue and one task behind it. A full queue drops the copy and counts it; answers are read and dropped;
//! nothing that happens here touches the health of an endpoint or the record of a request.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use model::structure::{Target, Upstream};
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};

use crate::{
    accept,
    balance::{
        cluster::{Cluster, Facts, Tried},
        tally::Event,
    },
    body::RequestBody,
    forward,
    runtime::{Core, Edge},
};

/// Copies that wait, for each core.
const QUEUE_MAX: usize = 256;
/// Copies that are under way at once, for each core.
const AT_ONCE_MAX: usize = 32;
/// Idle connections that are kept to one endpoint.
const IDLE_MAX: usize = 16;
/// Of an answer this much is read, so that its connection can serve again; beyond, the connection is closed.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Tells the service that this is a copy: it must not charge a card.
const MIRROR: HeaderName = HeaderName::from_static("causeway-mirror");

/// One core's queue of copies; its task begins with the first one.
#[derive(Debug, Default)]
pub struct Mirror(OnceLock<mpsc::Sender<Shadow>>);

/// A copy on its way.
#[derive(Debug)]
struct Shadow {
    upstream: Arc<Upstream>,
    target: Arc<Target>,
    request: Request<Full<Bytes>>,
}

#[derive(Debug, thiserror::Error)]
enum MirrorError {
    #[error("the exchange took too long")]
    Timeout,
    #[error("connecting failed")]
    Connect(#[source] io::Error),
    #[error("the exchange failed")]
    Http(#[source] hyper::Error),
    #[error("the answer is too large, or broke off")]
    Body,
}

/// Queues a copy of a prepared request. A body that streams is not copied: holding it would slow the request, or grow without end.
pub fn copy(core: &Core, upstream: &Arc<Upstream>, cluster: &Cluster, message: &Request<RequestBody>, path: &PathAndQuery) {
    let tally = &core.edge.tally;
    let body = match message.body() {
        RequestBody::Empty | RequestBody::Whole(None) => Bytes::new(),
        RequestBody::Whole(Some(bytes)) => bytes.clone(),
        RequestBody::Stream(_) => return tally.count(Event::MirrorStreamed),
    };
    let now = core.edge.clock.boot();
    let all = cluster.is_in_panic(upstream, core.edge.health.changes(), now);
    let facts = Facts { dice: &core.dice, now, all, is_retry: false };
    let made = cluster.pick(&upstream.resilience, None, &Tried::default(), facts).and_then(|peer| {
        let request = addressed(message, &peer.target, path, Full::new(body))?;
        Some(Shadow { upstream: Arc::clone(upstream), target: Arc::clone(&peer.target), request })
    });
    let Some(shadow) = made else { return tally.count(Event::MirrorFailed) };
    let queue = core.mirror.0.get_or_init(|| {
        let (queue, shadows) = mpsc::channel(QUEUE_MAX);
        accept::spawn(run(Arc::clone(&core.edge), shadows));
        queue
    });
    if queue.try_send(shadow).is_err() {
        tally.count(Event::MirrorDropped);
    }
}

fn addressed(message: &Request<RequestBody>, target: &Target, path: &PathAndQuery, body: Full<Bytes>) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::new(body);
    *request.method_mut() = message.method().clone();
    *request.uri_mut() = forward::based(&target.base_path, path)?.into();
    *request.headers_mut() = message.headers().clone();
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(&target.authority).ok()?);
    request.headers_mut().insert(MIRROR, HeaderValue::from_static("1"));
    Some(request)
}

type Idle = Arc<Mutex<HashMap<Box<str>, Vec<SendRequest<Full<Bytes>>>>>>;

async fn run(edge: Arc<Edge>, mut shadows: mpsc::Receiver<Shadow>) {
    let (idle, mut under_way) = (Idle::default(), JoinSet::new());
    while let Some(shadow) = shadows.recv().await {
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= AT_ONCE_MAX {
            under_way.join_next().await;
        }
        let (edge, idle) = (Arc::clone(&edge), Arc::clone(&idle));
        under_way.spawn(async move {
            let sent = exchange(shadow, &idle).await;
            if let Err(error) = &sent {
                tracing::debug!(error = error as &dyn std::error::Error, "a copy was not answered");
            }
            edge.tally.count(if sent.is_ok() { Event::MirrorSent } else { Event::MirrorFailed });
        });
    }
}

async fn exchange(shadow: Shadow, idle: &Idle) -> Result<(), MirrorError> {
    let Shadow { upstream, target, request } = shadow;
    let mut sender = within(upstream.connect_timeout, connection(&target, idle)).await??;
    let answer = within(upstream.response_timeout, sender.send_request(request)).await?.map_err(MirrorError::Http)?;
    let mut body = answer.into_body();
    let mut left = ANSWER_BYTES_MAX;
    while let Some(frame) = within(upstream.idle_timeout, body.frame()).await? {
        let length = frame.map_err(MirrorError::Http)?.data_ref().map_or(0, Bytes::len);
        left = left.checked_sub(length).ok_or(MirrorError::Body)?;
    }
    let mut kept = idle.lock();
    let kept = kept.entry(target.address.clone()).or_default();
    if kept.len() < IDLE_MAX {
        kept.push(sender);
    }
    Ok(())
}

async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> Result<T, MirrorError> {
    tokio::time::timeout(limit, what).await.map_err(|_| MirrorError::Timeout)
}

async fn connection(target: &Target, idle: &Idle) -> Result<SendRequest<Full<Bytes>>, MirrorError> {
    loop {
        let kept = idle.lock().get_mut(&target.address).and_then(Vec::pop);
        let Some(mut sender) = kept else { break };
        if sender.ready().await.is_ok() {
            return Ok(sender);
        }
    }
    let stream = TcpStream::connect(&*target.address).await.map_err(MirrorError::Connect)?;
    stream.set_nodelay(true).map_err(MirrorError::Connect)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(MirrorError::Http)?;
    // It ends when its sender is dropped or the service closes.
    accept::spawn(async move {
        connection.await.ok();
    });
    Ok(sender)
}
