//! References, recursion and loops.

use super::*;

#[test]
fn a_recursive_schema_checks_as_deep_as_a_body_may_be() {
    let api = compile(&body_document(
        "3.1.0",
        &json!({ "$ref": "#/components/schemas/Tree" }),
        &json!({ "schemas": { "Tree": {
            "type": "object",
            "properties": {
                "value": { "type": "integer" },
                "left": { "$ref": "#/components/schemas/Tree" },
                "right": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Tree" }] },
            },
            "unevaluatedProperties": false,
        } } }),
    ));
    let nested = |leaf: &str| format!("{}{leaf}{}", r#"{"left":"#.repeat(63), "}".repeat(63));

    assert!(check_body(&api, &nested(r#"{"value":1,"right":null}"#)).is_empty());
    assert_eq!(lines(&check_body(&api, &nested(r#"{"value":"x"}"#))), [format!("{}/value type", "/left".repeat(63))]);
    assert_eq!(lines(&check_body(&api, r#"{"right":{"value":"x"}}"#)), ["/right oneOf"]);
    assert_eq!(lines(&check_body(&api, r#"{"up":1}"#)), ["/up unevaluatedProperties"]);
}

#[test]
fn every_kind_of_reference_finds_its_target() {
    let mut document = body_document(
        "3.1.0",
        &json!({
            "$defs": { "small": { "$anchor": "small", "maximum": 9 } },
            "properties": {
                "a": { "$ref": "#/components/schemas/Item/properties/size" },
                "b": { "$ref": "#/components/schemas/a~1b%20%25/items" },
                "c": { "$ref": "#/paths/~1items/post/requestBody/content/application~1json/schema/properties/a" },
                "d": { "$ref": "#small" },
                "e": { "$ref": "#/x-shared/e", "maxLength": 2 },
                "f": { "$ref": "https://example.com/node" },
                "g": { "$ref": "https://example.com/node#/properties/next" },
                "h": { "$ref": "https://example.com/node#name" },
            },
        }),
        &json!({ "schemas": {
            "Item": { "properties": { "size": { "type": "integer", "minimum": 1 } } },
            "a/b %": { "items": { "type": "string" } },
            "Node": {
                "$id": "https://example.com/node",
                "properties": { "next": { "$ref": "#" }, "name": { "$anchor": "name", "type": "string" } },
                "additionalProperties": false,
            },
        } }),
    );
    document["x-shared"] = json!({ "e": { "type": "string" } });
    let api = compile(&document);

    for (body, expected) in [
        (r#"{"a":1,"b":"x","c":1,"d":9,"e":"ab","f":{"next":{"name":"x"}},"g":{},"h":"x"}"#, ""),
        (r#"{"a":0}"#, "/a minimum"),
        (r#"{"b":0}"#, "/b type"),
        (r#"{"c":0}"#, "/c minimum"),
        (r#"{"d":10}"#, "/d maximum"),
        (r#"{"e":1}"#, "/e type"),
        (r#"{"e":"abc"}"#, "/e maxLength"),
        (r#"{"f":{"next":{"next":{"name":1}}}}"#, "/f/next/next/name type"),
        (r#"{"g":{"next":{"x":1}}}"#, "/g/next/x additionalProperties"),
        (r#"{"h":1}"#, "/h type"),
    ] {
        assert_eq!(lines(&check_body(&api, body)).join(", "), expected, "{body}");
    }
}

#[test]
fn parameters_bodies_and_path_items_may_be_references() {
    let mut document = document("3.1.0", &json!({ "/items": { "$ref": "#/components/pathItems/Items" } }));
    document["components"] = json!({
        "pathItems": { "Items": { "post": {
            "parameters": [{ "$ref": "#/components/parameters/Alias", "description": "as used here" }],
            "requestBody": { "$ref": "#/components/requestBodies/Item" },
        } } },
        "parameters": {
            "Alias": { "$ref": "#/components/parameters/Limit" },
            "Limit": { "name": "limit", "in": "query", "required": true, "schema": { "$ref": "#/components/schemas/Limit" } },
        },
        "requestBodies": { "Item": { "content": { "application/json": { "schema": { "type": "array" } } } } },
        "schemas": { "Limit": { "type": "integer" } },
    });
    let api = compile(&document);
    let Lookup::Found { operation, path_values } = api.find(&Method::POST, "/items") else { panic!("it exists") };

    assert_eq!(lines(&operation.check_parameters(&path_values, Some("limit=x"))), ["query limit type"]);
    assert_eq!(lines(&check_body(&api, "{}")), [" type"]);
    assert!(check_body(&api, "").is_empty());
}

#[test]
fn loops_at_the_same_value_are_refused_and_loops_through_parts_are_not() {
    let load = |schemas: Value| {
        let root = json!({ "$ref": "#/components/schemas/A" });
        load_errors(&body_document("3.1.0", &root, &json!({ "schemas": schemas })))
    };
    let at = |name: &str| format!("/components/schemas/{name}: the schema refers to itself for the same value");
    let to = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });

    assert_eq!(load(json!({ "A": to("A") })), [at("A")]);
    assert_eq!(load(json!({ "A": { "allOf": [{ "not": to("B") }] }, "B": { "if": to("C") }, "C": to("A") })), [at("A"), at("B"), at("C")]);
    assert_eq!(load(json!({ "A": { "anyOf": [to("B"), to("C")] }, "B": to("B"), "C": {} })), [at("B")]);
    assert_eq!(load(json!({ "A": { "dependentSchemas": { "x": to("A") } } })), [at("A")]);
    assert_eq!(load(json!({ "A": { "properties": { "x": to("A") }, "items": to("A") } })), [""; 0]);
    assert_eq!(load(json!({ "A": { "propertyNames": to("B") }, "B": { "maxLength": 5 } })), [""; 0]);
    let at_x = "/components/schemas/A/properties/x: the schema refers to itself for the same value";
    let inner = json!({ "A": { "properties": { "x": { "allOf": [{ "$ref": "#/components/schemas/A/properties/x" }] } } } });
    assert_eq!(load(inner), [at_x]);
}

#[test]
fn a_chain_of_references_is_limited() {
    let chain = |n: usize| {
        let mut schemas = serde_json::Map::new();
        for i in 0..n {
            schemas.insert(format!("S{i}"), json!({ "$ref": format!("#/components/schemas/S{}", i + 1) }));
        }
        schemas.insert(format!("S{n}"), json!({ "type": "integer" }));
        let root = json!({ "items": { "$ref": "#/components/schemas/S0" } });
        body_document("3.1.0", &root, &json!({ "schemas": schemas }))
    };

    let api = compile(&chain(31));

    assert_eq!(lines(&check_body(&api, r#"[1,"x"]"#)), ["/1 type"]);
    let items = "/paths/~1items/post/requestBody/content/application~1json/schema";
    let message = "more than 32 schemas apply to the same value in a chain";
    assert_eq!(load_errors(&chain(32)), [format!("{items}: {message}")]);
    let mut nested = json!({});
    for _ in 0..33 {
        nested = json!({ "not": nested });
    }
    let errors = load_errors(&body_document("3.1.0", &json!({ "properties": { "a": nested } }), &json!({})));
    let place = format!("{items}/properties/a{}", "/not".repeat(33));
    assert_eq!(errors, [format!("{place}: more than 32 schemas for the same value are nested")]);
}

#[test]
fn references_that_double_at_each_step_are_refused() {
    let bomb = |n: usize| {
        let mut schemas = serde_json::Map::new();
        for i in 0..n {
            let next = json!({ "$ref": format!("#/components/schemas/S{}", i + 1) });
            schemas.insert(format!("S{i}"), json!({ "allOf": [next, next] }));
        }
        schemas.insert(format!("S{n}"), json!({ "type": "integer" }));
        let root = json!({ "$ref": "#/components/schemas/S0" });
        load_errors(&body_document("3.1.0", &root, &json!({ "schemas": schemas })))
    };

    assert_eq!(bomb(10), [""; 0]);
    let errors = bomb(13);
    assert!(errors.len() == 1 && errors[0].contains("more than 4096 schemas apply to the same value"), "{errors:#?}");
}

/// The worst that limits allow together: 64 levels of value, at each level a chain of 32 schemas. It must fit a thread's
/// default stack of 2 MiB with room to spare.
#[test]
fn the_deepest_value_under_the_longest_chain_fits_half_of_a_thread() {
    let mut schemas = serde_json::Map::new();
    for i in 0..15 {
        schemas.insert(format!("S{i}"), json!({ "allOf": [{ "$ref": format!("#/components/schemas/S{}", i + 1) }] }));
    }
    schemas.insert("S15".to_owned(), json!({ "items": { "$ref": "#/components/schemas/S0" }, "type": "array" }));
    let root = json!({ "$ref": "#/components/schemas/S0" });
    let document = body_document("3.1.0", &root, &json!({ "schemas": schemas }));
    let body = format!("{}1{}", "[".repeat(64), "]".repeat(64));

    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    let check = thread.spawn(move || lines(&check_body(&compile(&document), &body))).expect("a thread starts");

    assert_eq!(check.join().expect("the stack is deep enough"), [format!("{} type", "/0".repeat(64))]);
}
