//! A connection whose client is heard out at the end: one that was refused in the middle of its body shall read why.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use edge::accept::handshake::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How much a client may still send that nobody reads: the largest document.
const BYTES_MAX: usize = 33 << 20;
/// How long all of that may take.
const WITHIN: Duration = Duration::from_secs(5);

/// A control connection. Ending it sends what is left and the end, and then drops what still comes: with unread bytes, closing would
/// reset the connection, and a reset overtakes the last answer (RFC 9112 section 9.6).
#[derive(Debug)]
pub(super) struct HeardOut {
    stream: Stream,
    end: Option<(Pin<Box<Sleep>>, usize)>,
}

impl HeardOut {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, end: None }
    }
}

impl AsyncRead for HeardOut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for HeardOut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let (deadline, left) = this.end.get_or_insert_with(|| (Box::pin(sleep_until(Instant::now() + WITHIN)), BYTES_MAX));
        let mut sink = [0_u8; 16 << 10];
        // Undecrypted: nobody reads it.
        let socket = this.stream.get_mut().0;
        while *left > 0 && deadline.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut sink);
            match ready!(Pin::new(&mut *socket).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *left = left.saturating_sub(buf.filled().len()),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
