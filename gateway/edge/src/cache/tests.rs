use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use model::time::UtcMicros;

use super::{
    policy::Freshness,
    purge::{Label, Origin},
    *,
};

const FRESH: Freshness = Freshness { age: 0, lifetime: 60, while_revalidate: 0, if_error: 0 };

fn key(target: &str) -> Key {
    Key { route: "r".into(), scope: 0, consumer: None, host: "h".into(), target: target.into() }
}

fn keep(cache: &Cache, target: &str, fields: &[(&'static str, &'static str)], asked: &HeaderMap, requested_at: u64, size: usize) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let body = Bytes::from(vec![b'x'; size]);
    let at = BootNanos(requested_at);
    let origin = Origin { requested_at: at, label: Label::of(cache.purges.position(), "t", "r", &[]) };
    cache.keep(key(target), Arc::new(Stored::new(StatusCode::OK, headers, &body, asked, FRESH, origin, (at, UtcMicros(0)))));
}

fn is_stored(cache: &Cache, target: &str, place: Place, asked: &HeaderMap) -> bool {
    matches!(cache.find(&key(target), place, asked), Found::Stored(_))
}

#[test]
fn memory_stays_within_its_bound_whatever_is_kept() {
    let cache = Cache::new(1 << 20);
    let none = HeaderMap::new();

    for n in 0..2_000 {
        keep(&cache, &format!("/{n}"), &[], &none, 1, 10_000);
        assert!(cache.reading().bytes <= 1 << 20, "{:?} after {n}", cache.reading());
    }
    keep(&cache, "/large", &[], &none, 1, 2 << 20);

    assert!(cache.reading().bytes > 1 << 18, "{:?}", cache.reading());
    assert!(!is_stored(&cache, "/large", Place(0), &none), "larger than all of it");
}

#[test]
fn variants_are_kept_side_by_side_up_to_a_bound() {
    let cache = Cache::new(1 << 20);
    let asked = |n: usize| HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, HeaderValue::from(n))]);

    for n in 0..20 {
        keep(&cache, "/a", &[("vary", "accept-language")], &asked(n), 1, 10);
        keep(&cache, "/a", &[("vary", "accept-language")], &asked(n), 1, 10);
    }

    let kept: Vec<usize> = (0..20).filter(|n| is_stored(&cache, "/a", Place(0), &asked(*n))).collect();
    assert_eq!(kept, (4..20).collect::<Vec<_>>());
    assert!(matches!(cache.find(&key("/a"), Place(0), &asked(99)), Found::OtherVariant));
}

/// RFC 9111 section 4.4, and the race that it does not speak of: a response that was asked for before the change and came after it.
#[test]
fn a_change_makes_everything_worthless_that_was_asked_for_before_it() {
    let cache = Cache::new(1 << 20);
    let none = HeaderMap::new();
    let (here, elsewhere) = (Place(7), Place(8));
    assert!(!is_stored(&cache, "/a", here, &none));
    keep(&cache, "/a", &[], &none, 100, 10);
    assert!(is_stored(&cache, "/a", here, &none));

    cache.changed(here, BootNanos(200));
    keep(&cache, "/a?late", &[], &none, 150, 10);
    keep(&cache, "/b", &[], &none, 150, 10);

    assert!(!is_stored(&cache, "/a", here, &none) && !is_stored(&cache, "/a?late", here, &none));
    assert!(is_stored(&cache, "/b", elsewhere, &none));
    keep(&cache, "/a", &[], &none, 201, 10);
    assert!(is_stored(&cache, "/a", here, &none));
    cache.changed(here, BootNanos(150));
    assert!(is_stored(&cache, "/a", here, &none), "an older change changes nothing");
}

#[test]
fn what_may_not_be_kept_is_not_waited_for_and_leaves_the_rest() {
    let cache = Cache::new(1 << 20);
    let none = HeaderMap::new();
    keep(&cache, "/a", &[], &none, 1, 10);

    cache.pass(key("/a"), None, BootNanos(0));

    assert!(cache.passes(&key("/a"), BootNanos(PASS_NANOS - 1)) && !cache.passes(&key("/a"), BootNanos(PASS_NANOS)));
    assert!(is_stored(&cache, "/a", Place(0), &none));
    keep(&cache, "/a", &[], &none, 1, 10);
    assert!(!cache.passes(&key("/a"), BootNanos(1)));

    let Found::Stored(old) = cache.find(&key("/a"), Place(0), &none) else { panic!("it is there") };
    cache.pass(key("/a"), Some(&old), BootNanos(0));
    assert!(!is_stored(&cache, "/a", Place(0), &none), "a newer response that may not be kept takes its place");
}
