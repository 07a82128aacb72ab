//! bcrypt hashes, as other systems keep them.

use data_encoding::BASE64_NOPAD;

const USUAL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const OF_BCRYPT: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The hash of a text with this cost and a salt of one byte; a text longer than 72 bytes is cut, as those systems do.
///
/// # Panics
/// For a cost over 31.
pub fn hash(text: &str, cost: u32, salt: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes.truncate(72);
    let sum = bcrypt::bcrypt(cost, [salt; 16], &bytes);
    format!("$2b${cost:02}${}{}", digits(&[salt; 16]), digits(sum.get(..23).unwrap_or_default()))
}

/// bcrypt's digits have their own order.
fn digits(bytes: &[u8]) -> String {
    let translated = |digit: char| USUAL.chars().position(|usual| usual == digit).and_then(|at| OF_BCRYPT.chars().nth(at)).unwrap_or(digit);
    BASE64_NOPAD.encode(bytes).chars().map(translated).collect()
}
