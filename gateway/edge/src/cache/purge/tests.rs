use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use model::time::UtcMicros;

use super::{
    super::{Found, Place, Stored, policy::Freshness},
    *,
};

const FRESH: Freshness = Freshness { age: 0, lifetime: 60, while_revalidate: 0, if_error: 0 };

fn tags(texts: &[&str]) -> Vec<Tag> {
    texts.iter().map(|text| Tag::parse(text).unwrap()).collect()
}

fn purge(tenant: &str, route: &str, texts: &[&str]) -> Purge {
    let named = |name: &str| (!name.is_empty()).then(|| name.into());
    Purge { tenant: named(tenant), route: named(route), tags: tags(texts) }
}

fn key(target: &str) -> Key {
    Key { route: "r".into(), scope: 0, consumer: None, host: "h".into(), target: target.into() }
}

/// What a request stores that was sent when `since` was taken.
fn keep(cache: &Cache, since: Position, target: &str, variant: u16, texts: &[&str]) {
    let headers = HeaderMap::from_iter([(http::header::VARY, HeaderValue::from_static("x-variant"))]);
    let origin = Origin { requested_at: BootNanos(1), label: Label::of(since, "t", "r", &tags(texts)) };
    let body = Bytes::from_static(b"body");
    let stored = Stored::new(StatusCode::OK, headers, &body, &asked(variant), FRESH, origin, (BootNanos(1), UtcMicros(0)));
    cache.keep(key(target), Arc::new(stored));
}

fn asked(variant: u16) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-variant"), HeaderValue::from(variant))])
}

fn is_there(cache: &Cache, target: &str, variant: u16) -> bool {
    matches!(cache.find(&key(target), Place(0), &asked(variant)), Found::Stored(_))
}

#[test]
fn a_purge_names_what_all_of_its_members_name_and_nothing_else() {
    for (named, expected) in [
        (purge("", "", &["a"]), true),
        (purge("", "", &["x", "b"]), true),
        (purge("t", "", &[]), true),
        (purge("", "r", &[]), true),
        (purge("t", "r", &[]), true),
        (purge("t", "", &["a"]), true),
        (purge("", "r", &["a"]), true),
        (purge("t", "r", &["a", "x"]), true),
        (Purge::default(), true),
        (purge("", "", &["A"]), false),
        (purge("", "", &["x"]), false),
        (purge("u", "", &["a"]), false),
        (purge("", "s", &["a"]), false),
        (purge("t", "s", &["a"]), false),
        (purge("u", "r", &[]), false),
        (purge("r", "", &[]), false),
        (purge("", "a", &[]), false),
        (purge("t", "r", &["x"]), false),
    ] {
        let cache = Cache::new(1 << 20);
        keep(&cache, cache.purges.position(), "/", 1, &["a", "b"]);
        assert!(is_there(&cache, "/", 1));

        cache.purge(std::slice::from_ref(&named));

        assert_eq!(is_there(&cache, "/", 1), !expected, "{named}");
        keep(&cache, cache.purges.position(), "/", 1, &["a", "b"]);
        assert!(is_there(&cache, "/", 1), "{named}: what was asked for after it is another response");
    }
}

/// The race that matters: a response that was on its way when the purge came, and was kept after it.
#[test]
fn what_was_asked_for_before_a_purge_is_never_given_after_it_whenever_it_comes() {
    let cache = Cache::new(1 << 20);
    let before = cache.purges.position();
    assert!(!is_there(&cache, "/late", 1));

    cache.purge(&[purge("", "", &["a"])]);
    keep(&cache, before, "/late", 1, &["a"]);
    keep(&cache, before, "/other", 1, &["b"]);

    assert!(!is_there(&cache, "/late", 1));
    assert!(is_there(&cache, "/other", 1));
    for n in 0..100 {
        cache.purge(&[purge("", "", &[&format!("n{n}")])]);
    }
    assert!(!is_there(&cache, "/late", 1), "later purges of other things do not bring it back");
    assert!(is_there(&cache, "/other", 1));
    cache.purge(&[purge("", "", &["b"])]);
    assert!(!is_there(&cache, "/other", 1), "having been looked at under an earlier purge is no protection");
}

#[test]
fn a_purge_before_anything_is_stored_holds_for_what_is_on_its_way() {
    let cache = Cache::new(1 << 20);
    let before = cache.purges.position();

    cache.forget();
    keep(&cache, before, "/a", 1, &[]);

    assert!(!is_there(&cache, "/a", 1));
    assert_eq!((cache.reading().purges, cache.purges.position()), (0, Position(1)), "forgetting is nobody's purge");
}

#[test]
fn a_confirmed_response_is_named_by_what_named_it_before() {
    let purges = Purges::default();
    let before = Label::of(purges.position(), "t", "r", &tags(&["old"]));
    let confirmed = Label::of(purges.position(), "t", "r", &tags(&["new"])).and(&before).unwrap();
    let unlike = Label::of(purges.position(), "t", "r", &tags(&["other"]));

    purges.apply(&[purge("", "", &["old"])]);

    assert!(purges.names(&confirmed) && !purges.names(&unlike));
    let most: Vec<String> = (0..TAGS_MAX).map(|n| format!("n{n}")).collect();
    let most = Label::of(purges.position(), "t", "r", &tags(&most.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(most.places.len() > PLACES_MAX - 8, "{}", most.places.len());
    assert!(Label::of(purges.position(), "t", "r", &tags(&["x", "y", "z"])).and(&most).is_none(), "its tags would grow without end");
}

#[test]
fn what_is_purged_is_cleared_from_memory_and_counted_and_the_rest_stays() {
    let cache = Cache::new(1 << 20);
    let since = cache.purges.position();
    for n in 0..100 {
        keep(&cache, since, &format!("/{n}"), 1, &[if n % 2 == 0 { "even" } else { "odd" }]);
    }
    keep(&cache, since, "/mixed", 1, &["even"]);
    keep(&cache, since, "/mixed", 2, &["odd"]);
    let before = cache.reading().bytes;
    assert!(!cache.is_clearing_due());

    cache.purge(&[purge("", "", &["even"]), purge("", "", &["nothing"])]);
    assert!(cache.is_clearing_due() && cache.reading().bytes == before);
    cache.clear_purged();

    let after = cache.reading();
    assert!(!cache.is_clearing_due() && after.bytes < before * 6 / 10, "{} of {before}", after.bytes);
    assert_eq!((after.purges, after.purged), (2, 51));
    assert!(is_there(&cache, "/1", 1) && is_there(&cache, "/mixed", 2) && !is_there(&cache, "/mixed", 1));
    cache.clear_purged();
    assert_eq!(cache.reading().purged, 51, "each is counted once");
    cache.purge(&[purge("", "", &["odd"])]);
    keep(&cache, cache.purges.position(), "/1", 1, &["odd"]);
    assert_eq!(cache.reading().purged, 52, "what is replaced before it is cleared was dropped too");
}

#[test]
fn tags_are_read_as_a_list_taken_off_and_refused_whole() {
    let take = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_TAG, HeaderValue::from_bytes(value).unwrap());
        }
        let taken = take_tags(&mut headers);
        assert!(headers.is_empty(), "clients do not get it, good or bad");
        taken
    };
    let many = |n: usize| (0..n).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");

    assert_eq!(take(&[]), Some(Vec::new()));
    assert_eq!(take(&[b"a, b:1 ,\t,c", b"a"]), Some(tags(&["a", "b:1", "c", "a"])));
    assert_eq!(take(&[b""]), Some(Vec::new()));
    assert_eq!(take(&[many(TAGS_MAX).as_bytes()]).map(|tags| tags.len()), Some(TAGS_MAX));
    let long = "x".repeat(129);
    for refused in [&b"a b"[..], b"a, \xff", b"a\tb", "ä".as_bytes(), long.as_bytes(), many(TAGS_MAX + 1).as_bytes()] {
        assert_eq!(take(&[b"good", refused]), None, "{:?}", String::from_utf8_lossy(refused));
    }
    assert_eq!(take(&[many(TAGS_MAX).as_bytes(), b"one-more"]), None, "the limit is the response's, not the field's");
}

/// Whatever order the threads run in: a response that was asked for before a purge is not given once the purge is in force.
#[test]
fn a_thread_that_stores_and_one_that_purges_agree_on_the_order() {
    let cache = Arc::new(Cache::new(1 << 20));
    let purger = {
        let cache = Arc::clone(&cache);
        std::thread::spawn(move || {
            for _ in 0..20_000 {
                cache.purge(&[purge("", "", &["a"])]);
            }
        })
    };
    let mut n_given = 0_u32;
    while !purger.is_finished() {
        let since = cache.purges.position();
        keep(&cache, since, "/a", 1, &["a"]);
        let in_force = cache.purges.position();
        if let Found::Stored(stored) = cache.find(&key("/a"), Place(0), &asked(1)) {
            n_given += 1;
            assert!(stored.label().since >= in_force, "{since:?} {in_force:?}");
        }
    }
    purger.join().unwrap();

    keep(&cache, cache.purges.position(), "/a", 1, &["a"]);
    assert!(is_there(&cache, "/a", 1), "{n_given}");
}
