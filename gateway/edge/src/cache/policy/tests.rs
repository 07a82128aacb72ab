use super::*;

/// Wed, 21 Oct 2015 07:28:00 GMT.
const NOW: UtcMicros = UtcMicros(1_445_412_480_000_000);
const DATE: (&str, &str) = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn judge(status: u16, fields: &[(&'static str, &'static str)], grants: Grants) -> Option<Freshness> {
    let mut all = vec![DATE];
    all.extend_from_slice(fields);
    freshness(StatusCode::from_u16(status).unwrap(), &headers(&all), grants, NOW, 0)
}

#[test]
fn directives_are_read_strictly() {
    let check = |text: &'static str, expected: Directives| assert_eq!(Directives::read(&headers(&[("cache-control", text)])), expected, "{text}");
    let none = Directives::default();

    check("", none);
    check("Max-Age=60 , PUBLIC", Directives { max_age: Some(60), public: true, ..none });
    check("max-age=\"60\"", Directives { max_age: Some(60), ..none });
    check("max-age=60, max-age=5", Directives { max_age: Some(5), ..none });
    check("max-age", Directives { max_age: Some(0), ..none });
    check("max-age=-1", Directives { max_age: Some(0), ..none });
    check("max-age=1.5", Directives { max_age: Some(0), ..none });
    check("max-age=99999999999999999999999", Directives { max_age: Some(1 << 31), ..none });
    check("private=\"set-cookie, max-age=1\", x=\"no-store\"", Directives { private: true, ..none });
    check(
        "s-maxage=1, stale-while-revalidate=2, stale-if-error=3, must-revalidate",
        Directives { s_maxage: Some(1), stale_while_revalidate: Some(2), stale_if_error: Some(3), must_revalidate: true, ..none },
    );
}

#[test]
fn only_what_says_that_it_may_is_kept() {
    let lifetime = |status: u16, fields: &[(&'static str, &'static str)]| judge(status, fields, Grants::default()).map(|fresh| fresh.lifetime);
    let control = |text: &'static str| ("cache-control", text);

    assert_eq!(lifetime(200, &[control("max-age=60")]), Some(60));
    assert_eq!(lifetime(404, &[control("max-age=60")]), Some(60));
    assert_eq!(lifetime(200, &[control("max-age=60, s-maxage=10")]), Some(10));
    assert_eq!(lifetime(200, &[("expires", "Wed, 21 Oct 2015 07:29:00 GMT")]), Some(60));
    assert_eq!(lifetime(200, &[("expires", "Wed, 21 Oct 2015 07:29:00 GMT"), control("max-age=5")]), Some(5));
    assert_eq!(lifetime(200, &[control("no-cache"), ("etag", "\"a\"")]), Some(0));

    assert_eq!(lifetime(200, &[]), None, "no guess without explicit freshness");
    assert_eq!(lifetime(200, &[("etag", "\"a\"")]), None);
    assert_eq!(lifetime(200, &[("expires", "0")]), None);
    assert_eq!(lifetime(200, &[control("max-age=0")]), None, "nothing to confirm it with");
    for text in ["no-store, max-age=60", "private, max-age=60", "private=\"x\", max-age=60"] {
        assert_eq!(lifetime(200, &[control(text)]), None, "{text}");
    }
    for field in [("set-cookie", "a=b"), ("vary", "*"), ("vary", "accept, *"), ("vary", "a b")] {
        assert_eq!(lifetime(200, &[control("max-age=60"), field]), None, "{field:?}");
    }
    for status in [201, 204, 206, 304, 400, 401, 403, 500, 503] {
        assert_eq!(lifetime(status, &[control("max-age=60")]), None, "{status}");
    }
}

/// RFC 9111 section 3.5.
#[test]
fn the_response_to_a_credential_is_kept_only_when_it_says_so() {
    let keeps = |text: &'static str| judge(200, &[("cache-control", text)], Grants { is_authenticated: true, ..Grants::default() }).is_some();

    assert!(!keeps("max-age=60"));
    for text in ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"] {
        assert!(keeps(text), "{text}");
    }
    assert!(!keeps("private, public, max-age=60"));
}

#[test]
fn what_took_long_on_its_way_is_old_already() {
    let age = |fields: &[(&'static str, &'static str)], delay| {
        let mut all = headers(fields);
        all.insert("cache-control", HeaderValue::from_static("max-age=600"));
        freshness(StatusCode::OK, &all, Grants::default(), NOW, delay).map(|fresh| fresh.age)
    };

    assert_eq!(age(&[DATE], 0), Some(0));
    assert_eq!(age(&[("date", "Wed, 21 Oct 2015 07:27:00 GMT")], 0), Some(60));
    assert_eq!(age(&[DATE, ("age", "100")], 5), Some(105));
    assert_eq!(age(&[("date", "Wed, 21 Oct 2015 07:29:00 GMT")], 0), Some(0), "a clock that is ahead");
    assert_eq!(age(&[], 7), Some(7));
    assert_eq!(age(&[DATE, ("age", "600")], 0), None, "stale when it came");
}

#[test]
fn stale_windows_obey_the_response_before_the_route() {
    let route = Grants { while_revalidate: 30, if_error: 300, is_authenticated: false };
    let windows =
        |text: &'static str| judge(200, &[("cache-control", text), ("etag", "\"a\"")], route).map(|fresh| (fresh.while_revalidate, fresh.if_error));

    assert_eq!(windows("max-age=60"), Some((30, 300)));
    assert_eq!(windows("max-age=60, stale-while-revalidate=5, stale-if-error=0"), Some((5, 0)));
    assert_eq!(windows("s-maxage=60"), Some((0, 0)));
    assert_eq!(windows("s-maxage=60, stale-if-error=9"), Some((0, 9)));
    for text in ["max-age=60, must-revalidate, stale-if-error=9", "max-age=60, proxy-revalidate, stale-if-error=9", "no-cache, stale-if-error=9"] {
        assert_eq!(windows(text), Some((0, 0)), "{text}");
    }
}
