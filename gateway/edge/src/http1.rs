//! HTTP/1.1 towards services, in the request's own task (RFC 9112).
//!
//! No connection task and no channel stands between a request and its socket: [`Link::exchange`] writes the request and
//! reads the response's head, [`Download`] reads the rest while it is polled, and drives what is left of the upload. A link
//! is used again only when both messages ended where their framing says, and nothing came behind them.

mod chunks;
mod download;
mod head;
mod stream;
mod upload;

#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};
use tokio_util::io::poll_read_buf;

pub use self::{download::Download, stream::Stream};
use self::{
    head::{Head, Spans},
    upload::{Upload, UploadError},
};
use crate::body::{BodyError, RequestBody};

/// The largest response head, in bytes.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// What is read at least in one call.
const READ_BYTES_MIN: usize = 8 << 10;
/// Interim responses (RFC 9110 section 15.2) that are passed over; more of them are an attack.
const INTERIM_MAX: u8 = 16;

/// A connection to a service.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    /// Read and not yet taken.
    input: BytesMut,
    spans: Spans,
    /// What it showed of its pool's identity: its number of changes.
    pub(crate) shown: u64,
}

/// A response whose body may still come.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those that belong to the connection or to the gateway.
    pub headers: HeaderMap,
    /// Its body, which owns the connection.
    pub body: Box<Download>,
}

/// What is asked of a link.
#[derive(Debug)]
pub struct Ask {
    /// The request's head, ready to send.
    pub head: Vec<u8>,
    /// Its body.
    pub body: RequestBody,
    /// The response to a HEAD has no body, whatever it says (RFC 9110 section 9.3.2).
    pub is_head: bool,
    /// The client asked to switch protocols: 101 is an answer then.
    pub may_switch: bool,
}

/// An exchange without a response.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// Bytes of the request have left.
    pub is_sent: bool,
    /// Bytes of a response came.
    pub is_answered: bool,
    /// The request's body, when nothing of it was taken: it can be sent again, where that is safe.
    pub body: Option<RequestBody>,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The service closed the connection before the head was complete.
    #[error("the service closed the connection")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// The service sent what is not HTTP/1.1, or could be read in two ways.
    #[error("{0}")]
    Malformed(&'static str),
    /// The request's body could not be had.
    #[error(transparent)]
    Body(BodyError),
}

impl Link {
    /// A link over an open connection. `shown` is the number of changes of the identity that it showed.
    pub fn new(stream: Stream, shown: u64) -> Self {
        Self { stream, input: BytesMut::new(), spans: Spans::default(), shown }
    }

    /// True when the service closed the idle link, or spoke unasked: what it said would be taken for the next answer. The
    /// kernel is asked (one call, about 0.3 us), because the runtime's own knowledge can be a turn old, and a task that has
    /// used up its budget is told nothing at all.
    pub fn is_stale(&mut self) -> bool {
        self.stream.has_input_or_end()
    }

    /// Sends a request and reads the head of its response; the request's body may go on behind it.
    ///
    /// # Errors
    /// [`Failure`]; the link is gone.
    ///
    /// # Cancel
    /// Dropping the future closes the connection.
    pub async fn exchange(mut self, ask: Ask) -> Result<Answer, Failure> {
        let Ask { head, body, is_head, may_switch } = ask;
        let mut upload = Upload::new(head, body);
        let (mut is_answered, mut interim) = (false, 0);
        let read = poll_fn(|cx| {
            match upload.poll(&mut self.stream, cx) {
                Poll::Ready(Err(UploadError::Body(error))) => return Poll::Ready(Err(Cause::Body(error))),
                // A service may refuse early and close its reading side: what it said is still there to be read.
                Poll::Ready(Err(UploadError::Io(_)) | Ok(())) | Poll::Pending => {}
            }
            self.poll_head(cx, (is_head, may_switch), &mut is_answered, &mut interim)
        })
        .await;
        match read {
            Ok(Head { status, headers, framing, is_persistent }) => {
                let body = Box::new(Download::new(self, upload, framing, is_persistent));
                Ok(Answer { status, headers, body })
            }
            Err(cause) => {
                let is_sent = upload.has_written();
                Err(Failure { cause, is_sent, is_answered, body: upload.into_body() })
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        (is_head, may_switch): (bool, bool),
        is_answered: &mut bool,
        interim: &mut u8,
    ) -> Poll<Result<Head, Cause>> {
        let mut is_worth_parsing = !self.input.is_empty();
        loop {
            while is_worth_parsing {
                let taken = head::take(&mut self.input, &mut self.spans, is_head, may_switch).map_err(Cause::Malformed)?;
                is_worth_parsing = taken.is_some();
                match taken {
                    Some(head) if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS => {
                        *interim += 1;
                        if *interim > INTERIM_MAX {
                            return Poll::Ready(Err(Cause::Malformed("the service sends interim responses without end")));
                        }
                    }
                    Some(head) => return Poll::Ready(Ok(head)),
                    None => {}
                }
            }
            if self.input.len() >= HEAD_BYTES_MAX {
                return Poll::Ready(Err(Cause::Malformed("the response's head is too large")));
            }
            let before = self.input.len();
            let count = ready!(self.poll_fill(cx, READ_BYTES_MIN)).map_err(Cause::Io)?;
            if count == 0 {
                return Poll::Ready(Err(Cause::Closed));
            }
            *is_answered = true;
            // A head ends with a line end: pieces without one cannot complete it.
            is_worth_parsing = self.input.get(before..).is_some_and(|new| new.contains(&b'\n'));
        }
    }

    /// Reads more; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        // Room for less than this is not worth a system call.
        if self.input.capacity() - self.input.len() < wanted.min(2_048) {
            self.input.reserve(wanted);
        }
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input)
    }
}
