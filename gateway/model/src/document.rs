//! The gateway document: what a deployment serves, as an operator writes it and as the database keeps it.
//!
//! Strict: an unknown key or an unknown value of an enumeration is refused. Everything here is only syntax; what it
//! means, and whether it can be served, is decided by [`crate::compile`].

pub mod domain;
pub mod forwarding;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::{
    domain::DomainDoc,
    forwarding::{ForwardingDoc, RegionReachDoc},
};
use crate::{
    duration::{Bytes, Span},
    filter::{CacheDoc, CompressionDoc, CorsDoc, HeadersDoc},
    host::HostPattern,
    identity::{AuthDoc, CertificateAuthorityDoc, ClientCertificateDoc, ImportedKeysDoc, IssuerDoc, PrincipalDoc, SignerDoc},
    limit::Rate,
    policy::{AuditDoc, ConsistencyDoc},
    portal::PortalDoc,
    resilience::{BalanceDoc, BreakerDoc, BudgetDoc, CanaryDoc, HealthDoc, InFlightDoc, MirrorDoc, OutliersDoc, RetriesDoc, SplitDoc},
    structure::reach::{ProtocolDoc, UpstreamTlsDoc},
    websocket::WebSocketDoc,
};

/// A whole document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The document format: 1.
    pub version: u32,
    /// Regions in which gateways run.
    #[serde(default)]
    pub regions: Vec<RegionDoc>,
    /// Databases of fronted services: they say where writes go.
    #[serde(default)]
    pub domains: Vec<DomainDoc>,
    /// Owners of host names.
    #[serde(default)]
    pub tenants: Vec<TenantDoc>,
    /// Named limits that applications share.
    #[serde(default)]
    pub plans: Vec<PlanDoc>,
    /// Who issues tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<IssuerDoc>,
    /// Who vouches for client certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_authorities: Vec<CertificateAuthorityDoc>,
    /// Who signs requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<SignerDoc>,
    /// OpenAPI documents.
    #[serde(default)]
    pub apis: Vec<ApiDoc>,
    /// Organizations or persons that call.
    #[serde(default)]
    pub consumers: Vec<ConsumerDoc>,
    /// Applications of consumers: they hold keys.
    #[serde(default)]
    pub applications: Vec<ApplicationDoc>,
    /// Fronted services.
    #[serde(default)]
    pub upstreams: Vec<UpstreamDoc>,
    /// What is served.
    #[serde(default)]
    pub routes: Vec<RouteDoc>,
}

/// A region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionDoc {
    /// Its name: lower-case letters, digits and hyphens.
    pub name: String,
    /// Where the region's gateways answer, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<url::Url>,
    /// Labels of where it lies, that routes, services and consumers may ask for: `eu`, `hipaa`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub residency: Vec<String>,
    /// The regions that serve in its place, best first; those that are not named come behind, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failover: Vec<String>,
    /// How nodes of other regions hand requests to this one's; they do not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<ForwardingDoc>,
}

/// A tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantDoc {
    /// Its name.
    pub name: String,
    /// Host names that belong to it alone.
    pub hosts: Vec<HostPattern>,
    /// The developer portal, at most one in the deployment; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portal: Option<PortalDoc>,
}

/// A plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanDoc {
    /// Its name.
    pub name: String,
    /// Limits that routes refer to with `from: plan.<name>`.
    #[serde(default)]
    pub limits: BTreeMap<String, PlanLimitDoc>,
}

/// One limit of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanLimitDoc {
    /// Requests in a period.
    pub rate: Rate,
    /// Requests that may come at once; the rate's count when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// An API description.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiDoc {
    /// Its name.
    pub name: String,
    /// The OpenAPI 3.0 or 3.1 document: inline, or the name of a YAML or JSON file next to the gateway file, which
    /// `causeway` reads before the document travels.
    pub openapi: serde_json::Value,
}

/// A consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerDoc {
    /// Its name, unique in the deployment.
    pub name: String,
    /// The tenant it belongs to; needed when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Labels of regions: its requests go to regions alone that have one of these; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Vec<String>>,
}

/// An application.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationDoc {
    /// Its name, unique in the deployment.
    pub name: String,
    /// The consumer it belongs to.
    pub consumer: String,
    /// The plan whose limits apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Scopes that its keys have unless they say otherwise.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A fronted service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamDoc {
    /// Its name.
    pub name: String,
    /// Its database: the region of that database's primary takes the writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Where it runs.
    pub regions: BTreeMap<String, UpstreamRegionDoc>,
    /// Labels of the regions that may serve it, one of them at least; any region when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Vec<String>>,
    /// Deadlines of one exchange.
    #[serde(default)]
    pub timeouts: TimeoutsDoc,
    /// Which HTTP it speaks: `http1` without TLS, `auto` with TLS, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolDoc>,
    /// TLS for `https://` targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTlsDoc>,
    /// Whether it is told who calls, by a signed token; not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalDoc>,
    /// Which endpoint takes the next request.
    #[serde(default)]
    pub balance: BalanceDoc,
    /// The cap on requests in flight to one endpoint; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlightDoc>,
    /// How long an endpoint that comes new or back takes to get its full share; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
    /// How endpoints are asked whether they are well; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthDoc>,
    /// When an endpoint that fails rests for a while.
    #[serde(default)]
    pub outliers: OutliersDoc,
    /// Below this share of usable endpoints, in percent, all of them are tried as if they were well.
    #[serde(default = "UpstreamDoc::panic_default")]
    pub panic_percent: u8,
    /// When the whole service is left alone for a while; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerDoc>,
    /// How many retries the service gets.
    #[serde(default)]
    pub retry_budget: BudgetDoc,
    /// How often names are looked up.
    #[serde(default = "UpstreamDoc::resolve_default")]
    pub resolve_every: Span,
}

impl UpstreamDoc {
    const fn panic_default() -> u8 {
        30
    }

    const fn resolve_default() -> Span {
        Span(std::time::Duration::from_secs(10))
    }
}

/// A fronted service in one region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamRegionDoc {
    /// Base URLs, `http://host:port` or `https://host:port`.
    pub targets: Vec<String>,
    /// Only for services without a `domain`: which region takes the writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleDoc>,
    /// How nodes of other regions reach it.
    #[serde(default, skip_serializing_if = "RegionReachDoc::is_direct")]
    pub reach: RegionReachDoc,
}

/// Whether a region takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleDoc {
    /// Takes writes and reads.
    Writer,
    /// Takes reads.
    Reader,
}

/// Deadlines of one exchange with a service.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsDoc {
    /// To open a connection.
    pub connect: Span,
    /// From the last byte of the request to the head of the response.
    pub response: Span,
    /// Between two pieces of a body, in both directions.
    pub idle: Span,
}

impl Default for TimeoutsDoc {
    fn default() -> Self {
        let span = |text| Span::parse(text).unwrap_or(Span(std::time::Duration::from_secs(30)));
        // A connection inside a continent opens in well under a second; 30 s is what most services promise.
        Self { connect: span("2s"), response: span("30s"), idle: span("60s") }
    }
}

/// A route.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDoc {
    /// Its name.
    pub name: String,
    /// Which requests it takes.
    #[serde(rename = "match")]
    pub matches: MatchDoc,
    /// The API description that requests must follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Whether requests that break the description are refused or only counted.
    #[serde(default)]
    pub validation: ValidationDoc,
    /// How callers prove who they are.
    #[serde(default)]
    pub auth: AuthDoc,
    /// Whether clients are asked for a certificate although nothing else of the route needs one.
    #[serde(default, skip_serializing_if = "ClientCertificateDoc::is_default")]
    pub client_certificate: ClientCertificateDoc,
    /// Whether keys that were imported from other systems are taken by the texts that those have issued.
    #[serde(default, skip_serializing_if = "ImportedKeysDoc::is_default")]
    pub imported_keys: ImportedKeysDoc,
    /// Scopes that a caller needs, all of them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Who may use the route; everybody with a valid credential of the tenant when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<AllowDoc>,
    /// Limits, checked together.
    #[serde(default)]
    pub limits: Vec<LimitDoc>,
    /// What may be served from which knowledge.
    #[serde(default)]
    pub consistency: ConsistencyDoc,
    /// Comes with the idempotency feature; refused until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<serde_json::Value>,
    /// Labels of the regions that may serve it, one of them at least; any region when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Vec<String>>,
    /// What must be on disk before a response is released.
    #[serde(default)]
    pub audit: AuditDoc,
    /// The service that answers; absent where the gateway answers itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub upstream: String,
    /// The gateway answers, with access tokens for API keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<TokenEndpointDoc>,
    /// Services that take a share of the requests from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitDoc>,
    /// Services that take requests because of a header, before any split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<CanaryDoc>,
    /// A service that gets copies; its answers are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorDoc>,
    /// When a request is tried again.
    #[serde(default)]
    pub retries: RetriesDoc,
    /// Changes the path that the service gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<RewriteDoc>,
    /// What `Host` says to the service: `target`, `preserve`, or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_host: Option<String>,
    /// Changes of header fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeadersDoc>,
    /// Which pages of other origins may use the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsDoc>,
    /// Compression of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<CompressionDoc>,
    /// Responses that are kept and given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheDoc>,
    /// WebSockets through the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket: Option<WebSocketDoc>,
    /// The largest body the route takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_max: Option<Bytes>,
    /// From the request's head to the response's head, everything included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// The token endpoint (RFC 6749 section 3.2): the grant `client_credentials`, with an API key as the client's secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenEndpointDoc {
    /// How long a token lives; five minutes when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Span>,
}

/// Which requests a route takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchDoc {
    /// One host name, or several; all hosts of the only tenant when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<OneOrMany<HostPattern>>,
    /// A path pattern: `/orders/{id}`, `/orders/**`.
    pub path: String,
    /// Methods; all when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Headers that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// One value or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected one value, or a list of them")]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// What happens to a request that breaks the description.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidationDoc {
    /// It is refused with 422.
    #[default]
    Enforce,
    /// It passes; the record says that it broke the description.
    Report,
}

/// Who may use a route.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowDoc {
    /// Names of consumers.
    #[serde(default)]
    pub consumers: Vec<String>,
    /// Names of applications.
    #[serde(default)]
    pub applications: Vec<String>,
}

/// A limit of a route.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitDoc {
    /// Its name, in the headers that clients see.
    pub name: String,
    /// Requests in a period; or `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Requests that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// `plan.<limit>`: the rate stands in the caller's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who is counted.
    #[serde(default)]
    pub by: ByDoc,
    /// `local`: each node counts for itself. `global` comes later and is refused until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `hard` and `soft` come with `global`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
}

/// Who is counted by a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByDoc {
    /// Each key.
    #[default]
    Key,
    /// All keys of an application together.
    Application,
    /// All applications of a consumer together.
    Consumer,
    /// Each client address.
    Address,
}

/// Changes the path that the service gets: a prefix for another, or all of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewriteDoc {
    /// Leading segments that go; none when absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strip_prefix: String,
    /// What comes in front; nothing when absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub add_prefix: String,
    /// The whole path, from parameters of the matched one: `/v2/{id}`, `/v2/{id}/**`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}
