//! Translation of the document's schemas to JSON Schema 2020-12.
//!
//! Every place that a request rule or a `$ref` names becomes a *root*: a schema of its own, which others refer to by
//! number. So a pointer into the middle of another schema, a loop of references and a shared component are one case.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::keyword::{Dialect, Holds, holds};
use super::pointer::Path;
use super::reference::References;
use super::{ApiError, Errors, rule};

/// The keyword that our translation adds for `int32` and `int64`, which JSON Schema does not know.
pub(super) const INTEGER_FORMAT: &str = "x-causeway-format";

const DIALECTS: [&str; 2] =
    ["https://json-schema.org/draft/2020-12/schema", "https://spec.openapis.org/oas/3.1/dialect/base"];

/// The schemas that requests are checked against, as far as they have been asked for.
#[derive(Debug)]
pub(super) struct Schemas<'d> {
    pub(super) references: References<'d>,
    pub(super) errors: Errors,
    dialect: Dialect,
    roots: Vec<Root>,
    by_pointer: HashMap<String, usize>,
    n_translated: usize,
    patterns: rule::Patterns,
    patterns_seen: HashSet<String>,
    is_acyclic: bool,
}

/// One place in the document that is a schema.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) pointer: String,
    /// The translation; `true` until it is made.
    pub(super) schema: Value,
    /// The roots it applies to the very same value, and how deep in itself.
    pub(super) same_value: Vec<(usize, usize)>,
}

impl<'d> Schemas<'d> {
    pub(super) fn new(references: References<'d>, dialect: Dialect) -> Self {
        Self {
            references,
            errors: Errors::default(),
            dialect,
            roots: Vec::new(),
            by_pointer: HashMap::new(),
            n_translated: 0,
            patterns: rule::Patterns::default(),
            patterns_seen: HashSet::new(),
            is_acyclic: false,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn roots(&self) -> &[Root] {
        &self.roots
    }

    pub(super) fn has_root(&self, pointer: &str) -> bool {
        self.by_pointer.contains_key(pointer)
    }

    /// Whether the translation has been made, and following references at the same value comes to an end.
    pub(super) fn is_acyclic(&self) -> bool {
        self.is_acyclic
    }

    pub(super) fn patterns(&self) -> &rule::Patterns {
        &self.patterns
    }

    /// Returns the number of the root at `pointer`, which must exist in the document.
    pub(super) fn root(&mut self, pointer: &str) -> usize {
        if let Some(number) = self.by_pointer.get(pointer) {
            return *number;
        }
        let number = self.roots.len();
        self.roots.push(Root { pointer: pointer.to_owned(), schema: Value::Bool(true), same_value: Vec::new() });
        self.by_pointer.insert(pointer.to_owned(), number);
        number
    }

    /// Translates every root asked for, and those that they lead to.
    pub(super) fn translate(&mut self) {
        let meta = jsonschema::draft202012::meta::validator();
        while let Some(root) = self.roots.get(self.n_translated) {
            let pointer = root.pointer.clone();
            let mut same_value = Vec::new();
            if let Some(source) = self.references.at(&pointer) {
                let schema = self.schema(source, Path::Start(&pointer), Some(0), &mut same_value);
                for error in meta.iter_errors(&schema) {
                    let place = format!("{pointer}{}", error.instance_path().as_str());
                    self.errors.add(place, rule::meta_message(&error), None);
                }
                if let Some(root) = self.roots.get_mut(self.n_translated) {
                    root.schema = schema;
                    root.same_value = same_value;
                }
            }
            self.n_translated += 1;
        }
        self.is_acyclic = super::cycle::check(&self.roots, &mut self.errors);
    }

    /// Translates one schema. `depth` counts the schemas above it in its root that apply to the same value; `None` when
    /// it applies to a part of the value.
    fn schema(
        &mut self,
        source: &Value,
        at: Path<'_>,
        depth: Option<usize>,
        same_value: &mut Vec<(usize, usize)>,
    ) -> Value {
        let keywords = match source {
            Value::Object(keywords) => keywords,
            Value::Bool(any) if self.dialect == Dialect::V31 || matches!(at, Path::Key(_, "additionalProperties")) => {
                return Value::Bool(*any);
            }
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.errors.add(at.pointer(), "a schema must be an object", None);
                return Value::Bool(true);
            }
        };
        let mut target = Map::new();
        for (keyword, value) in keywords {
            let at = at.key(keyword);
            match holds(self.dialect, keyword) {
                Ok(Holds::Annotation) => {}
                Ok(Holds::Limit) => {
                    target.insert(keyword.clone(), value.clone());
                }
                Ok(Holds::Schema) => {
                    let schema = self.schema(value, at, None, same_value);
                    target.insert(keyword.clone(), schema);
                }
                Ok(Holds::SameSchema) => {
                    let schema = self.schema(value, at, depth.map(|depth| depth + 1), same_value);
                    target.insert(keyword.clone(), schema);
                }
                Ok(Holds::List) => self.list(keyword, value, at, None, same_value, &mut target),
                Ok(Holds::SameList) => {
                    self.list(keyword, value, at, depth.map(|depth| depth + 1), same_value, &mut target);
                }
                Ok(Holds::Map) => self.map(keyword, value, at, None, same_value, &mut target),
                Ok(Holds::SameMap) => {
                    self.map(keyword, value, at, depth.map(|depth| depth + 1), same_value, &mut target);
                }
                Ok(Holds::Special) => {
                    let edge = depth.map(|depth| (depth, &mut *same_value));
                    self.special(keyword, value, keywords, at, edge, &mut target);
                }
                Err(help) => self.errors.add(at.pointer(), format!("the keyword `{keyword}` is not supported"), help),
            }
        }
        if self.dialect == Dialect::V30 {
            for (exclusive, inclusive) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
                if target.contains_key(exclusive) {
                    target.shift_remove(inclusive);
                }
            }
        }
        Value::Object(target)
    }

    fn list(
        &mut self,
        keyword: &str,
        value: &Value,
        at: Path<'_>,
        depth: Option<usize>,
        same_value: &mut Vec<(usize, usize)>,
        target: &mut Map<String, Value>,
    ) {
        let Some(items) = value.as_array() else {
            return self.errors.add(at.pointer(), format!("`{keyword}` must be a list of schemas"), None);
        };
        let schemas = items.iter().enumerate().map(|(i, item)| self.schema(item, at.index(i), depth, same_value));
        let schemas = Value::Array(schemas.collect());
        target.insert(keyword.to_owned(), schemas);
    }

    fn map(
        &mut self,
        keyword: &str,
        value: &Value,
        at: Path<'_>,
        depth: Option<usize>,
        same_value: &mut Vec<(usize, usize)>,
        target: &mut Map<String, Value>,
    ) {
        let Some(members) = value.as_object() else {
            return self.errors.add(at.pointer(), format!("`{keyword}` must be an object of schemas"), None);
        };
        let mut schemas = Map::new();
        for (name, schema) in members {
            if keyword == "patternProperties" {
                self.check_pattern(name, at.key(name));
            }
            let schema = self.schema(schema, at.key(name), depth, same_value);
            schemas.insert(name.clone(), schema);
        }
        target.insert(keyword.to_owned(), Value::Object(schemas));
    }

    fn special(
        &mut self,
        keyword: &str,
        value: &Value,
        siblings: &Map<String, Value>,
        at: Path<'_>,
        edge: Option<(usize, &mut Vec<(usize, usize)>)>,
        target: &mut Map<String, Value>,
    ) {
        match keyword {
            "$ref" | "$dynamicRef" => self.reference(keyword, value, siblings, at, edge, target),
            "type" => self.ty(value, siblings, at, target),
            "nullable" => self.nullable(value, siblings, at),
            "required" => {
                target.insert(keyword.to_owned(), self.required(value, siblings, at));
            }
            "exclusiveMinimum" | "exclusiveMaximum" => self.exclusive(keyword, value, siblings, at, target),
            "pattern" => {
                if let Some(pattern) = value.as_str() {
                    self.check_pattern(pattern, at);
                }
                target.insert(keyword.to_owned(), value.clone());
            }
            "format" => match value.as_str() {
                Some("int32" | "int64") => {
                    target.insert(INTEGER_FORMAT.to_owned(), value.clone());
                }
                _ => {
                    target.insert(keyword.to_owned(), value.clone());
                }
            },
            "$schema" if !value.as_str().is_some_and(is_known_dialect) => {
                let help = "remove it, or convert the schema to JSON Schema 2020-12";
                self.errors.add(at.pointer(), "the schema is in a dialect that is not supported", help);
            }
            _ if !value.is_string() => {
                self.errors.add(at.pointer(), format!("`{keyword}` must be a string"), None);
            }
            // `$id`, `$anchor` and `$dynamicAnchor` live on in the references.
            _ => {}
        }
    }

    fn reference(
        &mut self,
        keyword: &str,
        value: &Value,
        siblings: &Map<String, Value>,
        at: Path<'_>,
        edge: Option<(usize, &mut Vec<(usize, usize)>)>,
        target: &mut Map<String, Value>,
    ) {
        let Some(reference) = value.as_str() else {
            return self.errors.add(at.pointer(), format!("`{keyword}` must be a string"), None);
        };
        if keyword == "$dynamicRef" && (self.references.has_embedded_resources() || siblings.contains_key("$ref")) {
            let help = "write `$ref`, or remove every `$id`";
            return self.errors.add(at.pointer(), "`$dynamicRef` beside `$id` or `$ref` is not supported", help);
        }
        if self.dialect == Dialect::V30 {
            let overruled = siblings.keys().find(|key| {
                *key != "$ref" && holds(Dialect::V30, key) != Ok(Holds::Annotation)
            });
            if let Some(overruled) = overruled {
                let message = format!("OpenAPI 3.0 ignores `{overruled}` beside `$ref`");
                self.errors.add(at.pointer(), message, "put the `$ref` into `allOf`, beside the other keywords");
            }
        }
        let pointer = at.pointer();
        let holder = pointer.strip_suffix(&format!("/{keyword}")).unwrap_or(&pointer);
        match self.references.resolve(holder, reference) {
            Ok(found) => {
                let number = self.root(&found);
                if let Some((depth, same_value)) = edge {
                    same_value.push((number, depth + 1));
                }
                target.insert("$ref".to_owned(), json!(local(number)));
            }
            Err(error) => self.errors.add(pointer, error.to_string(), error.help()),
        }
    }

    fn ty(&mut self, value: &Value, siblings: &Map<String, Value>, at: Path<'_>, target: &mut Map<String, Value>) {
        let is_nullable = self.dialect == Dialect::V30 && siblings.get("nullable") == Some(&Value::Bool(true));
        let is_single = value.as_str().is_some_and(|name| name != "null");
        if self.dialect == Dialect::V30 && !is_single {
            let help = "OpenAPI 3.0 has one type a schema: use `nullable` or `oneOf`, or declare `openapi: 3.1.0`";
            return self.errors.add(at.pointer(), "`type` must be the name of one type other than null", help);
        }
        let value = if is_nullable { json!([value, "null"]) } else { value.clone() };
        target.insert("type".to_owned(), value);
    }

    fn nullable(&mut self, value: &Value, siblings: &Map<String, Value>, at: Path<'_>) {
        match value {
            Value::Bool(false) => {}
            Value::Bool(true) if siblings.contains_key("type") => {}
            Value::Bool(true) => {
                let help = "add the `type` beside it; a list of allowed values must name null as well";
                self.errors.add(at.pointer(), "`nullable` has no meaning without `type` beside it", help);
            }
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                self.errors.add(at.pointer(), "`nullable` must be true or false", None);
            }
        }
    }

    /// In `OpenAPI 3.0` a read-only property is required of responses only (Schema Object, `readOnly`).
    fn required(&self, value: &Value, siblings: &Map<String, Value>, at: Path<'_>) -> Value {
        let (Dialect::V30, Some(names)) = (self.dialect, value.as_array()) else { return value.clone() };
        let properties = siblings.get("properties");
        let is_read_only = |name: &Value| {
            let property = name.as_str().and_then(|name| properties?.get(name));
            property.is_some_and(|property| self.is_read_only(property, at))
        };
        Value::Array(names.iter().filter(|name| !is_read_only(name)).cloned().collect())
    }

    fn is_read_only(&self, property: &Value, at: Path<'_>) -> bool {
        let mut schema = property;
        for _ in 0..super::CHAIN_MAX {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
            let target = self.references.resolve(&at.pointer(), reference).ok();
            match target.and_then(|pointer| self.references.at(&pointer)) {
                Some(next) => schema = next,
                None => return false,
            }
        }
        schema.get("readOnly") == Some(&Value::Bool(true))
    }

    fn exclusive(
        &mut self,
        keyword: &str,
        value: &Value,
        siblings: &Map<String, Value>,
        at: Path<'_>,
        target: &mut Map<String, Value>,
    ) {
        if self.dialect == Dialect::V31 {
            target.insert(keyword.to_owned(), value.clone());
            return;
        }
        let limit = if keyword == "exclusiveMinimum" { "minimum" } else { "maximum" };
        match (value, siblings.get(limit)) {
            (Value::Bool(false), _) => {}
            (Value::Bool(true), Some(bound)) => {
                target.insert(keyword.to_owned(), bound.clone());
            }
            (Value::Bool(true), None) => {
                self.errors.add(at.pointer(), format!("`{keyword}` has no meaning without `{limit}`"), None);
            }
            _ => {
                let help = format!("OpenAPI 3.0 writes `{limit}: 5` and `{keyword}: true`");
                self.errors.push(ApiError {
                    pointer: at.pointer(),
                    message: format!("`{keyword}` must be true or false"),
                    help: Some(help),
                });
            }
        }
    }

    fn check_pattern(&mut self, pattern: &str, at: Path<'_>) {
        if self.patterns_seen.contains(pattern) || self.patterns.compiles(pattern) {
            self.patterns_seen.insert(pattern.to_owned());
            return;
        }
        let help = "look-around and back-references cannot be matched in linear time: write the pattern without them";
        self.errors.add(at.pointer(), "the pattern cannot be compiled to a matcher of linear time", help);
    }
}

/// How one root refers to another.
pub(super) fn local(number: usize) -> String {
    format!("#/$defs/{number}")
}

/// The number in a reference made by [`local`].
pub(super) fn local_number(reference: &str) -> Option<usize> {
    reference.strip_prefix("#/$defs/")?.parse().ok()
}

/// Whether the dialect is one that `OpenAPI 3.1` schemas are in.
pub(super) fn is_known_dialect(uri: &str) -> bool {
    DIALECTS.contains(&uri.trim_end_matches('#'))
}
