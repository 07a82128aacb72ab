use http::Request;

use super::*;

fn code(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Result<(String, String), &'static str> {
    let parts = build(Request::builder().uri("/a")).body(()).unwrap().into_parts().0;
    check(Box::new(parts), 100).map(|head| (head.host.clone(), head.path().to_owned())).map_err(|denial| denial.kind.code())
}

#[test]
fn a_head_with_more_than_one_reading_is_refused() {
    assert_eq!(code(|b| b.header("host", "a.example")), Ok(("a.example".to_owned(), "/a".to_owned())));
    assert_eq!(code(|b| b.header("host", "A.example:8443")), Ok(("a.example".to_owned(), "/a".to_owned())));
    assert_eq!(code(|b| b.header("host", "a.example").uri("/%41")), Ok(("a.example".to_owned(), "/A".to_owned())));
    let malformed = Err("request-malformed");
    assert_eq!(code(|b| b), malformed);
    assert_eq!(code(|b| b.header("host", "a").header("host", "a")), malformed);
    assert_eq!(code(|b| b.header("host", "a b")), malformed);
    assert_eq!(code(|b| b.uri("http://b/a").header("host", "a")), malformed);
    assert_eq!(code(|b| b.uri("xttp://a/a").header("host", "a")), malformed);
    assert_eq!(code(|b| b.uri("https://me@a/a").header("host", "a")), malformed);
    assert_eq!(code(|b| b.uri("https://me@a/a")), malformed);
    assert!(code(|b| b.uri("HTTPS://a/a").header("host", "a")).is_ok());
    assert_eq!(code(|b| b.header("host", "a").header("content-length", "1").header("content-length", "1")), malformed);
    assert_eq!(code(|b| b.header("host", "a").header("content-length", "1").header("transfer-encoding", "chunked")), malformed);
    assert_eq!(code(|b| b.version(Version::HTTP_10).header("host", "a").header("transfer-encoding", "chunked")), malformed);
    for value in [" b", "b ", "\tb", "b\t", " "] {
        let value = http::HeaderValue::from_str(value).unwrap();
        assert_eq!(code(|b| b.version(Version::HTTP_2).header("host", "a").header("x-a", &value)), malformed, "{value:?}");
        assert!(code(|b| b.header("host", "a").header("x-a", &value)).is_ok(), "the codec of HTTP/1.1 takes them off");
    }
    assert_eq!(code(|b| b.header("host", "a").header("expect", "200-maybe")), Err("expectation-failed"));
    assert_eq!(code(|b| b.header("host", "a").header("upgrade", "websocket")), Err("upgrade-unsupported"));
    assert_eq!(code(|b| b.header("host", "a").method("TRACE")), Err("method-not-allowed"));
    assert_eq!(code(|b| b.header("host", "a").method("A".repeat(65).as_str())), malformed);
    assert_eq!(code(|b| b.header("host", "a").uri("/a/../b")), Err("path-invalid"));
}

#[test]
fn a_key_in_the_url_is_refused() {
    assert_eq!(code(|b| b.header("host", "a").uri("/a?api_key=cw_live_x")), Err("credential-misplaced"));
    assert_eq!(code(|b| b.header("host", "a").uri("/a/cw_test_x")), Err("credential-misplaced"));
    assert!(code(|b| b.header("host", "a").uri("/a?x=cw_liv")).is_ok());
}

#[test]
fn hop_by_hop_and_reserved_fields_do_not_travel() {
    let parts = Request::builder()
        .uri("/a")
        .header("host", "a")
        .header("connection", "close, X-Secret-Hop, host, content-length")
        .header("x-secret-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("te", "gzip, trailers")
        .header("x-forwarded-for", "203.0.113.1")
        .header("causeway-principal", "forged")
        .header("client-cert", "forged")
        .header("content-length", "0")
        .header("accept", "*/*")
        .body(())
        .unwrap()
        .into_parts()
        .0;

    let head = check(Box::new(parts), 100).unwrap();

    let mut left: Vec<&str> = head.parts.headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["accept", "content-length", "host"]);
}

#[test]
fn only_a_harmless_request_id_is_taken_over() {
    for (text, taken) in [("abcdefgh", true), ("short", false), ("has space in it", false), ("cw_live_abcdefgh", false), ("0198-aa.b_c", true)] {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", text.parse().unwrap());
        assert_eq!(client_request_id(&headers).is_some(), taken, "{text}");
    }
}
