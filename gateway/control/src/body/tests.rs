use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

use super::{DecodeError, decode_at, expect_json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    #[expect(dead_code, reason = "only the shape matters here")]
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "only the shape matters here")]
    inner: Vec<Inner>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[expect(dead_code, reason = "only the shape matters here")]
    count: u8,
}

fn check(body: &str, pointer: &str, dotted: &str, keyword: &str) {
    match decode_at::<Sample>(body.as_bytes()) {
        Err(DecodeError::Member(error)) => {
            assert_eq!((error.pointer().as_str(), error.dotted().as_str(), error.keyword), (pointer, dotted, keyword), "{body}");
        }
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_wrong_member_is_named_by_its_place() {
    check(r#"{"name": 5}"#, "/name", "name", "type");
    check(r"{}", "/name", "name", "required");
    check(r#"{"name": "a", "colour": 1}"#, "/colour", "colour", "unknown");
    check(r#"{"name": "a", "name": "b"}"#, "/name", "name", "duplicate");
    check(r#"{"name": "a", "inner": [{"count": 1}, {"count": 256}]}"#, "/inner/1/count", "inner[1].count", "type");
    check(r#"{"name": "a", "inner": [{}]}"#, "/inner/0/count", "inner[0].count", "required");
}

#[test]
fn a_refusal_never_repeats_the_value() {
    for body in [r#"{"name": "a", "inner": "hunter2"}"#, r#"{"name": "a", "inner": [{"count": "hunter2"}]}"#, r#""hunter2""#] {
        match decode_at::<Sample>(body.as_bytes()) {
            Err(DecodeError::Member(error)) => assert!(!error.message.contains("hunter2"), "{}", error.message),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_not_json_is_told_apart_from_json_of_another_shape() {
    for body in ["", "{", "nonsense", r#"{"name": "a"} trailing"#, "{\"name\": \"\u{1}\"}"] {
        assert!(matches!(decode_at::<Sample>(body.as_bytes()), Err(DecodeError::Syntax { .. })), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(decode_at::<serde_json::Value>(deep.as_bytes()), Err(DecodeError::Syntax { .. })));
}

#[test]
fn only_plain_json_in_utf_8_is_taken() {
    let with = |ty: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(ty))]);

    for ty in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""] {
        assert!(expect_json(&with(ty)).is_ok(), "{ty}");
    }
    for ty in ["text/plain", "application/jsonx", "application/json; charset=latin1", "application/x-www-form-urlencoded", ""] {
        assert!(expect_json(&with(ty)).is_err(), "{ty}");
    }
    let mut coded = with("application/json");
    coded.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert!(expect_json(&coded).is_err());
    assert!(expect_json(&HeaderMap::new()).is_err());
}
