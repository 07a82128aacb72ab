use bytes::{BufMut, BytesMut};
use http::Version;

use super::{Refusal, request, trailers};

/// A section of so many fields, each with a name of 10 bytes and a value of 1,000, written out.
fn long(count: usize) -> BytesMut {
    let mut out = BytesMut::from(&[0, 0][..]);
    for _ in 0..count {
        out.put_slice(b"\x27\x03x-longname\x7f\xe9\x06");
        out.put_bytes(b'v', 1_000);
    }
    out
}

/// A section with every name and value written out; none has 127 bytes.
fn short(fields: &[(&str, &str)]) -> BytesMut {
    let mut out = BytesMut::from(&[0, 0][..]);
    for (name, value) in fields {
        match name.len().checked_sub(7) {
            None => out.put_u8(0x20 | u8::try_from(name.len()).unwrap()),
            Some(more) => out.put_slice(&[0x27, u8::try_from(more).unwrap()]),
        }
        out.put_slice(name.as_bytes());
        out.put_u8(u8::try_from(value.len()).unwrap());
        out.put_slice(value.as_bytes());
    }
    out
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y=1")];

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GET.iter().chain(more).copied().collect()
}

#[test]
fn head_of_a_request_is_read() {
    let parts = request(&short(&with(&[("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")])), 4_096).unwrap();

    assert_eq!((parts.method.as_str(), parts.version), ("GET", Version::HTTP_3));
    assert_eq!(parts.uri.to_string(), "https://a.example/x?y=1");
    assert_eq!(parts.headers.len(), 4);
    let star = [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a.example"), (":path", "*")];
    assert_eq!(request(&short(&star), 4_096).unwrap().uri.path(), "*");
    let connect = [(":method", "CONNECT"), (":authority", "a.example:443")];
    assert_eq!(request(&short(&connect), 4_096).unwrap().uri.to_string(), "a.example:443");
    let by_host = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "a.example")];
    assert!(request(&short(&by_host), 4_096).unwrap().uri.authority().is_none());
}

/// RFC 9114 sections 4.2, 4.3.1 and 10.3.
#[test]
fn malformed_heads_are_refused() {
    let whole: Vec<Vec<(&str, &str)>> = vec![
        vec![],
        GET[1..].to_vec(),
        vec![GET[0], GET[2], GET[3]],
        vec![GET[0], GET[1], GET[3]],
        GET[..3].to_vec(),
        vec![GET[0], GET[1], (":authority", ""), GET[3]],
        vec![GET[0], GET[1], GET[2], (":path", "")],
        vec![GET[0], GET[1], GET[2], (":path", "x")],
        vec![GET[0], GET[1], GET[2], (":path", "*")],
        vec![GET[0], GET[1], GET[2], (":path", "/a#b")],
        vec![GET[0], GET[1], GET[2], (":path", "/a b")],
        vec![("accept", "*/*"), GET[0], GET[1], GET[2], GET[3]],
        vec![(":method", "G T"), GET[1], GET[2], GET[3]],
        vec![(":method", "CONNECT"), GET[1], GET[2], GET[3]],
    ];
    let more: [&[(&str, &str)]; 16] = [
        &[(":path", "/other")],
        &[(":method", "POST")],
        &[(":status", "200")],
        &[(":protocol", "websocket")],
        &[(":unknown", "x")],
        &[("connection", "close")],
        &[("keep-alive", "5")],
        &[("proxy-connection", "close")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("Accept", "*/*")],
        &[("a b", "x")],
        &[("x-a", " x")],
        &[("x-a", "x\t")],
        &[("x-a", "x\r\ny: z")],
    ];
    for fields in whole.into_iter().chain(more.iter().map(|more| with(more))) {
        let outcome = request(&short(&fields), 4_096);
        assert!(matches!(outcome, Err(Refusal::Malformed(_))), "{fields:?}: {outcome:?}");
    }
}

#[test]
fn sections_are_read_up_to_their_limit_and_no_further() {
    let four = long(4);
    let size = 4 * (10 + 1_000 + 32);

    assert!(trailers(&four, size).is_ok());
    assert_eq!(trailers(&four, size - 1).unwrap_err(), Refusal::TooLarge);
    // A line of one byte stands for a field of 42: what is written small may not grow.
    assert_eq!(request(&[&[0, 0][..], &[0xc2; 10_000]].concat(), 32_768).unwrap_err(), Refusal::TooLarge);
    assert_eq!(request(b"\0\0\x80", 4_096).unwrap_err(), Refusal::Unreadable);
}

#[test]
fn trailers_have_no_pseudo_headers() {
    assert_eq!(trailers(&short(&[("x-sum", "1")]), 4_096).unwrap().len(), 1);
    assert!(matches!(trailers(&short(&[(":path", "/")]), 4_096), Err(Refusal::Malformed(_))));
    assert!(matches!(trailers(&short(&[("connection", "x")]), 4_096), Err(Refusal::Malformed(_))));
}
