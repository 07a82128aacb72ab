//! The admin API as an `OpenAPI` 3.1 document, put together from the table of the router.
//!
//! What can be derived is not written a second time: who may do what and whether it is recorded comes from [`crate::policy`], the
//! codes of refusals from [`model::problem`], members of bodies and answers from the types that are read and written. What is left
//! for an [`operation::Doc`] beside its handler is its name, its parameters and what it answers.
//!
//! Reading order: `operation` (one operation), `problem` (its refusals), `form` (texts with a form), then [`document`].

pub(crate) mod form;
pub(crate) mod operation;
mod problem;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::LazyLock};

use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::key::fingerprint_plain;
use utoipa::openapi::{
    ComponentsBuilder, Info, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, RefOr, Schema,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use self::operation::{Access, Doc};
use crate::{
    admin::leak,
    router::{self, Entry},
};

/// What the operator token is called among the security schemes.
const OPERATOR_TOKEN: &str = "operatorToken";
/// What a person's own token is called there.
const PERSONAL_TOKEN: &str = "personalToken";
/// What the two fields of a signed report are called there.
const REPORTER_KEY: &str = "reporterKey";
const REPORTER_SIGNATURE: &str = "reporterSignature";

const ABOUT: &str = "\
What operators do with a Causeway deployment. Any node answers; writes go to the region that writes.

Send an operator token as a bearer token. `x-causeway` of an operation says which action it is, which roles may do it, and whether it is \
recorded in the access log; one that is recorded is not done when the log cannot take the record.

Every refusal is a problem document (RFC 9457); `GET /v1/problems` lists the codes. Beside those of each operation, a path that does not \
exist is refused with `route-not-found`, a method that a path does not have with `method-not-allowed` and an `Allow` field, both before any \
token is looked at. Where there is GET there is HEAD. A parameter of the query that is not listed here, or stands there twice, is refused; but for probes and for reports of scanners, which take any.";

/// The document of this version.
pub fn document() -> OpenApi {
    let table = router::table();
    let mut schemas = BTreeMap::new();
    let mut responses = BTreeMap::new();
    let mut paths = PathsBuilder::new();
    for entry in &table {
        let Entry { method, path, doc, .. } = entry;
        let operation = operation::describe(entry, &mut responses);
        schemas.extend(doc.schemas());
        paths = paths.path(path.as_str(), PathItem::new(method.clone(), operation));
    }
    schemas.extend(problem::schemas());
    let components = ComponentsBuilder::new()
        .schemas_from_iter::<_, RefOr<Schema>, String>(schemas)
        .responses_from_iter(responses)
        .security_scheme(OPERATOR_TOKEN, bearer("cw_op_...", "`causeway admin init` prints the first one."))
        .security_scheme(PERSONAL_TOKEN, bearer("cw_my_...", "Whoever has an account makes one on a page of the portal."))
        .security_scheme(REPORTER_KEY, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(leak::KEY_ID, "Which key has signed."))))
        .security_scheme(
            REPORTER_SIGNATURE,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                leak::SIGNATURE,
                "The signature over the body: ECDSA with P-256 and SHA-256, DER, in base64. Reporters and their keys stand in the node file.",
            ))),
        );
    let mut info = Info::new("Causeway admin API", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

/// The document as it is published: JSON, indented, with a line break at its end.
///
/// # Errors
/// When it cannot be written as JSON, which a test excludes.
pub fn text() -> Result<String, serde_json::Error> {
    document().to_pretty_json().map(|text| text + "\n")
}

fn bearer(format: &str, about: &str) -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format(format).description(Some(about)).build())
}

/// What is served, made at the first request.
static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    let text = text().unwrap_or_default();
    let etag = format!("\"{}\"", HEXLOWER.encode(&fingerprint_plain(text.as_bytes())));
    Published { text, etag }
});

struct Published {
    text: String,
    etag: String,
}

/// `GET /v1/openapi.json`: the same for everybody, and for all time of one version.
pub(crate) async fn serve(headers: HeaderMap) -> Response {
    let Published { text, etag } = &*PUBLISHED;
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| matches(list, etag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text.as_str()).into_response()
    };
    let fields = response.headers_mut();
    // An upgraded node answers otherwise: ask each time, and get an empty 304 as a rule.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(etag) {
        fields.insert(header::ETAG, etag);
    }
    response
}

/// Whether a list of entity tags names this one, compared weakly (RFC 9110 section 13.1.2).
pub(crate) fn matches(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// How [`serve`] is described.
pub(crate) fn serve_doc() -> Doc {
    Doc::new("getOpenApi", "Returns this document")
        .header(header::IF_NONE_MATCH.as_str(), form::text("What `ETag` said before.").into(), "Not again if it is still this one.")
        .answers_with(200, "The document.", "application/json", form::anything("An OpenAPI 3.1 document.").into())
        .field(200, header::ETAG.as_str(), form::text("Of this version's document.").into())
        .empty(304, "It is still the one that `If-None-Match` names.")
        .field(304, header::ETAG.as_str(), form::text("Of this version's document.").into())
}

impl Access {
    /// What a request has to bring.
    const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Open => &[],
            Self::Signed => &[REPORTER_KEY, REPORTER_SIGNATURE],
            Self::Operator(_) => &[OPERATOR_TOKEN],
            Self::Member(_) => &[PERSONAL_TOKEN],
        }
    }
}
