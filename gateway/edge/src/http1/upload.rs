//! A request on its way to a service: its head and its body, written as the socket takes them.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use hyper::body::Body;
use tokio::io::AsyncWrite;

use super::Stream;
use crate::body::{BodyError, RequestBody};

/// Why a request did not leave whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The service takes no more; it may have answered.
    #[error("writing failed")]
    Io(#[source] io::Error),
    /// The body could not be had.
    #[error(transparent)]
    Body(BodyError),
}

/// Where a body ends (RFC 9112 section 6).
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// After this many more bytes.
    Length(u64),
    /// At the last chunk.
    Chunked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The body may have more pieces.
    Running,
    /// What is pending is the end.
    Ending,
    Done,
    Failed,
}

/// A request that is being written.
#[derive(Debug)]
pub(super) struct Upload {
    /// The head, later a chunk's size line or the trailers.
    front: Vec<u8>,
    front_written: usize,
    data: Bytes,
    tail: &'static [u8],
    body: RequestBody,
    framing: Framing,
    state: State,
    has_written: bool,
    is_touched: bool,
}

impl Upload {
    /// `head` must say how the body is framed: with its length where the body knows it, else chunked.
    pub(super) fn new(head: Vec<u8>, body: RequestBody) -> Self {
        let framing = body.size_hint().exact().map_or(Framing::Chunked, Framing::Length);
        let state = if body.is_end_stream() { State::Ending } else { State::Running };
        Self { front: head, front_written: 0, data: Bytes::new(), tail: b"", body, framing, state, has_written: false, is_touched: false }
    }

    pub(super) const fn has_written(&self) -> bool {
        self.has_written
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The body, unless a piece of it was taken.
    pub(super) fn into_body(self) -> Option<RequestBody> {
        (!self.is_touched).then_some(self.body)
    }

    /// Writes as much as the socket takes; ready when nothing is left, at once when that was so before.
    pub(super) fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        if matches!(self.state, State::Done | State::Failed) {
            return Poll::Ready(Ok(()));
        }
        let polled = self.write(stream, cx);
        if let Poll::Ready(Err(error)) = &polled {
            tracing::debug!(error = error as &dyn std::error::Error, "a request did not leave whole");
            self.state = State::Failed;
        }
        polled
    }

    fn write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        // The first piece of the body leaves with the head when it is at hand.
        let mut is_waiting_for_body = false;
        if self.state == State::Running && self.data.is_empty() && self.tail.is_empty() {
            is_waiting_for_body = self.next_piece(cx).map_err(UploadError::Body)?.is_pending();
        }
        loop {
            while self.has_pending() {
                let count = ready!(self.write_pending(stream, cx)).map_err(UploadError::Io)?;
                if count == 0 {
                    return Poll::Ready(Err(UploadError::Io(io::ErrorKind::WriteZero.into())));
                }
                self.has_written = true;
                self.advance(count);
            }
            if self.state == State::Ending {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(UploadError::Io)?;
                self.state = State::Done;
                return Poll::Ready(Ok(()));
            }
            if is_waiting_for_body || self.next_piece(cx).map_err(UploadError::Body)?.is_pending() {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(UploadError::Io)?;
                return Poll::Pending;
            }
        }
    }

    /// Takes the next piece of the body into the pending bytes.
    fn next_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(frame) => frame.transpose()?,
        };
        self.is_touched = true;
        match frame.map(hyper::body::Frame::into_data) {
            Some(Ok(data)) => self.take(data)?,
            Some(Err(frame)) => self.end(frame.into_trailers().ok().as_ref())?,
            None => self.end(None)?,
        }
        Ok(Poll::Ready(()))
    }

    fn take(&mut self, data: Bytes) -> Result<(), BodyError> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        match &mut self.framing {
            Framing::Length(left) => *left = left.checked_sub(length).ok_or(BodyError::Broken)?,
            // An empty chunk would be the last one.
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                self.reuse_front();
                write!(self.front, "{length:x}\r\n").map_err(|_| BodyError::Broken)?;
                self.tail = b"\r\n";
            }
        }
        self.data = data;
        if self.body.is_end_stream() {
            match self.framing {
                Framing::Chunked => self.tail = if self.data.is_empty() { b"0\r\n\r\n" } else { b"\r\n0\r\n\r\n" },
                Framing::Length(0) => {}
                Framing::Length(_) => return Err(BodyError::Broken),
            }
            self.state = State::Ending;
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BodyError> {
        match self.framing {
            Framing::Length(0) => {}
            Framing::Length(_) => return Err(BodyError::Broken),
            Framing::Chunked => {
                self.reuse_front();
                self.front.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    self.front.extend_from_slice(name.as_str().as_bytes());
                    self.front.extend_from_slice(b": ");
                    self.front.extend_from_slice(value.as_bytes());
                    self.front.extend_from_slice(b"\r\n");
                }
                self.front.extend_from_slice(b"\r\n");
            }
        }
        self.state = State::Ending;
        Ok(())
    }

    /// Makes room before the next piece; a head that has not left yet stays in front of it.
    fn reuse_front(&mut self) {
        if self.front_written == self.front.len() {
            self.front.clear();
            self.front_written = 0;
        }
    }

    fn has_pending(&self) -> bool {
        self.front_written < self.front.len() || !self.data.is_empty() || !self.tail.is_empty()
    }

    fn write_pending(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let front = self.front.get(self.front_written..).unwrap_or_default();
        let stream = Pin::new(stream);
        if self.data.is_empty() && self.tail.is_empty() {
            return stream.poll_write(cx, front);
        }
        stream.poll_write_vectored(cx, &[IoSlice::new(front), IoSlice::new(&self.data), IoSlice::new(self.tail)])
    }

    fn advance(&mut self, count: usize) {
        let from_front = count.min(self.front.len() - self.front_written);
        self.front_written += from_front;
        let count = count - from_front;
        let from_data = count.min(self.data.len());
        self.data.advance(from_data);
        if self.data.is_empty() {
            // An empty rest would hold the whole, and its room, until the response has ended.
            self.data = Bytes::new();
        }
        self.tail = self.tail.get(count - from_data..).unwrap_or_default();
    }
}
