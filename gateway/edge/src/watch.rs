//! Watches connections from outside: one sweep a second, instead of a timer for each read and write.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    body::ReplyBody,
    calm::Calm,
    pieces::{self, Pieces},
    runtime::Settings,
    strict::Framing,
    tls::Protocol,
};

/// How long a connection may take to end that nobody uses: over HTTP/2 the client is told first (RFC 9113 section 6.8).
const LEAVE_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// What the sweep knows about one connection. Times are seconds of the core's coarse clock, from 1; 0 means never.
#[derive(Debug, Default)]
pub struct Watch {
    tick: Arc<Tick>,
    active_at: AtomicU64,
    stalled_since: AtomicU64,
    head_since: AtomicU64,
    is_ambiguous: AtomicBool,
    /// HTTP/1.1: the body of the request that runs was not read to its end.
    is_unread: AtomicBool,
    /// Many clients' requests come over it.
    is_shared: AtomicBool,
    /// HTTP/1.1: requests that have begun, and those that have come whole.
    begun: AtomicU32,
    whole: AtomicU32,
    in_flight: AtomicU32,
    /// Since when each HTTP/2 response waits for its client to make room for the next piece.
    waiting: Mutex<Vec<Arc<AtomicU64>>>,
    /// Since when an idle HTTP/2 connection is taking its leave.
    leaving_since: AtomicU64,
    is_killed: AtomicBool,
    /// The connection's task. Flags and one waker: each turn of the task asks, and a notifier would take its lock each time.
    task: AtomicWaker,
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
            Protocol::Http2 | Protocol::Http3 => {
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

    /// Notes that something has happened.
    pub fn touch(&self) {
        self.active_at.store(self.tick.seconds(), Ordering::Relaxed);
    }

    /// The core's coarse clock.
    pub const fn tick(&self) -> &Arc<Tick> {
        &self.tick
    }

    /// True while no request runs.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// Notes that many clients' requests come over the connection.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Notes whether a request's body is still to be read.
    pub fn body_unread(&self, is_unread: bool) {
        self.is_unread.store(is_unread, Ordering::Relaxed);
    }

    /// Counts a request of HTTP/1.1; its number, from 1.
    pub fn begin(&self) -> u32 {
        self.begun.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// True when the connection ends behind the response to this request, because its body was not read. The codec passes over
    /// a body with a length that has come whole, and over nothing else.
    pub fn is_left_unread(&self, number: u32, is_chunked: bool) -> bool {
        self.is_unread.load(Ordering::Relaxed) && (is_chunked || self.whole.load(Ordering::Relaxed) < number)
    }

    /// Ends the connection if a write has been stuck for too long, a head takes too long to come, or nothing has happened.
    /// True when the client kept something waiting.
    pub fn sweep(&self, now: u64, settings: &Settings) -> bool {
        let is_over = |since: u64, limit: std::time::Duration| since != 0 && now.saturating_sub(since) > limit.as_secs();
        let is_stuck = is_over(self.stalled_since.load(Ordering::Relaxed), settings.stall_timeout)
            // Over a gateway's connection go many clients' requests: the gateway ends those that stand still.
            || !self.is_shared.load(Ordering::Relaxed)
                && self.waiting.lock().iter().any(|since| is_over(since.load(Ordering::Relaxed), settings.stall_timeout));
        let is_quiet = self.is_quiet();
        let is_late = is_quiet && is_over(self.head_since.load(Ordering::Relaxed), settings.head_timeout);
        let is_idle = is_quiet && is_over(self.active_at.load(Ordering::Relaxed), settings.idle_timeout);
        let is_gone = is_quiet && is_over(self.leaving_since.load(Ordering::Relaxed), LEAVE_WITHIN);
        if is_stuck || is_late || is_gone {
            self.is_killed.store(true, Ordering::Release);
            self.task.wake();
        } else if is_idle && self.leaving_since.load(Ordering::Relaxed) == 0 {
            self.leaving_since.store(now, Ordering::Release);
            self.task.wake();
        }
        is_stuck || is_late
    }

    /// Resolves when nothing has happened for too long; the connection has a few seconds to say so.
    pub fn left_alone(&self) -> impl Future<Output = ()> + '_ {
        self.when(|watch| watch.leaving_since.load(Ordering::Acquire) != 0)
    }

    /// Resolves when the sweep has ended the connection.
    pub fn killed(&self) -> impl Future<Output = ()> + '_ {
        self.when(|watch| watch.is_killed.load(Ordering::Acquire))
    }

    /// Resolves when a flag is set. Only the connection's own task may wait.
    fn when(&self, is_set: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            self.task.register(cx.waker());
            if is_set(self) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    fn framing(&self, framing: &Framing) {
        if framing.is_ambiguous() {
            self.is_ambiguous.store(true, Ordering::Relaxed);
        }
        self.whole.store(framing.whole(), Ordering::Relaxed);
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
    follower: Follower,
    /// What is read next in place of the client's bytes.
    last_words: Bytes,
}

/// Reads along, to know what the codec above does not tell.
#[derive(Debug)]
enum Follower {
    Http1(Framing),
    Http2(Calm),
    /// Another protocol has begun, which has no heads.
    Absent,
    /// The client's bytes are not read any more.
    Deaf,
}

impl<S> Watched<S> {
    /// Wraps a stream.
    pub fn new(inner: S, watch: Arc<Watch>, protocol: Protocol) -> Self {
        let follower = match protocol {
            Protocol::Http1 => Follower::Http1(Framing::default()),
            Protocol::Http2 => Follower::Http2(Calm::default()),
            // Its frames are read by our own code, which does not need to be watched.
            Protocol::Http3 => Follower::Absent,
        };
        Self { inner, watch, follower, last_words: Bytes::new() }
    }

    /// The stream.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Looks at what has come behind the first `before` bytes.
    fn follow(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let bytes = buf.filled().get(before..).unwrap_or_default();
        match &mut self.follower {
            Follower::Http1(framing) => {
                framing.read(bytes);
                self.watch.framing(framing);
            }
            Follower::Http2(calm) => {
                if let Some(kept) = calm.read(bytes, self.watch.tick.seconds()) {
                    tracing::debug!("an HTTP/2 client floods its connection with frames that move nothing");
                    self.last_words = calm.last_words();
                    self.follower = Follower::Deaf;
                    buf.set_filled(before + kept);
                    self.speak(buf);
                }
            }
            Follower::Absent => {}
            Follower::Deaf => buf.set_filled(before),
        }
    }

    fn speak(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.last_words.len().min(buf.remaining());
        buf.put_slice(&self.last_words.split_to(count));
    }

    fn wrote_some(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Follower::Http2(calm), Poll::Ready(Ok(count))) = (&mut self.follower, &polled) {
            calm.wrote(*count);
        }
        self.wrote(polled)
    }

    /// The stream carries another protocol from now on: nothing in it is a head.
    pub fn switch(&mut self) {
        self.follower = Follower::Absent;
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

impl<S: AsyncBufRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.last_words.is_empty() {
            self.speak(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = pieces::poll_read(&mut self.inner, cx, buf);
        if polled.is_ready() {
            self.watch.active_at.store(self.watch.tick.seconds(), Ordering::Relaxed);
            self.follow(buf, before);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let whole = [io::IoSlice::new(buf)];
        let polled = match Pieces::of(&whole) {
            Some(pieces) => Pin::new(&mut self.inner).poll_write_vectored(cx, pieces.as_slice()),
            None => Pin::new(&mut self.inner).poll_write(cx, buf),
        };
        self.wrote_some(polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let pieces = Pieces::of(bufs);
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces.as_ref().map_or(bufs, Pieces::as_slice));
        self.wrote_some(polled)
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
