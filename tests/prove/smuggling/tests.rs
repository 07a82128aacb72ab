use super::reader::{self, End};

/// The paths of the requests, how the stream ends, and whether a request broke off in its body.
fn read(text: &str) -> (Vec<String>, End, bool) {
    let reading = reader::stream(text.as_bytes());
    (
        reading.requests.iter().map(|request| format!("{} {}", request.path, request.body.escape_ascii())).collect(),
        reading.end,
        reading.partial.is_some(),
    )
}

#[test]
fn reference_reads_what_is_lawful_and_nothing_else() {
    const H: &str = "host: a\r\n";
    let whole = |text: String| {
        let (requests, end, partial) = read(&text);
        assert!(end == End::Open && !partial, "{text:?} {requests:?} {end:?}");
        requests
    };
    assert_eq!(whole(format!("\r\nGET /1 HTTP/1.1\r\n{H}\r\nGET http://a/2 HTTP/1.1\r\n{H}\r\n")), ["/1 ", "/2 "]);
    assert_eq!(whole(format!("POST /1 HTTP/1.1\r\n{H}content-length: 05\r\n\r\nabcde")), ["/1 abcde"]);
    assert_eq!(whole(format!("POST /1 HTTP/1.1\r\n{H}transfer-encoding: Chunked\r\n\r\n2;a=b\r\nab\r\n0\r\nx: y\r\n\r\n")), ["/1 ab"]);

    for fields in [
        "content-length: 2\r\ntransfer-encoding: chunked",
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2, 2",
        "content-length: +2",
        "content-length : 2",
        "content-length:",
        "content-length: 18446744073709551616",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "x: y\r\n z",
        "x: y\nz: a",
        "x: y\rz: a",
        "x: y\0",
    ] {
        let (requests, end, partial) = read(&format!("POST /1 HTTP/1.1\r\n{H}{fields}\r\n\r\nab"));
        assert!(requests.is_empty() && end == End::Refused && !partial, "{fields:?} {requests:?} {end:?}");
    }
    for body in
        ["2\nab\r\n0\r\n\r\n", "2\r\nab0\r\n\r\n", "2 \r\nab\r\n0\r\n\r\n", "+2\r\nab\r\n0\r\n\r\n", "10000000000000002\r\nab", "0\r\nx y: z\r\n\r\n"]
    {
        let (requests, end, partial) = read(&format!("POST /1 HTTP/1.1\r\n{H}transfer-encoding: chunked\r\n\r\n{body}"));
        assert!(requests.is_empty() && end == End::Refused && partial, "{body:?} {requests:?} {end:?}");
    }
    let (requests, end, _) = read("GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((requests, end), (vec!["/1 ".to_owned()], End::Closed));
    assert_eq!(read("POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab"), (Vec::new(), End::Unfinished, true));
}

#[test]
fn streams_are_the_same_for_the_same_seed_and_mostly_different() {
    let all: std::collections::BTreeSet<Vec<u8>> = (0..500).map(|number| super::grammar::stream(7, number).0.bytes).collect();

    assert!(all.len() > 480, "{}", all.len());
    assert_eq!(super::grammar::stream(7, 3).0.bytes, super::grammar::stream(7, 3).0.bytes);
    assert_ne!(super::grammar::stream(8, 3).0.bytes, super::grammar::stream(7, 3).0.bytes);
}

#[test]
fn plain_streams_are_lawful_to_the_reference() {
    for number in 0..2_000 {
        let (stream, _) = super::grammar::stream(11, number);
        if stream.is_plain {
            let reading = reader::stream(&stream.bytes);
            assert_eq!(reading.end, End::Open, "{}", stream.bytes.escape_ascii());
        }
    }
}
