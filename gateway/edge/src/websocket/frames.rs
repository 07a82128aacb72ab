//! Follows the frames of one direction (RFC 6455 section 5.2), only far enough to know where they begin and end.
//!
//! Nothing is checked and nothing is kept: the two ends speak to each other. The borders are needed for one thing, to say a
//! last word of our own between two frames.

/// The longest frame header: two bytes, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;
/// RFC 6455 section 5.2: the opcode of a close frame.
const CLOSE: u8 = 0x8;

/// Where in its frames a direction stands.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the present payload that are still to come.
    left: u64,
    /// The beginning of a header that is not complete.
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    has_closed: bool,
}

impl Frames {
    /// Follows what passes.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Follows what passes up to the end of the frame that has begun, and no further; how many bytes that is.
    pub(super) fn finish(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() && !self.is_between() {
            passed += self.step(bytes.get(passed..).unwrap_or_default());
        }
        passed
    }

    /// True when no frame has begun that is not over.
    pub(super) const fn is_between(&self) -> bool {
        self.left == 0 && self.head_len == 0
    }

    /// True once a close frame has begun.
    pub(super) const fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Takes a piece of a payload, or one byte of a header.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left = self.left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
            return taken;
        }
        if let (Some(place), Some(byte)) = (self.head.get_mut(self.head_len), bytes.first()) {
            *place = *byte;
            self.head_len += 1;
        }
        if let Some(left) = self.payload() {
            self.has_closed |= self.head[0] & 0x0f == CLOSE;
            (self.left, self.head_len) = (left, 0);
        }
        1
    }

    /// The length of the payload, once the header is complete.
    fn payload(&self) -> Option<u64> {
        let head = self.head.get(..self.head_len)?;
        let second = *head.get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (length, extension) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*head.get(2..)?.first_chunk()?)), 2),
            127 => (u64::from_be_bytes(*head.get(2..)?.first_chunk()?), 8),
            short => (u64::from(short), 0),
        };
        (head.len() >= 2 + extension + mask).then_some(length)
    }
}

/// A close frame with a code (RFC 6455 section 5.5.1); clients mask theirs.
pub(super) fn close(code: u16, mask: Option<[u8; 4]>) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    match mask {
        None => vec![0x88, 2, high, low],
        Some([a, b, c, d]) => vec![0x88, 0x82, a, b, c, d, high ^ a, low ^ b],
    }
}

#[cfg(test)]
mod tests;
