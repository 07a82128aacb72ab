//! What a client of HTTP/2 has seen of its server.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::PROBE;
use crate::frames::{DATA, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame};

/// Everything that has come.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first frame's type and flags.
    pub(super) first: Option<(u8, u8)>,
    /// The server's settings.
    pub(super) settings: Option<Vec<(u16, u32)>>,
    /// Acknowledgements of ours.
    pub(super) acks: u32,
    /// The last GOAWAY: last stream and code.
    pub(super) goaway: Option<(u32, u32)>,
    /// Answers to PINGs, with their payload.
    pub(super) pongs: Vec<Vec<u8>>,
    /// The last probe was answered.
    pub(super) pong: bool,
    /// The connection is over.
    pub(super) ended: bool,
    /// The stream that was one too many.
    pub(super) crowd: u32,
    streams: HashMap<u32, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    status: Option<u16>,
    body: usize,
    reset: Option<u32>,
    is_over: bool,
}

impl Seen {
    /// Reads until the end of the connection, whatever is said before.
    pub(super) async fn watch_end(&mut self, frames: &mut Frames, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.ended {
            match timeout_at(until, frames.read()).await {
                Ok(Some(frame)) => self.note(frames, &frame).await,
                Ok(None) => self.ended = true,
                Err(_) => return,
            }
        }
    }

    /// Reads until `done`, the end of the connection or a GOAWAY that ends it, for at most `limit`.
    pub(super) async fn watch(&mut self, frames: &mut Frames, limit: Duration, done: impl Fn(&Self) -> bool) {
        let until = Instant::now() + limit;
        while !self.is_gone() && !done(self) {
            match timeout_at(until, frames.read()).await {
                Ok(Some(frame)) => self.note(frames, &frame).await,
                Ok(None) => self.ended = true,
                Err(_) => return,
            }
        }
    }

    async fn note(&mut self, frames: &mut Frames, came: &Frame) {
        self.first.get_or_insert((came.kind, came.flags));
        let word = |at: usize| came.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
        match (came.kind, came.flags & 1) {
            (SETTINGS, 0) => {
                let pairs = came.payload.chunks_exact(6).filter_map(|pair| {
                    let (id, value) = pair.split_first_chunk::<2>()?;
                    Some((u16::from_be_bytes(*id), u32::from_be_bytes(*value.first_chunk::<4>()?)))
                });
                self.settings.get_or_insert_default().extend(pairs);
                frames.send(frame(SETTINGS, 1, 0, &[])).await;
            }
            (SETTINGS, _) => self.acks += 1,
            (PING, 0) => drop(frames.send(frame(PING, 1, 0, &came.payload)).await),
            (PING, _) => {
                self.pong |= came.payload == PROBE;
                self.pongs.push(came.payload.clone());
            }
            (GOAWAY, _) => self.goaway = Some((word(0) & 0x7fff_ffff, word(4))),
            (RST_STREAM, _) => {
                let stream = self.streams.entry(came.stream).or_default();
                stream.reset.get_or_insert(word(0));
                stream.is_over = true;
            }
            (HEADERS, _) => {
                let stream = self.streams.entry(came.stream).or_default();
                // An interim answer is not the answer.
                if stream.status.is_none_or(|status| status < 200) {
                    stream.status = Some(status(&came.payload));
                }
                stream.is_over |= came.flags & END_STREAM != 0;
            }
            (DATA, _) => {
                let stream = self.streams.entry(came.stream).or_default();
                stream.body += came.payload.len();
                stream.is_over |= came.flags & END_STREAM != 0;
            }
            _ => {}
        }
    }

    /// The stream that a case means: 0 stands for the one that was too many.
    pub(super) const fn real(&self, stream: u32) -> u32 {
        if stream == 0 { self.crowd } else { stream }
    }

    /// The connection ended, or was told to end for an error.
    pub(super) fn is_gone(&self) -> bool {
        self.ended || self.goaway.is_some_and(|(_, code)| code != 0)
    }

    pub(super) fn is_over(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.is_over)
    }

    /// The final status; 0 for one that cannot be read.
    pub(super) fn status(&self, stream: u32) -> Option<u16> {
        self.streams.get(&stream)?.status.filter(|status| *status >= 200 || *status == 0)
    }

    pub(super) fn reset(&self, stream: u32) -> Option<u32> {
        self.streams.get(&stream)?.reset
    }

    pub(super) fn body(&self, stream: u32) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.body)
    }

    /// A setting of the server.
    pub(super) fn setting(&self, id: u16) -> Option<u32> {
        self.settings.iter().flatten().rev().find(|(name, _)| *name == id).map(|(_, value)| *value)
    }

    /// What was said, for a sentence.
    pub(super) fn told(&self) -> String {
        let mut told: Vec<String> = self.goaway.iter().map(|(_, code)| format!("; GOAWAY with code {code}")).collect();
        let mut streams: Vec<_> = self.streams.iter().collect();
        streams.sort_by_key(|(id, _)| **id);
        for (id, stream) in streams.into_iter().take(3) {
            if let Some(status) = stream.status {
                told.push(format!("; stream {id} answered {status}"));
            }
            if let Some(code) = stream.reset {
                told.push(format!("; stream {id} reset with code {code}"));
            }
        }
        told.concat()
    }
}

/// The status at the beginning of a header block. The table is empty by our settings, so it is an entry of the static table, or
/// a literal with the name from there; 0 when it is neither.
fn status(block: &[u8]) -> u16 {
    let mut block = block;
    // Updates of the table's size come first; their integers may have more octets (RFC 7541 section 5.1).
    while let [first @ 0x20..=0x3f, rest @ ..] = block {
        let more = if *first == 0x3f { rest.iter().take_while(|byte| **byte >= 0x80).count() + 1 } else { 0 };
        block = rest.get(more..).unwrap_or_default();
    }
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e, length, rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f)).unwrap_or_default();
            if length & 0x80 == 0 { std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0) } else { digits(text) }
        }
        _ => 0,
    }
}

/// Digits in the Huffman code of RFC 7541, appendix B: 0, 1 and 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1))).collect();
    let number = |bits: &[u16]| bits.iter().fold(0, |all, bit| all << 1 | bit);
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let five = number(bits.get(at..at + 5).unwrap_or_default());
        let (digit, length) = if five < 3 { (five, 5) } else { (number(bits.get(at..at + 6).unwrap_or_default()).saturating_sub(0x16), 6) };
        (value, at) = (value * 10 + digit, at + length);
    }
    value
}
