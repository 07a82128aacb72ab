//! Request validation from an `OpenAPI` document: compiled once when configuration is compiled, used per request.
//!
//! `OpenAPI 3.0` and 3.1. What a document asks for and this module cannot check fails the load with its place and a
//! remedy; nothing is skipped in silence. Responses, callbacks, links and `security` are no rules about requests and are
//! not read.
//!
//! Reading order: [`Api`], `document` (paths, parameters, bodies), `schema` (translation to JSON Schema 2020-12), `rule`
//! (compiled schemas), `template` (finding an operation), `parameter`, `body`, `json` (bounded reading).

mod body;
mod cycle;
mod describe;
mod document;
mod json;
mod keyword;
mod kind;
mod parameter;
mod pointer;
mod reference;
mod rule;
mod schema;
mod template;

#[cfg(test)]
mod tests;

use http::Method;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

pub use body::BodyRule;
pub use json::JsonLimits;
pub use template::PathValues;

/// Errors in one answer: enough for a form, too few to be worth provoking.
const ERRORS_MAX: usize = 20;

/// References that may follow one another.
const CHAIN_MAX: usize = 16;

/// A compiled `OpenAPI` document.
#[derive(Debug)]
pub struct Api {
    name: String,
    title: String,
    base_path: String,
    tree: template::Tree,
    /// Per path: its operations, in the order of the document.
    paths: Vec<Vec<usize>>,
    operations: Vec<Operation>,
}

/// One error in a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct ApiError {
    /// The place, as a JSON pointer into the document: `/paths/~1items/post/requestBody`.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What a request path and method lead to.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// An operation.
    Found {
        /// The operation.
        operation: &'a Operation,
        /// The values of its path parameters.
        path_values: PathValues<'a>,
    },
    /// A path of the API, which does not have the method.
    MethodNotAllowed {
        /// The methods that it has, in the order of the document: the `Allow` header of a 405 (RFC 9110 §15.5.6).
        allowed: Vec<Method>,
    },
    /// No path of the API.
    NotFound,
}

/// One operation of an API.
#[derive(Debug)]
pub struct Operation {
    id: String,
    method: Method,
    path_template: String,
    parameters: Vec<parameter::Parameter>,
    unknown_query: parameter::UnknownQuery,
    body: Option<BodyRule>,
}

/// One thing that is wrong with a request: an element of `errors[]` in a 422 answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where.
    pub place: Place,
    /// Which rule: a JSON Schema keyword, or a word of our own such as `syntax` or `duplicate`.
    pub keyword: &'static str,
    /// What the value must be; for people, and without the value.
    pub message: String,
}

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the body, as a JSON pointer: `/quantity`. Empty for the whole body.
    Pointer(String),
    /// A parameter.
    Parameter {
        /// Which part of the URL it is in.
        location: Location,
        /// Its name.
        name: String,
    },
}

/// The part of a URL that a parameter is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// The path.
    Path,
    /// The query.
    Query,
}

impl Location {
    /// Returns the word that `OpenAPI` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
        }
    }
}

impl Serialize for FieldError {
    /// `{pointer, keyword, message}` or `{in, name, keyword, message}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.place {
            Place::Pointer(pointer) => map.serialize_entry("pointer", pointer)?,
            Place::Parameter { location, name } => {
                map.serialize_entry("in", location.as_str())?;
                map.serialize_entry("name", name)?;
            }
        }
        map.serialize_entry("keyword", self.keyword)?;
        map.serialize_entry("message", &self.message)?;
        map.end()
    }
}

impl Api {
    /// Compiles a document. `name` is what the configuration calls it.
    ///
    /// # Errors
    ///
    /// Every error of the document, in the order in which they were found.
    pub fn compile(name: &str, document: &Value) -> Result<Self, Vec<ApiError>> {
        document::compile(name, document)
    }

    /// Returns the name that the configuration gave the document.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `info.title`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Returns the path of the first server without a slash at its end: `/v1`, or an empty text for the root.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Finds the operation for a request. `path` is the whole request path, base path included, without the query, as the
    /// gateway normalized it (upper-case escapes, no escape where none is needed).
    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Lookup<'a> {
        let below = path.strip_prefix(self.base_path.as_str());
        let Some((leaf, path_values)) = below.and_then(|below| self.tree.find(below)) else { return Lookup::NotFound };
        let numbers = self.paths.get(leaf).map(Vec::as_slice).unwrap_or_default();
        let here = || numbers.iter().filter_map(|number| self.operations.get(*number));
        if let Some(operation) = here().find(|operation| operation.method == *method) {
            return Lookup::Found { operation, path_values };
        }
        Lookup::MethodNotAllowed { allowed: here().map(|operation| operation.method.clone()).collect() }
    }

    /// Returns all operations in the order of the document.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter()
    }
}

impl Operation {
    /// Returns the `operationId`, or `GET /items/{id}` where the document gives none.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path template as the document writes it, without the base path.
    pub fn path_template(&self) -> &str {
        &self.path_template
    }

    /// Returns the rule for the body. `None`: no schema applies, the body streams through untouched.
    pub fn body(&self) -> Option<&BodyRule> {
        self.body.as_ref()
    }

    /// Checks the path values that [`Api::find`] returned, and the query as it was sent. No errors means valid; at most 20
    /// come back: path, then query in the order of the document.
    pub fn check_parameters(&self, path_values: &PathValues<'_>, query: Option<&str>) -> Vec<FieldError> {
        let nothing_to_check = self.parameters.is_empty() && self.unknown_query == parameter::UnknownQuery::Allowed;
        if nothing_to_check {
            return Vec::new();
        }
        parameter::check(&self.parameters, self.unknown_query, path_values, query)
    }
}

/// The errors of a document, each once.
#[derive(Debug, Default)]
struct Errors(Vec<ApiError>);

impl Errors {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>, help: impl Into<Option<&'static str>>) {
        let help = help.into().map(str::to_owned);
        self.push(ApiError { pointer: pointer.into(), message: message.into(), help });
    }

    fn push(&mut self, error: ApiError) {
        let is_known = self.0.iter().any(|known| known.pointer == error.pointer && known.message == error.message);
        if !is_known {
            self.0.push(error);
        }
    }
}
