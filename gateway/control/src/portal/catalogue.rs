//! APIs as developers read them: from their `OpenAPI` documents, with what the routes say about each operation.

use std::sync::Arc;

use http::Method;
use model::{
    document::{ApiDoc, Document, TenantDoc},
    structure::{
        Route, Structure,
        identity::{Auth, Credential},
    },
};
use serde_json::{Map, Value};

use super::view::markdown;

/// Operations of one API that are shown.
const OPERATIONS_MAX: usize = 1_000;
/// How deep references and examples are followed.
const DEPTH_MAX: usize = 8;
/// Members of one object in an example.
const MEMBERS_MAX: usize = 40;

/// An API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) version: String,
    /// HTML.
    pub(super) about: String,
    pub(super) operations: Vec<Operation>,
}

/// One operation of an API.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: Method,
    /// With the path of the API before it.
    pub(super) path: String,
    pub(super) summary: String,
    /// HTML.
    pub(super) about: String,
    pub(super) is_deprecated: bool,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) responses: Vec<(String, String)>,
    /// Where it is called, without a path: `https://api.example.com`.
    pub(super) origin: String,
    pub(super) scopes: Vec<String>,
    /// How callers prove who they are, in words; empty where nobody is asked.
    pub(super) proofs: Vec<String>,
    /// Names of limits.
    pub(super) limits: Vec<String>,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// A parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) is_required: bool,
    pub(super) about: String,
    pub(super) kind: String,
    pub(super) example: String,
}

/// A body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) media_type: String,
    pub(super) example: String,
}

impl Api {
    /// One operation.
    pub(super) fn operation(&self, id: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }
}

/// An API with those operations that a host of the tenant serves; none when it serves none of them.
pub(super) fn read(doc: &ApiDoc, document: &Document, tenant: &TenantDoc, structure: &Structure) -> Option<Api> {
    let compiled = structure.routes.iter().filter_map(|route| route.api.as_ref()).find(|api| api.name() == doc.name)?;
    let root = &doc.openapi;
    let mut operations: Vec<_> = compiled
        .operations()
        .filter_map(|operation| {
            let path = format!("{}{}", compiled.base_path(), operation.path_template());
            let (host, route) = served(structure, tenant, &doc.name, operation.method(), &path)?;
            let item = root.get("paths")?.get(operation.path_template())?;
            let described = item.get(operation.method().as_str().to_lowercase())?;
            Some(described_operation(root, item, described, (operation.id(), operation.method()), path, origin(document, &host), &route))
        })
        .take(OPERATIONS_MAX)
        .collect();
    if operations.is_empty() {
        return None;
    }
    operations.sort_by(|a, b| (&a.path, order(&a.method)).cmp(&(&b.path, order(&b.method))));
    let info = root.get("info").unwrap_or(&Value::Null);
    Some(Api {
        name: doc.name.clone(),
        title: text(info, "title"),
        version: text(info, "version"),
        about: markdown(&text(info, "description")),
        operations,
    })
}

const fn order(method: &Method) -> u8 {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::PUT => 2,
        Method::PATCH => 3,
        Method::DELETE => 4,
        _ => 5,
    }
}

/// The host and the route that take an operation: asked of the router's own table, with a path that stands for all.
fn served(structure: &Structure, tenant: &TenantDoc, api: &str, method: &Method, path: &str) -> Option<(String, Arc<Route>)> {
    let sample: String = path.split('/').map(|segment| if segment.starts_with('{') { "1" } else { segment }).collect::<Vec<_>>().join("/");
    let fits = |route: &&Arc<Route>| route.methods.is_empty() || route.methods.contains(method);
    tenant.hosts.iter().filter(|host| !host.is_wildcard()).find_map(|host| {
        let routes = structure.hosts.find(host.name())?;
        let route = routes.trie.find(&sample, |route| fits(&route))?;
        let is_of_api = route.api.as_ref().is_some_and(|of| of.name() == api);
        is_of_api.then(|| (host.name().to_owned(), Arc::clone(route)))
    })
}

/// Where a host is called: a region's gateway that has its name, with its port, or the name alone.
fn origin(document: &Document, host: &str) -> String {
    let of_region = document.regions.iter().filter_map(|region| region.gateway.as_ref()).find(|url| url.host_str() == Some(host));
    match of_region {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("https://{host}"),
    }
}

fn described_operation(
    root: &Value,
    item: &Value,
    described: &Value,
    (id, method): (&str, &Method),
    path: String,
    origin: String,
    route: &Route,
) -> Operation {
    let summary = [text(described, "summary"), text(item, "summary"), id.to_owned()].into_iter().find(|text| !text.is_empty());
    Operation {
        id: address(id, method, &path),
        method: method.clone(),
        summary: summary.unwrap_or_default(),
        about: markdown(&text(described, "description")),
        is_deprecated: described.get("deprecated").and_then(Value::as_bool).unwrap_or(false),
        parameters: parameters(root, item, described),
        body: body(root, described),
        responses: responses(root, described),
        path,
        origin,
        scopes: route.scopes.iter().map(ToString::to_string).collect(),
        proofs: proofs(&route.auth),
        limits: route.limits.iter().map(|limit| limit.name.to_string()).collect(),
    }
}

/// What stands for an operation in a URL.
fn address(id: &str, method: &Method, path: &str) -> String {
    let is_plain =
        |text: &str| !text.is_empty() && text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_plain(id) {
        return id.to_owned();
    }
    let of_path = path.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '-' });
    method.as_str().to_lowercase().chars().chain(of_path).collect()
}

fn proofs(auth: &Auth) -> Vec<String> {
    let words = |credential: &Credential| match credential {
        Credential::Key => "API key",
        Credential::Token(_) => "token",
        Credential::Certificate(_) => "client certificate",
        Credential::Signature(_) => "signature",
    };
    match auth {
        Auth::None => Vec::new(),
        Auth::ApiKey => vec!["API key".to_owned()],
        Auth::Ways(ways) => ways.iter().map(|way| way.0.iter().map(words).collect::<Vec<_>>().join(" and ")).collect(),
    }
}

fn parameters(root: &Value, item: &Value, described: &Value) -> Vec<Parameter> {
    let of = |holder: &Value| holder.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found: Vec<Parameter> = Vec::new();
    // What the operation says counts before what its path says.
    for parameter in of(described).iter().chain(&of(item)) {
        let parameter = resolved(root, parameter);
        let place = match parameter.get("in").and_then(Value::as_str) {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            // Cookies are no business of a console.
            _ => continue,
        };
        let name = text(parameter, "name");
        if found.iter().any(|known| known.name == name && known.place == place) {
            continue;
        }
        let schema = resolved(root, parameter.get("schema").unwrap_or(&Value::Null));
        let example = parameter.get("example").cloned().unwrap_or_else(|| example(root, schema, 0));
        let is_required = place == Place::Path || parameter.get("required").and_then(Value::as_bool).unwrap_or(false);
        found.push(Parameter { name, place, is_required, about: text(parameter, "description"), kind: kind(schema), example: plain(&example) });
    }
    found
}

fn body(root: &Value, described: &Value) -> Option<Body> {
    let body = resolved(root, described.get("requestBody")?);
    let content = body.get("content")?.as_object()?;
    let (media_type, media) = content.iter().find(|(name, _)| name.contains("json")).or_else(|| content.iter().next())?;
    let shown = media.get("example").cloned().unwrap_or_else(|| example(root, media.get("schema").unwrap_or(&Value::Null), 0));
    let is_json = media_type.contains("json");
    let example = if is_json { serde_json::to_string_pretty(&shown).unwrap_or_default() } else { plain(&shown) };
    Some(Body { media_type: media_type.clone(), example })
}

fn responses(root: &Value, described: &Value) -> Vec<(String, String)> {
    let responses = described.get("responses").and_then(Value::as_object);
    let of = |(status, response): (&String, &Value)| (status.clone(), text(resolved(root, response), "description"));
    responses.into_iter().flatten().map(of).collect()
}

/// Follows references within the document.
fn resolved<'v>(root: &'v Value, mut value: &'v Value) -> &'v Value {
    for _ in 0..DEPTH_MAX {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
        let Some(found) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else { return &Value::Null };
        value = found;
    }
    value
}

/// A value that a schema takes, as far as that is easy to tell.
fn example(root: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolved(root, schema);
    let given = ["example", "default", "const"].iter().find_map(|name| schema.get(*name));
    let listed = ["examples", "enum"].iter().find_map(|name| schema.get(*name)?.as_array()?.first());
    if let Some(value) = given.or(listed) {
        return value.clone();
    }
    if depth >= DEPTH_MAX {
        return Value::Null;
    }
    if let Some(first) = ["allOf", "oneOf", "anyOf"].iter().find_map(|name| schema.get(*name)?.as_array()?.first()) {
        return example(root, first, depth + 1);
    }
    match kind(schema).as_str() {
        "object" => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let members = properties.into_iter().flatten().take(MEMBERS_MAX).map(|(name, of)| (name.clone(), example(root, of, depth + 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        "array" => Value::Array(schema.get("items").map(|items| example(root, items, depth + 1)).into_iter().collect()),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(1)),
        "boolean" => Value::Bool(true),
        "string" => Value::from(match schema.get("format").and_then(Value::as_str) {
            Some("date") => "2026-01-31",
            Some("date-time") => "2026-01-31T12:00:00Z",
            Some("uuid") => "00000000-0000-4000-8000-000000000000",
            Some("email") => "ann@example.com",
            _ => "text",
        }),
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> String {
    match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default().to_owned(),
        _ if schema.get("properties").is_some() => "object".to_owned(),
        _ => String::new(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn text(holder: &Value, name: &str) -> String {
    holder.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
