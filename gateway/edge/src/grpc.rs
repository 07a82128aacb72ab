//! gRPC, as far as the gateway takes part in it: refusals that its clients understand, deadlines that travel with a call, and
//! what its statuses say about an endpoint. Everything else is HTTP/2 with trailers, and passes as it is.
//!
//! # Source
//! `doc/PROTOCOL-HTTP2.md` of the gRPC project; `gRFC` A6 for retries and pushback.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, header, request::Parts};
use model::{
    grpc::{self, Code},
    problem::{Denial, ProblemKind},
    time::BootNanos,
};

use crate::{body::ReplyBody, health::Outcome};

pub mod replay;
pub mod stream;

/// The time that a client gives a call.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// When a client may try again, in milliseconds (`gRFC` A6).
pub const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The problem's code: services cannot say it, because the family is the gateway's.
const PROBLEM: HeaderName = HeaderName::from_static("causeway-problem");

/// The form in which a client is told of a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// A status of HTTP, and a problem document.
    #[default]
    Problem,
    /// A status of HTTP, and a problem document that is an error of OAuth, too (RFC 6749 section 5.2).
    OAuth,
    /// A status of gRPC: in a response that is trailers alone, or behind what was sent already.
    Grpc,
}

impl Form {
    /// The form that a request's client understands. A call of gRPC is a POST over HTTP/2: over HTTP/1.1 trailers get lost,
    /// and a failure would look like an end.
    pub fn of(parts: &Parts) -> Self {
        let is_call = parts.version == Version::HTTP_2
            && parts.method == Method::POST
            && parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| grpc::is_media_type(value.as_bytes()));
        if is_call { Self::Grpc } else { Self::Problem }
    }
}

/// A call of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    timeout: Option<Duration>,
}

impl Call {
    /// Reads what a client says about a call.
    ///
    /// # Errors
    /// `request-malformed`, when it says how long it waits and that cannot be read: to guess would be to wait too long.
    pub fn read(headers: &HeaderMap) -> Result<Self, Denial> {
        let bad = || Denial::new(ProblemKind::RequestMalformed, "grpc-timeout is at most eight digits and one of the units H, M, S, m, u and n");
        let mut fields = headers.get_all(TIMEOUT).iter();
        let timeout = fields.next().map(|value| grpc::parse_timeout(value.as_bytes()).ok_or_else(bad)).transpose()?;
        if fields.next().is_some() {
            return Err(bad());
        }
        Ok(Self { timeout })
    }

    /// When its client stops waiting.
    pub fn ends(&self, started: BootNanos) -> Option<BootNanos> {
        let nanos = u64::try_from(self.timeout?.as_nanos()).unwrap_or(u64::MAX);
        Some(BootNanos(started.0.saturating_add(nanos)))
    }
}

/// `grpc-timeout` for a service, from what is left until `ends`.
pub fn timeout_left(ends: BootNanos, now: BootNanos) -> Option<HeaderValue> {
    HeaderValue::try_from(grpc::timeout(Duration::from_nanos(ends.nanos_since(now)))).ok()
}

/// A refusal: a response that is trailers alone.
pub fn refusal(denial: &Denial) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Whole(None));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    tell(denial, response.headers_mut());
    response
}

/// The end of a response that has begun: trailers that say why it does not go on.
pub fn trailers(denial: &Denial) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    tell(denial, &mut trailers);
    trailers
}

fn tell(denial: &Denial, headers: &mut HeaderMap) {
    headers.insert(STATUS, HeaderValue::from_static(Code::from(denial.kind).as_str()));
    // Printable ASCII is a field's value.
    headers.extend(HeaderValue::from_str(&grpc::message(&denial.detail)).ok().map(|value| (MESSAGE, value)));
    headers.insert(PROBLEM, HeaderValue::from_static(denial.kind.code()));
    if let Some(seconds) = denial.retry_after_seconds {
        headers.insert(PUSHBACK, HeaderValue::from(seconds.saturating_mul(1_000)));
    }
}

/// How a call ended, from its trailers or from a response that is trailers alone; `None` for a head behind which they come.
pub fn status(headers: &HeaderMap) -> Option<Code> {
    headers.get(STATUS).map(|value| Code::parse(value.as_bytes()))
}

/// What a status says about the endpoint that gave it, as statuses of HTTP do. The client's own deadline, its limits and its
/// mistakes are not the endpoint's failures.
pub const fn outcome(code: Code) -> Outcome {
    match code {
        Code::Unavailable => Outcome::GatewayFailure,
        Code::Unknown | Code::Internal | Code::DataLoss => Outcome::ServerError,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Outcome::Good,
    }
}

#[cfg(test)]
mod tests;
