//! The body of a request as it comes over its stream.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{
    code::Code,
    head::{self, Refusal},
    wire::{Fault, Frames, Piece},
};
use crate::body::BodyError;

/// The body of a request over HTTP/3. Dropping it asks the client to send no more.
#[derive(Debug)]
pub struct Body {
    frames: Frames,
    connection: quinn::Connection,
    /// What was read ahead, to know whether there is a body at all.
    ahead: Option<Result<Piece, Fault>>,
    /// What is left of the length that the head gave: a body of another length is malformed (RFC 9114 section 4.1.2), and
    /// would be read as two requests, or as half of one, behind the gateway.
    left: Option<u64>,
    section_max: usize,
    is_over: bool,
}

impl Body {
    /// The body behind a head with these fields.
    pub(super) fn new(frames: Frames, connection: quinn::Connection, headers: &HeaderMap, section_max: usize) -> Self {
        let read = |value: &HeaderValue| value.to_str().ok().and_then(|text| text.parse().ok());
        // One that cannot be read is a length that no body has.
        let length = headers.get(header::CONTENT_LENGTH).map(|value| read(value).unwrap_or(u64::MAX));
        Self { frames, connection, ahead: None, left: length, section_max, is_over: false }
    }

    /// Looks whether the end is at hand. A client ends the stream of a request without a body at once, but perhaps in the next
    /// packet: where a body is not to be expected, that packet is awaited.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) async fn look_ahead(&mut self, is_expected: bool) -> Result<(), Code> {
        let next = poll_fn(|cx| match self.frames.poll_next(cx) {
            Poll::Pending if is_expected => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
            Poll::Ready(next) => Poll::Ready(Some(next)),
        });
        match next.await {
            None => {}
            Some(Ok(Piece::End)) if matches!(self.left, None | Some(0)) => self.is_over = true,
            Some(Err(Fault::Connection(code))) => return Err(code),
            Some(other) => self.ahead = Some(other),
        }
        Ok(())
    }

    fn broken(&mut self, fault: Fault) -> BodyError {
        self.is_over = true;
        match fault {
            Fault::Connection(code) => self.connection.close(code.wire(), b""),
            Fault::TooLarge => self.frames.stop(Code::Message),
            Fault::Gone => {}
        }
        BodyError::Broken
    }

    fn malformed(&mut self) -> BodyError {
        self.is_over = true;
        self.frames.stop(Code::Message);
        BodyError::Broken
    }

    fn take(&mut self, piece: Piece) -> Result<Option<Frame<Bytes>>, BodyError> {
        match piece {
            Piece::Data(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                if let Some(left) = self.left {
                    let Some(left) = left.checked_sub(length) else { return Err(self.malformed()) };
                    self.left = Some(left);
                }
                Ok(Some(Frame::data(bytes)))
            }
            Piece::Fields(_) | Piece::End if self.left.is_some_and(|left| left > 0) => Err(self.malformed()),
            Piece::Fields(section) => match head::trailers(&section, self.section_max) {
                Ok(trailers) => {
                    self.is_over = true;
                    Ok(Some(Frame::trailers(trailers)))
                }
                Err(Refusal::Unreadable) => Err(self.broken(Fault::Connection(Code::Decompression))),
                Err(Refusal::TooLarge | Refusal::Malformed(_)) => Err(self.malformed()),
            },
            Piece::End => {
                self.is_over = true;
                Ok(None)
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = match self.ahead.take() {
            Some(ahead) => ahead,
            None => ready!(self.frames.poll_next(cx)),
        };
        let taken = next.map_err(|fault| self.broken(fault)).and_then(|piece| self.take(piece));
        Poll::Ready(taken.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_over => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
