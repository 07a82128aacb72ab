//! RFC 7541: how header blocks are coded.

use super::{Case, Expect, Kit, Step, code, must, send, whole};
use crate::frames::{END_HEADERS, END_STREAM, HEADERS, frame};

const COMPRESSION: Expect = Expect::Connection(&[code::COMPRESSION]);

/// A GET with bytes of a header block behind it.
fn and(kit: &Kit<'_>, more: &[u8]) -> Vec<Step> {
    send([whole(1, &[kit.block("GET", &[]), more.to_vec()].concat())])
}

/// The same with the bytes before it.
fn behind(kit: &Kit<'_>, first: &[u8]) -> Vec<Step> {
    send([whole(1, &[first.to_vec(), kit.block("GET", &[])].concat())])
}

/// A GET that puts `x-kept: 1` into the table, and one whose block is given.
fn kept_then(kit: &Kit<'_>, then: &[u8]) -> Vec<Step> {
    send([whole(1, &[kit.block("GET", &[]), b"\x40\x06x-kept\x011".to_vec()].concat()), whole(3, then)])
}

pub(super) fn cases() -> Vec<Case> {
    [integers(), strings(), tables(), sizes()].into_iter().flatten().collect()
}

fn integers() -> Vec<Case> {
    vec![
        must("7541-6.1", "index 0 is an error", |kit| and(kit, &[0x80]), COMPRESSION),
        must("7541-2.3.3", "an index beyond both tables is an error", |kit| and(kit, &[0xbe]), COMPRESSION),
        must("7541-2.3.3", "a name from beyond both tables is an error", |kit| and(kit, &[0x7e, 1, b'a']), COMPRESSION),
        must(
            "7541-5.1",
            "an integer that is too large is an error",
            |kit| and(kit, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            COMPRESSION,
        ),
        must("7541-5.1", "an integer without an end is an error", |kit| and(kit, &[0xff, 0x80]), COMPRESSION),
        must("7541-5.2", "a string longer than its block is an error", |kit| and(kit, &[0, 3, b'x', b'-', b'a', 0x0a, b'b']), COMPRESSION),
        must(
            "7541-5.2",
            "a string of an enormous length is an error",
            |kit| and(kit, &[0, 3, b'x', b'-', b'a', 0x7f, 0xff, 0xff, 0xff, 0x7f]),
            COMPRESSION,
        ),
        must("7541-5.1", "a block that ends inside a field is an error", |kit| and(kit, &[0x40]), COMPRESSION),
    ]
}

fn strings() -> Vec<Case> {
    vec![
        // `a` is 00011, and the rest of the octet are ones.
        must("7541-5.2", "Huffman code is read", |kit| and(kit, &[0, 3, b'x', b'-', b'a', 0x81, 0x1f]), Expect::Served(1)),
        must("7541-5.2", "Huffman code is padded with ones", |kit| and(kit, &[0, 3, b'x', b'-', b'a', 0x81, 0x18]), COMPRESSION),
        must("7541-5.2", "Huffman padding is shorter than an octet", |kit| and(kit, &[0, 3, b'x', b'-', b'a', 0x82, 0x1f, 0xff]), COMPRESSION),
        must("7541-5.2", "Huffman code holds no end of string", |kit| and(kit, &[0, 3, b'x', b'-', b'a', 0x84, 0xff, 0xff, 0xff, 0xff]), COMPRESSION),
        must("7541-6.2.3", "a literal that is never indexed is read", |kit| and(kit, b"\x10\x03x-a\x011"), Expect::Served(1)),
        must("7541-6.2.2", "a literal with an indexed name is read", |kit| and(kit, &[0x0f, 0x04, 3, b'*', b'/', b'*']), Expect::Served(1)),
        must("7541-6.1", "entries of the static table are read", |kit| and(kit, &[0x90]), Expect::Served(1)),
    ]
}

fn tables() -> Vec<Case> {
    vec![
        must(
            "7541-2.3.2",
            "what is put into the table can be referred to",
            |kit| kept_then(kit, &[kit.block("GET", &[]), vec![0xbe]].concat()),
            Expect::Served(3),
        ),
        must(
            "7541-2.3.2",
            "the table outlives a stream that is reset",
            |kit| {
                let first = [kit.block("POST", &[]), b"\x40\x06x-kept\x011".to_vec()].concat();
                send([frame(HEADERS, END_HEADERS, 1, &first), frame(3, 0, 1, &[0, 0, 0, 8]), whole(3, &[kit.block("GET", &[]), vec![0xbe]].concat())])
            },
            Expect::Served(3),
        ),
        must(
            "9113-4.3",
            "the table takes in the block of a malformed request",
            |kit| {
                let first = [kit.block("GET", &[("X-Upper", "1")]), b"\x40\x06x-kept\x011".to_vec()].concat();
                send([whole(1, &first), whole(3, &[kit.block("GET", &[]), vec![0xbe]].concat())])
            },
            Expect::ServedUnlessOver(3),
        ),
        must(
            "9113-4.3",
            "the table takes in trailers",
            |kit| {
                let trailers = b"\x40\x06x-kept\x011".to_vec();
                send([kit.post(1), frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers), whole(3, &[kit.block("GET", &[]), vec![0xbe]].concat())])
            },
            Expect::Served(3),
        ),
        must(
            "7541-4.3",
            "a size of 0 empties the table",
            |kit| kept_then(kit, &[vec![0x20, 0x3f, 0xe1, 0x1f], kit.block("GET", &[]), vec![0xbe]].concat()),
            COMPRESSION,
        ),
        must(
            "7541-4.4",
            "an entry larger than the table empties it and is no error",
            |kit| {
                let large = [&[0x40, 2, b'x', b'l', 0x7f, 0xa1, 0x1f][..], &[b'a'; 4_128]].concat();
                kept_then(kit, &[kit.block("GET", &[]), large].concat())
            },
            Expect::Served(3),
        ),
    ]
}

fn sizes() -> Vec<Case> {
    vec![
        must("7541-6.3", "a size update within the limit is taken", |kit| behind(kit, &[0x20]), Expect::Served(1)),
        must("7541-4.2", "two size updates are taken", |kit| behind(kit, &[0x20, 0x3f, 0xe1, 0x1f]), Expect::Served(1)),
        must("7541-6.3", "a size update over the limit is an error", |kit| behind(kit, &[0x3f, 0xe1, 0xff, 0xff, 0x07]), COMPRESSION),
        must("7541-4.2", "a size update stands at the beginning of a block", |kit| and(kit, &[0x20]), COMPRESSION),
    ]
}
