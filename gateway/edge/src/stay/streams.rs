//! Streamed responses whose callers are looked at again: server-sent events and calls of gRPC, which last for as long as both sides like.
//!
//! One look ten times a second at all of a core's; a response that is over soon is in no list.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use http::{HeaderMap, header::CONTENT_TYPE};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Over, Routes, Stay};
use crate::{
    grpc::Form,
    runtime::{Core, Edge},
};

/// Between two looks: a revocation that is published takes effect within it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A response that was asked for more pieces than a short one has is looked after, though each was there at once.
const SHORT_PIECES: u8 = 3;

/// Whether a response is one that lasts. A download is not: it ends by itself, and would have to begin anew.
pub(crate) fn lasts(form: Form, headers: &HeaderMap) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let is_events =
        || headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().get(..EVENTS.len())).is_some_and(|start| start.eq_ignore_ascii_case(EVENTS));
    form == Form::Grpc || is_events()
}

/// One core's streamed responses.
#[derive(Debug, Default)]
pub struct Streams {
    list: Mutex<Vec<Arc<Seat>>>,
    /// Rung by each that comes.
    bell: Notify,
}

/// One of them, as the look sees it.
#[derive(Debug)]
struct Seat {
    waker: AtomicWaker,
    told: AtomicU8,
    stay: Box<Stay>,
}

impl Seat {
    fn listen(&self, waker: &Waker) -> Option<Over> {
        self.waker.register(waker);
        Over::of(self.told.load(Ordering::Relaxed))
    }
}

impl Streams {
    /// Looks at all of them for as long as the core runs; rests while there are none.
    pub async fn watch(core: Arc<Core>) {
        loop {
            if core.streams.list.lock().is_empty() {
                core.streams.bell.notified().await;
            }
            core.streams.look(&core.edge);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn look(&self, edge: &Edge) {
        let now = edge.clock.now();
        // Before the snapshot: one that is published in between is looked at again.
        let generation = edge.current.generation();
        let Some(snapshot) = edge.current.load() else { return };
        let mut routes = Routes::default();
        self.list.lock().retain(|seat| {
            // Its response holds the other reference.
            if Arc::strong_count(seat) == 1 {
                return false;
            }
            if seat.told.load(Ordering::Relaxed) == 0
                && let Some(over) = seat.stay.over(edge, (generation, &snapshot), &mut routes, |_| true, now)
            {
                seat.told.store(over as u8, Ordering::Relaxed);
                seat.waker.wake();
            }
            true
        });
    }

    /// Its caller may have been shut out since it was let in, and is looked at once more before anything else goes out.
    fn seat(&self, edge: &Edge, stay: Box<Stay>) -> Arc<Seat> {
        let generation = edge.current.generation();
        let over = edge.current.load().and_then(|snapshot| stay.at_once(edge, (generation, &snapshot), edge.clock.now()));
        let seat = Arc::new(Seat { waker: AtomicWaker::new(), told: AtomicU8::new(over.map_or(0, |over| over as u8)), stay });
        self.list.lock().push(Arc::clone(&seat));
        self.bell.notify_one();
        seat
    }
}

/// What a streamed response keeps of its caller: nothing is looked after before it has lasted.
#[derive(Debug)]
pub(crate) struct Watched {
    waiting: Option<Box<Stay>>,
    seat: Option<Arc<Seat>>,
    pieces: u8,
}

impl Watched {
    /// For a response that begins.
    pub(crate) const fn new(stay: Box<Stay>) -> Self {
        Self { waiting: Some(stay), seat: None, pieces: 0 }
    }

    /// Before another piece is asked for: why none may go to the client any more.
    pub(crate) fn piece(&mut self, core: &Core, context: &Context<'_>) -> Option<Over> {
        self.pieces = self.pieces.saturating_add(1);
        if self.pieces > SHORT_PIECES {
            return self.wait(core, context);
        }
        self.seat.as_ref()?.listen(context.waker())
    }

    /// The next piece is not there yet: the response lasts.
    pub(crate) fn wait(&mut self, core: &Core, context: &Context<'_>) -> Option<Over> {
        if let Some(stay) = self.waiting.take() {
            self.seat = Some(core.streams.seat(&core.edge, stay));
        }
        self.seat.as_ref()?.listen(context.waker())
    }
}
