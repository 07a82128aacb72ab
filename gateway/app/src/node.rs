//! One node: wires the data plane, the control plane and the tasks between them, and takes them down in order.

#[cfg(feature = "http3")]
mod http3;
mod leaving;
mod listening;
mod records;

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use audit::spool::Spool;
use control::{
    port::Provider,
    state::{ControlState, Ports},
};
use edge::{
    accept::{
        self, Doors, NodePhase,
        entrance::{AcceptLimits, Acceptors, Handshakes},
        proxy::{ProxyProtocol, Version1},
    },
    clock::Clock,
    current::Current,
    forwarded::{Field, TrustedHops},
    gate::PeerGate,
    lease::Lease,
    metrics::Counters,
    network::Networks,
    principal::key::Keyring,
    runtime::{Core, Edge, Settings},
    tls::{Asking, Certificates, Identities},
};
use model::{access_token::TokenKeys, consistency_token::ConsistencyKeys, key::Peppers, limit::Rate};
use store::{
    pool::{Credentials, Tls},
    topology::{DatabaseConfig, Server, Topology},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};

use self::listening::Listening;
use crate::{
    beating, boot, certificates,
    config::{
        DatabaseTls, NodeConfig,
        data::{self, ClientField, DataConfig, Network},
    },
    control_listener, domains,
    domains::{DomainCredentials, Monitor, Writers},
    facts::Facts,
    follow::{self, Follower, probing::Control},
    handover::{self, Predecessor},
    introspection, key_sets,
    load::{self, Loader},
    notifications,
    notify::Notify,
    own_gateway::{self, OwnGateway, Senders},
    principal, prove,
    provider::OidcProvider,
    purge, report,
    sealed::Sealed,
    status::NodeStatus,
    task::Tasks,
    wire::{self, MachineClock, SpoolSink},
};

/// The control database, as a node file names it.
///
/// # Errors
/// When the password cannot be read or an address is malformed.
pub fn topology(config: &NodeConfig) -> Result<Topology> {
    let database = DatabaseConfig {
        name: config.database.name.clone(),
        user: config.database.user.clone(),
        password: boot::secret("database password", &config.database.password)?,
        tls: tls(config.database.tls.as_ref()),
        servers: config.database.servers.iter().map(|server| Server { address: server.address.clone(), region: server.region.clone() }).collect(),
        pool_max: config.database.pool_max,
    };
    Ok(Topology::new(&database, &config.region)?)
}

/// Runs a node until `stop` resolves, or until another process has taken over.
///
/// # Errors
/// When it cannot start: a file, a secret, a port. A node that has started does not end by an error.
pub async fn run(config: NodeConfig, stop: impl Future<Output = ()>) -> Result<()> {
    let notify = Arc::new(Notify::from_environment()?);
    let peppers = boot::peppers(&config.secrets.peppers)?;
    let reporters = boot::reporters(&config.leak_reporters)?;
    let signers = Signers::load(&config)?;
    let topology = topology(&config)?;
    let credentials = domain_credentials(&config)?;
    let sealed = Sealed::in_folder(&config.state, boot::secret_key("snapshot key", &config.secrets.snapshot_key)?)?;
    let data_chains = certificates::Source::data(&config.data).start()?;
    let control_chains = certificates::Source::control(&config.control).start()?;
    let certificates = data_chains.certificates()?;
    let data_tls = Handshakes { usual: data_chains.server_config(Asking::Nobody)?, asking: data_chains.server_config(Asking::Clients)? };
    let control_tls = Arc::new(Handshakes::without_clients(control_chains.server_config(Asking::Nobody)?));
    let identities = certificates::Source::identities(&config.identities).into_iter().map(certificates::Source::start);
    let chains = [Ok(data_chains), Ok(control_chains)].into_iter().chain(identities).collect::<Result<Vec<_>>>()?;
    let served_chains = chains.iter().map(certificates::Watched::served).collect();
    let cores = config.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).max(1);
    let Listening { sockets, predecessor } = listening::listen(&config, cores)?;
    let (spool, other_folder) = records::open(&config, predecessor.as_ref()).await?;

    let edge = edge(&config, Clock, peppers.clone(), certificates::identities(&chains), signers)?;
    #[cfg(feature = "http3")]
    let (edge, http3) = {
        let mut edge = edge;
        let http3 = http3_plan(&config, &sockets, &chains, &mut edge.settings)?;
        (edge, http3)
    };
    let edge = Arc::new(edge);
    let facts = Facts::new(Clock.wall(), predecessor.is_some());
    let counters: Vec<Arc<Counters>> = (0..cores).map(|_| Arc::new(Counters::default())).collect();
    let tasks = Tasks::default();
    follow_database(&tasks, &edge, &topology, sealed, &facts, credentials);
    tasks.spawn("audit loader", load::run(Loader::new(spool.clone(), Arc::clone(&edge.node), topology.clone(), Arc::clone(&facts))));
    tasks.spawn("leftovers", records::leftovers(other_folder, Arc::clone(&edge.node), topology.clone(), Arc::clone(&facts)));
    tasks.spawn("certificates", certificates::watch(chains, hang_up()?, Arc::clone(&notify), Arc::clone(&facts)));
    let upgrade = signal(SignalKind::user_defined2()).context("cannot listen for SIGUSR2")?;
    tasks.spawn("upgrade", handover::start_successors(upgrade, config.handover.is_some()));

    tasks.spawn("health checks", edge::health::watch::run(Arc::clone(&edge)));
    tasks.spawn("purged responses", purge::clear(Arc::clone(&edge)));
    tasks.spawn("key sets of issuers", edge::issuers::run(Arc::clone(&edge)));
    tasks.spawn("shown keys", prove::run(Arc::clone(&edge), topology.clone()));
    tasks.spawn("names", edge::names::run(Arc::clone(&edge), edge::names::system));

    let status = Arc::new(NodeStatus {
        edge: Arc::clone(&edge),
        spool: spool.clone(),
        topology: topology.clone(),
        facts: Arc::clone(&facts),
        certificates: served_chains,
        counters: counters.clone(),
        seen: parking_lot::Mutex::default(),
    });
    tell(&tasks, &status, spool.incarnation());
    let router = control::router::router(ControlState::new(Ports {
        peppers: Arc::new(peppers),
        clock: Arc::new(MachineClock),
        random: wire::random(),
        status,
        audit: Arc::new(SpoolSink { lane: spool.lane(), region: Arc::clone(&edge.region), node: Arc::clone(&edge.node) }),
        gateway: own_gateway(&config, &sockets, certificates, &edge),
        provider: provider(&config)?,
        region: Arc::clone(&edge.region),
        identities: edge.identities.names().map(Into::into).collect(),
        introspection_clients: edge.issuers.introspections.names().map(Into::into).collect(),
        key_set: principal::published(&edge.keyring),
        tokens: key_sets::signing(&edge.tokens),
        reporters: reporters.into(),
        mails: notifications::start(&tasks, config.notifications.as_deref(), &edge.peppers, &topology, &facts)?,
        topology,
    }));
    let given = sockets.try_clone()?;
    let (control_phase, control_seen) = watch::channel(NodePhase::Serving);
    let operators = Tasks::default();
    let shared = control_listener::Shared { tls: control_tls, router, region: Arc::clone(&edge.region), phase: control_seen };
    for socket in sockets.control {
        let listener = tokio::net::TcpListener::from_std(socket)?;
        tasks.spawn("control listener", control_listener::run(listener, shared.clone(), operators.clone()));
    }

    first_snapshot(&edge).await;
    let (phase, phase_seen) = watch::channel(NodePhase::Serving);
    let acceptors = Acceptors::new(data_tls, &accept_limits(&config, cores), proxy_protocol(&config.data));
    let doors = edge::listener::deal(sockets.data, cores)?.into_iter().map(Doors::over);
    #[cfg(feature = "http3")]
    let doors = {
        let http3 = http3.map(|plan| plan.doors(cores, predecessor.is_some(), &tasks)).transpose()?.unwrap_or_default();
        doors.zip(http3.into_iter().map(Some).chain(std::iter::repeat_with(|| None))).map(|(doors, http3)| Doors { http3, ..doors })
    };
    let start = |(index, (doors, counters)): (usize, (_, &Arc<Counters>))| {
        core_thread(index, &edge, &spool, Arc::clone(counters), doors, &acceptors, phase_seen.clone())
    };
    let threads = doors.zip(&counters).enumerate().map(start).collect::<Result<Vec<_>>>()?;
    tasks.spawn("watchdog", Arc::clone(&notify).watchdog(counters, Arc::clone(&facts)));
    tracing::info!(node = config.node, region.here = config.region, data = %config.data.listen, control = %config.control.listen, cores, "node is up");
    take_over(predecessor).await;
    notify.ready();

    let node = leaving::Running { phase, control_phase, threads, spool, tasks, operators, facts, notify };
    tokio::select! {
        () = stop => node.stop(&config.drain).await,
        successor = leaving::successor(&config, given, Arc::clone(&node.facts)) => node.hand_over(successor, &config.drain).await,
    }
    Ok(())
}

fn hang_up() -> Result<Signal> {
    signal(SignalKind::hangup()).context("cannot listen for SIGHUP")
}

/// By whom operators sign in to the pages beside their passwords.
fn provider(config: &NodeConfig) -> Result<Option<Arc<dyn Provider>>> {
    let Some(sign_in) = &config.control.sign_in else { return Ok(None) };
    Ok(Some(Arc::new(OidcProvider::new(&sign_in.oidc)?)))
}

/// How the control plane calls this node's own data listener.
fn own_gateway(config: &NodeConfig, sockets: &handover::Sockets, certificates: Arc<Certificates>, edge: &Edge) -> Arc<OwnGateway> {
    let bound = sockets.data.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(config.data.listen);
    let senders = Senders { proxy: proxy_protocol(&config.data), hops: edge.settings.trusted_hops.clone() };
    Arc::new(OwnGateway::new(bound, certificates, senders, own_gateway::WITHIN))
}

/// Where the node speaks HTTP/3, if it does.
#[cfg(feature = "http3")]
fn http3_plan(
    config: &NodeConfig,
    sockets: &handover::Sockets,
    chains: &[certificates::Watched],
    settings: &mut Settings,
) -> Result<Option<http3::Plan>> {
    let Some(wanted) = &config.data.http3 else { return Ok(None) };
    let data = sockets.data.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(config.data.listen);
    // The first chains are the data listener's.
    let Some((_, certificates::InForce::Listener(certificates))) = chains.first().map(certificates::Watched::served) else { return Ok(None) };
    http3::Plan::new(wanted, data, certificates, settings).map(Some)
}

/// Tells the process that served that this one does, in time for its drain to begin before anything else happens here.
async fn take_over(predecessor: Option<Predecessor>) {
    let Some(predecessor) = predecessor else { return };
    let pid = predecessor.pid();
    match tokio::task::spawn_blocking(move || predecessor.take_over()).await {
        Ok(Ok(())) => tracing::info!(predecessor = pid, "took over; the process before finishes what it has"),
        Ok(Err(error)) => tracing::warn!(predecessor = pid, error = &*error, "the process before did not say that it drains; both may serve"),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the take-over panicked"),
    }
}

fn accept_limits(config: &NodeConfig, cores: usize) -> AcceptLimits {
    let limits = &config.limits;
    let of_all = u32::try_from(limits.connections.saturating_mul(cores)).unwrap_or(u32::MAX);
    AcceptLimits {
        handshakes_per_second: NonZeroU32::new(limits.handshakes_per_address).unwrap_or(NonZeroU32::MIN),
        connections_per_address: NonZeroU32::new(limits.connections_per_address.unwrap_or(of_all / 2).max(1)),
    }
}

fn networks(list: &[Network]) -> Networks {
    Networks::new(list.iter().map(|network| network.0))
}

fn proxy_protocol(config: &DataConfig) -> Option<ProxyProtocol> {
    config.proxy_protocol.as_ref().map(|proxy| ProxyProtocol {
        from: networks(&proxy.from),
        version_1: match proxy.version_1 {
            data::Version1::Accept => Version1::Accept,
            data::Version1::Refuse => Version1::Refuse,
        },
    })
}

fn trusted_hops(config: &DataConfig) -> Option<TrustedHops> {
    config.client_address.as_ref().map(|client| {
        let field = match client.field {
            ClientField::XForwardedFor => Field::XForwardedFor,
            ClientField::Forwarded => Field::Forwarded,
        };
        TrustedHops::new(field, networks(&client.trusted))
    })
}

fn tls(config: Option<&DatabaseTls>) -> Tls {
    config.map_or(Tls::Plain, |tls| Tls::Verified { ca: tls.ca.clone() })
}

/// By what a node signs.
struct Signers {
    keyring: Keyring,
    tokens: TokenKeys,
    consistency: ConsistencyKeys,
}

impl Signers {
    fn load(config: &NodeConfig) -> Result<Self> {
        let keyring = principal::keyring(config.principal.as_ref())?;
        Ok(Self {
            keyring,
            tokens: key_sets::access_tokens(config.secrets.access_tokens.as_ref())?,
            consistency: key_sets::consistency_tokens(config.secrets.consistency_tokens.as_ref())?,
        })
    }
}

fn edge(config: &NodeConfig, clock: Clock, peppers: Peppers, identities: Identities, signers: Signers) -> Result<Edge> {
    let limits = &config.limits;
    let failures = Rate::parse(&format!("{}/s", limits.failures_per_prefix)).context("limits.failures_per_prefix is not a rate")?;
    Ok(Edge {
        clock,
        region: Arc::from(config.region.as_str()),
        node: Arc::from(config.node.as_str()),
        current: Current::default(),
        lease: Lease::new(i64::try_from(config.boot_stale_max.0.as_micros()).unwrap_or(i64::MAX)),
        peppers,
        cells: edge::limit::Cells::default(),
        gate: PeerGate::new(failures, NonZeroU32::new(limits.failures_per_prefix.saturating_mul(10))),
        health: edge::health::HealthTable::default(),
        breakers: edge::balance::fleet::Breakers::default(),
        names: edge::names::Names::default(),
        issuers: edge::issuers::Issuers::asking_as(introspection::clients(&config.introspection_clients)?),
        proving: edge::proving::Proving::default(),
        certificates: edge::certificate::Refusals::default(),
        signatures: edge::authenticate::Signatures::default(),
        tally: edge::balance::tally::Tally::default(),
        cache: edge::cache::Cache::new(limits.cache.0),
        bodies: Arc::new(edge::body::BodyMemory::new(limits.bodies.0)),
        identities: Arc::new(identities),
        keyring: signers.keyring,
        tokens: signers.tokens,
        consistency_keys: signers.consistency,
        positions: edge::positions::Positions::default(),
        websockets: Arc::default(),
        settings: Settings {
            connections_max: limits.connections,
            head_timeout: limits.head_timeout.0,
            stall_timeout: limits.stall_timeout.0,
            idle_timeout: limits.idle_timeout.0,
            head_bytes_max: u32::try_from(limits.head.0).unwrap_or(u32::MAX),
            headers_max: limits.headers,
            streams_max: limits.streams,
            websockets_max: limits.websockets,
            drain_timeout: config.drain.timeout.0,
            trusted_hops: trusted_hops(&config.data),
            audit_timeout: limits.audit_timeout.0,
            ..Settings::default()
        },
    })
}

fn domain_credentials(config: &NodeConfig) -> Result<DomainCredentials> {
    let mut out = HashMap::new();
    for domain in &config.domains {
        let password = boot::secret(&format!("password of domain {}", domain.name), &domain.password)?;
        out.insert(
            domain.name.clone(),
            Credentials { name: domain.database.clone(), user: domain.user.clone(), password, tls: tls(domain.tls.as_ref()) },
        );
    }
    Ok(out)
}

fn follow_database(tasks: &Tasks, edge: &Arc<Edge>, topology: &Topology, sealed: Sealed, facts: &Arc<Facts>, credentials: DomainCredentials) {
    let (seen, seen_by_follower) = mpsc::channel(64);
    let (hints, hints_seen) = mpsc::channel(64);
    let (writers, writers_seen) = watch::channel(Writers::default());
    let (edge_seen, told, journal) = (Arc::clone(edge), Arc::clone(facts), sealed.journal());
    let follower = Follower { edge: edge_seen, topology: topology.clone(), sealed, journal, facts: told, writers: writers_seen };
    let watched = topology.clone();
    tasks.spawn("topology", async move { watched.watch().await });
    tasks.spawn("probe", follow::probing::probe(Control { topology: topology.clone(), edge: Arc::clone(edge), seen, facts: Arc::clone(facts) }));
    tasks.spawn("hints", follow::listen(topology.clone(), hints));
    let monitor = Monitor { credentials, edge: Arc::clone(edge), topology: topology.clone(), writers, facts: Arc::clone(facts) };
    tasks.spawn("domains", domains::watch(monitor));
    tasks.spawn("follower", follower.run(seen_by_follower, hints_seen));
}

/// What this node tells the control database: that it runs, what it knows, and that the primary is one.
fn tell(tasks: &Tasks, status: &Arc<NodeStatus>, incarnation: u64) {
    let NodeStatus { edge, facts, topology, .. } = &**status;
    tasks.spawn("report", report::run(Arc::clone(status), incarnation));
    tasks.spawn("acknowledge", report::acknowledge(topology.clone(), Arc::clone(edge), Arc::clone(facts)));
    tasks.spawn("heartbeat", beating::run(topology.clone(), Arc::clone(&edge.node), Arc::clone(facts), facts.heartbeat.subscribe()));
}

/// Waits for the first snapshot before accepting, and, where the database has given it, for the keys in it to be confirmed: clients wait in
/// the socket's queue instead of being refused. Not for long: a node that has neither says so, rather than leave them waiting.
async fn first_snapshot(edge: &Edge) {
    let mut pulse = tokio::time::interval(Duration::from_millis(5));
    let published = async {
        loop {
            if let Some(snapshot) = edge.current.load() {
                return snapshot;
            }
            pulse.tick().await;
        }
    };
    let Ok(snapshot) = tokio::time::timeout(Duration::from_secs(4), published).await else {
        tracing::warn!("there is no configuration yet; requests are refused until there is");
        return;
    };
    if snapshot.booted_from.is_some() {
        return;
    }
    let mut pulse = tokio::time::interval(Duration::from_millis(5));
    let confirmed = async {
        while edge.lease.registered_nanos() == 0 {
            pulse.tick().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(3), confirmed).await.is_err() {
        tracing::warn!("the primary has not confirmed the keys yet; routes that demand it answer 503 until it does");
    }
    let mut pulse = tokio::time::interval(Duration::from_millis(5));
    let proved = async {
        while !domains::are_proved(edge, &snapshot.structure) {
            pulse.tick().await;
        }
    };
    // Reads that need it would be refused. What is wrong with a domain stands in the readiness.
    let _in_time = tokio::time::timeout(Duration::from_secs(3), proved).await.is_ok();
}

fn core_thread(
    index: usize,
    edge: &Arc<Edge>,
    spool: &Spool,
    counters: Arc<Counters>,
    doors: Doors,
    acceptors: &Arc<Acceptors>,
    phase: watch::Receiver<NodePhase>,
) -> Result<std::thread::JoinHandle<()>> {
    let (edge, spool, acceptors) = (Arc::clone(edge), spool.clone(), Arc::clone(acceptors));
    let run = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().event_interval(256).build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a data-plane thread cannot start");
                return;
            }
        };
        runtime.block_on(async {
            let core = Arc::new(Core::new(edge, spool.lane(), counters));
            if let Err(error) = accept::run(core, doors, acceptors, phase).await {
                tracing::error!(error = &error as &dyn std::error::Error, "a data-plane thread cannot accept");
            }
        });
    };
    std::thread::Builder::new().name(format!("data-{index}")).spawn(run).context("cannot start a data-plane thread")
}
