//! The columns of an event in one pass over its canonical bytes, as this gateway's own encoder writes them.
//!
//! It knows less JSON than there is: members in ascending order, texts without escapes, integers, objects inside. Whatever else
//! it meets, it gives up, and the event is parsed in full; what it accepts, it reads as the parser does (`extract/tests.rs`).

use super::extract::Columns;

/// An object inside the event, and one inside that: what the envelope of personal fields needs.
const DEPTH_MAX: usize = 2;

/// Below 10^16, far from the ends of `i64`.
const DIGITS_MAX: usize = 16;

/// A member's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'e> {
    Text(&'e str),
    Integer(i64),
    Object,
}

/// Reads the columns, or nothing where the bytes are not of the plain form.
pub(super) fn scan(event: &[u8]) -> Option<Columns<'_>> {
    let mut scanner = Scanner { text: std::str::from_utf8(event).ok()?, at: 0 };
    let mut columns = Columns::default();
    scanner.object(0, &mut |key, value| columns.take(key, value))?;
    (scanner.at == event.len()).then_some(columns)
}

struct Scanner<'e> {
    text: &'e str,
    at: usize,
}

impl<'e> Scanner<'e> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn object<F: FnMut(&'e str, Value<'e>) -> Option<()>>(&mut self, depth: usize, each: &mut F) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let mut before = "";
        loop {
            let key = self.string()?;
            // Ascending is canonical, and leaves no room for a key that is there twice.
            if key <= before {
                return None;
            }
            before = key;
            self.expect(b':')?;
            let value = match self.peek()? {
                b'"' => Value::Text(self.string()?),
                b'{' if depth < DEPTH_MAX => {
                    self.object(depth + 1, &mut (ignore as fn(&'e str, Value<'e>) -> Option<()>))?;
                    Value::Object
                }
                _ => Value::Integer(self.integer()?),
            };
            each(key, value)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A text without escapes; the control characters are none of JSON's.
    fn string(&mut self) -> Option<&'e str> {
        self.expect(b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let length = plain_length(rest)?;
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length;
        self.expect(b'"')?;
        Some(text)
    }

    fn integer(&mut self) -> Option<i64> {
        let is_negative = self.peek()? == b'-';
        self.at += usize::from(is_negative);
        let rest = self.text.as_bytes().get(self.at..)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let has_leading_zero = rest.first() == Some(&b'0') && (digits > 1 || is_negative);
        if digits == 0 || digits > DIGITS_MAX || has_leading_zero {
            return None;
        }
        let value = rest.get(..digits)?.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        self.at += digits;
        Some(if is_negative { -value } else { value })
    }
}

/// Bytes before the first quotation mark, when neither a backslash nor a control character comes before it.
fn plain_length(bytes: &[u8]) -> Option<usize> {
    let length = memchr::memchr2(b'"', b'\\', bytes)?;
    // Without a way out of the loop the compiler looks at 16 and more bytes at once.
    let has_control = bytes.get(..length)?.iter().fold(false, |found, byte| found | (*byte < 0x20));
    (!has_control).then_some(length)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where members are looked at")]
const fn ignore<'e>(_: &'e str, _: Value<'e>) -> Option<()> {
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::plain_length;

    proptest! {
        /// Bytes drawn around the borders of each comparison.
        #[test]
        fn many_at_once_find_what_one_at_a_time_finds(
            bytes in proptest::collection::vec(prop_oneof![
                8 => 0x20_u8..0x7f, 1 => Just(0x1f), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(0x21), 1 => Just(0x23), 1 => Just(0x5b), 1 => Just(0x5d),
                1 => 0x80_u8.., 1 => Just(0),
            ], 0..40),
        ) {
            let end = bytes.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');

            // A control character ends the scan whatever follows it: the event is parsed in full then.
            let expected = end.filter(|end| bytes[*end] >= 0x20);
            prop_assert_eq!(plain_length(&bytes), expected);
        }
    }
}
