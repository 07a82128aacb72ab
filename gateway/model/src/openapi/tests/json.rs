//! Bounded reading of JSON: the public parser suite, and each limit.

use std::fs;

use super::*;
use crate::openapi::json::read;

/// Cases that a JSON parser may read and that we refuse, because two readers could see two documents.
const REFUSED_BY_CHOICE: [&str; 2] = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];

#[test]
fn the_parser_suite_is_read_and_refused_as_it_says() {
    let Some(folder) = vectors("json-parsing") else { return println!("skipped: no vectors") };
    let limits = JsonLimits { number_bytes_max: 1_000, ..JsonLimits::default() };
    let mut n = (0, 0, 0);

    for file in fs::read_dir(folder).expect("the folder is readable").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let body = fs::read(file.path()).expect("the file is readable");
        let result = read(&body, limits);
        if REFUSED_BY_CHOICE.contains(&name.as_str()) {
            assert_eq!(result.expect_err(&name).keyword, "duplicate");
        } else if name.starts_with("y_") {
            let plain: Value = serde_json::from_slice(&body).expect(&name);
            assert_eq!(result.expect(&name).value, plain, "{name}");
            n.0 += 1;
        } else if name.starts_with("n_") {
            assert!(result.is_err(), "{name}");
            n.1 += 1;
        } else {
            // The answer is free, but there must be one.
            drop(result);
            n.2 += 1;
        }
    }

    println!("{} read, {} refused, {} either way", n.0, n.1, n.2);
    assert!(n.0 > 80 && n.1 > 180 && n.2 > 30, "{n:?}");
}

fn refusal(body: &str, limits: JsonLimits) -> String {
    match read(body.as_bytes(), limits) {
        Ok(body) => format!("read {} values", body.n_values),
        Err(error) => format!("{}: {}", line(&error), error.message),
    }
}

#[test]
fn every_limit_holds_at_its_value_and_refuses_one_more() {
    let limits = JsonLimits { depth_max: 3, keys_max: 2, string_bytes_max: 4, number_bytes_max: 5 };
    let check = |body: &str, expected: &str| assert_eq!(refusal(body, limits), expected, "{body}");

    check("[[[1]]]", "read 4 values");
    check("[[[[]]]]", "/0/0/0 depth: is nested deeper than 3 levels");
    check(r#"{"a":{"b":1}}"#, "read 3 values");
    check(r#"{"a":{"b":1},"c":2}"#, " keys: has more than 2 members in all");
    check(r#"{"a":[1,{"b":{"c":2}}]}"#, "/a/1/b depth: is nested deeper than 3 levels");
    check(r#"["abcd"]"#, "read 2 values");
    check(r#"["abc","abcde"]"#, "/1 string: the string is longer than 4 bytes");
    check("[\"\\u20ac\\u20ac\"]", "/0 string: the string is longer than 4 bytes");
    check(r#"{"abcde":1}"#, " string: a member name is longer than 4 bytes");
    check("[12345,-1e23]", "read 3 values");
    check("[1, 123456]", " number: has a number longer than 5 bytes at byte 4");
    check(r#"["\"123456"]"#, "/0 string: the string is longer than 4 bytes");
    check(&format!("[{}1]", "1,".repeat(30)), "read 32 values");
    check(&format!("[{}1]", "1,".repeat(32)), "/31 values: is one value more than the 32 allowed");
}

#[test]
fn a_member_given_twice_is_refused_with_its_place() {
    let check = |body: &str, expected: &str| assert_eq!(refusal(body, JsonLimits::default()), expected, "{body}");

    check(r#"{"a":1,"b":2}"#, "read 3 values");
    check(r#"{"a":1,"a":1}"#, "/a duplicate: is given more than once");
    check(r#"{"a":{"b":[0,{"c/d":1,"c\/d":2}]}}"#, "/a/b/1/c~1d duplicate: is given more than once");
    check(r#"{"":1,"":2}"#, "/ duplicate: is given more than once");
}

#[test]
fn broken_text_is_refused_with_its_position() {
    let check = |body: &[u8], expected: &str| {
        let error = read(body, JsonLimits::default()).expect_err("it is broken");
        assert_eq!(format!("{}: {}", line(&error), error.message), expected);
    };

    check(b"{\"a\":\n 1,}", " syntax: is not valid JSON at line 2, column 4");
    check(b"{\"a\": [1, 2", " syntax: ends too early at line 1, column 11");
    check(b"1 2", " syntax: is not valid JSON at line 1, column 3");
    check(b"", " syntax: ends too early at line 1, column 0");
    check(b"\"a\xff\"", " encoding: is not valid UTF-8 at byte 2");
    check(b"[1e999]", " syntax: is not valid JSON at line 1, column 6");
    check(b"\xef\xbb\xbf{}", " syntax: is not valid JSON at line 1, column 1");
}

#[test]
fn depth_is_refused_before_the_parser_recurses_further() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));

    assert_eq!(refusal(&nested(64), JsonLimits::default()), "read 64 values");
    assert!(refusal(&nested(65), JsonLimits::default()).contains("depth: is nested deeper than 64 levels"));
    assert!(refusal(&"[".repeat(1_000_000), JsonLimits::default()).contains("depth"));
    let loose = JsonLimits { depth_max: u16::MAX, ..JsonLimits::default() };
    assert_eq!(refusal(&nested(120), loose), "read 120 values");
    assert!(refusal(&nested(121), loose).contains("depth: is nested deeper than 120 levels"));
}

#[test]
fn a_refusal_repeats_only_the_beginning_of_a_member_name() {
    let long = "k".repeat(500);
    let error = read(format!(r#"{{"{long}":1,"{long}":2}}"#).as_bytes(), JsonLimits::default()).expect_err("twice");

    assert_eq!(error.place, Place::Pointer(format!("/{}…", "k".repeat(64))));
}
