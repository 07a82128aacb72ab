//! A core's endpoints of all services of one structure: made when a service is first asked for, found without a lock after.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use model::{
    structure::{Structure, Upstream, UpstreamRegion},
    time::BootNanos,
};
use parking_lot::Mutex;

use super::{
    breaker::Breaker,
    budget::Budget,
    cluster::{Cluster, KeptPeer, Peer},
    load::Load,
    window::Window,
};
use crate::{hops::Via, pool::Pools, runtime::Edge};

/// The endpoints of all services, by the services' positions.
#[derive(Debug)]
pub struct Fleet {
    structure: Arc<Structure>,
    names: u64,
    groups: Box<[OnceLock<Group>]>,
}

/// The endpoints of one service.
#[derive(Debug)]
pub struct Group {
    /// By region: this node's first, then the others in the order of this region's `failover`, and of their names.
    pub clusters: Box<[Cluster]>,
    /// The operator has said in which order other regions come.
    pub is_ordered: bool,
    /// Some regions are reached by way of their gateways.
    pub may_cross: bool,
    /// What retries may cost.
    pub budget: Arc<Budget>,
    /// What `Via` says to it.
    pub via: Via,
}

/// What a core keeps of services and endpoints while structures come and go.
#[derive(Debug, Default)]
pub struct Kept {
    peers: Mutex<HashMap<Box<str>, Arc<KeptPeer>>>,
    budgets: Mutex<HashMap<Arc<str>, Arc<Budget>>>,
}

/// The breakers of a node, by service and region.
#[derive(Debug, Default)]
pub struct Breakers(Mutex<HashMap<Place, Arc<Breaker>>>);

/// A service and a region.
type Place = (Arc<str>, Arc<str>);

impl Breakers {
    fn of(&self, upstream: &Arc<str>, region: &Arc<str>) -> Arc<Breaker> {
        Arc::clone(self.0.lock().entry((Arc::clone(upstream), Arc::clone(region))).or_default())
    }

    /// The breakers of a service by region, for metrics.
    pub fn view(&self) -> Vec<(Arc<str>, Arc<str>, Arc<Breaker>)> {
        self.0.lock().iter().map(|((upstream, region), breaker)| (Arc::clone(upstream), Arc::clone(region), Arc::clone(breaker))).collect()
    }
}

impl Kept {
    fn peer(&self, upstream: &str, address: &str, edge: &Edge, now: BootNanos) -> Arc<KeptPeer> {
        let key = format!("{upstream} {address}").into_boxed_str();
        let make = || Arc::new(KeptPeer { endpoint: edge.health.of(upstream, address, now), load: Load::default(), window: Window::default() });
        Arc::clone(self.peers.lock().entry(key).or_insert_with(make))
    }

    fn budget(&self, upstream: &Arc<str>) -> Arc<Budget> {
        Arc::clone(self.budgets.lock().entry(Arc::clone(upstream)).or_default())
    }

    /// Forgets what no service uses any more.
    pub fn sweep(&self) {
        self.peers.lock().retain(|_, peer| Arc::strong_count(peer) > 1);
        self.budgets.lock().retain(|_, budget| Arc::strong_count(budget) > 1);
    }
}

impl Fleet {
    /// An empty fleet for a structure and the names as they are found now.
    pub fn new(structure: &Arc<Structure>, names: u64) -> Self {
        Self { structure: Arc::clone(structure), names, groups: structure.upstreams.iter().map(|_| OnceLock::new()).collect() }
    }

    /// True when it fits: the same structure, and no name has moved.
    pub fn fits(&self, structure: &Arc<Structure>, names: u64) -> bool {
        Arc::ptr_eq(&self.structure, structure) && self.names == names
    }

    /// The endpoints of a service of this structure; `None` for one of another.
    pub fn group(&self, upstream: &Upstream, edge: &Edge, pools: &Pools, kept: &Kept) -> Option<&Group> {
        let group = self.groups.get(upstream.index)?;
        Some(group.get_or_init(|| make(upstream, &self.structure, edge, pools, kept)))
    }
}

fn make(upstream: &Upstream, structure: &Structure, edge: &Edge, pools: &Pools, kept: &Kept) -> Group {
    let now = edge.clock.boot();
    let here = upstream.regions.iter().filter(|region| region.region == edge.region);
    let mut elsewhere: Vec<&UpstreamRegion> = upstream.regions.iter().filter(|region| region.region != edge.region).collect();
    // Behind those that the operator has named stay the others, by name.
    if let Some(order) = structure.failover.get(&edge.region) {
        elsewhere.sort_by_key(|region| order.iter().position(|name| *name == region.region).unwrap_or(usize::MAX));
    }
    let clusters: Box<[Cluster]> = here
        .chain(elsewhere)
        .map(|region| {
            let peers = edge.names.expand(region.targets_from(&edge.region)).into_iter().map(|target| {
                let kept = kept.peer(&upstream.name, &target.address, edge, now);
                Peer { pool: pools.of(&target), target, kept }
            });
            let breaker = upstream.resilience.breaker.map(|_| edge.breakers.of(&upstream.name, &region.region));
            Cluster::new(Arc::clone(&region.region), peers.collect(), breaker, &upstream.resilience.balance)
        })
        .collect();
    let may_cross = clusters.iter().any(Cluster::is_behind_gateway);
    let is_ordered = structure.failover.contains_key(&edge.region);
    Group { clusters, is_ordered, may_cross, budget: kept.budget(&upstream.name), via: Via::new(&edge.region, &structure.deployment) }
}
