//! A body whose last announced byte waits for the end of its stream.
//!
//! Over HTTP/2 and HTTP/3 a stream may go on behind the length that its head announced. Such a request is malformed (RFC 9113 section
//! 8.1.1, RFC 9114 section 4.1.2), and who passed the last byte on would have made a whole request for the service out of one that is
//! none. So that byte is given only once the stream has ended; and of a body that is announced as empty, the end is awaited before
//! anything is sent ([`Held::poll_settled`]).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::body::BodyError;

/// The body of one stream.
#[derive(Debug)]
pub(super) struct Held<B> {
    inner: B,
    /// The piece with the last announced byte, while the end is not known.
    last: Option<Bytes>,
    /// Trailers that came behind it.
    trailers: Option<Frame<Bytes>>,
}

impl<B: Body<Data = Bytes> + Unpin> Held<B> {
    pub(super) const fn new(inner: B) -> Self {
        Self { inner, last: None, trailers: None }
    }

    /// Ready once a body that is announced as empty has ended; at once for any other.
    ///
    /// # Errors
    /// [`BodyError::Broken`] when it is not empty, or broke off.
    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.last.is_some() || self.trailers.is_some() || self.inner.size_hint().exact() != Some(0) {
            return Poll::Ready(Ok(()));
        }
        self.poll_end(cx)
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.last.is_none() {
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(trailers)));
            }
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Broken))),
                None => return Poll::Ready(None),
            };
            let is_last = self.inner.size_hint().exact() == Some(0) && !self.inner.is_end_stream();
            match frame.into_data() {
                Ok(data) if is_last => self.last = Some(data),
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        if let Err(error) = ready!(self.poll_end(cx)) {
            self.last = None;
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(self.last.take().map(|data| Ok(Frame::data(data))))
    }

    /// Waits for the end, behind which nothing but trailers may come. An empty frame of data may carry it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        while !self.inner.is_end_stream() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) if data.is_empty() => {}
                Some(Ok(Err(trailers))) => {
                    self.trailers = Some(trailers);
                    break;
                }
                None => break,
                Some(Ok(Ok(_)) | Err(_)) => return Poll::Ready(Err(BodyError::Broken)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.trailers.is_none() && self.inner.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.last {
            Some(last) => SizeHint::with_exact(u64::try_from(last.len()).unwrap_or(u64::MAX)),
            None => self.inner.size_hint(),
        }
    }
}
