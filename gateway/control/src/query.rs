//! Query parameters: each at most once, none unknown, each with a range.

use axum::{extract::Request, middleware::Next, response::Response};
use http::Uri;
use model::openapi::{FieldError, Location, Place};

use crate::refusal::Refusal;

/// The largest page, in items.
pub(crate) const LIMIT_MAX: u32 = 200;

/// The page when none is asked for, in items.
const LIMIT_DEFAULT: u32 = 50;

/// The parameters of a request, taken one by one; what is left over is unknown.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    /// Reads the query of a URL.
    pub(crate) fn of(uri: &Uri) -> Self {
        if let Ok(axum::extract::Query(pairs)) = axum::extract::Query::try_from_uri(uri) {
            return Self { pairs, errors: Vec::new() };
        }
        Self { pairs: Vec::new(), errors: vec![wrong("", "syntax", "the query cannot be read")] }
    }

    /// Takes a parameter as text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.pairs.remove(at);
        if self.pairs.iter().any(|(key, _)| key == name) {
            self.errors.push(wrong(name, "duplicate", "stands there twice"));
            self.pairs.retain(|(key, _)| key != name);
        }
        Some(value)
    }

    /// Takes a parameter and reads it; `must` says what it must be.
    pub(crate) fn read<T>(&mut self, name: &str, must: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = read(&text);
        if value.is_none() {
            self.errors.push(wrong(name, "type", must));
        }
        value
    }

    /// Takes `limit`: 1 to 200 items.
    pub(crate) fn limit(&mut self) -> u32 {
        let read = |text: &str| text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        self.read("limit", "must be a number from 1 to 200", read).unwrap_or(LIMIT_DEFAULT)
    }

    /// Takes a switch: absent is off; empty, `true` and `1` are on.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        let read = |text: &str| match text {
            "" | "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        self.read(name, "must be `true` or `false`", read).unwrap_or(false)
    }

    /// Notes a mistake that only the caller can see.
    pub(crate) fn refuse(&mut self, name: &str, keyword: &'static str, message: &str) {
        self.errors.push(wrong(name, keyword, message));
    }

    /// Ends the reading: what was not taken is unknown.
    ///
    /// # Errors
    /// Every mistake found.
    pub(crate) fn finish(mut self) -> Result<(), Refusal> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.errors.push(wrong(&name, "unknown", "is not known here"));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Refusal::fields(self.errors)) }
    }
}

/// Stands before handlers that take no parameters.
pub(crate) async fn refuse_any(request: Request, next: Next) -> Result<Response, Refusal> {
    Query::of(request.uri()).finish()?;
    Ok(next.run(request).await)
}

fn wrong(name: &str, keyword: &'static str, message: &str) -> FieldError {
    // A name comes from the client: a long one is not repeated in full.
    let name = name.chars().take(64).collect();
    FieldError { place: Place::Parameter { location: Location::Query, name }, keyword, message: message.to_owned() }
}
