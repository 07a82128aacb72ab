//! Copies of requests for a service that is tried out: sent beside the real exchange, which never waits for them.
//!
//! Each core has a bounded queue and one task behind it. A full queue drops the copy and counts it; answers are read and dropped;
//! nothing that happens here touches the health of an endpoint or the record of a request.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use model::structure::{Target, Upstream};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    accept,
    authorize::Permit,
    balance::{
        cluster::{Cluster, Facts, Tried},
        tally::Event,
    },
    body::{BodyError, RequestBody, ServiceBody},
    forward,
    http1::Cause,
    message::Message,
    pool::{ConnectError, TargetPool},
    principal,
    runtime::{Core, Edge},
};

/// Copies that wait, for each core.
const QUEUE_MAX: usize = 256;
/// Copies that are under way at once, for each core.
const AT_ONCE_MAX: usize = 32;
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
    pool: Arc<TargetPool>,
    message: Message,
}

#[derive(Debug, thiserror::Error)]
enum MirrorError {
    #[error("the exchange took too long")]
    Timeout,
    #[error("connecting failed")]
    Connect(#[from] ConnectError),
    #[error("the exchange failed")]
    Exchange(#[from] Cause),
    #[error("the answer broke off")]
    Body(#[from] BodyError),
    #[error("the answer is too large")]
    TooLarge,
}

/// Queues a copy of a prepared request. A body that streams is not copied: holding it would slow the request, or grow without end.
pub fn copy(core: &Core, permit: &Permit<'_>, upstream: &Arc<Upstream>, cluster: &Cluster, message: &Message) {
    let tally = &core.edge.tally;
    let body = match &message.body {
        RequestBody::Empty => RequestBody::Empty,
        // Copies of a service that hangs must not take the room of requests that count.
        RequestBody::Whole(_) if core.edge.bodies.is_short() => return tally.count(Event::MirrorDropped),
        RequestBody::Whole(bytes) => RequestBody::Whole(bytes.clone()),
        RequestBody::Stream(_) => return tally.count(Event::MirrorStreamed),
    };
    let now = core.edge.clock.boot();
    let all = cluster.is_in_panic(upstream, core.edge.health.changes(), now);
    let facts = Facts { dice: &core.dice, now, all, is_retry: false };
    let made = cluster.pick(&upstream.resilience, None, &Tried::default(), facts).map(|peer| Shadow {
        upstream: Arc::clone(upstream),
        target: Arc::clone(&peer.target),
        pool: Arc::clone(&peer.pool),
        message: message.shadow(body, MIRROR, HeaderValue::from_static("1")),
    });
    let Some(mut shadow) = made else { return tally.count(Event::MirrorFailed) };
    match principal::field(core, permit, upstream) {
        Ok(field) => shadow.message.vouch(field),
        Err(_) => return tally.count(Event::MirrorFailed),
    }
    let queue = core.mirror.0.get_or_init(|| {
        let (queue, shadows) = mpsc::channel(QUEUE_MAX);
        accept::spawn(run(Arc::clone(&core.edge), shadows));
        queue
    });
    if queue.try_send(shadow).is_err() {
        tally.count(Event::MirrorDropped);
    }
}

async fn run(edge: Arc<Edge>, mut shadows: mpsc::Receiver<Shadow>) {
    let mut under_way = JoinSet::new();
    while let Some(shadow) = shadows.recv().await {
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= AT_ONCE_MAX {
            under_way.join_next().await;
        }
        let edge = Arc::clone(&edge);
        under_way.spawn(async move {
            let sent = exchange(shadow, &edge).await;
            if let Err(error) = &sent {
                tracing::debug!(error = error as &dyn std::error::Error, "a copy was not answered");
            }
            edge.tally.count(if sent.is_ok() { Event::MirrorSent } else { Event::MirrorFailed });
        });
    }
}

async fn exchange(shadow: Shadow, edge: &Edge) -> Result<(), MirrorError> {
    let Shadow { upstream, target, pool, mut message } = shadow;
    let slot = pool.enter(edge.settings.in_flight_max)?;
    let opened = match pool.take_idle(edge.clock.boot()) {
        Some(opened) => opened,
        None => pool.open(upstream.connect_timeout, false).await?,
    };
    let answer = within(upstream.response_timeout, forward::carry(opened, &mut message, &target)).await?;
    let source = answer.map_err(|failure| failure.cause)?.into_body();
    // Read to its end, it gives its connection back.
    let mut body = ServiceBody::new(source, slot);
    let mut left = ANSWER_BYTES_MAX;
    while let Some(frame) = within(upstream.idle_timeout, body.frame()).await? {
        let length = frame?.data_ref().map_or(0, Bytes::len);
        left = left.checked_sub(length).ok_or(MirrorError::TooLarge)?;
    }
    Ok(())
}

async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> Result<T, MirrorError> {
    tokio::time::timeout(limit, what).await.map_err(|_| MirrorError::Timeout)
}
