//! A client's TCP connection that sends the end of its handshake together with what follows.
//!
//! After the client's `Finished` the TLS layer writes session tickets at once: a packet, a system call and a wake-up of the client
//! for something that it needs for its next connection only. Here they wait for the first bytes of HTTP.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::ahead::Ahead;

/// A connection whose writes are held back for a moment while it begins.
#[derive(Debug)]
pub struct Corked {
    stream: Ahead<TcpStream>,
    held: BytesMut,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Writes are held until the handshake reads on: it does so whenever it expects an answer.
    Handshake,
    /// What is held waits for the first write.
    Begun,
    /// Nothing is held back.
    Open,
}

impl Corked {
    /// A connection before its handshake.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: Ahead::new(stream), held: BytesMut::new(), phase: Phase::Handshake }
    }

    /// The handshake is over, and the client waits for nothing that is held: it leaves with the first write.
    pub const fn begin(&mut self) {
        self.phase = Phase::Begun;
    }

    /// From here on nothing is held back; what is leaves with the next write or flush.
    pub const fn uncork(&mut self) {
        self.phase = Phase::Open;
    }

    /// The connection. What is still held is dropped.
    pub fn into_inner(self) -> TcpStream {
        self.stream.into_inner()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(count);
        }
        self.held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn hold(&mut self, bufs: &[IoSlice<'_>]) -> usize {
        for buf in bufs {
            self.held.extend_from_slice(buf);
        }
        bufs.iter().map(|buf| buf.len()).sum()
    }
}

impl AsyncRead for Corked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Handshake {
            ready!(self.poll_drain(cx))?;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Corked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.phase {
            Phase::Open if self.held.is_empty() => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
            Phase::Open => {
                ready!(self.poll_drain(cx))?;
                Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
            }
            Phase::Handshake => Poll::Ready(Ok(self.hold(bufs))),
            Phase::Begun => {
                self.phase = Phase::Open;
                if self.held.is_empty() {
                    return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
                }
                let count = self.hold(bufs);
                // It is taken, whatever becomes of the drain: the next write or flush goes on, or meets the same error.
                match self.poll_drain(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Open {
            ready!(self.poll_drain(cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.phase = Phase::Open;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
