//! The body of a request.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{BodyError, Meter, Patience, Progress, clean_trailers};
use crate::{fields, grpc::replay::Replay, intake::Intake};

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
    inner: Intake,
    bytes_max: u64,
    meter: Arc<Meter>,
    patience: Patience,
    is_call: bool,
    replay: Option<Arc<Replay>>,
}

impl RequestBody {
    /// A body that streams, with its cap and the longest wait for a piece.
    pub fn stream(inner: Intake, bytes_max: u64, stall: Duration, meter: Arc<Meter>) -> Self {
        Self::Stream(Box::new(RequestStream { inner, bytes_max, meter, patience: Patience::new(stall), is_call: false, replay: None }))
    }

    /// Notes that it is the request of a call of gRPC.
    pub fn of_call(&mut self) {
        if let Self::Stream(stream) = self {
            stream.is_call = true;
        }
    }

    /// Keeps what passes from now on; `None` for a body that is at hand.
    pub fn keep(&mut self) -> Option<Arc<Replay>> {
        let Self::Stream(stream) = self else { return None };
        let replay = Arc::<Replay>::default();
        stream.replay = Some(Arc::clone(&replay));
        Some(replay)
    }

    /// A body that is at hand, once more.
    pub fn copied(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Whole(Some(bytes)) => Some(Self::Whole(Some(bytes.clone()))),
            Self::Whole(None) | Self::Stream(_) => None,
        }
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
        if let Some(replay) = &self.replay {
            replay.lose();
        }
        Poll::Ready(Some(Err(error)))
    }

    fn complete(&self) {
        self.meter.set(Progress::Complete);
        if let Some(replay) = &self.replay {
            replay.end();
        }
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        if let Some(replay) = &self.replay {
            frame.data_ref().map_or_else(|| replay.lose(), |data| replay.piece(data));
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_call && self.meter.call.poll_over(cx).is_ready() {
            return self.fail(BodyError::Broken);
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.meter.is_waiting_for_client.store(polled.is_pending(), Ordering::Relaxed);
        match polled {
            Poll::Pending => {
                let call = &self.meter.call;
                ready!(self.patience.poll_expired_unless(cx, || call.is_answered()));
                self.fail(BodyError::Stalled)
            }
            Poll::Ready(None) => {
                self.complete();
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
                self.keep(&frame);
                if self.inner.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(clean_trailers(frame, fields::strip_untrusted))))
            }
        }
    }
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
