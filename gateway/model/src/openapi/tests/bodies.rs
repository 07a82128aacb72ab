//! Request bodies: schemas of both versions, media types, and what the client is told.

use super::*;

fn check(api: &Api, cases: &[(&str, &str)]) {
    for (body, expected) in cases {
        let errors = check_body(api, body);
        let found = if errors.is_empty() { "-".to_owned() } else { lines(&errors).join(", ") };
        assert_eq!(found, *expected, "{body}");
    }
}

#[test]
fn a_body_is_checked_by_its_schema_and_errors_name_the_place() {
    let api = compile(&body_document(
        "3.1.0",
        &json!({
            "type": "object",
            "required": ["name", "quantity"],
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 5 },
                "quantity": { "type": "integer", "minimum": 1, "format": "int32" },
                "price": { "type": ["number", "null"], "exclusiveMinimum": 0, "multipleOf": 0.5 },
                "tags": { "type": "array", "items": { "enum": ["a", "b"] }, "maxItems": 20, "uniqueItems": true },
                "due": { "type": "string", "format": "date-time" },
                "ref": { "type": "string", "pattern": "^[a-z]+$" },
                "a/b": { "const": 1 },
            },
            "additionalProperties": false,
        }),
        &json!({}),
    ));

    check(
        &api,
        &[
            (r#"{"name":"x","quantity":1}"#, "-"),
            (r#"{"name":"x","quantity":1,"price":null,"tags":["a"],"due":"2026-01-01T00:00:00Z","ref":"abc","a/b":1}"#, "-"),
            ("{}", "/name required, /quantity required"),
            ("[]", " type"),
            (r#"{"name":"","quantity":0}"#, "/name minLength, /quantity minimum"),
            (r#"{"name":"äöüßé","quantity":2147483648}"#, "/quantity format"),
            (r#"{"name":"x","quantity":1.5}"#, "/quantity type, /quantity format"),
            (r#"{"name":"x","quantity":1.0}"#, "-"),
            (r#"{"name":"x","quantity":"1"}"#, "/quantity type"),
            (r#"{"name":"x","quantity":1,"price":0}"#, "/price exclusiveMinimum"),
            (r#"{"name":"x","quantity":1,"price":0.7}"#, "/price multipleOf"),
            (r#"{"name":"x","quantity":1,"tags":["a","a"]}"#, "/tags uniqueItems"),
            (r#"{"name":"x","quantity":1,"tags":["a","b","c"]}"#, "/tags/2 enum"),
            (r#"{"name":"x","quantity":1,"due":"tomorrow"}"#, "/due format"),
            (r#"{"name":"x","quantity":1,"ref":"A"}"#, "/ref pattern"),
            (r#"{"name":"x","quantity":1,"a/b":2}"#, "/a~1b const"),
            (r#"{"name":"x","quantity":1,"other":1,"x~y":2}"#, "/other additionalProperties, /x~0y additionalProperties"),
            (r#"{"name":"x","quantity":1"#, " syntax"),
            (r#"{"name":"x","quantity":1,"quantity":1}"#, "/quantity duplicate"),
            ("", " required"),
            (" ", " syntax"),
        ],
    );
}

#[test]
fn messages_say_what_is_allowed_and_never_what_was_sent() {
    let api = compile(&body_document(
        "3.1.0",
        &json!({ "properties": {
            "a": { "type": ["integer", "null"] }, "b": { "maximum": 3 }, "c": { "enum": ["x", 1] },
            "d": { "minItems": 1 }, "e": { "format": "email" }, "f": { "oneOf": [{ "type": "string" }, { "minLength": 1 }] },
            "g": { "not": {} }, "h": false, "i": { "pattern": "^a$" }, "j": { "type": "integer", "format": "int64" },
            "k": { "maxProperties": 1 }, "l": { "propertyNames": { "maxLength": 1 } }, "m": { "contains": { "const": 1 } },
        } }),
        &json!({}),
    ));
    let secret = r#"{"a":"secret","b":4,"c":"secret","d":[],"e":"secret","f":"secret","g":"secret","h":"secret",
        "i":"secret","j":1e30,"k":{"s":1,"t":2},"l":{"secret":1},"m":["secret"]}"#;

    let errors = check_body(&api, secret);

    let told: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "must be of type integer or null",
            "must be at most 3",
            "must be one of \"x\", 1",
            "must have at least 1 item",
            "must be a valid email",
            "matches more than one of the allowed forms",
            "has a form that is not allowed",
            "is not allowed",
            "must match the pattern ^a$",
            "must be a 64-bit integer",
            "must have at most 1 property",
            "has a property name that is not allowed",
            "does not contain the required items",
        ]
    );
    let json = serde_json::to_value(&errors[1]).expect("an error can be written");
    assert_eq!(json, json!({ "pointer": "/b", "keyword": "maximum", "message": "must be at most 3" }));
}

#[test]
fn errors_come_in_the_order_of_their_places_and_stop_at_twenty() {
    let schema = json!({ "items": { "type": "integer" } });
    let api = compile(&body_document("3.1.0", &schema, &json!({})));
    let body = format!("[{}]", vec!["true"; 30].join(","));

    let errors = check_body(&api, &body);

    let expected: Vec<String> = (0..20).map(|i| format!("/{i} type")).collect();
    assert_eq!(lines(&errors), expected);
    assert_eq!(check_body(&api, &body), errors);
}

#[test]
fn long_property_names_are_cut() {
    let api = compile(&body_document("3.1.0", &json!({ "additionalProperties": { "type": "integer" } }), &json!({})));
    let name = "ü".repeat(300);

    let errors = check_body(&api, &json!({ name: "x" }).to_string());

    assert_eq!(lines(&errors), [format!("/{}… type", "ü".repeat(64))]);
}

#[test]
fn a_large_invalid_body_costs_one_error_not_all() {
    let items = format!("[{}true]", "1,".repeat(20_000));
    let plain = compile(&body_document("3.1.0", &json!({ "items": { "type": "integer" } }), &json!({})));
    let branched = json!({ "items": { "anyOf": [{ "type": "integer" }, { "type": "string" }] } });
    let branched = compile(&body_document("3.1.0", &branched, &json!({})));

    assert_eq!(lines(&check_body(&plain, &items)), ["/20000 type"]);
    assert_eq!(lines(&check_body(&branched, &items)), [" schema"]);
    assert!(check_body(&branched, &items.replace("true", "1")).is_empty());
}

#[test]
fn schemas_of_version_3_0_mean_what_3_0_says() {
    let api = compile(&body_document(
        "3.0.3",
        &json!({ "$ref": "#/components/schemas/Order" }),
        &json!({ "schemas": {
            "Order": {
                "type": "object",
                "required": ["id", "note", "made"],
                "properties": {
                    "id": { "type": "integer", "readOnly": true },
                    "made": { "$ref": "#/components/schemas/Made" },
                    "note": { "type": "string", "nullable": true, "maxLength": 3, "example": "hi" },
                    "size": { "type": "string", "nullable": true, "enum": ["s", "m", null] },
                    "share": { "type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1 },
                    "open": { "type": "number", "maximum": 1, "exclusiveMaximum": true, "minimum": 0, "exclusiveMinimum": false },
                    "child": { "allOf": [{ "$ref": "#/components/schemas/Order" }] },
                },
                "additionalProperties": false,
            },
            "Made": { "type": "string", "format": "date", "readOnly": true },
        } }),
    ));

    check(
        &api,
        &[
            (r#"{"note":null}"#, "-"),
            (r#"{"note":"abc","id":1,"made":"2026-01-01"}"#, "-"),
            ("{}", "/note required"),
            (r#"{"note":"abcd"}"#, "/note maxLength"),
            (r#"{"note":1}"#, "/note type"),
            (r#"{"note":"","size":null}"#, "-"),
            (r#"{"note":"","size":"l"}"#, "/size enum"),
            (r#"{"note":"","share":0}"#, "/share exclusiveMinimum"),
            (r#"{"note":"","share":-1}"#, "/share exclusiveMinimum"),
            (r#"{"note":"","share":1}"#, "-"),
            (r#"{"note":"","open":0}"#, "-"),
            (r#"{"note":"","open":1}"#, "/open exclusiveMaximum"),
            (r#"{"note":"","child":{"note":"x","child":{"note":5}}}"#, "/child/child/note type"),
        ],
    );
}

#[test]
fn media_types_decide_whether_a_body_is_checked_streamed_or_refused() {
    let schema = json!({ "type": "object" });
    let api = compile(&document(
        "3.1.0",
        &json!({
            "/mixed": { "post": { "requestBody": { "content": {
                "application/JSON; charset=utf-8": { "schema": schema },
                "application/merge-patch+json": { "schema": schema },
                "image/*": {}, "text/csv": { "schema": { "type": "string" } },
            } } } },
            "/raw": { "post": { "requestBody": { "required": true, "content": {
                "*/*": {}, "application/octet-stream": { "schema": { "type": "string", "format": "binary" } },
            } } } },
            "/none": { "post": {} },
        }),
    ));
    let body_of = |path: &'static str| match api.find(&Method::POST, path) {
        Lookup::Found { operation, .. } => operation.body(),
        Lookup::MethodNotAllowed { .. } | Lookup::NotFound => panic!("{path} is missing"),
    };
    let rule = body_of("/mixed").expect("a schema applies");
    let answer = |content_type: Option<&str>| match (rule.accepts(content_type), rule.streams(content_type)) {
        (true, false) => "check",
        (false, true) => "stream",
        (false, false) => "refuse",
        (true, true) => "both",
    };

    for (content_type, expected) in [
        ("application/json", "check"),
        ("Application/JSON;charset=UTF-8", "check"),
        (" application/json ; charset=\"iso-8859-1\"", "check"),
        ("application/merge-patch+json", "check"),
        ("application/hal+json", "refuse"),
        ("application/jsonx", "refuse"),
        ("image/png", "stream"),
        ("IMAGE/PNG; q=1", "stream"),
        ("text/csv", "stream"),
        ("text/plain", "refuse"),
        ("", "refuse"),
    ] {
        assert_eq!(answer(Some(content_type)), expected, "{content_type}");
    }
    assert_eq!(answer(None), "refuse");
    assert!(!rule.required() && rule.check(b"", &JsonLimits::default()).is_empty());
    assert!(body_of("/raw").is_none() && body_of("/none").is_none());
}

#[test]
fn the_limits_of_reading_apply_to_bodies() {
    let api = compile(&body_document("3.1.0", &json!({}), &json!({})));
    let keys: Vec<String> = (0..10_001).map(|i| format!("\"k{i}\":0")).collect();

    assert_eq!(lines(&check_body(&api, &format!("{{{}}}", keys.join(",")))), [" keys"]);
    assert!(check_body(&api, &format!("{{{}}}", keys[1..].join(","))).is_empty());
    assert_eq!(lines(&check_body(&api, &"[".repeat(65))), [format!("{} depth", "/0".repeat(64))]);
}
