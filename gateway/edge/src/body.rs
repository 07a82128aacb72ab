//! Bodies on their way: counted, capped, with a deadline for each piece, never held.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::{
    compress::Compressed,
    fields,
    http1::{Download, Stream},
    http2::Reply,
    pool::Slot,
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

/// What a request's body did, for the record and for the pool; shared with the exchange that sends it.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    state: AtomicU8,
    is_waiting_for_client: AtomicBool,
}

/// How a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is not over.
    Running,
    /// It was sent whole.
    Complete,
    /// It was cut.
    Failed(BodyError),
}

impl Meter {
    /// Bytes that have passed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// True while the next piece was asked for and has not come: the client is late, not the service.
    pub fn is_waiting_for_client(&self) -> bool {
        self.is_waiting_for_client.load(Ordering::Relaxed)
    }

    /// How the body stands.
    pub fn progress(&self) -> Progress {
        match self.state.load(Ordering::Acquire) {
            1 => Progress::Complete,
            2 => Progress::Failed(BodyError::TooLarge),
            3 => Progress::Failed(BodyError::Stalled),
            4 => Progress::Failed(BodyError::Broken),
            _ => Progress::Running,
        }
    }

    /// Notes a body that was at hand from the start.
    pub fn complete_at_once(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.set(Progress::Complete);
    }

    fn set(&self, progress: Progress) {
        let state = match progress {
            Progress::Running => 0,
            Progress::Complete => 1,
            Progress::Failed(BodyError::TooLarge) => 2,
            Progress::Failed(BodyError::Stalled) => 3,
            Progress::Failed(BodyError::Broken) => 4,
        };
        self.state.store(state, Ordering::Release);
    }
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

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + self.limit)));
        timer.as_mut().poll(cx)
    }
}

/// A request's body on its way to a service.
#[derive(Debug)]
pub enum RequestBody {
    /// There is none.
    Empty,
    /// It was read and checked.
    Whole(Option<Bytes>),
    /// It streams.
    Stream(Box<RequestStream>),
}

/// The streaming form of a request's body.
#[derive(Debug)]
pub struct RequestStream {
    inner: Incoming,
    bytes_max: u64,
    meter: Arc<Meter>,
    patience: Patience,
}

impl RequestBody {
    /// A body that streams, with its cap and the longest wait for a piece.
    pub fn stream(inner: Incoming, bytes_max: u64, stall: Duration, meter: Arc<Meter>) -> Self {
        Self::Stream(Box::new(RequestStream { inner, bytes_max, meter, patience: Patience::new(stall) }))
    }

    /// The length of a body that is at hand; zero for one that streams.
    pub fn whole_len(&self) -> u64 {
        self.whole_len_if_known().unwrap_or(0)
    }

    /// The length of a body that was read and checked; `None` for any other.
    pub fn whole_len_if_known(&self) -> Option<u64> {
        match self {
            Self::Whole(Some(bytes)) => u64::try_from(bytes.len()).ok(),
            Self::Whole(None) | Self::Empty | Self::Stream(_) => None,
        }
    }
}

impl RequestStream {
    fn fail(&self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.meter.set(Progress::Failed(error));
        Poll::Ready(Some(Err(error)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.meter.is_waiting_for_client.store(polled.is_pending(), Ordering::Relaxed);
        match polled {
            Poll::Pending => {
                ready!(self.patience.poll_expired(cx));
                self.fail(BodyError::Stalled)
            }
            Poll::Ready(None) => {
                self.meter.set(Progress::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => self.fail(BodyError::Broken),
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.piece_came();
                let length = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                let total = self.meter.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length);
                if total > self.bytes_max {
                    return self.fail(BodyError::TooLarge);
                }
                if self.inner.is_end_stream() {
                    self.meter.set(Progress::Complete);
                }
                Poll::Ready(Some(Ok(clean_trailers(frame, fields::strip_untrusted))))
            }
        }
    }
}

/// Trailers obey the rules of headers: what a client may not say, it may not say at the end either.
fn clean_trailers(mut frame: Frame<Bytes>, clean: impl FnOnce(&mut HeaderMap)) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        clean(trailers);
    }
    frame
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))),
            Self::Stream(stream) => stream.inner.size_hint(),
        }
    }
}

/// The body of a service's response, with its connection; the connection is kept as soon as both messages are over.
#[derive(Debug)]
pub struct ServiceBody(Option<(Source, Slot)>);

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
        let mut body = Self(Some((source, slot)));
        body.settle();
        body
    }

    /// The end of an answer that switches the protocol: its connection goes on, and must not be settled.
    pub const fn switched(source: Source, slot: Slot) -> Self {
        Self(Some((source, slot)))
    }

    /// The connection behind a switch, what was read of it already, and its place; `None` unless the request had left whole.
    pub fn into_switched(self) -> Option<(Stream, Bytes, Slot)> {
        let (source, slot) = self.0?;
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
        if let Some((Source::Http1(download), slot)) = self.0.take_if(is_over)
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
        let frame = match &mut self.0 {
            None => return Poll::Ready(None),
            Some((Source::Http1(download), _)) => ready!(Pin::new(&mut **download).poll_frame(cx)),
            Some((Source::Http2(reply), _)) => ready!(Pin::new(&mut **reply).poll_frame(cx)),
        };
        self.settle();
        Poll::Ready(frame.map(|frame| Ok(clean_trailers(frame?, fields::strip_from_response))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
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
}

impl ReplyStream {
    /// Joins what belongs to a response that goes on: its first piece, the rest and the record.
    pub const fn new(first: Option<Frame<Bytes>>, inner: ServiceBody, request: Arc<Meter>, trail: Trail, stall: Duration) -> Self {
        Self { first, inner, request, trail, bytes: 0, patience: Patience::new(stall) }
    }

    fn finish(&mut self) {
        self.trail.close(audit::event::Outcome::Ok, self.bytes, self.request.bytes());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.first.take() {
            Some(frame) => Some(Ok(frame)),
            None => match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.patience.poll_expired(cx));
                    self.trail.close(audit::event::Outcome::Error, self.bytes, self.request.bytes());
                    return Poll::Ready(Some(Err(BodyError::Stalled)));
                }
            },
        };
        self.patience.piece_came();
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                self.bytes = self.bytes.saturating_add(length);
                self.trail.sent(self.bytes);
                if self.inner.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                self.trail.close(audit::event::Outcome::Error, self.bytes, self.request.bytes());
                Poll::Ready(Some(Err(BodyError::Broken)))
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
            Self::Stream(stream) => stream.first.is_none() && stream.inner.is_end_stream(),
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
