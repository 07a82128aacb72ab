//! Reads a TLS connection's bytes in large pieces.
//!
//! The TLS layer asks for 4 KiB at a time: four system calls and more for each record of a large message. Here a read that was filled
//! is followed by a large one, and the TLS layer gets its pieces from memory.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::pieces::PIECE_BYTES;

/// What a large read takes at most: two full TLS records.
const AHEAD_BYTES: usize = 33 << 10;

/// A stream that is read ahead. While nothing is on its way it holds no memory.
#[derive(Debug)]
pub struct Ahead<S> {
    inner: S,
    stock: BytesMut,
    /// The last read took all it could: more is likely to be there.
    was_filled: bool,
}

impl<S> Ahead<S> {
    /// Wraps a stream.
    pub fn new(inner: S) -> Self {
        Self { inner, stock: BytesMut::new(), was_filled: false }
    }

    /// The stream below.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Something was read that nobody has asked for yet.
    pub fn has_stock(&self) -> bool {
        !self.stock.is_empty()
    }

    /// The stream. What was read ahead is dropped.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> Ahead<S> {
    fn poll_stock(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stock.reserve(AHEAD_BYTES);
        let polled = poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.stock);
        if self.stock.is_empty() {
            self.stock = BytesMut::new();
        }
        self.was_filled = ready!(polled)? >= AHEAD_BYTES;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stock.is_empty() {
            if !self.was_filled {
                let room = buf.remaining();
                ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
                self.was_filled = room > 0 && buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_stock(cx))?;
        }
        let count = self.stock.len().min(buf.remaining());
        self.stock.get(..count).unwrap_or_default().chunks(PIECE_BYTES).for_each(|piece| buf.put_slice(piece));
        self.stock.advance(count);
        if self.stock.is_empty() {
            self.stock = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
