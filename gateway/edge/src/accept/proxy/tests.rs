use proptest::prelude::*;

use super::{ProxyError, SIGNATURE, Source, Version1, header, read};

/// Reads a header from bytes; also what is left of them.
fn parse(bytes: &[u8], version_1: Version1) -> (Result<Source, ProxyError>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut rest = bytes;
    let found = runtime.block_on(read(&mut rest, version_1));
    (found, rest.to_vec())
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &len, body].concat()
}

fn v4(source: [u8; 4]) -> Vec<u8> {
    [&source[..], &[10, 0, 0, 1, 0x12, 0x34, 1, 0xbb]].concat()
}

fn source(text: &str) -> Source {
    Source::Client(text.parse().unwrap())
}

#[test]
fn binary_header_names_the_client_and_takes_not_a_byte_of_what_follows() {
    let v6 = [&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets()[..], &[0; 20]].concat();
    let mapped = [&"::ffff:198.51.100.7".parse::<std::net::Ipv6Addr>().unwrap().octets()[..], &[0; 20]].concat();
    let with_values = [&v4([198, 51, 100, 7])[..], &[0x04; 300]].concat();
    let cases = [
        (binary(0x21, 0x11, &v4([198, 51, 100, 7])), source("198.51.100.7")),
        (binary(0x21, 0x11, &with_values), source("198.51.100.7")),
        (binary(0x21, 0x21, &v6), source("2001:db8::7")),
        (binary(0x21, 0x21, &mapped), source("198.51.100.7")),
        (binary(0x20, 0x11, &v4([198, 51, 100, 7])), Source::Sender),
        (binary(0x20, 0x00, &[]), Source::Sender),
        (binary(0x21, 0x00, &[]), Source::Sender),
        (binary(0x21, 0x31, &[0; 216]), Source::Sender),
    ];
    for (header, expected) in cases {
        let (found, rest) = parse(&[&header[..], b"\x16\x03\x01rest"].concat(), Version1::Refuse);
        assert_eq!(found.unwrap(), expected, "{}", header.escape_ascii());
        assert_eq!(rest, b"\x16\x03\x01rest");
    }
}

#[test]
fn header_that_is_written_here_is_read_as_it_was_meant() {
    for (client, expected) in [("198.51.100.7", "198.51.100.7"), ("2001:db8::7", "2001:db8::7"), ("::ffff:198.51.100.7", "198.51.100.7")] {
        let header = header(client.parse().unwrap());

        let (found, rest) = parse(&[&header[..], b"\x16\x03\x01rest"].concat(), Version1::Refuse);

        assert_eq!(found.unwrap(), source(expected));
        assert_eq!(rest, b"\x16\x03\x01rest");
    }
}

#[test]
fn text_header_is_taken_only_where_it_is_allowed() {
    let cases = [
        ("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443\r\n", Some(source("198.51.100.7"))),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", Some(source("2001:db8::7"))),
        ("PROXY UNKNOWN\r\n", Some(Source::Sender)),
        ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Some(Source::Sender)),
        ("PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n", None),
        ("PROXY TCP4 198.51.100.7 2001:db8::1 4711 443\r\n", None),
        ("PROXY TCP4 198.51.100.7 10.0.0.1 4711\r\n", None),
        ("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443 5\r\n", None),
        ("PROXY TCP4 198.51.100.7  10.0.0.1 4711 443\r\n", None),
        ("PROXY TCP4 198.51.100.7 10.0.0.1 4711 65536\r\n", None),
        ("PROXY TCP4 198.51.100.7 10.0.0.1 +711 443\r\n", None),
        ("PROXY UDP4 198.51.100.7 10.0.0.1 4711 443\r\n", None),
        ("PROXY tcp4 198.51.100.7 10.0.0.1 4711 443\r\n", None),
    ];
    for (line, expected) in cases {
        let bytes = [line.as_bytes(), b"\x16rest"].concat();
        let (found, rest) = parse(&bytes, Version1::Accept);
        assert_eq!(found.ok(), expected, "{line:?}");
        if expected.is_some() {
            assert_eq!(rest, b"\x16rest", "{line:?}");
        }
        assert!(matches!(parse(&bytes, Version1::Refuse).0, Err(ProxyError::Malformed(_))), "{line:?}");
    }
    let endless = format!("PROXY TCP4 {}", "1".repeat(10_000));
    let (found, rest) = parse(endless.as_bytes(), Version1::Accept);
    assert!(matches!(found, Err(ProxyError::Malformed(_))));
    assert_eq!(endless.len() - rest.len(), 107, "no more is read than a line may have");
}

#[test]
fn what_is_no_header_is_refused_after_few_bytes() {
    let cases = [
        binary(0x11, 0x11, &v4([1, 1, 1, 1])),
        binary(0x22, 0x11, &v4([1, 1, 1, 1])),
        binary(0x21, 0x12, &v4([1, 1, 1, 1])),
        binary(0x21, 0x11, &[1; 11]),
        binary(0x21, 0x21, &[1; 35]),
        binary(0x21, 0x11, &vec![1; 2_049]),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaa".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for bytes in cases {
        assert!(matches!(parse(&bytes, Version1::Accept).0, Err(ProxyError::Malformed(_))), "{}", bytes.escape_ascii());
    }
    for len in 0..28 {
        let header = binary(0x21, 0x11, &v4([1, 1, 1, 1]));
        assert!(matches!(parse(&header[..len], Version1::Accept).0, Err(ProxyError::Io(_))), "cut after {len} bytes");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_neither_panic_nor_are_read_beyond_the_limit(start in 0_usize..3, tail in prop::collection::vec(any::<u8>(), 0..4_096)) {
        let start = [&b""[..], &SIGNATURE, b"PROXY "][start];
        let bytes = [start, &tail].concat();

        let (_, rest) = parse(&bytes, Version1::Accept);

        prop_assert!(bytes.len() - rest.len() <= 16 + 2_048);
    }
}
