//! `GET /.well-known/jwks.json`: the keys by which services verify who calls. It asks for no token: what is public needs none.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::compile::node::Signing;

use crate::{
    openapi::{self, form, operation::Doc},
    state::ControlState,
};

/// RFC 7517 section 8.5.
const KEY_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
/// A key is published for longer than this before it signs, and after it has signed (docs/principal.md).
const FIVE_MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The published keys of a node.
#[derive(Debug, Clone)]
pub struct KeySet {
    body: Bytes,
    tag: HeaderValue,
    signing: Signing,
}

impl KeySet {
    /// A set as it is published, with a digest that tells it from others (visible ASCII without quotation marks).
    pub fn new(text: String, digest: &str, signing: Signing) -> Self {
        let tag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { body: text.into(), tag, signing }
    }

    /// Whether one of them signs.
    pub(crate) const fn signing(&self) -> Signing {
        self.signing
    }
}

pub(crate) async fn show(State(state): State<ControlState>, headers: HeaderMap) -> Response {
    let set = state.key_set();
    let frame = [(header::CACHE_CONTROL, FIVE_MINUTES), (header::ETAG, set.tag.clone())];
    if is_known(&headers, &set.tag) {
        return (StatusCode::NOT_MODIFIED, frame).into_response();
    }
    (frame, [(header::CONTENT_TYPE, KEY_SET)], set.body.clone()).into_response()
}

/// RFC 9110 section 13.1.2.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let mut listed = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tag.to_str().is_ok_and(|tag| listed.any(|list| openapi::matches(list, tag)))
}

/// How [`show`] is described.
pub(crate) fn show_doc() -> Doc {
    Doc::new("getKeySet", "Returns the keys by which services verify who calls")
        .about("A JSON Web Key Set (RFC 7517) of this node's region; docs/principal.md says how to use it.")
        .header(header::IF_NONE_MATCH.as_str(), form::text("What `ETag` said before.").into(), "Not again if it is still this one.")
        .answers_with(200, "The key set.", "application/jwk-set+json", form::anything("A JSON Web Key Set.").into())
        .field(200, header::ETAG.as_str(), form::text("Of this set.").into())
        .empty(304, "It is still the one that `If-None-Match` names.")
        .field(304, header::ETAG.as_str(), form::text("Of this set.").into())
}
