use proptest::prelude::*;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Class, Decision, EVENT_BYTES_MAX, Event, Outcome, Personal, Phase};

const ID: Uuid = Uuid::from_u128(0x0192_f0c1_2b3d_7c4e_8f90_a1b2_c3d4_e5f6);

fn bare() -> Event<'static> {
    Event::new(Class::Access, Phase::Outcome, ID, 1_700_000_000_000_001, "eu-west", "node-1", "req-1")
}

/// Every text is `text`, every number `number`.
fn full(text: &str, number: u64) -> Event<'_> {
    let small = u16::try_from(number.min(65_535)).ok();
    let (text, number) = (Some(text), Some(number));
    Event {
        tenant: text,
        consumer: text,
        application: text,
        principal_kind: text,
        key_id: text,
        auth_method: text,
        scheme: text,
        route: text,
        api_operation: text,
        upstream: text,
        target_region: text,
        upstream_address: text,
        method: text,
        host: text,
        path: text,
        issuer: text,
        certificate: text,
        reason: text,
        traceparent: text,
        tls_version: text,
        tls_cipher: text,
        tls_group: text,
        sni: text,
        protocol: text,
        limiter: text,
        consistency: text,
        actor: text,
        action: text,
        object: text,
        epoch: number,
        authority_revision: number,
        structural_revision: number,
        request_bytes: number,
        response_bytes: number,
        duration_us: number,
        upstream_us: number,
        count: number,
        status: small,
        upstream_status: small,
        personal: Personal { subject: text, client_address: text, user_agent: text },
        region: text.unwrap_or_default(),
        node: text.unwrap_or_default(),
        request_id: text.unwrap_or_default(),
        decision: Decision::Deny,
        outcome: Outcome::Aborted,
        severity: 255,
        ..Event::new(Class::Admin, Phase::Outcome, ID, i64::MIN, "", "", "")
    }
}

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(&mut out);
    out
}

fn parsed(event: &Event<'_>) -> Map<String, Value> {
    serde_json::from_slice(&encoded(event)).expect("the canonical form is JSON")
}

fn path_as_written(path: &str) -> String {
    let mut event = bare();
    event.path = Some(path);
    let text = String::from_utf8(encoded(&event)).expect("UTF-8");
    let (_, rest) = text.split_once("\"path\":\"").expect("a path");
    let (path, _) = rest.split_once("\",\"personal\"").expect("personal follows");
    path.to_owned()
}

#[test]
fn canonical_form_of_a_bare_event_is_exactly_this() {
    let expected = concat!(
        r#"{"class":"access","decision":"allow","event_id":"0192f0c1-2b3d-7c4e-8f90-a1b2c3d4e5f6","#,
        r#""node":"node-1","outcome":"ok","personal":{"alg":"none","data":{}},"phase":"outcome","region":"eu-west","#,
        r#""request_id":"req-1","severity":1,"time_us":1700000000000001,"v":1}"#,
    );

    assert_eq!(String::from_utf8(encoded(&bare())).expect("UTF-8"), expected);
}

#[test]
fn keys_stand_in_code_point_order_at_every_level() {
    fn check(map: &Map<String, Value>) {
        // `preserve_order` keeps the order of the text.
        let keys: Vec<&String> = map.keys().collect();
        assert!(keys.is_sorted_by(|left, right| left < right), "{keys:?}");
        map.values().filter_map(Value::as_object).for_each(check);
    }

    let map = parsed(&full("x", 7));

    assert_eq!(map.len(), 51, "a field is missing from the form or from this test: {:?}", map.keys());
    check(&map);
}

#[test]
fn every_field_survives_a_round_trip() {
    let map = parsed(&full("x", 7));

    for (key, value) in &map {
        let expected = match key.as_str() {
            "class" => "admin".into(),
            "decision" => "deny".into(),
            "outcome" => "aborted".into(),
            "phase" => "outcome".into(),
            "event_id" => ID.to_string().into(),
            "severity" => 255.into(),
            "time_us" => (-9_007_199_254_740_991_i64).into(),
            "v" => 1.into(),
            "personal" => serde_json::json!({"alg": "none", "data": {"client_address": "x", "subject": "x", "user_agent": "x"}}),
            _ if value.is_number() => 7.into(),
            _ => Value::from("x"),
        };
        assert_eq!(*value, expected, "{key}");
    }
}

#[test]
fn control_characters_and_quotes_are_escaped_as_rfc_8785_says() {
    assert_eq!(path_as_written("\u{8}\t\n\u{c}\r\"\\"), r#"\b\t\n\f\r\"\\"#);
    assert_eq!(path_as_written("\0\u{1}\u{b}\u{e}\u{1f}"), r"\u0000\u0001\u000b\u000e\u001f");
    assert_eq!(path_as_written("/\u{7f}\u{80}\u{2028}é€😀"), "/\u{7f}\u{80}\u{2028}é€😀");
}

#[test]
fn integers_stay_below_two_to_the_53() {
    let map = parsed(&full("x", u64::MAX));

    assert_eq!(map["request_bytes"], 9_007_199_254_740_991_u64);
    assert_eq!(map["status"], 65_535);
}

#[test]
fn worst_case_fits_the_space_that_was_reserved() {
    for text in ["a", "\"", "\u{1}", "é", "€", "😀"] {
        let bytes = encoded(&full(&text.repeat(5_000), u64::MAX));

        assert!(bytes.len() <= EVENT_BYTES_MAX, "{text:?}: {} bytes", bytes.len());
        serde_json::from_slice::<Value>(&bytes).expect("cut texts are whole JSON strings");
    }
}

#[test]
fn overlong_text_is_cut_at_a_character_boundary_and_says_so() {
    assert_eq!(path_as_written(&"a".repeat(548)), "a".repeat(548));
    assert_eq!(path_as_written(&"a".repeat(549)), format!("{}…", "a".repeat(545)));
    assert_eq!(path_as_written(&"é".repeat(400)), format!("{}…", "é".repeat(272)));
    assert_eq!(path_as_written(&"\u{1}".repeat(400)), format!("{}…", r"\u0001".repeat(90)));
}

proptest! {
    /// Equal bytes mean equal fields: whoever commits to the bytes commits to the facts.
    #[test]
    fn canonical_bytes_are_injective(path in ".{0,100}", agent in "\\PC{0,30}", host in proptest::option::of(".{0,20}")) {
        let mut event = bare();
        event.path = Some(&path);
        event.host = host.as_deref();
        event.personal.user_agent = Some(&agent);

        let map = parsed(&event);

        prop_assert_eq!(map["path"].as_str(), Some(path.as_str()));
        prop_assert_eq!(map.get("host").and_then(Value::as_str), host.as_deref());
        prop_assert_eq!(map["personal"]["data"]["user_agent"].as_str(), Some(agent.as_str()));
    }
}
