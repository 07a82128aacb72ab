//! The validator's errors in words of our own: for the client, in a fixed order, without repeating the client's values.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::pointer::{self, ECHO_CHARS_MAX};
use super::{ERRORS_MAX, FieldError, Place};

/// Characters of the schema's own text, such as a list of allowed values, that a message holds.
const SCHEMA_CHARS_MAX: usize = 200;

/// Returns the first errors in the order of their places.
pub(super) fn all<'e>(errors: impl Iterator<Item = ValidationError<'e>>) -> Vec<FieldError> {
    let mut found: Vec<ValidationError<'e>> = errors.collect();
    found.sort_by(|one, other| by_place(one.instance_path().as_str(), other.instance_path().as_str()));
    let mut described: Vec<FieldError> = Vec::new();
    for error in &found {
        for error in describe(error) {
            if described.len() == ERRORS_MAX {
                return described;
            }
            if !described.contains(&error) {
                described.push(error);
            }
        }
    }
    described
}

/// Orders pointers segment by segment, and the indexes of a list by number: `/items/2` before `/items/10`.
fn by_place(one: &str, other: &str) -> std::cmp::Ordering {
    let key = |segment: &'_ str| (segment.parse::<u64>().unwrap_or(u64::MAX), segment.to_owned());
    one.split('/').map(key).cmp(other.split('/').map(key))
}

fn describe(error: &ValidationError<'_>) -> Vec<FieldError> {
    let place = error.instance_path().as_str();
    if let Kind::AdditionalProperties { unexpected } = error.kind() {
        return members(place, unexpected, "additionalProperties");
    }
    if let Kind::UnevaluatedProperties { unexpected } = error.kind() {
        return members(place, unexpected, "unevaluatedProperties");
    }
    if let Kind::Required { property } = error.kind() {
        return vec![member(place, property.as_str().unwrap_or_default(), "required", "is required")];
    }
    let (keyword, message) = phrase(error.kind());
    vec![FieldError { place: Place::Pointer(cut_place(place)), keyword, message }]
}

fn members(place: &str, names: &[String], keyword: &'static str) -> Vec<FieldError> {
    names.iter().take(ERRORS_MAX).map(|name| member(place, name, keyword, "is not an allowed property")).collect()
}

fn member(place: &str, name: &str, keyword: &'static str, message: &str) -> FieldError {
    let mut place = cut_place(place);
    pointer::push_cut(&mut place, name);
    FieldError { place: Place::Pointer(place), keyword, message: message.to_owned() }
}

/// Cuts each segment, because the client chose it.
fn cut_place(place: &str) -> String {
    let mut text = String::with_capacity(place.len());
    for segment in place.split('/').skip(1) {
        text.push('/');
        text.push_str(&pointer::cut(segment, ECHO_CHARS_MAX));
    }
    text
}

/// Returns the keyword and what the value must be.
fn phrase(kind: &Kind) -> (&'static str, String) {
    match kind {
        Kind::AdditionalItems { limit } => ("items", format!("must not have more than {limit} items")),
        Kind::AdditionalProperties { .. } => ("additionalProperties", "has properties that are not allowed".to_owned()),
        Kind::UnevaluatedProperties { .. } => ("unevaluatedProperties", "has properties that are not allowed".to_owned()),
        Kind::UnevaluatedItems { .. } => ("unevaluatedItems", "has items that are not allowed".to_owned()),
        Kind::AnyOf { .. } => ("anyOf", "does not match any of the allowed forms".to_owned()),
        Kind::OneOfNotValid { .. } => ("oneOf", "does not match any of the allowed forms".to_owned()),
        Kind::OneOfMultipleValid { .. } => ("oneOf", "matches more than one of the allowed forms".to_owned()),
        Kind::Not { .. } => ("not", "has a form that is not allowed".to_owned()),
        Kind::FalseSchema => ("false", "is not allowed".to_owned()),
        Kind::Constant { expected_value } => ("const", format!("must be {}", quote(expected_value))),
        Kind::Enum { options } => ("enum", format!("must be one of {}", list(options))),
        Kind::Type { kind } => ("type", ty(kind)),
        Kind::Required { .. } => ("required", "is required".to_owned()),
        Kind::Contains => ("contains", "does not contain the required items".to_owned()),
        Kind::UniqueItems => ("uniqueItems", "must not repeat an item".to_owned()),
        Kind::PropertyNames { .. } => ("propertyNames", "has a property name that is not allowed".to_owned()),
        Kind::Format { format } => ("format", format!("must be a valid {format}")),
        Kind::Pattern { pattern } => ("pattern", format!("must match the pattern {}", pointer::cut(pattern, SCHEMA_CHARS_MAX))),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => ("pattern", "cannot be matched against the pattern".to_owned()),
        Kind::ContentEncoding { content_encoding } => ("contentEncoding", format!("must be valid {content_encoding}")),
        Kind::ContentMediaType { content_media_type } => ("contentMediaType", format!("must be valid {content_media_type}")),
        Kind::FromUtf8 { .. } => ("contentEncoding", "must decode to UTF-8".to_owned()),
        // Our own keyword is the only custom one, and its message is ours.
        Kind::Custom { message, .. } => ("format", message.clone()),
        Kind::Referencing(_) => ("$ref", "cannot be checked".to_owned()),
        Kind::ExclusiveMaximum { .. }
        | Kind::ExclusiveMinimum { .. }
        | Kind::Maximum { .. }
        | Kind::Minimum { .. }
        | Kind::MultipleOf { .. }
        | Kind::MaxItems { .. }
        | Kind::MinItems { .. }
        | Kind::MaxLength { .. }
        | Kind::MinLength { .. }
        | Kind::MaxProperties { .. }
        | Kind::MinProperties { .. } => limit(kind),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "`phrase` lists the others, and calls this for the limits only")]
fn limit(kind: &Kind) -> (&'static str, String) {
    match kind {
        Kind::ExclusiveMaximum { limit } => ("exclusiveMaximum", format!("must be less than {limit}")),
        Kind::ExclusiveMinimum { limit } => ("exclusiveMinimum", format!("must be greater than {limit}")),
        Kind::Maximum { limit } => ("maximum", format!("must be at most {limit}")),
        Kind::Minimum { limit } => ("minimum", format!("must be at least {limit}")),
        Kind::MultipleOf { multiple_of } => ("multipleOf", format!("must be a multiple of {multiple_of}")),
        Kind::MaxItems { limit } => ("maxItems", format!("must have at most {}", count(*limit, "item", "items"))),
        Kind::MinItems { limit } => ("minItems", format!("must have at least {}", count(*limit, "item", "items"))),
        Kind::MaxLength { limit } => ("maxLength", format!("must have at most {}", count(*limit, "character", "characters"))),
        Kind::MinLength { limit } => ("minLength", format!("must have at least {}", count(*limit, "character", "characters"))),
        Kind::MaxProperties { limit } => ("maxProperties", format!("must have at most {}", count(*limit, "property", "properties"))),
        Kind::MinProperties { limit } => ("minProperties", format!("must have at least {}", count(*limit, "property", "properties"))),
        _ => ("schema", "does not match the schema".to_owned()),
    }
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn ty(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(name) => format!("must be of type {name}"),
        TypeKind::Multiple(names) => {
            let mut names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            names.sort_by_key(|name| name == "null");
            format!("must be of type {}", names.join(" or "))
        }
    }
}

fn list(options: &Value) -> String {
    let texts: Vec<String> = options.as_array().into_iter().flatten().map(quote).collect();
    pointer::cut(&texts.join(", "), SCHEMA_CHARS_MAX).into_owned()
}

/// A value of the schema, cut.
fn quote(value: &Value) -> String {
    pointer::cut(&value.to_string(), SCHEMA_CHARS_MAX).into_owned()
}
