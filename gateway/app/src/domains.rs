//! Watches the databases of the fronted services: where their primaries are, whose regions take the writes, and how far each server is.

mod confirming;
mod epochs;
mod server;
mod state;

use std::{collections::HashMap, sync::Arc, time::Duration};

use edge::{
    positions::{Domain, QUESTIONS_MAX, heartbeat::Heartbeat},
    runtime::Edge,
};
use model::{
    consistency_token::DomainMark,
    position::Epochs,
    snapshot::Snapshot,
    structure::{self, DomainServer},
};
use store::{
    domain_heartbeat::{self, Place},
    pool::{AddressError, Credentials, Tls},
    sample::{self, Probe},
    topology::Topology,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::{confirming::Confirming, state::Shared};
use crate::facts::Facts;

/// How often the servers of a domain are asked whose positions matter.
const POLL_TRACKED: Duration = Duration::from_millis(50);
/// How often the others are, of which only the primary matters.
const POLL: Duration = Duration::from_millis(250);
/// How often it is looked whether the document has other domains.
const LOOK: Duration = Duration::from_millis(100);

/// The region of each domain's primary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers(pub HashMap<Arc<str>, Arc<str>>);

/// How to connect to each domain.
pub type DomainCredentials = HashMap<String, Credentials>;

/// What watching needs.
#[derive(Debug)]
pub struct Monitor {
    /// How to connect.
    pub credentials: DomainCredentials,
    /// Where requests look.
    pub edge: Arc<Edge>,
    /// The control database, which keeps the epochs.
    pub topology: Topology,
    /// Who follows where writes go.
    pub writers: watch::Sender<Writers>,
    /// Whether this process writes heartbeats.
    pub facts: Arc<Facts>,
}

/// A domain that is watched; its tasks end with it.
struct Watched {
    servers: Vec<DomainServer>,
    needs: Needs,
    shared: Arc<Shared>,
    domain: Arc<Domain>,
    _tasks: JoinSet<()>,
}

/// What a domain is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Needs {
    /// Where each server is: clients are told, or it is proved how old answers are.
    positions: bool,
    heartbeat: bool,
}

impl Needs {
    const fn of(domain: &structure::Domain) -> Self {
        Self { positions: domain.is_tracked || domain.is_beating, heartbeat: domain.is_beating }
    }
}

/// Watches every domain of the snapshot in force, for as long as the future lives; it never returns. A domain whose servers do not answer
/// keeps its last known writer.
pub async fn watch(monitor: Monitor) {
    let mut pulse = tokio::time::interval(LOOK);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watched: HashMap<DomainMark, Watched> = HashMap::new();
    let mut seen: Option<Arc<Snapshot>> = None;
    let epochs = epochs::Keeper::new(monitor.topology.clone(), Arc::clone(&monitor.edge.node));
    loop {
        pulse.tick().await;
        if let Some(snapshot) = monitor.edge.current.load()
            && seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(&seen.structure, &snapshot.structure))
        {
            monitor.take(&mut watched, &snapshot.structure.domains);
            monitor.edge.positions.watch(watched.iter().map(|(mark, watched)| (*mark, Arc::clone(&watched.domain))).collect());
            epochs.keep(watched.values().filter(|watched| watched.needs.positions).map(|watched| Arc::clone(&watched.shared)).collect());
            seen = Some(snapshot);
        }
    }
}

/// Whether it is known of each domain with a heartbeat how old its answers are, or why it cannot be known.
pub fn are_proved(edge: &Edge, structure: &structure::Structure) -> bool {
    let beating = structure.domains.iter().filter(|domain| domain.is_beating);
    beating.filter_map(|domain| edge.positions.domain(domain.mark)).all(|domain| {
        let heartbeat = domain.heartbeat();
        heartbeat.newest().is_some() || heartbeat.trouble.is_some()
    })
}

impl Monitor {
    /// Starts what is new and ends what is gone; what stays the same keeps its connections and all that it knows.
    fn take(&self, watched: &mut HashMap<DomainMark, Watched>, domains: &[structure::Domain]) {
        let is_same = |watched: &Watched, domain: &structure::Domain| watched.servers == domain.servers && watched.needs == Needs::of(domain);
        // What is true of a domain is so whichever of its servers are watched.
        let known = watched.iter().map(|(mark, watched)| (*mark, (watched.shared.epochs(), watched.domain.heartbeat())));
        let known: HashMap<DomainMark, (Arc<Epochs>, Arc<Heartbeat>)> = known.collect();
        watched.retain(|mark, watched| domains.iter().any(|domain| domain.mark == *mark && is_same(watched, domain)));
        for domain in domains {
            if !watched.contains_key(&domain.mark)
                && let Some(started) = self.start(domain, known.get(&domain.mark).cloned().unwrap_or_default())
            {
                watched.insert(domain.mark, started);
            }
        }
    }

    fn start(&self, domain: &structure::Domain, (epochs, heartbeat): (Arc<Epochs>, Arc<Heartbeat>)) -> Option<Watched> {
        let needs = Needs::of(domain);
        let servers = self.servers(domain)?;
        let (shared, view) = Shared::new(domain, epochs, self.writers.clone());
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        let mut questions = Vec::with_capacity(servers.len());
        let poll = if needs.positions { POLL_TRACKED } else { POLL };
        let mut places = Vec::with_capacity(servers.len());
        for (index, (probe, place)) in servers.into_iter().enumerate() {
            places.push(place);
            let (asked, asked_here) = mpsc::channel(QUESTIONS_MAX);
            tasks.spawn(server::ask(Arc::clone(&shared), index, probe, asked_here, poll));
            questions.push(asked);
        }
        let positions = Arc::new(Domain::new(Arc::clone(&domain.name), view, questions.into()));
        if needs.heartbeat {
            positions.beat(|_| Heartbeat::clone(&heartbeat));
            tasks.spawn(confirming::run(Confirming {
                places,
                domain: Arc::clone(&positions),
                edge: Arc::clone(&self.edge),
                facts: Arc::clone(&self.facts),
                pulse: watch::Sender::default(),
            }));
        }
        Some(Watched { servers: domain.servers.clone(), needs, shared, domain: positions, _tasks: tasks })
    }

    fn servers(&self, domain: &structure::Domain) -> Option<Vec<(Probe, Place)>> {
        let name = &*domain.name;
        let Some(credentials) = self.credentials.get(name) else {
            tracing::error!(domain = name, "the node file has no `domains` entry with this name: writes to its services have no region");
            return None;
        };
        let remote = domain.servers.iter().find(|server| credentials.tls == Tls::Plain && !crate::config::is_local(&server.address));
        if let Some(server) = remote {
            tracing::error!(
                domain = name,
                server = &*server.address,
                "a server of this domain is not on this machine: give the domain `tls` in the node file"
            );
            return None;
        }
        let ways =
            |server: &DomainServer| Ok((sample::probe_of(&server.address, credentials)?, domain_heartbeat::place_of(&server.address, credentials)?));
        let servers: Result<Vec<(Probe, Place)>, AddressError> = domain.servers.iter().map(ways).collect();
        servers.map_err(|error| tracing::error!(domain = name, error = &error as &dyn std::error::Error, "a domain cannot be watched")).ok()
    }
}
