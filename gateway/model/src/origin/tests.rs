use super::*;

#[test]
fn an_origin_matches_exactly_and_a_wildcard_one_label() {
    let check = |pattern: &str, origin: &str, expected: bool| {
        assert_eq!(OriginPattern::parse(pattern).unwrap().matches(origin), expected, "{pattern} {origin}");
    };

    check("https://app.example", "https://app.example", true);
    for other in
        ["http://app.example", "https://app.example:8443", "https://app.example.evil", "https://xapp.example", "https://APP.example", "null", ""]
    {
        check("https://app.example", other, false);
    }
    check("https://*.app.example", "https://a.app.example", true);
    for other in [
        "https://app.example",
        "https://.app.example",
        "https://a.b.app.example",
        "https://evil.com/.app.example",
        "https://evil.com#.app.example",
        "https://evil.com:80.app.example",
        "https://a.app.example:8443",
        "https://a.app.example.evil",
        "http://a.app.example",
        "https://aapp.example",
    ] {
        check("https://*.app.example", other, false);
    }
    check("http://*.app.example:8080", "http://x.app.example:8080", true);
    check("http://localhost:3000", "http://localhost:3000", true);
    check("http://[::1]:3000", "http://[::1]:3000", true);
    check("chrome-extension://abcdef", "chrome-extension://abcdef", true);
}

#[test]
fn a_text_that_no_browser_sends_is_refused() {
    let check = |text: &str, error: OriginError| assert_eq!(OriginPattern::parse(text), Err(error), "{text}");

    check("null", OriginError::Null);
    for text in [
        "app.example",
        "https://",
        "https://app.example/",
        "https://App.example",
        "HTTPS://app.example",
        "https://a b",
        "https://app.example:0",
        "https://app.example:99999",
        "https://u@app.example",
        "https://app..example",
        "https://[::0:1]",
    ] {
        check(text, OriginError::Form);
    }
    check("https://app.example:443", OriginError::DefaultPort);
    check("http://app.example:80", OriginError::DefaultPort);
    for text in ["https://*", "https://*.com", "https://a*.example.com", "https://*.*.example.com", "https://a.*.example.com", "https://*.10.0.0.1"] {
        check(text, OriginError::Wildcard);
    }
}
