//! The checks of a node: one task for each endpoint that has one, whatever the number of cores.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::structure::{Target, Upstream, resilience::HealthCheck};
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
};

use super::{Endpoint, check};
use crate::{balance::dice::Dice, runtime::Edge};

/// Checks that run at once: those of a thousand endpoints must not be a burst.
const AT_ONCE_MAX: usize = 64;
/// How often the structure is looked at for endpoints that came or went.
const PULSE: Duration = Duration::from_millis(200);

/// A check that runs.
#[derive(Debug)]
struct Running {
    endpoint: Arc<Endpoint>,
    rule: Arc<HealthCheck>,
    task: AbortHandle,
}

/// Runs the checks of what is published, and follows it.
pub async fn run(edge: Arc<Edge>) {
    let mut tasks = JoinSet::new();
    let mut running: HashMap<Box<str>, Running> = HashMap::new();
    let at_once = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut seen = None;
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        while tasks.try_join_next().is_some() {}
        let generation = edge.current.generation();
        if seen == Some(generation) {
            continue;
        }
        seen = Some(generation);
        let wanted = wanted(&edge);
        running.retain(|key, check| {
            let is_kept = wanted.get(key).is_some_and(|(_, upstream)| upstream.resilience.check.as_ref() == Some(&check.rule));
            if !is_kept {
                check.task.abort();
                check.endpoint.unchecked();
            }
            is_kept
        });
        for (key, (target, upstream)) in wanted {
            let Some(rule) = &upstream.resilience.check else { continue };
            running.entry(key).or_insert_with(|| {
                let endpoint = edge.health.of(&upstream.name, &target.address, edge.clock.boot());
                let task = watch(Arc::clone(&edge), target, Arc::clone(&endpoint), Arc::clone(rule), Arc::clone(&at_once));
                Running { endpoint, rule: Arc::clone(rule), task: tasks.spawn(task) }
            });
        }
        edge.health.sweep();
    }
}

/// Endpoints that are to be checked, by service and address.
fn wanted(edge: &Edge) -> HashMap<Box<str>, (Arc<Target>, Arc<Upstream>)> {
    let Some(snapshot) = edge.current.load() else { return HashMap::new() };
    let checked = snapshot.structure.upstreams.iter().filter(|upstream| upstream.resilience.check.is_some());
    // Those behind another region's gateway are checked there; the gateway is judged by its answers.
    let direct = |upstream: &Arc<Upstream>| {
        let regions = upstream.regions.iter().filter(|region| !region.is_behind_gateway(&edge.region));
        regions.flat_map(|region| edge.names.expand(&region.targets)).collect::<Vec<_>>()
    };
    let targets = checked.flat_map(|upstream| direct(upstream).into_iter().map(move |target| (target, upstream)));
    targets.map(|(target, upstream)| (format!("{} {}", upstream.name, target.address).into(), (target, Arc::clone(upstream)))).collect()
}

async fn watch(edge: Arc<Edge>, target: Arc<Target>, endpoint: Arc<Endpoint>, rule: Arc<HealthCheck>, at_once: Arc<Semaphore>) {
    let dice = Dice::default();
    loop {
        // A closed semaphore would mean that the node is gone.
        let Ok(permit) = at_once.acquire().await else { return };
        let asked = check::ask(&target, &rule, &edge.identities).await;
        if let Err(error) = &asked {
            tracing::debug!(upstream = %endpoint.upstream(), error = error as &dyn std::error::Error, "a check found an endpoint not well");
        }
        endpoint.checked(asked.is_ok(), &rule, &edge.tally, edge.clock.boot());
        drop(permit);
        // Nodes that were started together must not ask together.
        let spread = u64::try_from(rule.interval.as_micros() / 10).unwrap_or(0);
        let early = Duration::from_micros(u64::try_from(dice.below(usize::try_from(spread).unwrap_or(0))).unwrap_or(0));
        tokio::time::sleep(rule.interval.saturating_sub(early)).await;
    }
}
