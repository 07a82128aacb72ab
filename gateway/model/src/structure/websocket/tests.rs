use super::*;
use crate::origin::OriginPattern;

fn check(pages: &Pages, cases: &[(&str, &str, bool)]) {
    for (origin, authority, allowed) in cases {
        assert_eq!(pages.allow(origin, authority), *allowed, "{origin} at {authority} under {pages:?}");
    }
}

#[test]
fn pages_of_the_host_itself_may_open_one_and_no_others() {
    check(
        &Pages::SameHost,
        &[
            ("https://api.example", "api.example", true),
            ("https://api.example", "API.example", true),
            ("https://api.example", "api.example:443", true),
            ("https://api.example:443", "api.example", true),
            ("https://api.example:8443", "api.example:8443", true),
            ("https://api.example:8443", "api.example", false),
            ("https://api.example", "api.example:8443", false),
            ("http://api.example", "api.example", false),
            ("https://evil.example", "api.example", false),
            ("https://api.example.evil", "api.example", false),
            ("https://evil.api.example", "api.example", false),
            ("null", "api.example", false),
            ("", "", false),
        ],
    );
}

#[test]
fn listed_origins_replace_the_host_itself() {
    let listed = Pages::Of(Origins::Listed([OriginPattern::parse("https://*.shop.example").unwrap()].into()));

    check(
        &listed,
        &[
            ("https://eu.shop.example", "api.example", true),
            ("https://api.example", "api.example", false),
            ("https://a.b.shop.example", "api.example", false),
            ("null", "api.example", false),
        ],
    );
    check(&Pages::Of(Origins::Any), &[("https://evil.example", "api.example", true), ("null", "api.example", true)]);
}
