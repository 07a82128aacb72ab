//! One operation, and the console that calls it: through this node's own gateway, with the developer's key, as any client would.

use std::net::{IpAddr, Ipv4Addr};

use askama::Template;
use axum::{
    extract::{Extension, Path, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use model::problem::{Denial, ProblemKind};
use serde_json::Value;

use crate::{
    context::Context,
    port::{Called, GatewayFault},
    portal::{
        catalogue::{Api, Operation, Parameter, Place},
        fields::{Fields, Wrong},
        session::{SignedIn, Visitor},
        site,
        view::{self, Frame, in_query},
    },
    refusal::Refusal,
    state::ControlState,
};

/// What stands for the key in a command that is shown.
const KEY_VARIABLE: &str = "$CAUSEWAY_KEY";
/// Bytes of an answer's body that a page shows.
const SHOWN_MAX: usize = 64 << 10;

#[derive(Debug, Template)]
#[template(path = "portal/operation.html")]
struct OperationPage<'s> {
    frame: Frame,
    api: &'s Api,
    operation: &'s Operation,
    /// Parameters with the values that the form shows.
    inputs: Vec<(&'s Parameter, String)>,
    body: String,
    /// The key stays in the form for the next call; it stands on no other page.
    key: String,
    curl: String,
    wrong: Wrong,
    answer: Option<Answer>,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: String,
    is_good: bool,
    took_ms: u128,
    headers: Vec<(String, String)>,
    body: String,
    is_cut: bool,
    request_id: Option<String>,
    /// The code of a problem of the gateway.
    problem: Option<String>,
}

/// What a call is made of.
#[derive(Debug, Default)]
struct Call {
    values: Vec<String>,
    body: String,
}

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    Visitor(visitor): Visitor,
    Path((api, operation)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let (api, operation) = found(&site, &api, &operation)?;
    let call = Call {
        values: operation.parameters.iter().map(|parameter| if parameter.is_required { parameter.example.clone() } else { String::new() }).collect(),
        body: operation.body.as_ref().map(|body| body.example.clone()).unwrap_or_default(),
    };
    let frame = Frame::of(&site, operation.summary.as_str(), visitor.as_ref());
    view::page(&shown(frame, (api, operation), call, String::new(), Wrong::default(), None))
}

pub(in crate::portal) async fn send(
    State(state): State<ControlState>,
    Extension(context): Extension<Context>,
    visitor: SignedIn,
    Path((api, operation)): Path<(String, String)>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    state.portal().throttle.call(visitor.account.id.uuid(), state.now().boot)?;
    let site = site::site(&state).await?;
    let (api, operation) = found(&site, &api, &operation)?;
    let key = fields.text("key").trim().to_owned();
    let body = fields.text("body");
    let given = fields.family("p.");
    let value = |index: usize| given.iter().find(|(name, _)| *name == index.to_string()).map(|(_, value)| value.clone()).unwrap_or_default();
    let call = Call { values: (0..operation.parameters.len()).map(value).collect(), body };
    fields.finish()?;
    let frame = Frame::of(&site, operation.summary.as_str(), Some(&visitor));
    let request = match request(operation, &call, &key) {
        Ok(request) => request,
        Err(wrong) => return view::form(&wrong.clone(), &shown(frame, (api, operation), call, key, wrong, None)),
    };
    let busy = |_| Refusal::from(Denial::new(ProblemKind::Overloaded, "too many calls of the console are under way").retry_after(1));
    let _place = state.portal().calls.try_acquire().map_err(busy)?;
    let from = context.peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0);
    match state.gateway().call(from, request).await {
        Ok(called) => view::page(&shown(frame, (api, operation), call, key, Wrong::default(), Some(Answer::of(&called)))),
        Err(fault) => {
            let wrong = Wrong::one("call", words(fault));
            view::form(&wrong.clone(), &shown(frame, (api, operation), call, key, wrong, None))
        }
    }
}

fn words(fault: GatewayFault) -> String {
    format!("the call came to no answer: {fault}")
}

fn found<'s>(site: &'s site::Site, api: &str, operation: &str) -> Result<(&'s Api, &'s Operation), Refusal> {
    let api = site.api(api).ok_or_else(|| Refusal::not_found("API"))?;
    let operation = api.operation(operation).ok_or_else(|| Refusal::not_found("operation"))?;
    Ok((api, operation))
}

fn shown<'s>(
    frame: Frame,
    (api, operation): (&'s Api, &'s Operation),
    call: Call,
    key: String,
    wrong: Wrong,
    answer: Option<Answer>,
) -> OperationPage<'s> {
    let curl = curl(operation, &call, KEY_VARIABLE);
    let inputs = operation.parameters.iter().zip(call.values).collect();
    OperationPage { frame, api, operation, inputs, body: call.body, key, curl, wrong, answer }
}

/// Path and query of a call.
fn target(operation: &Operation, values: &[String]) -> String {
    let parameters = || operation.parameters.iter().zip(values);
    let mut path = operation.path.clone();
    for (parameter, value) in parameters().filter(|(parameter, _)| parameter.place == Place::Path) {
        // What stands for a slash must not become one.
        path = path.replace(&format!("{{{}}}", parameter.name), &in_query(value).replace('/', "%2F"));
    }
    let query: Vec<_> = parameters()
        .filter(|(parameter, value)| parameter.place == Place::Query && !value.is_empty())
        .map(|(parameter, value)| format!("{}={}", in_query(&parameter.name), in_query(value)))
        .collect();
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

fn fields_of<'c>(operation: &'c Operation, values: &'c [String]) -> impl Iterator<Item = (&'c str, &'c str)> {
    let of_headers = operation.parameters.iter().zip(values).filter(|(parameter, value)| parameter.place == Place::Header && !value.is_empty());
    of_headers.map(|(parameter, value)| (parameter.name.as_str(), value.as_str()))
}

/// The call as a request for the node's own gateway.
fn request(operation: &Operation, call: &Call, key: &str) -> Result<Request<Bytes>, Wrong> {
    let missing = operation.parameters.iter().zip(&call.values).find(|(parameter, value)| parameter.is_required && value.is_empty());
    if let Some((parameter, _)) = missing {
        return Err(Wrong::one("call", format!("`{}` is needed", parameter.name)));
    }
    let authority = operation.origin.strip_prefix("https://").unwrap_or(&operation.origin);
    let mut request = Request::builder().method(operation.method.clone()).uri(target(operation, &call.values)).header(header::HOST, authority);
    request = request.header(header::USER_AGENT, "causeway-portal").header(header::ACCEPT, "*/*");
    if !key.is_empty() {
        let value = HeaderValue::from_str(key).map_err(|_| Wrong::one("key", "holds a character that no key has"))?;
        request = request.header(HeaderName::from_static("x-api-key"), value);
    }
    for (name, value) in fields_of(operation, &call.values) {
        let name = HeaderName::try_from(name).ok().filter(|name| !is_ours(name));
        let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
            return Err(Wrong::one("call", "a header field cannot be sent from here"));
        };
        request = request.header(name, value);
    }
    let mut bytes = Bytes::new();
    if let Some(body) = operation.body.as_ref().filter(|_| !call.body.trim().is_empty()) {
        request = request.header(header::CONTENT_TYPE, body.media_type.as_str());
        bytes = Bytes::from(call.body.clone());
    }
    request.body(bytes).map_err(|_| Wrong::one("call", "these values make no request"))
}

/// Fields that frame the message or say who calls.
fn is_ours(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, header::TE, header::EXPECT].contains(name)
        || *name == "x-api-key"
}

/// The same call for a terminal.
pub(super) fn curl_with(operation: &Operation, key: &str) -> String {
    let values: Vec<_> =
        operation.parameters.iter().map(|parameter| if parameter.is_required { parameter.example.clone() } else { String::new() }).collect();
    let call = Call { values, body: operation.body.as_ref().map(|body| body.example.clone()).unwrap_or_default() };
    curl(operation, &call, key)
}

fn curl(operation: &Operation, call: &Call, key: &str) -> String {
    let mut lines = vec![format!("curl --request {} {}", operation.method, quoted(&(operation.origin.clone() + &target(operation, &call.values))))];
    if !operation.proofs.is_empty() {
        // The variable stands for the key, so that the shell's history does not hold it.
        lines.push(format!("--header \"X-Api-Key: {key}\""));
    }
    lines.extend(fields_of(operation, &call.values).map(|(name, value)| format!("--header {}", quoted(&format!("{name}: {value}")))));
    if let Some(body) = operation.body.as_ref().filter(|_| !call.body.trim().is_empty()) {
        lines.push(format!("--header {}", quoted(&format!("Content-Type: {}", body.media_type))));
        lines.push(format!("--data-raw {}", quoted(&call.body)));
    }
    lines.join(" \\\n  ")
}

/// A word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Answer {
    fn of(called: &Called) -> Self {
        let response = &called.response;
        let text = |name: &HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = text(&header::CONTENT_TYPE).unwrap_or_default();
        let is_problem = kind.starts_with("application/problem+json");
        let parsed: Option<Value> = kind.contains("json").then(|| serde_json::from_slice(response.body()).ok()).flatten();
        let code = parsed.as_ref().filter(|_| is_problem).and_then(|problem| problem.get("code")?.as_str().map(str::to_owned));
        let mut body = match &parsed {
            Some(value) => serde_json::to_string_pretty(value).unwrap_or_default(),
            None => String::from_utf8_lossy(response.body()).into_owned(),
        };
        let is_long = body.len() > SHOWN_MAX;
        if is_long {
            let end = body.floor_char_boundary(SHOWN_MAX);
            body.truncate(end);
        }
        Self {
            status: response.status().to_string(),
            is_good: response.status().is_success(),
            took_ms: called.took.as_millis(),
            headers: response
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body,
            is_cut: is_long || called.is_cut,
            request_id: text(&HeaderName::from_static("x-request-id")).map(str::to_owned),
            problem: code,
        }
    }
}

#[cfg(test)]
mod tests;
