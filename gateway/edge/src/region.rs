//! Chooses where a request goes; the only constructor of [`Target`].

use std::{net::IpAddr, sync::Arc};

use http::header;
use model::{
    policy::{ElseDoc, ReadModeDoc},
    problem::{Denial, ProblemKind},
    residency::{Residency, Within},
    structure::{
        Route, Upstream,
        resilience::{Balance, HashOn},
    },
    time::BootNanos,
};

use crate::{
    authorize::Permit,
    balance::{
        cluster::{Cluster, Peer},
        fleet::Group,
        ring,
    },
    consistency::Wish,
    current::Held,
    head::Head,
    limit::Admitted,
    pool::TargetPool,
    runtime::{Core, Edge},
    trail::Trail,
};

/// Where a request may go: the endpoints of a service in one region, and those of others when it may go there.
#[derive(Debug)]
pub struct Target<'s> {
    upstream: &'s Arc<Upstream>,
    group: &'s Group,
    first: &'s Cluster,
    may_go_elsewhere: bool,
    may_be_stale: bool,
    hash: Option<u64>,
    mirror: Option<(&'s Arc<Upstream>, &'s Cluster)>,
    lawful: Lawful<'s>,
}

/// The regions in which the data of a request may lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lawful<'s> {
    route: &'s Residency,
    upstream: &'s Residency,
    caller: Within<'s>,
}

impl<'s> Lawful<'s> {
    pub(crate) fn of(permit: &Permit<'s>, upstream: &'s Upstream) -> Self {
        Self { route: &permit.route().residency, upstream: &upstream.residency, caller: permit.within() }
    }

    /// Whether a region may serve.
    pub(crate) fn allows(self, region: &str) -> bool {
        self.route.allows(region) && self.upstream.allows(region) && self.caller.allows(region)
    }

    const fn is_any(self) -> bool {
        self.route.is_any() && self.upstream.is_any() && self.caller.is_any()
    }
}

/// One endpoint that serves the request.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'s> {
    /// The service.
    pub upstream: &'s Arc<Upstream>,
    /// The endpoint's region.
    pub region: &'s Arc<str>,
    /// The endpoint.
    pub target: &'s Arc<model::structure::Target>,
    /// Its connections on this core.
    pub pool: &'s Arc<TargetPool>,
}

impl<'s> Target<'s> {
    /// The service.
    pub const fn upstream(&self) -> &'s Arc<Upstream> {
        self.upstream
    }

    /// The service's endpoints and what it keeps.
    pub const fn group(&self) -> &'s Group {
        self.group
    }

    /// What decides between endpoints, for services that hash.
    pub const fn hash(&self) -> Option<u64> {
        self.hash
    }

    /// Where a copy of this request goes.
    pub const fn mirror(&self) -> Option<(&'s Arc<Upstream>, &'s Cluster)> {
        self.mirror
    }

    /// No copy of this request goes anywhere.
    pub(crate) const fn copy_nowhere(&mut self) {
        self.mirror = None;
    }

    /// True when the route's policy lets a replica answer that may be behind, where its usual promise could not be kept.
    pub const fn may_be_stale(&self) -> bool {
        self.may_be_stale
    }

    /// The regions that may serve the request, best first.
    pub fn clusters(&self) -> impl Iterator<Item = &'s Cluster> + use<'s> {
        let (first, elsewhere, lawful) = (self.first, self.may_go_elsewhere, self.lawful);
        let may = move |cluster: &&Cluster| elsewhere && !std::ptr::eq(*cluster, first) && lawful.allows(&cluster.region);
        let others = self.group.clusters.iter().filter(may);
        std::iter::once(first).chain(others)
    }

    /// One endpoint of it, as the exchange sees it.
    pub const fn candidate(&self, cluster: &'s Cluster, peer: &'s Peer) -> Candidate<'s> {
        Candidate { upstream: self.upstream, region: &cluster.region, target: &peer.target, pool: &peer.pool }
    }
}

/// Reads go to this region if it is healthy, else to another; writes, and reads with a promise, to the writer region. A region in which the
/// data may not lie is none of them.
///
/// # Errors
/// `region-unavailable` when no region that may serve the request is known; `residency-mismatch` when only one could in which its data may
/// not lie.
pub(crate) fn choose<'s>(
    admitted: &Admitted<'s>,
    upstream: &'s Arc<Upstream>,
    head: &Head,
    core: &Core,
    snapshot: &'s Held,
    trail: &Trail,
    wish: &Wish,
) -> Result<Target<'s>, Denial> {
    let route: &'s Route = admitted.permit().route();
    let edge = &*core.edge;
    let group = core.group(snapshot, upstream).ok_or_else(unknown)?;
    let now = trail.started().boot;
    let hash = hash(upstream, head, trail.client_address());
    let mirror = mirror(admitted.permit(), core, snapshot, now);
    let lawful = Lawful::of(admitted.permit(), upstream);
    let target = |first, may_go_elsewhere, may_be_stale| Target { upstream, group, first, may_go_elsewhere, may_be_stale, hash, mirror, lawful };
    let nearest = || nearest(upstream, group, lawful, edge, now);
    match wish {
        Wish::Usual => {}
        Wish::Any | Wish::Stale => return nearest().map(|first| target(first, true, matches!(wish, Wish::Stale))),
        Wish::Region(region) => {
            let found = group.clusters.iter().find(|cluster| cluster.region == *region);
            let found = found.ok_or_else(|| unavailable("the service does not run in the region that it was sent to"))?;
            return checked(found, lawful).map(|cluster| target(cluster, false, false));
        }
    }
    let may_stay = head.is_read() && !route.get_writes;
    if may_stay && route.reads.mode == ReadModeDoc::Eventual {
        return nearest().map(|first| target(first, true, false));
    }
    let writer = admitted.permit().snapshot().writer_region(upstream);
    let at_writer = writer.and_then(|writer| group.clusters.iter().find(|cluster| cluster.region == *writer));
    let writer_is_up = at_writer.is_some_and(|cluster| cluster.usable(edge.health.changes(), now) > 0 && !cluster.is_broken(upstream, now));
    // The route says that a late answer is better than none; it is marked as such.
    if !writer_is_up && may_stay && route.reads.otherwise == ElseDoc::Stale {
        return nearest().map(|first| target(first, true, true));
    }
    match at_writer {
        Some(cluster) => checked(cluster, lawful).map(|cluster| target(cluster, false, false)),
        None => Err(unavailable("the region that takes this service's writes is not known right now")),
    }
}

/// This region's own endpoints, for a request that another region's gateway has decided over.
///
/// # Errors
/// `region-unavailable` when the service is not here; `residency-mismatch`.
pub(crate) fn here<'s>(
    permit: &Permit<'s>,
    upstream: &'s Arc<Upstream>,
    head: &Head,
    core: &Core,
    snapshot: &'s Held,
    trail: &Trail,
) -> Result<Target<'s>, Denial> {
    let group = core.group(snapshot, upstream).ok_or_else(unknown)?;
    let own = group.clusters.iter().find(|cluster| cluster.region == core.edge.region);
    let first = own.ok_or_else(|| unavailable("the service does not run in the region of the gateway that was asked"))?;
    let lawful = Lawful::of(permit, upstream);
    let first = checked(first, lawful)?;
    let hash = hash(upstream, head, trail.client_address());
    Ok(Target { upstream, group, first, may_go_elsewhere: false, may_be_stale: false, hash, mirror: None, lawful })
}

/// A region that something else has chosen.
fn checked<'s>(cluster: &'s Cluster, lawful: Lawful<'_>) -> Result<&'s Cluster, Denial> {
    if lawful.allows(&cluster.region) {
        Ok(cluster)
    } else {
        Err(mismatch("the region that takes this service's writes is none in which these data may lie"))
    }
}

/// The first region that is well enough: this one, then the others. When none is, this one is asked all the same.
fn nearest<'s>(upstream: &Upstream, group: &'s Group, lawful: Lawful<'_>, edge: &Edge, now: BootNanos) -> Result<&'s Cluster, Denial> {
    if let [only] = &*group.clusters
        && lawful.is_any()
    {
        return Ok(only);
    }
    let changes = edge.health.changes();
    let is_well = |cluster: &&Cluster| !cluster.is_broken(upstream, now) && !cluster.is_in_panic(upstream, changes, now);
    let clusters = || group.clusters.iter().filter(|cluster| lawful.allows(&cluster.region));
    if let Some(well) = clusters().find(is_well) {
        return Ok(well);
    }
    // The operator must learn that it is the rule that keeps the request from being served.
    if !lawful.is_any() && group.clusters.iter().any(|cluster| is_well(&cluster)) {
        return Err(mismatch("the regions in which these data may lie cannot serve them right now"));
    }
    let found = clusters().find(|cluster| !cluster.is_broken(upstream, now)).or_else(|| clusters().next());
    found.ok_or_else(|| unavailable("the service runs in no region"))
}

/// Where a copy of the request goes, if the route has a mirror and this request is one of its share.
fn mirror<'s>(permit: &Permit<'s>, core: &Core, held: &'s Held, now: BootNanos) -> Option<(&'s Arc<Upstream>, &'s Cluster)> {
    let mirror = permit.route().diversions.as_ref()?.mirror.as_ref().filter(|mirror| core.dice.hits(mirror.of_ten_thousand))?;
    let group = core.group(held, &mirror.upstream)?;
    let cluster = nearest(&mirror.upstream, group, Lawful::of(permit, &mirror.upstream), &core.edge, now).ok()?;
    // A copy is not worth a way round.
    Some((&mirror.upstream, cluster)).filter(|_| !cluster.is_behind_gateway())
}

/// What decides between endpoints, for services that hash.
fn hash(upstream: &Upstream, head: &Head, address: IpAddr) -> Option<u64> {
    let Balance::Hash(on) = &upstream.resilience.balance else { return None };
    match on {
        HashOn::Header(name) => head.parts.headers.get(name).map(|value| ring::hash(value.as_bytes())),
        HashOn::Cookie(name) => cookie(head, name).map(ring::hash),
        HashOn::Address => Some(match address {
            IpAddr::V4(address) => ring::hash(&address.octets()),
            IpAddr::V6(address) => ring::hash(&address.octets()),
        }),
        HashOn::Path => Some(ring::hash(head.path().as_bytes())),
    }
}

/// The value of a cookie (RFC 6265 section 4.2.1).
fn cookie<'h>(head: &'h Head, name: &str) -> Option<&'h [u8]> {
    let fields = head.parts.headers.get_all(header::COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// A service that this core does not know.
pub(crate) fn unknown() -> Denial {
    unavailable("the service is not known")
}

fn mismatch(detail: &'static str) -> Denial {
    Denial::new(ProblemKind::ResidencyMismatch, detail).retry_after(2)
}

fn unavailable(detail: &'static str) -> Denial {
    Denial::new(ProblemKind::RegionUnavailable, detail).retry_after(2)
}
