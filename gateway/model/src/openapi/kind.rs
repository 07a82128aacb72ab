//! Which kinds of value a translated schema can accept, as far as its `type`, `enum` and `const` say.
//!
//! A parameter arrives as text; what it may be read as follows from here.

use serde_json::Value;

use super::schema::{Schemas, local_number};

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const INTEGER: Self = Self(1);
    pub(super) const NUMBER: Self = Self(1 << 1);
    pub(super) const BOOLEAN: Self = Self(1 << 2);
    pub(super) const STRING: Self = Self(1 << 3);
    pub(super) const NULL: Self = Self(1 << 4);
    pub(super) const ARRAY: Self = Self(1 << 5);
    pub(super) const OBJECT: Self = Self(1 << 6);
    /// The schema does not say.
    pub(super) const ALL: Self = Self(0x7f);
    const NONE: Self = Self(0);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::INTEGER, "integer"),
        (Self::NUMBER, "number"),
        (Self::BOOLEAN, "boolean"),
        (Self::STRING, "string"),
        (Self::NULL, "null"),
        (Self::ARRAY, "array"),
        (Self::OBJECT, "object"),
    ];

    /// Whether any kind of `other` is in the set.
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn and(self, other: Self) -> Self {
        // An integer is a number as well.
        let both = self.0 & other.0;
        let narrow = |one: Self, two: Self| one.has(Self::NUMBER) && two.has(Self::INTEGER);
        let integer = if narrow(self, other) || narrow(other, self) { Self::INTEGER.0 } else { 0 };
        Self(both | integer)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn named(name: &str) -> Self {
        Self::NAMES.iter().find(|(_, known)| *known == name).map_or(Self::NONE, |(kind, _)| *kind)
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.is_f64() => Self::NUMBER,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// Says what a text must be to be read as one of the kinds.
    pub(super) fn phrase(self) -> String {
        // A number may be an integer, so both together are just a number.
        let shown = if self.has(Self::NUMBER) { self.without(Self::INTEGER) } else { self }.without(Self::NULL);
        let names = Self::NAMES.iter().filter(|(kind, _)| shown.has(*kind));
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        format!("must be of type {}", names.join(" or "))
    }
}

/// What a parameter of this schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterKind {
    /// One value of these kinds.
    Single(Kinds),
    /// A list of values of these kinds.
    List(Kinds),
}

/// Returns what a parameter with the root `number` as its schema is, or why it cannot be one.
pub(super) fn of_parameter(schemas: &Schemas<'_>, number: usize) -> Result<ParameterKind, &'static str> {
    let Some(root) = schemas.roots().get(number) else { return Err("the schema is missing") };
    let kinds = of_schema(schemas, &root.schema).without(Kinds::NULL);
    if kinds == Kinds::ALL.without(Kinds::NULL) {
        return Err("the schema must say the type of the parameter");
    }
    if kinds.has(Kinds::OBJECT) {
        return Err("a parameter whose value is an object is not supported");
    }
    if kinds == Kinds::NONE {
        return Err("no text can be a value of this schema");
    }
    if !kinds.has(Kinds::ARRAY) {
        return Ok(ParameterKind::Single(kinds));
    }
    if kinds != Kinds::ARRAY {
        return Err("a parameter that is either a list or a single value is not supported");
    }
    let items = of_items(schemas, &root.schema).unwrap_or(Kinds::ALL).without(Kinds::NULL);
    match items {
        Kinds::NONE => Err("no text can be an item of this schema"),
        _ if items == Kinds::ALL.without(Kinds::NULL) => Err("`items` must say the type of the items"),
        _ if items.has(Kinds::ARRAY) || items.has(Kinds::OBJECT) => Err("a parameter that is a list of lists or objects is not supported"),
        _ => Ok(ParameterKind::List(items)),
    }
}

/// The kinds that a schema accepts. Loops at the same value have been refused before.
fn of_schema(schemas: &Schemas<'_>, schema: &Value) -> Kinds {
    let Value::Object(keywords) = schema else {
        return if schema == &Value::Bool(false) { Kinds::NONE } else { Kinds::ALL };
    };
    let mut kinds = Kinds::ALL;
    for (keyword, value) in keywords {
        let each = || value.as_array().into_iter().flatten();
        let said = match keyword.as_str() {
            "type" if value.is_array() => each().filter_map(Value::as_str).fold(Kinds::NONE, |kinds, name| kinds.or(Kinds::named(name))),
            "type" => Kinds::named(value.as_str().unwrap_or_default()),
            "const" => Kinds::of_value(value),
            "enum" => each().fold(Kinds::NONE, |kinds, value| kinds.or(Kinds::of_value(value))),
            "$ref" => target(schemas, value).map_or(Kinds::ALL, |schema| of_schema(schemas, schema)),
            "allOf" => each().fold(Kinds::ALL, |kinds, schema| kinds.and(of_schema(schemas, schema))),
            "anyOf" | "oneOf" => each().fold(Kinds::NONE, |kinds, schema| kinds.or(of_schema(schemas, schema))),
            _ => Kinds::ALL,
        };
        kinds = kinds.and(said);
    }
    kinds
}

/// The kinds of the items, where `items` is said in the schema itself, behind a `$ref` or in an `allOf`.
fn of_items(schemas: &Schemas<'_>, schema: &Value) -> Option<Kinds> {
    let own = schema.get("items").map(|items| of_schema(schemas, items));
    let referred = schema.get("$ref").and_then(|value| target(schemas, value));
    let referred = referred.and_then(|schema| of_items(schemas, schema));
    let all_of = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
    let parts = all_of.filter_map(|schema| of_items(schemas, schema));
    own.into_iter().chain(referred).chain(parts).reduce(Kinds::and)
}

fn target<'s>(schemas: &'s Schemas<'_>, reference: &Value) -> Option<&'s Value> {
    let number = reference.as_str().and_then(local_number)?;
    schemas.roots().get(number).map(|root| &root.schema)
}
