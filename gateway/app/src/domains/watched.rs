//! One domain that is watched, and its servers, which come and go.

use std::{sync::Arc, time::Duration};

use edge::{
    positions::{Domain, QUESTIONS_MAX, ServerId, Way},
    runtime::Edge,
};
use model::structure::{self, DomainServer};
use store::{
    domain_heartbeat,
    pool::{AddressError, Credentials},
    sample,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    Monitor,
    confirming::{self, Confirming, Places},
    server,
    state::Shared,
};
use crate::facts::Facts;

/// How often the servers of a domain are asked whose positions matter.
const POLL_TRACKED: Duration = Duration::from_millis(50);
/// How often the others are, of which only the primary matters.
const POLL: Duration = Duration::from_millis(250);

/// A domain that is watched; its tasks end with it.
pub(super) struct Watched {
    shared: Arc<Shared>,
    domain: Arc<Domain>,
    /// In the order of the document.
    servers: Vec<Asked>,
    /// The name of the next server that comes.
    next: u32,
    needs: Needs,
    poll: watch::Sender<Duration>,
    places: Places,
    edge: Arc<Edge>,
    facts: Arc<Facts>,
    confirming: Option<JoinSet<()>>,
}

/// A server that is asked for as long as this lives.
struct Asked {
    id: ServerId,
    written: DomainServer,
    way: Way,
    _task: JoinSet<()>,
}

/// What a domain is watched for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

impl Watched {
    /// A domain of which no server is asked yet.
    pub(super) fn new(name: Arc<str>, monitor: &Monitor) -> Self {
        let (shared, view) = Shared::new(Arc::clone(&name), monitor.writers.clone());
        Self {
            shared: Arc::new(shared),
            domain: Arc::new(Domain::new(name, view)),
            servers: Vec::new(),
            next: 0,
            needs: Needs::default(),
            poll: watch::Sender::new(POLL),
            places: Places::default(),
            edge: Arc::clone(&monitor.edge),
            facts: Arc::clone(&monitor.facts),
            confirming: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.domain.name
    }

    pub(super) fn domain(&self) -> Arc<Domain> {
        Arc::clone(&self.domain)
    }

    /// What keeps its epochs, where they matter.
    pub(super) fn with_epochs(&self) -> Option<Arc<Shared>> {
        self.needs.positions.then(|| Arc::clone(&self.shared))
    }

    /// Asks the servers that the document names, for what it needs. One that is known by its address goes on being asked over the connection
    /// that it has: requests under way rest on what was shown over it.
    ///
    /// # Errors
    /// An address that is not `host:port`; the document was checked for that.
    pub(super) fn follow(&mut self, domain: &structure::Domain, credentials: &Credentials) -> Result<(), AddressError> {
        if self.servers.iter().map(|asked| &asked.written).ne(&domain.servers) {
            self.change(&domain.servers, credentials)?;
        }
        let needs = Needs::of(domain);
        if needs != self.needs {
            self.needs = needs;
            self.poll.send_replace(if needs.positions { POLL_TRACKED } else { POLL });
            self.confirming = needs.heartbeat.then(|| self.confirm());
        }
        Ok(())
    }

    fn change(&mut self, servers: &[DomainServer], credentials: &Credentials) -> Result<(), AddressError> {
        let mut before = std::mem::take(&mut self.servers);
        for written in servers {
            let known = before.iter().position(|asked| asked.written.address == written.address).map(|index| before.swap_remove(index));
            let asked = match known {
                Some(asked) => Asked { written: written.clone(), ..asked },
                None => self.ask(written.clone(), credentials)?,
            };
            self.servers.push(asked);
        }
        let mut places = self.places.lock();
        for gone in &before {
            places.remove(&gone.id);
        }
        drop(places);
        // Whoever sees a server can ask it.
        self.domain.reach(self.servers.iter().map(|asked| asked.way.clone()).collect());
        let members: Vec<(ServerId, DomainServer)> = self.servers.iter().map(|asked| (asked.id, asked.written.clone())).collect();
        self.shared.change(&members);
        Ok(())
    }

    /// Begins to ask a server.
    fn ask(&mut self, written: DomainServer, credentials: &Credentials) -> Result<Asked, AddressError> {
        let id = ServerId(self.next);
        self.next += 1;
        let probe = sample::probe_of(&written.address, credentials)?;
        self.places.lock().insert(id, domain_heartbeat::place_of(&written.address, credentials)?);
        let (questions, asked_here) = mpsc::channel(QUESTIONS_MAX);
        let mut task = JoinSet::new();
        task.spawn(server::ask(Arc::clone(&self.shared), id, probe, asked_here, self.poll.subscribe()));
        Ok(Asked { id, written, way: Way { to: id, questions }, _task: task })
    }

    fn confirm(&self) -> JoinSet<()> {
        let mut task = JoinSet::new();
        task.spawn(confirming::run(Confirming {
            places: Arc::clone(&self.places),
            domain: Arc::clone(&self.domain),
            edge: Arc::clone(&self.edge),
            facts: Arc::clone(&self.facts),
            pulse: watch::Sender::default(),
        }));
        task
    }
}
