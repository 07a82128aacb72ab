//! A request's body as it comes from the client, with a note of whether it was read to its end.
//!
//! HTTP/1.1 cannot go on behind a body that nobody reads, and only the one who reads it knows that it was not read: the
//! response must say `Connection: close` then (RFC 9112 section 9.6).
//!
//! Over HTTP/2 a body that nobody reads is given up by a reset of its stream (RFC 9113 section 8.1). Some clients that are still
//! sending lose the answer when the reset comes with it; so what they send is dropped for a moment first.
//!
//! A body over HTTP/1.1 also breaks off as soon as its framing has more than one reading, a blank behind a chunk's size for
//! example: the codec below would read over it. What came with the head is judged with the head (see `strict`).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::{body::BodyError, watch::Watch};

/// How much of a body over HTTP/2 is dropped before its stream is reset...
const LINGER_BYTES_MAX: usize = 1 << 20;
/// ... and for how long, from when nobody wants it any more. The answer leaves within this time as a rule.
const LINGERS: Duration = Duration::from_secs(1);

/// A request's body.
#[derive(Debug)]
pub struct Intake {
    inner: Source,
    /// Told when the end was read; `None` where nobody wants to know, or once it was told.
    watch: Option<Arc<Watch>>,
}

/// Where it comes from.
#[derive(Debug)]
enum Source {
    /// The codec of HTTP/1.1.
    Http1(Incoming),
    /// The codec of HTTP/2.
    Http2(Unread),
    /// A stream of QUIC.
    #[cfg(feature = "http3")]
    Http3(Box<crate::http3::Body>),
}

/// A body over HTTP/2, `None` only while it is dropped.
#[derive(Debug)]
struct Unread(Option<Incoming>);

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(inner) = self.0.take().filter(|inner| !inner.is_end_stream()) else { return };
        // Without a runtime the connection is gone, too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(linger(inner)));
        }
    }
}

/// Drops what a client still sends. It ends at once when the client has reset the stream, or the connection is over.
async fn linger(mut body: Incoming) {
    let drain = async {
        let mut left = LINGER_BYTES_MAX;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    tokio::time::timeout(LINGERS, drain).await.ok();
}

impl Intake {
    /// A body over HTTP/2: what is not read of it is its stream's matter alone.
    pub const fn of_stream(inner: Incoming) -> Self {
        Self { inner: Source::Http2(Unread(Some(inner))), watch: None }
    }

    /// A body over HTTP/3.
    #[cfg(feature = "http3")]
    pub(crate) fn over_http3(inner: crate::http3::Body) -> Self {
        Self { inner: Source::Http3(Box::new(inner)), watch: None }
    }

    /// A body over HTTP/1.1, whose connection hears of its end.
    pub fn of_connection(inner: Incoming, watch: &Arc<Watch>) -> Self {
        let is_over = inner.is_end_stream();
        watch.body_unread(!is_over);
        Self { inner: Source::Http1(inner), watch: (!is_over).then(|| Arc::clone(watch)) }
    }

    /// True for a body whose end is told by its coding, not by a length.
    pub fn is_chunked(&self) -> bool {
        self.size_hint().exact().is_none()
    }
}

impl Body for Intake {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.inner {
            Source::Http1(inner) | Source::Http2(Unread(Some(inner))) => Pin::new(inner).poll_frame(cx).map_err(|_| BodyError::Broken),
            Source::Http2(Unread(None)) => Poll::Ready(None),
            #[cfg(feature = "http3")]
            Source::Http3(inner) => Pin::new(&mut **inner).poll_frame(cx),
        };
        if polled.is_ready() && self.watch.as_ref().is_some_and(|watch| watch.is_ambiguous()) {
            return Poll::Ready(Some(Err(BodyError::Broken)));
        }
        let is_over = match &polled {
            Poll::Ready(None) => true,
            // Nothing follows trailers, and nobody asks again.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || self.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_over && let Some(watch) = self.watch.take() {
            watch.body_unread(false);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Source::Http1(inner) | Source::Http2(Unread(Some(inner))) => inner.is_end_stream(),
            Source::Http2(Unread(None)) => true,
            #[cfg(feature = "http3")]
            Source::Http3(inner) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Source::Http1(inner) | Source::Http2(Unread(Some(inner))) => inner.size_hint(),
            Source::Http2(Unread(None)) => SizeHint::with_exact(0),
            #[cfg(feature = "http3")]
            Source::Http3(inner) => inner.size_hint(),
        }
    }
}
