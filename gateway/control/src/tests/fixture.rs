//! A control plane whose ports are in memory, and whose database is a port where nobody listens.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use model::{
    compile::node::Signing,
    id::AccountId,
    key::{self, Digest, Issued, Peppers, Purpose},
    secret::{SecretKey, SecretText},
    time::{BootNanos, Now, UtcMicros},
};
use serde_json::Value;
use store::{
    account::token::StoredToken,
    operator::OperatorToken,
    topology::{DatabaseConfig, Server, Topology},
};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    jwks::KeySet,
    operator::Wanted,
    port::{
        AdminEvent, AuditPlace, AuditSink, AuditUnavailable, Calling, Check, CheckState, Clock, DomainServer, Gateway, GatewayFault, NodeFacts,
        Readiness, Recorded, Status,
    },
    router::router,
    state::{ControlState, Ports},
};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: UtcMicros = UtcMicros(1_767_225_600_000_000);

/// What is published here.
pub(super) const KEY_SET: &str = r#"{"keys":[]}"#;

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
pub(crate) struct HandClock {
    boot_nanos: AtomicU64,
}

impl HandClock {
    pub(crate) fn advance_seconds(&self, seconds: u64) {
        self.boot_nanos.fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        let nanos = self.boot_nanos.load(Ordering::SeqCst);
        Now { wall: UtcMicros(START.0 + i64::try_from(nanos / 1_000).unwrap()), boot: BootNanos(nanos + 1) }
    }
}

/// An access log in memory, which can be told to fail.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) events: Arc<Mutex<Vec<AdminEvent>>>,
    pub(crate) is_full: AtomicBool,
    pub(crate) loses: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Place {
    events: Arc<Mutex<Vec<AdminEvent>>>,
    loses: Arc<AtomicBool>,
}

impl AuditSink for Log {
    fn reserve(&self) -> Result<Box<dyn AuditPlace>, AuditUnavailable> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(AuditUnavailable);
        }
        Ok(Box::new(Place { events: Arc::clone(&self.events), loses: Arc::clone(&self.loses) }))
    }
}

impl AuditPlace for Place {
    fn record(self: Box<Self>, event: AdminEvent) -> Recorded {
        if self.loses.load(Ordering::SeqCst) {
            return Box::pin(async { Err(AuditUnavailable) });
        }
        self.events.lock().unwrap().push(event);
        Box::pin(async { Ok(()) })
    }
}

/// A node whose state a test sets.
#[derive(Debug)]
pub(crate) struct FakeNode {
    pub(crate) readiness: Mutex<Readiness>,
    pub(crate) is_live: AtomicBool,
}

impl Status for FakeNode {
    fn live(&self) -> bool {
        self.is_live.load(Ordering::SeqCst)
    }

    fn ready(&self) -> Readiness {
        self.readiness.lock().unwrap().clone()
    }

    fn metrics(&self) -> String {
        "# TYPE causeway_up gauge\ncauseway_up 1\n# EOF\n".to_owned()
    }

    fn node(&self) -> NodeFacts {
        NodeFacts {
            node: "node-1".to_owned(),
            region: "eu-west".to_owned(),
            version: "0.1.0".to_owned(),
            started_at: START,
            epoch: 1,
            authority_revision: 7,
            structural_epoch: 1,
            structural_revision: 3,
            journaled_epoch: 1,
            journaled_revision: 7,
            authority_age_ms: Some(12),
            quarantined: 0,
        }
    }

    fn domain_servers(&self) -> Vec<DomainServer> {
        let server = |address: &str, region: &str, state, lsn: Option<&str>, lag_bytes| DomainServer {
            domain: "shop".to_owned(),
            address: address.to_owned(),
            region: region.to_owned(),
            state,
            is_read: true,
            epoch: lsn.map(|_| 2),
            lsn: lsn.map(str::to_owned),
            lag_bytes,
        };
        vec![server("shop-eu:5432", "eu-west", "primary", Some("0/3000060"), Some(0)), server("shop-us:5432", "us-east", "unreachable", None, None)]
    }

    fn serves_stale(&self) -> bool {
        true
    }
}

/// A gateway that takes no connection: the tests here come to no call.
#[derive(Debug)]
struct NoGateway;

impl Gateway for NoGateway {
    fn call(&self, _: IpAddr, _: Request<Bytes>) -> Calling {
        Box::pin(async { Err(GatewayFault::Unreachable) })
    }
}

/// Everything that a test looks at.
pub(crate) struct Fixture {
    pub(crate) state: ControlState,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) log: Arc<Log>,
    pub(crate) node: Arc<FakeNode>,
    peppers: Arc<Peppers>,
    draws: AtomicU64,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fixture(..)")
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    /// Asserts that this is a problem document of this code, complete and with the headers of every answer.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:causeway:problem:{code}"));
        assert_eq!(body["region"], "eu-west");
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        body
    }
}

/// Numbers that do not repeat, for ids and secrets of tests (splitmix64).
fn fill(counter: &AtomicU64, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        let mut z = counter.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let server = Server { address: "127.0.0.1:1".to_owned(), region: "eu-west".to_owned() };
        let database = DatabaseConfig {
            name: "causeway".to_owned(),
            user: "causeway".to_owned(),
            password: SecretText::new("of no use".to_owned()),
            servers: vec![server],
            tls: store::pool::Tls::Plain,
            pool_max: 1,
        };
        let peppers = Arc::new(Peppers::new([(1, SecretKey::new([7; 32]))]).unwrap());
        let clock = Arc::new(HandClock::default());
        let log = Arc::new(Log::default());
        let readiness = Readiness { ready: true, degraded: false, checks: Vec::new() };
        let node = Arc::new(FakeNode { readiness: Mutex::new(readiness), is_live: AtomicBool::new(true) });
        let counter = AtomicU64::new(1);
        let state = ControlState::new(Ports {
            topology: Topology::new(&database, "eu-west").unwrap(),
            peppers: Arc::clone(&peppers),
            clock: Arc::<HandClock>::clone(&clock),
            random: Arc::new(move |bytes| fill(&counter, bytes)),
            status: Arc::<FakeNode>::clone(&node),
            audit: Arc::<Log>::clone(&log),
            gateway: Arc::new(NoGateway),
            provider: None,
            region: "eu-west".into(),
            identities: Arc::new([]),
            tokens: Signing::Keyless,
            introspection_clients: Arc::new([]),
            key_set: KeySet::new(KEY_SET.to_owned(), "digest", Signing::Keyless),
            reporters: Arc::new([]),
            mails: crate::port::Mails::Sent,
        });
        Self { state, clock, log, node, peppers, draws: AtomicU64::new(1_000_003) }
    }

    pub(crate) fn router(&self) -> Router {
        router(self.state.clone())
    }

    /// Makes a token text, without making it known.
    pub(crate) fn draw(&self, purpose: Purpose) -> Issued {
        let (mut secret, mut id) = ([0; 32], [0; 32]);
        fill(&self.draws, &mut secret);
        fill(&self.draws, &mut id);
        key::issue(purpose, &self.peppers, &secret, &id).unwrap()
    }

    /// Makes a token that is known for the next five seconds.
    pub(crate) fn token(&self, role: &str) -> String {
        let issued = self.draw(Purpose::Operator);
        self.know(&issued, issued.digest, role, None);
        issued.text.expose_secret().to_owned()
    }

    pub(crate) fn know(&self, issued: &Issued, digest: Digest, role: &str, expires_at: Option<UtcMicros>) {
        let row =
            OperatorToken { id: issued.id, name: "ada".to_owned(), digest, pepper_version: issued.pepper_version, role: role.to_owned(), expires_at };
        self.state.known_tokens(Wanted::Operators).keep_for_test(row, self.clock.now());
    }

    /// Makes a token of somebody's own that is known for the next five seconds.
    pub(crate) fn personal_token(&self, account: u128) -> String {
        let issued = self.draw(Purpose::Personal);
        let (account, expires_at) = (AccountId::new(Uuid::from_u128(account)), START.plus_seconds(3_600));
        let row = StoredToken { id: issued.id, account, digest: issued.digest, pepper_version: issued.pepper_version, expires_at };
        self.state.known_tokens(Wanted::Personal).keep_personal_for_test(&row, self.clock.now());
        issued.text.expose_secret().to_owned()
    }

    pub(crate) fn events(&self) -> Vec<AdminEvent> {
        self.log.events.lock().unwrap().clone()
    }
}

/// A request in the making.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path)
}

pub(crate) async fn send(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

/// Sends without a body.
pub(crate) async fn ask(fixture: &Fixture, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut builder = request(method, path);
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    send(fixture.router(), builder.body(Body::empty()).unwrap()).await
}

/// Sends JSON.
pub(crate) async fn post(fixture: &Fixture, path: &str, token: &str, body: impl Into<Body>) -> Answer {
    let builder = request("POST", path).header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
    send(fixture.router(), builder.body(body.into()).unwrap()).await
}

/// A check for the readiness of a node.
pub(crate) fn looked_at(name: &'static str, state: CheckState, detail: &str) -> Check {
    Check { name, state, detail: detail.to_owned(), since: START }
}
