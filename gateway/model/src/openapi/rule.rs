//! Compiled schemas: one registry holds the translated document, one validator per schema that requests need.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Keyword, PatternCache, PatternOptions, Registry, ValidationError, ValidationOptions, Validator};
use serde_json::{Map, Value, json};

use super::schema::{INTEGER_FORMAT, Schemas, local};
use super::{Errors, FieldError, Place, describe};

/// The name of the translated document inside the registry.
const DOCUMENT: &str = "urn:causeway:api";

/// Bytes a compiled pattern may take, which is the engine's own default: `^\p{L}{1,100}-$` takes between 4 and 8 MiB.
const PATTERN_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Above this many values an invalid body gets one error, not all: the validator makes one error object per offense
/// before the first can be seen, and a body of a million wrong items must not cost a million of them.
const DETAILED_VALUES_MAX: u32 = 10_000;

/// A compiled schema.
pub(super) struct Rule {
    validator: Validator,
    has_branches: bool,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rule").finish_non_exhaustive()
    }
}

impl Rule {
    /// Whether `value` is valid.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Returns what is wrong with `value`, which consists of `n_values` values: sorted, and not empty only when the value
    /// is invalid.
    pub(super) fn check(&self, value: &Value, n_values: u32) -> Vec<FieldError> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let errors = match n_values {
            0..=DETAILED_VALUES_MAX => describe::all(self.validator.iter_errors(value)),
            // A failed `anyOf` or `oneOf` collects the errors of its branches even for the first error.
            _ if self.has_branches => Vec::new(),
            _ => describe::all(self.validator.validate(value).err().into_iter()),
        };
        if errors.is_empty() {
            let message = "does not match the schema; it is too large to say where".to_owned();
            return vec![FieldError { place: Place::Pointer(String::new()), keyword: "schema", message }];
        }
        errors
    }
}

/// The patterns compiled so far, shared by all validators.
#[derive(Debug, Default)]
pub(super) struct Patterns(PatternCache);

impl Patterns {
    /// Whether the pattern can be matched in linear time.
    pub(super) fn compiles(&self, pattern: &str) -> bool {
        options(self).build(&json!({ "pattern": pattern })).is_ok()
    }
}

fn options(patterns: &Patterns) -> ValidationOptions<'static> {
    let engine = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .with_pattern_options(engine)
        .with_pattern_cache(patterns.0.clone())
        .with_keyword(INTEGER_FORMAT, integer_format)
}

/// Compiles the roots of the given numbers.
pub(super) fn compile(schemas: &Schemas<'_>, wanted: &[usize], errors: &mut Errors) -> HashMap<usize, Arc<Rule>> {
    let definitions: Map<String, Value> =
        schemas.roots().iter().enumerate().map(|(number, root)| (number.to_string(), root.schema.clone())).collect();
    let document = json!({ "$defs": definitions });
    let registry = Registry::new().draft(Draft::Draft202012).add(DOCUMENT, &document).and_then(jsonschema::RegistryBuilder::prepare);
    let registry = match registry {
        Ok(registry) => registry,
        Err(error) => {
            errors.add("", format!("the schemas cannot be combined: {error}"), None);
            return HashMap::new();
        }
    };

    let has_branches = schemas.roots().iter().any(|root| has_branches(&root.schema));
    let options = options(schemas.patterns());
    let options = options.with_registry(&registry);
    let mut rules = HashMap::new();
    for number in wanted {
        let Some(root) = schemas.roots().get(*number).filter(|_| !rules.contains_key(number)) else { continue };
        match options.build(&json!({ "$ref": format!("{DOCUMENT}{}", local(*number)) })) {
            Ok(validator) => {
                rules.insert(*number, Arc::new(Rule { validator, has_branches }));
            }
            Err(error) => errors.add(root.pointer.clone(), format!("the schema cannot be compiled: {error}"), None),
        }
    }
    rules
}

fn has_branches(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key("anyOf") || members.contains_key("oneOf") || members.values().any(has_branches),
        Value::Array(items) => items.iter().any(has_branches),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Says what the meta-schema has against a schema. The schema is the operator's own text, so it may be quoted.
pub(super) fn meta_message(error: &ValidationError<'_>) -> String {
    let is_any_of = matches!(error.kind(), ValidationErrorKind::AnyOf { .. });
    if is_any_of && error.instance_path().as_str().ends_with("/type") {
        return "`type` must be array, boolean, integer, null, number, object, string or a list of these".to_owned();
    }
    super::pointer::cut(&error.masked_with("the value").to_string(), 200).into_owned()
}

/// `int32` and `int64`.
///
/// # Source
///
/// `OpenAPI` Format Registry: both are integers of that many bits with a sign.
#[derive(Debug, Clone, Copy)]
enum IntegerFormat {
    Bits32,
    Bits64,
}

impl IntegerFormat {
    fn holds(self, value: &Value) -> bool {
        let Value::Number(number) = value else { return true };
        match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => matches!(self, Self::Bits64) || i32::try_from(integer).is_ok(),
            (None, Some(float)) => {
                let limit = match self {
                    Self::Bits32 => 2_147_483_648.0,
                    Self::Bits64 => 9_223_372_036_854_775_808.0,
                };
                float.fract() == 0.0 && float >= -limit && float < limit
            }
            (None, None) => false,
        }
    }
}

impl<'i> Keyword<'i> for IntegerFormat {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.holds(instance) {
            return Ok(());
        }
        Err(ValidationError::custom(match self {
            Self::Bits32 => "must be a 32-bit integer",
            Self::Bits64 => "must be a 64-bit integer",
        }))
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.holds(instance)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature is that of a keyword factory")]
fn integer_format<'a>(
    _parent: &'a Map<String, Value>,
    value: &'a Value,
    _path: jsonschema::paths::Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    Ok(Box::new(match value.as_str() {
        Some("int32") => IntegerFormat::Bits32,
        _ => IntegerFormat::Bits64,
    }))
}
