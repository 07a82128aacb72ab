//! Gathers what many HTTP/2 streams write in one turn into few TLS records.
//!
//! The HTTP/2 codec flushes after every frame that it cannot copy: one record and one system call for each small response.
//! Here a flush only marks, and wakes the connection's task again: it runs once more behind the tasks that are ready now,
//! takes their frames too, and then everything leaves together. No timer: the delay is one turn of the run queue.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gathered at most; four full TLS records. More is written at once.
const GATHER_BYTES_MAX: usize = 64 << 10;
/// Writes of this size gain nothing from being copied.
const DIRECT_BYTES_MIN: usize = 8 << 10;

/// A stream whose flushes gather.
#[derive(Debug)]
pub struct Coalesced<S> {
    inner: S,
    gathered: BytesMut,
    /// A flush was asked for and put off to the next turn.
    is_put_off: bool,
    /// Reads since then; a task that reads twice has had its turn.
    reads: u8,
}

impl<S> Coalesced<S> {
    /// Wraps a stream.
    pub fn new(inner: S) -> Self {
        Self { inner, gathered: BytesMut::new(), is_put_off: false, reads: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.gathered))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(count);
        }
        self.is_put_off = false;
        Poll::Ready(Ok(()))
    }

    fn gather(&mut self, bufs: &[IoSlice<'_>], total: usize) -> usize {
        // Grows to what one turn needs; an idle connection holds nothing.
        self.gathered.reserve(total);
        for buf in bufs {
            self.gathered.extend_from_slice(buf);
        }
        total
    }

    /// Writes what is gathered and these together, without copying them.
    fn poll_write_through(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.gathered.is_empty() {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        let mut all = [IoSlice::new(&[]); 8];
        let count = {
            let rest = all.iter_mut().zip(std::iter::once(IoSlice::new(&self.gathered)).chain(bufs.iter().copied()));
            for (place, buf) in rest {
                *place = buf;
            }
            ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &all))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let from_gathered = count.min(self.gathered.len());
        self.gathered.advance(from_gathered);
        if from_gathered == count {
            // Nothing of the new bytes has left: they are asked for again.
            ready!(self.poll_drain(cx))?;
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        Poll::Ready(Ok(count - from_gathered))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_put_off {
            this.reads = this.reads.saturating_add(1);
            if this.reads > 1 {
                // An error shows again at the next write or flush.
                if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
                    return Poll::Ready(Err(error));
                }
            }
        }
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if total >= DIRECT_BYTES_MIN {
            return self.poll_write_through(cx, bufs);
        }
        if self.gathered.len() + total > GATHER_BYTES_MAX {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(self.gather(bufs, total)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.gathered.is_empty() && !this.is_put_off {
            this.is_put_off = true;
            this.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
