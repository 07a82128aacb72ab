//! What a client is promised of the database behind a service: that it reads its own writes ([`own_writes`]), or how old an answer is at
//! most ([`newness`]).
//!
//! [`take`] sees what is promised, [`Promise::choose`] finds the region whose servers can keep it, and [`Promise::keep`] looks once more when
//! the answer is there.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};
use model::{
    position::Position,
    problem::Denial,
    structure::{Route, Upstream},
    time::BootNanos,
};
use tokio::sync::watch;

use self::{newness::Newness, own_writes::OwnWrites};
use crate::{
    balance::{cluster::Cluster, fleet::Group},
    head::Head,
    positions::{Domain, Event, Pin, Standing, View},
    region::Lawful,
    runtime::Core,
    trail::Trail,
};

pub(crate) mod cookie;
mod newness;
pub mod own_writes;

/// What a client has written or seen, both ways.
pub const TOKEN: HeaderName = HeaderName::from_static("consistency-token");
/// How long a server has to say where it stands behind a response. The way to another continent and back takes a third of it.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// Where a request with a promise may go.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Where its route's mode says.
    Usual,
    /// To whichever region is nearest.
    Any,
    /// To this region alone.
    Region(Arc<str>),
    /// To whichever region is nearest, and the client is told that it may miss something.
    Stale,
}

/// What is promised about one request.
#[derive(Debug)]
pub(crate) enum Promise {
    OwnWrites(Box<OwnWrites>),
    Newness(Newness),
}

/// Where a service runs, and where it may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'s> {
    pub(crate) upstream: &'s Upstream,
    pub(crate) group: &'s Group,
    pub(crate) lawful: Lawful<'s>,
}

/// Sees what is promised, and takes the client's token out of the request; `None` where nothing is.
///
/// # Errors
/// `consistency-token-invalid`; `position-lost` for a token whose key is not in use any more, where the route refuses.
pub(crate) fn take(route: &Route, upstream: &Upstream, head: &mut Head, core: &Core) -> Result<Option<Promise>, Denial> {
    match newness::take(route, upstream, head, core) {
        Some(promise) => Ok(Some(Promise::Newness(promise))),
        None => Ok(own_writes::take(route, upstream, head, core)?.map(|promise| Promise::OwnWrites(Box::new(promise)))),
    }
}

impl Promise {
    /// Finds the region that a request may go to, and waits for one as long as the route says.
    ///
    /// # Errors
    /// `position-lost`, `position-unreached`; `region-unavailable` for a write while the newest primary is not known to be one.
    pub(crate) async fn choose(&mut self, places: Places<'_>, head: &mut Head, core: &Core, trail: &mut Trail) -> Result<Wish, Denial> {
        match self {
            Self::OwnWrites(promise) => promise.choose(places, head, core, trail).await,
            Self::Newness(promise) => promise.choose(places, core, trail).await,
        }
    }

    /// Looks once more, and tells the client what there is to tell.
    ///
    /// # Errors
    /// `position-unreached` when a server of the set that was read is not the same any more: the answer may be of before.
    pub(crate) async fn keep(self, upstream: &Upstream, headers: &mut HeaderMap, core: &Core, trail: &mut Trail) -> Result<(), Denial> {
        match self {
            Self::OwnWrites(promise) => promise.keep(upstream, headers, core, trail).await,
            Self::Newness(promise) => promise.keep(headers, core, trail).await,
        }
    }
}

/// Looks at a set again over the same connections: what its servers have now, if they are the same still and their region reads no other.
async fn look_again(domain: &Domain, region: &str, set: &[Pin], core: &Core) -> Option<Vec<Position>> {
    let asked = domain.view().with_others(region, set);
    let shown = core.within(LOOK_WITHIN, domain.ask(&asked)).await.unwrap_or_default();
    let still = set.iter().enumerate().map(|(index, pin)| pin.still(shown.get(index)?.as_ref()));
    // One that stood by may have been promoted, and be read since.
    let is_same_set = !shown.iter().skip(set.len()).flatten().any(|shown| shown.is_primary) && domain.view().is_set(region, set);
    still.collect::<Option<Vec<Position>>>().filter(|_| is_same_set)
}

/// A write whose place nobody knew is at most where the primary of its epoch is now.
async fn known_place(domain: &Domain, view: &View, position: Position, core: &Core) -> Option<Position> {
    let pin = view.writer().filter(|pin| pin.epoch == position.epoch)?;
    let shown = core.within(LOOK_WITHIN, domain.ask(&[pin])).await?.pop()?;
    pin.still(shown.as_ref().filter(|shown| shown.is_primary))
}

/// The wait of one read for a region that has enough.
struct Waiting {
    changes: watch::Receiver<Arc<View>>,
    began: BootNanos,
    longest: Duration,
    has_waited: bool,
}

/// The domain is not watched any more.
struct Unwatched;

impl Waiting {
    fn begin(domain: &Domain, longest: Duration, core: &Core) -> Self {
        Self { changes: domain.changes(), began: core.edge.clock.boot(), longest, has_waited: false }
    }

    /// The domain as it is known now; the next change is waited for from here on.
    fn view(&mut self) -> Arc<View> {
        Arc::clone(&self.changes.borrow_and_update())
    }

    /// The whole time again: what is waited for is known only now.
    fn begin_again(&mut self, core: &Core) {
        self.began = core.edge.clock.boot();
    }

    fn left(&self, core: &Core) -> Duration {
        self.longest.saturating_sub(Duration::from_nanos(core.edge.clock.boot().nanos_since(self.began)))
    }

    /// Counts how the region was found.
    fn found(&self, is_here: bool, core: &Core) {
        core.edge.positions.count(match (is_here, self.has_waited) {
            (false, _) => Event::Elsewhere,
            (true, true) => Event::Waited,
            (true, false) => Event::Local,
        });
    }

    /// Waits for a change, as long as there is time. Whether it has changed or the time is over, it is to be looked at again.
    async fn changed(&mut self, core: &Core) -> Result<(), Unwatched> {
        self.has_waited = true;
        match core.within(self.left(core), self.changes.changed()).await {
            Some(Err(_)) => Err(Unwatched),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

enum Found {
    Region {
        region: Arc<str>,
        is_here: bool,
    },
    /// This region has it soon.
    Later,
    Nobody,
}

/// This region if it has the position; else it is waited for; else the first other one that has it in the operator's order, or the nearest
/// where there is none. With `only` that region, wherever it is.
fn place(view: &View, position: Position, only: Option<&str>, places: Places<'_>, core: &Core, left: Duration) -> Found {
    let here = &*core.edge.region;
    let mut found: Option<(u64, &Arc<str>)> = None;
    let away = |region: &str| if places.group.is_ordered { 0 } else { view.rtt_us(region) };
    let may = |cluster: &&Cluster| only.is_none_or(|only| *cluster.region == *only) && places.may(cluster, core);
    for cluster in places.group.clusters.iter().filter(may) {
        let is_here = *cluster.region == *here;
        match view.standing(&cluster.region, position) {
            Standing::Has if is_here => return Found::Region { region: Arc::clone(&cluster.region), is_here },
            Standing::Behind if (is_here || only.is_some()) && !left.is_zero() => return Found::Later,
            Standing::Has => {
                let rtt_us = away(&cluster.region);
                if found.is_none_or(|(known, _)| rtt_us < known) {
                    found = Some((rtt_us, &cluster.region));
                }
            }
            Standing::Behind | Standing::Unknown => {}
        }
    }
    found.map_or(Found::Nobody, |(_, region)| Found::Region { region: Arc::clone(region), is_here: false })
}

impl Places<'_> {
    /// Whether a region may serve, and is well.
    fn may(self, cluster: &Cluster, core: &Core) -> bool {
        let now = core.edge.clock.boot();
        self.lawful.allows(&cluster.region) && !cluster.is_broken(self.upstream, now) && cluster.usable(core.edge.health.changes(), now) > 0
    }
}
