//! Watches the databases of the fronted services: where their primaries are, whose regions take the writes, and how far each server is.

mod confirming;
mod epochs;
mod server;
mod state;
mod watched;

use std::{collections::HashMap, sync::Arc, time::Duration};

use edge::runtime::Edge;
use model::{consistency_token::DomainMark, snapshot::Snapshot, structure};
use store::{
    pool::{Credentials, Tls},
    topology::Topology,
};
use tokio::sync::watch;

use self::watched::Watched;
use crate::facts::Facts;

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
            monitor.edge.positions.watch(watched.iter().map(|(mark, watched)| (*mark, watched.domain())).collect());
            epochs.keep(watched.values().filter_map(Watched::with_epochs).collect());
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
    /// Starts what is new and ends what is gone; what stays keeps its connections and all that it knows, whichever of its servers change.
    fn take(&self, watched: &mut HashMap<DomainMark, Watched>, domains: &[structure::Domain]) {
        let is_known = |name: &str, mark| domains.iter().any(|domain| domain.mark == mark && *domain.name == *name);
        watched.retain(|mark, watched| is_known(watched.name(), *mark));
        for domain in domains {
            let Some(credentials) = self.credentials_of(domain) else {
                watched.remove(&domain.mark);
                continue;
            };
            let entry = watched.entry(domain.mark).or_insert_with(|| Watched::new(Arc::clone(&domain.name), self));
            if let Err(error) = entry.follow(domain, credentials) {
                tracing::error!(domain = &*domain.name, error = &error as &dyn std::error::Error, "a domain cannot be watched");
                watched.remove(&domain.mark);
            }
        }
    }

    fn credentials_of(&self, domain: &structure::Domain) -> Option<&Credentials> {
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
        Some(credentials)
    }
}
