//! Reading the document: version, servers, paths, operations. What they say about parameters and bodies is in
//! `document::request`.

mod request;

use std::collections::HashMap;
use std::str::FromStr as _;

use http::Method;
use serde_json::{Map, Value};

use super::keyword::Dialect;
use super::parameter::UnknownQuery;
use super::pointer::child;
use super::reference::References;
use super::schema::{Schemas, is_known_dialect};
use super::template::{self, Segment, Tree};
use super::{Api, ApiError, CHAIN_MAX, Errors};

/// Levels of nesting in a document. Deeper ones are not written by people, and reading recurses.
const DEPTH_MAX: usize = 128;

/// The extension by which an operation refuses query parameters that it does not name.
const UNKNOWN_QUERY: &str = "x-causeway-unknown-query";

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What may stand in a path item beside the methods.
const PATH_ITEM: [&str; 5] = ["$ref", "summary", "description", "servers", "parameters"];

/// What may stand in an operation. What is not about the request is not read.
const OPERATION: [&str; 12] = [
    "tags",
    "summary",
    "description",
    "externalDocs",
    "operationId",
    "parameters",
    "requestBody",
    "responses",
    "callbacks",
    "deprecated",
    "security",
    "servers",
];

/// An operation whose schemas are not compiled yet.
struct Draft {
    id: String,
    method: Method,
    path_template: String,
    parameters: Vec<request::ParameterDraft>,
    unknown_query: UnknownQuery,
    body: Option<request::BodyDraft>,
}

/// Compiles a document, or returns all of its errors.
pub(super) fn compile(name: &str, document: &Value) -> Result<Api, Vec<ApiError>> {
    let mut errors = Errors::default();
    if is_deeper(document, DEPTH_MAX) {
        errors.add("", format!("the document is nested deeper than {DEPTH_MAX} levels"), None);
        return Err(errors.0);
    }
    let Some(dialect) = dialect(document, &mut errors) else { return Err(errors.0) };
    let mut schemas = Schemas::new(References::read(document), dialect);
    schemas.errors = errors;

    let title = document.pointer("/info/title").and_then(Value::as_str);
    if title.is_none() {
        schemas.errors.add("/info/title", "the document has no title", "add `info.title`");
    }
    let base_path = base_path(document, &mut schemas.errors);
    let mut reader = Reader { document, schemas, tree: Tree::new(), paths: Vec::new(), drafts: Vec::new() };
    reader.read_paths();
    let Reader { mut schemas, tree, paths, drafts, .. } = reader;
    schemas.translate();
    check_components(document, &mut schemas);

    let operations = request::finish(&mut schemas, drafts);
    if !schemas.errors.0.is_empty() {
        return Err(schemas.errors.0);
    }
    let (name, title) = (name.to_owned(), title.unwrap_or_default().to_owned());
    Ok(Api { name, title, base_path, tree, paths, operations })
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(items), Some(levels)) => items.iter().any(|item| is_deeper(item, levels)),
        (Value::Object(members), Some(levels)) => members.values().any(|member| is_deeper(member, levels)),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => false,
    }
}

fn dialect(document: &Value, errors: &mut Errors) -> Option<Dialect> {
    let version = document.get("openapi").and_then(Value::as_str);
    let is = |minor: &str| version.is_some_and(|version| version == minor || version.starts_with(&format!("{minor}.")));
    let dialect = match (is("3.0"), is("3.1")) {
        (true, _) => Dialect::V30,
        (_, true) => Dialect::V31,
        _ if document.get("swagger").is_some() => {
            errors.add("/swagger", "Swagger 2.0 is not supported", "convert the document to OpenAPI 3.0 or 3.1");
            return None;
        }
        _ => {
            errors.add("/openapi", "the version is not supported", "declare `openapi: 3.0.3` or `openapi: 3.1.0`");
            return None;
        }
    };
    let is_supported = |uri: &Value| dialect == Dialect::V31 && uri.as_str().is_some_and(is_known_dialect);
    if document.get("jsonSchemaDialect").is_some_and(|uri| !is_supported(uri)) {
        let help = "remove it, and write the schemas in JSON Schema 2020-12";
        errors.add("/jsonSchemaDialect", "the schema dialect is not supported", help);
    }
    Some(dialect)
}

/// Returns the path of the first server, its variables replaced by their defaults.
fn base_path(document: &Value, errors: &mut Errors) -> String {
    let Some(server) = document.pointer("/servers/0") else { return String::new() };
    let at = "/servers/0/url";
    let Some(url) = server.get("url").and_then(Value::as_str) else {
        errors.add(at, "the server has no URL", None);
        return String::new();
    };
    let mut text = url.to_owned();
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            text = text.replace(&format!("{{{name}}}"), default);
        }
    }
    let base = url::Url::parse("http://relative.invalid/");
    let parsed = base.and_then(|base| base.join(&text));
    let path = parsed.ok().filter(|url| url.query().is_none() && url.fragment().is_none());
    let segments = path.as_ref().map(|url| url.path().trim_end_matches('/').split('/').map(template::canonical));
    let segments: Option<Vec<String>> = segments.and_then(Iterator::collect);
    match segments {
        Some(segments) if !text.contains(['{', '}']) => segments.join("/"),
        _ => {
            let help = "write an absolute URL or a path, and give every variable a default";
            errors.add(at, "the server's URL has no usable path", help);
            String::new()
        }
    }
}

struct Reader<'d> {
    document: &'d Value,
    schemas: Schemas<'d>,
    tree: Tree,
    paths: Vec<Vec<usize>>,
    drafts: Vec<Draft>,
}

impl<'d> Reader<'d> {
    fn read_paths(&mut self) {
        let paths = match self.document.get("paths") {
            Some(Value::Object(paths)) => paths,
            None if self.schemas.dialect() == Dialect::V31 => return,
            _ => return self.schemas.errors.add("/paths", "the document has no paths", "add an object of paths"),
        };
        let mut templates: Vec<&str> = Vec::new();
        let mut ids: HashMap<String, String> = HashMap::new();
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            let at = child("/paths", path);
            let segments = match template::parse(path) {
                Ok(segments) => segments,
                Err(error) => {
                    self.schemas.errors.add(at, error.to_string(), error.help());
                    continue;
                }
            };
            if let Err(other) = self.tree.insert(&segments, templates.len()) {
                let other = templates.get(other).copied().unwrap_or_default();
                let message = format!("the path matches the same requests as `{other}`");
                self.schemas.errors.add(at, message, "merge both under one path");
                continue;
            }
            templates.push(path);
            let first = self.drafts.len();
            self.read_path_item(path, &segments, item, at, &mut ids);
            self.paths.push((first..self.drafts.len()).collect());
        }
    }

    fn read_path_item(&mut self, path: &str, segments: &[Segment], item: &'d Value, at: String, ids: &mut HashMap<String, String>) {
        let Some((item, at)) = self.follow(item, at) else { return };
        for name in item.keys() {
            let is_known = METHODS.contains(&name.as_str()) || PATH_ITEM.contains(&name.as_str());
            self.check_name(&at, name, is_known);
        }
        self.refuse_servers(item, &at);
        let shared = self.parameters(item, &at);
        for name in METHODS {
            let Some(value) = item.get(name) else { continue };
            let at = child(&at, name);
            let (Value::Object(operation), Ok(method)) = (value, Method::from_str(&name.to_ascii_uppercase())) else {
                self.schemas.errors.add(at, "an operation must be an object", None);
                continue;
            };
            for name in operation.keys() {
                self.check_name(&at, name, OPERATION.contains(&name.as_str()));
            }
            self.refuse_servers(operation, &at);
            let id = self.operation_id(operation, &format!("{method} {path}"), &at, ids);
            let parameters = self.merged(&shared, operation, segments, &at);
            let unknown_query = self.unknown_query(operation, &at);
            let body = self.body(operation, &at);
            let path_template = path.to_owned();
            self.drafts.push(Draft { id, method, path_template, parameters, unknown_query, body });
        }
    }

    fn operation_id(&mut self, operation: &Map<String, Value>, default: &str, at: &str, ids: &mut HashMap<String, String>) -> String {
        let Some(id) = operation.get("operationId") else { return default.to_owned() };
        let at = child(at, "operationId");
        let Some(id) = id.as_str().filter(|id| !id.is_empty()) else {
            self.schemas.errors.add(at, "`operationId` must be a text", None);
            return default.to_owned();
        };
        match ids.get(id) {
            Some(other) => {
                let message = format!("the operation id is taken by {other}");
                self.schemas.errors.add(at, message, "give each operation an id of its own");
            }
            None => {
                ids.insert(id.to_owned(), at);
            }
        }
        id.to_owned()
    }

    /// The operation's word, else the document's, else allowed.
    fn unknown_query(&mut self, operation: &Map<String, Value>, at: &str) -> UnknownQuery {
        let (value, at) = match (operation.get(UNKNOWN_QUERY), self.document.get(UNKNOWN_QUERY)) {
            (Some(value), _) => (value, child(at, UNKNOWN_QUERY)),
            (None, Some(value)) => (value, child("", UNKNOWN_QUERY)),
            (None, None) => return UnknownQuery::Allowed,
        };
        match value.as_str() {
            Some("allow") => UnknownQuery::Allowed,
            Some("refuse") => UnknownQuery::Refused,
            _ => {
                self.schemas.errors.add(at, format!("`{UNKNOWN_QUERY}` must be `allow` or `refuse`"), None);
                UnknownQuery::Allowed
            }
        }
    }

    fn check_name(&mut self, at: &str, name: &str, is_known: bool) {
        if !is_known && !name.starts_with("x-") {
            let help = "correct it, remove it, or prefix its name with `x-`";
            self.schemas.errors.add(child(at, name), format!("`{name}` is not supported here"), help);
        }
    }

    fn refuse_servers(&mut self, holder: &Map<String, Value>, at: &str) {
        if holder.get("servers").and_then(Value::as_array).is_some_and(|servers| !servers.is_empty()) {
            let help = "put the server's path into the paths of a document of its own";
            self.schemas.errors.add(child(at, "servers"), "servers of a path or operation are not supported", help);
        }
    }

    /// Follows a Reference Object. Reports what is wrong with it.
    fn follow(&mut self, value: &'d Value, mut at: String) -> Option<(&'d Map<String, Value>, String)> {
        let mut value = value;
        for _ in 0..CHAIN_MAX {
            let Value::Object(members) = value else {
                self.schemas.errors.add(at, "an object is expected here", None);
                return None;
            };
            let Some(reference) = members.get("$ref") else { return Some((members, at)) };
            let place = child(&at, "$ref");
            let is_ignored = |name: &&String| !["$ref", "summary", "description"].contains(&name.as_str()) && !name.starts_with("x-");
            if let Some(name) = members.keys().find(is_ignored) {
                let message = format!("`$ref` replaces `{name}` beside it");
                self.schemas.errors.add(child(&at, name), message, "move it to the target of the `$ref`");
            }
            let target = reference.as_str().map(|reference| self.schemas.references.resolve("", reference));
            match target {
                Some(Ok(target)) => {
                    value = self.schemas.references.at(&target)?;
                    at = target;
                }
                Some(Err(error)) => {
                    self.schemas.errors.add(place, error.to_string(), error.help());
                    return None;
                }
                None => {
                    self.schemas.errors.add(place, "`$ref` must be a string", None);
                    return None;
                }
            }
        }
        self.schemas.errors.add(at, "the references form a loop or a chain that is too long", None);
        None
    }
}

/// Components that no request leads to are not compiled, but what they refer to must exist.
fn check_components(document: &Value, schemas: &mut Schemas<'_>) {
    for section in ["schemas", "parameters", "requestBodies"] {
        let at = format!("/components/{section}");
        for (name, component) in document.pointer(&at).and_then(Value::as_object).into_iter().flatten() {
            let at = child(&at, name);
            // A translated component has been checked, and better.
            if !schemas.has_root(&at) {
                check_references(component, &at, schemas);
            }
        }
    }
}

fn check_references(value: &Value, at: &str, schemas: &mut Schemas<'_>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_references(item, &format!("{at}/{index}"), schemas);
            }
        }
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            if let Some(Err(error)) = reference.map(|reference| schemas.references.resolve(at, reference)) {
                schemas.errors.add(child(at, "$ref"), error.to_string(), error.help());
            }
            let is_data = |name: &str| ["example", "examples", "default", "enum", "const"].contains(&name);
            for (name, member) in members.iter().filter(|(name, _)| !is_data(name) && !name.starts_with("x-")) {
                check_references(member, &child(at, name), schemas);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
