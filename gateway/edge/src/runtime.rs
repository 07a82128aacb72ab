//! State that outlives a snapshot: shared by all cores ([`Edge`]), or one core's own ([`Core`]).
//!
//! It is keyed by ids, never by positions in a snapshot, so that a reload refills no bucket and forgets no failure.

use std::{sync::Arc, time::Duration};

use audit::spool::Lane;
use model::{access_token::TokenKeys, consistency_token::ConsistencyKeys, key::Peppers, structure::Upstream, time::Now};
use uuid::Uuid;

use crate::{
    authenticate::Signatures,
    balance::{
        dice::Dice,
        fleet::{Breakers, Group, Kept},
        tally::Tally,
    },
    body::BodyMemory,
    cache::Cache,
    certificate::Refusals,
    clock::Clock,
    current::{CoreCurrent, Current, Held},
    deadline::{self, Deadlines, Within},
    forwarded::TrustedHops,
    gate::PeerGate,
    health::HealthTable,
    ids::Ids,
    issuers::Issuers,
    lease::Lease,
    limit::Cells,
    metrics::Counters,
    mirror::Mirror,
    names::Names,
    pool::Pools,
    positions::Positions,
    principal::{Principals, key::Keyring},
    proving::Proving,
    stay::streams::Streams,
    tls::Identities,
    websocket::{places::Places, seats::Seats},
};

/// Limits of a node, from its file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections that a core accepts at once.
    pub connections_max: usize,
    /// To finish a TLS handshake.
    pub handshake_timeout: Duration,
    /// To send a request's head, from its first byte or from the end of the one before.
    pub head_timeout: Duration,
    /// To make progress while a response waits to be read by the client, or a body waits to be sent by it.
    pub stall_timeout: Duration,
    /// To keep a connection open on which nothing happens.
    pub idle_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes_max: u32,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Streams of one HTTP/2 connection.
    pub streams_max: u32,
    /// To wait for a record to be on disk.
    pub audit_timeout: Duration,
    /// Requests in flight to one target, for each core.
    pub in_flight_max: usize,
    /// WebSockets that are open at once, for the node.
    pub websockets_max: usize,
    /// To finish what runs when the node stops.
    pub drain_timeout: Duration,
    /// Hops that say whose requests they pass on.
    pub trusted_hops: Option<TrustedHops>,
    /// What tells clients of the other versions where HTTP/3 is spoken (RFC 7838).
    #[cfg(feature = "http3")]
    pub alt_svc: Option<http::HeaderValue>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            head_bytes_max: 32 << 10,
            headers_max: 100,
            streams_max: 128,
            audit_timeout: Duration::from_millis(250),
            in_flight_max: 4_096,
            websockets_max: 10_000,
            drain_timeout: Duration::from_secs(30),
            trusted_hops: None,
            #[cfg(feature = "http3")]
            alt_svc: None,
        }
    }
}

/// What all cores of a node share.
#[derive(Debug)]
pub struct Edge {
    /// The clocks.
    pub clock: Clock,
    /// This node's region.
    pub region: Arc<str>,
    /// This node's name.
    pub node: Arc<str>,
    /// The published snapshot.
    pub current: Current,
    /// Until when keys may be trusted.
    pub lease: Lease,
    /// What key digests are made with.
    pub peppers: Peppers,
    /// Counters of the rate limits.
    pub cells: Cells,
    /// The gate in front of all cryptography.
    pub gate: PeerGate,
    /// Which endpoints are well.
    pub health: HealthTable,
    /// Which services are left alone.
    pub breakers: Breakers,
    /// What names mean.
    pub names: Names,
    /// Key sets of the issuers of tokens.
    pub issuers: Issuers,
    /// What it verifies against bcrypt hashes of other systems.
    pub proving: Proving,
    /// Client certificates that did not get their client in.
    pub certificates: Refusals,
    /// Signatures over requests: nonces that were used, and counts.
    pub signatures: Signatures,
    /// What endpoints, retries and copies made happen.
    pub tally: Tally,
    /// Stored responses.
    pub cache: Cache,
    /// Memory for bodies that are held to be checked.
    pub bodies: Arc<BodyMemory>,
    /// By what the node proves itself to services.
    pub identities: Arc<Identities>,
    /// By what it tells services who calls.
    pub keyring: Keyring,
    /// By what it knows the access tokens that nodes of this deployment gave.
    pub tokens: TokenKeys,
    /// By what it knows the consistency tokens that nodes of this deployment gave.
    pub consistency_keys: ConsistencyKeys,
    /// Where the databases of fronted services stand.
    pub positions: Positions,
    /// Places of open WebSockets.
    pub websockets: Arc<Places>,
    /// The node's limits.
    pub settings: Settings,
}

/// One core: its own snapshot handle, audit lane, connections and counters.
#[derive(Debug)]
pub struct Core {
    /// What all cores share.
    pub edge: Arc<Edge>,
    /// Where records go.
    pub lane: Lane,
    /// Connections to services.
    pub pools: Pools,
    /// What this core counted.
    pub counters: Arc<Counters>,
    /// Deadlines of this core's requests.
    pub deadlines: Arc<Deadlines>,
    /// What this core keeps of endpoints.
    pub kept: Kept,
    /// Chance.
    pub dice: Dice,
    /// Copies of requests on their way.
    pub mirror: Mirror,
    /// Open WebSockets.
    pub websockets: Seats,
    /// Responses that stream to callers who may be shut out.
    pub streams: Streams,
    /// What tells services who calls.
    pub principals: Principals,
    current: CoreCurrent,
    ids: Ids,
}

impl Core {
    /// Makes a core's state.
    pub fn new(edge: Arc<Edge>, lane: Lane, counters: Arc<Counters>) -> Self {
        Self {
            pools: Pools::new(&edge.identities),
            deadlines: Arc::default(),
            kept: Kept::default(),
            dice: Dice::default(),
            mirror: Mirror::default(),
            websockets: Seats::default(),
            streams: Streams::default(),
            principals: Principals::default(),
            current: CoreCurrent::default(),
            ids: Ids::default(),
            edge,
            lane,
            counters,
        }
    }

    /// The snapshot for one request; `None` until the node has one.
    pub fn snapshot(&self) -> Option<Arc<Held>> {
        self.current.load(&self.edge.current, &self.edge.names)
    }

    /// This core's endpoints of a service of the snapshot that it holds.
    pub fn group<'h>(&self, held: &'h Held, upstream: &Upstream) -> Option<&'h Group> {
        held.fleet().group(upstream, &self.edge, &self.pools, &self.kept)
    }

    /// Waits for `future` for this long; `None` when it was not ready in time. See [`Deadlines`] for how exact that is.
    pub fn within<F: Future>(&self, limit: Duration, future: F) -> Within<'_, F, fn() -> bool> {
        deadline::within(&self.deadlines, self.edge.clock, limit, future)
    }

    /// As [`Self::within`], but each time when the limit has passed `again` is asked whether it begins anew.
    pub fn within_again<F: Future, A: FnMut() -> bool>(&self, limit: Duration, future: F, again: A) -> Within<'_, F, A> {
        deadline::within_again(&self.deadlines, self.edge.clock, limit, future, again)
    }

    /// A fresh UUIDv7 (RFC 9562 section 5.7) from the time that the request already has.
    pub fn uuid(&self, now: Now) -> Uuid {
        self.ids.next(now)
    }
}
