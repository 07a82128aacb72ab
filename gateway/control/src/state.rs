//! What every handler shares.

use std::{fmt, sync::Arc};

use model::{
    compile::node::Signing,
    key::Peppers,
    leak::Reporter,
    time::{Now, UtcMicros},
};
use store::{
    error::StoreError,
    pool::{Primary, Replica},
    topology::Topology,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    admin::key::receipt::Changes,
    jwks::KeySet,
    operator::{KnownTokens, LoginRefusals, Wanted},
    port::{AuditSink, Clock, Gateway, Mails, Provider, Random, Status},
    portal::Portal,
};

/// Requests that may be in work at once. The admin API is used by people and pipelines; more is a runaway script.
const IN_FLIGHT_MAX: usize = 128;

/// Reports of leaked keys that may be on their way in at once. They have places of their own: whoever has no token cannot fill those of
/// operators.
const REPORTS_MAX: usize = 4;

/// Documents that may be in memory at once, each up to 32 MiB as text and some times that when parsed.
const DOCUMENTS_MAX: usize = 2;

/// What the node gives to the control plane.
pub struct Ports {
    /// The servers of the control database.
    pub topology: Topology,
    /// The peppers that operator tokens and new keys are hashed with.
    pub peppers: Arc<Peppers>,
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Random bytes, fit for keys.
    pub random: Random,
    /// What the node says about itself.
    pub status: Arc<dyn Status>,
    /// The access log.
    pub audit: Arc<dyn AuditSink>,
    /// This node's own data listener.
    pub gateway: Arc<dyn Gateway>,
    /// By whom operators sign in beside their passwords.
    pub provider: Option<Arc<dyn Provider>>,
    /// The name of this node's region, for problem documents.
    pub region: Arc<str>,
    /// The names of this node's identities towards services.
    pub identities: Arc<[Box<str>]>,
    /// The names of what the node proves itself with to issuers that it asks about tokens.
    pub introspection_clients: Arc<[Box<str>]>,
    /// The keys by which services verify who calls.
    pub key_set: KeySet,
    /// Whether this node can sign access tokens.
    pub tokens: Signing,
    /// Who may report leaked keys.
    pub reporters: Arc<[Reporter]>,
    /// Whether mails are sent.
    pub mails: Mails,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("region", &self.region).finish_non_exhaustive()
    }
}

/// What every handler shares. Clones are cheap and share one state.
#[derive(Clone)]
pub struct ControlState(Arc<Inner>);

struct Inner {
    ports: Ports,
    operators: KnownTokens,
    personal: KnownTokens,
    refusals: LoginRefusals,
    in_flight: Semaphore,
    reports: Semaphore,
    documents: Arc<Semaphore>,
    portal: Portal,
    changes: Changes,
}

impl fmt::Debug for ControlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ControlState").field(&self.0.ports).finish()
    }
}

impl ControlState {
    /// Takes the ports.
    pub fn new(ports: Ports) -> Self {
        Self(Arc::new(Inner {
            ports,
            operators: KnownTokens::default(),
            personal: KnownTokens::default(),
            refusals: LoginRefusals::default(),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            reports: Semaphore::new(REPORTS_MAX),
            documents: Arc::new(Semaphore::new(DOCUMENTS_MAX)),
            portal: Portal::default(),
            changes: Changes::default(),
        }))
    }

    /// Since when changes of keys are known here to be committed.
    pub(crate) fn changes(&self) -> &Changes {
        &self.0.changes
    }

    pub(crate) fn now(&self) -> Now {
        self.0.ports.clock.now()
    }

    pub(crate) fn region(&self) -> &str {
        &self.0.ports.region
    }

    pub(crate) fn introspection_clients(&self) -> Arc<[Box<str>]> {
        Arc::clone(&self.0.ports.introspection_clients)
    }

    pub(crate) fn identities(&self) -> Arc<[Box<str>]> {
        Arc::clone(&self.0.ports.identities)
    }

    /// Whether this node can sign access tokens.
    pub(crate) fn tokens(&self) -> Signing {
        self.0.ports.tokens
    }

    pub(crate) fn key_set(&self) -> &KeySet {
        &self.0.ports.key_set
    }

    pub(crate) fn reporter(&self, name: &str) -> Option<&Reporter> {
        self.0.ports.reporters.iter().find(|reporter| reporter.name() == name)
    }

    pub(crate) fn mails(&self) -> Mails {
        self.0.ports.mails
    }

    pub(crate) fn peppers(&self) -> &Peppers {
        &self.0.ports.peppers
    }

    pub(crate) fn status(&self) -> &dyn Status {
        &*self.0.ports.status
    }

    pub(crate) fn audit(&self) -> &dyn AuditSink {
        &*self.0.ports.audit
    }

    /// This node's own data listener.
    pub(crate) fn gateway(&self) -> &dyn Gateway {
        &*self.0.ports.gateway
    }

    /// By whom operators sign in beside their passwords.
    pub(crate) fn provider(&self) -> Option<&dyn Provider> {
        self.0.ports.provider.as_deref()
    }

    /// Tokens that were good a moment ago.
    pub(crate) fn known_tokens(&self, wanted: Wanted) -> &KnownTokens {
        match wanted {
            Wanted::Operators => &self.0.operators,
            Wanted::Personal => &self.0.personal,
        }
    }

    pub(crate) fn refusals(&self) -> &LoginRefusals {
        &self.0.refusals
    }

    pub(crate) fn in_flight(&self) -> &Semaphore {
        &self.0.in_flight
    }

    pub(crate) fn reports(&self) -> &Semaphore {
        &self.0.reports
    }

    pub(crate) fn documents(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.documents)
    }

    pub(crate) fn portal(&self) -> &Portal {
        &self.0.portal
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.0.ports.topology
    }

    /// The server that takes writes.
    pub(crate) fn primary(&self) -> Result<Primary, StoreError> {
        self.0.ports.topology.primary()
    }

    /// The server of this region, or another that answers.
    pub(crate) fn replica(&self) -> Result<Replica, StoreError> {
        self.0.ports.topology.replica()
    }

    /// 32 random bytes.
    pub(crate) fn random32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        (self.0.ports.random)(&mut bytes);
        bytes
    }

    /// A `UUIDv7` (RFC 9562 section 5.7) of this instant.
    pub(crate) fn uuid_v7(&self, at: UtcMicros) -> Uuid {
        let mut random = [0; 10];
        (self.0.ports.random)(&mut random);
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(at.0 / 1_000).unwrap_or(0), &random).into_uuid()
    }
}
