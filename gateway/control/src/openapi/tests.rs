use std::{collections::BTreeSet, path::PathBuf};

use axum::body::Body;
use http::header;
use serde_json::{Value, json};

use super::text;
use crate::{
    policy::{Action, Role, allows},
    router,
    tests::fixture::{Fixture, ask, request, send},
};

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

fn published() -> Value {
    serde_json::from_str(&text().unwrap()).unwrap()
}

/// Each operation: path, method, and what the document says of it.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let items = paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation)));
    items.map(|(path, method, operation)| (path.as_str(), method.as_str(), operation)).collect()
}

/// The file that people read is the one that nodes serve.
#[test]
fn the_committed_document_is_the_present_one() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");

    let committed = std::fs::read_to_string(&file).unwrap_or_default();

    let at = committed.lines().zip(text().unwrap().lines()).position(|(committed, present)| committed != present);
    assert!(
        committed == text().unwrap(),
        "docs/openapi.json is another one from line {:?} on; renew it: cargo run --quiet --bin causeway -- openapi > docs/openapi.json",
        at.map(|line| line + 1)
    );
}

/// The router's own answers are asked, and not its table.
#[tokio::test]
async fn every_method_of_every_path_has_an_operation_and_every_operation_a_handler() {
    let fixture = Fixture::new();
    let document = published();
    let described: BTreeSet<_> = operations(&document).into_iter().map(|(path, method, _)| (path.to_owned(), method.to_owned())).collect();
    assert_eq!(described.len(), router::table().len(), "an operation is described twice, or hides another");

    for path in document["paths"].as_object().unwrap().keys() {
        let target = path.replace("{id}", "0123456789ab").replace(['{', '}'], "");
        for method in METHODS {
            let answer = ask(&fixture, &method.to_uppercase(), &target, None).await;
            let is_served = answer.status.as_u16() != 405;
            let is_described = described.contains(&(path.clone(), method.to_owned()));
            let goes_with_get = method == "head" && described.contains(&(path.clone(), "get".to_owned()));
            assert_eq!(is_served, is_described || goes_with_get, "{method} {path}");
        }
    }
}

#[test]
fn operation_ids_are_verbs_and_none_stands_twice() {
    let document = published();
    let mut seen = BTreeSet::new();

    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_alphabetic()) && id.starts_with(|first: char| first.is_ascii_lowercase()), "{id}");
        assert!(seen.insert(id), "{id} stands twice");
        if path.matches('/').count() > 1 && method == "get" {
            assert!(id.starts_with("list") || id.starts_with("get"), "{id}");
        }
    }
}

#[test]
fn roles_and_records_are_those_of_the_policy() {
    let document = published();
    let mut seen = BTreeSet::new();

    for (path, method, operation) in operations(&document) {
        let is_open = operation["security"] == json!([]);
        assert_eq!(is_open, operation["responses"]["401"].is_null(), "{method} {path}");
        let is_personal = operation["security"] == json!([{ "personalToken": [] }]);
        assert_eq!(is_personal, path.starts_with("/v1/my"), "{method} {path}");
        if is_personal {
            // What people do in their teams is no matter of operators' roles; what changes something is recorded.
            let facts = &operation["x-causeway"];
            assert!(facts["roles"].is_null() && (facts["recorded"] == true) == (method != "get"), "{method} {path}");
            continue;
        }
        let Some(code) = operation["x-causeway"]["action"].as_str() else { continue };
        let action = *Action::ALL.iter().find(|action| action.code() == code).unwrap();
        let roles: Vec<_> = Role::ALL.into_iter().filter(|role| allows(*role, action)).map(Role::as_str).collect();
        assert_eq!(operation["x-causeway"]["roles"], json!(roles), "{method} {path}");
        assert_eq!(operation["security"], json!([{ "operatorToken": [] }]), "{method} {path}");
        seen.insert(code);
    }
    assert_eq!(seen.len(), Action::ALL.len(), "an action has no operation");
}

#[test]
fn every_part_of_a_path_is_a_parameter_and_every_reference_leads_somewhere() {
    let document = published();

    for (path, method, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let described: BTreeSet<_> =
            parameters.iter().filter(|parameter| parameter["in"] == "path").map(|parameter| parameter["name"].to_string()).collect();
        let parts: BTreeSet<_> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| json!(name).to_string()).collect();
        assert_eq!(described, parts, "{method} {path}");
    }
    let mut next = vec![&document];
    let mut seen = 0;
    while let Some(value) = next.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
            seen += 1;
        }
        match value {
            Value::Array(items) => next.extend(items),
            Value::Object(members) => next.extend(members.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert!(seen > 100, "{seen}");
}

#[tokio::test]
async fn the_document_is_served_to_everybody_and_not_sent_twice() {
    let fixture = Fixture::new();

    let first = ask(&fixture, "GET", "/v1/openapi.json", None).await;
    assert_eq!((first.status.as_u16(), first.header("content-type"), first.header("cache-control")), (200, "application/json", "no-cache"));
    assert!(first.text == text().unwrap());
    assert_eq!(first.json()["openapi"], "3.1.0");
    let etag = first.header("etag").to_owned();

    let again = async |tags: &str| {
        let request = request("GET", "/v1/openapi.json").header(header::IF_NONE_MATCH, tags);
        let answer = send(fixture.router(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.header("etag"), etag);
        (answer.status.as_u16(), answer.text.is_empty())
    };
    assert_eq!(again(&etag).await, (304, true));
    assert_eq!(again(&format!("\"other\", W/{etag}")).await, (304, true));
    assert_eq!(again("*").await, (304, true));
    assert_eq!(again("\"other\"").await, (200, false));
}

/// One name, one schema: of two the document would hold the last.
#[test]
fn no_two_schemas_have_one_name() {
    let mut seen = std::collections::BTreeMap::new();

    for entry in router::table() {
        for (name, schema) in entry.doc.schemas() {
            let schema = serde_json::to_value(schema).unwrap();
            let before = seen.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*before, schema, "{name}");
        }
    }
    assert!(seen.len() > 40, "{}", seen.len());
}
