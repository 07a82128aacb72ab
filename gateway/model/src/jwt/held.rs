//! Texts that hold a token: for whoever writes down what clients have sent.

use data_encoding::BASE64URL_NOPAD;

use crate::path;

/// The shortest third part of a token in compact form: 96 bits, the vector of a JWE. Signatures are longer.
const TOKEN_END_MIN: usize = 16;

/// Whether a text holds something that looks like a token (a JWT, or its kin with five parts), ours or another issuer's, percent-encoded or not.
///
/// Anybody may have sent the text, and as much of it as a head may have: it is looked at once from its beginning to its end.
pub fn is_held_by(text: &str) -> bool {
    holds_compact(text.as_bytes()) || text.as_bytes().contains(&b'%') && holds_compact(path::decode(text).as_bytes())
}

/// RFC 7515 section 7.1: parts in base64url with full stops between them, the first an object of JSON.
fn holds_compact(bytes: &[u8]) -> bool {
    if !bytes.contains(&b'.') {
        return false;
    }
    let (mut first, mut second) = (None, None);
    bytes.split(|byte| *byte == b'.').any(|third| {
        let is_token = match (first, second) {
            // The encrypted key of a JWE may be empty, and what follows it is the vector.
            (Some(first), Some(second)) => ends_like_a_header(first) && is_digits(second) && is_digits(third.get(..TOKEN_END_MIN).unwrap_or(b"=")),
            _ => false,
        };
        (first, second) = (second, Some(third));
        is_token
    })
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn is_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is_digit(*byte))
}

/// Whether something that ends here decodes to `{...}`. What begins with `{` and `"` or a blank begins with `ey` or `ew` in base64url, wherever
/// that stands; and what the last byte is depends on the last digits alone, and on how many there are, modulo four.
fn ends_like_a_header(bytes: &[u8]) -> bool {
    let begin = bytes.iter().rposition(|byte| !is_digit(*byte)).map_or(0, |last| last + 1);
    let digits = bytes.get(begin..).unwrap_or_default();
    let ends = [4, 1, 2, 3].map(|last| digits.len() >= last && ends_with_a_brace(digits.get(digits.len() - last..).unwrap_or_default()));
    ends.contains(&true)
        && digits
            .windows(2)
            .enumerate()
            .any(|(at, pair)| matches!(pair, b"ey" | b"ew") && ends.get((digits.len() - at) % 4).is_some_and(|ends| *ends))
}

/// Whether the last one to four digits, the last that are not in a group of four before, are of a `}` at the end.
fn ends_with_a_brace(digits: &[u8]) -> bool {
    let mut decoded = [0; 3];
    let decoded = BASE64URL_NOPAD.decode_len(digits.len()).ok().and_then(|length| decoded.get_mut(..length)).map(|decoded| {
        let length = BASE64URL_NOPAD.decode_mut(digits, decoded).unwrap_or(0);
        length.checked_sub(1).and_then(|last| decoded.get(last).copied())
    });
    decoded.flatten() == Some(b'}')
}

#[cfg(test)]
mod tests;
