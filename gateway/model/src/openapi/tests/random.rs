//! Inputs that nobody would write: the answer may be anything, but there is one.

use proptest::prelude::*;

use super::*;

fn api() -> Api {
    let scalar = |ty: &str| json!({ "type": ty });
    let mut document = document(
        "3.1.0",
        &json!({
            "/items": { "post": { "requestBody": { "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Node" } } } } } },
            "/items/{id}": { "get": { "parameters": [
                { "name": "id", "in": "path", "required": true, "schema": scalar("integer") },
                { "name": "s", "in": "query", "schema": { "type": "string", "maxLength": 3 } },
                { "name": "n", "in": "query", "schema": scalar("number") },
                { "name": "b", "in": "query", "schema": scalar("boolean") },
                { "name": "l", "in": "query", "schema": { "type": "array", "items": scalar("integer") } },
                { "name": "c", "in": "query", "explode": false, "schema": { "type": "array", "items": scalar("string") } },
            ], "x-causeway-unknown-query": "refuse" } },
        }),
    );
    document["components"] = json!({ "schemas": { "Node": {
        "type": "object",
        "properties": { "a": { "type": "integer" }, "b": { "$ref": "#/components/schemas/Node" } },
        "patternProperties": { "^x": { "type": "array", "uniqueItems": true } },
        "additionalProperties": { "oneOf": [{ "type": "string", "format": "date" }, { "type": "null" }] },
    } } });
    compile(&document)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[abx]{1,2}|.{0,6}", inner, 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_path_and_query_get_an_answer(path in "(/items/)?.{0,40}", query in "([snblc]=|[&%+,]|.){0,60}") {
        let api = api();
        if let Lookup::Found { operation, path_values } = api.find(&Method::GET, &path) {
            let errors = operation.check_parameters(&path_values, Some(&query));
            prop_assert!(errors.len() <= 20);
            let repeated = operation.check_parameters(&path_values, Some(&query));
            prop_assert_eq!(errors, repeated);
        }
    }

    #[test]
    fn any_bytes_as_a_body_get_an_answer(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let api = api();
        let Lookup::Found { operation, .. } = api.find(&Method::POST, "/items") else { panic!("it exists") };
        let errors = operation.body().expect("a rule").check(&body, &JsonLimits::default());
        prop_assert!(errors.len() <= 20);
    }

    /// Whatever our reader reads, it reads as `serde_json` does; and the checks answer the same twice.
    #[test]
    fn any_json_is_read_unchanged_and_checked_the_same_twice(value in json_value()) {
        let text = value.to_string();
        let read = crate::openapi::json::read(text.as_bytes(), JsonLimits::default()).expect("it is JSON");
        prop_assert_eq!(&read.value, &serde_json::from_str::<Value>(&text).expect("it is JSON"));
        let api = api();
        prop_assert_eq!(check_body(&api, &text), check_body(&api, &text));
    }

    /// A document is the operator's, but the admin API takes it from the network.
    #[test]
    fn any_schema_loads_or_is_refused(schema in json_value(), keyword in prop::sample::select(vec![
        "type", "properties", "items", "allOf", "enum", "required", "pattern", "$ref", "format", "minimum", "additionalProperties",
        "exclusiveMinimum", "nullable", "const", "dependentSchemas", "$id", "$anchor", "$dynamicRef", "patternProperties",
    ]), version in prop::sample::select(vec!["3.0.3", "3.1.0"])) {
        let mut keywords = serde_json::Map::new();
        keywords.insert(keyword.to_owned(), schema.clone());
        let body = body_document(version, &Value::Object(keywords), &json!({ "schemas": { "A": schema.clone() } }));
        let parameters = document(version, &json!({ "/items": { "get": { "parameters": schema.clone(), "requestBody": schema } } }));
        for document in [body, parameters] {
            if let Err(errors) = Api::compile("any", &document) {
                prop_assert!(!errors.is_empty());
            }
        }
    }
}
