//! A request's body as it comes from the client, with a note of whether it was read to its end.
//!
//! HTTP/1.1 cannot go on behind a body that nobody reads, and only the one who reads it knows that it was not read: the
//! response must say `Connection: close` then (RFC 9112 section 9.6).
//!
//! A body over HTTP/1.1 also breaks off as soon as its framing has more than one reading, a blank behind a chunk's size for
//! example: the codec below would read over it. What came with the head is judged with the head (see `strict`).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::{body::BodyError, watch::Watch};

/// A request's body.
#[derive(Debug)]
pub struct Intake {
    inner: Incoming,
    /// Told when the end was read; `None` where nobody wants to know, or once it was told.
    watch: Option<Arc<Watch>>,
}

impl Intake {
    /// A body over HTTP/2: what is not read of it is its stream's matter alone.
    pub const fn of_stream(inner: Incoming) -> Self {
        Self { inner, watch: None }
    }

    /// A body over HTTP/1.1, whose connection hears of its end.
    pub fn of_connection(inner: Incoming, watch: &Arc<Watch>) -> Self {
        let is_over = inner.is_end_stream();
        watch.body_unread(!is_over);
        Self { inner, watch: (!is_over).then(|| Arc::clone(watch)) }
    }

    /// True for a body whose end is told by its coding, not by a length.
    pub fn is_chunked(&self) -> bool {
        self.inner.size_hint().exact().is_none()
    }
}

impl Body for Intake {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx).map_err(|_| BodyError::Broken);
        if polled.is_ready() && self.watch.as_ref().is_some_and(|watch| watch.is_ambiguous()) {
            return Poll::Ready(Some(Err(BodyError::Broken)));
        }
        let is_over = match &polled {
            Poll::Ready(None) => true,
            // Nothing follows trailers, and nobody asks again.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || self.inner.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_over && let Some(watch) = self.watch.take() {
            watch.body_unread(false);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
