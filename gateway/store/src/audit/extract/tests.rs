use audit::event::{Class, Decision, Event, Outcome, Personal, Phase};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Columns, Extract, Fields, TEXTS, text_column};

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(&mut out);
    out
}

fn is_scanned(event: &[u8]) -> bool {
    matches!(Extract::of(event), Extract::Scanned(_))
}

/// The scanner and the parser say the same, whoever of them reads.
fn check(event: &[u8]) {
    let extract = Extract::of(event);
    let fields = Fields::read(event);

    assert_eq!(extract.columns(), fields.columns(), "{}", String::from_utf8_lossy(event));
    assert_eq!(extract.at(), extract.columns().at);
}

/// Every column has a value of its own.
fn whole(id: Uuid) -> Event<'static> {
    Event {
        tenant: Some("t1"),
        consumer: Some("c1"),
        application: Some("a1"),
        key_id: Some("k1"),
        route: Some("r1"),
        method: Some("GET"),
        reason: Some("forbidden"),
        actor: Some("ada"),
        action: Some("key.create"),
        decision: Decision::Deny,
        outcome: Outcome::Denied,
        status: Some(403),
        path: Some("/päth"),
        personal: Personal { subject: Some("alice"), client_address: Some("192.0.2.7"), user_agent: Some("agent/1") },
        ..Event::new(Class::Admin, Phase::Intent, id, 1_700_000_000_000_001, "eu-west", "node-1", "req-1")
    }
}

#[test]
fn canonical_event_is_scanned_and_every_column_is_found() {
    let id = Uuid::from_u128(0x0192_f0c1_2b3d_7c4e_8f90_a1b2_c3d4_e5f6);
    let event = encoded(&whole(id));

    let Extract::Scanned(columns) = Extract::of(&event) else { panic!("it was not scanned") };

    assert_eq!(columns.at.map(|at| at.0), Some(1_700_000_000_000_001));
    assert_eq!((columns.event_id, columns.status), (Some(id), Some(403)));
    assert_eq!(columns.kind(), [Some("intent"), Some("admin")]);
    assert_eq!(columns.who(), [Some("t1"), Some("c1"), Some("a1"), Some("k1"), Some("r1"), Some("GET")]);
    let what = [Some("deny"), Some("denied"), Some("forbidden"), Some("req-1"), Some("eu-west"), Some("ada"), Some("key.create")];
    assert_eq!(columns.what(), what);
    check(&event);
}

#[test]
fn events_with_escapes_are_parsed_in_full() {
    let id = Uuid::from_u128(1);
    for text in ["a\"b", "a\\b", "a\u{1}b", "a\0b"] {
        let event = encoded(&Event { route: Some(text), ..whole(id) });

        assert!(!is_scanned(&event), "{text:?}");
        check(&event);
    }
}

#[test]
fn whatever_is_not_of_the_plain_form_is_left_to_the_parser() {
    let cases = [
        "",
        "{",
        "{}x",
        "[]",
        "null",
        r#"{"a":"x""#,
        r#"{"a":1,}"#,
        r#"{"b":1,"a":1}"#,
        r#"{"route":"x","route":"y"}"#,
        r#"{"route":1}"#,
        r#"{"route":null}"#,
        r#"{"route":{}}"#,
        r#"{"status":"200"}"#,
        r#"{"status":200.5}"#,
        r#"{"status":2e2}"#,
        r#"{"status":0200}"#,
        r#"{"status":-0}"#,
        r#"{"status":}"#,
        r#"{"status":-}"#,
        r#"{"time_us":99999999999999999}"#,
        r#"{"event_id":"no id"}"#,
        r#"{"event_id":7}"#,
        r#"{"a":{"b":{"c":{"d":1}}},"route":"x"}"#,
        r#"{"a":[1],"route":"x"}"#,
        r#"{"a":true,"route":"x"}"#,
        r#"{ "route":"x"}"#,
        "{\"route\":\"a\tb\"}",
    ];
    for case in cases {
        assert!(!is_scanned(case.as_bytes()), "{case}");
        check(case.as_bytes());
    }
    check(b"{\"route\":\"\xff\"}");
}

#[test]
fn what_the_plain_form_allows_beside_our_own_events_is_read_as_the_parser_reads_it() {
    for case in [
        "{}",
        r#"{"route":""}"#,
        r#"{"status":0}"#,
        r#"{"status":-7}"#,
        r#"{"status":70000}"#,
        r#"{"time_us":-1}"#,
        r#"{"time_us":0}"#,
        r#"{"time_us":9999999999999999}"#,
        r#"{"event_id":"0192f0c12b3d7c4e8f90a1b2c3d4e5f6"}"#,
        r#"{"personal":{"alg":"none","data":{}},"route":"x","x":-3}"#,
    ] {
        assert!(is_scanned(case.as_bytes()), "{case}");
        check(case.as_bytes());
    }
    let long = format!(r#"{{"route":"{}"}}"#, "é".repeat(400));
    check(long.as_bytes());
}

#[test]
fn bytes_that_are_no_event_give_no_columns() {
    assert_eq!(Extract::of(b"\xff\xfe").columns(), Columns::default());
}

proptest! {
    #[test]
    fn scanner_reads_what_the_parser_reads(
        route in proptest::option::of(".{0,40}"),
        agent in "\\PC{0,30}",
        path in "[ -~é]{0,30}",
        time_us in any::<i64>(),
        status in proptest::option::of(any::<u16>()),
        id in any::<u128>(),
    ) {
        let mut event = Event { route: route.as_deref(), path: Some(&path), time_us, status, ..whole(Uuid::from_u128(id)) };
        event.personal.user_agent = Some(&agent);

        check(&encoded(&event));
    }

    /// Bytes that were altered at a few places: nothing is read otherwise than the parser reads it.
    #[test]
    fn scanner_and_parser_agree_on_damaged_events(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        marks in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}\",:-0\\ \n".to_vec())), 0..3),
        until in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut event = encoded(&whole(Uuid::from_u128(7)));
        for (place, byte) in places.iter().chain(&marks) {
            let at = place.index(event.len());
            event[at] = *byte;
        }
        if is_cut {
            event.truncate(until.index(event.len()));
        }

        check(&event);
    }
}

#[test]
fn every_text_column_is_found_at_its_place() {
    for (index, name) in TEXTS.iter().enumerate() {
        assert_eq!(text_column(name), Some(index), "{name}");
    }
    assert_eq!(text_column("personal"), None);
}
