//! The chunked transfer coding, read strictly (RFC 9112 section 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest size line, extensions included.
const LINE_BYTES_MAX: usize = 1_024;
/// All trailers together.
const TRAILERS_BYTES_MAX: usize = 16 << 10;
const TRAILERS_MAX: usize = 64;
/// Chunks of fewer bytes go on together when they came together: as a frame each they would cost clients over HTTP/2 more than
/// they carry, and some end the connection for it.
const SMALL: usize = 1 << 10;
/// How much goes on together.
const GATHERED_MAX: usize = 16 << 10;

/// Where in the coding a body stands.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: Place,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    /// Bytes of a chunk that are still to come.
    Data(u64),
    DataEnd,
    Trailers,
}

/// What the input holds next.
#[derive(Debug)]
pub(super) enum Step {
    /// A piece of the body.
    Data(Bytes),
    /// Nothing whole yet.
    More,
    /// The end, with its trailers.
    End(Option<HeaderMap>),
}

impl Chunks {
    /// Takes the next piece off the input.
    ///
    /// # Errors
    /// A sentence, when the coding is broken.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Step, &'static str> {
        loop {
            match self.place {
                Place::Size => {
                    let Some(line) = line(input)? else { return Ok(Step::More) };
                    let size = size(&line)?;
                    self.place = if size == 0 { Place::Trailers } else { Place::Data(size) };
                }
                Place::Data(left) => {
                    if input.is_empty() {
                        return Ok(Step::More);
                    }
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let left = left - u64::try_from(take).unwrap_or(left);
                    self.place = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                    let piece = input.split_to(take);
                    return Ok(Step::Data(if left == 0 && take < SMALL { gather(piece, input) } else { piece.freeze() }));
                }
                Place::DataEnd => {
                    if input.len() < 2 {
                        return Ok(Step::More);
                    }
                    if !input.starts_with(b"\r\n") {
                        return Err("a chunk does not end where it says");
                    }
                    input.advance(2);
                    self.place = Place::Size;
                }
                Place::Trailers => return trailers(input),
            }
        }
    }

    /// Takes the usual end off the input when it stands right behind a chunk, so that a small body is known to be whole.
    pub(super) fn ends_here(&mut self, input: &mut BytesMut) -> bool {
        let is_end = self.place == Place::DataEnd && input.starts_with(b"\r\n0\r\n\r\n");
        if is_end {
            input.advance(7);
        }
        is_end
    }

    /// Bytes of the present chunk that are still to come: how large a read pays.
    pub(super) const fn data_left(&self) -> u64 {
        match self.place {
            Place::Data(left) => left,
            Place::Size | Place::DataEnd | Place::Trailers => 0,
        }
    }
}

/// A small chunk with those behind it that are small and whole, too. Whatever else stands there is left where it is.
fn gather(first: BytesMut, input: &mut BytesMut) -> Bytes {
    let mut next = small_chunk(input);
    if next.is_none() {
        return first.freeze();
    }
    let mut all = BytesMut::with_capacity((first.len() + input.len()).min(GATHERED_MAX));
    all.extend_from_slice(&first);
    while let Some((head, size)) = next.filter(|(_, size)| all.len() + size <= GATHERED_MAX) {
        input.advance(head);
        all.extend_from_slice(&input.split_to(size));
        next = small_chunk(input);
    }
    all.freeze()
}

/// The length of what stands before the next chunk's data, and the data's own; `None` unless all of it is there, valid and small.
fn small_chunk(input: &[u8]) -> Option<(usize, usize)> {
    let rest = input.strip_prefix(b"\r\n")?;
    let end = rest.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n')?;
    let size = size(rest.get(..end)?.strip_suffix(b"\r")?).ok()?;
    let size = usize::try_from(size).ok().filter(|size| (1..SMALL).contains(size))?;
    let head = 2 + end + 1;
    (input.len() >= head + size).then_some((head, size))
}

/// Takes a line that ends with CR LF.
fn line(input: &mut BytesMut) -> Result<Option<BytesMut>, &'static str> {
    let Some(end) = input.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        return if input.len() < LINE_BYTES_MAX { Ok(None) } else { Err("a chunk's size line is too long") };
    };
    let mut line = input.split_to(end + 1);
    if !line.ends_with(b"\r\n") {
        return Err("a chunk's size line ends without CR");
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

fn size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_hex = !digits.is_empty() && digits.len() <= 16 && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_hex);
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or("a chunk's size is not a number")
}

fn trailers(input: &mut BytesMut) -> Result<Step, &'static str> {
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Step::End(None));
    }
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let bad = "the trailers are not valid";
    let (length, map) = match httparse::parse_headers(input, &mut fields).map_err(|_| bad)? {
        httparse::Status::Partial if input.len() >= TRAILERS_BYTES_MAX => return Err("the trailers are too large"),
        httparse::Status::Partial => return Ok(Step::More),
        httparse::Status::Complete((length, found)) => {
            let mut map = HeaderMap::with_capacity(found.len());
            for field in found {
                let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad)?;
                map.append(name, HeaderValue::from_bytes(field.value).map_err(|_| bad)?);
            }
            (length, map)
        }
    };
    input.advance(length);
    Ok(Step::End(Some(map)))
}
