//! What does not load, and that everything wrong is said at once.

use super::*;

/// A document with `GET /a/{id}`, changed at one place.
fn changed(openapi: &str, pointer: &str, value: Value) -> Value {
    let mut document = document(
        openapi,
        &json!({ "/a/{id}": {
        "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
        "post": {
            "parameters": [{ "name": "q", "in": "query", "schema": { "type": "string" } }],
            "requestBody": { "content": { "application/json": { "schema": { "type": "object" } } } },
        },
    } }),
    );
    let (holder, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let name = name.replace("~1", "/");
    let holder = document.pointer_mut(holder).expect("the holder exists");
    if let Value::Array(items) = holder {
        items.push(value);
    } else {
        holder[name] = value;
    }
    document
}

const OPERATION: &str = "/paths/~1a~1{id}/post";

fn refused(openapi: &str, pointer: &str, value: Value, expected_pointer: &str, expected_part: &str) {
    let document = changed(openapi, pointer, value);
    let errors = Api::compile("a", &document).expect_err(pointer);
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors[0].pointer, expected_pointer, "{texts:#?}");
    assert!(errors[0].message.contains(expected_part), "{expected_part}: {texts:#?}");
    assert_eq!(errors.len(), 1, "{texts:#?}");
}

#[test]
fn the_document_itself_must_be_one_that_is_supported() {
    let check = |pointer: &str, value: Value, place: &str, part: &str| refused("3.1.0", pointer, value, place, part);

    check("/openapi", json!("3.2.0"), "/openapi", "version");
    check("/openapi", json!("3.10.0"), "/openapi", "version");
    check("/openapi", json!(3.1), "/openapi", "version");
    check("/info", json!({}), "/info/title", "no title");
    check("/jsonSchemaDialect", json!("http://json-schema.org/draft-07/schema#"), "/jsonSchemaDialect", "dialect");
    check("/servers", json!([{ "url": "https://{host}/v1" }]), "/servers/0/url", "no usable path");
    check("/servers", json!([{ "url": "/v1?x=1" }]), "/servers/0/url", "no usable path");
    check("/servers", json!([{}]), "/servers/0/url", "no URL");
    check("/paths", json!([]), "/paths", "no paths");
    check("/x-causeway-unknown-query", json!("no"), "/x-causeway-unknown-query", "must be `allow` or `refuse`");
    let swagger = json!({ "swagger": "2.0", "info": { "title": "a" }, "paths": {} });
    assert_eq!(load_errors(&swagger), ["/swagger: Swagger 2.0 is not supported"]);
    assert_eq!(load_errors(&document("3.0.3", &json!(null))), ["/paths: the document has no paths"]);
    assert_eq!(load_errors(&json!("openapi")), ["/openapi: the version is not supported"]);
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "x": deep });
    }
    assert_eq!(load_errors(&deep), [": the document is nested deeper than 128 levels"]);
}

#[test]
fn path_templates_that_cannot_be_matched_are_refused() {
    let check = |path: &str, part: &str| {
        let errors = load_errors(&document("3.1.0", &json!({ path: { "get": {} } })));
        assert!(errors.len() == 1 && errors[0].contains(part), "{path}: {errors:#?}");
    };

    check("a", "must start with `/`");
    check("/a/{id}.json", "whole path segment");
    check("/a/{}", "whole path segment");
    check("/a/{x}{y}", "whole path segment");
    check("/a/x}", "whole path segment");
    check("/a?x=1", "query or a fragment");
    check("/a#b", "query or a fragment");
    check("/a//b", "empty or dot segment");
    check("/a/../b", "empty or dot segment");
    check("/a/%2", "broken percent escape");
    check("/{a}/{a}", "names a parameter twice");
    check("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "more than 8 parameters");
    check("/a/{id}", "path parameter `id` is not declared");
}

#[test]
fn templates_of_the_same_shape_are_refused() {
    let with = |name: &str| {
        json!({ "parameters": [
        { "name": name, "in": "path", "required": true, "schema": { "type": "string" } }] })
    };
    let errors = load_errors(&document(
        "3.1.0",
        &json!({
            "/a/{x}": with("x"), "/a/{y}": with("y"), "/b%7e": {}, "/b~": {}, "/a/x": {},
        }),
    ));

    assert_eq!(
        errors,
        ["/paths/~1a~1{y}: the path matches the same requests as `/a/{x}`", "/paths/~1b~0: the path matches the same requests as `/b%7e`",]
    );
}

#[test]
fn parameters_that_cannot_be_checked_are_refused() {
    let at = format!("{OPERATION}/parameters/1");
    let check = |parameter: Value, below: &str, part: &str| {
        refused("3.1.0", &format!("{OPERATION}/parameters/-"), parameter, &format!("{at}{below}"), part);
    };
    let text = json!({ "type": "string" });
    let list = json!({ "type": "array", "items": text });

    check(json!({ "name": "h", "in": "header", "schema": text }), "/in", "header and cookie parameters are not supported");
    check(json!({ "name": "h", "in": "cookie", "schema": text }), "/in", "header and cookie parameters are not supported");
    check(json!({ "name": "h", "in": "body", "schema": text }), "/in", "must be `path` or `query`");
    check(json!({ "in": "query", "schema": text }), "/name", "no name");
    check(json!({ "name": "a", "in": "query" }), "/schema", "no schema");
    check(json!({ "name": "a", "in": "query", "content": { "application/json": {} } }), "/content", "`content`");
    check(json!({ "name": "a", "in": "query", "style": "deepObject", "schema": text }), "/style", "only `form`");
    check(json!({ "name": "a", "in": "query", "style": "pipeDelimited", "schema": list }), "/style", "only `form`");
    check(json!({ "name": "a", "in": "query", "allowReserved": true, "schema": text }), "/allowReserved", "not supported");
    check(json!({ "name": "a", "in": "query", "explode": "yes", "schema": text }), "/explode", "true or false");
    check(json!({ "name": "a", "in": "query", "type": "string", "schema": text }), "/type", "`type` is not supported here");
    check(json!({ "name": "a", "in": "query", "schema": {} }), "/schema", "must say the type");
    check(json!({ "name": "a", "in": "query", "schema": { "minimum": 1 } }), "/schema", "must say the type");
    check(json!({ "name": "a", "in": "query", "schema": { "type": "object" } }), "/schema", "an object is not supported");
    check(json!({ "name": "a", "in": "query", "schema": { "type": "array" } }), "/schema", "type of the items");
    check(json!({ "name": "a", "in": "query", "schema": { "type": "array", "items": list } }), "/schema", "list of lists");
    check(json!({ "name": "a", "in": "query", "schema": { "type": ["array", "string"] } }), "/schema", "either a list");
    check(json!({ "name": "a", "in": "query", "schema": { "type": "null" } }), "/schema", "no text");
    check(json!({ "name": "q", "in": "query", "schema": text }), "", "declared twice");
    check(json!({ "name": "x", "in": "path", "required": true, "schema": text }), "/name", "the path has no parameter `x`");
    check(json!({ "name": "id", "in": "path", "schema": text }), "/required", "required: true");
    check(json!({ "$ref": "#/components/parameters/None" }), "/$ref", "nothing is at");
    check(json!({ "$ref": "other.yaml#/Limit" }), "/$ref", "outside of this document");
    check(json!(7), "", "an object is expected");
}

#[test]
fn header_parameters_that_openapi_ignores_are_ignored() {
    let header = json!({ "name": "Authorization", "in": "header", "schema": { "type": "string" } });

    assert_eq!(load_errors(&changed("3.1.0", &format!("{OPERATION}/parameters/-"), header)), [""; 0]);
}

#[test]
fn bodies_that_cannot_be_checked_are_refused() {
    let body = format!("{OPERATION}/requestBody");
    let check = |content: Value, below: &str, part: &str| {
        let place = format!("{body}/content{below}");
        refused("3.1.0", &format!("{body}/content"), content, &place, part);
    };
    let schema = json!({ "type": "object" });

    check(json!({ "application/xml": { "schema": schema } }), "/application~1xml/schema", "JSON bodies only");
    check(json!({ "multipart/form-data": { "schema": schema } }), "/multipart~1form-data/schema", "JSON bodies only");
    check(json!({ "*/*": { "schema": schema } }), "/*~1*/schema", "JSON bodies only");
    check(json!({ "application/json": { "shema": {} } }), "/application~1json/shema", "not supported here");
    check(json!({ "application/json": 1 }), "/application~1json", "must be an object");
    check(json!({ "application/json": {}, "Application/JSON;v=1": {} }), "/Application~1JSON;v=1", "declared twice");
    let two = json!({ "application/json": { "schema": schema }, "application/a+json": { "schema": { "type": "array" } } });
    check(two, "/application~1a+json/schema", "a second schema");
    refused("3.1.0", &body, json!({}), &format!("{body}/content"), "no content");
    refused("3.1.0", &body, json!({ "$ref": "#/components/requestBodies/A" }), &format!("{body}/$ref"), "nothing is at");
    refused("3.1.0", &format!("{body}/required"), json!(1), &format!("{body}/required"), "true or false");
}

#[test]
fn operations_say_nothing_that_would_be_skipped() {
    let check = |name: &str, value: Value, part: &str| {
        let pointer = format!("{OPERATION}/{name}");
        refused("3.1.0", &pointer, value, &pointer, part);
    };

    check("parameter", json!([]), "not supported here");
    check("consumes", json!([]), "not supported here");
    check("servers", json!([{ "url": "/v2" }]), "servers of a path or operation");
    check("operationId", json!(1), "must be a text");
    check("x-causeway-unknown-query", json!(true), "must be `allow` or `refuse`");
    check("parameters", json!({}), "must be a list");
    refused("3.1.0", "/paths/~1a~1{id}/query", json!({}), "/paths/~1a~1{id}/query", "not supported here");
    refused("3.1.0", OPERATION, json!([]), OPERATION, "must be an object");
    let twice = json!({ "/a": { "get": { "operationId": "x" }, "put": { "operationId": "x" } } });
    let expected = "/paths/~1a/put/operationId: the operation id is taken by /paths/~1a/get/operationId";
    assert_eq!(load_errors(&document("3.1.0", &twice)), [expected]);
}

#[test]
fn schemas_with_rules_that_cannot_be_checked_are_refused() {
    let schema = format!("{OPERATION}/requestBody/content/application~1json/schema");
    let check = |openapi: &str, value: Value, below: &str, part: &str| {
        refused(openapi, &schema, value, &format!("{schema}{below}"), part);
    };

    check("3.1.0", json!({ "maxLenght": 1 }), "/maxLenght", "not supported");
    check("3.1.0", json!({ "discriminator": { "propertyName": "x" } }), "/discriminator", "not supported");
    check("3.1.0", json!({ "properties": { "a": { "nullable": true } } }), "/properties/a/nullable", "not supported");
    check("3.1.0", json!({ "dependencies": {} }), "/dependencies", "not supported");
    check("3.1.0", json!({ "type": "text" }), "/type", "`type` must be array, boolean");
    check("3.1.0", json!({ "maxLength": -1 }), "/maxLength", "less than the minimum of 0");
    check("3.1.0", json!({ "required": "a" }), "/required", "not of type");
    check("3.1.0", json!({ "items": [{}] }), "/items", "must be an object");
    check("3.1.0", json!({ "allOf": {} }), "/allOf", "must be a list of schemas");
    check("3.1.0", json!({ "properties": [] }), "/properties", "must be an object of schemas");
    check("3.1.0", json!({ "pattern": "(?=a)" }), "/pattern", "linear time");
    check("3.1.0", json!({ "pattern": "(a)\\1" }), "/pattern", "linear time");
    check("3.1.0", json!({ "pattern": "((a{1000}){1000}){1000}" }), "/pattern", "linear time");
    check("3.1.0", json!({ "patternProperties": { "(?!a)": {} } }), "/patternProperties/(?!a)", "linear time");
    check("3.1.0", json!({ "$schema": "http://json-schema.org/draft-04/schema#" }), "/$schema", "dialect");
    check("3.1.0", json!({ "$ref": "#/components/schemas/A" }), "/$ref", "nothing is at `#/components/schemas/A`");
    check("3.1.0", json!({ "$ref": "#nowhere" }), "/$ref", "nothing is at `#nowhere`");
    check("3.1.0", json!({ "$ref": "https://example.com/a.json" }), "/$ref", "outside of this document");
    check("3.1.0", json!({ "$ref": "a.yaml#/B" }), "/$ref", "outside of this document");
    check("3.1.0", json!({ "$ref": "#/%zz" }), "/$ref", "not a valid URI reference");
    check("3.1.0", json!({ "$ref": 1 }), "/$ref", "must be a string");
    check("3.0.3", json!({ "const": 1 }), "/const", "not supported");
    check("3.0.3", json!({ "type": ["string", "null"] }), "/type", "the name of one type");
    check("3.0.3", json!({ "type": "null" }), "/type", "the name of one type");
    check("3.0.3", json!({ "nullable": true }), "/nullable", "no meaning without `type`");
    check("3.0.3", json!({ "type": "string", "nullable": "yes" }), "/nullable", "true or false");
    check("3.0.3", json!({ "exclusiveMinimum": 5 }), "/exclusiveMinimum", "true or false");
    check("3.0.3", json!({ "exclusiveMaximum": true }), "/exclusiveMaximum", "no meaning without `maximum`");
    check("3.0.3", json!({ "items": true }), "/items", "must be an object");
    let beside = json!({ "$ref": "#/info", "maxLength": 1 });
    let errors = load_errors(&changed("3.0.3", &schema, beside));
    assert!(errors[0].contains("OpenAPI 3.0 ignores `maxLength` beside `$ref`"), "{errors:#?}");
}

#[test]
fn references_of_components_must_resolve_even_where_no_request_leads() {
    let mut document = document("3.1.0", &json!({}));
    document["components"] = json!({
        "schemas": {
            "Answer": { "discriminator": { "propertyName": "kind" }, "properties": { "a": { "$ref": "#/components/schemas/None" } } },
            "Data": { "default": { "$ref": "#/no/reference" }, "enum": [{ "$ref": "#/no/reference" }] },
        },
        "parameters": { "P": { "name": "p", "in": "header", "schema": { "$ref": "other.json" } } },
        "responses": { "R": { "$ref": "#/no/matter" } },
    });

    assert_eq!(
        load_errors(&document),
        [
            "/components/schemas/Answer/properties/a/$ref: nothing is at `#/components/schemas/None`",
            "/components/parameters/P/schema/$ref: the reference `other.json` leads outside of this document",
        ]
    );
}

#[test]
fn every_error_of_a_document_comes_at_once_with_a_remedy() {
    let document = document(
        "3.1.0",
        &json!({
            "/a/{id}": { "get": { "operationId": "x", "parameters": [
                { "name": "a", "in": "query", "schema": { "type": "text" } },
                { "name": "b", "in": "cookie", "schema": { "type": "string" } },
            ] } },
            "b": {},
            "/c": { "post": { "operationId": "x", "requestBody": { "content": { "application/json": { "schema": {
                "properties": { "a": { "pattern": "(?=x)" }, "b": { "$ref": "#/none" } }, "foo": 1 } } } } } },
        }),
    );

    let errors = Api::compile("a", &document).expect_err("it is wrong");

    let schema = "/paths/~1c/post/requestBody/content/application~1json/schema";
    let places: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        places,
        [
            "/paths/~1a~1{id}/get/parameters/1/in",
            "/paths/~1a~1{id}/get",
            "/paths/b",
            "/paths/~1c/post/operationId",
            "/paths/~1a~1{id}/get/parameters/0/schema/type",
            &format!("{schema}/properties/a/pattern"),
            &format!("{schema}/properties/b/$ref"),
            &format!("{schema}/foo"),
            "/paths/~1a~1{id}/get/parameters/0/schema",
        ]
    );
    assert!(errors.iter().filter(|error| error.help.is_some()).count() >= 8, "{errors:#?}");
}

#[test]
fn a_thousand_operations_compile_quickly() {
    let mut paths = serde_json::Map::new();
    let mut schemas = serde_json::Map::new();
    for i in 0..500 {
        let reference = json!({ "$ref": format!("#/components/schemas/S{i}") });
        let content = json!({ "application/json": { "schema": reference } });
        let id = json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } });
        let limit = json!({ "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 100 } });
        paths.insert(
            format!("/r{i}/{{id}}"),
            json!({
                "parameters": [id],
                "get": { "operationId": format!("get{i}"), "parameters": [limit] },
                "put": { "operationId": format!("put{i}"), "requestBody": { "content": content } },
            }),
        );
        let next = json!({ "$ref": format!("#/components/schemas/S{}", (i + 1) % 500) });
        schemas.insert(
            format!("S{i}"),
            json!({ "type": "object", "required": ["name"], "properties": {
            "name": { "type": "string", "pattern": format!("^[a-z]{{1,{}}}$", i % 40 + 1) },
            "size": { "type": "integer", "minimum": 0 },
            "tags": { "type": "array", "items": { "type": "string" } },
            "owner": { "$ref": "#/components/schemas/Owner" },
            "next": if i % 10 == 9 { json!({ "type": "string" }) } else { next },
        } }),
        );
    }
    schemas.insert("Owner".to_owned(), json!({ "type": "object", "properties": { "mail": { "type": "string", "format": "email" } } }));
    let mut document = document("3.1.0", &Value::Object(paths));
    document["components"] = json!({ "schemas": schemas });

    #[expect(clippy::disallowed_methods, reason = "the test is about time that really passes")]
    let start = std::time::Instant::now();
    let api = compile(&document);
    let took = start.elapsed();

    println!("1,000 operations in {took:?}");
    assert_eq!(api.operations().count(), 1_000);
    // Well under a second on an idle core; the bound is for a busy machine and an unoptimized build.
    assert!(took.as_secs() < 10, "{took:?}");
}
