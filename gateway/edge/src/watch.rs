//! Watches connections from outside: one sweep a second, instead of a timer for each read and write.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// What the sweep knows about one connection. Times are seconds of the core's coarse clock, from 1.
#[derive(Debug, Default)]
pub struct Watch {
    active_at: AtomicU64,
    stalled_since: AtomicU64,
    in_flight: AtomicU32,
    kill: Notify,
}

/// A core's coarse clock, moved by its sweep.
#[derive(Debug, Default)]
pub struct Tick(AtomicU64);

impl Tick {
    /// Seconds, from 1.
    pub fn seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves the clock.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds.max(1), Ordering::Relaxed);
    }
}

impl Watch {
    /// A watch over a connection that was just accepted.
    pub fn new(tick: &Tick) -> Arc<Self> {
        let watch = Self::default();
        watch.active_at.store(tick.seconds(), Ordering::Relaxed);
        Arc::new(watch)
    }

    /// Notes that a request runs; the guard notes its end.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Ends the connection if a write has been stuck for `stall`, or nothing has happened for `idle`. True when it did.
    pub fn sweep(&self, now: u64, stall: Duration, idle: Duration) -> bool {
        let stuck = self.stalled_since.load(Ordering::Relaxed);
        let is_stuck = stuck != 0 && now.saturating_sub(stuck) > stall.as_secs();
        let quiet = now.saturating_sub(self.active_at.load(Ordering::Relaxed));
        let is_idle = self.in_flight.load(Ordering::Relaxed) == 0 && quiet > idle.as_secs();
        if is_stuck || is_idle {
            self.kill.notify_one();
        }
        is_stuck
    }

    /// Resolves when the sweep has ended the connection.
    pub async fn killed(&self) {
        self.kill.notified().await;
    }
}

/// Marks a connection as busy for as long as it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Watch>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that tells its watch what moves.
#[derive(Debug)]
pub struct Watched<S> {
    inner: S,
    watch: Arc<Watch>,
    tick: Arc<Tick>,
}

impl<S> Watched<S> {
    /// Wraps a stream.
    pub const fn new(inner: S, watch: Arc<Watch>, tick: Arc<Tick>) -> Self {
        Self { inner, watch, tick }
    }

    fn wrote<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            if self.watch.stalled_since.load(Ordering::Relaxed) == 0 {
                self.watch.stalled_since.store(self.tick.seconds(), Ordering::Relaxed);
            }
        } else {
            self.watch.stalled_since.store(0, Ordering::Relaxed);
            self.watch.active_at.store(self.tick.seconds(), Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() {
            self.watch.active_at.store(self.tick.seconds(), Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.wrote(polled)
    }
}
