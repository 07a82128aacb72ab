//! The compiled structure: routes, services, plans and regions with every reference resolved.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use http::Method;

use crate::{
    certificate::authority::Authority,
    consistency_token::{DomainMark, TenantMark},
    document::ByDoc,
    identity::ImportedKeysDoc,
    limit::Quota,
    openapi::Api,
    policy::{AuditDoc, ElseDoc, OnStaleDoc, ReadModeDoc},
    residency::{RegionLabels, Residency},
    rewrite::Rewrite,
    signature::key::Signer,
    structure::{
        filter::{Filters, UpstreamHost},
        forwarding::Forwarding,
        identity::{Auth, Issuer},
        resilience::{Diversions, Resilience, Retries},
        websocket::WebSocketRules,
    },
    trie::Trie,
};

pub mod filter;
pub mod forwarding;
pub mod identity;
pub mod reach;
pub mod resilience;
pub mod websocket;

/// Everything that requests are matched against, except authority.
#[derive(Debug, Default)]
pub struct Structure {
    /// Route tables by host.
    pub hosts: HostTable,
    /// Routes, in document order.
    pub routes: Vec<Arc<Route>>,
    /// Services, in document order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Plans by name.
    pub plans: HashMap<Arc<str>, Plan>,
    /// Who issues tokens, in document order.
    pub issuers: Vec<Arc<Issuer>>,
    /// Who vouches for client certificates, in document order.
    pub authorities: Vec<Arc<Authority>>,
    /// Who signs requests, by name.
    pub signers: HashMap<Arc<str>, Arc<Signer>>,
    /// Names of the regions, in document order.
    pub regions: Vec<Arc<str>>,
    /// The regions that serve in the place of another, best first; those without a list are left out.
    pub failover: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// The regions whose gateways take requests from those of others.
    pub forwarding: HashMap<Arc<str>, Arc<Forwarding>>,
    /// What tells its gateways apart from those of others, in `Via`.
    pub deployment: Box<str>,
    /// Where the regions lie, as consumers ask for it.
    pub labels: RegionLabels,
    /// Domains by name, for the monitors.
    pub domains: Vec<Domain>,
}

impl Structure {
    /// The widest bound of the routes that stop taking keys once it is over, in nanoseconds: for so long a node that is cut off may go on.
    pub fn deny_bound_nanos(&self) -> u64 {
        let denying = self.routes.iter().filter(|route| !route.auth.is_none() && route.keys.on_stale != OnStaleDoc::Allow);
        denying.map(|route| route.keys.max_staleness_nanos).max().unwrap_or(0)
    }
}

/// Tables by host: exact names first, then the longest wildcard.
#[derive(Debug, Default)]
pub struct HostTable {
    /// Whether any of them asks for a client certificate.
    pub asks_certificate: bool,
    /// Tables by exact name.
    pub exact: HashMap<Box<str>, Arc<RouteTable>, RandomState>,
    /// Tables by the name after `*.`.
    pub wildcard: HashMap<Box<str>, Arc<RouteTable>, RandomState>,
}

impl HostTable {
    /// The table for a host name.
    pub fn find(&self, host: &str) -> Option<&Arc<RouteTable>> {
        if let Some(table) = self.exact.get(host) {
            return Some(table);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        host.match_indices('.').find_map(|(at, _)| self.wildcard.get(host.get(at + 1..)?))
    }
}

/// The routes of one host.
#[derive(Debug)]
pub struct RouteTable {
    /// The owner of the host.
    pub tenant: Arc<str>,
    /// Routes by path.
    pub trie: Trie<Arc<Route>>,
    /// Whether handshakes for this host ask for a client certificate.
    pub asks_certificate: bool,
}

/// A route, ready to decide.
#[derive(Debug)]
pub struct Route {
    /// Its name, which is also its id for people, labels and records.
    pub name: Arc<str>,
    /// The owner.
    pub tenant: Arc<str>,
    /// The owner in tokens.
    pub tenant_mark: TenantMark,
    /// The path pattern as written.
    pub pattern: Box<str>,
    /// Methods it takes; every method when empty.
    pub methods: Box<[Method]>,
    /// Headers that must have these values; names in lower case.
    pub headers: Box<[(http::HeaderName, Box<[u8]>)]>,
    /// How callers prove who they are.
    pub auth: Auth,
    /// Whether its hosts ask for a client certificate.
    pub asks_certificate: bool,
    /// Whether it takes keys that other systems have issued.
    pub imported_keys: ImportedKeysDoc,
    /// Scopes that a caller needs, all of them.
    pub scopes: Box<[Box<str>]>,
    /// Who may use it; `None` means everybody of the tenant.
    pub allow: Option<Allow>,
    /// Limits, checked together.
    pub limits: Box<[RouteLimit]>,
    /// How old the knowledge about keys may be.
    pub keys: KeyFreshness,
    /// Which replica may answer a read.
    pub reads: Reads,
    /// The regions that may serve it.
    pub residency: Residency,
    /// Reads go to the writer region too.
    pub get_writes: bool,
    /// What must be on disk before a response is released.
    pub audit: AuditDoc,
    /// The API description.
    pub api: Option<Arc<Api>>,
    /// Whether requests that break the description are refused.
    pub enforce: bool,
    /// The service; one without regions where the gateway answers itself.
    pub upstream: Arc<Upstream>,
    /// The gateway answers, with access tokens for API keys.
    pub token_endpoint: Option<TokenEndpoint>,
    /// Where requests go besides; `None` for the usual route, which has no other place.
    pub diversions: Option<Box<Diversions>>,
    /// When requests are tried again.
    pub retries: Retries,
    /// What the path becomes.
    pub rewrite: Option<Rewrite>,
    /// What the `Host` field says to the service.
    pub upstream_host: UpstreamHost,
    /// What is off unless it is written.
    pub filters: Option<Box<Filters>>,
    /// Which WebSockets it takes; none when `None`.
    pub websocket: Option<Box<WebSocketRules>>,
    /// The largest body, in bytes.
    pub body_bytes_max: u64,
    /// From the request's head to the response's head.
    pub timeout: Duration,
}

/// A token endpoint (RFC 6749 section 3.2).
#[derive(Debug, Clone, Copy)]
pub struct TokenEndpoint {
    /// How long a token lives, in seconds.
    pub lifetime_seconds: i64,
}

/// Who may use a route.
#[derive(Debug)]
pub struct Allow {
    /// Names of consumers.
    pub consumers: HashSet<Box<str>>,
    /// Names of applications.
    pub applications: HashSet<Box<str>>,
}

/// A limit of a route.
#[derive(Debug)]
pub struct RouteLimit {
    /// Its name, in the headers that clients see.
    pub name: Arc<str>,
    /// Tells this limit's cells from those of any other limit.
    pub scope: u64,
    /// Who is counted.
    pub by: ByDoc,
    /// Where the quota stands.
    pub source: LimitSource,
}

/// Where a quota stands.
#[derive(Debug)]
pub enum LimitSource {
    /// In the route.
    Fixed(Quota),
    /// In the caller's plan, under this name.
    Plan(Box<str>),
}

/// How old the knowledge about keys may be.
#[derive(Debug, Clone, Copy)]
pub struct KeyFreshness {
    /// The bound in nanoseconds of the boot clock.
    pub max_staleness_nanos: u64,
    /// What happens past it.
    pub on_stale: OnStaleDoc,
}

impl Route {
    /// Whether responses of this route may be kept in a region, whichever of its services they come from.
    pub fn may_lie_in(&self, region: &str) -> bool {
        self.residency.allows(region) && self.services().all(|service| service.residency.allows(region))
    }

    /// Every service that takes its requests, or copies of them.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        std::iter::once(&self.upstream).chain(self.diversions.iter().flat_map(|diversions| diversions.services()))
    }
}

/// Which replica may answer a read.
#[derive(Debug, Clone, Copy)]
pub struct Reads {
    /// The promise.
    pub mode: ReadModeDoc,
    /// For `bounded`: how old an answer may be.
    pub max: Duration,
    /// How long to wait.
    pub wait: Duration,
    /// What happens when waiting did not help.
    pub otherwise: ElseDoc,
    /// Browsers keep the token in a cookie.
    pub cookie: bool,
}

/// A plan.
#[derive(Debug)]
pub struct Plan {
    /// Limits by name.
    pub limits: HashMap<Box<str>, Quota>,
}

/// A domain: a fronted service's database cluster.
#[derive(Debug)]
pub struct Domain {
    /// Its name.
    pub name: Arc<str>,
    /// Its name in tokens.
    pub mark: DomainMark,
    /// Whether clients of its services are told positions: some route promises them their own writes.
    pub is_tracked: bool,
    /// Whether nodes write heartbeats into it, which prove how old an answer is.
    pub is_beating: bool,
    /// Its servers.
    pub servers: Vec<DomainServer>,
}

/// One server of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainServer {
    /// `host:port`.
    pub address: Box<str>,
    /// The region whose services read it.
    pub region: Arc<str>,
    /// Whether they do while it is a standby.
    pub is_read: bool,
}

/// A fronted service.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Its position in [`Structure::upstreams`].
    pub index: usize,
    /// Its database, which says where writes go.
    pub domain: Option<Arc<str>>,
    /// The same in tokens, if clients are told positions of it.
    pub tracked: Option<DomainMark>,
    /// The same, if it can be proved how old its answers are.
    pub beating: Option<DomainMark>,
    /// The region that takes writes when there is no domain.
    pub writer: Option<Arc<str>>,
    /// Where it runs, in the order of the region names.
    pub regions: Vec<UpstreamRegion>,
    /// Which of them may serve.
    pub residency: Residency,
    /// To open a connection.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the response.
    pub response_timeout: Duration,
    /// Between two pieces of a body.
    pub idle_timeout: Duration,
    /// How endpoints are chosen, watched and spared.
    pub resilience: Resilience,
    /// For whom the tokens are that tell it who calls; `None` when it does not ask.
    pub principal: Option<Arc<str>>,
}

/// A fronted service in one region.
#[derive(Debug)]
pub struct UpstreamRegion {
    /// The region.
    pub region: Arc<str>,
    /// Its endpoints.
    pub targets: Vec<Arc<Target>>,
    /// The gateways by which nodes of other regions reach them; none where they are reached directly.
    pub gateways: Vec<Arc<Target>>,
}

impl UpstreamRegion {
    /// Whether a node reaches it by way of another region's gateway.
    pub fn is_behind_gateway(&self, here: &str) -> bool {
        !self.gateways.is_empty() && *self.region != *here
    }

    /// Where a node of a region sends requests for it.
    pub fn targets_from(&self, here: &str) -> &[Arc<Target>] {
        if self.is_behind_gateway(here) { &self.gateways } else { &self.targets }
    }
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// `host:port` to connect to.
    pub address: Box<str>,
    /// What the `Host` header says: `host`, with the port unless it is the scheme's own.
    pub authority: Box<str>,
    /// A path prefix, without a trailing slash; usually empty.
    pub base_path: Box<str>,
    /// Which HTTP, and TLS or none.
    pub reach: Arc<reach::Reach>,
    /// The name to look up and the port, unless the host is an address.
    pub name: Option<(Box<str>, u16)>,
    /// It is a gateway of another region, which gets the request as it came and sends it to the service.
    pub is_gateway: bool,
}
