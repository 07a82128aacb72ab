use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{CODE, CODE_BITS, Line, Lines, Unreadable, decoded, integer, write, write_integer};

fn read(section: &[u8]) -> Result<Vec<(String, String)>, Unreadable> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Lines::of(section)?.map(|line| line.map(|Line { name, value }| (text(&name), text(&value)))).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The example of RFC 9204 appendix B.1, and lines of the other two forms.
#[test]
fn lines_of_each_form_are_read() {
    assert_eq!(read(b"\0\0\x51\x0b/index.html").unwrap(), [pair(":path", "/index.html")]);
    assert_eq!(read(b"\0\0\xd1\xd7").unwrap(), [pair(":method", "GET"), pair(":scheme", "https")]);
    assert_eq!(read(b"\0\0\x23abc\x01d\xff\x23").unwrap(), [pair("abc", "d"), pair("x-frame-options", "sameorigin")]);
    // RFC 7541 appendix C.4.1 and C.6.1: the strings in Huffman's code.
    assert_eq!(read(b"\0\0\x50\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff").unwrap(), [pair(":authority", "www.example.com")]);
    assert_eq!(
        decoded(b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff").unwrap(),
        b"Mon, 21 Oct 2013 20:13:21 GMT"
    );
}

#[test]
fn what_refers_to_a_dynamic_table_or_is_cut_cannot_be_read() {
    let cases: [&[u8]; 16] = [
        b"",
        b"\0",
        b"\x01\0\xd1",                       // an entry that was never inserted
        b"\0\x80\xd1",                       // a base below zero
        b"\0\0\x80",                         // indexed, dynamic
        b"\0\0\x10",                         // indexed, post-base
        b"\0\0\x40\x01a",                    // a dynamic name
        b"\0\0\0\x01a",                      // a post-base name
        b"\0\0\xff\x24",                     // behind the static table
        b"\0\0\x51",                         // no value
        b"\0\0\x51\x05/a",                   // half a value
        b"\0\0\x23ab",                       // half a name
        b"\0\0\xff\xff\xff\xff\xff\xff\xff", // a number without end
        b"\0\0\x51\x81\xfe",                 // padding that is no prefix of EOS
        b"\0\0\x51\x82\x1f\xff",             // a whole byte of padding
        b"\0\0\x51\x84\xff\xff\xff\xff",     // EOS
    ];
    for case in cases {
        assert_eq!(read(case), Err(Unreadable), "{}", case.escape_ascii());
    }
}

#[test]
fn huffman_code_is_complete_and_every_byte_comes_back() {
    // Kraft's sum: no code is missing and none is double.
    assert_eq!(CODE_BITS.iter().map(|bits| 1_u64 << (30 - bits)).sum::<u64>(), 1 << 30);
    for byte in 0..=255_u8 {
        let bits = usize::from(CODE_BITS[usize::from(byte)]);
        let (first, _, begin) = CODE.lengths[bits];
        let place = CODE.symbols.iter().position(|symbol| *symbol == u16::from(byte)).unwrap() - begin;
        let code = u64::from(first) + u64::try_from(place).unwrap();
        let padded = bits.div_ceil(8) * 8;
        let whole = code << (padded - bits) | ((1 << (padded - bits)) - 1);
        assert_eq!(decoded(&whole.to_be_bytes()[8 - padded / 8..]).unwrap(), [byte]);
    }
}

#[test]
fn numbers_come_back_whatever_their_prefix() {
    for bits in 3..=8 {
        for value in (0..600).chain([4_095, 16_384, 65_535, 1 << 20]) {
            let mut out = BytesMut::new();
            write_integer(&mut out, 0, bits, value);
            let mut rest = &out[..];
            assert_eq!(integer(&mut rest, bits), Ok(u64::try_from(value).unwrap()), "{bits} {value}");
            assert!(rest.is_empty());
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let long = "v".repeat(5_000);
    let mut headers = HeaderMap::new();
    for (name, value) in [("content-type", "application/json"), ("x-own", long.as_str()), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("date", "")]
    {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let fields: Vec<_> = headers.iter().map(|(name, value)| pair(name.as_str(), value.to_str().unwrap())).collect();

    assert_eq!(read(&write(None, &headers)).unwrap(), fields);
    for status in [100, 200, 204, 404, 418, 431, 503, 999] {
        let written = read(&write(Some(StatusCode::from_u16(status).unwrap()), &headers)).unwrap();
        assert_eq!(written[0], pair(":status", &status.to_string()));
        assert_eq!(written[1..], fields);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_end_in_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        drop(read(&bytes));
        drop(super::super::head::request(&bytes, 1_000));
        drop(super::super::head::trailers(&bytes, 1_000));
    }
}
