//! Bodies on their way: counted, capped, with a deadline for each piece, never held.

mod memory;
mod meter;
mod request;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use model::problem::{Denial, ProblemKind};
use tokio::time::{Instant, Sleep};

pub use self::{
    memory::{BodyMemory, Full, HeldBody},
    meter::{Meter, Progress},
    request::{RequestBody, RequestStream},
};
use crate::{
    compress::Compressed,
    crossing, fields,
    grpc::{
        self,
        stream::{self, CallStream},
    },
    health::Outcome,
    http1::{Download, Stream},
    http2::Reply,
    pool::Slot,
    stay::{Over, Stay, streams::Watched},
    trail::Trail,
};

/// Why a body was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The request's body passed its route's cap.
    #[error("the body is larger than the route allows")]
    TooLarge,
    /// Nothing came for too long.
    #[error("the body stopped arriving")]
    Stalled,
    /// The sender went away or broke the framing.
    #[error("the body ended before it was complete")]
    Broken,
}

/// A deadline for the next piece; a timer exists only while a piece is late.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    const fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    fn piece_came(&mut self) {
        self.timer = None;
    }

    /// Like [`Self::poll_expired`], but goes on waiting for as long as `may_wait`.
    fn poll_expired_unless(&mut self, cx: &mut Context<'_>, mut may_wait: impl FnMut() -> bool) -> Poll<()> {
        while self.poll_expired(cx).is_ready() {
            if !may_wait() {
                return Poll::Ready(());
            }
            self.timer = None;
        }
        Poll::Pending
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + self.limit)));
        timer.as_mut().poll(cx)
    }
}

/// Trailers obey the rules of headers: what a client may not say, it may not say at the end either.
fn clean_trailers(mut frame: Frame<Bytes>, clean: impl FnOnce(&mut HeaderMap)) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        clean(trailers);
    }
    frame
}

/// The body of a service's response, with its connection; the connection is kept as soon as both messages are over.
#[derive(Debug, Default)]
pub struct ServiceBody {
    open: Option<(Source, Slot)>,
    /// By which another region's gateway has ended a call whose answer had begun.
    refused: Option<ProblemKind>,
}

/// Where a response's body comes from.
#[derive(Debug)]
pub enum Source {
    /// HTTP/1.1.
    Http1(Box<Download>),
    /// HTTP/2.
    Http2(Box<Reply>),
}

impl ServiceBody {
    /// A body that may still come.
    pub fn new(source: Source, slot: Slot) -> Self {
        let mut body = Self::switched(source, slot);
        body.settle();
        body
    }

    /// The end of an answer that switches the protocol: its connection goes on, and must not be settled.
    pub const fn switched(source: Source, slot: Slot) -> Self {
        Self { open: Some((source, slot)), refused: None }
    }

    /// The connection behind a switch, what was read of it already, and its place; `None` unless the request had left whole.
    pub fn into_switched(self) -> Option<(Stream, Bytes, Slot)> {
        let (source, slot) = self.open?;
        match source {
            Source::Http1(download) => download.into_switched().map(|(stream, early)| (stream, early, slot)),
            Source::Http2(_) => None,
        }
    }

    fn settle(&mut self) {
        let is_over = |(source, _): &mut (Source, Slot)| match source {
            Source::Http1(download) => download.is_over(),
            Source::Http2(reply) => reply.is_end_stream(),
        };
        if let Some((Source::Http1(download), slot)) = self.open.take_if(is_over)
            && let Some(link) = download.into_link()
        {
            slot.keep(link);
        }
    }
}

impl Body for ServiceBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.open {
            None => return Poll::Ready(None),
            Some((Source::Http1(download), _)) => ready!(Pin::new(&mut **download).poll_frame(cx)),
            Some((Source::Http2(reply), slot)) => {
                let frame = ready!(Pin::new(&mut **reply).poll_frame(cx));
                let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref()).filter(|_| slot.is_of_gateway());
                if let Some(kind) = trailers.and_then(crossing::ended) {
                    self.refused = Some(kind);
                    return Poll::Ready(Some(Err(BodyError::Broken)));
                }
                frame
            }
        };
        self.settle();
        Poll::Ready(frame.map(|frame| Ok(clean_trailers(frame?, fields::strip_from_response))))
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.open {
            None => SizeHint::with_exact(0),
            Some((Source::Http1(download), _)) => download.size_hint(),
            Some((Source::Http2(reply), _)) => reply.size_hint(),
        }
    }
}

/// A response's body on its way to a client.
#[derive(Debug)]
pub enum ReplyBody {
    /// The whole body is at hand.
    Whole(Option<Bytes>),
    /// It streams; its record is closed at its end.
    Stream(Box<ReplyStream>),
    /// One of the others, compressed on its way.
    Compressed(Box<Compressed<ReplyBody>>),
}

/// The streaming form of a response's body. Dropping it early closes the connection to the service and records an abort.
#[derive(Debug)]
pub struct ReplyStream {
    first: Option<Frame<Bytes>>,
    inner: ServiceBody,
    request: Arc<Meter>,
    trail: Trail,
    bytes: u64,
    patience: Patience,
    /// What is kept for a call of gRPC.
    call: Option<Box<CallStream>>,
    /// Who may be shut out before it ends.
    watched: Option<Watched>,
}

impl ReplyStream {
    /// Joins what belongs to a response that goes on: its first piece, the rest and the record.
    pub fn new(first: Option<Frame<Bytes>>, inner: ServiceBody, request: Arc<Meter>, trail: Trail, stall: Duration) -> Self {
        let call = CallStream::of(&trail, &request);
        Self { first, inner, request, trail, bytes: 0, patience: Patience::new(stall), call, watched: None }
    }

    /// Looks again at who reads it, for as long as it goes on.
    pub(crate) fn watched(mut self, stay: Option<Box<Stay>>) -> Self {
        self.watched = stay.map(Watched::new);
        self
    }

    fn is_over(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_over()) || self.first.is_none() && self.inner.is_end_stream()
    }

    /// Ends a response that cannot go on. A client of gRPC gets trailers that say why, any other a broken stream.
    fn fail(&mut self, error: BodyError, why: impl FnOnce() -> Denial) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.end(audit::event::Outcome::Error, error, why)
    }

    /// Ends a response whose caller may have no more of it.
    fn shut_out(&mut self, over: Over) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.watched = None;
        let denial = over.denial();
        self.trail.ended_by(Some(denial.kind));
        self.end(audit::event::Outcome::Denied, BodyError::Broken, || denial)
    }

    fn end(
        &mut self,
        outcome: audit::event::Outcome,
        error: BodyError,
        why: impl FnOnce() -> Denial,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.trail.close(outcome, self.bytes, self.request.bytes());
        self.inner = ServiceBody::default();
        let Some(call) = &mut self.call else { return Poll::Ready(Some(Err(error))) };
        let denial = why();
        let mut end = call.end(&denial);
        // The gateway that has handed the call over takes these trailers for what they are.
        if let Some(trailers) = end.trailers_mut().filter(|_| self.trail.is_crossed()) {
            trailers.extend(crossing::refused(denial.kind, false).map(|value| (crossing::CROSSING, value)));
        }
        Poll::Ready(Some(Ok(end)))
    }

    fn finish(&mut self) {
        self.trail.close(audit::event::Outcome::Ok, self.bytes, self.request.bytes());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(call) = &mut self.call {
            if call.is_over() {
                return Poll::Ready(None);
            }
            if call.poll_ended(cx).is_ready() {
                return self.fail(BodyError::Stalled, || Denial::new(ProblemKind::UpstreamTimeout, "the call's grpc-timeout is over"));
            }
        }
        if let Some(watched) = &mut self.watched
            && let Some(over) = watched.piece(self.trail.core(), cx)
        {
            return self.shut_out(over);
        }
        let frame = match self.first.take() {
            Some(frame) => Some(Ok(frame)),
            None => match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    if let Some(over) = self.watched.as_mut().and_then(|watched| watched.wait(self.trail.core(), cx)) {
                        return self.shut_out(over);
                    }
                    let call = &mut self.call;
                    let has_moved = || call.as_mut().is_some_and(|call| call.has_moved());
                    ready!(self.patience.poll_expired_unless(cx, has_moved));
                    return self
                        .fail(BodyError::Stalled, || Denial::new(ProblemKind::UpstreamTimeout, "nothing was sent in either direction for too long"));
                }
            },
        };
        self.patience.piece_came();
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                self.bytes = self.bytes.saturating_add(length);
                self.trail.sent(self.bytes);
                if self.call.is_some()
                    && let Some(trailers) = frame.trailers_ref()
                {
                    self.trail.call_ended(grpc::status(trailers).map_or(Outcome::ServerError, grpc::outcome));
                }
                if self.inner.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                let (outcome, why) = stream::broke_off(self.request.progress(), self.inner.refused);
                if let Some(outcome) = outcome {
                    self.trail.call_ended(outcome);
                }
                self.fail(BodyError::Broken, || why)
            }
            None => {
                self.finish();
                Poll::Ready(None)
            }
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll(cx),
            Self::Compressed(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(stream) => stream.is_over(),
            Self::Compressed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))),
            Self::Stream(stream) if stream.first.is_none() => stream.inner.size_hint(),
            Self::Stream(_) | Self::Compressed(_) => SizeHint::default(),
        }
    }
}
