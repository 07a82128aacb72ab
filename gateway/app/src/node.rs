//! One node: wires the data plane, the control plane and the tasks between them, and takes them down in order.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use audit::spool::{Spool, SpoolConfig};
use control::state::{ControlState, Ports};
use edge::{
    accept::{self, Acceptors, NodePhase},
    clock::Clock,
    current::Current,
    gate::PeerGate,
    lease::Lease,
    metrics::Counters,
    runtime::{Core, Edge, Settings},
};
use model::{key::Peppers, limit::Rate};
use store::{
    node::NodeReport,
    pool::{Credentials, Tls},
    topology::{DatabaseConfig, Server, Topology},
};
use tokio::sync::{mpsc, watch};

use crate::{
    boot,
    config::{DatabaseTls, NodeConfig},
    control_listener, domains,
    domains::{DomainCredentials, Writers},
    facts::Facts,
    follow::{self, Follower},
    load,
    sealed::Sealed,
    status::NodeStatus,
    task::Tasks,
    wire::{self, MachineClock, SpoolSink},
};

/// Between "not ready" and the end of accepting: load balancers look every second or so.
const DRAIN_NOTICE: Duration = Duration::from_millis(500);

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

/// Runs a node until `stop` resolves.
///
/// # Errors
/// When it cannot start: a file, a secret, a port. A node that has started does not end by an error.
pub async fn run(config: NodeConfig, stop: impl Future<Output = ()>) -> Result<()> {
    let clock = Clock;
    let peppers = boot::peppers(&config.secrets.peppers)?;
    let topology = topology(&config)?;
    let credentials = domain_credentials(&config)?;
    let sealed = Sealed::in_folder(&config.state, boot::secret_key("snapshot key", &config.secrets.snapshot_key)?)?;
    let data_tls = listener_tls("data", &config.data)?;
    let control_tls = listener_tls("control", &config.control)?;
    let cores = config.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).max(1);
    let sockets = edge::listener::bind(config.data.listen, cores).with_context(|| port_help("data", config.data.listen))?;
    let control_socket = tokio::net::TcpListener::bind(config.control.listen).await.with_context(|| port_help("control", config.control.listen))?;
    let spool = Spool::open(spool_config(&config)).with_context(|| format!("cannot open the audit spool {}", config.spool.dir.display()))?;

    let edge = Arc::new(edge(&config, clock, peppers.clone())?);
    let facts = Facts::new(clock.wall());
    let counters: Vec<Arc<Counters>> = (0..cores).map(|_| Arc::new(Counters::default())).collect();
    let tasks = Tasks::default();
    follow_database(&tasks, &edge, &topology, sealed, &facts, credentials);
    tasks.spawn("audit loader", load::run(spool.clone(), Arc::clone(&edge.node), topology.clone(), Arc::clone(&facts)));
    tasks.spawn("heartbeat", heartbeat(topology.clone(), Arc::clone(&edge), Arc::clone(&facts), spool.incarnation()));

    let status = Arc::new(NodeStatus {
        edge: Arc::clone(&edge),
        spool: spool.clone(),
        topology: topology.clone(),
        facts: Arc::clone(&facts),
        counters: counters.clone(),
        seen: parking_lot::Mutex::default(),
    });
    let router = control::router::router(ControlState::new(Ports {
        topology,
        peppers: Arc::new(peppers),
        clock: Arc::new(MachineClock),
        random: wire::random(),
        status,
        audit: Arc::new(SpoolSink { lane: spool.lane(), region: Arc::clone(&edge.region), node: Arc::clone(&edge.node) }),
        region: Arc::clone(&edge.region),
    }));
    tasks.spawn("control listener", control_listener::run(control_socket, control_tls, router, tasks.clone()));

    first_snapshot(&edge).await;
    let (phase, phase_seen) = watch::channel(NodePhase::Serving);
    let handshakes = NonZeroU32::new(config.limits.handshakes_per_address).unwrap_or(NonZeroU32::MIN);
    let acceptors = Acceptors::new(data_tls, handshakes);
    let mut threads = Vec::new();
    for (index, (socket, counters)) in sockets.into_iter().zip(counters).enumerate() {
        threads.push(core_thread(index, &edge, &spool, counters, socket, &acceptors, phase_seen.clone())?);
    }
    tracing::info!(node = config.node, region.here = config.region, data = %config.data.listen, control = %config.control.listen, cores, "node is up");

    stop.await;
    tracing::info!("stopping: out of rotation first, then draining");
    facts.draining.store(true, Ordering::Relaxed);
    tokio::time::sleep(DRAIN_NOTICE).await;
    phase.send_replace(NodePhase::Draining);
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok())).await;
    if !matches!(joined, Ok(true)) {
        tracing::error!("a data-plane thread ended by a panic");
    }
    spool.close();
    load::drained(&spool, &facts, Duration::from_secs(3)).await;
    tasks.stop(Duration::from_secs(5)).await;
    tracing::info!("stopped");
    Ok(())
}

fn tls(config: Option<&DatabaseTls>) -> Tls {
    config.map_or(Tls::Plain, |tls| Tls::Verified { ca: tls.ca.clone() })
}

fn port_help(which: &str, address: std::net::SocketAddr) -> String {
    format!("cannot listen on {address} ({which}): is another program using the port? choose another in the node file")
}

fn listener_tls(which: &str, listener: &crate::config::ListenerConfig) -> Result<Arc<rustls::ServerConfig>> {
    let path = &listener.certificate;
    let certificate = std::fs::read(path).with_context(|| format!("cannot read the {which} listener's certificate {}", path.display()))?;
    let key = boot::secret(&format!("{which} listener's private key"), &listener.key)?;
    edge::tls::server_config(&certificate, key.expose_secret().as_bytes())
        .with_context(|| format!("the {which} listener's certificate {} cannot be used", path.display()))
}

fn spool_config(config: &NodeConfig) -> SpoolConfig {
    let mut spool = SpoolConfig::new(&config.spool.dir, &config.node);
    spool.disk_bytes_max = config.spool.max.0;
    spool.segment_bytes = config.spool.segment.0;
    // Microseconds: two directories that are made within one second must not share a number, because the database would take
    // the first records of the second for ones that it has.
    spool.incarnation_floor = u64::try_from(Clock.wall().0).unwrap_or(0);
    spool
}

fn edge(config: &NodeConfig, clock: Clock, peppers: Peppers) -> Result<Edge> {
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
        cache: edge::cache::Cache::new(limits.cache.0),
        settings: Settings {
            connections_max: limits.connections,
            head_timeout: limits.head_timeout.0,
            stall_timeout: limits.stall_timeout.0,
            idle_timeout: limits.idle_timeout.0,
            head_bytes_max: u32::try_from(limits.head.0).unwrap_or(u32::MAX),
            headers_max: limits.headers,
            streams_max: limits.streams,
            drain_timeout: limits.drain_timeout.0,
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
    let (probes, probes_seen) = mpsc::channel(64);
    let (hints, hints_seen) = mpsc::channel(64);
    let (writers, writers_seen) = watch::channel(Writers::default());
    let (document, document_seen) = watch::channel(Arc::default());
    let follower = Follower { edge: Arc::clone(edge), topology: topology.clone(), sealed, facts: Arc::clone(facts), writers: writers_seen, document };
    let watched = topology.clone();
    tasks.spawn("topology", async move { watched.watch().await });
    tasks.spawn("probe", follow::probe(topology.clone(), Arc::clone(edge), probes));
    tasks.spawn("hints", follow::listen(topology.clone(), hints));
    tasks.spawn("domains", domains::watch(credentials, document_seen, writers));
    tasks.spawn("follower", follower.run(probes_seen, hints_seen));
}

/// Waits for the first snapshot before accepting: clients wait in the socket's queue instead of being refused. Not for long:
/// a node without any configuration says so, rather than leave them waiting.
async fn first_snapshot(edge: &Edge) {
    let published = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(5));
        while edge.current.load().is_none() {
            pulse.tick().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(4), published).await.is_err() {
        tracing::warn!("there is no configuration yet; requests are refused until there is");
    }
}

/// Tells the control database each second what this node serves.
async fn heartbeat(topology: Topology, edge: Arc<Edge>, facts: Arc<Facts>, incarnation: u64) {
    let mut pulse = tokio::time::interval(Duration::from_secs(1));
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        let (Some(snapshot), Ok(primary)) = (edge.current.load(), topology.primary()) else { continue };
        let nack = facts.nack.lock().clone().map(|nack| store::node::Nack { structural: nack.structural, message: nack.message });
        let report = NodeReport { name: edge.node.to_string(), region: edge.region.to_string(), incarnation, revisions: snapshot.revisions, nack };
        if let Err(error) = store::node::heartbeat(&primary, &report).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the heartbeat was not written");
        }
    }
}

fn core_thread(
    index: usize,
    edge: &Arc<Edge>,
    spool: &Spool,
    counters: Arc<Counters>,
    socket: std::net::TcpListener,
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
            if let Err(error) = accept::run(core, socket, acceptors, phase).await {
                tracing::error!(error = &error as &dyn std::error::Error, "a data-plane thread cannot accept");
            }
        });
    };
    std::thread::Builder::new().name(format!("data-{index}")).spawn(run).context("cannot start a data-plane thread")
}
