//! RFC 9112 sections 6, 7 and 9, RFC 9110 section 10.1.1: where bodies end, and what follows them.

use super::{Case, Expect, must, should};

/// Nothing behind it can be trusted.
const BAD: Expect = Expect::RefusedForGood(&[400]);
const FIVE: &str = "5\r\nabcde\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    [lengths(), codings(), chunks(), connections(), expectations()].into_iter().flatten().collect()
}

fn lengths() -> Vec<Case> {
    vec![
        must(
            "9112-6.2",
            "a length says where a body ends",
            |kit| [kit.post("content-length: 5\r\n", "abcde"), kit.get("")].concat(),
            Expect::Served(2),
        ),
        must("9112-6.2", "a length of 0 is a length", |kit| [kit.post("content-length: 0\r\n", ""), kit.get("")].concat(), Expect::Served(2)),
        must(
            "9112-6.3",
            "a body of GET is a body",
            |kit| [kit.get("content-length: 5\r\n"), b"abcde".to_vec(), kit.get("")].concat(),
            Expect::Served(2),
        ),
        must("9112-6.3", "lengths that differ are refused", |kit| kit.post("content-length: 5\r\ncontent-length: 6\r\n", "abcdef"), BAD),
        must("9112-6.3", "lengths that differ in one field are refused", |kit| kit.post("content-length: 5, 6\r\n", "abcdef"), BAD),
        must(
            "9112-6.3",
            "equal lengths are refused, or read as one",
            |kit| kit.post("content-length: 5\r\ncontent-length: 5\r\n", "abcde"),
            Expect::Either,
        ),
        must("9112-6.3", "a length has no sign", |kit| kit.post("content-length: +5\r\n", "abcde"), BAD),
        must("9112-6.3", "a length is not negative", |kit| kit.post("content-length: -5\r\n", "abcde"), BAD),
        must("9112-6.3", "a length holds no blank", |kit| kit.post("content-length: 5 5\r\n", "abcde"), BAD),
        must("9112-6.3", "a length is decimal", |kit| kit.post("content-length: 0x5\r\n", "abcde"), BAD),
        must("9112-6.3", "a length is not empty", |kit| kit.post("content-length: \r\n", "abcde"), BAD),
        must("9112-6.3", "a length is a whole number", |kit| kit.post("content-length: 5.0\r\n", "abcde"), BAD),
        must(
            "9112-6.3",
            "a length that does not fit 64 bits is refused",
            |kit| kit.post("content-length: 18446744073709551621\r\n", "abcde"),
            Expect::RefusedForGood(&[400, 413]),
        ),
        must(
            "9110-8.6",
            "a length near 2^64 is refused as too large or malformed",
            |kit| kit.post("content-length: 18446744073709551615\r\n", "abcde"),
            Expect::RefusedForGood(&[400, 413]),
        ),
        must("9112-8", "half a body is no body", |kit| kit.post("content-length: 10\r\n", "half"), Expect::NotServed),
    ]
}

fn codings() -> Vec<Case> {
    vec![
        must(
            "9112-6.3",
            "a length beside a coding is refused, or overruled and the connection closed",
            |kit| kit.post("content-length: 5\r\ntransfer-encoding: chunked\r\n", FIVE),
            Expect::Either,
        ),
        must(
            "9112-6.1",
            "an unknown coding is refused",
            |kit| kit.post("transfer-encoding: xchunked\r\n", FIVE),
            Expect::RefusedForGood(&[400, 501]),
        ),
        must(
            "9112-6.1",
            "chunked is the last coding",
            |kit| kit.post("transfer-encoding: chunked, identity\r\n", FIVE),
            Expect::RefusedForGood(&[400, 501]),
        ),
        must(
            "9112-6.1",
            "chunked is applied once",
            |kit| kit.post("transfer-encoding: chunked, chunked\r\n", FIVE),
            Expect::RefusedForGood(&[400, 501]),
        ),
        must(
            "9112-6.1",
            "chunked stands in one field",
            |kit| kit.post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", FIVE),
            Expect::RefusedForGood(&[400, 501]),
        ),
        must("9112-6.1", "an empty coding is refused", |kit| kit.post("transfer-encoding:\r\n", FIVE), Expect::RefusedForGood(&[400, 501])),
        must(
            "9112-6.1",
            "a coding's name holds no other characters",
            |kit| kit.post("transfer-encoding: \x0bchunked\r\n", FIVE),
            Expect::RefusedForGood(&[400, 501]),
        ),
        must(
            "9112-7",
            "a coding's name is read in any case",
            |kit| [kit.post("transfer-encoding: Chunked\r\n", FIVE), kit.get("")].concat(),
            Expect::Served(2),
        ),
        must(
            "9112-6.1",
            "a coding in HTTP/1.0 leaves no doubt behind",
            |kit| {
                String::from_utf8_lossy(&kit.post("transfer-encoding: chunked\r\nconnection: keep-alive\r\n", FIVE))
                    .replace("HTTP/1.1", "HTTP/1.0")
                    .into_bytes()
            },
            BAD,
        ),
    ]
}

fn chunks() -> Vec<Case> {
    vec![
        must("9112-7.1", "chunks are read", |kit| [kit.chunked(FIVE), kit.get("")].concat(), Expect::Served(2)),
        must(
            "9112-7.1",
            "sizes are hexadecimal in any case, with leading zeros",
            |kit| [kit.chunked("00A\r\n0123456789\r\n00b\r\n0123456789a\r\n000\r\n\r\n"), kit.get("")].concat(),
            Expect::Served(2),
        ),
        must(
            "9112-7.1.1",
            "extensions are passed over",
            |kit| [kit.chunked("5;a=b;c=\"d\"\r\nabcde\r\n0;e\r\n\r\n"), kit.get("")].concat(),
            Expect::Served(2),
        ),
        must("9112-7.1.2", "trailers are read", |kit| [kit.chunked("5\r\nabcde\r\n0\r\nx-sum: 1\r\n\r\n"), kit.get("")].concat(), Expect::Served(2)),
        must("9112-7.1", "a size is a number", |kit| kit.chunked("zz\r\nabcde\r\n0\r\n\r\n"), BAD),
        must("9112-7.1", "a size is not empty", |kit| kit.chunked("\r\nabcde\r\n0\r\n\r\n"), BAD),
        must("9112-7.1", "a size has no sign", |kit| kit.chunked("-5\r\nabcde\r\n0\r\n\r\n"), BAD),
        must("9112-7.1", "a size has no prefix", |kit| kit.chunked("0x5\r\nabcde\r\n0\r\n\r\n"), BAD),
        must(
            "9112-7.1",
            "a size that does not fit 64 bits is refused",
            |kit| kit.chunked("10000000000000005\r\nabcde\r\n0\r\n\r\n"),
            Expect::RefusedForGood(&[400, 413]),
        ),
        must("9112-7.1", "a chunk ends where its size says", |kit| kit.chunked("5\r\nabcdef\r\n0\r\n\r\n"), BAD),
        must("9112-7.1", "a chunk ends with CR LF", |kit| kit.chunked("5\r\nabcdeXX0\r\n\r\n"), BAD),
        must("9112-7.1", "a size's line ends with CR LF", |kit| kit.chunked("5\nabcde\r\n0\r\n\r\n"), BAD),
        should("9112-7.1", "no blank stands behind a size", |kit| kit.chunked("5 \r\nabcde\r\n0\r\n\r\n"), BAD),
        must("9112-7.1.1", "an extension holds no line end", |kit| kit.chunked("5;a\nb\r\nabcde\r\n0\r\n\r\n"), BAD),
        should(
            "9112-7.1.1",
            "extensions have a limit",
            |kit| kit.chunked(&format!("5;{}\r\nabcde\r\n0\r\n\r\n", "a".repeat(200_000))),
            Expect::Refused(&[400, 413, 431]),
        ),
        must("9112-8", "a body without its last chunk is no body", |kit| kit.chunked("5\r\nabcde\r\n"), Expect::NotServed),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        must("9112-9.3", "a connection is kept", |kit| kit.get("").repeat(2), Expect::Served(2)),
        must("9112-9.3.2", "requests that come at once are answered in order", |kit| kit.get("").repeat(10), Expect::Served(10)),
        must("9112-9.6", "Connection: close ends the connection", |kit| kit.get("connection: close\r\n"), Expect::ServedThenEnd),
        must("9112-9.6", "Connection is read in any case and as a list", |kit| kit.get("connection: x-a, CLOSE\r\n"), Expect::ServedThenEnd),
        must(
            "9112-9.3",
            "HTTP/1.0 keeps no connection unasked",
            |kit| String::from_utf8_lossy(&kit.get("")).replace("HTTP/1.1", "HTTP/1.0").into_bytes(),
            Expect::ServedThenEnd,
        ),
        must(
            "9112-9.6",
            "nothing behind Connection: close is served",
            |kit| [kit.get("connection: close\r\n"), kit.get("")].concat(),
            Expect::ServedThenEnd,
        ),
    ]
}

fn expectations() -> Vec<Case> {
    vec![
        must(
            "9110-10.1.1",
            "a client that expects 100 gets it",
            |kit| kit.post("expect: 100-continue\r\ncontent-length: 5\r\n", ""),
            Expect::Continue("abcde"),
        ),
        must(
            "9110-10.1.1",
            "a client that expects 100 and sends at once is served",
            |kit| kit.post("expect: 100-continue\r\ncontent-length: 5\r\n", "abcde"),
            Expect::Served(1),
        ),
        must(
            "9110-10.1.1",
            "an unknown expectation is refused, or passed over",
            |kit| kit.post("expect: something\r\ncontent-length: 5\r\n", "abcde"),
            Expect::Either,
        ),
    ]
}
