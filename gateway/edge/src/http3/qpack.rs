//! Field sections (RFC 9204), without a dynamic table: the gateway offers none, so nothing that a client sends is kept and
//! nothing waits for anything else. What it sends itself refers to the static table for names alone.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::table::{CODE_BITS, STATIC};

/// A section that cannot be read: the connection's state would be another one on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The field lines of a section.
#[derive(Debug)]
pub(super) struct Lines<'b> {
    rest: &'b [u8],
}

/// One field line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'b> {
    pub(super) name: Cow<'b, [u8]>,
    pub(super) value: Cow<'b, [u8]>,
}

impl<'b> Lines<'b> {
    /// Reads the prefix of a section (RFC 9204 section 4.5.1).
    ///
    /// # Errors
    /// When it refers to a dynamic table.
    pub(super) fn of(section: &'b [u8]) -> Result<Self, Unreadable> {
        let mut rest = section;
        let inserted = integer(&mut rest, 8)?;
        let is_negative = rest.first().is_some_and(|byte| byte & 0x80 != 0);
        integer(&mut rest, 7)?;
        if inserted != 0 || is_negative {
            return Err(Unreadable);
        }
        Ok(Self { rest })
    }

    /// RFC 9204 sections 4.5.2, 4.5.4 and 4.5.6; the other forms refer to a dynamic table.
    fn line(&mut self, first: u8) -> Result<Line<'b>, Unreadable> {
        let rest = &mut self.rest;
        if first & 0xc0 == 0xc0 {
            let (name, value) = known(integer(rest, 6)?)?;
            return Ok(Line { name: Cow::Borrowed(name.as_bytes()), value: Cow::Borrowed(value.as_bytes()) });
        }
        if first & 0xd0 == 0x50 {
            let (name, _) = known(integer(rest, 4)?)?;
            return Ok(Line { name: Cow::Borrowed(name.as_bytes()), value: string(rest, 7)? });
        }
        if first & 0xe0 == 0x20 {
            return Ok(Line { name: string(rest, 3)?, value: string(rest, 7)? });
        }
        Err(Unreadable)
    }
}

impl<'b> Iterator for Lines<'b> {
    type Item = Result<Line<'b>, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = *self.rest.first()?;
        Some(self.line(first))
    }
}

/// Writes the section of a response's head; that of trailers has no status.
pub(super) fn write(status: Option<http::StatusCode>, headers: &HeaderMap) -> Bytes {
    let mut out = BytesMut::with_capacity(256 + headers.len() * 48);
    out.put_slice(&[0, 0]);
    if let Some(status) = status {
        write_status(&mut out, status);
    }
    for (name, value) in headers {
        let name = name.as_str();
        match NAMES.get(name) {
            Some(index) => write_integer(&mut out, 0x50, 4, *index),
            None => write_string(&mut out, 0x20, 3, name.as_bytes()),
        }
        write_string(&mut out, 0, 7, value.as_bytes());
    }
    out.freeze()
}

fn write_status(out: &mut BytesMut, status: http::StatusCode) {
    let text = status.as_str();
    let index = STATIC.iter().position(|(name, value)| *name == ":status" && *value == text);
    match (index, NAMES.get(":status")) {
        (Some(index), _) => write_integer(out, 0xc0, 6, index),
        (None, Some(index)) => {
            write_integer(out, 0x50, 4, *index);
            write_string(out, 0, 7, text.as_bytes());
        }
        // It stands in the table.
        (None, None) => {}
    }
}

/// Where each name stands first in the static table.
static NAMES: LazyLock<HashMap<&'static str, usize, foldhash::fast::RandomState>> = LazyLock::new(|| {
    let mut names = HashMap::default();
    for (index, (name, _)) in STATIC.iter().enumerate() {
        names.entry(*name).or_insert(index);
    }
    names
});

fn known(index: u64) -> Result<(&'static str, &'static str), Unreadable> {
    usize::try_from(index).ok().and_then(|index| STATIC.get(index)).copied().ok_or(Unreadable)
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1). Nothing here is longer than a frame may be, so numbers
/// that need more than 28 bits behind the prefix are none.
fn integer(rest: &mut &[u8], bits: u32) -> Result<u64, Unreadable> {
    let (first, mut tail) = rest.split_first().ok_or(Unreadable)?;
    let max = (1_u64 << bits) - 1;
    let mut value = u64::from(*first) & max;
    if value == max {
        for shift in [0_u32, 7, 14, 21] {
            let (byte, behind) = tail.split_first().ok_or(Unreadable)?;
            tail = behind;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = tail;
                return Ok(value);
            }
        }
        return Err(Unreadable);
    }
    *rest = tail;
    Ok(value)
}

fn write_integer(out: &mut BytesMut, pattern: u8, bits: u32, value: usize) {
    let max = (1_usize << bits) - 1;
    let low = |value: usize| u8::try_from(value & 0xff).unwrap_or(0);
    if value < max {
        out.put_u8(pattern | low(value));
        return;
    }
    out.put_u8(pattern | low(max));
    let mut left = value - max;
    while left >= 0x80 {
        out.put_u8(0x80 | low(left & 0x7f));
        left >>= 7;
    }
    out.put_u8(low(left));
}

/// A string behind a bit that says whether it is coded, and a length with a prefix of so many bits (RFC 9204 section 4.1.2).
fn string<'b>(rest: &mut &'b [u8], bits: u32) -> Result<Cow<'b, [u8]>, Unreadable> {
    let is_coded = rest.first().is_some_and(|byte| u32::from(*byte) & (1 << bits) != 0);
    let length = usize::try_from(integer(rest, bits)?).map_err(|_| Unreadable)?;
    let text = rest.get(..length).ok_or(Unreadable)?;
    *rest = rest.get(length..).unwrap_or_default();
    if is_coded { decoded(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
}

fn write_string(out: &mut BytesMut, pattern: u8, bits: u32, text: &[u8]) {
    write_integer(out, pattern, bits, text.len());
    out.put_slice(text);
}

/// The Huffman code by length: the first code of each length, how many there are, and where their symbols begin.
struct Code {
    lengths: [(u32, u32, usize); 31],
    symbols: [u16; 257],
}

static CODE: LazyLock<Code> = LazyLock::new(|| {
    let mut order: Vec<(u8, u16)> = CODE_BITS.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut code = Code { lengths: [(0, 0, 0); 31], symbols: [0; 257] };
    for (place, (_, symbol)) in code.symbols.iter_mut().zip(&order) {
        *place = *symbol;
    }
    let (mut next, mut begin) = (0_u32, 0_usize);
    for (length, place) in code.lengths.iter_mut().enumerate() {
        let count = order.iter().filter(|(bits, _)| usize::from(*bits) == length).count();
        next <<= 1;
        *place = (next, u32::try_from(count).unwrap_or(0), begin);
        next += place.1;
        begin += count;
    }
    code
});

/// Undoes the Huffman code (RFC 7541 section 5.2): padding is shorter than a byte and all ones, and EOS never stands there.
fn decoded(text: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let code = &*CODE;
    let mut out = Vec::with_capacity(text.len() * 8 / 5);
    let (mut seen, mut length) = (0_u32, 0_usize);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        seen = seen << 1 | bit;
        length += 1;
        let (first, count, begin) = code.lengths.get(length).copied().ok_or(Unreadable)?;
        if let Some(offset) = seen.checked_sub(first).filter(|offset| *offset < count) {
            let symbol = usize::try_from(offset).ok().and_then(|offset| code.symbols.get(begin + offset));
            // EOS is no byte.
            out.push(symbol.and_then(|symbol| u8::try_from(*symbol).ok()).ok_or(Unreadable)?);
            (seen, length) = (0, 0);
        }
    }
    if length < 8 && seen == (1 << length) - 1 { Ok(out) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests;
