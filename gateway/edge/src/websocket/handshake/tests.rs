use super::*;

#[test]
fn the_accept_value_is_that_of_the_rfc() {
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn keys_are_sixteen_bytes_in_base64() {
    for (text, is_good) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", true),
        ("AQIDBAUGBwgJCgsMDQ4PEC==", true), // the other example of the RFC, whose last bits are not zero
        ("++++++++++//////////==", false),
        ("++++++++++///////////w==", true),
        ("dGhlIHNhbXBsZSBub25jZQ=", false),
        ("dGhlIHNhbXBsZSBub25jZQ", false),
        ("dGhlIHNhbXBsZSBub25jZQ===", false),
        ("dGhlIHNhbXBsZSBub25jZQA=", false),
        ("dGhlIHNhbXBsZSBub25j==", false),
        ("dGhlIHNhbXBsZSBub25jZ-==", false),
        ("dGhlIHNhbXBs ZSBub25jZQ==", false),
        ("", false),
    ] {
        assert_eq!(is_key(text), is_good, "{text}");
    }
    let key = new_key().unwrap();
    assert!(is_key(key.to_str().unwrap()) && key != new_key().unwrap());
}

/// What a service answers, and whether that is good.
fn check(offered: &[&str], fields: &[(&str, &str)], is_good: bool) {
    let offered = offered.iter().map(|text| HeaderValue::from_str(text).unwrap()).collect();
    let handshake = Handshake { accept: accept("dGhlIHNhbXBsZSBub25jZQ=="), offered, stream: None, over: Protocol::Http1 };
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    assert_eq!(handshake.verify(&headers).is_ok(), is_good, "{fields:?}");
}

#[test]
fn a_service_must_show_that_it_has_understood() {
    let upgrade = ("upgrade", "websocket");
    let good = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let protocol = |name| ("sec-websocket-protocol", name);

    check(&[], &[upgrade, good], true);
    check(&[], &[("upgrade", "WebSocket"), good], true);
    check(&[], &[good], false);
    check(&[], &[("upgrade", "h2c"), good], false);
    check(&[], &[("upgrade", "websocket, h2c"), good], false);
    check(&[], &[upgrade, upgrade, good], false);
    check(&[], &[upgrade], false);
    check(&[], &[upgrade, ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")], false);
    check(&[], &[upgrade, good, good], false);
    check(&[], &[upgrade, good, protocol("chat")], false);
    check(&["chat"], &[upgrade, good], true);
    check(&["chat"], &[upgrade, good, protocol("chat")], true);
    check(&["soap, chat"], &[upgrade, good, protocol("chat")], true);
    check(&["soap", "chat"], &[upgrade, good, protocol("chat")], true);
    check(&["chat"], &[upgrade, good, protocol("Chat")], false);
    check(&["chat"], &[upgrade, good, protocol("")], false);
    check(&["chat, "], &[upgrade, good, protocol("")], false);
    check(&["soap, chat"], &[upgrade, good, protocol("soap, chat")], false);
    check(&["soap, chat"], &[upgrade, good, protocol("soap"), protocol("chat")], false);
    check(&["chat"], &[upgrade, good, ("sec-websocket-extensions", "permessage-deflate")], true);
}
