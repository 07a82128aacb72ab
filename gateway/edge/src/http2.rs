//! HTTP/2 towards services (RFC 9113): one connection carries many requests.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::{
    accept,
    body::{BodyError, RequestBody},
    coalesce::Coalesced,
    http1::{Cause, Failure, Stream},
};

/// Requests that one connection carries at once: what servers allow at least (RFC 9113 section 6.5.2).
const STREAMS_MAX: u32 = 100;
/// What may be sent ahead on one stream: what a client that does not read costs at most.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// On all of them: as much as they may have together, so that those whose clients do not read keep no other back.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX;
/// A connection over which nothing comes back is given up after this long.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a service that is shared by requests; clones share it.
#[derive(Debug, Clone)]
pub struct Session {
    sender: SendRequest<RequestBody>,
    shared: Arc<Shared>,
    /// What it showed of its pool's identity: its number of changes.
    pub(crate) shown: u64,
    /// Younger ones have higher numbers.
    pub(crate) serial: u64,
}

/// Of the session that was started last.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// What the clones of a session have in common.
#[derive(Debug, Default)]
struct Shared {
    streams: AtomicU32,
    is_retired: AtomicBool,
}

/// A response's body, which counts as a stream of its session until it is over.
#[derive(Debug)]
pub struct Reply {
    body: Incoming,
    _place: Place,
}

/// A stream's place on its connection.
#[derive(Debug)]
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    /// Begins HTTP/2 on an open connection: the service is known to speak it, or has said so by ALPN. `shown` is the number of changes of
    /// the identity that the connection showed.
    ///
    /// # Errors
    /// When the connection breaks at once.
    pub async fn start(stream: Stream, shown: u64) -> Result<Self, hyper::Error> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed) + 1;
        let io = TokioIo::new(Coalesced::new(stream));
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(64 << 10)
            .keep_alive_interval(Some(PING_INTERVAL))
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(io)
            .await?;
        // It ends when its last sender is dropped or the service goes away; errors reach the exchanges themselves.
        accept::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection to a service ended");
            }
        });
        Ok(Self { sender, shared: Arc::default(), shown, serial })
    }

    /// True while it can carry one more request.
    pub fn has_room(&self) -> bool {
        !self.is_closed() && !self.is_retired() && self.shared.streams.load(Ordering::Relaxed) < STREAMS_MAX
    }

    /// Gives it no more requests; those that it carries go on.
    pub fn retire(&self) {
        self.shared.is_retired.store(true, Ordering::Relaxed);
    }

    /// True after [`Self::retire`].
    pub fn is_retired(&self) -> bool {
        self.shared.is_retired.load(Ordering::Relaxed)
    }

    /// True when it carries none and may be closed.
    pub fn is_idle(&self) -> bool {
        self.shared.streams.load(Ordering::Relaxed) == 0
    }

    /// True once the service or the network has ended it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    /// [`Failure`]; other requests on the connection go on.
    ///
    /// # Cancel
    /// Dropping the future resets the stream (RFC 9113 section 5.4.2); the connection goes on.
    pub async fn exchange(mut self, request: Request<RequestBody>) -> Result<Response<Reply>, Failure> {
        self.shared.streams.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.shared));
        if let Err(error) = self.sender.ready().await {
            return Err(failure(&error, Some(request.into_body())));
        }
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(|body| Reply { body, _place: place })),
            Err(mut error) => {
                let body = error.take_message().map(Request::into_body);
                Err(failure(error.error(), body))
            }
        }
    }
}

fn failure(error: &hyper::Error, unsent: Option<RequestBody>) -> Failure {
    tracing::debug!(error = error as &dyn std::error::Error, "an exchange over HTTP/2 failed");
    let cause = if error.is_parse() { Cause::Malformed("the service's response is not valid HTTP/2") } else { Cause::Closed };
    Failure { cause, is_sent: unsent.is_none(), is_answered: false, body: unsent }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "a response over HTTP/2 broke off");
            BodyError::Broken
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
