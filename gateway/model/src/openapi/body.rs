//! The rule for a request body.

use std::sync::Arc;

use super::json::{self, JsonLimits};
use super::rule::Rule;
use super::{FieldError, Place};

/// What an operation says about its request body, when at least one media type has a schema.
#[derive(Debug)]
pub struct BodyRule {
    pub(super) is_required: bool,
    /// Lower-case JSON media types without parameters, which the schema applies to.
    pub(super) checked: Vec<String>,
    /// Media types and ranges (`image/*`, `*/*`) without a schema.
    pub(super) streamed: Vec<String>,
    pub(super) rule: Arc<Rule>,
}

impl BodyRule {
    /// Whether a request without a body is refused.
    pub fn required(&self) -> bool {
        self.is_required
    }

    /// Whether [`check`](Self::check) is for bodies of this `Content-Type`: `application/json` or a `+json` type that the
    /// operation names. Parameters such as `charset` are ignored (RFC 8259 §11 defines none). A body without a
    /// content type is not accepted.
    pub fn accepts(&self, content_type: Option<&str>) -> bool {
        let Some(named) = content_type.map(essence) else { return false };
        self.checked.iter().any(|known| known.eq_ignore_ascii_case(named))
    }

    /// Whether the operation names this `Content-Type` without a schema, so that the body goes through untouched.
    pub fn streams(&self, content_type: Option<&str>) -> bool {
        if self.accepts(content_type) {
            return false;
        }
        let named = content_type.map_or("", essence);
        self.streamed.iter().any(|range| match range.strip_suffix('*') {
            Some("*/") => true,
            Some(prefix) => named.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
            None => range.eq_ignore_ascii_case(named),
        })
    }

    /// Checks a body that [`accepts`](Self::accepts) has let in. No errors means valid; at most 20 come back, in the
    /// order of their places.
    pub fn check(&self, body: &[u8], limits: &JsonLimits) -> Vec<FieldError> {
        if body.is_empty() {
            if !self.is_required {
                return Vec::new();
            }
            let message = "is required".to_owned();
            return vec![FieldError { place: Place::Pointer(String::new()), keyword: "required", message }];
        }
        match json::read(body, *limits) {
            Ok(body) => self.rule.check(&body.value, body.n_values),
            Err(error) => vec![error],
        }
    }
}

/// The media type without its parameters.
pub(super) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a media type is JSON (RFC 6839 §3.1 for the suffix).
pub(super) fn is_json(media_type: &str) -> bool {
    let subtype = media_type.split_once('/').map_or("", |(_, subtype)| subtype);
    media_type == "application/json" || (subtype.len() > "+json".len() && subtype.ends_with("+json"))
}
