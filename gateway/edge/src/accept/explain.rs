//! Gives the codec's own refusals a body.
//!
//! A head that the codec cannot read never becomes a request: it answers by itself, with a status and nothing else, and closes.
//! There is no hook for that, but the answer passes through here, and it cannot be mistaken: it is one small write while no
//! request runs, it has no body, and it lacks the request id that every response of ours has.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::watch::Watch;

/// The codec's answer has four lines, about 130 bytes.
const ANSWER_BYTES_MAX: usize = 256;

/// A stream of HTTP/1.1 whose bare refusals are explained.
#[derive(Debug)]
pub(super) struct Explained<S, F, T> {
    inner: S,
    watch: Arc<Watch>,
    /// Makes the whole answer in place of one with this status.
    make: F,
    /// What is left of an answer to be written.
    rest: Bytes,
    /// What was made of the answer, for the record.
    told: Option<T>,
}

impl<S, F, T> Explained<S, F, T> {
    pub(super) const fn new(inner: S, watch: Arc<Watch>, make: F) -> Self {
        Self { inner, watch, make, rest: Bytes::new(), told: None }
    }

    /// The stream, and what the maker said beside its answer, if there was one.
    pub(super) fn into_parts(self) -> (S, Option<T>) {
        (self.inner, self.told)
    }
}

/// The status of a refusal that the codec wrote by itself.
fn bare_refusal(buf: &[u8]) -> Option<u16> {
    let rest = buf.strip_prefix(b"HTTP/1.1 4")?;
    if buf.len() > ANSWER_BYTES_MAX || !buf.ends_with(b"\r\n\r\n") {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?;
    let is_bare = text.contains("\r\ncontent-length: 0\r\n") && !text.contains("\r\nx-request-id:");
    is_bare.then(|| text.get(..2)?.parse::<u16>().ok().map(|ending| 400 + ending))?
}

impl<S: AsyncWrite + Unpin, F, T> Explained<S, F, T> {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin, F: Unpin, T: Unpin> AsyncRead for Explained<S, F, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, F: FnMut(u16) -> (Bytes, T) + Unpin, T: Unpin> AsyncWrite for Explained<S, F, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.watch.is_quiet()
            && let Some(status) = bare_refusal(buf)
        {
            let (answer, told) = (this.make)(status);
            (this.rest, this.told) = (answer, Some(told));
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(this.poll_rest(cx))?;
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut filled = bufs.iter().filter(|buf| !buf.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(cx, only);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
