//! A request's body as it comes from the client, with a note of whether it was read to its end.
//!
//! HTTP/1.1 cannot go on behind a body that nobody reads, and only the one who reads it knows that it was not read: the
//! response must say `Connection: close` then (RFC 9112 section 9.6).
//!
//! What a stream of HTTP/2 or HTTP/3 may end with stands in [`held`], how one of HTTP/2 is given up in [`http2`].
//!
//! A body over HTTP/1.1 also breaks off as soon as its framing has more than one reading, a blank behind a chunk's size for
//! example: the codec below would read over it. What came with the head is judged with the head (see `strict`).

mod held;
mod http2;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use self::{held::Held, http2::Lingering};
use crate::{body::BodyError, watch::Watch};

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
    Http2(Held<Lingering>),
    /// A stream of QUIC.
    #[cfg(feature = "http3")]
    Http3(Box<Held<crate::http3::Body>>),
}

impl Intake {
    /// A body over HTTP/2: what is not read of it is its stream's matter alone.
    pub const fn of_stream(inner: Incoming) -> Self {
        Self { inner: Source::Http2(Held::new(Lingering::new(inner))), watch: None }
    }

    /// A body over HTTP/3.
    #[cfg(feature = "http3")]
    pub(crate) fn over_http3(inner: crate::http3::Body) -> Self {
        Self { inner: Source::Http3(Box::new(Held::new(inner))), watch: None }
    }

    /// A body over HTTP/1.1, whose connection hears of its end.
    pub fn of_connection(inner: Incoming, watch: &Arc<Watch>) -> Self {
        let is_over = inner.is_end_stream();
        watch.body_unread(!is_over);
        Self { inner: Source::Http1(inner), watch: (!is_over).then(|| Arc::clone(watch)) }
    }

    /// Waits for the end of a body that is announced as empty, but whose stream has not ended; any other is left alone. A service
    /// would take the head of such a request for the whole of it.
    ///
    /// # Errors
    /// [`BodyError::Broken`] when it is not empty, or broke off; [`BodyError::Stalled`] after `stall`.
    ///
    /// # Cancel
    /// Loses nothing.
    pub(crate) async fn settle(&mut self, stall: Duration) -> Result<(), BodyError> {
        if self.is_end_stream() || self.size_hint().exact() != Some(0) {
            return Ok(());
        }
        let settled = poll_fn(|cx| match &mut self.inner {
            Source::Http1(_) => Poll::Ready(Ok(())),
            Source::Http2(inner) => inner.poll_settled(cx),
            #[cfg(feature = "http3")]
            Source::Http3(inner) => inner.poll_settled(cx),
        });
        tokio::time::timeout(stall, settled).await.unwrap_or(Err(BodyError::Stalled))
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
            Source::Http1(inner) => Pin::new(inner).poll_frame(cx).map_err(|_| BodyError::Broken),
            Source::Http2(inner) => inner.poll_frame(cx),
            #[cfg(feature = "http3")]
            Source::Http3(inner) => inner.poll_frame(cx),
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
            Source::Http1(inner) => inner.is_end_stream(),
            Source::Http2(inner) => inner.is_end_stream(),
            #[cfg(feature = "http3")]
            Source::Http3(inner) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Source::Http1(inner) => inner.size_hint(),
            Source::Http2(inner) => inner.size_hint(),
            #[cfg(feature = "http3")]
            Source::Http3(inner) => inner.size_hint(),
        }
    }
}
