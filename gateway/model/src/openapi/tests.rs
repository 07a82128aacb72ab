//! Tables of document, request and expected answer; the public suites; and inputs that nobody would write.

#![expect(clippy::print_stdout, reason = "the suites print their scores, and `skipped` where the vectors are missing")]
#![expect(clippy::needless_pass_by_value, reason = "`json!` makes values, and a table is easier to read without borrows")]

mod bodies;
mod json;
mod load;
mod lookup;
mod parameters;
mod random;
mod references;
mod suites;

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use super::{Api, FieldError, JsonLimits, Lookup, Place};

/// A document of version `openapi` with these paths.
fn document(openapi: &str, paths: &Value) -> Value {
    json!({ "openapi": openapi, "info": { "title": "Shop", "version": "1" }, "paths": paths })
}

/// A document with `POST /items` that takes this schema as its body, and these components.
fn body_document(openapi: &str, schema: &Value, components: &Value) -> Value {
    let content = json!({ "application/json": { "schema": schema } });
    let post = json!({ "operationId": "create", "requestBody": { "required": true, "content": content } });
    let mut document = document(openapi, &json!({ "/items": { "post": post } }));
    document["components"] = components.clone();
    document
}

fn compile(document: &Value) -> Api {
    Api::compile("shop", document).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// The errors of a document as `pointer: message`.
fn load_errors(document: &Value) -> Vec<String> {
    match Api::compile("shop", document) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The one line a test compares: `/quantity minimum` or `query limit type`.
fn line(error: &FieldError) -> String {
    match &error.place {
        Place::Pointer(pointer) => format!("{pointer} {}", error.keyword),
        Place::Parameter { location, name } => format!("{} {name} {}", location.as_str(), error.keyword),
    }
}

fn lines(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(line).collect()
}

/// What `POST /items` says about a body.
fn check_body(api: &Api, body: &str) -> Vec<FieldError> {
    let Lookup::Found { operation, .. } = api.find(&Method::POST, "/items") else { panic!("POST /items is missing") };
    operation.body().expect("the operation has a body rule").check(body.as_bytes(), &JsonLimits::default())
}

/// What a request's parameters are told.
fn check_parameters(api: &Api, path: &str, query: Option<&str>) -> Vec<FieldError> {
    let Lookup::Found { operation, path_values } = api.find(&Method::GET, path) else { panic!("GET {path} is missing") };
    operation.check_parameters(&path_values, query)
}

/// The folder of public test vectors beside the checkout, when it is there.
fn vectors(name: &str) -> Option<PathBuf> {
    let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = checkout.join("../shared/vectors").join(name);
    folder.is_dir().then_some(folder)
}
