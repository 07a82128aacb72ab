//! The epochs of the domains: read from the control database, and begun there when a primary writes one that nobody knows.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use store::{position, topology::Topology};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::state::Shared;

/// How often it is looked for primaries that write an unknown epoch.
const LOOK: Duration = Duration::from_millis(50);
/// How often the epochs are read that others have begun.
const READ: Duration = Duration::from_millis(500);
/// How often one that cannot be begun is complained about.
const COMPLAIN: Duration = Duration::from_secs(30);

/// Keeps the epochs of domains; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    domains: Arc<Mutex<Vec<Arc<Shared>>>>,
    _task: JoinSet<()>,
}

impl Keeper {
    pub(super) fn new(topology: Topology, node: Arc<str>) -> Self {
        let domains = Arc::default();
        let mut task = JoinSet::new();
        task.spawn(run(Arc::clone(&domains), topology, node));
        Self { domains, _task: task }
    }

    /// From now on these are kept, and no others.
    pub(super) fn keep(&self, domains: Vec<Arc<Shared>>) {
        *self.domains.lock() = domains;
    }
}

async fn run(domains: Arc<Mutex<Vec<Arc<Shared>>>>, topology: Topology, node: Arc<str>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut read_at, mut complained_at) = (None::<Instant>, None::<Instant>);
    loop {
        ticks.tick().await;
        let domains = domains.lock().clone();
        if domains.is_empty() {
            continue;
        }
        if read_at.is_none_or(|at| at.elapsed() > READ) {
            read(&domains, &topology).await;
            read_at = Some(Instant::now());
        }
        let failures = join_all(domains.iter().map(|domain| settle(domain, &topology, &node))).await;
        if let Some(error) = failures.into_iter().flatten().next()
            && complained_at.is_none_or(|at| at.elapsed() > COMPLAIN)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the epoch of a service's new primary cannot be begun: until then nobody can say which region has a client's writes"
            );
            complained_at = Some(Instant::now());
        }
    }
}

async fn read(domains: &[Arc<Shared>], topology: &Topology) {
    let Ok(replica) = topology.replica() else { return };
    // When it fails, what is known stays known.
    let Ok(Ok(all)) = tokio::time::timeout(READ, position::epochs(&replica)).await else { return };
    for domain in domains {
        if let Some(epochs) = all.get(&*domain.name) {
            domain.learn(epochs);
        }
    }
}

async fn settle(domain: &Shared, topology: &Topology, node: &str) -> Option<store::error::StoreError> {
    let found = domain.found()?;
    let settled = match topology.primary() {
        Ok(primary) => position::settle(&primary, &domain.name, &found, node).await,
        Err(error) => Err(error),
    };
    match settled {
        Ok(epochs) => {
            let number = epochs.newest().map_or(0, |epoch| epoch.number);
            tracing::info!(
                domain = &*domain.name,
                server = &*found.writer.server,
                epoch = number,
                "a primary of a service's database is known by its epoch"
            );
            domain.learn(&epochs);
            None
        }
        Err(error) => Some(error),
    }
}
