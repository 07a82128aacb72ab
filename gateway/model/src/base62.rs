//! Base 62 with the alphabet `0-9A-Za-z`: fixed width, so that one value has one text.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits that hold 256 bits: 62^43 is slightly above 2^256.
pub const DIGITS_256: usize = 43;

/// Writes 32 bytes, read as one big-endian number, as exactly [`DIGITS_256`] digits.
pub fn encode_256(bytes: &[u8; 32]) -> String {
    let mut number = *bytes;
    let mut digits = [b'0'; DIGITS_256];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *digit = letter(remainder);
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// Reads exactly [`DIGITS_256`] digits; a number of more than 256 bits is refused.
pub fn decode_256(text: &str) -> Option<[u8; 32]> {
    if text.len() != DIGITS_256 {
        return None;
    }
    let mut number = [0_u8; 32];
    for byte in text.bytes() {
        let mut carry = value(byte)?;
        for slot in number.iter_mut().rev() {
            let sum = u32::from(*slot) * 62 + carry;
            *slot = u8::try_from(sum & 0xff).ok()?;
            carry = sum >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

/// Writes a 32-bit number as exactly six digits.
pub fn encode_u32(mut number: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = letter(number % 62);
        number /= 62;
    }
    digits
}

/// Maps a random byte to a digit, or `None` for the bytes that would favor some digits.
pub fn digit_from_random(byte: u8) -> Option<u8> {
    // 248 is the largest multiple of 62 below 256.
    (byte < 248).then(|| letter(u32::from(byte) % 62))
}

/// True when every byte is in the alphabet.
pub fn is_base62(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_alphanumeric)
}

fn letter(value: u32) -> u8 {
    usize::try_from(value).ok().and_then(|index| ALPHABET.get(index)).copied().unwrap_or(b'0')
}

fn value(byte: u8) -> Option<u32> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'Z' => byte - b'A' + 10,
        b'a'..=b'z' => byte - b'a' + 36,
        _ => return None,
    };
    Some(u32::from(value))
}
