//! The opening handshake (RFC 6455 section 4, RFC 8441 section 5): what is refused, and that nothing of it reaches a service.

use harness::client::Version;
use harness::websocket::Echo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{BOTH, acceptor, ask, code, open};
use crate::service::{Act, ok, raw};
use crate::site::{SOON, site, source};
use crate::wire::{self, END_STREAM, Frames, HEADERS, RST_STREAM, Wire};

/// A handshake that is good; tests change it.
const GOOD: [(&str, &str); 5] = [
    ("host", "127.0.0.1"),
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The head of a request: the good handshake without the fields in `without`, and with those in `with`.
fn head(line: &str, without: &[&str], with: &[(&str, &str)]) -> String {
    let kept = GOOD.iter().filter(|(name, _)| !without.contains(name));
    let fields: Vec<String> = kept.chain(with).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line} HTTP/1.1\r\n{}\r\n", fields.concat())
}

#[tokio::test]
async fn handshakes_that_break_a_rule_are_refused_and_reach_no_service() {
    let service = site().await.service("wsshut", |_| ok("served"));
    let plain = site().await.service("wsplain", |_| ok("served"));
    let (get, key, version) = ("GET /wsshut/a", "sec-websocket-key", "sec-websocket-version");
    let cases = [
        (head(get, &[version], &[]), 426, "websocket-version"),
        (head(get, &[version], &[(version, "12")]), 426, "websocket-version"),
        (head(get, &[version], &[(version, "13, 8")]), 426, "websocket-version"),
        (head(get, &[], &[(version, "13")]), 426, "websocket-version"),
        (head(get, &[key], &[]), 400, "websocket-invalid"),
        (head(get, &[key], &[(key, "c2hvcnQ=")]), 400, "websocket-invalid"),
        (head(get, &[key], &[(key, "not base64 but 24 bytes!")]), 400, "websocket-invalid"),
        (head(get, &[], &[(key, "dGhlIHNhbXBsZSBub25jZQ==")]), 400, "websocket-invalid"),
        (head(get, &["connection"], &[]), 400, "websocket-invalid"),
        (head(get, &["connection"], &[("connection", "keep-alive")]), 400, "websocket-invalid"),
        (head(get, &["connection"], &[("connection", "upgrade, sec-websocket-key")]), 400, "websocket-invalid"),
        (head("POST /wsshut/a", &[], &[("content-length", "0")]), 400, "websocket-invalid"),
        (head(get, &[], &[("content-length", "5")]) + "hello", 400, "websocket-invalid"),
        (head(get, &[], &[("transfer-encoding", "chunked")]) + "5\r\nhello\r\n0\r\n\r\n", 400, "websocket-invalid"),
        (head(get, &["upgrade"], &[("upgrade", "websocket, h2c")]), 501, "upgrade-unsupported"),
        (head(get, &["upgrade"], &[("upgrade", "h2c"), ("upgrade", "websocket")]), 501, "upgrade-unsupported"),
        (head(get, &["upgrade"], &[("upgrade", "TLS/1.2")]), 501, "upgrade-unsupported"),
        (head("GET /wsplain/a", &[], &[]), 501, "upgrade-unsupported"),
        (head("CONNECT 127.0.0.1:443", &["host"], &[("host", "127.0.0.1:443")]), 405, "method-not-allowed"),
        (head(get, &[], &[("origin", "https://evil.example")]), 403, "origin-forbidden"),
        (head(get, &[], &[("origin", "null")]), 403, "origin-forbidden"),
        (head(get, &[], &[("origin", "https://127.0.0.1"), ("origin", "https://evil.example")]), 403, "origin-forbidden"),
        (head("GET /wsorigin/a", &[], &[("origin", "https://127.0.0.1")]), 403, "origin-forbidden"),
        (head("GET /wsorigin/a", &[], &[("origin", "https://a.b.pages.example")]), 403, "origin-forbidden"),
        (head("GET /wskey/a", &[], &[]), 401, "credentials-missing"),
        (head("GET /wskey/a", &[], &[("x-api-key", "cw_live_x")]), 401, "credentials-invalid"),
    ];
    for (text, status, expected) in cases {
        let mut wire = Wire::connect(site().await.address(), site().await.ca(), "http/1.1", Some(source(40))).await;
        wire.send(&text).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, expected), "{text}");
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"), "RFC 6455 section 4.4");
            assert_eq!((answer.header("upgrade"), answer.header("connection")), (Some("websocket"), Some("upgrade")), "RFC 9110 section 15.5.22");
        }
    }
    assert_eq!((service.seen().len(), plain.seen().len()), (0, 0));
}

#[tokio::test]
async fn http2_handshakes_that_break_a_rule_are_refused() {
    let service = site().await.service("wsframes", |_| ok("served"));
    let connect = |path: &str, protocol: &str, more: &[(&str, &str)]| {
        let fields = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", path)];
        wire::frame(HEADERS, 4, 1, &wire::block(&[&fields[..], more].concat()))
    };
    let version = ("sec-websocket-version", "13");
    let plain = wire::frame(HEADERS, 4, 1, &wire::block(&[(":method", "CONNECT"), (":authority", "127.0.0.1:443")]));
    let get = |more: &[(&str, &str)]| wire::request(1, "GET", "/wsframes/a", more, END_STREAM);
    // 0 for a stream or connection error.
    let cases = [
        (connect("/wsframes/a", "websocket", &[]), 426),
        (connect("/wsframes/a", "websocket", &[("sec-websocket-version", "8")]), 426),
        (connect("/wsframes/a", "connect-udp", &[version]), 501),
        (connect("/wsframes/a", "", &[version]), 501),
        (connect("/wsplain/a", "websocket", &[version]), 501),
        (connect("/wsorigin/a", "websocket", &[version, ("origin", "https://evil.example")]), 403),
        (connect("/nowhere-at-all", "websocket", &[version]), 404),
        (connect("/wskey/a", "websocket", &[version]), 401),
        (plain, 405),
        // RFC 9113 section 8.2.2: fields of a connection make a request malformed, whatever they say.
        (get(&[("upgrade", "h2c")]), 0),
        (get(&[("upgrade", "websocket"), ("connection", "upgrade")]), 0),
        (get(&[("upgrade", "websocket")]), 0),
        (get(&[("keep-alive", "timeout=5")]), 0),
        (get(&[("proxy-connection", "keep-alive")]), 0),
        (connect("/wsframes/a", "websocket", &[version, ("upgrade", "websocket")]), 0),
        // RFC 8441 section 4: `:protocol` belongs to CONNECT.
        (get(&[(":protocol", "websocket")]), 0),
    ];
    for (bytes, expected) in cases {
        let mut frames = Frames::connect(site().await, Some(source(41)), &[]).await;
        frames.send(&bytes).await;
        let answer = frames.stream(1).await;
        let status = answer.iter().find(|frame| frame.kind == HEADERS).map_or(0, |head| wire::status(&head.payload));
        assert_eq!(status, expected, "{}: {answer:?}", bytes.escape_ascii());
        assert!(status != 0 || answer.iter().any(|frame| frame.kind == RST_STREAM || frame.kind == wire::GOAWAY), "{answer:?}");
    }
    assert_eq!(service.seen().len(), 0);
}

/// RFC 9110 section 7.8: what may be ignored is ignored, and the request goes on as if it had not been said.
#[tokio::test]
async fn upgrade_to_h2c_and_upgrades_in_http10_are_ignored_and_go_no_further() {
    let service = site().await.service("wsignored", |_| ok("served"));
    let requests = [
        "GET /wsignored/x HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET /wsignored/x HTTP/1.0\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ];
    for text in requests {
        let mut wire = Wire::http1(site().await).await;
        wire.send(text).await;
        assert_eq!(wire.answer().await.unwrap().status, 200, "{text}");
    }
    let seen = service.seen();
    assert_eq!(seen.len(), requests.len());
    for seen in seen {
        let names = ["upgrade", "connection", "http2-settings"].map(|name| seen.header(name).len());
        assert_eq!(names, [0, 0, 0], "{}", seen.head);
    }
}

#[tokio::test]
async fn a_service_that_does_not_understand_opens_nothing_and_an_ordinary_answer_stays_one() {
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let switch = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
    let named = "connection: upgrade\r\nupgrade: websocket\r\n";
    let answers = [
        (switch(accept), 502),
        (switch(&format!("upgrade: websocket\r\n{accept}")), 502),
        (switch(&format!("connection: upgrade\r\n{accept}")), 502),
        (switch(&format!("connection: upgrade\r\nupgrade: h2c\r\n{accept}")), 502),
        (switch(named), 502),
        (switch(&format!("{named}sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n")), 502),
        (switch(&format!("{named}{accept}sec-websocket-protocol: other\r\n")), 502),
        (switch(&format!("{named}{accept}sec-websocket-protocol: chat\r\nsec-websocket-protocol: chat\r\n")), 502),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nhere".to_owned(), 403),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nhere".to_owned(), 503),
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere".to_owned(), 200),
    ];
    let table: std::collections::HashMap<String, String> =
        answers.iter().enumerate().map(|(n, (text, _))| (format!("GET /wsbroken/{n} HTTP/1.1"), text.clone())).collect();
    let service = site().await.service("wsbroken", move |seen| table.get(seen.line()).map_or_else(|| ok("ordinary"), |text| raw(text)));
    for (n, (text, status)) in answers.iter().enumerate() {
        let mut wire = Wire::http1(site().await).await;
        wire.send(head(&format!("GET /wsbroken/{n}"), &[], &[("sec-websocket-protocol", "soap, chat")])).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, *status, "{text}: {}", answer.head);
        assert_eq!((answer.header("upgrade"), answer.header("sec-websocket-accept")), (None, None), "{text}");
        assert!(*status != 502 || answer.code() == "upstream-malformed");
        // The connection goes on with HTTP.
        assert_eq!(wire.get("/wsbroken/ordinary").await.unwrap().body, b"ordinary", "{text}");
        // There a 2xx would open the stream (RFC 8441 section 4).
        let expected = if *status == 200 { 502 } else { *status };
        let refused = ask(site().await, Version::Http2, &format!("/wsbroken/{n}"), &[("sec-websocket-protocol", "chat")]).await.unwrap_err();
        assert_eq!(refused.status(), expected, "{text}");
        assert!(*status == 502 || expected == 502 || refused.body() == b"here");
    }
    let asked = service.seen();
    let handshakes = asked.iter().filter(|seen| !seen.header("upgrade").is_empty()).count();
    assert_eq!(handshakes, answers.len() * 2);
    // A service that switches unasked is refused as well.
    drop(service);
    let text = switch(&format!("{named}{accept}"));
    let _unasked = site().await.service("wsbroken", move |_| raw(&text));
    assert_eq!(Wire::http1(site().await).await.get("/wsbroken/plain").await.unwrap().status, 502);
}

/// Frames that a client sends too early wait for the switch; when there is none, they reach nobody as frames.
#[tokio::test]
async fn no_byte_behind_the_handshake_reaches_a_service_that_has_not_switched() {
    let early = b"\x81\x85\x00\x00\x00\x00early";
    let listener = site().await.listener("wsearly");
    let (path, is_switching) = ("GET /wsearly/a", [false, true]);
    for is_switching in is_switching {
        let mut wire = Wire::http1(site().await).await;
        wire.send([head(path, &[], &[]).as_bytes(), early].concat()).await;
        let (mut service, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            assert!(service.read_buf(&mut seen).await.unwrap() > 0);
        }
        let said = if is_switching {
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\u{1}\u{2}hi"
        } else {
            "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        };
        service.write_all(said.as_bytes()).await.unwrap();
        let mut behind = Vec::new();
        if is_switching {
            assert_eq!(wire.answer().await.unwrap().status, 101);
            assert_eq!(wire.some(4).await, b"\x01\x02hi", "what the service says at once comes behind the answer");
            while behind.len() < early.len() {
                assert!(service.read_buf(&mut behind).await.unwrap() > 0);
            }
        } else {
            assert_eq!(wire.answer().await.unwrap().status, 403);
            tokio::time::timeout(SOON, service.read_to_end(&mut behind)).await.unwrap().unwrap();
        }
        let expected: &[u8] = if is_switching { early } else { b"" };
        assert_eq!(behind, expected, "switching: {is_switching}");
    }
}

#[tokio::test]
async fn pages_of_listed_origins_may_open_one_and_so_may_clients_without_a_page() {
    let _echo = Echo::start(site().await.listener("wsorigin"));
    for version in BOTH {
        for origin in [&[][..], &[("origin", "https://app.example")], &[("origin", "https://x.pages.example")]] {
            open(site().await, version, "/wsorigin/a", origin).await.echo("hello").await.unwrap();
        }
        let refused = ask(site().await, version, "/wsorigin/a", &[("origin", "http://app.example")]).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), code(&refused).as_str()), (403, "origin-forbidden"));
    }
    let _own = Echo::start(site().await.listener("wspage"));
    for version in BOTH {
        open(site().await, version, "/wspage/a", &[("origin", "https://127.0.0.1")]).await.echo("own page").await.unwrap();
    }
}

/// What the service sees is one handshake, whichever way the client speaks: RFC 6455, with the fields of the client.
#[tokio::test]
async fn a_service_gets_the_handshake_of_http1_with_the_clients_fields_and_its_choice_comes_back() {
    let echo = Echo::start(site().await.listener("wsecho"));
    for (turn, version) in BOTH.into_iter().enumerate() {
        let fields = [("sec-websocket-protocol", "soap, chat"), ("sec-websocket-extensions", "x-unknown; a=1"), ("x-own", "1"), ("cookie", "a=1")];
        let mut client = open(site().await, version, "/wsecho/a/b?q=1", &fields).await;
        client.echo("hello").await.unwrap();

        assert_eq!(client.answer.status().as_u16(), if version == Version::Http1 { 101 } else { 200 });
        assert_eq!(client.answer.headers()["sec-websocket-protocol"], "chat");
        assert!(client.answer.headers().contains_key("x-request-id") && client.answer.headers()["causeway-region"] == "eu-west");
        assert_eq!(client.answer.headers().contains_key("sec-websocket-accept"), version == Version::Http1);
        let served = &echo.served()[turn];
        assert_eq!(served.target, "/wsecho/a/b?q=1");
        for (name, value) in fields {
            assert_eq!(served.fields[name], value);
        }
        let via = if version == Version::Http1 { "1.1 causeway-" } else { "2 causeway-" };
        for (name, value) in [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13"), ("x-forwarded-for", "127.0.0.1")]
        {
            assert_eq!(served.fields[name], value);
        }
        assert!(served.fields["via"].to_str().unwrap().starts_with(via), "{:?}", served.fields["via"]);
        assert_eq!(served.fields["sec-websocket-key"].len(), 24);
    }
}

/// A service that would choose HTTP/2 is spoken to over HTTP/1.1, because that is what a WebSocket begins with there.
#[tokio::test]
async fn services_behind_tls_are_asked_for_http1() {
    let _echo = Echo::over(site().await.listener("wstls"), Some(acceptor(site().await, &["h2", "http/1.1"])));
    for version in BOTH {
        open(site().await, version, "/wstls/open", &[]).await.echo("through TLS").await.unwrap();
    }
}

/// A route may serve both, and each request is what it says it is.
#[tokio::test]
async fn ordinary_requests_on_a_route_that_takes_websockets_are_ordinary() {
    let service = site().await.service("wsboth", |_| vec![Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into())]);
    for version in BOTH {
        let answer = site().await.http(version).get(site().await.url("/wsboth/a")).header("sec-websocket-version", "13").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "ok"));
    }
    assert!(service.seen().iter().all(|seen| seen.header("upgrade").is_empty()));
}
