//! Finds HTTP/1.1 framing that has more than one reading, which the codec above would repair in silence.
//!
//! The codec takes a lone LF for a line end, drops a `Content-Length` that stands beside `Transfer-Encoding`, folds equal
//! `Content-Length` fields into one, ignores all codings but the last, and cuts a fragment off a target. Each of these is a place where a proxy in front
//! of us may see other requests than we do, so the request is refused and the connection closed (RFC 9112 sections 2.2,
//! 6.1, 6.3 and 11.2). This reader follows the same bytes, only far enough to know where heads begin and end. Where it
//! cannot follow it says "ambiguous": it can refuse too much, never too little.

/// Longest part of a line that is kept while its end has not come: the fields that decide framing are shorter.
const LINE_KEPT_MAX: usize = 128;

/// Marks a request that came over a connection whose framing had more than one reading.
#[derive(Debug, Clone, Copy)]
pub struct AmbiguousFraming;

/// Follows the framing of one connection's requests.
#[derive(Debug, Default)]
pub struct Framing {
    place: Place,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// The last byte that was read, to tell CR LF from LF across reads.
    last: u8,
    lengths: u32,
    encodings: u32,
    length: u64,
    /// Requests that have come whole.
    whole: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// No byte of the next head has come.
    #[default]
    Between,
    RequestLine,
    Fields,
    /// Bytes of a body that are still to come.
    Body(u64),
    ChunkSize,
    /// Bytes of a chunk that are still to come.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// Something had two readings; nothing that follows can be trusted.
    Ambiguous,
}

impl Framing {
    /// Reads on.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            match self.place {
                Place::Ambiguous => return,
                Place::Body(left) => {
                    let left = self.skip(&mut bytes, left);
                    self.place = if left == 0 { self.ended() } else { Place::Body(left) };
                }
                Place::Chunk(left) => {
                    let left = self.skip(&mut bytes, left);
                    self.place = if left == 0 { Place::ChunkEnd } else { Place::Chunk(left) };
                }
                // Empty lines before a request line are skipped (RFC 9112 section 2.2).
                Place::Between if matches!(first, b'\r' | b'\n') => bytes = self.read_line(bytes),
                Place::Between => self.place = Place::RequestLine,
                Place::RequestLine | Place::Fields | Place::ChunkSize | Place::ChunkEnd | Place::Trailers => bytes = self.read_line(bytes),
            }
        }
    }

    /// True when a head has begun and is not complete.
    pub const fn is_in_head(&self) -> bool {
        matches!(self.place, Place::RequestLine | Place::Fields)
    }

    /// True once something had more than one reading; it stays so.
    pub const fn is_ambiguous(&self) -> bool {
        matches!(self.place, Place::Ambiguous)
    }

    /// How many requests have come whole, bodies included.
    pub const fn whole(&self) -> u32 {
        self.whole
    }

    /// Passes over bytes of a body; what is left of it.
    fn skip(&mut self, bytes: &mut &[u8], left: u64) -> u64 {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        *bytes = bytes.get(take..).unwrap_or_default();
        self.last = 0;
        left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX))
    }

    fn read_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        // A fragment is never sent (RFC 9110 section 7.1); the codec would cut it off in silence.
        if self.place == Place::RequestLine && bytes.get(..end.unwrap_or(bytes.len())).is_some_and(|part| part.contains(&b'#')) {
            self.place = Place::Ambiguous;
            return &[];
        }
        let Some(end) = end else {
            self.keep(bytes);
            return &[];
        };
        let (part, rest) = bytes.split_at(end);
        let rest = rest.get(1..).unwrap_or_default();
        if part.last().copied().unwrap_or(self.last) != b'\r' {
            self.place = Place::Ambiguous;
            return rest;
        }
        if self.line.is_empty() {
            self.line_ended(part.strip_suffix(b"\r").unwrap_or(part));
        } else {
            self.keep(part);
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            self.line_ended(&line);
            line.clear();
            self.line = line;
        }
        // Behind everything else: what was kept of the line must not pass for the CR of the next one.
        self.last = b'\n';
        rest
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_KEPT_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(part.get(..room).unwrap_or(part));
        self.last = part.last().copied().unwrap_or(self.last);
    }

    fn line_ended(&mut self, line: &[u8]) {
        self.place = match self.place {
            Place::RequestLine => {
                (self.lengths, self.encodings, self.length) = (0, 0, 0);
                Place::Fields
            }
            Place::Fields if line.is_empty() => self.head_ended(),
            Place::Fields => self.field(line),
            Place::ChunkSize => match chunk_size(line) {
                Some(0) => Place::Trailers,
                Some(size) => Place::Chunk(size),
                None => Place::Ambiguous,
            },
            Place::ChunkEnd if line.is_empty() => Place::ChunkSize,
            Place::Between if line.is_empty() => Place::Between,
            Place::Trailers if line.is_empty() => self.ended(),
            Place::Trailers => Place::Trailers,
            Place::Between | Place::ChunkEnd | Place::Body(_) | Place::Chunk(_) | Place::Ambiguous => Place::Ambiguous,
        };
    }

    /// A request has come whole.
    const fn ended(&mut self) -> Place {
        self.whole = self.whole.wrapping_add(1);
        Place::Between
    }

    const fn head_ended(&mut self) -> Place {
        match (self.encodings, self.lengths) {
            (0, 0) => self.ended(),
            (0, 1) if self.length == 0 => self.ended(),
            (0, 1) => Place::Body(self.length),
            (1, 0) => Place::ChunkSize,
            _ => Place::Ambiguous,
        }
    }

    fn field(&mut self, line: &[u8]) -> Place {
        // Both names are 14 bytes or more and begin with one of two letters: most fields are passed at a glance.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return Place::Fields;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let Some(length) = digits.and_then(|text| text.parse().ok()) else { return Place::Ambiguous };
            // The codec keeps the two greatest numbers for itself, and would call the head too large.
            if length > u64::MAX - 2 {
                return Place::Ambiguous;
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings += 1;
            // Other codings would have to be undone, and none is (RFC 9112 section 6.1 asks for 501 or 400).
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Place::Ambiguous;
            }
        }
        Place::Fields
    }
}

/// The size of a chunk from its line; extensions are passed over, blanks after the number are not.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests;
