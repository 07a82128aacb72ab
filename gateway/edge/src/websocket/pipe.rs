//! One direction of a WebSocket: what one side sends, the other gets, in order and without a copy kept.
//!
//! Bytes are read into a buffer that all WebSockets of the core share and written at once. Only what the receiver does not take is
//! kept, and nothing more is read until it is gone: that is the back-pressure, and the bound.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// Reads in one turn; then other tasks of the core have theirs.
const READS_MAX: u32 = 16;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    frames: Frames,
    bytes: u64,
    /// What the receiver has not taken.
    kept: Vec<u8>,
    kept_from: usize,
    needs_flush: bool,
    state: State,
    /// The last word, said at the end of the frame that has begun. The sender is not listened to any more then.
    last_word: Option<Vec<u8>>,
    has_moved: bool,
    is_blocked: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Copying,
    /// The sender has ended: the receiver is told.
    Ending,
    Over,
}

/// What a direction did since it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Bytes were read or written.
    pub(super) has_moved: bool,
    /// The receiver does not take what is there.
    pub(super) is_blocked: bool,
}

/// Which end failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// Reading.
    Sender,
    /// Writing.
    Receiver,
}

impl Pipe {
    /// Takes bytes that were read before.
    pub(super) fn begin(&mut self, early: &[u8]) {
        self.frames.read(early);
        self.bytes = self.bytes.saturating_add(u64::try_from(early.len()).unwrap_or(u64::MAX));
        self.kept.extend_from_slice(early);
    }

    /// Ends the direction with a frame of our own, after the frame that has begun. What comes from the sender behind that is dropped.
    pub(super) fn end_with(&mut self, frame: Vec<u8>) {
        self.last_word = Some(frame);
    }

    /// Bytes that have passed.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True once the sender has sent a close frame, or ended.
    pub(super) fn has_ended(&self) -> bool {
        self.frames.has_closed() || self.state != State::Copying
    }

    /// True once a close frame of the sender has passed.
    pub(super) const fn has_closed(&self) -> bool {
        self.frames.has_closed()
    }

    /// True once the sender has ended and the receiver knows.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What it did since it was asked last.
    pub(super) const fn turn(&mut self) -> Turn {
        Turn { has_moved: std::mem::replace(&mut self.has_moved, false), is_blocked: self.is_blocked }
    }

    /// Moves what can be moved; ready when the sender has ended and the receiver knows.
    pub(super) fn poll<R, W>(&mut self, cx: &mut Context<'_>, sender: &mut R, receiver: &mut W, buffer: &mut [u8]) -> Poll<Result<(), Failed>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        self.is_blocked = true;
        for _ in 0..READS_MAX {
            ready!(self.poll_kept(cx, receiver)).map_err(|_| Failed::Receiver)?;
            match self.state {
                State::Over => {
                    self.is_blocked = false;
                    return if self.last_word.is_some() { poll_drop(cx, sender, buffer) } else { Poll::Ready(Ok(())) };
                }
                State::Ending => {
                    // Whether it is told or gone already: this direction is over.
                    drop(ready!(Pin::new(&mut *receiver).poll_shutdown(cx)));
                    self.state = State::Over;
                }
                State::Copying => {
                    if let Some(frame) = self.last_word.as_mut().filter(|_| self.frames.is_between()) {
                        if !self.frames.has_closed() {
                            self.kept.append(frame);
                        }
                        self.state = State::Ending;
                        continue;
                    }
                    let mut read = ReadBuf::new(buffer);
                    match Pin::new(&mut *sender).poll_read(cx, &mut read) {
                        Poll::Ready(result) => self.take(cx, result, read.filled(), receiver)?,
                        Poll::Pending => {
                            if self.needs_flush {
                                ready!(Pin::new(receiver).poll_flush(cx)).map_err(|_| Failed::Receiver)?;
                                self.needs_flush = false;
                            }
                            self.is_blocked = false;
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
        self.is_blocked = false;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Passes on what was read.
    fn take<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, read: io::Result<()>, bytes: &[u8], receiver: &mut W) -> Result<(), Failed> {
        // Many clients hang up once they have said goodbye, without the end that TLS wants.
        if bytes.is_empty() && (read.is_ok() || self.frames.has_closed()) {
            self.state = State::Ending;
            return Ok(());
        }
        read.map_err(|_| Failed::Sender)?;
        self.has_moved = true;
        let mut bytes = if self.last_word.is_some() {
            let passed = self.frames.finish(bytes);
            bytes.get(..passed).unwrap_or_default()
        } else {
            self.frames.read(bytes);
            bytes
        };
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.needs_flush = true;
        while !bytes.is_empty() {
            match Pin::new(&mut *receiver).poll_write(cx, bytes) {
                Poll::Ready(Ok(count)) if count > 0 => bytes = bytes.get(count..).unwrap_or_default(),
                Poll::Ready(_) => return Err(Failed::Receiver),
                Poll::Pending => {
                    self.kept.extend_from_slice(bytes);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes what was kept, and gives its memory back.
    fn poll_kept<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, receiver: &mut W) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.kept.get(self.kept_from..).filter(|bytes| !bytes.is_empty()) {
            let count = ready!(Pin::new(&mut *receiver).poll_write(cx, bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept_from += count;
            self.has_moved = true;
            self.needs_flush = true;
        }
        (self.kept, self.kept_from) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

/// Reads to the end for nothing: closing with unread bytes would reset the connection, and take the last word with it.
fn poll_drop<R: AsyncRead + Unpin>(cx: &mut Context<'_>, sender: &mut R, buffer: &mut [u8]) -> Poll<Result<(), Failed>> {
    loop {
        let mut read = ReadBuf::new(buffer);
        let result = ready!(Pin::new(&mut *sender).poll_read(cx, &mut read));
        if result.is_err() || read.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests;
