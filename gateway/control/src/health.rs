//! What probes and scrapers ask without a token: `/livez`, `/readyz`, `/metrics`. They say nothing about callers.

use std::fmt::Write as _;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use crate::{
    openapi::{form, operation::Doc},
    port::Readiness,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `OpenMetrics` 1.0, section "Text format".
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// 200 while the process works, else 503: restart it.
pub(crate) async fn live(State(state): State<ControlState>) -> Response {
    if state.status().live() { (StatusCode::OK, "live\n").into_response() } else { plain(StatusCode::SERVICE_UNAVAILABLE, "not live\n") }
}

/// 200 when the node should get traffic, else 503. `?verbose` lists what was looked at.
pub(crate) async fn ready(State(state): State<ControlState>, headers: HeaderMap, uri: Uri) -> Result<Response, Refusal> {
    let mut query = Query::of(&uri);
    let verbose = query.switch("verbose");
    query.finish()?;
    let readiness = state.status().ready();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let wants_json = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains("application/json"));
    if verbose && wants_json {
        return Ok(unproblematic((status, axum::Json(readiness)).into_response()));
    }
    Ok(plain(status, if verbose { list(&readiness) } else { format!("{}\n", word(&readiness)) }))
}

/// Every metric.
pub(crate) async fn metrics(State(state): State<ControlState>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], state.status().metrics()).into_response()
}

fn word(readiness: &Readiness) -> &'static str {
    match (readiness.ready, readiness.degraded) {
        (false, _) => "not ready",
        (true, true) => "ready, degraded",
        (true, false) => "ready",
    }
}

fn list(readiness: &Readiness) -> String {
    let mut out = format!("{}\n", word(readiness));
    for check in &readiness.checks {
        // Writing to a String cannot fail.
        let written = writeln!(out, "{:<9} {:<20} since {}  {}", check.state.as_str(), check.name, check.since, check.detail);
        debug_assert!(written.is_ok(), "a String takes every write");
    }
    out
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    unproblematic((status, [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], text.into()).into_response())
}

/// A probe reads the status and a person the text: an unready node is no problem document.
fn unproblematic(mut response: Response) -> Response {
    response.extensions_mut().insert(crate::refusal::Plain);
    response
}

/// The media type of [`plain`].
const PLAIN: &str = "text/plain; charset=utf-8";

/// How [`live`] is described.
pub(crate) fn live_doc() -> Doc {
    Doc::new("getLiveness", "Says whether the process works").answers_with(200, "It works.", PLAIN, form::text("`live`").into()).answers_with(
        503,
        "Restart it.",
        PLAIN,
        form::text("`not live`").into(),
    )
}

/// How [`ready`] is described.
pub(crate) fn ready_doc() -> Doc {
    let texts = Doc::new("getReadiness", "Says whether the node should get traffic")
        .about("Text; with `verbose` and `Accept: application/json`, JSON.")
        .query_as("verbose", form::switch().into(), "Lists what was looked at.");
    [(200, "It should."), (503, "It must not.")].into_iter().fold(texts, |doc, (status, about)| {
        doc.answers_with(status, about, PLAIN, form::text("A word, and what was looked at.").into()).answers::<Readiness>(status, about)
    })
}

/// How [`metrics`] is described.
pub(crate) fn metrics_doc() -> Doc {
    let form = form::text("OpenMetrics 1.0.").into();
    Doc::new("getMetrics", "Returns every metric").answers_with(
        200,
        "The metrics.",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        form,
    )
}
