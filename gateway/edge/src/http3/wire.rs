//! Frames of HTTP/3 (RFC 9114 section 7): their heads are read, payloads are passed on as they come, and nothing is kept but a
//! field section, up to its limit.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use quinn::RecvStream;

use super::{code::Code, credit::Credit};

pub(super) const DATA: u64 = 0x0;
pub(super) const HEADERS: u64 = 0x1;
pub(super) const CANCEL_PUSH: u64 = 0x3;
pub(super) const SETTINGS: u64 = 0x4;
pub(super) const PUSH_PROMISE: u64 = 0x5;
pub(super) const GOAWAY: u64 = 0x7;
pub(super) const MAX_PUSH_ID: u64 = 0xd;

/// Read at once while a head is awaited: most requests are smaller.
const HEAD_READ: usize = 2 << 10;
/// Read at once while a body passes.
const BODY_READ: usize = 16 << 10;

/// True for frames of HTTP/2 that have no place here (RFC 9114 section 7.2.8).
pub(super) const fn is_of_http2(kind: u64) -> bool {
    matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
}

/// What ends the reading of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The client breaks the protocol: its connection ends.
    Connection(Code),
    /// The stream was reset, or its connection is gone.
    Gone,
    /// A field section is longer than what was announced.
    TooLarge,
}

/// Reads a variable-length integer (RFC 9000 section 16) and its length; `None` when it has not come whole.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1_usize << (first >> 6);
    let mut value = u64::from(first & 0x3f);
    for byte in bytes.get(1..length)? {
        value = value << 8 | u64::from(*byte);
    }
    Some((value, length))
}

/// Writes one; numbers here are lengths and identifiers, all far below the limit of 62 bits.
pub(super) fn put_varint(out: &mut BytesMut, value: u64) {
    let [.., c, d] = value.to_be_bytes();
    match value {
        0..0x40 => out.put_u8(d),
        0x40..0x4000 => out.put_slice(&[0x40 | c, d]),
        0x4000..0x4000_0000 => out.put_u32(0x8000_0000 | u32::try_from(value).unwrap_or(0)),
        _ => out.put_u64(0xc000_0000_0000_0000 | value),
    }
}

/// The head of a frame.
pub(super) fn frame_head(kind: u64, length: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    put_varint(&mut out, kind);
    put_varint(&mut out, u64::try_from(length).unwrap_or(0));
    out.freeze()
}

/// The client's part of a stream, with what was read of it and is not used yet. Dropping it asks the client to send no more.
#[derive(Debug)]
pub(super) struct Reader {
    stream: RecvStream,
    buffer: BytesMut,
    is_over: bool,
}

impl Reader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new(), is_over: false }
    }

    /// Reads on; false at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Result<bool, Fault>> {
        if self.is_over {
            return Poll::Ready(Ok(false));
        }
        self.buffer.reserve(room);
        let read = ready!(tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.buffer));
        self.is_over = read.as_ref().is_ok_and(|count| *count == 0);
        Poll::Ready(read.map(|count| count > 0).map_err(|_| Fault::Gone))
    }

    /// The type and the length of the next frame; `None` at the end of the stream.
    fn poll_frame_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(u64, u64)>, Fault>> {
        loop {
            let head = varint(&self.buffer).and_then(|(kind, used)| {
                let (length, more) = varint(self.buffer.get(used..)?)?;
                Some((kind, length, used + more))
            });
            if let Some((kind, length, used)) = head {
                drop(self.buffer.split_to(used));
                return Poll::Ready(Ok(Some((kind, length))));
            }
            if !ready!(self.poll_more(cx, HEAD_READ))? {
                let is_cut = !self.buffer.is_empty();
                return Poll::Ready(if is_cut { Err(Fault::Connection(Code::Frame)) } else { Ok(None) });
            }
        }
    }

    /// What has come of a payload of which so many bytes are left: one byte at least.
    fn poll_some(&mut self, cx: &mut Context<'_>, left: u64, room: usize) -> Poll<Result<Bytes, Fault>> {
        if self.buffer.is_empty() && !ready!(self.poll_more(cx, room))? {
            return Poll::Ready(Err(Fault::Connection(Code::Frame)));
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
        Poll::Ready(Ok(self.buffer.split_to(length).freeze()))
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<Result<Bytes, Fault>> {
        while self.buffer.len() < length {
            if !ready!(self.poll_more(cx, HEAD_READ.max(length - self.buffer.len())))? {
                return Poll::Ready(Err(Fault::Connection(Code::Frame)));
            }
        }
        Poll::Ready(Ok(self.buffer.split_to(length).freeze()))
    }

    /// The next integer; `None` when the stream ends before it.
    pub(super) async fn integer(&mut self) -> Result<Option<u64>, Fault> {
        loop {
            if let Some((value, used)) = varint(&self.buffer) {
                drop(self.buffer.split_to(used));
                return Ok(Some(value));
            }
            if !poll_fn(|cx| self.poll_more(cx, HEAD_READ)).await? {
                return Ok(None);
            }
        }
    }

    pub(super) async fn frame_head(&mut self) -> Result<Option<(u64, u64)>, Fault> {
        poll_fn(|cx| self.poll_frame_head(cx)).await
    }

    /// A whole payload.
    pub(super) async fn whole(&mut self, length: usize) -> Result<Bytes, Fault> {
        poll_fn(|cx| self.poll_whole(cx, length)).await
    }

    /// Passes over a payload.
    pub(super) async fn skip(&mut self, mut left: u64) -> Result<(), Fault> {
        while left > 0 {
            let piece = poll_fn(|cx| self.poll_some(cx, left, BODY_READ)).await?;
            left -= u64::try_from(piece.len()).unwrap_or(left);
        }
        Ok(())
    }

    /// Whatever comes next; `None` at the end of the stream.
    pub(super) async fn some(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.buffer.is_empty() && !poll_fn(|cx| self.poll_more(cx, HEAD_READ)).await? {
            return Ok(None);
        }
        Ok(Some(self.buffer.split().freeze()))
    }

    /// Asks the client to send no more, and says why.
    pub(super) fn stop(&mut self, code: Code) {
        if !self.is_over {
            self.is_over = true;
            self.stream.stop(code.wire()).ok();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // What is not needed of a request is not its client's fault (RFC 9114 section 4.1).
        self.stop(Code::NoError);
    }
}

/// What comes on a request's stream.
#[derive(Debug)]
pub(super) enum Piece {
    /// A field section: the head, later the trailers.
    Fields(Bytes),
    /// A part of the body.
    Data(Bytes),
    /// The end.
    End,
}

/// The frames of a request's stream, in the order that RFC 9114 section 4.1 asks for.
#[derive(Debug)]
pub(super) struct Frames {
    reader: Reader,
    credit: Arc<Credit>,
    section_max: usize,
    stage: Stage,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    Over,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Head,
    Fields(usize),
    Data(u64),
    Skipped(u64),
}

impl Frames {
    /// The frames of a stream, whose field sections have at most so many bytes.
    pub(super) fn new(reader: Reader, credit: Arc<Credit>, section_max: usize) -> Self {
        Self { reader, credit, section_max, stage: Stage::Head, at: At::Head }
    }

    pub(super) fn stop(&mut self, code: Code) {
        self.reader.stop(code);
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Fault>> {
        loop {
            match self.at {
                At::Fields(length) => {
                    let section = ready!(self.reader.poll_whole(cx, length))?;
                    self.at = At::Head;
                    self.stage = if self.stage == Stage::Head { Stage::Body } else { Stage::Over };
                    return Poll::Ready(Ok(Piece::Fields(section)));
                }
                At::Data(0) | At::Skipped(0) => self.at = At::Head,
                At::Data(left) => {
                    let piece = ready!(self.reader.poll_some(cx, left, BODY_READ))?;
                    self.at = At::Data(left - u64::try_from(piece.len()).unwrap_or(left));
                    return Poll::Ready(Ok(Piece::Data(piece)));
                }
                At::Skipped(left) => {
                    let piece = ready!(self.reader.poll_some(cx, left, HEAD_READ))?;
                    self.at = At::Skipped(left - u64::try_from(piece.len()).unwrap_or(left));
                }
                At::Head => match ready!(self.reader.poll_frame_head(cx))? {
                    None => return Poll::Ready(Ok(Piece::End)),
                    Some((kind, length)) => self.begin(kind, length)?,
                },
            }
        }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<(), Fault> {
        let moves = match (kind, self.stage) {
            (HEADERS, Stage::Head | Stage::Body) => {
                let length = usize::try_from(length).ok().filter(|length| *length <= self.section_max).ok_or(Fault::TooLarge)?;
                self.at = At::Fields(length);
                true
            }
            (DATA, Stage::Body) => {
                self.at = At::Data(length);
                length > 0
            }
            (HEADERS | DATA | CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID, _) => {
                return Err(Fault::Connection(Code::FrameUnexpected));
            }
            _ if is_of_http2(kind) => return Err(Fault::Connection(Code::FrameUnexpected)),
            // RFC 9114 section 9: what is not known has no meaning.
            _ => {
                self.at = At::Skipped(length);
                false
            }
        };
        if moves || self.credit.frame() { Ok(()) } else { Err(Fault::Connection(Code::ExcessiveLoad)) }
    }
}

#[cfg(test)]
mod tests;
