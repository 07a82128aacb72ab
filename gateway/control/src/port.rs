//! What the node provides: clocks, randomness, its own state, the access log, and a way into its own gateway.

use std::{fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use audit::event::Outcome;
use bytes::Bytes;
use model::time::{Now, UtcMicros};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi::form;

/// Reads both clocks.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The instant at which it is called.
    fn now(&self) -> Now;
}

/// Fills a buffer with random bytes that are fit for keys.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The address a connection came from. The listener puts it into each request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// What the node says about itself.
pub trait Status: Send + Sync + fmt::Debug {
    /// Whether the process works at all; `false` asks for a restart.
    fn live(&self) -> bool;

    /// Whether the node should get traffic, and why not.
    fn ready(&self) -> Readiness;

    /// Every metric, as `OpenMetrics` 1.0 text.
    fn metrics(&self) -> String;

    /// Which node this is, and how far it is.
    fn node(&self) -> NodeFacts;

    /// The database servers of fronted services, as this node sees them.
    fn domain_servers(&self) -> Vec<DomainServer>;

    /// Whether some route takes keys although what is known about them is older than its bound.
    fn serves_stale(&self) -> bool;
}

/// Whether a node should get traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// False takes the node out of rotation.
    pub ready: bool,
    /// It serves, but something needs a person: the database is away, a document did not compile.
    pub degraded: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// What: `database`, `snapshot`, `spool`.
    pub name: &'static str,
    /// How it is.
    pub state: CheckState,
    /// One sentence for a person; never a credential or an address book.
    pub detail: String,
    /// Since when it is so.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = form::Instant)]
    pub since: UtcMicros,
}

/// How a thing that was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Not as it should be, and the node still serves.
    Degraded,
    /// The node must not get traffic.
    Failed,
}

impl CheckState {
    /// The word that people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// Which node this is, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeFacts {
    /// Its name, unique in the deployment.
    pub node: String,
    /// Its region.
    pub region: String,
    /// The program's version.
    pub version: String,
    /// When this process started.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = form::Instant)]
    pub started_at: UtcMicros,
    /// The configuration's epoch that requests are decided under.
    pub epoch: u64,
    /// The authority revision that requests are decided under.
    pub authority_revision: u64,
    /// The epoch of the structural revision: the one before, where a structure was kept over a promotion.
    pub structural_epoch: u64,
    /// The structural revision that requests are decided under.
    pub structural_revision: u64,
    /// The epoch of `journaled_revision`.
    pub journaled_epoch: u64,
    /// The authority revision that this node comes to after a restart without a database, by what this process has synced to disk; 0
    /// until then.
    pub journaled_revision: u64,
    /// Milliseconds since the keys were last confirmed; absent when they never were.
    pub authority_age_ms: Option<u64>,
    /// Rows and documents that were skipped because they could not be read.
    pub quarantined: u64,
}

/// A database server of a fronted service, as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DomainServer {
    /// The domain.
    pub domain: String,
    /// `host:port`.
    pub address: String,
    /// The region whose services read it.
    pub region: String,
    /// What it is.
    #[schema(value_type = form::DomainServerState)]
    pub state: &'static str,
    /// Whether services of the region read it now, as the document says.
    pub is_read: bool,
    /// The epoch of its position; null when that is not known.
    pub epoch: Option<u32>,
    /// Its place in the log, as PostgreSQL writes it; null when that is not known.
    pub lsn: Option<String>,
    /// How far it is behind the primary; null when that is not known.
    pub lag_bytes: Option<u64>,
}

/// The access log cannot take a record now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access log cannot take a record")]
pub struct AuditUnavailable;

/// The future of a record that is on its way to disk.
pub type Recorded = Pin<Box<dyn Future<Output = Result<(), AuditUnavailable>> + Send>>;

/// The access log, for acts in the control plane.
pub trait AuditSink: Send + Sync + fmt::Debug {
    /// Takes the place of one record before anything is done.
    ///
    /// # Errors
    /// [`AuditUnavailable`]; the act must then be refused.
    fn reserve(&self) -> Result<Box<dyn AuditPlace>, AuditUnavailable>;
}

/// A place that was taken for one record. Dropping it gives it back.
pub trait AuditPlace: Send + fmt::Debug {
    /// Writes the record. The future is ready when the record is on disk; dropping the future takes nothing back.
    fn record(self: Box<Self>, event: AdminEvent) -> Recorded;
}

/// One act in the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminEvent {
    /// `UUIDv7` of the act.
    pub event_id: Uuid,
    /// When it began.
    pub at: UtcMicros,
    /// What `X-Request-Id` said.
    pub request_id: String,
    /// The operator's name; absent for a refused log-in.
    pub actor: Option<String>,
    /// The public id of the operator's token, as far as one was presented in good form.
    pub token_id: Option<String>,
    /// What was asked for: `key.create`.
    pub action: &'static str,
    /// To what: `key:7sEgbYf9hQ2x`.
    pub object: Option<String>,
    /// The request method.
    pub method: String,
    /// The path without its query; absent when it held a credential.
    pub path: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The status sent to the client; absent when the client had gone.
    pub status: Option<u16>,
    /// The problem code of a refusal.
    pub reason: Option<&'static str>,
    /// Where the connection came from.
    pub client_address: Option<IpAddr>,
    /// Microseconds from the request's head to this record.
    pub duration_us: u64,
    /// How many acts of this kind the record stands for: more than one when refused log-ins come as a flood.
    pub count: u64,
}

/// One call through this node's own data listener, as a client outside would make it: over TLS, routed, limited and recorded.
pub trait Gateway: Send + Sync + fmt::Debug {
    /// Makes the call for a client at `from`, the address that limits and the access log shall see; they see this node's own where the
    /// data listener believes nobody on this machine about others.
    ///
    /// The request's URI is a path with a query, and its `Host` decides the name that TLS asks for. Fields of the connection itself
    /// (`Connection`, `Content-Length`, `Expect`, …) are replaced. A redirect is an answer like any other: nobody follows it.
    ///
    /// # Cancel
    /// A dropped future closes the connection; the service may have been asked all the same.
    fn call(&self, from: IpAddr, request: http::Request<Bytes>) -> Calling;
}

/// The future of a call.
pub type Calling = Pin<Box<dyn Future<Output = Result<Called, GatewayFault>> + Send>>;

/// What came of a call.
#[derive(Debug)]
pub struct Called {
    /// The answer, with as much of its body as is shown.
    pub response: http::Response<Bytes>,
    /// Whether the body was longer than what is shown, or had not ended in time.
    pub is_cut: bool,
    /// From before the connection to the last byte that is shown.
    pub took: Duration,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GatewayFault {
    /// The listener took no connection, or closed it before TLS.
    #[error("the gateway of this node takes no connection now")]
    Unreachable,
    /// No answer began in time.
    #[error("the gateway of this node gave no answer in time")]
    TimedOut,
    /// TLS failed, the other end does not have a certificate of this node, or the answer broke off.
    #[error("the connection to the gateway of this node failed before the answer had ended")]
    Broken,
}

/// Whether this node sends mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mails {
    /// It does.
    Sent,
    /// The node file names nobody who takes them.
    NotSent,
}

/// An `OpenID` provider, by which operators sign in.
pub trait Provider: Send + Sync + fmt::Debug {
    /// What people call it.
    fn name(&self) -> &str;

    /// `iss` of its tokens.
    fn issuer(&self) -> &str;

    /// Where a browser goes to sign in.
    fn begin(&self, begin: Begin) -> Begun;

    /// Redeems the code that a browser came back with.
    ///
    /// # Cancel
    /// The code may be used up all the same.
    fn redeem(&self, redeem: Redeem) -> Redeemed;
}

/// What a sign-in begins with.
#[derive(Debug)]
pub struct Begin {
    /// Comes back beside the code.
    pub state: String,
    /// Stands in the token.
    pub nonce: String,
    /// SHA-256 of what the code is redeemed with (RFC 7636), base64url.
    pub challenge: String,
}

/// The future of an address.
pub type Begun = Pin<Box<dyn Future<Output = Result<String, ProviderFault>> + Send>>;

/// What a browser came back with.
pub struct Redeem {
    /// The code.
    pub code: String,
    /// What it is redeemed with (RFC 7636).
    pub verifier: String,
    /// What has to stand in the token.
    pub nonce: String,
}

/// Codes are secrets until they are used.
impl fmt::Debug for Redeem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redeem(..)")
    }
}

/// The future of a word about somebody.
pub type Redeemed = Pin<Box<dyn Future<Output = Result<Provided, ProviderFault>> + Send>>;

/// Whom the provider vouches for; its token was verified.
pub struct Provided {
    /// Who, unique within the provider and for ever.
    pub subject: String,
    /// A mail address that the provider has verified.
    pub email: Option<String>,
    /// What the person is called.
    pub name: Option<String>,
    /// What they may as an operator; nothing when the provider's word stands for no role.
    pub role: Option<String>,
}

/// Names of people stay out of logs.
impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provided").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Why a provider signs nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// It cannot be asked, or is not the one that was meant.
    #[error("the provider cannot be reached")]
    Unreachable,
    /// Too many sign-ins are under way.
    #[error("too many sign-ins are under way")]
    Busy,
    /// It gave no token, or one that does not hold.
    #[error("the provider gave no token that holds")]
    Refused,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn rfc3339<S: serde::Serializer>(at: &UtcMicros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
