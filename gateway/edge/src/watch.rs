//! Watches connections from outside: one sweep a second, instead of a timer for each read and write.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use crate::{body::ReplyBody, runtime::Settings, strict::Framing, tls::Protocol};

/// What the sweep knows about one connection. Times are seconds of the core's coarse clock, from 1; 0 means never.
#[derive(Debug, Default)]
pub struct Watch {
    tick: Arc<Tick>,
    active_at: AtomicU64,
    stalled_since: AtomicU64,
    head_since: AtomicU64,
    is_ambiguous: AtomicBool,
    in_flight: AtomicU32,
    /// Since when each HTTP/2 response waits for its client to make room for the next piece.
    waiting: Mutex<Vec<Arc<AtomicU64>>>,
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
    pub fn new(tick: &Arc<Tick>) -> Arc<Self> {
        let watch = Self { tick: Arc::clone(tick), ..Self::default() };
        watch.active_at.store(tick.seconds(), Ordering::Relaxed);
        Arc::new(watch)
    }

    /// Notes that a request runs; the guard notes its end.
    pub fn enter(self: &Arc<Self>, protocol: Protocol) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let waiting_since = match protocol {
            // One response at a time: a client that does not read shows on the socket.
            Protocol::Http1 => None,
            Protocol::Http2 => {
                let since = Arc::new(AtomicU64::new(0));
                self.waiting.lock().push(Arc::clone(&since));
                Some(since)
            }
        };
        InFlight { watch: Arc::clone(self), waiting_since }
    }

    /// True once the client's HTTP/1.1 framing had more than one reading: nothing on this connection can be trusted then.
    pub fn is_ambiguous(&self) -> bool {
        self.is_ambiguous.load(Ordering::Relaxed)
    }

    /// Ends the connection if a write has been stuck for too long, a head takes too long to come, or nothing has happened.
    /// True when the client kept something waiting.
    pub fn sweep(&self, now: u64, settings: &Settings) -> bool {
        let is_over = |since: u64, limit: std::time::Duration| since != 0 && now.saturating_sub(since) > limit.as_secs();
        let is_stuck = is_over(self.stalled_since.load(Ordering::Relaxed), settings.stall_timeout)
            || self.waiting.lock().iter().any(|since| is_over(since.load(Ordering::Relaxed), settings.stall_timeout));
        let is_quiet = self.in_flight.load(Ordering::Relaxed) == 0;
        let is_late = is_quiet && is_over(self.head_since.load(Ordering::Relaxed), settings.head_timeout);
        let is_idle = is_quiet && is_over(self.active_at.load(Ordering::Relaxed), settings.idle_timeout);
        if is_stuck || is_late || is_idle {
            self.kill.notify_one();
        }
        is_stuck || is_late
    }

    /// Resolves when the sweep has ended the connection.
    pub async fn killed(&self) {
        self.kill.notified().await;
    }

    fn framing(&self, framing: &Framing) {
        if framing.is_ambiguous() {
            self.is_ambiguous.store(true, Ordering::Relaxed);
        }
        let was_in_head = self.head_since.load(Ordering::Relaxed) != 0;
        if framing.is_in_head() != was_in_head {
            self.head_since.store(if was_in_head { 0 } else { self.tick.seconds() }, Ordering::Relaxed);
        }
    }
}

/// Marks a connection as busy for as long as it lives: from a request's head to the last piece of its response.
#[derive(Debug)]
pub struct InFlight {
    watch: Arc<Watch>,
    waiting_since: Option<Arc<AtomicU64>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.watch.in_flight.fetch_sub(1, Ordering::Relaxed);
        // The next head may have begun long ago, but nobody was reading it.
        if self.watch.head_since.load(Ordering::Relaxed) != 0 {
            self.watch.head_since.store(self.watch.tick.seconds(), Ordering::Relaxed);
        }
        if let Some(own) = &self.waiting_since {
            self.watch.waiting.lock().retain(|since| !Arc::ptr_eq(since, own));
        }
    }
}

/// A response's body that tells its watch whether the client takes it.
#[derive(Debug)]
pub struct WatchedBody {
    inner: ReplyBody,
    guard: InFlight,
}

impl WatchedBody {
    /// Joins a body with the mark of its request.
    pub const fn new(inner: ReplyBody, guard: InFlight) -> Self {
        Self { inner, guard }
    }
}

impl Body for WatchedBody {
    type Data = <ReplyBody as Body>::Data;
    type Error = <ReplyBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Some(since) = &self.guard.waiting_since {
            // A piece was handed over: until the next one is asked for, the client's window is what we wait for.
            let now = if matches!(polled, Poll::Ready(Some(Ok(_)))) { self.guard.watch.tick.seconds() } else { 0 };
            since.store(now, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A stream that tells its watch what moves.
#[derive(Debug)]
pub struct Watched<S> {
    inner: S,
    watch: Arc<Watch>,
    /// Follows HTTP/1.1 framing; HTTP/2 has its own.
    framing: Option<Framing>,
}

impl<S> Watched<S> {
    /// Wraps a stream.
    pub fn new(inner: S, watch: Arc<Watch>, protocol: Protocol) -> Self {
        Self { inner, watch, framing: (protocol == Protocol::Http1).then(Framing::default) }
    }

    /// The stream carries another protocol from now on: nothing in it is a head.
    pub fn switch(&mut self) {
        self.framing = None;
        self.watch.head_since.store(0, Ordering::Relaxed);
    }

    fn wrote<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            if self.watch.stalled_since.load(Ordering::Relaxed) == 0 {
                self.watch.stalled_since.store(self.watch.tick.seconds(), Ordering::Relaxed);
            }
        } else {
            self.watch.stalled_since.store(0, Ordering::Relaxed);
            self.watch.active_at.store(self.watch.tick.seconds(), Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() {
            self.watch.active_at.store(self.watch.tick.seconds(), Ordering::Relaxed);
            let this = &mut *self;
            if let Some(framing) = &mut this.framing {
                framing.read(buf.filled().get(before..).unwrap_or_default());
                this.watch.framing(framing);
            }
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
