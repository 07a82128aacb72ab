//! Parameters and request bodies.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Draft, Reader};
use crate::openapi::Operation;
use crate::openapi::body::{self, BodyRule};
use crate::openapi::kind::{self, ParameterKind};
use crate::openapi::parameter::{Empty, Parameter, Shape, Where};
use crate::openapi::pointer::child;
use crate::openapi::rule::{self, Rule};
use crate::openapi::schema::Schemas;
use crate::openapi::template::Segment;

const PARAMETER: [&str; 12] =
    ["name", "in", "description", "required", "deprecated", "allowEmptyValue", "style", "explode", "allowReserved", "schema", "example", "examples"];

/// Headers whose parameters `OpenAPI` itself says are ignored (Parameter Object, `name`).
const IGNORED_HEADERS: [&str; 3] = ["accept", "content-type", "authorization"];

/// A parameter whose schema is not compiled yet.
#[derive(Debug, Clone)]
pub(super) struct ParameterDraft {
    at: String,
    name: String,
    place: DraftPlace,
    is_required: bool,
    empty: Empty,
    /// `style` says commas, where a list is written as one value.
    is_exploded: bool,
    schema: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DraftPlace {
    Path,
    Query,
}

/// A request body whose schema is not compiled yet.
#[derive(Debug)]
pub(super) struct BodyDraft {
    is_required: bool,
    checked: Vec<String>,
    streamed: Vec<String>,
    schema: usize,
}

impl<'d> Reader<'d> {
    /// Reads the parameters of a path item or an operation.
    pub(super) fn parameters(&mut self, holder: &'d Map<String, Value>, at: &str) -> Vec<ParameterDraft> {
        let at = child(at, "parameters");
        let list = match holder.get("parameters") {
            Some(Value::Array(list)) => list,
            None => return Vec::new(),
            Some(_) => {
                self.schemas.errors.add(at, "`parameters` must be a list", None);
                return Vec::new();
            }
        };
        let mut drafts: Vec<ParameterDraft> = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let place = format!("{at}/{index}");
            let Some((parameter, found)) = self.follow(value, place.clone()) else { continue };
            let Some(draft) = self.parameter(parameter, found) else { continue };
            if drafts.iter().any(|other| other.name == draft.name && other.place == draft.place) {
                let message = format!("the parameter `{}` is declared twice", draft.name);
                self.schemas.errors.add(place, message, "remove one of them");
            } else {
                drafts.push(draft);
            }
        }
        drafts
    }

    fn parameter(&mut self, parameter: &Map<String, Value>, at: String) -> Option<ParameterDraft> {
        let text = |name: &str| parameter.get(name).and_then(Value::as_str);
        let errors = &mut self.schemas.errors;
        let Some(name) = text("name").filter(|name| !name.is_empty()) else {
            errors.add(child(&at, "name"), "the parameter has no name", None);
            return None;
        };
        let (place, style) = match text("in") {
            Some("path") => (DraftPlace::Path, "simple"),
            Some("query") => (DraftPlace::Query, "form"),
            Some("header") if IGNORED_HEADERS.iter().any(|ignored| name.eq_ignore_ascii_case(ignored)) => return None,
            Some("header" | "cookie") => {
                let help = "remove the parameter: the gateway cannot check it yet, and will not pretend to";
                errors.add(child(&at, "in"), "header and cookie parameters are not supported", help);
                return None;
            }
            _ => {
                errors.add(child(&at, "in"), "`in` must be `path` or `query`", None);
                return None;
            }
        };
        if parameter.contains_key("content") {
            let help = "write `schema` with `style`, or move the value to the body";
            errors.add(child(&at, "content"), "parameters with `content` are not supported", help);
            return None;
        }
        if text("style").unwrap_or(style) != style || parameter.get("style").is_some_and(|style| !style.is_string()) {
            let message = format!("this style is not supported: only `{style}` is, here");
            errors.add(child(&at, "style"), message, "use the default style, or several parameters");
        }
        let is_required = self.flag(parameter, "required", false, &at);
        if place == DraftPlace::Path && !is_required {
            self.schemas.errors.add(child(&at, "required"), "a path parameter must say `required: true`", None);
        }
        if self.flag(parameter, "allowReserved", false, &at) {
            let help = "remove it: clients percent-encode reserved characters";
            self.schemas.errors.add(child(&at, "allowReserved"), "`allowReserved` is not supported", help);
        }
        let allows_empty = self.flag(parameter, "allowEmptyValue", false, &at) && place == DraftPlace::Query;
        let empty = if allows_empty { Empty::Allowed } else { Empty::Checked };
        let is_exploded = self.flag(parameter, "explode", place == DraftPlace::Query, &at);
        for key in parameter.keys() {
            self.check_name(&at, key, PARAMETER.contains(&key.as_str()));
        }
        let schema = child(&at, "schema");
        if !parameter.contains_key("schema") {
            self.schemas.errors.add(schema, "the parameter has no schema", "add a `schema` with a `type`");
            return None;
        }
        let (schema, name) = (self.schemas.root(&schema), name.to_owned());
        Some(ParameterDraft { at, name, place, is_required, empty, is_exploded, schema })
    }

    fn flag(&mut self, holder: &Map<String, Value>, name: &str, default: bool, at: &str) -> bool {
        match holder.get(name) {
            Some(Value::Bool(value)) => *value,
            None => default,
            Some(_) => {
                self.schemas.errors.add(child(at, name), format!("`{name}` must be true or false"), None);
                default
            }
        }
    }

    /// Returns the parameters of an operation: its own, and those of its path that it does not replace. Those of the path
    /// come first, in the order of the template.
    pub(super) fn merged(
        &mut self,
        shared: &[ParameterDraft],
        operation: &'d Map<String, Value>,
        segments: &[Segment],
        at: &str,
    ) -> Vec<ParameterDraft> {
        let own = self.parameters(operation, at);
        let is_replaced = |shared: &&ParameterDraft| !own.iter().any(|own| own.name == shared.name && own.place == shared.place);
        let inherited: Vec<ParameterDraft> = shared.iter().filter(is_replaced).cloned().collect();
        let (in_path, in_query): (Vec<_>, Vec<_>) = inherited.into_iter().chain(own).partition(|draft| draft.place == DraftPlace::Path);

        let mut merged = Vec::new();
        for segment in segments {
            let Segment::Parameter(name) = segment else { continue };
            if let Some(draft) = in_path.iter().find(|draft| draft.name == *name) {
                merged.push(draft.clone());
            } else {
                let message = format!("the path parameter `{name}` is not declared, or not usable");
                self.schemas.errors.add(at, message, "add it to `parameters` with `in: path`");
            }
        }
        for draft in &in_path {
            if !segments.contains(&Segment::Parameter(draft.name.clone())) {
                let message = format!("the path has no parameter `{}`", draft.name);
                self.schemas.errors.add(child(&draft.at, "name"), message, "correct its name, or remove it");
            }
        }
        merged.extend(in_query);
        merged
    }

    /// Reads the request body. `None` when no schema applies.
    pub(super) fn body(&mut self, operation: &'d Map<String, Value>, at: &str) -> Option<BodyDraft> {
        let (body, at) = self.follow(operation.get("requestBody")?, child(at, "requestBody"))?;
        for key in body.keys() {
            self.check_name(&at, key, ["description", "content", "required"].contains(&key.as_str()));
        }
        let is_required = self.flag(body, "required", false, &at);
        let at = child(&at, "content");
        let Some(content) = body.get("content").and_then(Value::as_object) else {
            self.schemas.errors.add(at, "the request body has no content", "name its media types under `content`");
            return None;
        };
        let mut checked: Vec<(String, &Value, String)> = Vec::new();
        let mut streamed: Vec<String> = Vec::new();
        for (name, media) in content {
            let at = child(&at, name);
            let media_type = body::essence(name).to_ascii_lowercase();
            if streamed.contains(&media_type) || checked.iter().any(|(known, ..)| *known == media_type) {
                self.schemas.errors.add(at, "the media type is declared twice", "remove one of them");
                continue;
            }
            match self.media_schema(media, &media_type, &at) {
                Some(schema) => checked.push((media_type, schema, child(&at, "schema"))),
                None => streamed.push(media_type),
            }
        }
        let (_, first, place) = checked.first()?;
        if let Some((.., other)) = checked.iter().find(|(_, schema, _)| schema != first) {
            let help = "give all JSON media types of the body the same schema";
            self.schemas.errors.add(other.clone(), "a second schema for the same body is not supported", help);
        }
        let schema = self.schemas.root(place);
        let checked = checked.into_iter().map(|(media_type, ..)| media_type).collect();
        Some(BodyDraft { is_required, checked, streamed, schema })
    }

    /// Returns the schema of a media type, when there is one to check.
    fn media_schema(&mut self, media: &'d Value, media_type: &str, at: &str) -> Option<&'d Value> {
        let Value::Object(media) = media else {
            self.schemas.errors.add(at, "a media type must be an object", None);
            return None;
        };
        for key in media.keys() {
            self.check_name(at, key, ["schema", "example", "examples", "encoding"].contains(&key.as_str()));
        }
        let schema = media.get("schema")?;
        if body::is_json(media_type) {
            return Some(schema);
        }
        if !says_nothing(schema) {
            let help = "remove the schema: such bodies go through unchecked";
            self.schemas.errors.add(child(at, "schema"), "a schema is supported for JSON bodies only", help);
        }
        None
    }
}

/// Whether a schema allows any bytes: empty, any text, or `OpenAPI 3.0`'s way to say "a file".
fn says_nothing(schema: &Value) -> bool {
    let is_file = |(key, value): (&String, &Value)| match (key.as_str(), value.as_str()) {
        ("type", Some("string")) | ("format", Some("binary")) | ("title" | "description", _) => true,
        (other, _) => other.starts_with("x-"),
    };
    match schema {
        Value::Object(members) => members.iter().all(is_file),
        Value::Bool(any) => *any,
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

/// Compiles the schemas that the operations need, and puts the operations together. Empty when there are errors.
pub(super) fn finish(schemas: &mut Schemas<'_>, drafts: Vec<Draft>) -> Vec<Operation> {
    let mut kinds = HashMap::new();
    let is_acyclic = schemas.is_acyclic();
    for draft in drafts.iter().flat_map(|draft| &draft.parameters).filter(|_| is_acyclic) {
        match kind::of_parameter(schemas, draft.schema) {
            Ok(kind) => {
                kinds.insert(draft.schema, kind);
            }
            Err(problem) => {
                let help = "use one of integer, number, boolean, string, or a list of these";
                schemas.errors.add(child(&draft.at, "schema"), problem, help);
            }
        }
    }
    if !schemas.errors.0.is_empty() {
        return Vec::new();
    }
    let wanted = drafts.iter().flat_map(|draft| {
        let bodies = draft.body.iter().map(|body| body.schema);
        draft.parameters.iter().map(|parameter| parameter.schema).chain(bodies)
    });
    let wanted: Vec<usize> = wanted.collect();
    let mut errors = std::mem::take(&mut schemas.errors);
    let rules = rule::compile(schemas, &wanted, &mut errors);
    schemas.errors = errors;
    drafts.into_iter().filter_map(|draft| operation(draft, &kinds, &rules)).collect()
}

/// `None` when a schema of it could not be compiled, which has been reported.
fn operation(draft: Draft, kinds: &HashMap<usize, ParameterKind>, rules: &HashMap<usize, Arc<Rule>>) -> Option<Operation> {
    let mut parameters = Vec::new();
    for (index, parameter) in draft.parameters.into_iter().enumerate() {
        let (shape, kinds) = match kinds.get(&parameter.schema)? {
            ParameterKind::Single(kinds) => (Shape::Single, *kinds),
            ParameterKind::List(kinds) if parameter.is_exploded && parameter.place == DraftPlace::Query => (Shape::Repeated, *kinds),
            ParameterKind::List(kinds) => (Shape::Commas, *kinds),
        };
        parameters.push(Parameter {
            // Those of the path come first and in the order of the template.
            place: match parameter.place {
                DraftPlace::Path => Where::Path(index),
                DraftPlace::Query => Where::Query,
            },
            name: parameter.name,
            is_required: parameter.is_required,
            empty: parameter.empty,
            shape,
            kinds,
            rule: Arc::clone(rules.get(&parameter.schema)?),
        });
    }
    let body = match draft.body {
        Some(body) => Some(BodyRule {
            is_required: body.is_required,
            checked: body.checked,
            streamed: body.streamed,
            rule: Arc::clone(rules.get(&body.schema)?),
        }),
        None => None,
    };
    let Draft { id, method, path_template, unknown_query, .. } = draft;
    Some(Operation { id, method, path_template, parameters, unknown_query, body })
}
