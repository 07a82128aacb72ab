//! The body of a response, read from its connection while it is polled.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{
    Link, READ_BYTES_MIN,
    chunks::Step,
    head::Framing,
    upload::{Upload, UploadError},
};
use crate::body::BodyError;

/// What is read at most in one call: larger reads push what they read out of the nearest cache before it is encrypted.
const READ_BYTES_MAX: usize = 64 << 10;

/// A response's body. It owns the connection, and drives what is left of the request's body.
#[derive(Debug)]
pub struct Download {
    link: Link,
    upload: Upload,
    framing: Framing,
    is_persistent: bool,
    is_over: bool,
    /// What was read once as broken is never read as anything else.
    is_broken: bool,
    /// Grows while reads are full.
    read_bytes: usize,
}

impl Download {
    pub(super) fn new(link: Link, upload: Upload, framing: Framing, is_persistent: bool) -> Self {
        let is_over = matches!(framing, Framing::Length(0));
        Self { link, upload, framing, is_persistent, is_over, is_broken: false, read_bytes: READ_BYTES_MIN }
    }

    /// The body was read to its end.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// The link, when both messages ended where they should and it can be used again.
    pub fn into_link(self) -> Option<Link> {
        (self.is_over && self.is_persistent && self.upload.is_done() && self.link.input.is_empty()).then_some(self.link)
    }

    /// The connection behind a switch of protocols, with what was read already; `None` unless the request had left whole.
    pub fn into_switched(self) -> Option<(super::Stream, Bytes)> {
        self.upload.is_done().then(|| (self.link.stream, self.link.input.freeze()))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(Err(UploadError::Body(_) | UploadError::Io(_))) = self.upload.poll(&mut self.link.stream, cx) {
            // The response decides; the connection is closed behind it.
            self.is_persistent = false;
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.is_broken {
            return Poll::Ready(Some(Err(BodyError::Broken)));
        }
        let polled = self.poll_next(cx);
        self.is_broken = matches!(polled, Poll::Ready(Some(Err(_))));
        polled
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(piece) = self.take() {
                return Poll::Ready(piece.transpose());
            }
            let wanted = self.wanted();
            let count = match ready!(self.link.poll_fill(cx, wanted)) {
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "reading a response failed");
                    return Poll::Ready(Some(Err(BodyError::Broken)));
                }
            };
            if count == 0 {
                if matches!(self.framing, Framing::UntilClose) {
                    self.is_over = true;
                    return Poll::Ready(None);
                }
                return Poll::Ready(Some(Err(BodyError::Broken)));
            }
            if count >= self.read_bytes {
                self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
            }
        }
    }

    /// What the next read should have room for.
    fn wanted(&self) -> usize {
        let left = match &self.framing {
            Framing::Length(left) => *left,
            Framing::Chunked(chunks) => chunks.data_left().saturating_add(64),
            Framing::UntilClose => u64::MAX,
        };
        self.read_bytes.min(usize::try_from(left).unwrap_or(usize::MAX)).max(64)
    }

    /// A piece that was read already; `None` when more has to be read.
    fn take(&mut self) -> Option<Result<Option<Frame<Bytes>>, BodyError>> {
        let input = &mut self.link.input;
        match &mut self.framing {
            Framing::Chunked(chunks) => match chunks.next(input) {
                Ok(Step::More) => None,
                Ok(Step::Data(data)) => {
                    self.is_over = chunks.ends_here(input);
                    Some(Ok(Some(Frame::data(data))))
                }
                Ok(Step::End(trailers)) => {
                    self.is_over = true;
                    Some(Ok(trailers.map(Frame::trailers)))
                }
                Err(reason) => {
                    tracing::debug!(reason, "a chunked response is broken");
                    Some(Err(BodyError::Broken))
                }
            },
            _ if input.is_empty() => None,
            Framing::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
                self.is_over = *left == 0;
                Some(Ok(Some(Frame::data(input.split_to(take).freeze()))))
            }
            Framing::UntilClose => Some(Ok(Some(Frame::data(input.split().freeze())))),
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_piece(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match &self.framing {
            _ if self.is_over => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(*left),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::default(),
        }
    }
}
