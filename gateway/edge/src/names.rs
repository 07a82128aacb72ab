//! Addresses of names: looked up on a schedule, so that no request waits for a resolver, and kept when a look-up fails.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{structure::Target, time::BootNanos};
use parking_lot::RwLock;
use tokio::task::JoinSet;

use crate::{balance::tally::Event, runtime::Edge};

/// Addresses of one name that are used.
const ADDRESSES_MAX: usize = 64;
/// Look-ups at once: each takes a thread of the resolver.
const AT_ONCE_MAX: usize = 16;
/// A resolver that is silent for so long has failed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is seen which name is due.
const PULSE: Duration = Duration::from_millis(100);

/// What names were last found to mean.
#[derive(Debug, Default)]
pub struct Names {
    found: RwLock<HashMap<Box<str>, Arc<[IpAddr]>>>,
    generation: AtomicU64,
}

impl Names {
    /// Moves when a name means something else.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The endpoints that targets stand for: an address stands for itself, a name for each of its addresses. A name that was
    /// never found stands for itself, and connecting looks it up.
    pub fn expand(&self, targets: &[Arc<Target>]) -> Vec<Arc<Target>> {
        let mut out: Vec<Arc<Target>> = Vec::with_capacity(targets.len());
        for target in targets {
            let found = target.name.as_ref().and_then(|(name, port)| Some((self.found.read().get(name).cloned()?, *port)));
            let Some((addresses, port)) = found else {
                out.push(Arc::clone(target));
                continue;
            };
            out.extend(addresses.iter().map(|address| {
                let address = SocketAddr::new(*address, port).to_string().into();
                Arc::new(Target {
                    address,
                    authority: target.authority.clone(),
                    base_path: target.base_path.clone(),
                    name: None,
                    reach: Arc::clone(&target.reach),
                    is_gateway: target.is_gateway,
                })
            }));
        }
        let mut seen = BTreeSet::new();
        out.retain(|target| seen.insert(target.address.clone()));
        out
    }

    /// Notes what a name means now; true when that is new. An empty answer changes nothing.
    fn learn(&self, name: &str, addresses: impl Iterator<Item = IpAddr>) -> bool {
        let all: BTreeSet<IpAddr> = addresses.collect();
        // One host often has an address of each family: two endpoints for it would count it twice.
        let has_v4 = all.iter().any(IpAddr::is_ipv4);
        let used: Arc<[IpAddr]> = all.into_iter().filter(|address| address.is_ipv4() || !has_v4).take(ADDRESSES_MAX).collect();
        if used.is_empty() || self.found.read().get(name) == Some(&used) {
            return false;
        }
        self.found.write().insert(name.into(), used);
        self.generation.fetch_add(1, Ordering::AcqRel);
        true
    }

    fn forget_all_but(&self, names: &HashMap<Box<str>, Duration>) {
        self.found.write().retain(|name, _| names.contains_key(name));
    }
}

/// Looks a name up with the system's resolver, as `getaddrinfo` does.
///
/// # Errors
/// What the resolver says.
pub async fn system(name: Box<str>) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((&*name, 0)).await?.map(|address| address.ip()).collect())
}

/// Looks up the names of what is published, each as often as its service asks for.
pub async fn run<F>(edge: Arc<Edge>, lookup: impl Fn(Box<str>) -> F + Send + Sync + 'static)
where
    F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
{
    let mut due: HashMap<Box<str>, BootNanos> = HashMap::new();
    let mut wanted = HashMap::new();
    let mut asked: JoinSet<(Box<str>, io::Result<Vec<IpAddr>>)> = JoinSet::new();
    let mut seen = None;
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _tick = pulse.tick() => {}
            Some(Ok((name, answer))) = asked.join_next(), if !asked.is_empty() => learn(&edge, &name, answer),
        }
        let generation = edge.current.generation();
        if seen != Some(generation) {
            seen = Some(generation);
            wanted = names(&edge);
            due.retain(|name, _| wanted.contains_key(name));
            edge.names.forget_all_but(&wanted);
        }
        let now = edge.clock.boot();
        for (name, every) in &wanted {
            let is_due = due.get(name).is_none_or(|at| *at <= now);
            if is_due && asked.len() < AT_ONCE_MAX {
                due.insert(name.clone(), BootNanos(now.0.saturating_add(u64::try_from(every.as_nanos()).unwrap_or(u64::MAX))));
                let (name, answer) = (name.clone(), lookup(name.clone()));
                asked.spawn(
                    async move { (name, tokio::time::timeout(TIMEOUT, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))) },
                );
            }
        }
    }
}

fn learn(edge: &Edge, name: &str, answer: io::Result<Vec<IpAddr>>) {
    match answer {
        Ok(addresses) => {
            if edge.names.learn(name, addresses.into_iter()) {
                edge.tally.count(Event::NameChanged);
                edge.current.touch();
            }
        }
        Err(error) => {
            edge.tally.count(Event::NameFailed);
            tracing::warn!(name, error = &error as &dyn std::error::Error, "a name cannot be looked up; its last addresses stay in use");
        }
    }
}

/// Names in use, with the shortest interval that a service asks for.
fn names(edge: &Edge) -> HashMap<Box<str>, Duration> {
    let mut out: HashMap<Box<str>, Duration> = HashMap::new();
    let Some(snapshot) = edge.current.load() else { return out };
    for upstream in &snapshot.structure.upstreams {
        let every = upstream.resilience.resolve_every;
        for (name, _) in upstream.regions.iter().flat_map(|region| region.targets_from(&edge.region)).filter_map(|target| target.name.as_ref()) {
            out.entry(name.clone()).and_modify(|known| *known = every.min(*known)).or_insert(every);
        }
    }
    out
}

#[cfg(test)]
mod tests;
