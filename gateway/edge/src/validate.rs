//! Checks a request against the API's description; the only constructor of [`ValidBody`].

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt;
use hyper::body::Body;
use model::{
    openapi::{BodyRule, FieldError, JsonLimits, Lookup},
    problem::{Denial, ProblemKind},
    structure::Route,
};

use crate::{authenticate::Principal, body::BodyError, head::Head, intake::Intake, limit::Admitted, runtime::Edge};

/// A body that may travel to the service.
#[derive(Debug)]
pub enum ValidBody {
    /// No schema applies: it streams, and nothing is held.
    Stream(Intake),
    /// It was read and checked.
    Whole(Bytes),
    /// There is none.
    Empty,
}

/// What validation found on a route that only reports.
#[derive(Debug, Default)]
pub struct Findings {
    /// The operation that the request is.
    pub operation: Option<String>,
    /// The request breaks the description, but passes.
    pub reported: bool,
}

/// Checks parameters and body; reads the body only where a schema applies.
///
/// # Errors
/// `request-malformed`, `operation-not-found`, `method-not-allowed`, `content-type-unsupported`, `body-too-large`, `request-timeout`,
/// `request-invalid` with a pointer for each mistake; `credentials-invalid` where the caller has signed another body than came.
pub async fn request(admitted: &Admitted<'_>, head: &Head, mut body: Intake, edge: &Edge, findings: &mut Findings) -> Result<ValidBody, Denial> {
    let route = admitted.permit().route();
    let stall = edge.settings.stall_timeout;
    if body.size_hint().lower() > route.body_bytes_max {
        return Err(too_large(route));
    }
    body.settle(stall).await.map_err(|error| if error == BodyError::Stalled { stalled() } else { broken() })?;
    let body = signed(admitted, head, body, edge).await?;
    let Some(api) = &route.api else { return Ok(body.valid()) };
    let (operation, path_values) = match api.find(head.method(), head.path()) {
        Lookup::Found { operation, path_values } => (operation, path_values),
        // CORS preflights and HEAD are answered by the service, described or not.
        _ if matches!(*head.method(), http::Method::OPTIONS | http::Method::HEAD) => return Ok(body.valid()),
        Lookup::MethodNotAllowed { allowed } => {
            return Err(Denial::new(ProblemKind::MethodNotAllowed, "the API has this path, but not with this method").allowing(allowed));
        }
        Lookup::NotFound => return Err(Denial::new(ProblemKind::OperationNotFound, "the API's description has no such path")),
    };
    findings.operation = Some(operation.id().to_owned());
    verdict(route, operation.check_parameters(&path_values, head.query()), findings)?;
    let Some(rule) = operation.body() else { return Ok(body.valid()) };
    checked_body(route, rule, head, body, stall, findings).await
}

async fn checked_body(
    route: &Route,
    rule: &BodyRule,
    head: &Head,
    body: Arrival,
    stall: Duration,
    findings: &mut Findings,
) -> Result<ValidBody, Denial> {
    if body.is_empty() {
        if rule.required() {
            return Err(Denial::new(ProblemKind::RequestInvalid, "the operation needs a body").with_errors(rule.check(b"", &JsonLimits::default())));
        }
        return Ok(ValidBody::Empty);
    }
    let content_type = head.parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    if rule.streams(content_type) {
        return Ok(body.valid());
    }
    if !rule.accepts(content_type) {
        return Err(Denial::new(ProblemKind::ContentTypeUnsupported, "the operation takes application/json"));
    }
    if head.parts.headers.get(header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Denial::new(
            ProblemKind::ContentTypeUnsupported,
            "a body that is checked cannot be compressed; send it without Content-Encoding",
        ));
    }
    let whole = body.whole(route, stall).await?;
    verdict(route, rule.check(&whole, &JsonLimits::default()), findings)?;
    Ok(ValidBody::Whole(whole))
}

fn verdict(route: &Route, errors: Vec<FieldError>, findings: &mut Findings) -> Result<(), Denial> {
    if errors.is_empty() {
        return Ok(());
    }
    if !route.enforce {
        findings.reported = true;
        return Ok(());
    }
    Err(Denial::new(ProblemKind::RequestInvalid, "the request does not match the API's description; see `errors`").with_errors(errors))
}

/// A body on its way to being checked.
enum Arrival {
    /// It comes.
    Coming(Intake),
    /// All of it is here.
    Here(Bytes),
}

impl Arrival {
    fn is_empty(&self) -> bool {
        match self {
            Self::Coming(body) => body.is_end_stream(),
            Self::Here(bytes) => bytes.is_empty(),
        }
    }

    /// As it goes on where nothing of it needs to be looked at.
    fn valid(self) -> ValidBody {
        match self {
            _ if self.is_empty() => ValidBody::Empty,
            Self::Coming(body) => ValidBody::Stream(body),
            Self::Here(bytes) => ValidBody::Whole(bytes),
        }
    }

    async fn whole(self, route: &Route, stall: Duration) -> Result<Bytes, Denial> {
        match self {
            // Pieces that trickle in must not hold the request for longer than its route allows, either.
            Self::Coming(body) => tokio::time::timeout(route.timeout, read(route, body, stall)).await.map_err(|_| stalled())?,
            Self::Here(bytes) => Ok(bytes),
        }
    }
}

/// Holds a body against what its caller has signed of it, before a byte of it goes anywhere. It is read for callers alone whose signature
/// holds, and within the route's cap.
async fn signed(admitted: &Admitted<'_>, head: &Head, body: Intake, edge: &Edge) -> Result<Arrival, Denial> {
    let signed = admitted.permit().principal().and_then(Principal::signed);
    let Some(digests) = signed.and_then(|signed| signed.digests.as_ref()) else { return Ok(Arrival::Coming(body)) };
    let route = admitted.permit().route();
    if head.wish.is_some() {
        // What follows are frames, not content.
        edge.signatures.hold(digests, b"", route)?;
        return Ok(Arrival::Coming(body));
    }
    let whole = Arrival::Coming(body).whole(route, edge.settings.stall_timeout).await?;
    edge.signatures.hold(digests, &whole, route)?;
    Ok(Arrival::Here(whole))
}

async fn read(route: &Route, mut body: Intake, stall: Duration) -> Result<Bytes, Denial> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut whole = BytesMut::with_capacity(expected.min(64 << 10));
    loop {
        let frame = tokio::time::timeout(stall, body.frame()).await.map_err(|_| stalled())?;
        let Some(frame) = frame else { return Ok(whole.freeze()) };
        let frame = frame.map_err(|_| broken())?;
        if let Ok(data) = frame.into_data() {
            let total = u64::try_from(whole.len().saturating_add(data.len())).unwrap_or(u64::MAX);
            if total > route.body_bytes_max {
                return Err(too_large(route));
            }
            whole.extend_from_slice(&data);
        }
    }
}

/// The refusal of a body over its route's cap.
pub fn too_large(route: &Route) -> Denial {
    Denial::new(ProblemKind::BodyTooLarge, format!("this route takes bodies of at most {} bytes", route.body_bytes_max))
}

fn broken() -> Denial {
    Denial::new(ProblemKind::RequestMalformed, "the body broke off, or is not as long as the head announced")
}

/// The refusal of a body that stopped coming.
pub fn stalled() -> Denial {
    Denial::new(ProblemKind::RequestTimeout, "the body stopped arriving")
}
