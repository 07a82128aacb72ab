//! One audit event: its fields, and the canonical bytes that are chained, committed to and loaded.
//!
//! The names follow OCSF API Activity (class 6003) where it has one. Secrets, bodies and query values have no field here,
//! so they cannot be recorded by mistake.

mod encode;
#[cfg(test)]
mod tests;

use uuid::Uuid;

/// The longest canonical form in bytes: every text field has a limit of its own (see [`Event::encode`]), and with all of
/// them full, the form still fits.
pub const EVENT_BYTES_MAX: usize = crate::layout::EVENT_BYTES_MAX;

/// What kind of act an event is about; it decides retention and who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A request through the data plane.
    Access,
    /// An act in the control plane: keys, configuration, reading the log itself.
    Admin,
    /// The node's own life: start, stop, recovery.
    Node,
}

impl Class {
    /// The word in the canonical form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }
}

/// Which moment of an act an event records; every count of acts is over [`Phase::Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before dispatch, on strict routes.
    Intent,
    /// The decision and the upstream's status are known; this record gates the release of the response.
    Outcome,
    /// The stream has ended: bytes and duration; never waited for.
    Close,
}

impl Phase {
    /// The word in the canonical form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Close => "close",
        }
    }
}

/// What the gateway decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The act was let through.
    Allow,
    /// The act was refused; `reason` carries the problem code.
    Deny,
}

impl Decision {
    /// The word in the canonical form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// How the act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done as asked.
    Ok,
    /// Refused by a decision.
    Denied,
    /// Failed in the gateway or upstream.
    Error,
    /// The client went away first.
    Aborted,
    /// Not known, for instance an intent without an outcome.
    Unknown,
}

impl Outcome {
    /// The word in the canonical form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Error => "error",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
        }
    }
}

/// Fields about a person. They stand in an envelope of their own, so that sealing them per subject later changes neither
/// the shape of the event nor what the commitment is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Personal<'a> {
    /// Whom the caller's token is about, as its issuer names them, or without a token what its certificate is known by.
    pub subject: Option<&'a str>,
    /// The client's address, already truncated where the policy says so.
    pub client_address: Option<&'a str>,
    /// The `User-Agent` field value.
    pub user_agent: Option<&'a str>,
}

/// One event, borrowed from whoever knows the facts. `None` leaves the field out of the canonical form.
///
/// # Units
/// Integers stay below 2^53 (RFC 8785 §3.2.2.3 takes numbers as IEEE doubles); larger ones are written as 2^53 - 1.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// What kind of act.
    pub class: Class,
    /// Which moment of it.
    pub phase: Phase,
    /// The act's id, a version 7 UUID; intent, outcome and close of one act share it.
    pub event_id: Uuid,
    /// UTC microseconds since 1970.
    pub time_us: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// What was decided.
    pub decision: Decision,
    /// OCSF `severity_id`: 1 informational to 6 fatal.
    pub severity: u8,
    /// The region that served.
    pub region: &'a str,
    /// The node that served.
    pub node: &'a str,
    /// What `X-Request-Id` said to the client.
    pub request_id: &'a str,
    /// Whose deployment space.
    pub tenant: Option<&'a str>,
    /// The consumer (organization) behind the principal.
    pub consumer: Option<&'a str>,
    /// The application behind the principal.
    pub application: Option<&'a str>,
    /// What kind of principal: key, token, operator.
    pub principal_kind: Option<&'a str>,
    /// The key's public id; never its secret.
    pub key_id: Option<&'a str>,
    /// Who issued the token, by the name that it has here; without a token, who vouched for the certificate.
    pub issuer: Option<&'a str>,
    /// The client certificate's SHA-256 hash in base64url (`x5t#S256`, RFC 8705 §3.1).
    pub certificate: Option<&'a str>,
    /// How the principal proved itself.
    pub auth_method: Option<&'a str>,
    /// `https` or `http`.
    pub scheme: Option<&'a str>,
    /// The matched route.
    pub route: Option<&'a str>,
    /// The `operationId` of the API document.
    pub api_operation: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// The region the request was sent to.
    pub target_region: Option<&'a str>,
    /// The address that was dialed.
    pub upstream_address: Option<&'a str>,
    /// The request method.
    pub method: Option<&'a str>,
    /// The host asked for.
    pub host: Option<&'a str>,
    /// The path without its query.
    pub path: Option<&'a str>,
    /// The problem code of a refusal or failure.
    pub reason: Option<&'a str>,
    /// W3C trace context.
    pub traceparent: Option<&'a str>,
    /// For instance `1.3`.
    pub tls_version: Option<&'a str>,
    /// The cipher suite's IANA name.
    pub tls_cipher: Option<&'a str>,
    /// The key exchange group.
    pub tls_group: Option<&'a str>,
    /// The server name the client asked for.
    pub sni: Option<&'a str>,
    /// `h1` or `h2`.
    pub protocol: Option<&'a str>,
    /// The name of the limiter that decided.
    pub limiter: Option<&'a str>,
    /// The consistency served: policy, position, bound.
    pub consistency: Option<&'a str>,
    /// Who acted, in the control plane.
    pub actor: Option<&'a str>,
    /// What they did.
    pub action: Option<&'a str>,
    /// To what.
    pub object: Option<&'a str>,
    /// The configuration's epoch.
    pub epoch: Option<u64>,
    /// The authority revision the decision was made under.
    pub authority_revision: Option<u64>,
    /// The structural revision the decision was made under.
    pub structural_revision: Option<u64>,
    /// Bytes of the request body.
    pub request_bytes: Option<u64>,
    /// Bytes of the response body.
    pub response_bytes: Option<u64>,
    /// Microseconds from the request's head to this record.
    pub duration_us: Option<u64>,
    /// Microseconds spent upstream.
    pub upstream_us: Option<u64>,
    /// How many refusals this record stands for, when aggregated.
    pub count: Option<u64>,
    /// The status sent to the client.
    pub status: Option<u16>,
    /// The status the upstream gave.
    pub upstream_status: Option<u16>,
    /// Fields about a person.
    pub personal: Personal<'a>,
}

impl<'a> Event<'a> {
    /// An allowed, informational event that ended well, with every optional field left out.
    ///
    /// # Units
    /// `time_us`: UTC microseconds since 1970.
    pub const fn new(class: Class, phase: Phase, event_id: Uuid, time_us: i64, region: &'a str, node: &'a str, request_id: &'a str) -> Self {
        Self {
            class,
            phase,
            event_id,
            time_us,
            outcome: Outcome::Ok,
            decision: Decision::Allow,
            severity: 1,
            region,
            node,
            request_id,
            tenant: None,
            consumer: None,
            application: None,
            principal_kind: None,
            key_id: None,
            issuer: None,
            certificate: None,
            auth_method: None,
            scheme: None,
            route: None,
            api_operation: None,
            upstream: None,
            target_region: None,
            upstream_address: None,
            method: None,
            host: None,
            path: None,
            reason: None,
            traceparent: None,
            tls_version: None,
            tls_cipher: None,
            tls_group: None,
            sni: None,
            protocol: None,
            limiter: None,
            consistency: None,
            actor: None,
            action: None,
            object: None,
            epoch: None,
            authority_revision: None,
            structural_revision: None,
            request_bytes: None,
            response_bytes: None,
            duration_us: None,
            upstream_us: None,
            count: None,
            status: None,
            upstream_status: None,
            personal: Personal { subject: None, client_address: None, user_agent: None },
        }
    }

    /// Appends the canonical form (RFC 8785 JSON, `"v":1`) to `out`: at most [`EVENT_BYTES_MAX`] bytes.
    ///
    /// A text field longer than its limit is cut at a character boundary and ends in `…`, so that a long path cannot push
    /// a record out of the space that was reserved for it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::encode(self, out);
    }
}
