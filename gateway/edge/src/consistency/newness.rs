//! How old an answer may be: a bounded read is answered by servers that have everything that was acknowledged longer ago than the bound, a
//! strong one by those of the primary's region, while it is known to be the primary.
//!
//! No clocks are compared. A confirmed read of the primary has begun at an instant of this node's own clock, and shown a position
//! ([`crate::positions::heartbeat`]): who has that, has everything that was acknowledged before.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use model::{
    policy::{ElseDoc, ReadModeDoc},
    position::{Lsn, Position},
    problem::{Denial, ProblemKind},
    structure::{Route, Upstream},
    time::BootNanos,
};

use super::{Found, TOKEN, Wish, known_place, look_again, place};
use crate::{
    balance::fleet::Group,
    head::Head,
    positions::{Domain, Event, Pin, View},
    refuse,
    runtime::Core,
    trail::Trail,
};

/// For so long a confirmed read of the primary lets it answer strong reads.
const LEASE: Duration = Duration::from_secs(2);

/// A read whose answer may not be of before some instant.
#[derive(Debug)]
pub(crate) struct Newness {
    /// `None` where this node does not watch the domain.
    domain: Option<Arc<Domain>>,
    bound: Bound,
    otherwise: ElseDoc,
    wait: Duration,
    /// The servers that were chosen; none where nothing is promised after all.
    set: Vec<Pin>,
}

#[derive(Debug)]
enum Bound {
    /// Everything that was acknowledged so long before the request came.
    Within(Duration),
    /// Everything that was acknowledged before it came. Where the primary was, asked since, as far as standbys are read beside it.
    Strong { place: Option<Position> },
}

/// A read that is promised something; it needs no token.
pub(super) fn take(route: &Route, upstream: &Upstream, head: &mut Head, core: &Core) -> Option<Newness> {
    let mark = upstream.beating.filter(|_| head.is_read() && !route.get_writes)?;
    let bound = match route.reads.mode {
        ReadModeDoc::Bounded => Bound::Within(route.reads.max),
        ReadModeDoc::Strong => Bound::Strong { place: None },
        ReadModeDoc::ReadYourWrites | ReadModeDoc::Eventual => return None,
    };
    head.parts.headers.remove(&TOKEN);
    let domain = core.edge.positions.domain(mark);
    Some(Newness { domain, bound, otherwise: route.reads.otherwise, wait: route.reads.wait, set: Vec::new() })
}

impl Newness {
    /// Finds the region that may answer, and waits for it as long as the route says.
    ///
    /// # Errors
    /// `position-unreached`.
    pub(super) async fn choose(&mut self, upstream: &Upstream, group: &Group, core: &Core, trail: &mut Trail) -> Result<Wish, Denial> {
        let Some(domain) = self.domain.clone() else { return self.otherwise(core, trail) };
        let came = trail.started().boot;
        let began = core.edge.clock.boot();
        let mut changes = domain.changes();
        let mut has_waited = false;
        loop {
            let view = Arc::clone(&changes.borrow_and_update());
            let left = self.wait.saturating_sub(Duration::from_nanos(core.edge.clock.boot().nanos_since(began)));
            let found = match self.needed(&domain, &view, came, core).await {
                Some((position, only)) => place(&view, position, only.as_deref(), upstream, group, core, left),
                None => Found::Nobody,
            };
            match found {
                Found::Region { region, is_here } => {
                    let Some(set) = view.pins(&region) else { return self.otherwise(core, trail) };
                    core.edge.positions.count(match (is_here, has_waited) {
                        (false, _) => Event::Elsewhere,
                        (true, true) => Event::Waited,
                        (true, false) => Event::Local,
                    });
                    self.set = set;
                    return Ok(Wish::Region(region));
                }
                Found::Nobody if left.is_zero() => return self.otherwise(core, trail),
                Found::Later | Found::Nobody => {
                    has_waited = true;
                    // Whether it has changed or the time is over, it is looked at again. Nobody tells any more: the domain has other servers.
                    if let Some(Err(_)) = core.within(left, changes.changed()).await {
                        return self.otherwise(core, trail);
                    }
                }
            }
        }
    }

    /// What servers must have, and the region that they must be of if only one may answer; `None` while that cannot be said.
    async fn needed(&mut self, domain: &Domain, view: &View, came: BootNanos, core: &Core) -> Option<(Position, Option<Arc<str>>)> {
        match &mut self.bound {
            Bound::Within(bound) => {
                let from = BootNanos(came.0.saturating_sub(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)));
                let position = domain.heartbeat().since(from, |position| view.has_lost(position))?;
                Some((position, None))
            }
            Bound::Strong { place } => {
                let (writer, region) = leased(domain, view, core)?;
                let start = Position { epoch: writer.epoch, lsn: Lsn(0) };
                if view.is_read_alone(writer) {
                    return Some((start, Some(region)));
                }
                if place.is_none_or(|place| place.epoch != writer.epoch) {
                    *place = known_place(domain, view, start, core).await;
                }
                Some(((*place)?, Some(region)))
            }
        }
    }

    fn otherwise(&self, core: &Core, trail: &mut Trail) -> Result<Wish, Denial> {
        match self.otherwise {
            ElseDoc::Stale => {
                core.edge.positions.count(Event::Stale);
                trail.consistency("nobody could prove that the answer is new enough; served by one that may be behind");
                Ok(Wish::Stale)
            }
            // The primary's region was among those that were looked at.
            ElseDoc::Primary | ElseDoc::Refuse => {
                core.edge.positions.count(Event::Unreached);
                Err(cannot_prove())
            }
        }
    }

    /// Looks at the servers again: whether they are the ones that were chosen still.
    ///
    /// # Errors
    /// `position-unreached`.
    pub(super) async fn keep(self, headers: &mut HeaderMap, core: &Core, trail: &mut Trail) -> Result<(), Denial> {
        let Some(domain) = self.domain.filter(|_| !self.set.is_empty()) else { return Ok(()) };
        let is_still = look_again(&domain, &self.set, core).await.is_some()
            && match self.bound {
                Bound::Within(_) => true,
                Bound::Strong { .. } => leased(&domain, &domain.view(), core).is_some_and(|(writer, _)| self.set.contains(&writer)),
            };
        if is_still {
            return Ok(());
        }
        core.edge.positions.count(Event::HeldBack);
        if self.otherwise == ElseDoc::Stale {
            headers.insert(refuse::STALENESS, HeaderValue::from_static("unknown"));
            trail.consistency("a database server changed while it was read; the answer may be older than the route promises");
            return Ok(());
        }
        Err(cannot_prove())
    }
}

/// The primary and its region, while a confirmed read says that it is one.
fn leased(domain: &Domain, view: &View, core: &Core) -> Option<(Pin, Arc<str>)> {
    let writer = view.writer()?;
    let newest = domain.heartbeat().newest().filter(|newest| newest.position.epoch == writer.epoch)?;
    let age = Duration::from_nanos(core.edge.clock.boot().nanos_since(newest.at));
    let region = Arc::clone(&view.servers.get(writer.server)?.region);
    (age <= LEASE).then_some((writer, region))
}

fn cannot_prove() -> Denial {
    let detail = "no region can prove right now that its answer is as new as this route promises; try again";
    Denial::new(ProblemKind::PositionUnreached, detail).retry_after(1)
}
