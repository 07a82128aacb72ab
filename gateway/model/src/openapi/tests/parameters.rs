//! Path and query parameters.

use super::*;

/// `GET /items/{id}` with these parameters; `id` is a text unless they say otherwise.
fn api(parameters: &Value) -> Api {
    let mut parameters = parameters.as_array().cloned().unwrap_or_default();
    if !parameters.iter().any(|parameter| parameter["in"] == "path") {
        parameters.push(json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }));
    }
    compile(&document("3.1.0", &json!({ "/items/{id}": { "get": { "parameters": parameters } } })))
}

fn query(name: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "schema": schema })
}

/// Checks lines of `query string -> errors`, where no errors is `-`.
fn check(api: &Api, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let errors = check_parameters(api, "/items/1", Some(text));
        let found = if errors.is_empty() { "-".to_owned() } else { lines(&errors).join(", ") };
        assert_eq!(found, *expected, "?{text}");
    }
}

#[test]
fn numbers_are_read_in_the_grammar_of_json_and_nothing_else() {
    let api = api(&json!([
        query("n", json!({ "type": "integer", "minimum": 1, "maximum": 100 })),
        query("x", json!({ "type": "number" })),
        query("i", json!({ "type": "integer", "format": "int32" })),
        query("big", json!({ "type": "integer" })),
    ]));

    check(
        &api,
        &[
            ("", "-"),
            ("n=5", "-"),
            ("n=100", "-"),
            ("n=0", "query n minimum"),
            ("n=101", "query n maximum"),
            ("n=-5", "query n minimum"),
            ("n=+5", "query n type"),
            ("n=%2B5", "query n type"),
            ("n=05", "query n type"),
            ("n=5.0", "query n type"),
            ("n=1e1", "query n type"),
            ("n=1e3", "query n type"),
            ("n=", "query n type"),
            ("n", "query n type"),
            ("n=five", "query n type"),
            ("n=%205", "query n type"),
            ("n=5%0a", "query n type"),
            ("n=%EF%BC%95", "query n type"),
            ("n=0x5", "query n type"),
            ("n=NaN", "query n type"),
            ("x=1.5", "-"),
            ("x=1e3", "-"),
            ("x=-0.5E-3", "-"),
            ("x=.5", "query x type"),
            ("x=5.", "query x type"),
            ("x=1e999", "query x type"),
            ("x=Infinity", "query x type"),
            ("i=2147483647", "-"),
            ("i=2147483648", "query i format"),
            ("i=-2147483649", "query i format"),
            ("big=123456789012345678901234567890", "-"),
        ],
    );
    let digits = format!("big={}", "1".repeat(65));
    assert_eq!(lines(&check_parameters(&api, "/items/1", Some(&digits))), ["query big type"]);
}

#[test]
fn texts_booleans_and_unions_are_read_as_their_schema_says() {
    let api = api(&json!([
        query("flag", json!({ "type": "boolean" })),
        query("color", json!({ "enum": ["red", "blue"] })),
        query("day", json!({ "type": "string", "format": "date" })),
        query("code", json!({ "type": "string", "pattern": "^[A-Z]{3}$" })),
        query("either", json!({ "anyOf": [{ "type": "integer", "minimum": 10 }, { "const": "none" }] })),
        query("page", json!({ "type": ["integer", "string"], "maxLength": 2 })),
        query("maybe", json!({ "type": ["integer", "null"] })),
        query("one", json!({ "const": 1 })),
    ]));

    check(
        &api,
        &[
            ("flag=true&color=red&day=2026-02-28&code=ABC", "-"),
            ("flag=True", "query flag type"),
            ("flag=1", "query flag type"),
            ("color=green", "query color enum"),
            ("color=", "query color enum"),
            ("day=2026-02-30", "query day format"),
            ("code=abc", "query code pattern"),
            ("code=ABCD", "query code pattern"),
            ("either=10", "-"),
            ("either=none", "-"),
            ("either=9", "query either anyOf"),
            ("page=12345", "-"),
            ("page=ab", "-"),
            ("page=abc", "query page maxLength"),
            ("maybe=3", "-"),
            ("maybe=null", "query maybe type"),
            ("one=1", "-"),
            ("one=2", "query one const"),
            ("color=red&color=red", "query color repeated"),
            ("flag=x&color=x&code=x", "query flag type, query color enum, query code pattern"),
        ],
    );
}

#[test]
fn percent_escapes_are_decoded_once() {
    let api = api(&json!([query("q", json!({ "const": "a b+c&d=%20" })), query("a b", json!({ "const": "x" }))]));

    check(
        &api,
        &[
            ("q=a%20b%2Bc%26d%3D%2520", "-"),
            ("q=a+b%2bc%26d%3d%2520", "-"),
            ("q=a+b%2Bc%26d=%2520", "-"),
            ("%71=a+b%2Bc%26d%3D%2520", "-"),
            ("q=a+b+c%26d%3D%2520", "query q const"),
            ("q=%", "query q encoding"),
            ("q=%2", "query q encoding"),
            ("q=%zz", "query q encoding"),
            ("q=%ff", "query q encoding"),
            ("q=%c0%af", "query q encoding"),
            ("a+b=x", "-"),
            ("a%20b=y", "query a b const"),
            ("%zz=1&other=%zz&&=&", "-"),
        ],
    );
}

#[test]
fn lists_are_split_before_they_are_decoded() {
    let integers = json!({ "type": "array", "items": { "type": "integer", "maximum": 9 }, "maxItems": 3 });
    let texts = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Tag" }, "uniqueItems": true });
    let mut document = document(
        "3.1.0",
        &json!({ "/items/{id}": { "get": { "parameters": [
        { "name": "id", "in": "path", "required": true, "schema": { "type": "array", "items": { "type": "integer" } } },
        { "name": "n", "in": "query", "schema": integers },
        { "name": "tag", "in": "query", "explode": false, "schema": texts },
    ] } } }),
    );
    document["components"] = json!({ "schemas": { "Tag": { "type": "string", "minLength": 1 } } });
    let api = compile(&document);

    check(
        &api,
        &[
            ("n=1", "-"),
            ("n=1&n=2&n=3", "-"),
            ("n=1&n=2&n=3&n=4", "query n maxItems"),
            ("n=1,2", "query n type"),
            ("n=1&n=x", "query n type"),
            ("n=1&n=10", "query n maximum"),
            ("n=", "query n type"),
            ("tag=a,b%2Cb,c", "-"),
            ("tag=a,b,a", "query tag uniqueItems"),
            ("tag=a%2Cb,a,b", "-"),
            ("tag=a,,b", "query tag minLength"),
            ("tag=a&tag=b", "query tag repeated"),
            ("tag=%2", "query tag encoding"),
        ],
    );
    let message = |query: &str| check_parameters(&api, "/items/1", Some(query))[0].message.clone();
    assert_eq!(message("n=1&n=10"), "item 1: must be at most 9");
    assert_eq!(message("n=1&n=x"), "item 1: must be of type integer");
    assert!(check_parameters(&api, "/items/1,2,3", None).is_empty());
    assert_eq!(lines(&check_parameters(&api, "/items/1,b", None)), ["path id type"]);
}

#[test]
fn path_values_are_checked_in_the_order_of_the_template() {
    let api = compile(&document(
        "3.0.3",
        &json!({ "/{a}/{b}": {
        "parameters": [
            { "name": "b", "in": "path", "required": true, "schema": { "type": "integer" } },
            { "name": "a", "in": "path", "required": true, "schema": { "type": "string" } },
        ],
        "get": { "parameters": [
            { "name": "a", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } },
        ] },
    } }),
    ));

    let good = "/6ba7b810-9dad-11d1-80b4-00c04fd430c8/7";
    assert!(check_parameters(&api, good, None).is_empty());
    assert_eq!(lines(&check_parameters(&api, "/7/6ba7b810", None)), ["path a format", "path b type"]);
    assert_eq!(lines(&check_parameters(&api, "/%ff/1+1", None)), ["path a encoding", "path b type"]);
    assert_eq!(lines(&check_parameters(&api, "/a%20b/%37", None)), ["path a format"]);
}

#[test]
fn required_empty_and_unknown_parameters_follow_the_document() {
    let mut document = document(
        "3.1.0",
        &json!({ "/items": {
        "get": { "parameters": [
            { "name": "must", "in": "query", "required": true, "schema": { "type": "string" } },
            { "name": "list", "in": "query", "required": true, "schema": { "type": "array", "items": { "type": "string" } } },
            { "name": "bare", "in": "query", "allowEmptyValue": true, "schema": { "type": "integer" } },
        ] },
        "post": {}, "put": { "x-causeway-unknown-query": "allow" },
    } }),
    );
    document["x-causeway-unknown-query"] = json!("refuse");
    let api = compile(&document);
    let found = |method: &Method, query: &str| match api.find(method, "/items") {
        Lookup::Found { operation, path_values } => lines(&operation.check_parameters(&path_values, Some(query))),
        Lookup::MethodNotAllowed { .. } | Lookup::NotFound => panic!("the operation is missing"),
    };

    assert!(found(&Method::GET, "must=&list=&bare").is_empty());
    assert!(found(&Method::GET, "must=a&list=b&bare=7").is_empty());
    assert_eq!(found(&Method::GET, ""), ["query must required", "query list required"]);
    assert_eq!(found(&Method::GET, "must=a&list=b&bare=x"), ["query bare type"]);
    assert_eq!(found(&Method::GET, "must=a&list=b&Must=1"), ["query Must unknown"]);
    assert_eq!(found(&Method::POST, "a=1"), ["query a unknown"]);
    assert!(found(&Method::PUT, "a=1").is_empty());
}

#[test]
fn at_most_twenty_errors_come_back_and_none_repeats_the_value() {
    let parameters: Vec<Value> = (0..30).map(|i| query(&format!("p{i}"), json!({ "type": "integer" }))).collect();
    let api = api(&Value::Array(parameters));
    let text: Vec<String> = (0..30).map(|i| format!("p{i}=secret{i}")).collect();

    let errors = check_parameters(&api, "/items/1", Some(&text.join("&")));

    assert_eq!(errors.len(), 20);
    assert!(errors.iter().all(|error| !error.message.contains("secret")), "{errors:#?}");
    let strict = compile(&document("3.1.0", &json!({ "/a": { "get": { "x-causeway-unknown-query": "refuse" } } })));
    let errors = check_parameters(&strict, "/a", Some(&"k".repeat(500)));
    assert_eq!(lines(&errors), [format!("query {}… unknown", "k".repeat(64))]);
}
