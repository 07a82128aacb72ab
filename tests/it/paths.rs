//! A path has one spelling, a request has one host, and the service gets what was matched.

use crate::service::ok;
use crate::site::{site, source};
use crate::wire::Wire;

async fn ask(text: &str) -> (u16, String) {
    let mut wire = Wire::connect(site().await.address(), site().await.ca(), "http/1.1", Some(source(5))).await;
    wire.send(text).await;
    let answer = wire.answer().await.unwrap();
    (answer.status, answer.code())
}

#[tokio::test]
async fn path_tricks_are_refused_and_never_repaired() {
    let service = site().await.service("paths", |seen| ok(seen.line()));

    for path in [
        "/paths/../x",
        "/paths/%2e%2e/x",
        "/paths/.%2E/x",
        "/paths/./x",
        "/paths//x",
        "//paths",
        "/paths/x%00",
        "/paths%2fx",
        "/paths%5cx",
        "/paths\\x",
        "/paths/..;/x",
        "/paths/%c0%ae%c0%ae/x",
        "/paths/%e0%80%ae/x",
        "/paths/%ff",
        "/paths/%",
        "/paths/%zz",
        "/paths/%u002e",
        "/paths/x%0d%0ay:z",
        "*",
    ] {
        let (status, code) = ask(&format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await;
        assert_eq!((status, code.as_str()), (400, "path-invalid"), "{path}");
    }
    assert_eq!(ask(&format!("GET /paths?{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "a".repeat(20 << 10))).await, (414, "uri-too-long".to_owned()));
    assert!(service.seen().is_empty());

    // What is only spelled differently is matched and sent in its normal form; the query is the service's.
    for (path, sent) in
        [("/p%61ths/%7Ex", "/paths/~x"), ("/paths/a%3bb;c?q=%2e%2e//", "/paths/a%3Bb;c?q=%2e%2e//"), ("/paths/%252e%252e", "/paths/%252e%252e")]
    {
        let mut wire = Wire::http1(site().await).await;
        let answer = wire.get(path).await.unwrap();
        assert_eq!((answer.status, String::from_utf8(answer.body).unwrap()), (200, format!("GET {sent} HTTP/1.1")), "{path}");
    }
    // `/paths/@me` asks for a key and a scope; its other spelling must not fall to the open route around it.
    for path in ["/paths/@me", "/paths/%40me"] {
        assert_eq!(ask(&format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await, (401, "credentials-missing".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_request_has_exactly_one_host() {
    let service = site().await.service("hosts", |_| ok("served"));

    for (target, fields, expected) in [
        ("/hosts", "", "request-malformed"),
        ("/hosts", "host: 127.0.0.1\r\nhost: 127.0.0.1\r\n", "request-malformed"),
        ("/hosts", "host: 127.0.0.1, localhost\r\n", "request-malformed"),
        ("/hosts", "host:\r\n", "request-malformed"),
        ("/hosts", "host: user@127.0.0.1\r\n", "request-malformed"),
        ("/hosts", "host: 127.0.0.1:port\r\n", "request-malformed"),
        ("/hosts", "host: unknown.example\r\n", "host-unknown"),
        ("https://localhost/hosts", "host: 127.0.0.1\r\n", "request-malformed"),
        ("https://a:b@127.0.0.1/hosts", "host: 127.0.0.1\r\n", "request-malformed"),
        ("https://unknown.example/hosts", "host: unknown.example\r\n", "host-unknown"),
        ("/hosts", "host: foreign.example\r\n", "route-not-found"),
    ] {
        let (_, code) = ask(&format!("GET {target} HTTP/1.1\r\n{fields}\r\n")).await;
        assert_eq!(code, expected, "{target} {fields:?}");
    }
    assert!(service.seen().is_empty());

    for (target, host) in [("/hosts", "127.0.0.1"), ("/hosts", "LOCALHOST.:8443"), ("https://127.0.0.1/hosts", "127.0.0.1")] {
        assert_eq!(ask(&format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await.0, 200, "{target} {host}");
    }
    assert!(service.seen().iter().all(|seen| seen.line() == "GET /hosts HTTP/1.1"), "{:?}", service.seen());
}

#[tokio::test]
async fn methods_travel_as_they_are_and_two_are_never_served() {
    let service = site().await.service("methods", |_| ok(""));

    for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get"] {
        let mut wire = Wire::http1(site().await).await;
        wire.send(format!("{method} /methods HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await;
        assert_eq!(wire.answer().await.unwrap().status, 200, "{method}");
    }
    for text in ["TRACE /methods HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "CONNECT 127.0.0.1:443 HTTP/1.1\r\nhost: 127.0.0.1:443\r\n\r\n"] {
        assert_eq!(ask(text).await, (405, "method-not-allowed".to_owned()), "{text}");
    }

    let lines: Vec<_> = service.seen().iter().map(|seen| seen.line().split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get"]);
}
