//! Watches the databases of the fronted services: where their primaries are, whose regions take the writes, and how far each server is.

mod epochs;
mod server;
mod state;

use std::{collections::HashMap, sync::Arc, time::Duration};

use edge::{
    positions::{Domain, QUESTIONS_MAX},
    runtime::Edge,
};
use model::{
    consistency_token::DomainMark,
    snapshot::Snapshot,
    structure::{self, DomainServer},
};
use store::{
    pool::{Credentials, Tls},
    sample::{self, Probe},
    topology::Topology,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::state::Shared;

/// How often the servers of a domain are asked whose clients are told positions.
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
}

/// A domain that is watched; its tasks end with it.
struct Watched {
    servers: Vec<DomainServer>,
    is_tracked: bool,
    shared: Arc<Shared>,
    domain: Arc<Domain>,
    _tasks: JoinSet<()>,
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
            epochs.keep(watched.values().filter(|watched| watched.is_tracked).map(|watched| Arc::clone(&watched.shared)).collect());
            seen = Some(snapshot);
        }
    }
}

impl Monitor {
    /// Starts what is new and ends what is gone; what stays the same keeps its connections and all that it knows.
    fn take(&self, watched: &mut HashMap<DomainMark, Watched>, domains: &[structure::Domain]) {
        let is_same = |watched: &Watched, domain: &structure::Domain| watched.servers == domain.servers && watched.is_tracked == domain.is_tracked;
        watched.retain(|mark, watched| domains.iter().any(|domain| domain.mark == *mark && is_same(watched, domain)));
        for domain in domains {
            if !watched.contains_key(&domain.mark)
                && let Some(started) = self.start(domain)
            {
                watched.insert(domain.mark, started);
            }
        }
    }

    fn start(&self, domain: &structure::Domain) -> Option<Watched> {
        let probes = self.probes(domain)?;
        let (shared, view) = Shared::new(domain, self.writers.clone());
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        let mut questions = Vec::with_capacity(probes.len());
        let poll = if domain.is_tracked { POLL_TRACKED } else { POLL };
        for (index, probe) in probes.into_iter().enumerate() {
            let (asked, asked_here) = mpsc::channel(QUESTIONS_MAX);
            tasks.spawn(server::ask(Arc::clone(&shared), index, probe, asked_here, poll));
            questions.push(asked);
        }
        let positions = Arc::new(Domain::new(Arc::clone(&domain.name), view, questions.into()));
        Some(Watched { servers: domain.servers.clone(), is_tracked: domain.is_tracked, shared, domain: positions, _tasks: tasks })
    }

    fn probes(&self, domain: &structure::Domain) -> Option<Vec<Probe>> {
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
        let probes: Result<Vec<Probe>, _> = domain.servers.iter().map(|server| sample::probe_of(&server.address, credentials)).collect();
        probes.map_err(|error| tracing::error!(domain = name, error = &error as &dyn std::error::Error, "a domain cannot be watched")).ok()
    }
}
