//! Chooses where a request goes; the only constructor of [`Target`].

use std::sync::Arc;

use model::{
    policy::{ElseDoc, ReadModeDoc},
    problem::{Denial, ProblemKind},
    structure::{Route, Upstream, UpstreamRegion},
    time::BootNanos,
};

use crate::{
    head::Head,
    limit::Admitted,
    pool::{Pools, TargetPool},
    runtime::Edge,
};

/// Targets of one request, best first, all in regions that may serve it.
#[derive(Debug)]
pub struct Target<'s> {
    candidates: Vec<Candidate<'s>>,
    may_be_stale: bool,
}

/// One endpoint that may serve the request.
#[derive(Debug, Clone)]
pub struct Candidate<'s> {
    /// Its region.
    pub region: &'s Arc<str>,
    /// The endpoint.
    pub target: &'s Arc<model::structure::Target>,
    /// Its connections and health on this core.
    pub pool: Arc<TargetPool>,
}

impl<'s> Target<'s> {
    /// The endpoints, best first; never empty.
    pub fn candidates(&self) -> &[Candidate<'s>] {
        &self.candidates
    }

    /// True when the route's policy lets a replica answer that may be behind, where its usual promise could not be kept.
    pub const fn may_be_stale(&self) -> bool {
        self.may_be_stale
    }
}

/// Reads go to this region if it is healthy, else to another; writes, and reads with a promise, to the writer region.
///
/// # Errors
/// `region-unavailable` when no region that may serve the request is known.
pub fn choose<'s>(admitted: &Admitted<'s>, head: &Head, edge: &Edge, pools: &Pools, now: BootNanos) -> Result<Target<'s>, Denial> {
    let route: &'s Route = admitted.permit().route();
    let upstream: &'s Upstream = &route.upstream;
    let local_read = head.is_read() && !route.get_writes && route.reads.mode == ReadModeDoc::Eventual;
    if local_read {
        return nearest(upstream, edge, pools, now).map(|candidates| Target { candidates, may_be_stale: false });
    }
    let writer = admitted.permit().snapshot().writer_region(upstream);
    let region = writer.and_then(|writer| upstream.regions.iter().find(|region| region.region == *writer));
    let at_writer = region.map(|region| in_region(region, edge, pools, now)).unwrap_or_default();
    let writer_is_up = at_writer.iter().any(|(is_up, _)| *is_up);
    // The route says that a late answer is better than none; it is marked as such.
    if !writer_is_up && head.is_read() && !route.get_writes && route.reads.otherwise == ElseDoc::Stale {
        return nearest(upstream, edge, pools, now).map(|candidates| Target { candidates, may_be_stale: true });
    }
    let candidates: Vec<_> = at_writer.into_iter().map(|(_, candidate)| candidate).collect();
    if candidates.is_empty() {
        return Err(unavailable("the region that takes this service's writes is not known right now"));
    }
    Ok(Target { candidates, may_be_stale: false })
}

/// Every target, healthy ones first, this region first among equals.
fn nearest<'s>(upstream: &'s Upstream, edge: &Edge, pools: &Pools, now: BootNanos) -> Result<Vec<Candidate<'s>>, Denial> {
    let here = upstream.regions.iter().filter(|region| region.region == edge.region);
    let elsewhere = upstream.regions.iter().filter(|region| region.region != edge.region);
    let mut all: Vec<(bool, Candidate<'s>)> = Vec::with_capacity(2);
    for region in here {
        all.extend(in_region(region, edge, pools, now));
    }
    // The usual request needs no second choice: other regions are looked at when this one has a target down.
    if all.is_empty() || all.iter().any(|(is_up, _)| !is_up) {
        for region in elsewhere {
            all.extend(in_region(region, edge, pools, now));
        }
        all.sort_by_key(|(is_up, _)| !is_up);
    }
    if all.is_empty() { Err(unavailable("the service runs in no region")) } else { Ok(all.into_iter().map(|(_, candidate)| candidate).collect()) }
}

/// The targets of a region, healthy ones first, the first one taking turns.
fn in_region<'s>(region: &'s UpstreamRegion, edge: &Edge, pools: &Pools, now: BootNanos) -> Vec<(bool, Candidate<'s>)> {
    let count = region.targets.len();
    let start = if count > 1 { pools.turn() % count } else { 0 };
    let mut out: Vec<(bool, Candidate<'s>)> = region
        .targets
        .iter()
        .cycle()
        .skip(start)
        .take(count)
        .map(|target| {
            let pool = pools.of(target, &edge.health);
            (pool.health().is_up(now), Candidate { region: &region.region, target, pool })
        })
        .collect();
    if count > 1 {
        out.sort_by_key(|(is_up, _)| !is_up);
    }
    out
}

fn unavailable(detail: &'static str) -> Denial {
    Denial::new(ProblemKind::RegionUnavailable, detail).retry_after(2)
}
