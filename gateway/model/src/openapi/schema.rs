//! Translation of the document's schemas to JSON Schema 2020-12.
//!
//! Every place that a request rule or a `$ref` names becomes a *root*: a schema of its own, which others refer to by
//! number. So a pointer into the middle of another schema, a loop of references and a shared component are one case.

mod version_30;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::keyword::{Dialect, Holds, holds};
use super::pointer::Path;
use super::reference::References;
use super::{Errors, rule};

/// The keyword that our translation adds for `int32` and `int64`, which JSON Schema does not know.
pub(super) const INTEGER_FORMAT: &str = "x-causeway-format";

/// Schemas that may apply to one value, each inside of the one before or referred to by it. Real documents have a handful;
/// with 64 levels of value this many stay far below a 2 MiB stack.
pub(super) const LEVELS_MAX: usize = 32;

const DIALECTS: [&str; 2] = ["https://json-schema.org/draft/2020-12/schema", "https://spec.openapis.org/oas/3.1/dialect/base"];

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
    /// The roots that it refers to.
    pub(super) links: Vec<Link>,
}

/// A reference from one root to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) target: usize,
    /// Whether the target applies to the value of the root itself, not to a part of it.
    pub(super) is_whole: bool,
    /// Schemas of the root, this reference included, that apply to the same value as the target.
    pub(super) levels: usize,
}

/// Where the translation is inside of a root.
#[derive(Debug, Clone, Copy)]
struct Here {
    /// As in [`Link`].
    is_whole: bool,
    /// Schemas above this one that apply to the same value.
    levels: usize,
}

impl Here {
    const PART: Self = Self { is_whole: false, levels: 0 };

    fn below(self) -> Self {
        Self { levels: self.levels + 1, ..self }
    }
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
        self.roots.push(Root { pointer: pointer.to_owned(), schema: Value::Bool(true), links: Vec::new() });
        self.by_pointer.insert(pointer.to_owned(), number);
        number
    }

    /// Translates every root asked for, and those that they lead to.
    pub(super) fn translate(&mut self) {
        let meta = jsonschema::draft202012::meta::validator();
        while let Some(root) = self.roots.get(self.n_translated) {
            let pointer = root.pointer.clone();
            let mut links = Vec::new();
            if let Some(source) = self.references.at(&pointer) {
                let schema = self.schema(source, Path::Start(&pointer), Here { is_whole: true, levels: 0 }, &mut links);
                for error in meta.iter_errors(&schema) {
                    let place = format!("{pointer}{}", error.instance_path().as_str());
                    self.errors.add(place, rule::meta_message(&error), None);
                }
                if let Some(root) = self.roots.get_mut(self.n_translated) {
                    root.schema = schema;
                    root.links = links;
                }
            }
            self.n_translated += 1;
        }
        self.is_acyclic = super::cycle::check(&self.roots, &mut self.errors);
    }

    /// Translates one schema.
    fn schema(&mut self, source: &Value, at: Path<'_>, here: Here, links: &mut Vec<Link>) -> Value {
        if here.levels > LEVELS_MAX {
            let message = format!("more than {LEVELS_MAX} schemas for the same value are nested");
            self.errors.add(at.pointer(), message, "flatten them");
            return Value::Bool(true);
        }
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
                    let schema = self.schema(value, at, Here::PART, links);
                    target.insert(keyword.clone(), schema);
                }
                Ok(Holds::SameSchema) => {
                    let schema = self.schema(value, at, here.below(), links);
                    target.insert(keyword.clone(), schema);
                }
                Ok(Holds::List) => self.list(keyword, value, at, Here::PART, links, &mut target),
                Ok(Holds::SameList) => self.list(keyword, value, at, here.below(), links, &mut target),
                Ok(Holds::Map) => self.map(keyword, value, at, Here::PART, links, &mut target),
                Ok(Holds::SameMap) => self.map(keyword, value, at, here.below(), links, &mut target),
                Ok(Holds::Special) if matches!(keyword.as_str(), "$ref" | "$dynamicRef") => {
                    if let Some(number) = self.reference(keyword, value, keywords, at) {
                        links.push(Link { target: number, is_whole: here.is_whole, levels: here.levels + 1 });
                        target.insert("$ref".to_owned(), json!(local(number)));
                    }
                }
                Ok(Holds::Special) => self.special(keyword, value, keywords, at, &mut target),
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

    fn list(&mut self, keyword: &str, value: &Value, at: Path<'_>, here: Here, links: &mut Vec<Link>, target: &mut Map<String, Value>) {
        let Some(items) = value.as_array() else {
            return self.errors.add(at.pointer(), format!("`{keyword}` must be a list of schemas"), None);
        };
        let schemas = items.iter().enumerate().map(|(i, item)| self.schema(item, at.index(i), here, links));
        let schemas = Value::Array(schemas.collect());
        target.insert(keyword.to_owned(), schemas);
    }

    fn map(&mut self, keyword: &str, value: &Value, at: Path<'_>, here: Here, links: &mut Vec<Link>, target: &mut Map<String, Value>) {
        let Some(members) = value.as_object() else {
            return self.errors.add(at.pointer(), format!("`{keyword}` must be an object of schemas"), None);
        };
        let mut schemas = Map::new();
        for (name, schema) in members {
            if keyword == "patternProperties" {
                self.check_pattern(name, at.key(name));
            }
            let schema = self.schema(schema, at.key(name), here, links);
            schemas.insert(name.clone(), schema);
        }
        target.insert(keyword.to_owned(), Value::Object(schemas));
    }

    fn special(&mut self, keyword: &str, value: &Value, siblings: &Map<String, Value>, at: Path<'_>, target: &mut Map<String, Value>) {
        match keyword {
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

    /// Returns the number of the root that a reference leads to.
    fn reference(&mut self, keyword: &str, value: &Value, siblings: &Map<String, Value>, at: Path<'_>) -> Option<usize> {
        let pointer = at.pointer();
        let Some(reference) = value.as_str() else {
            self.errors.add(pointer, format!("`{keyword}` must be a string"), None);
            return None;
        };
        if keyword == "$dynamicRef" && (self.references.has_embedded_resources() || siblings.contains_key("$ref")) {
            let help = "write `$ref`, or remove every `$id`";
            self.errors.add(pointer, "`$dynamicRef` beside `$id` or `$ref` is not supported", help);
            return None;
        }
        let is_ignored = |key: &&String| *key != "$ref" && holds(Dialect::V30, key) != Ok(Holds::Annotation);
        if let Some(ignored) = siblings.keys().find(is_ignored).filter(|_| self.dialect == Dialect::V30) {
            let message = format!("OpenAPI 3.0 ignores `{ignored}` beside `$ref`");
            self.errors.add(pointer.clone(), message, "put the `$ref` into `allOf`, beside the other keywords");
        }
        let holder = pointer.strip_suffix(&format!("/{keyword}")).unwrap_or(&pointer);
        match self.references.resolve(holder, reference) {
            Ok(found) => Some(self.root(&found)),
            Err(error) => {
                self.errors.add(pointer, error.to_string(), error.help());
                None
            }
        }
    }

    fn check_pattern(&mut self, pattern: &str, at: Path<'_>) {
        if self.patterns_seen.contains(pattern) || self.patterns.compiles(pattern) {
            self.patterns_seen.insert(pattern.to_owned());
            return;
        }
        let help = "write it without look-around and back-references, and with smaller repetition counts";
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
