//! An open WebSocket: two directions, and one end of both.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use audit::event::Outcome;
use aws_lc_rs::rand;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    frames,
    pipe::{Failed, Pipe},
    places::Place,
    seats::Seat,
    tally::End,
};
use crate::{http1::Stream, pool::Slot, runtime::Core, trail::Trail};

/// From the last word to the end of the connections: what the way to a client and back takes.
pub const LAST_WORD_WITHIN: Duration = Duration::from_secs(1);

/// A WebSocket between a client and a service. Dropping it ends it, and closes its record.
#[derive(Debug)]
pub struct Tunnel {
    core: Arc<Core>,
    seat: Arc<Seat>,
    trail: Trail,
    service: Stream,
    /// Towards the service.
    up: Pipe,
    /// Towards the client.
    down: Pipe,
    /// Who ended first.
    first: Option<End>,
    has_ended: bool,
    _held: (Slot, Place),
}

/// A tunnel on its way to the connection that carries it, in the extensions of the answer.
#[derive(Debug, Clone)]
pub(super) struct Carried(Arc<Mutex<Option<Box<Tunnel>>>>);

impl Carried {
    pub(super) fn new(tunnel: Box<Tunnel>) -> Self {
        Self(Arc::new(Mutex::new(Some(tunnel))))
    }

    pub(super) fn take(&self) -> Option<Box<Tunnel>> {
        self.0.lock().take()
    }
}

impl Tunnel {
    /// Joins what belongs to an open WebSocket; `early` is what the service sent behind its answer.
    pub(super) fn new(core: &Arc<Core>, seat: Arc<Seat>, trail: Trail, service: Stream, early: &[u8], held: (Slot, Place)) -> Self {
        core.edge.websockets.tally.opened();
        let mut down = Pipe::default();
        down.begin(early);
        Self { core: Arc::clone(core), seat, trail, service, up: Pipe::default(), down, first: None, has_ended: false, _held: held }
    }

    /// Carries frames until either side ends it, or the node does; `early` is what the client sent before it had the answer.
    ///
    /// # Cancel
    /// Dropping the future closes both connections.
    pub async fn run<C: AsyncRead + AsyncWrite + Unpin>(mut self: Box<Self>, mut client: C, early: Bytes) {
        self.up.begin(&early);
        drop(early);
        let (end, outcome) = poll_fn(|cx| self.poll(cx, &mut client)).await;
        if let Some(code) = end.code() {
            self.up.end_with(frames::close(code, Some(mask())));
            self.down.end_with(frames::close(code, None));
        }
        // Both connections end in order, if their other ends let them.
        if !matches!(end, End::Broken | End::Stalled) {
            let core = Arc::clone(&self.core);
            core.within(LAST_WORD_WITHIN, poll_fn(|cx| self.poll_both(cx, &mut client).map(drop))).await;
        }
        self.finish(end, outcome);
    }

    fn poll<C: AsyncRead + AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, client: &mut C) -> Poll<(End, Outcome)> {
        if let Some(end) = self.seat.listen(cx.waker()) {
            return Poll::Ready((end, if end.problem().is_some() { Outcome::Denied } else { Outcome::Ok }));
        }
        let polled = self.poll_both(cx, client);
        if self.first.is_none() {
            self.first = if self.up.has_ended() { Some(End::Client) } else { self.down.has_ended().then_some(End::Service) };
        }
        // Both have said goodbye, and one has hung up: the other need not.
        let is_over = self.up.has_closed() && self.down.has_closed() && (self.up.is_over() || self.down.is_over());
        match (polled, self.first) {
            (Poll::Pending, Some(first)) if is_over => Poll::Ready((first, Outcome::Ok)),
            (Poll::Pending, _) => Poll::Pending,
            (Poll::Ready(result), first) => Poll::Ready(self.judge(result, first)),
        }
    }

    fn judge(&self, result: Result<(), End>, first: Option<End>) -> (End, Outcome) {
        match (result, first) {
            (Ok(()), Some(first)) => (first, Outcome::Ok),
            // Behind two close frames there is nothing to lose.
            (Err(_), Some(first)) if self.up.has_ended() && self.down.has_ended() => (first, Outcome::Ok),
            (Err(End::Service), _) => (End::Broken, Outcome::Error),
            (Ok(()) | Err(_), _) => (End::Broken, Outcome::Aborted),
        }
    }

    /// Moves both directions; an error tells whose connection broke.
    fn poll_both<C: AsyncRead + AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, client: &mut C) -> Poll<Result<(), End>> {
        let mut buffer = self.core.websockets.buffer.lock();
        let up = self.up.poll(cx, client, &mut self.service, buffer.as_mut_slice());
        let down = self.down.poll(cx, &mut self.service, client, buffer.as_mut_slice());
        drop(buffer);
        self.core.websockets.note(&self.seat, [self.up.turn(), self.down.turn()], up.is_ready() || down.is_ready());
        match (up, down) {
            (Poll::Ready(Err(Failed::Sender)), _) | (_, Poll::Ready(Err(Failed::Receiver))) => Poll::Ready(Err(End::Client)),
            (Poll::Ready(Err(Failed::Receiver)), _) | (_, Poll::Ready(Err(Failed::Sender))) => Poll::Ready(Err(End::Service)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    }

    fn finish(&mut self, end: End, outcome: Outcome) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.core.edge.websockets.tally.ended(end);
        self.trail.ended_by(end.problem());
        self.trail.close(outcome, self.down.bytes(), self.up.bytes());
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.finish(End::Broken, Outcome::Aborted);
    }
}

/// RFC 6455 section 5.3: frames towards a service are masked with something that nobody can foresee.
fn mask() -> [u8; 4] {
    let mut mask = [0; 4];
    // Without a source the mask is zeros: the frame is ours, so there is nothing in it to foresee.
    rand::fill(&mut mask).ok();
    mask
}
