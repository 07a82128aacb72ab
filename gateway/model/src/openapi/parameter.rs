//! Path and query parameters: split, decoded once, given the type their schema asks for, then checked by the schema.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Number, Value};

use super::kind::Kinds;
use super::pointer::{self, ECHO_CHARS_MAX, Plus, percent_decode};
use super::rule::Rule;
use super::template::PathValues;
use super::{ERRORS_MAX, FieldError, Location, Place};

/// Digits that a number in a parameter may have: the same limit as in a body.
const NUMBER_BYTES_MAX: usize = 64;

/// A compiled parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Where,
    pub(super) is_required: bool,
    /// `allowEmptyValue`: an empty value is not checked.
    pub(super) empty: Empty,
    pub(super) shape: Shape,
    /// Of the value, or of each item of a list.
    pub(super) kinds: Kinds,
    pub(super) rule: Arc<Rule>,
}

/// Where a parameter's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In the path, as the value of this index.
    Path(usize),
    /// In the query.
    Query,
}

/// What an empty query value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// A value like any other.
    Checked,
    /// Allowed whatever the schema says.
    Allowed,
}

/// How a parameter's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    Single,
    /// A list with commas: `simple`, or `form` without `explode`.
    Commas,
    /// A list as a parameter that repeats: `form` with `explode`.
    Repeated,
}

/// What happens to query parameters that the operation does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownQuery {
    /// They go through.
    Allowed,
    /// They are an error.
    Refused,
}

/// Checks everything an operation says about its parameters.
pub(super) fn check(parameters: &[Parameter], unknown: UnknownQuery, path_values: &PathValues<'_>, query: Option<&str>) -> Vec<FieldError> {
    let mut found: Vec<Vec<&str>> = vec![Vec::new(); parameters.len()];
    let mut strangers = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode(name, Plus::Space).unwrap_or(Cow::Borrowed(name));
        let known = parameters.iter().position(|one| one.place == Where::Query && one.name == name);
        match known.and_then(|index| found.get_mut(index)) {
            Some(values) => values.push(value),
            None if unknown == UnknownQuery::Refused && strangers.len() < ERRORS_MAX => {
                strangers.push(stranger(&name));
            }
            None => {}
        }
    }

    let mut errors = Vec::new();
    for (parameter, texts) in parameters.iter().zip(&found) {
        match parameter.place {
            Where::Path(index) => parameter.check(path_values.as_slice().get(index..=index).unwrap_or_default(), &mut errors),
            Where::Query => parameter.check(texts, &mut errors),
        }
    }
    errors.append(&mut strangers);
    errors.truncate(ERRORS_MAX);
    errors
}

fn stranger(name: &str) -> FieldError {
    let name = pointer::cut(name, ECHO_CHARS_MAX).into_owned();
    let place = Place::Parameter { location: Location::Query, name };
    FieldError { place, keyword: "unknown", message: "is not a parameter of this operation".to_owned() }
}

impl Parameter {
    fn check(&self, texts: &[&str], errors: &mut Vec<FieldError>) {
        let checked = match (texts, self.shape) {
            ([], _) if self.is_required => Err(self.error("required", "is required".to_owned())),
            ([], _) => return,
            (texts, Shape::Repeated) => self.items(&mut texts.iter().copied()),
            ([""], _) if self.empty == Empty::Allowed => return,
            ([text], Shape::Commas) => self.items(&mut text.split(',')),
            ([text], Shape::Single) => self.single(text),
            _ => Err(self.error("repeated", "must be given only once".to_owned())),
        };
        match checked {
            Ok(value) => errors.extend(self.rule.check(&value, 0).into_iter().map(|error| self.at_home(error))),
            Err(error) => errors.push(error),
        }
    }

    /// Returns the first reading of the text that the schema accepts, or the first reading.
    fn single(&self, text: &str) -> Result<Value, FieldError> {
        let text = self.decode(text)?;
        let mut readings = readings(&text, self.kinds);
        let Some(first) = readings.next() else { return Err(self.error("type", self.kinds.phrase())) };
        if self.rule.accepts(&first) {
            return Ok(first);
        }
        Ok(readings.find(|other| self.rule.accepts(other)).unwrap_or(first))
    }

    fn items(&self, texts: &mut dyn Iterator<Item = &str>) -> Result<Value, FieldError> {
        let mut items = Vec::new();
        for (index, text) in texts.enumerate() {
            let text = self.decode(text)?;
            let Some(item) = readings(&text, self.kinds).next() else {
                return Err(self.error("type", format!("item {index}: {}", self.kinds.phrase())));
            };
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn decode<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, FieldError> {
        let plus = match self.place {
            Where::Path(_) => Plus::Itself,
            Where::Query => Plus::Space,
        };
        percent_decode(text, plus).ok_or_else(|| self.error("encoding", "is not percent-encoded UTF-8".to_owned()))
    }

    fn error(&self, keyword: &'static str, message: String) -> FieldError {
        let location = match self.place {
            Where::Path(_) => Location::Path,
            Where::Query => Location::Query,
        };
        FieldError { place: Place::Parameter { location, name: self.name.clone() }, keyword, message }
    }

    /// Turns an error inside the value into one of the parameter.
    fn at_home(&self, error: FieldError) -> FieldError {
        let message = match &error.place {
            Place::Pointer(place) if !place.is_empty() => {
                format!("item {}: {}", place.trim_start_matches('/'), error.message)
            }
            Place::Pointer(_) | Place::Parameter { .. } => error.message,
        };
        self.error(error.keyword, message)
    }
}

/// What a text can mean, the narrowest kind first.
fn readings(text: &str, kinds: Kinds) -> impl Iterator<Item = Value> {
    let integer = kinds.has(Kinds::INTEGER).then(|| integer(text)).flatten();
    let number = kinds.has(Kinds::NUMBER).then(|| number(text)).flatten();
    let boolean = kinds.has(Kinds::BOOLEAN).then(|| text.parse::<bool>().ok()).flatten();
    let string = kinds.has(Kinds::STRING).then(|| Value::String(text.to_owned()));
    [integer, number, boolean.map(Value::Bool), string].into_iter().flatten()
}

/// Reads the integers of JSON's grammar: no plus sign, no leading zeros, no fraction, no exponent.
fn integer(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_integer || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    number(text)
}

/// Reads a number in JSON's grammar.
fn number(text: &str) -> Option<Value> {
    // The parser would also take white space around the number.
    let is_bare = text.len() <= NUMBER_BYTES_MAX && !text.bytes().any(|byte| byte.is_ascii_whitespace());
    let number: Number = is_bare.then(|| serde_json::from_str(text).ok()).flatten()?;
    Some(Value::Number(number))
}
