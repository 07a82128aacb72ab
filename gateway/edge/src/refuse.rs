//! Turns a denial into a response: RFC 9457 problem+json, or gRPC's own form, with the fields that help the caller's next step.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use model::problem::{Blame, Challenge, Denial, ProblemKind};

use crate::{
    body::ReplyBody,
    consistency::cookie,
    fields,
    grpc::{self, Form},
};

/// Sent with every response, so that a ticket can quote it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The region whose service answered.
pub const REGION: HeaderName = HeaderName::from_static("causeway-region");
/// Says how far an answer may be behind.
pub const STALENESS: HeaderName = HeaderName::from_static("causeway-staleness");

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// In a refusal's extensions: what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    pub(crate) kind: ProblemKind,
    pub(crate) is_retryable: bool,
}

/// Whether another connection may help: a response is a 421, or a refusal that would be one outside gRPC.
pub(crate) fn is_misdirected<B>(response: &Response<B>) -> bool {
    let refused = response.extensions().get::<Refused>().map(|refused| refused.kind.status());
    [Some(response.status()), refused].contains(&Some(StatusCode::MISDIRECTED_REQUEST))
}

/// The response for a denial. `limits` are the rate-limit fields that the request had earned before.
pub fn response(form: Form, denial: &Denial, request_id: &str, region: &str, limits: impl FnOnce(&mut HeaderMap)) -> Response<ReplyBody> {
    let mut response = match form {
        Form::Problem => problem(denial, request_id, region, None),
        Form::OAuth => problem(denial, request_id, region, Some(oauth_error(denial.kind))),
        Form::Grpc => grpc::refusal(denial),
    };
    response.extensions_mut().insert(Refused { kind: denial.kind, is_retryable: denial.is_retryable });
    let headers = response.headers_mut();
    if let Some(value) = fields::unrepeated(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(seconds) = denial.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if denial.kind.status() == StatusCode::UNAUTHORIZED {
        let challenges: &[&str] = if form == Form::OAuth { &["Basic realm=\"causeway\""] } else { challenges(denial.challenge) };
        for challenge in challenges {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
    }
    if !denial.allow.is_empty() {
        let text = denial.allow.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::ALLOW, value);
        }
    }
    if denial.forgets_token {
        headers.append(header::SET_COOKIE, cookie::CLEARED);
    }
    headers.insert(PROXY_STATUS, HeaderValue::from_static(proxy_status(denial.kind)));
    limits(headers);
    response
}

const BEARER: &str = "Bearer realm=\"causeway\"";

/// `WWW-Authenticate`, a field for each scheme. The algorithms are those of [`model::jwt::dpop::ALGORITHMS`].
const fn challenges(challenge: Challenge) -> &'static [&'static str] {
    match challenge {
        Challenge::Bearer => &[BEARER],
        Challenge::BearerOrDpop => &[BEARER, "DPoP algs=\"ES256 ES384 EdDSA PS256 RS256\""],
        Challenge::DpopToken => &["DPoP error=\"invalid_token\", algs=\"ES256 ES384 EdDSA PS256 RS256\""],
        Challenge::DpopProof => &["DPoP error=\"invalid_dpop_proof\", algs=\"ES256 ES384 EdDSA PS256 RS256\""],
    }
}

/// A problem document, with the members of OAuth if there is a code of it.
fn problem(denial: &Denial, request_id: &str, region: &str, oauth: Option<&str>) -> Response<ReplyBody> {
    let mut body = denial.to_json(request_id, region);
    if let (Some(code), Some(members)) = (oauth, body.as_object_mut()) {
        members.insert("error".to_owned(), code.into());
        // Neither quotes nor backslashes may stand there.
        let is_allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let text: String = denial.detail.chars().map(|c| if is_allowed(c) { c } else { '\'' }).collect();
        members.insert("error_description".to_owned(), text.into());
    }
    let body = Bytes::from(body.to_string());
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(ReplyBody::Whole(Some(body)));
    *response.status_mut() = denial.kind.status();
    let headers = response.headers_mut();
    let media = if oauth.is_some() { "application/json" } else { "application/problem+json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The code that a client of the token endpoint goes by. For what is not the client's fault there is none in RFC 6749 section 5.2; these are
/// those of its section 4.1.2.1, and the status says the rest.
#[expect(clippy::wildcard_enum_match_arm, reason = "a refusal without a code of its own takes its blame's")]
fn oauth_error(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::CredentialsInvalid | ProblemKind::CredentialsMissing => "invalid_client",
        ProblemKind::GrantUnsupported => "unsupported_grant_type",
        ProblemKind::ScopeInvalid | ProblemKind::ScopeInsufficient => "invalid_scope",
        ProblemKind::KeyRestricted | ProblemKind::RouteForbidden => "unauthorized_client",
        ProblemKind::QuotaExceeded => "temporarily_unavailable",
        other if other.blame() == Blame::Client => "invalid_request",
        ProblemKind::Internal => "server_error",
        _other => "temporarily_unavailable",
    }
}

/// `Proxy-Status` (RFC 9209): who failed, for errors that the gateway made.
#[expect(clippy::wildcard_enum_match_arm, reason = "a refusal without a name of its own in RFC 9209 takes its blame's")]
fn proxy_status(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::UpstreamUnreachable => "causeway; error=connection_refused",
        ProblemKind::UpstreamMalformed => "causeway; error=http_protocol_error",
        ProblemKind::UpstreamTimeout => "causeway; error=http_response_timeout",
        ProblemKind::RegionUnavailable | ProblemKind::ResidencyMismatch | ProblemKind::PositionUnreached | ProblemKind::CircuitOpen => {
            "causeway; error=destination_unavailable"
        }
        ProblemKind::Overloaded => "causeway; error=connection_limit_reached",
        ProblemKind::AuthorityStale
        | ProblemKind::IssuerUnreachable
        | ProblemKind::RevocationUnknown
        | ProblemKind::AuditUnavailable
        | ProblemKind::NotReady => "causeway; error=proxy_configuration_error",
        ProblemKind::LoopDetected => "causeway; error=proxy_loop_detected",
        ProblemKind::HostUnknown | ProblemKind::RouteNotFound => "causeway; error=destination_not_found",
        other if other.blame() == Blame::Client => "causeway; error=http_request_denied",
        _other => "causeway; error=proxy_internal_error",
    }
}

#[cfg(test)]
mod tests {
    use model::jwt::dpop::ALGORITHMS;

    use super::*;

    #[test]
    fn each_challenge_names_the_algorithms_that_proofs_are_taken_with() {
        let names = ALGORITHMS.map(model::jwt::algorithm::Algorithm::name).join(" ");
        for challenge in [Challenge::BearerOrDpop, Challenge::DpopToken, Challenge::DpopProof] {
            let text = challenges(challenge).concat();
            assert!(text.contains(&format!("algs=\"{names}\"")), "{text}");
        }
        assert!(!challenges(Challenge::Bearer).concat().contains("DPoP"));
    }
}
