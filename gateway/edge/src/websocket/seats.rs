//! Who holds a WebSocket open, and whether they still may: one look ten times a second at all of a core's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::task::AtomicWaker;
use http::Method;
use model::{
    structure::{Route, websocket::WebSocketRules},
    time::Now,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{pipe::Turn, tally::End};
use crate::{
    authenticate::Principal,
    runtime::{Core, Edge},
    stay::{Routes, Server, Source, Stay},
};

/// Between two looks: a revocation that is published takes effect within it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a WebSocket waits for when one side has ended and the other says nothing.
const HALF_OPEN_MAX: Duration = Duration::from_secs(30);
/// What is read in one call.
const BUFFER_BYTES: usize = 64 << 10;

/// One core's open WebSockets.
#[derive(Debug, Default)]
pub struct Seats {
    list: Mutex<Vec<Arc<Seat>>>,
    /// Rung by each that is opened.
    bell: Notify,
    /// Milliseconds of the boot clock, moved by each look.
    tick: AtomicU64,
    /// The node stops: those that are open are told, those that come are told at once.
    is_draining: AtomicBool,
    /// Where all of them read.
    pub(super) buffer: Mutex<Vec<u8>>,
}

/// One WebSocket, as the look sees it.
#[derive(Debug)]
pub(super) struct Seat {
    waker: AtomicWaker,
    told: AtomicU8,
    opened_at: u64,
    moved_at: AtomicU64,
    /// Since when what is there for one side is not taken, for each direction; 0 while it is.
    blocked_since: [AtomicU64; 2],
    is_half_open: AtomicBool,
    idle: u64,
    lifetime: u64,
    /// Counts as the GET that it began with, whatever it began with.
    stay: Stay,
}

impl Seats {
    /// Seats a WebSocket that was just opened.
    pub(super) fn seat(
        &self,
        route: &Arc<Route>,
        rules: &WebSocketRules,
        principal: Option<Principal>,
        source: Source,
        server: Option<Server>,
        now: Now,
    ) -> Arc<Seat> {
        let opened_at = now.boot.0 / 1_000_000;
        let seat = Arc::new(Seat {
            waker: AtomicWaker::new(),
            told: AtomicU8::new(0),
            opened_at,
            moved_at: AtomicU64::new(opened_at),
            blocked_since: [AtomicU64::new(0), AtomicU64::new(0)],
            is_half_open: AtomicBool::new(false),
            idle: millis(rules.idle),
            lifetime: millis(rules.lifetime),
            stay: Stay::new(route, principal, source, Method::GET, server),
        });
        let mut buffer = self.buffer.lock();
        if buffer.is_empty() {
            buffer.resize(BUFFER_BYTES, 0);
        }
        drop(buffer);
        self.tick.fetch_max(opened_at, Ordering::Relaxed);
        self.list.lock().push(Arc::clone(&seat));
        self.bell.notify_one();
        seat
    }

    /// Notes what a WebSocket did in its turn, by direction.
    pub(super) fn note(&self, seat: &Seat, turns: [Turn; 2], is_half_open: bool) {
        let tick = self.tick.load(Ordering::Relaxed);
        for (turn, since) in turns.into_iter().zip(&seat.blocked_since) {
            if turn.has_moved {
                seat.moved_at.store(tick, Ordering::Relaxed);
            }
            if !turn.is_blocked {
                since.store(0, Ordering::Relaxed);
            } else if turn.has_moved || since.load(Ordering::Relaxed) == 0 {
                since.store(tick.max(1), Ordering::Relaxed);
            }
        }
        seat.is_half_open.store(is_half_open, Ordering::Relaxed);
    }

    /// Tells every WebSocket that the node stops; how many there are.
    pub fn drain(&self) -> usize {
        self.is_draining.store(true, Ordering::Relaxed);
        let list = self.list.lock();
        list.iter().filter(|seat| seat.told().is_none()).for_each(|seat| seat.tell(End::Drain));
        list.len()
    }

    /// Looks at all of them for as long as the core runs; rests while there are none.
    pub async fn watch(core: Arc<Core>) {
        loop {
            if core.websockets.list.lock().is_empty() {
                core.websockets.bell.notified().await;
            }
            core.websockets.look(&core.edge);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn look(&self, edge: &Edge) {
        let now = edge.clock.now();
        self.tick.store(now.boot.0 / 1_000_000, Ordering::Relaxed);
        // Before the snapshot: one that is published in between is looked at again.
        let generation = edge.current.generation();
        let Some(snapshot) = edge.current.load() else { return };
        let is_draining = self.is_draining.load(Ordering::Relaxed);
        let mut routes = Routes::default();
        self.list.lock().retain(|seat| {
            // Its tunnel holds the other reference.
            if Arc::strong_count(seat) == 1 {
                return false;
            }
            if seat.told().is_none() {
                let takes = |route: &Route| route.websocket.is_some();
                let mut over = || seat.stay.over(edge, (generation, &snapshot), &mut routes, takes, now);
                let end = seat.overdue(edge, now).or_else(|| over().map(End::from));
                if let Some(end) = end.or(is_draining.then_some(End::Drain)) {
                    seat.tell(end);
                }
            }
            true
        });
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Seat {
    /// Leaves the waker of the tunnel, and gives what it was told.
    pub(super) fn listen(&self, waker: &std::task::Waker) -> Option<End> {
        self.waker.register(waker);
        self.told()
    }

    fn told(&self) -> Option<End> {
        End::of(self.told.load(Ordering::Relaxed))
    }

    fn tell(&self, end: End) {
        self.told.store(end as u8, Ordering::Relaxed);
        self.waker.wake();
    }

    /// What its own clocks say.
    fn overdue(&self, edge: &Edge, now: Now) -> Option<End> {
        let tick = now.boot.0 / 1_000_000;
        let is_over = |since: &AtomicU64, limit: u64| tick.saturating_sub(since.load(Ordering::Relaxed)) > limit;
        let stall = millis(edge.settings.stall_timeout);
        if self.blocked_since.iter().any(|since| since.load(Ordering::Relaxed) != 0 && is_over(since, stall)) {
            return Some(End::Stalled);
        }
        if tick.saturating_sub(self.opened_at) > self.lifetime {
            return Some(End::Lifetime);
        }
        let is_half_open = self.is_half_open.load(Ordering::Relaxed);
        let idle = if is_half_open { self.idle.min(millis(HALF_OPEN_MAX)) } else { self.idle };
        is_over(&self.moved_at, idle).then_some(End::Idle)
    }
}
