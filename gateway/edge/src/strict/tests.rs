use proptest::prelude::*;

use super::*;

/// What a whole text, the same text byte by byte and cut in two anywhere end in; they must agree.
fn read(text: &[u8]) -> (bool, bool) {
    let (mut at_once, mut by_byte) = (Framing::default(), Framing::default());
    at_once.read(text);
    for byte in text {
        by_byte.read(std::slice::from_ref(byte));
    }
    assert_eq!((at_once.place, at_once.is_ambiguous()), (by_byte.place, by_byte.is_ambiguous()), "{}", text.escape_ascii());
    for cut in 0..text.len() {
        let mut in_two = Framing::default();
        let (first, second) = text.split_at(cut);
        in_two.read(first);
        in_two.read(second);
        assert_eq!(at_once.place, in_two.place, "{} cut at {cut}", text.escape_ascii());
    }
    (at_once.is_ambiguous(), at_once.place == Place::Between)
}

const CLEAR: (bool, bool) = (false, true);

#[test]
fn lawful_requests_are_followed_to_their_end() {
    for text in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\na\nb\nc",
        "POST / HTTP/1.1\r\ncontent-length:\t 0 \r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\na\nb\nc\r\nA\r\n0123456789\r\n0\r\nx-t: 1\r\n\r\n",
    ] {
        assert_eq!(read(text.as_bytes()), CLEAR, "{text:?}");
    }
}

#[test]
fn framing_with_two_readings_is_found_wherever_it_is_cut() {
    for text in [
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5 \r\nabcde\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcdef\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\naGET / HTTP/1.1\n\r\n",
    ] {
        assert!(read(text.as_bytes()).0, "{text:?}");
    }
}

#[test]
fn a_head_is_open_from_its_first_byte_to_its_empty_line() {
    let mut framing = Framing::default();

    for (text, in_head) in [("", false), ("\r\n", false), ("G", true), ("ET / HTTP/1.1\r\n", true), ("a: b\r\n\r", true), ("\n", false)] {
        framing.read(text.as_bytes());
        assert_eq!(framing.is_in_head(), in_head, "{text:?}");
    }
}

#[test]
fn requests_that_have_come_whole_are_counted() {
    let mut framing = Framing::default();
    for (text, whole) in [
        ("GET / HTTP/1.1\r\n\r", 0),
        ("\n\r\n", 1),
        ("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\na", 1),
        ("b", 2),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", 2),
        ("\r\nGET / HTTP/1.1\r\n\r\nGET", 4),
    ] {
        framing.read(text.as_bytes());
        assert_eq!(framing.whole(), whole, "{text:?}");
    }
}

proptest! {
    /// However a stream is cut into reads, the verdict is the same.
    #[test]
    fn cuts_change_nothing(text in r"(GET / HTTP/1.1\r\n|[cC]ontent-[lL]ength: ?[0-9]{1,2}\r?\n|transfer-encoding: chunked\r\n|x: y\r\n|\r\n|[0-9a-f]{1,2}\r\n|[a-z]{0,9}|\n){0,12}") {
        read(text.as_bytes());
    }
}
