use model::time::UtcMicros;

use super::{filter, moment, status_range};
use crate::query::Query;

#[test]
fn statuses_are_asked_for_one_by_one_by_class_and_by_range() {
    let check = |text: &str, range: Option<(u16, u16)>| assert_eq!(status_range(text), range, "{text}");

    check("403", Some((403, 403)));
    check("4xx", Some((400, 499)));
    check(">=400", Some((400, 599)));
    check(">400", Some((401, 599)));
    check("<500", Some((100, 499)));
    check("<=499", Some((100, 499)));
    check("400-404", Some((400, 404)));
    for wrong in ["", "99", "600", "6xx", "0xx", "xx", ">=", "-", "4x", "400-", "-400", ">=65536", "four"] {
        check(wrong, None);
    }
}

#[test]
fn a_moment_is_a_time_or_how_long_ago() {
    let now = UtcMicros(1_700_000_000_000_000);

    assert_eq!(moment("15m", now), Some(UtcMicros(now.0 - 900_000_000)));
    assert_eq!(moment("2023-11-14T22:13:20Z", now), Some(now));
    assert_eq!(moment("2023-11-14T23:13:20+01:00", now), Some(now));
    assert_eq!(moment("yesterday", now), None);
    assert_eq!(moment("2023-11-14", now), None);
}

#[test]
fn an_unknown_or_wrong_qualifier_is_refused_and_never_ignored() {
    for wrong in ["color=red", "decision=maybe", "class=x", "phase=x", "status=x", "since=x", "key=a&key=b", "limit=0", "limit=201"] {
        let mut query = Query::of(&format!("/v1/audit/events?{wrong}").parse().unwrap());
        query.limit();
        drop(filter(&mut query, UtcMicros(0)));
        assert!(query.finish().is_err(), "{wrong}");
    }
}
