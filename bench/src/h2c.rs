//! HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3), as far as the upstream needs it: every request gets the same
//! small gRPC answer with trailers.
//!
//! Header blocks are not decoded, because nothing in them changes the answer, and the answer uses static HPACK fields
//! alone, so no state is shared with the peer's decoder. Flow control is kept both ways.

use std::collections::VecDeque;

use crate::Failure;

/// The first line and blank line of the client's preface: to an HTTP/1.1 parser it looks like a request's head.
pub const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0";
/// What follows it, before the first frame.
const PREFACE_REST: &[u8] = b"SM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

const INITIAL_WINDOW_SIZE: u16 = 4;
/// No SETTINGS of ours asks for more (RFC 9113 §4.2).
const FRAME_BYTES_MAX: usize = 16_384;
const WINDOW_BYTES_DEFAULT: i64 = 65_535;
/// The window for requests' bodies: on the connection 1 MiB more than the default, and topped up before it is used.
const WINDOW_BYTES_EXTRA: u32 = 1 << 20;

/// A gRPC message is one byte (not compressed), four bytes of length, and here 64 bytes.
const ANSWER: &[u8] = b"\0\0\0\0\x40gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg";
#[expect(clippy::cast_possible_wrap, reason = "69 is far below 2^63")]
const ANSWER_BYTES: i64 = ANSWER.len() as i64;

/// One connection.
#[derive(Debug)]
pub struct Session {
    preface_left: usize,
    /// What the peer lets us send on the connection, in bytes.
    window: i64,
    /// Bytes of DATA that the peer was not yet given back.
    received: u32,
    /// A header block that goes on in CONTINUATION frames: whether its request ends with it.
    open_block: Option<bool>,
    /// Streams whose answer waits for the connection's window.
    waiting: VecDeque<u32>,
}

struct Frame<'d> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'d [u8],
}

impl Session {
    /// Starts a connection whose preface was read up to [`PREFACE_HEAD`] and its blank line; writes our SETTINGS.
    pub fn start(output: &mut Vec<u8>) -> Self {
        frame(output, SETTINGS, 0, 0, &[]);
        frame(output, WINDOW_UPDATE, 0, 0, &WINDOW_BYTES_EXTRA.to_be_bytes());
        Self { preface_left: PREFACE_REST.len(), window: WINDOW_BYTES_DEFAULT, received: 0, open_block: None, waiting: VecDeque::new() }
    }

    /// Advances over `data`, appends what is to be sent, and returns how many bytes it consumed.
    ///
    /// # Errors
    /// When the peer breaks the protocol, or leaves no room in a stream's window for the answer.
    pub fn parse(&mut self, data: &[u8], output: &mut Vec<u8>) -> Result<usize, Failure> {
        let mut used = self.preface_left.min(data.len());
        self.preface_left -= used;
        while let Some((frame, length)) = next(data.get(used..).unwrap_or_default())? {
            used += length;
            self.take(&frame, output)?;
        }
        Ok(used)
    }

    fn take(&mut self, frame: &Frame<'_>, output: &mut Vec<u8>) -> Result<(), Failure> {
        let ends_stream = frame.flags & END_STREAM != 0;
        match frame.kind {
            DATA => {
                self.give_back(frame, ends_stream, output)?;
                if ends_stream {
                    self.answer(frame.stream, output);
                }
            }
            HEADERS if frame.flags & END_HEADERS == 0 => self.open_block = Some(ends_stream),
            HEADERS if ends_stream => self.answer(frame.stream, output),
            CONTINUATION if frame.flags & END_HEADERS != 0 && self.open_block.take() == Some(true) => {
                self.answer(frame.stream, output);
            }
            RST_STREAM => self.waiting.retain(|stream| *stream != frame.stream),
            SETTINGS if frame.flags & ACK == 0 => {
                check_settings(frame.payload)?;
                self::frame(output, SETTINGS, ACK, 0, &[]);
            }
            PING if frame.flags & ACK == 0 => self::frame(output, PING, ACK, 0, frame.payload),
            WINDOW_UPDATE if frame.stream == 0 => {
                self.window += i64::from(u32::from_be_bytes(frame.payload.try_into()?));
                self.answer_waiting(output);
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives the peer its window back: for a stream at once, for the connection in steps of half of it.
    fn give_back(&mut self, frame: &Frame<'_>, ends_stream: bool, output: &mut Vec<u8>) -> Result<(), Failure> {
        let length = u32::try_from(frame.payload.len())?;
        if length > 0 && !ends_stream {
            self::frame(output, WINDOW_UPDATE, 0, frame.stream, &length.to_be_bytes());
        }
        self.received += length;
        if self.received > WINDOW_BYTES_EXTRA / 2 {
            self::frame(output, WINDOW_UPDATE, 0, 0, &self.received.to_be_bytes());
            self.received = 0;
        }
        Ok(())
    }

    fn answer(&mut self, stream: u32, output: &mut Vec<u8>) {
        self.waiting.push_back(stream);
        self.answer_waiting(output);
    }

    fn answer_waiting(&mut self, output: &mut Vec<u8>) {
        while self.window >= ANSWER_BYTES {
            let Some(stream) = self.waiting.pop_front() else { return };
            self.window -= ANSWER_BYTES;
            // :status 200 is static field 8; content-type is 31, written as a literal that no table keeps.
            frame(output, HEADERS, END_HEADERS, stream, b"\x88\x0f\x10\x10application/grpc");
            frame(output, DATA, 0, stream, ANSWER);
            frame(output, HEADERS, END_HEADERS | END_STREAM, stream, b"\x00\x0bgrpc-status\x010");
        }
    }
}

/// The first frame of `data` with its whole length; nothing when it is not all there.
fn next(data: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Failure> {
    let Some((&[l0, l1, l2, kind, flags, s0, s1, s2, s3], rest)) = data.split_first_chunk::<9>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
    if length > FRAME_BYTES_MAX {
        return Err("frame is over 16 KiB".into());
    }
    let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
    Ok(rest.get(..length).map(|payload| (Frame { kind, flags, stream, payload }, 9 + length)))
}

fn frame(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, l0, l1, l2] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    output.extend_from_slice(&[l0, l1, l2, kind, flags, s0, s1, s2, s3]);
    output.extend_from_slice(payload);
}

/// Streams' windows are not tracked: each carries one answer, so it is enough that the answer fits.
fn check_settings(payload: &[u8]) -> Result<(), Failure> {
    for entry in payload.chunks_exact(6) {
        if let &[i0, i1, v0, v1, v2, v3] = entry
            && u16::from_be_bytes([i0, i1]) == INITIAL_WINDOW_SIZE
            && i64::from(u32::from_be_bytes([v0, v1, v2, v3])) < ANSWER_BYTES
        {
            return Err("a stream's window is smaller than the answer".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
