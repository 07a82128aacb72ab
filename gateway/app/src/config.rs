//! The node file (`node.yaml`): what one process is.
//!
//! Strict: an unknown key or value is refused with its line. Relative paths start at the file's folder.

pub mod data;
pub mod key_set;
pub mod leaving;
pub mod notifications;
pub mod principal;
pub mod sign_in;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use model::duration::{Bytes, Span};
use serde::{Deserialize, Serialize};

use crate::key_sets;

use self::{
    data::DataConfig,
    key_set::KeySetConfig,
    leaving::{DrainConfig, HandoverConfig},
    notifications::NotificationsConfig,
    principal::PrincipalConfig,
    sign_in::SignInConfig,
};

/// A whole node file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The file format: 1.
    pub version: u32,
    /// This node's name, unique in the deployment.
    pub node: String,
    /// The region that it runs in.
    pub region: String,
    /// Where clients connect.
    pub data: DataConfig,
    /// Where operators connect: admin API, health, metrics.
    pub control: ListenerConfig,
    /// The control database.
    pub database: DatabaseConfig,
    /// How to ask the databases of fronted services where their primary is.
    #[serde(default)]
    pub domains: Vec<DomainConfig>,
    /// The audit log's files.
    pub spool: SpoolConfig,
    /// Certificates by which the node proves itself to services, by the names that gateway files use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identities: BTreeMap<String, IdentityConfig>,
    /// By what it tells services who calls; documents with services that want to know are refused when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalConfig>,
    /// What the node proves itself with to issuers that it asks about tokens, by the names that gateway files use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub introspection_clients: BTreeMap<String, IntrospectionClientConfig>,
    /// Who may report leaked keys to `/v1/leaks/NAME` of the control listener; nobody when empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leak_reporters: BTreeMap<String, ReporterConfig>,
    /// How people are told by mail and by webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<Box<NotificationsConfig>>,
    /// Where the sealed snapshot lies.
    pub state: PathBuf,
    /// Secrets, by reference.
    pub secrets: SecretsConfig,
    /// Threads of the data plane; as many as the machine has cores when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<usize>,
    /// How old a snapshot from disk may be for routes that allow it.
    #[serde(default = "boot_stale_max")]
    pub boot_stale_max: Span,
    /// Limits of the listeners.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// How the node leaves.
    #[serde(default)]
    pub drain: DrainConfig,
    /// How another process of this node takes over; none can when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverConfig>,
    /// How log lines look.
    #[serde(default)]
    pub log: LogFormat,
}

fn boot_stale_max() -> Span {
    Span(std::time::Duration::from_hours(24))
}

/// A listener with its certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM, by reference.
    pub key: SecretRef,
    /// How operators sign in to the pages beside their passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<Box<SignInConfig>>,
}

/// A certificate by which the node proves itself to services.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, by reference.
    pub key: SecretRef,
}

/// A client of an issuer, for questions about its tokens (RFC 7662).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionClientConfig {
    /// Its id at the issuer.
    pub id: String,
    /// Its secret there, by reference.
    pub secret: SecretRef,
}

/// A secret by reference: `file:PATH` or `env:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretRef {
    /// The content of a file; a trailing newline is cut.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// What is said about a secret that stands in a node file itself. Whoever says it must not show the line.
pub(crate) const SECRET_IN_CLEAR: &str = "a secret is given by reference: write `file:PATH` or `env:NAME`, never the secret itself";

impl TryFrom<String> for SecretRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        if let Some(name) = text.strip_prefix("env:").filter(|name| !name.is_empty()) {
            return Ok(Self::Env(name.to_owned()));
        }
        // The text is not repeated: it may be the secret itself.
        Err(SECRET_IN_CLEAR.to_owned())
    }
}

impl From<SecretRef> for String {
    fn from(secret: SecretRef) -> Self {
        match secret {
            SecretRef::File(path) => format!("file:{}", path.display()),
            SecretRef::Env(name) => format!("env:{name}"),
        }
    }
}

/// The control database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// The database's name.
    pub name: String,
    /// The role.
    pub user: String,
    /// The role's password.
    pub password: SecretRef,
    /// How connections are protected; needed unless every server is on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<DatabaseTls>,
    /// Its servers; which one is the primary is found.
    pub servers: Vec<ServerConfig>,
    /// Connections to each server at most.
    #[serde(default = "pool_max")]
    pub pool_max: u32,
}

const fn pool_max() -> u32 {
    10
}

/// Connections are encrypted, and the server must prove its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseTls {
    /// The CA's certificate that signed the servers' certificates, PEM.
    pub ca: PathBuf,
}

/// One database server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// `host:port`.
    pub address: String,
    /// The region that reads it.
    pub region: String,
}

/// How to ask a fronted service's database where its primary is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainConfig {
    /// The domain's name in the gateway file.
    pub name: String,
    /// The database to connect to.
    pub database: String,
    /// The role; it needs no more than the right to connect.
    pub user: String,
    /// The role's password.
    pub password: SecretRef,
    /// How connections are protected; plain when absent, which suits servers on this machine alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<DatabaseTls>,
}

/// The audit log's files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    /// The folder; each node needs its own.
    pub dir: PathBuf,
    /// The most that the files may take; at 95 % requests are refused.
    #[serde(default = "spool_max")]
    pub max: Bytes,
    /// The size of one file.
    #[serde(default = "segment")]
    pub segment: Bytes,
}

const fn spool_max() -> Bytes {
    Bytes(1 << 30)
}

const fn segment() -> Bytes {
    Bytes(64 << 20)
}

/// Secrets, by reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsConfig {
    /// What key digests are made with, oldest first; 32 bytes in hexadecimal each.
    pub peppers: Vec<PepperConfig>,
    /// What the snapshot on disk is sealed with; 32 bytes in hexadecimal.
    pub snapshot_key: SecretRef,
    /// What access tokens are made with; documents with a token endpoint are refused when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_tokens: Option<KeySetConfig>,
    /// What consistency tokens are made with; without, clients get none, and reads that promise them their own writes go to the writer region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency_tokens: Option<KeySetConfig>,
}

/// One pepper version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PepperConfig {
    /// Its number.
    pub version: u16,
    /// Its bytes.
    pub key: SecretRef,
}

/// Limits of the listeners; each has a default that suits most nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Open connections, for each core.
    pub connections: usize,
    /// Open connections of one address (IPv6: /64); half of what all cores take when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_address: Option<u32>,
    /// TLS handshakes a second from one address, with twice as many at once.
    pub handshakes_per_address: u32,
    /// Refused requests a second from one /24 or /64, with ten times as many at once; beyond, it is refused unread.
    pub failures_per_prefix: u32,
    /// To send a request's head.
    pub head_timeout: Span,
    /// To make progress with a body or with reading a response.
    pub stall_timeout: Span,
    /// To keep a connection open on which nothing happens.
    pub idle_timeout: Span,
    /// To wait for a record to be on disk.
    pub audit_timeout: Span,
    /// Size of a request's head.
    pub head: Bytes,
    /// Header fields of a request.
    pub headers: usize,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    /// WebSockets that are open at once, for the node.
    pub websockets: usize,
    /// Memory for stored responses of routes with a `cache`.
    pub cache: Bytes,
    /// Memory for requests' bodies while they are held to be checked.
    pub bodies: Bytes,
}

/// Enough for some thousand API responses; a node whose routes have no cache uses none of it.
const CACHE_BYTES_DEFAULT: u64 = 64 << 20;

/// Room for a dozen of the largest bodies at once, or for thousands of usual ones.
const HELD_BYTES_DEFAULT: u64 = 128 << 20;

impl Default for LimitsConfig {
    fn default() -> Self {
        let edge = edge::runtime::Settings::default();
        Self {
            connections: edge.connections_max,
            connections_per_address: None,
            handshakes_per_address: 500,
            failures_per_prefix: 50,
            head_timeout: Span(edge.head_timeout),
            stall_timeout: Span(edge.stall_timeout),
            idle_timeout: Span(edge.idle_timeout),
            audit_timeout: Span(edge.audit_timeout),
            head: Bytes(u64::from(edge.head_bytes_max)),
            headers: edge.headers_max,
            streams: edge.streams_max,
            websockets: edge.websockets_max,
            cache: Bytes(CACHE_BYTES_DEFAULT),
            bodies: Bytes(HELD_BYTES_DEFAULT),
        }
    }
}

/// Who reports leaked keys, and signs the reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReporterConfig {
    /// Every key that reports are signed with now.
    pub keys: Vec<ReporterKeyConfig>,
}

/// One public key of a reporter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReporterKeyConfig {
    /// What the reporter calls it.
    pub id: String,
    /// The file that holds it (PEM, P-256).
    pub public_key: PathBuf,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For machines.
    #[default]
    Json,
    /// For people.
    Text,
}

impl NodeConfig {
    /// Makes relative paths absolute, starting at the file's folder.
    pub fn resolve_paths(&mut self, base: &Path) {
        let absolute = |path: &mut PathBuf| *path = base.join(&*path);
        absolute(&mut self.data.certificate);
        absolute(&mut self.control.certificate);
        if let Some(ca) = self.control.sign_in.as_mut().and_then(|sign_in| sign_in.oidc.ca.as_mut()) {
            absolute(ca);
        }
        for own in &mut self.data.certificates {
            absolute(&mut own.certificate);
        }
        let tls = self.domains.iter_mut().map(|domain| &mut domain.tls).chain([&mut self.database.tls]);
        for tls in tls.flatten() {
            absolute(&mut tls.ca);
        }
        self.identities.values_mut().for_each(|identity| absolute(&mut identity.certificate));
        self.leak_reporters.values_mut().flat_map(|reporter| &mut reporter.keys).for_each(|key| absolute(&mut key.public_key));
        if let Some(notifications) = &mut self.notifications {
            notifications.resolve_paths(base);
        }
        absolute(&mut self.spool.dir);
        absolute(&mut self.state);
        if let Some(handover) = &mut self.handover {
            absolute(&mut handover.socket);
        }
        for secret in self.secrets_mut() {
            if let SecretRef::File(path) = secret {
                *path = base.join(&*path);
            }
        }
    }

    fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        let mut all = vec![&mut self.data.key, &mut self.control.key, &mut self.database.password, &mut self.secrets.snapshot_key];
        all.extend(self.control.sign_in.iter_mut().map(|sign_in| &mut sign_in.oidc.client_secret));
        all.extend(self.data.certificates.iter_mut().map(|own| &mut own.key));
        all.extend(self.identities.values_mut().map(|identity| &mut identity.key));
        all.extend(self.introspection_clients.values_mut().map(|client| &mut client.secret));
        all.extend(self.principal.iter_mut().flat_map(|principal| &mut principal.keys).map(|key| &mut key.key));
        all.extend(self.domains.iter_mut().map(|domain| &mut domain.password));
        all.extend(self.notifications.iter_mut().flat_map(|notifications| notifications.secrets_mut()));
        all.extend(self.secrets.peppers.iter_mut().map(|pepper| &mut pepper.key));
        let sets = self.secrets.access_tokens.iter_mut().chain(&mut self.secrets.consistency_tokens);
        all.extend(sets.flat_map(|set| &mut set.keys).map(|key| &mut key.key));
        all
    }

    /// What can be said against the file without looking at the machine: paths into the document, and sentences.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut say = |path: &str, message: String| found.push((path.to_owned(), message));
        if self.version != 1 {
            say("version", format!("version {} is not known; this program reads version 1", self.version));
        }
        for (path, name) in [("node", &self.node), ("region", &self.region)] {
            if !model::compile::is_name(name) {
                say(path, format!("`{name}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`"));
            }
        }
        for name in self.identities.keys().filter(|name| !model::compile::is_name(name)) {
            say(&format!("identities.{name}"), format!("`{name}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`"));
        }
        for (name, client) in &self.introspection_clients {
            if !model::compile::is_name(name) || client.id.is_empty() {
                say(&format!("introspection_clients.{name}"), "needs a name of a-z, 0-9, `-` and `_`, and an id".to_owned());
            }
        }
        if self.database.servers.is_empty() {
            say("database.servers", "the control database needs at least one server".to_owned());
        }
        for (index, server) in self.database.servers.iter().enumerate() {
            let path = format!("database.servers[{index}].address");
            let is_address = server.address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !is_address {
                say(&path, format!("`{}` is not `host:port`", server.address));
            } else if self.database.tls.is_none() && !is_local(&server.address) {
                say(&path, "this server is not on this machine: write `tls: { ca: FILE }` under `database`".to_owned());
            }
        }
        for (name, reporter) in &self.leak_reporters {
            if !model::compile::is_name(name) || reporter.keys.is_empty() {
                say(&format!("leak_reporters.{name}"), "needs a name of a-z, 0-9, `-` and `_`, and at least one key".to_owned());
            }
        }
        if self.secrets.peppers.is_empty() {
            say("secrets.peppers", "at least one pepper is needed to check keys".to_owned());
        }
        let mut versions: Vec<u16> = self.secrets.peppers.iter().map(|pepper| pepper.version).collect();
        versions.sort_unstable();
        if versions.windows(2).any(|pair| pair.first() == pair.last()) {
            say("secrets.peppers", "a pepper version stands twice".to_owned());
        }
        if self.spool.segment.0 < 1 << 20 || self.spool.max.0 < self.spool.segment.0.saturating_mul(4) {
            say("spool.max", "the spool needs room for at least four segments of at least 1MiB".to_owned());
        }
        if self.limits.connections_per_address == Some(0)
            || self.limits.handshakes_per_address == 0
            || self.limits.failures_per_prefix == 0
            || self.limits.connections == 0
        {
            say("limits", "a limit of 0 would refuse everything".to_owned());
        }
        if self.data.listen.port() != 0 && self.data.listen == self.control.listen {
            say("control.listen", "data and control need different ports".to_owned());
        }
        // sun_path has 108 bytes (unix(7)).
        if self.handover.as_ref().is_some_and(|handover| handover.socket.as_os_str().len() > 100) {
            say("handover.socket", "the path of a Unix socket has at most 100 bytes here".to_owned());
        }
        self.data.mistakes(&mut say);
        if let Some(notifications) = &self.notifications {
            notifications.mistakes(&mut say);
        }
        if let Some(sign_in) = &self.control.sign_in {
            sign_in.oidc.mistakes(&mut say);
        }
        if let Some(principal) = &self.principal {
            principal.mistakes(&mut say);
        }
        for (section, set) in
            [(key_sets::ACCESS_TOKENS, &self.secrets.access_tokens), (key_sets::CONSISTENCY_TOKENS, &self.secrets.consistency_tokens)]
        {
            if let Some(set) = set {
                set.mistakes(section, &mut say);
            }
        }
        found
    }
}

/// True for addresses that never leave the machine.
pub(crate) fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
