//! Bounds what a client can make an HTTP/2 connection do without asking for anything: floods of settings, pings, priorities,
//! window updates, resets, unknown and empty frames, which cost the codec a turn each and are otherwise borne for ever
//! (RFC 9113 section 10.5).
//!
//! The codec has no hook for this, so the reader below it follows the frames' headers: nine bytes each, and the payload is
//! passed over. A frame that moves nothing costs one credit; requests, bodies and what is written to the client earn some.

use bytes::{BufMut, Bytes, BytesMut};

/// Credit of a new connection, and the most that is kept.
const CREDIT_MAX: u32 = 5_000;
/// Given back each second: far more than keep-alive probes need.
const CREDIT_PER_SECOND: u32 = 1_000;
/// Earned by a request: its stream may be given a window and a priority, and be reset.
const CREDIT_PER_REQUEST: u32 = 8;
/// Payload bytes in either direction that earn one: a client that reads gives windows, and clients give one for each frame
/// that they read at the most. A PING's answer has 17 bytes and earns nothing to speak of.
const BYTES_PER_CREDIT: usize = 128;

const HEAD_BYTES: usize = 9;
const PREFACE_BYTES: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows the frames of one connection's client.
#[derive(Debug)]
pub struct Calm {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    filled: usize,
    /// Bytes of the refused frame's head that the codec has already.
    begun: usize,
    /// SETTINGS came first, as they must (RFC 9113 section 3.4).
    is_begun: bool,
    /// Bytes of a payload that are still to come.
    left: usize,
    /// The stream whose header block is open; 0 for none.
    block: u32,
    credit: u32,
    /// Bytes that have not earned a credit yet.
    bytes: usize,
    second: u64,
}

impl Default for Calm {
    fn default() -> Self {
        // The preface is passed over like a payload.
        Self { head: [0; HEAD_BYTES], filled: 0, begun: 0, is_begun: false, left: PREFACE_BYTES, block: 0, credit: CREDIT_MAX, bytes: 0, second: 0 }
    }
}

impl Calm {
    /// Reads on, at a second of the coarse clock. When a frame is one too many: the length of what comes before it in `bytes`.
    pub fn read(&mut self, bytes: &[u8], second: u64) -> Option<usize> {
        if second != self.second {
            let passed = u32::try_from(second.saturating_sub(self.second)).unwrap_or(u32::MAX);
            self.earn(passed.saturating_mul(CREDIT_PER_SECOND));
            self.second = second;
        }
        let mut at = 0;
        loop {
            let passed = self.left.min(bytes.len() - at);
            self.left -= passed;
            at += passed;
            let begin = at;
            let rest = bytes.get(at..).unwrap_or_default();
            let room = self.head.get_mut(self.filled..)?;
            let taken = room.len().min(rest.len());
            let given = self.filled;
            for (place, byte) in room.iter_mut().zip(rest) {
                *place = *byte;
            }
            self.filled += taken;
            at += taken;
            if self.filled < HEAD_BYTES {
                return None;
            }
            self.filled = 0;
            if !self.frame() {
                self.begun = given;
                return Some(begin);
            }
        }
    }

    /// Notes bytes that the client was sent.
    pub fn wrote(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= BYTES_PER_CREDIT {
            let credit = self.bytes / BYTES_PER_CREDIT;
            self.bytes %= BYTES_PER_CREDIT;
            self.earn(u32::try_from(credit).unwrap_or(u32::MAX));
        }
    }

    /// What the codec is given instead of the frames that were too many. It has one answer to a header block in endless pieces,
    /// and that is what is to be said: GOAWAY with `ENHANCE_YOUR_CALM` and the last stream that was served.
    ///
    /// A connection that did not begin with SETTINGS is told that it breaks the protocol.
    ///
    /// A frame whose head was given to it in part is completed first, with an empty payload of its length.
    pub fn last_words(&self) -> Bytes {
        /// The codec bears as many as a header list of the allowed size fills, and five at least: 5,120 for 64 MiB.
        const PIECES: usize = 6_000;
        let mut words = BytesMut::with_capacity((PIECES + 1) * HEAD_BYTES);
        if self.begun > 0 {
            words.put_slice(self.head.get(self.begun..).unwrap_or_default());
            // A longer one is an error of its own already.
            words.put_bytes(0, self.length().min(16_384));
        }
        if !self.is_begun {
            // DATA without a stream: a plain protocol error.
            words.put_slice(&[0; HEAD_BYTES]);
            return words.freeze();
        }
        let stream = if self.block == 0 { 0x7fff_ffff } else { self.block };
        let mut piece = |kind: u8| {
            words.put_slice(&[0, 0, 0, kind, 0]);
            words.put_u32(stream);
        };
        if self.block == 0 {
            piece(HEADERS);
        }
        for _ in 0..PIECES {
            piece(CONTINUATION);
        }
        words.freeze()
    }

    const fn length(&self) -> usize {
        let [a, b, c, ..] = self.head;
        (a as usize) << 16 | (b as usize) << 8 | c as usize
    }

    fn earn(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT_MAX);
    }

    /// Charges the frame whose head is complete; false when it is one too many.
    fn frame(&mut self) -> bool {
        let [_, _, _, kind, flags, s0, s1, s2, s3] = self.head;
        let length = self.length();
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        let ends_block = flags & END_HEADERS != 0;
        let is_free = match kind {
            HEADERS => {
                self.earn(CREDIT_PER_REQUEST);
                true
            }
            DATA if length > 0 => {
                self.wrote(length);
                true
            }
            DATA => flags & END_STREAM != 0,
            _ => false,
        };
        if !self.is_begun {
            if kind != SETTINGS {
                return false;
            }
            self.is_begun = true;
        }
        if !is_free {
            let Some(credit) = self.credit.checked_sub(1) else { return false };
            self.credit = credit;
        }
        match kind {
            HEADERS | CONTINUATION => self.block = if ends_block { 0 } else { stream },
            _ => {}
        }
        self.left = length;
        true
    }
}

#[cfg(test)]
mod tests;
