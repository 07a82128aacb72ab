//! What the gateway keeps about a call of gRPC while its response streams.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::Frame;
use model::problem::{Denial, ProblemKind};
use tokio::time::{Instant, Sleep};

use super::Form;
use crate::{
    body::{BodyError, Meter, Progress},
    health::Outcome,
    trail::Trail,
};

/// How the response to a call stands, for the request that may still be on its way.
#[derive(Debug, Default)]
pub struct CallState {
    /// 0: there is none; 1: it goes on; 2: it is over.
    phase: AtomicU8,
    waker: AtomicWaker,
}

impl CallState {
    /// True while it goes on: then it is the one to say when too little happens.
    pub fn is_answered(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == 1
    }

    /// Ready when it is over: nobody waits for the rest of the request.
    pub fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.phase.load(Ordering::Acquire) == 2 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn begin(&self) {
        self.phase.store(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.phase.store(2, Ordering::Release);
        self.waker.wake();
    }
}

/// A call whose response has begun. Dropping it ends the request, too.
#[derive(Debug)]
pub struct CallStream {
    request: Arc<Meter>,
    /// When the client stops waiting.
    ends: Option<Pin<Box<Sleep>>>,
    /// How far the request was when too little happened last.
    sent: u64,
    /// Its trailers were made here.
    is_over: bool,
}

impl CallStream {
    /// What has to be kept; `None` unless the request is a call.
    pub fn of(trail: &Trail, request: &Arc<Meter>) -> Option<Box<Self>> {
        if trail.form() != Form::Grpc {
            return None;
        }
        request.call().begin();
        let ends = trail.left().map(|left| Box::pin(tokio::time::sleep_until(Instant::now() + left)));
        Some(Box::new(Self { request: Arc::clone(request), ends, sent: request.bytes(), is_over: false }))
    }

    /// True once it was ended here.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ready when the client's time is over.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ends.as_mut().map_or(Poll::Pending, |ends| ends.as_mut().poll(cx))
    }

    /// True when the request has gone on since this was asked last: messages in either direction keep a call alive.
    pub fn has_moved(&mut self) -> bool {
        let before = std::mem::replace(&mut self.sent, self.request.bytes());
        before != self.sent
    }

    /// Ends it with trailers that say why it does not go on.
    pub fn end(&mut self, denial: &Denial) -> Frame<Bytes> {
        self.is_over = true;
        self.request.call().end();
        Frame::trailers(super::trailers(denial))
    }
}

impl Drop for CallStream {
    fn drop(&mut self) {
        self.request.call().end();
    }
}

/// Why an answer broke off, and what that says about its endpoint: nothing, when the request broke off before it. `refused` is what another
/// region's gateway has said at its end.
pub fn broke_off(request: Progress, refused: Option<ProblemKind>) -> (Option<Outcome>, Denial) {
    let (outcome, kind, detail) = match request {
        Progress::Failed(BodyError::TooLarge) => (None, ProblemKind::BodyTooLarge, "the messages of the call are larger than the route allows"),
        Progress::Failed(BodyError::Stalled) => (None, ProblemKind::RequestTimeout, "the messages of the call stopped arriving"),
        Progress::Failed(BodyError::Broken) => (None, ProblemKind::RequestMalformed, "the call's request ended before it was complete"),
        Progress::Running | Progress::Complete => {
            let kind = refused.unwrap_or(ProblemKind::UpstreamUnreachable);
            // That a call has lasted too long is as much its client's doing.
            let outcome = (kind == ProblemKind::UpstreamUnreachable).then_some(Outcome::GatewayFailure);
            let detail = if refused.is_some() { "a gateway of the service's region has ended the call" } else { "the service broke off its answer" };
            (outcome, kind, detail)
        }
    };
    (outcome, Denial::new(kind, detail))
}
