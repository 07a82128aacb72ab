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

/// What is kept for a consumer with labels may have come from where another one's data may not lie, and the other way round.
#[test]
fn responses_of_consumers_with_other_labels_are_kept_apart_even_where_they_are_shared() {
    let told = |asked: Option<&[&str]>, path: &str| {
        let snapshot = crate::fixture::labeled(asked, "");
        crate::fixture::admitted(&snapshot, &crate::fixture::edge(snapshot.clone()), path, |admitted| {
            let permit = admitted.permit();
            let may_keep = ["eu-west", "us-east"].map(|region| permit.may_keep_in(region));
            ([true, false].map(|is_shared| owner(permit, is_shared)), may_keep)
        })
    };
    let lists: [Option<&[&str]>; 5] = [None, Some(&["eu"]), Some(&["us"]), Some(&["eu", "us"]), Some(&["mars"])];
    let kept: Vec<_> = lists.into_iter().map(|asked| told(asked, "/key")).collect();

    assert_eq!(kept.iter().map(|(_, may_keep)| *may_keep).collect::<Vec<_>>(), [[true; 2], [true, false], [false, true], [true; 2], [false; 2]]);
    for is_shared in [0, 1] {
        let owners: std::collections::HashSet<_> = kept.iter().map(|(owners, _)| owners[is_shared]).collect();
        assert_eq!(owners.len(), lists.len(), "no two lists of labels have one owner");
    }
    assert_eq!(kept[0].0, [None, Some(Uuid::nil())], "without labels it is as it was");
    assert_eq!(told(Some(&["us", "eu"]), "/key").0, kept[3].0, "the order says nothing");
    assert_eq!(told(Some(&["eu"]), "/open"), ([None; 2], [true; 2]), "nobody has asked who calls");
}
