//! Refusals on their way out. Inside the router a refusal is a status with the [`Denial`] beside it; the outermost layer
//! writes the problem document, because only it knows the request's id. A bare error status (from the router itself)
//! becomes a denial there too, so that no refusal leaves in another form.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use model::{
    compile::ConfigError,
    openapi::{FieldError, Place},
    problem::{Denial, ProblemKind},
};
use serde_json::{Value, json};

/// The media type of RFC 9457 section 3.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Seconds after which a client may come back when the database is away: a failover takes a few.
const DATABASE_RETRY_SECONDS: u64 = 2;

/// A refusal: the denial, and for a document what is wrong where in it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    denial: Denial,
    document: Vec<ConfigError>,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self { denial, document: Vec::new() }
    }
}

impl Refusal {
    /// A document that does not compile, with every mistake.
    pub(crate) fn document(errors: Vec<ConfigError>) -> Self {
        let n = errors.len();
        let detail = if n == 1 { "the document has 1 mistake".to_owned() } else { format!("the document has {n} mistakes") };
        Self { denial: Denial::new(ProblemKind::DocumentInvalid, detail), document: errors }
    }

    /// One member of the body is wrong.
    pub(crate) fn field(pointer: impl Into<String>, keyword: &'static str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { place: Place::Pointer(pointer.into()), keyword, message: message.into() }])
    }

    /// Some members of the body or parameters are wrong.
    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        Denial::new(ProblemKind::RequestInvalid, "see `errors` for what is wrong where").with_errors(errors).into()
    }

    /// The resource does not exist.
    pub(crate) fn not_found(what: &'static str) -> Self {
        Denial::new(ProblemKind::ResourceNotFound, format!("there is no such {what}")).into()
    }

    /// A bug of ours. The cause goes to the log, never to the client.
    pub(crate) fn internal() -> Self {
        Denial::new(ProblemKind::Internal, "the control plane failed; the node's log has the request id").into()
    }

    /// The database cannot be reached.
    pub(crate) fn database() -> Self {
        Denial::new(ProblemKind::DatabaseUnavailable, "the control database cannot be reached; nodes go on serving")
            .retry_after(DATABASE_RETRY_SECONDS)
            .into()
    }

    /// The access log cannot take the record that must precede the answer.
    pub(crate) fn audit(detail: &'static str) -> Self {
        Denial::new(ProblemKind::AuditUnavailable, detail).retry_after(DATABASE_RETRY_SECONDS).into()
    }

    /// Which problem it is.
    pub(crate) const fn kind(&self) -> ProblemKind {
        self.denial.kind
    }

    /// What is known about this one; mistakes of fields with it.
    pub(crate) fn detail(&self) -> String {
        let mistakes = self.denial.errors.iter().map(|error| error.message.as_str());
        std::iter::once(&*self.denial.detail).chain(mistakes).collect::<Vec<_>>().join("; ")
    }

    /// When to come back, in seconds.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        self.denial.retry_after_seconds
    }

    fn to_json(&self, request_id: &str, region: &str) -> Value {
        let mut body = self.denial.to_json(request_id, region);
        if let (Value::Object(members), false) = (&mut body, self.document.is_empty()) {
            members.insert("errors".to_owned(), self.document.iter().map(config_error_json).collect());
        }
        body
    }
}

/// One mistake of a document, as `errors[]` and `causeway check --json` carry it.
fn config_error_json(error: &ConfigError) -> Value {
    match &error.help {
        Some(help) => json!({ "path": error.path, "message": error.message, "help": help }),
        None => json!({ "path": error.path, "message": error.message }),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.denial.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Marks an answer that keeps its own body whatever its status: probes are read by their status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

/// Which problem an answer is, if it is one.
pub(crate) fn kind_of(response: &Response) -> Option<ProblemKind> {
    response.extensions().get::<Refusal>().map(Refusal::kind)
}

/// The refusal that an answer is, if it is one; an answer with a body of its own is none.
pub(crate) fn taken(response: &mut Response) -> Option<Refusal> {
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        return Some(refusal);
    }
    let has_own = response.extensions().get::<Plain>().is_some() || response.headers().contains_key(header::CONTENT_TYPE);
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    (is_error && !has_own).then(|| bare(response))
}

/// Writes the problem document of a refusal, and leaves every other answer as it is.
pub(crate) fn render(mut response: Response, request_id: &str, region: &str) -> Response {
    let refusal = match response.extensions_mut().remove::<Refusal>() {
        Some(refusal) => refusal,
        None if response.extensions().get::<Plain>().is_some() => return response,
        None if response.status().is_client_error() || response.status().is_server_error() => bare(&response),
        None => return response,
    };
    let mut out = Response::new(Body::from(refusal.to_json(request_id, region).to_string()));
    *out.status_mut() = refusal.kind().status();
    let headers = out.headers_mut();
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    if let Some(seconds) = refusal.denial.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.kind().status() == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 11.6.1: a 401 says which scheme would do.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"causeway control\""));
    }
    out
}

/// What a bare error status of the router means.
fn bare(response: &Response) -> Refusal {
    let denial = match response.status() {
        StatusCode::NOT_FOUND => Denial::new(ProblemKind::RouteNotFound, "the control plane has no such path"),
        // The router writes the Allow header outside of our layers.
        StatusCode::METHOD_NOT_ALLOWED => Denial::new(ProblemKind::MethodNotAllowed, "the path exists with other methods"),
        StatusCode::BAD_REQUEST => Denial::new(ProblemKind::RequestMalformed, "the request cannot be read"),
        _ => return Refusal::internal(),
    };
    denial.into()
}
