use super::{super::purge::Position, *};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn stored(fields: &[(&'static str, &'static str)], asked: &[(&'static str, &'static str)]) -> Stored {
    let freshness = Freshness { age: 5, lifetime: 60, while_revalidate: 10, if_error: 100 };
    let now = (BootNanos(1_000_000_000), UtcMicros(1_445_412_480_000_000));
    let origin = Origin { requested_at: BootNanos(0), label: Label::of(Position::default(), "t", "r", &[]) };
    Stored::new(StatusCode::OK, headers(fields), &Bytes::from_static(b"body"), &headers(asked), freshness, origin, now)
}

fn after(seconds: u64) -> BootNanos {
    BootNanos(1_000_000_000 + seconds * 1_000_000_000)
}

#[test]
fn age_and_windows_follow_the_clock() {
    let stored = stored(&[], &[]);

    assert_eq!((stored.age(after(0)), stored.ttl(after(0))), (5, 55));
    assert_eq!((stored.age(after(55)), stored.ttl(after(55))), (60, 0));
    assert!(stored.may_be_stale_while_revalidated(after(64)) && !stored.may_be_stale_while_revalidated(after(65)));
    assert!(stored.may_be_stale_on_error(after(154)) && !stored.may_be_stale_on_error(after(155)));
    assert_eq!(stored.response(&HeaderMap::new(), after(7)).headers()["age"], "12");
}

#[test]
fn a_response_is_for_requests_with_the_same_fields_that_it_varies_by() {
    let by_language = stored(&[("vary", "Accept-Language, x-absent")], &[("accept-language", "de")]);

    assert!(by_language.is_for(&headers(&[("accept-language", "de"), ("accept", "x")])));
    for asked in [
        &[("accept-language", "en")][..],
        &[],
        &[("accept-language", "de"), ("x-absent", "1")],
        &[("accept-language", "de"), ("accept-language", "en")],
    ] {
        assert!(!by_language.is_for(&headers(asked)), "{asked:?}");
    }
}

/// RFC 9110 section 13.2.2.
#[test]
fn a_client_that_has_the_response_gets_304() {
    let kept = stored(&[("etag", "W/\"v1\""), ("last-modified", "Wed, 21 Oct 2015 07:00:00 GMT"), ("content-type", "text/plain")], &[]);
    let check = |asked: &[(&'static str, &'static str)], status: u16| {
        let response = kept.response(&headers(asked), after(0));
        assert_eq!(response.status(), status, "{asked:?}");
        assert_eq!(response.body().is_empty(), status == 304);
        assert_eq!(response.headers().contains_key("content-type"), status == 200);
        assert_eq!(response.headers()["etag"], "W/\"v1\"");
    };

    check(&[], 200);
    check(&[("if-none-match", "\"v1\"")], 304);
    check(&[("if-none-match", "\"v0\", W/\"v1\"")], 304);
    check(&[("if-none-match", "*")], 304);
    check(&[("if-none-match", "\"v2\"")], 200);
    check(&[("if-none-match", "\"v2\""), ("if-modified-since", "Wed, 21 Oct 2015 08:00:00 GMT")], 200);
    check(&[("if-modified-since", "Wed, 21 Oct 2015 07:00:00 GMT")], 304);
    check(&[("if-modified-since", "Wed, 21 Oct 2015 06:59:59 GMT")], 200);
    check(&[("if-modified-since", "yesterday")], 200);
}

/// RFC 9111 section 3.2.
#[test]
fn a_confirmation_updates_fields_and_keeps_what_describes_the_body() {
    let kept = stored(&[("etag", "\"v1\""), ("content-type", "text/plain"), ("x-old", "1"), ("cache-control", "max-age=1")], &[]);

    let updated = kept.confirmed(&headers(&[("cache-control", "max-age=9"), ("content-type", "text/html"), ("content-length", "0"), ("x-new", "2")]));

    assert_eq!(
        (&updated["cache-control"], &updated["content-type"]),
        (&HeaderValue::from_static("max-age=9"), &HeaderValue::from_static("text/plain"))
    );
    assert_eq!(
        (&updated["content-length"], &updated["x-old"], &updated["x-new"]),
        (&HeaderValue::from(4), &HeaderValue::from(1), &HeaderValue::from(2))
    );
}
