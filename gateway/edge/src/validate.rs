//! Checks a request against the API's description; the only constructor of [`ValidBody`].

use bytes::Bytes;
use http::header;
use http_body_util::BodyExt;
use hyper::body::Body;
use model::{
    openapi::{BodyRule, FieldError, JsonLimits, Lookup},
    problem::{Denial, ProblemKind},
    structure::Route,
};

use crate::{
    authenticate::Principal,
    body::{BodyError, Full, HeldBody},
    head::Head,
    intake::Intake,
    limit::Admitted,
    runtime::Edge,
};

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
/// `request-malformed`, `operation-not-found`, `method-not-allowed`, `content-type-unsupported`, `body-too-large`, `request-timeout`, `overloaded`,
/// `request-invalid` with a pointer for each mistake; `credentials-invalid` where the caller has signed another body than came.
pub async fn request(admitted: &Admitted<'_>, head: &Head, mut body: Intake, edge: &Edge, findings: &mut Findings) -> Result<ValidBody, Denial> {
    let route = admitted.permit().route();
    let stall = edge.settings.stall_timeout;
    if body.size_hint().lower() > route.body_bytes_max {
        return Err(too_large(route));
    }
    body.settle(stall).await.map_err(|error| if error == BodyError::Stalled { stalled() } else { broken() })?;
    let room = Holding { route, edge };
    let body = signed(admitted, head, body, &room).await?;
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
    checked_body(&room, rule, head, body, findings).await
}

/// A body that the gateway has checked which the client called: it streams.
///
/// # Errors
/// `body-too-large`, `request-malformed`, `request-timeout`.
pub(crate) async fn unchecked(route: &Route, mut body: Intake, stall: std::time::Duration) -> Result<ValidBody, Denial> {
    if body.size_hint().lower() > route.body_bytes_max {
        return Err(too_large(route));
    }
    body.settle(stall).await.map_err(|error| if error == BodyError::Stalled { stalled() } else { broken() })?;
    Ok(Arrival::Coming(body).valid())
}

async fn checked_body(room: &Holding<'_>, rule: &BodyRule, head: &Head, body: Arrival, findings: &mut Findings) -> Result<ValidBody, Denial> {
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
    let whole = body.whole(room).await?;
    verdict(room.route, rule.check(&whole, &JsonLimits::default()), findings)?;
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

    async fn whole(self, room: &Holding<'_>) -> Result<Bytes, Denial> {
        match self {
            // Pieces that trickle in must not hold the request for longer than its route allows, either.
            Self::Coming(body) => tokio::time::timeout(room.route.timeout, room.read(body)).await.map_err(|_| stalled())?,
            Self::Here(bytes) => Ok(bytes),
        }
    }
}

/// Holds a body against what its caller has signed of it, before a byte of it goes anywhere. It is read for callers alone whose signature
/// holds, and within the route's cap.
async fn signed(admitted: &Admitted<'_>, head: &Head, body: Intake, room: &Holding<'_>) -> Result<Arrival, Denial> {
    let Some(signed) = admitted.permit().principal().and_then(Principal::signed) else { return Ok(Arrival::Coming(body)) };
    let Some(digests) = &signed.digests else {
        // No content, but perhaps trailers, which no signature covers.
        return Ok(if head.wish.is_none() && body.size_hint().exact() == Some(0) { Arrival::Here(Bytes::new()) } else { Arrival::Coming(body) });
    };
    if head.wish.is_some() {
        // What follows are frames, not content.
        room.edge.signatures.hold(digests, b"", room.route)?;
        return Ok(Arrival::Coming(body));
    }
    let whole = Arrival::Coming(body).whole(room).await?;
    room.edge.signatures.hold(digests, &whole, room.route)?;
    Ok(Arrival::Here(whole))
}

/// What a body is held within.
struct Holding<'r> {
    route: &'r Route,
    edge: &'r Edge,
}

impl Holding<'_> {
    async fn read(&self, mut body: Intake) -> Result<Bytes, Denial> {
        let Self { route, edge } = self;
        let bytes_max = route.body_bytes_max;
        let mut held = HeldBody::new(&edge.bodies, body.size_hint().lower(), bytes_max).map_err(no_room)?;
        loop {
            let frame = tokio::time::timeout(edge.settings.stall_timeout, body.frame()).await.map_err(|_| stalled())?;
            let Some(frame) = frame else { return Ok(held.freeze()) };
            let frame = frame.map_err(|_| broken())?;
            if let Ok(data) = frame.into_data() {
                let total = u64::try_from(held.received().saturating_add(data.len())).unwrap_or(u64::MAX);
                if total > bytes_max {
                    return Err(too_large(route));
                }
                held.push(&data, bytes_max).map_err(no_room)?;
            }
        }
    }
}

/// The refusal of a body over its route's cap.
pub fn too_large(route: &Route) -> Denial {
    Denial::new(ProblemKind::BodyTooLarge, format!("this route takes bodies of at most {} bytes", route.body_bytes_max))
}

fn no_room(_: Full) -> Denial {
    Denial::new(ProblemKind::Overloaded, "too many bodies are being checked; nothing was sent to the service, try again").retry_after(1)
}

fn broken() -> Denial {
    Denial::new(ProblemKind::RequestMalformed, "the body broke off, or is not as long as the head announced")
}

/// The refusal of a body that stopped coming.
pub fn stalled() -> Denial {
    Denial::new(ProblemKind::RequestTimeout, "the body stopped arriving")
}
