//! Every way to say no: one registry that gives status, code, title, blame and retry advice.
//!
//! Public text is written here by hand; nothing a client sees comes from an error's `Display`. The form on the wire
//! is RFC 9457 `application/problem+json`; each code has a section in `docs/problems.md`.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Map, Value};

use crate::openapi::FieldError;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The caller sent something that cannot be served.
    Client,
    /// The gateway cannot serve now.
    Gateway,
    /// The fronted service failed.
    Upstream,
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would be refused again.
    Never,
    /// It may succeed after a while.
    AfterDelay,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $blame:ident, $retry:ident, $title:literal;)*) => {
        /// The registry of refusals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemKind { $($(#[$doc])* $variant,)* }

        impl ProblemKind {
            /// Every kind, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code: metric label, anchor in `docs/problems.md`, last part of the type URI.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                let status = match self { $(Self::$variant => $status,)* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// Who has to act.
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)* }
            }

            /// Whether the same request may be sent again.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }

            /// The title, the same for each occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

problems! {
    /// The request line, a header or the framing is not valid HTTP.
    RequestMalformed = "request-malformed", 400, Client, Never, "The request is not valid HTTP";
    /// The path holds something that two programs could read differently.
    PathInvalid = "path-invalid", 400, Client, Never, "The path is ambiguous or malformed";
    /// The token that says what the client has written is not one of this tenant's, or was altered.
    ConsistencyTokenInvalid = "consistency-token-invalid", 400, Client, Never, "The consistency token is not accepted";
    /// A key was sent in the query or the path.
    CredentialMisplaced = "credential-misplaced", 400, Client, Never, "A credential does not belong into a URL";
    /// Plain HTTP came to a TLS port.
    TlsRequired = "tls-required", 400, Client, Never, "This port speaks TLS";
    /// The token endpoint was asked for a grant that it does not give.
    GrantUnsupported = "grant-unsupported", 400, Client, Never, "The token endpoint does not give this grant";
    /// The token endpoint was asked for a scope that the key does not have.
    ScopeInvalid = "scope-invalid", 400, Client, Never, "The key does not have this scope";
    /// The handshake of a WebSocket breaks RFC 6455 or RFC 8441.
    WebSocketInvalid = "websocket-invalid", 400, Client, Never, "The WebSocket handshake is not valid";
    /// No credential came, but the route wants one.
    CredentialsMissing = "credentials-missing", 401, Client, Never, "A credential is required";
    /// The credential is unknown, revoked, expired, of another tenant or malformed.
    CredentialsInvalid = "credentials-invalid", 401, Client, Never, "The credential is not accepted";
    /// The credential is good, but lacks a scope.
    ScopeInsufficient = "scope-insufficient", 403, Client, Never, "The credential lacks a scope";
    /// The credential is good, but this consumer or application may not use the route.
    RouteForbidden = "route-forbidden", 403, Client, Never, "This caller may not use this route";
    /// The key is good, but is bound to other routes, methods or addresses.
    KeyRestricted = "key-restricted", 403, Client, Never, "The key may not be used here";
    /// A page of this origin may not open a WebSocket here.
    OriginForbidden = "origin-forbidden", 403, Client, Never, "Pages of this origin may not open a WebSocket here";
    /// An operator's role does not allow the action.
    RoleInsufficient = "role-insufficient", 403, Client, Never, "Your role does not allow this action";
    /// No route has this path.
    RouteNotFound = "route-not-found", 404, Client, Never, "No such resource";
    /// The route exists, but its API has no such operation.
    OperationNotFound = "operation-not-found", 404, Client, Never, "The API has no such operation";
    /// The control plane has no such resource.
    ResourceNotFound = "resource-not-found", 404, Client, Never, "No such resource";
    /// The path exists with other methods.
    MethodNotAllowed = "method-not-allowed", 405, Client, Never, "The method is not allowed here";
    /// The body did not arrive in time.
    RequestTimeout = "request-timeout", 408, Client, AfterDelay, "The request took too long to arrive";
    /// The resource already exists or is in use.
    ResourceConflict = "resource-conflict", 409, Client, Never, "The resource conflicts with an existing one";
    /// Something that the client has written or read has not provably survived the promotion of another database server.
    PositionLost = "position-lost", 409, Gateway, Never, "A write may have been lost in a failover";
    /// The body is larger than the route allows.
    BodyTooLarge = "body-too-large", 413, Client, Never, "The body is too large";
    /// The request target is larger than the listener allows.
    UriTooLong = "uri-too-long", 414, Client, Never, "The request target is too long";
    /// The content type is not one that the operation takes.
    ContentTypeUnsupported = "content-type-unsupported", 415, Client, Never, "The content type is not supported";
    /// `Expect` holds something other than `100-continue`.
    ExpectationFailed = "expectation-failed", 417, Client, Never, "The expectation cannot be met";
    /// No tenant has this host name.
    HostUnknown = "host-unknown", 421, Client, Never, "This host name is not served here";
    /// The route needs a client certificate, and the connection began without the client being asked for one.
    CertificateNotAsked = "certificate-not-asked", 421, Client, Never, "The connection was opened without asking for a client certificate";
    /// The request does not match the API's description.
    RequestInvalid = "request-invalid", 422, Client, Never, "The request does not match the API's description";
    /// A gateway document does not compile.
    DocumentInvalid = "document-invalid", 422, Client, Never, "The document does not compile";
    /// The WebSocket handshake asks for another version than 13.
    WebSocketVersion = "websocket-version", 426, Client, Never, "Only version 13 of the WebSocket protocol is spoken";
    /// A limit of the caller is used up.
    QuotaExceeded = "quota-exceeded", 429, Client, AfterDelay, "The rate limit is used up";
    /// This address sends more than a peer may.
    PeerLimited = "peer-limited", 429, Client, AfterDelay, "Too many requests from this address";
    /// Header count or size is over the listener's limit.
    HeadersTooLarge = "headers-too-large", 431, Client, Never, "The headers are too large";
    /// A bug of ours.
    Internal = "internal", 500, Gateway, AfterDelay, "The gateway failed";
    /// The protocol upgrade or method is not supported.
    UpgradeUnsupported = "upgrade-unsupported", 501, Gateway, Never, "The protocol upgrade is not supported";
    /// No connection to the service could be made, or it broke before a response.
    UpstreamUnreachable = "upstream-unreachable", 502, Upstream, AfterDelay, "The service cannot be reached";
    /// The service's response is not valid HTTP.
    UpstreamMalformed = "upstream-malformed", 502, Upstream, Never, "The service sent an invalid response";
    /// Whether a token holds cannot be told without its issuer's keys, and they cannot be had.
    IssuerUnreachable = "issuer-unreachable", 503, Gateway, AfterDelay, "The issuer of the token cannot be reached";
    /// The authority of a client certificate has no current revocation list, so that it cannot be told whether the certificate holds.
    RevocationUnknown = "revocation-unknown", 503, Gateway, AfterDelay, "Whether the certificate was revoked cannot be told";
    /// The route's keys cannot be confirmed within its staleness bound.
    AuthorityStale = "authority-stale", 503, Gateway, AfterDelay, "Keys cannot be confirmed right now";
    /// The access log cannot take the record that must precede the response.
    AuditUnavailable = "audit-unavailable", 503, Gateway, AfterDelay, "The access log is not available";
    /// No region that may serve this request is available.
    RegionUnavailable = "region-unavailable", 503, Gateway, AfterDelay, "No region can serve this request now";
    /// The regions in which these data may lie cannot serve, though others could.
    ResidencyMismatch = "residency-mismatch", 503, Gateway, AfterDelay, "No region in which these data may lie can serve them now";
    /// No region has, or can prove that it has, what the client has written.
    PositionUnreached = "position-unreached", 503, Gateway, AfterDelay, "No region has your last write yet";
    /// The service failed too often, and its circuit breaker is open.
    CircuitOpen = "circuit-open", 503, Upstream, AfterDelay, "The service is left alone after failures";
    /// A queue or a cap is full.
    Overloaded = "overloaded", 503, Gateway, AfterDelay, "The gateway is at capacity";
    /// The node has no configuration yet or is shutting down.
    NotReady = "not-ready", 503, Gateway, AfterDelay, "The gateway is not ready";
    /// The control database's primary cannot be reached.
    DatabaseUnavailable = "database-unavailable", 503, Gateway, AfterDelay, "The control database is not available";
    /// The request has been in this region before: gateways send it round in a circle.
    LoopDetected = "loop-detected", 508, Gateway, Never, "Gateways send this request round in a circle";
    /// The service did not answer in time.
    UpstreamTimeout = "upstream-timeout", 504, Upstream, AfterDelay, "The service did not answer in time";
}

impl ProblemKind {
    /// The type URI: stable, and independent of where the pages are published.
    pub fn type_uri(self) -> String {
        format!("urn:causeway:problem:{}", self.code())
    }
}

/// A refusal on its way to the client: a kind and what is known about this occurrence.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Which problem.
    pub kind: ProblemKind,
    /// Public text for this occurrence, written by hand.
    pub detail: Cow<'static, str>,
    /// What exactly is wrong with the request.
    pub errors: Vec<FieldError>,
    /// Seconds after which a retry may succeed.
    pub retry_after_seconds: Option<u64>,
    /// Whether the same request may be sent again: false where it may have been processed already.
    pub is_retryable: bool,
    /// Methods for the `Allow` header of a 405.
    pub allow: Vec<http::Method>,
    /// How a 401 asks for a credential.
    pub challenge: Challenge,
    /// The browser is to forget the consistency token that it keeps.
    pub forgets_token: bool,
}

/// How a 401 asks for a credential (RFC 9110 section 11.6.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Challenge {
    /// For a bearer token (RFC 6750 section 3).
    #[default]
    Bearer,
    /// For a bearer token, or one that is bound to a key (RFC 9449 section 7.1).
    BearerOrDpop,
    /// The token that came with a proof is not accepted.
    DpopToken,
    /// The proof is not accepted.
    DpopProof,
}

impl Denial {
    /// A refusal with its text.
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
            is_retryable: kind.retry() == Retry::AfterDelay,
            allow: Vec::new(),
            challenge: Challenge::Bearer,
            forgets_token: false,
        }
    }

    /// Says how to ask for a credential.
    #[must_use]
    pub const fn challenging(mut self, challenge: Challenge) -> Self {
        self.challenge = challenge;
        self
    }

    /// Says whether the browser is to forget the consistency token that it keeps.
    #[must_use]
    pub const fn forgetting_token(mut self, forgets: bool) -> Self {
        self.forgets_token = forgets;
        self
    }

    /// Adds what exactly is wrong.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds when to come back.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Says that the request may have been processed: sending it again could do it twice.
    #[must_use]
    pub const fn maybe_processed(mut self) -> Self {
        self.is_retryable = false;
        self
    }

    /// Adds the methods that would be allowed.
    #[must_use]
    pub fn allowing(mut self, methods: Vec<http::Method>) -> Self {
        self.allow = methods;
        self
    }

    /// The problem document (RFC 9457 section 3) with our listed extensions.
    pub fn to_json(&self, request_id: &str, region: &str) -> Value {
        let kind = self.kind;
        let mut body = Map::new();
        body.insert("type".to_owned(), Value::String(kind.type_uri()));
        body.insert("title".to_owned(), Value::from(kind.title()));
        body.insert("status".to_owned(), Value::from(kind.status().as_u16()));
        body.insert("detail".to_owned(), Value::from(self.detail.as_ref()));
        body.insert("instance".to_owned(), Value::String(format!("urn:causeway:request:{request_id}")));
        body.insert("code".to_owned(), Value::from(kind.code()));
        body.insert("request_id".to_owned(), Value::from(request_id));
        body.insert("region".to_owned(), Value::from(region));
        body.insert("retryable".to_owned(), Value::from(self.is_retryable));
        if let Some(seconds) = self.retry_after_seconds {
            body.insert("retry_after_seconds".to_owned(), Value::from(seconds));
        }
        if !self.errors.is_empty() {
            // Strings and numbers alone: writing them as JSON cannot fail.
            body.insert("errors".to_owned(), serde_json::to_value(&self.errors).unwrap_or_default());
        }
        Value::Object(body)
    }
}
