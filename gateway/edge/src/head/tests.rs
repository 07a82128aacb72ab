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
    assert_eq!(code(|b| b.uri("https://a/a")), malformed, "a target in absolute form is no Host header");
    assert!(code(|b| b.version(Version::HTTP_2).uri("https://a/a")).is_ok());
    assert_eq!(code(|b| b.version(Version::HTTP_2).uri("https://a/a").header("content-length", "")), malformed);
    assert_eq!(code(|b| b.header("host", "a").header("content-length", "1").header("content-length", "1")), malformed);
    assert_eq!(code(|b| b.header("host", "a").header("content-length", "1").header("transfer-encoding", "chunked")), malformed);
    assert_eq!(code(|b| b.version(Version::HTTP_10).header("host", "a").header("transfer-encoding", "chunked")), malformed);
    for value in [" b", "b ", "\tb", "b\t", " "] {
        let value = http::HeaderValue::from_str(value).unwrap();
        assert_eq!(code(|b| b.version(Version::HTTP_2).header("host", "a").header("x-a", &value)), malformed, "{value:?}");
        assert!(code(|b| b.header("host", "a").header("x-a", &value)).is_ok(), "the codec of HTTP/1.1 takes them off");
    }
    assert_eq!(code(|b| b.header("host", "a").header("expect", "200-maybe")), Err("expectation-failed"));
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

/// What a request wants to become, by its version, its method and its fields.
fn wish(version: Version, method: &str, fields: &[(&str, &str)], protocol: Option<&'static str>) -> Result<Option<Wish>, &'static str> {
    let mut request = Request::builder().version(version).method(method).uri("https://a/a").header("host", "a");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    parts.extensions.extend(
        protocol
            .map(|name| {
                let mut extensions = http::Extensions::new();
                extensions.insert(hyper::ext::Protocol::from_static(name));
                extensions
            })
            .unwrap_or_default(),
    );
    let head = check(Box::new(parts), 100).map_err(|denial| denial.kind.code())?;
    assert!(!head.parts.headers.contains_key("upgrade") && !head.parts.headers.contains_key("connection"), "{fields:?}");
    assert!(head.wish != Some(Wish::Connect) || *head.method() == Method::GET);
    Ok(head.wish)
}

#[test]
fn the_only_switch_that_is_heard_is_the_one_to_websocket() {
    let upgrade = |is_named, has_body| Ok(Some(Wish::Upgrade { is_named, has_body }));
    let h1 = |fields: &[(&str, &str)]| wish(Version::HTTP_11, "GET", fields, None);
    let named = ("connection", "upgrade");

    assert_eq!(h1(&[]), Ok(None));
    assert_eq!(h1(&[("upgrade", "websocket"), named]), upgrade(true, false));
    assert_eq!(h1(&[("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")]), upgrade(true, false));
    assert_eq!(h1(&[("upgrade", "websocket"), ("connection", "keep-alive"), named]), upgrade(true, false));
    assert_eq!(h1(&[("upgrade", "websocket")]), upgrade(false, false));
    assert_eq!(h1(&[("upgrade", "websocket"), ("connection", "upgraded")]), upgrade(false, false));
    assert_eq!(h1(&[("upgrade", "websocket"), named, ("content-length", "0")]), upgrade(true, false));
    assert_eq!(h1(&[("upgrade", "websocket"), named, ("content-length", "5")]), upgrade(true, true));
    assert_eq!(h1(&[("upgrade", "websocket"), named, ("transfer-encoding", "chunked")]), upgrade(true, true));
    assert_eq!(h1(&[("upgrade", "h2c"), named]), Ok(None), "it may be ignored");
    assert_eq!(h1(&[("upgrade", "H2C, h2c"), named]), Ok(None));
    for other in ["websocket, h2c", "h2c, websocket", "websocket, websocket", "websocket/13", "TLS/1.0", "IRC/6.9, websocket"] {
        assert_eq!(h1(&[("upgrade", other), named]), Err("upgrade-unsupported"), "{other}");
    }
    assert_eq!(h1(&[("upgrade", "websocket"), ("upgrade", "h2c"), named]), Err("upgrade-unsupported"));
    assert_eq!(wish(Version::HTTP_10, "GET", &[("upgrade", "websocket"), named], None), Ok(None), "HTTP/1.0 has no upgrades");
    assert_eq!(wish(Version::HTTP_11, "CONNECT", &[], None), Err("method-not-allowed"));
}

#[test]
fn over_http2_only_an_extended_connect_asks_for_a_websocket() {
    let h2 = |method, fields: &[(&str, &str)], protocol| wish(Version::HTTP_2, method, fields, protocol);

    assert_eq!(h2("CONNECT", &[], Some("websocket")), Ok(Some(Wish::Connect)));
    assert_eq!(h2("CONNECT", &[], None), Err("method-not-allowed"));
    for other in ["connect-udp", "webtransport", "WebSocket", ""] {
        assert_eq!(h2("CONNECT", &[], Some(other)), Err("upgrade-unsupported"), "{other}");
    }
    for name in ["h2c", "websocket", "H2C"] {
        assert_eq!(h2("GET", &[("upgrade", name)], None), Err("request-malformed"), "RFC 9113 section 8.2.2");
    }
}
