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
    structure::{Reads, Route, Upstream},
    time::BootNanos,
};

use super::{Found, LOOK_WITHIN, Places, TOKEN, Unwatched, Waiting, Wish, known_place, look_again, place};
use crate::{
    head::Head,
    lease::DRIFT,
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
    /// Only the region that takes the writes may answer.
    goes_to_writer: bool,
    /// The servers that were chosen; none where nothing is promised after all.
    set: Vec<Pin>,
    /// Theirs.
    region: Option<Arc<str>>,
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
    let mark = upstream.beating.filter(|_| head.is_read())?;
    let bound = match route.reads.mode {
        ReadModeDoc::Bounded => Bound::Within(route.reads.max),
        ReadModeDoc::Strong => Bound::Strong { place: None },
        ReadModeDoc::ReadYourWrites | ReadModeDoc::Eventual => return None,
    };
    head.parts.headers.remove(&TOKEN);
    let domain = core.edge.positions.domain(mark);
    let Reads { otherwise, wait, .. } = route.reads;
    Some(Newness { domain, bound, otherwise, wait, goes_to_writer: route.get_writes, set: Vec::new(), region: None })
}

impl Newness {
    /// Finds the region that may answer, and waits for it as long as the route says.
    ///
    /// # Errors
    /// `position-unreached`.
    pub(super) async fn choose(&mut self, places: Places<'_>, core: &Core, trail: &mut Trail) -> Result<Wish, Denial> {
        let Some(domain) = self.domain.clone() else { return self.otherwise(core, trail) };
        let came = trail.started().boot;
        let mut waiting = Waiting::begin(&domain, self.wait, core);
        loop {
            let view = waiting.view();
            // To wait would help nobody: the choice of the region refuses.
            if self.otherwise != ElseDoc::Stale
                && let Some(only) = self.only(&domain, &view, core).filter(|only| !places.lawful.allows(only))
            {
                return Ok(Wish::Region(only));
            }
            if self.learn_place(&domain, &view, core).await {
                // What was seen before is older than the place.
                waiting.begin_again(core);
                continue;
            }
            let left = waiting.left(core);
            let found = match self.needed(&domain, &view, came, core) {
                Some((position, only)) => place(&view, position, only.as_deref(), places, core, left),
                None => Found::Nobody,
            };
            match found {
                Found::Region { region, is_here } => {
                    let Some(set) = view.pins(&region) else { return self.otherwise(core, trail) };
                    waiting.found(is_here, core);
                    (self.set, self.region) = (set, Some(Arc::clone(&region)));
                    return Ok(Wish::Region(region));
                }
                Found::Nobody if left.is_zero() => return self.otherwise(core, trail),
                Found::Later | Found::Nobody => {
                    if let Err(Unwatched) = waiting.changed(core).await {
                        return self.otherwise(core, trail);
                    }
                }
            }
        }
    }

    /// Asks for the primary's place where a strong read needs one: standbys are read beside it. True when it was found; then those standbys
    /// were asked, too, because what they have shown before may be less.
    async fn learn_place(&mut self, domain: &Domain, view: &View, core: &Core) -> bool {
        let Bound::Strong { place } = &mut self.bound else { return false };
        let Some((writer, region)) = leased(domain, view, core).filter(|(writer, _)| !view.is_read_alone(*writer)) else { return false };
        if place.is_some_and(|place| place.epoch == writer.epoch) {
            return false;
        }
        *place = known_place(domain, view, Position { epoch: writer.epoch, lsn: Lsn(0) }, core).await;
        if place.is_some()
            && let Some(set) = view.pins(&region)
        {
            let _shown = core.within(LOOK_WITHIN, domain.ask(&set)).await;
        }
        place.is_some()
    }

    /// The region that alone may answer, if only one may and it is known.
    fn only(&self, domain: &Domain, view: &View, core: &Core) -> Option<Arc<str>> {
        match self.bound {
            Bound::Within(_) if self.goes_to_writer => region_of(view, view.writer()?),
            Bound::Within(_) => None,
            Bound::Strong { .. } => leased(domain, view, core).map(|(_, region)| region),
        }
    }

    /// What servers must have, and the region that they must be of if only one may answer; `None` while that cannot be said.
    fn needed(&self, domain: &Domain, view: &View, came: BootNanos, core: &Core) -> Option<(Position, Option<Arc<str>>)> {
        match self.bound {
            Bound::Within(bound) => {
                let position = domain.heartbeat().since(oldest(came, bound), |position| view.has_lost(position))?;
                let only = if self.goes_to_writer { Some(region_of(view, view.writer()?)?) } else { None };
                Some((position, only))
            }
            Bound::Strong { place } => {
                let (writer, region) = leased(domain, view, core)?;
                let is_enough = |place: &Position| place.epoch == writer.epoch;
                let start = view.is_read_alone(writer).then_some(Position { epoch: writer.epoch, lsn: Lsn(0) });
                Some((start.or(place.filter(is_enough))?, Some(region)))
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
        let is_still = look_again(&domain, self.region.as_deref().unwrap_or_default(), &self.set, core).await.is_some()
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
        // What others call a write may have been done.
        Err(if self.goes_to_writer { cannot_prove().maybe_processed() } else { cannot_prove() })
    }
}

/// When a confirmed read must have begun at the earliest. This node's clock may lose a thousandth: so much of the bound is given away.
fn oldest(came: BootNanos, bound: Duration) -> BootNanos {
    let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    BootNanos(came.0.saturating_sub(bound - bound / DRIFT))
}

fn region_of(view: &View, pin: Pin) -> Option<Arc<str>> {
    view.server(pin.server).map(|shown| Arc::clone(&shown.region))
}

/// The primary and its region, while a confirmed read says that it is one.
fn leased(domain: &Domain, view: &View, core: &Core) -> Option<(Pin, Arc<str>)> {
    let writer = view.writer()?;
    let newest = domain.heartbeat().newest().filter(|newest| newest.position.epoch == writer.epoch)?;
    let age = Duration::from_nanos(core.edge.clock.boot().nanos_since(newest.at));
    let region = region_of(view, writer)?;
    (age <= LEASE).then_some((writer, region))
}

fn cannot_prove() -> Denial {
    let detail = "no region can prove right now that its answer is as new as this route promises; try again";
    Denial::new(ProblemKind::PositionUnreached, detail).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_loses_a_thousandth_makes_no_answer_older_than_its_bound() {
        let (came, bound) = (BootNanos(5_000_000_000_000), Duration::from_hours(1));
        let by_this_clock = came.0 - oldest(came, bound).0;
        // In truth so much more may have gone by.
        assert!(by_this_clock + by_this_clock / DRIFT <= 3_600_000_000_000 && by_this_clock > 3_590_000_000_000);
        assert_eq!(oldest(BootNanos(10), bound), BootNanos(0), "the machine has just started");
    }
}
