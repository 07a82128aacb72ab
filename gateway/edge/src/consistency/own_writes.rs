//! Read your writes: what a client has written or seen is read again, in whatever region, or it is told that it may not be (ADR 0034).
//!
//! [`take`] reads the client's token, [`OwnWrites::choose`] finds the region whose servers have what it stands for, and
//! [`OwnWrites::keep`] puts what this exchange has added into the token of the response.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::SET_COOKIE};
use model::{
    consistency_token::{DomainMark, Positions as Told, Rejected, TenantMark},
    policy::{ElseDoc, ReadModeDoc},
    position::{Lsn, Position},
    problem::{Denial, ProblemKind},
    structure::{Route, Upstream},
};

use super::{Found, LOOK_WITHIN, Places, TOKEN, Unwatched, Waiting, Wish, cookie, known_place, look_again, place};
use crate::{
    head::Head,
    positions::{Domain, Event, Pin, View},
    refuse,
    runtime::Core,
    trail::Trail,
};

/// What a service's own session must have, for services that look themselves.
pub const REQUIRE: HeaderName = HeaderName::from_static("consistency-require");
/// Where a service says that its write is.
pub const POSITION: HeaderName = HeaderName::from_static("consistency-position");
/// How long a write waits for the epoch of a primary that was seen.
const EPOCH_WITHIN: Duration = Duration::from_secs(1);

/// A request to a service whose clients are told positions.
#[derive(Debug)]
pub(crate) struct OwnWrites {
    mark: DomainMark,
    tenant: TenantMark,
    /// `None` where this node does not watch the domain.
    domain: Option<Arc<Domain>>,
    told: Told,
    /// Of a client that has sent two, of two epochs: the one that is not in `told`. It may be lost.
    older: Option<Position>,
    kind: Kind,
    otherwise: ElseDoc,
    wait: Duration,
    /// The client has sent a token.
    has_token: bool,
    is_lost: bool,
    cookie: Cookie,
}

/// Whether the client keeps its token in a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cookie {
    /// The route has none.
    None,
    /// It may, and has sent none.
    Empty,
    /// It does.
    Sent,
    /// It does, and has sent a field as well.
    Beside,
}

#[derive(Debug)]
enum Kind {
    /// The primary before it, if there was one.
    /// `epoch` is what its place counts for if it cannot be had; none while nothing is known.
    Write { before: Option<Pin>, epoch: Option<u32> },
    /// The servers that were chosen; none for one without a token, or without a promise.
    Read { region: Arc<str>, set: Vec<Pin> },
}

/// Takes the client's token out of a request; `None` where it plays no part.
///
/// # Errors
/// `consistency-token-invalid`.
pub(crate) fn take(route: &Route, upstream: &Upstream, head: &mut Head, core: &Core) -> Result<Option<OwnWrites>, Denial> {
    let Some(mark) = upstream.tracked.filter(|_| core.edge.consistency_keys.can_sign()) else { return Ok(None) };
    let is_read = head.is_read() && !route.get_writes;
    let crumb = if route.reads.cookie { cookie::take(&mut head.parts.headers) } else { None };
    let cookie = match crumb {
        Some(_) => Cookie::Sent,
        None if route.reads.cookie => Cookie::Empty,
        None => Cookie::None,
    };
    let token = only(head.parts.headers.get_all(&TOKEN).iter());
    let (mut has_token, mut is_lost, mut older) = (!matches!(token, Ok(None)), false, None);
    // A script can drop its field, and the cookie stays good.
    let cookie = if has_token && cookie == Cookie::Sent { Cookie::Beside } else { cookie };
    let by_browser = crumb.map(|crumb| core.edge.consistency_keys.read(&crumb, route.tenant_mark));
    let told = match token {
        // No part of the promise, whatever it is.
        _ if is_read && route.reads.mode != ReadModeDoc::ReadYourWrites => None,
        Ok(None) => match by_browser {
            None => Some(Told::default()),
            Some(Ok(told)) => {
                has_token = true;
                Some(told)
            }
            Some(Err(Rejected::KeyUnknown)) => {
                lost(core, route.reads.otherwise, cookie)?;
                is_lost = true;
                Some(Told::default())
            }
            // Nobody can take a cookie out of a browser by hand: it is counted, and replaced.
            Some(Err(_)) => {
                core.edge.positions.count(Event::Rejected);
                Some(Told::default())
            }
        },
        Ok(Some(token)) => match core.edge.consistency_keys.read(token.as_bytes(), route.tenant_mark) {
            Ok(mut told) => {
                // Another page may have written since, without a script.
                let by_browser = by_browser.and_then(Result::ok).unwrap_or_default();
                older = told.get(mark).zip(by_browser.get(mark)).filter(|(one, other)| one.epoch != other.epoch).map(|(one, other)| one.min(other));
                for (mark, position) in
                    by_browser.iter().filter(|(mark, position)| told.get(*mark).is_none_or(|known| known < *position)).collect::<Vec<_>>()
                {
                    let _has_room = told.set(mark, Some(position));
                }
                Some(told)
            }
            // Of a key that was taken out of use: what it stood for is not known any more.
            Err(Rejected::KeyUnknown) => {
                lost(core, route.reads.otherwise, cookie)?;
                is_lost = true;
                Some(by_browser.and_then(Result::ok).unwrap_or_default())
            }
            Err(why) => return Err(rejected(core, why)),
        },
        Err(TwoOfThem) => return Err(rejected(core, Rejected::Malformed)),
    };
    head.parts.headers.remove(&TOKEN);
    let kind =
        if is_read { Kind::Read { region: Arc::clone(&core.edge.region), set: Vec::new() } } else { Kind::Write { before: None, epoch: None } };
    Ok(told.map(|told| OwnWrites {
        mark,
        tenant: route.tenant_mark,
        domain: core.edge.positions.domain(mark),
        told,
        kind,
        otherwise: route.reads.otherwise,
        wait: route.reads.wait,
        older,
        has_token,
        is_lost,
        cookie,
    }))
}

struct TwoOfThem;

fn only<'h>(mut values: impl Iterator<Item = &'h HeaderValue>) -> Result<Option<&'h HeaderValue>, TwoOfThem> {
    match (values.next(), values.next()) {
        (only, None) => Ok(only),
        (_, Some(_)) => Err(TwoOfThem),
    }
}

impl OwnWrites {
    /// Finds the region that a request may go to, and waits for one as long as the route says.
    ///
    /// # Errors
    /// `position-lost`, `position-unreached`; `region-unavailable` for a write while the newest primary is not known to be one.
    pub(crate) async fn choose(&mut self, places: Places<'_>, head: &mut Head, core: &Core, trail: &mut Trail) -> Result<Wish, Denial> {
        let Some(domain) = self.domain.clone() else { return self.unwatched(core, trail) };
        if let Kind::Write { .. } = self.kind {
            return self.write(&domain, core).await;
        }
        let mut waiting = Waiting::begin(&domain, self.wait, core);
        loop {
            let view = waiting.view();
            self.look_for_loss(&view, core)?;
            let Some(position) = self.told.get(self.mark) else { return Ok(self.anywhere(&view, places, core)) };
            if position.lsn == Lsn::END
                && let Some(position) = known_place(&domain, &view, position, core).await
            {
                self.put(position, core);
                continue;
            }
            let left = waiting.left(core);
            match place(&view, position, None, places, core, left) {
                Found::Region { region, is_here } => {
                    let Some(set) = view.pins(&region) else { return Err(unreached(core)) };
                    waiting.found(is_here, core);
                    self.kind = Kind::Read { region: Arc::clone(&region), set };
                    require(head, &domain.name, position);
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

    /// Nothing is promised: the nearest region. A client that keeps a token is told what it may have read there.
    fn anywhere(&mut self, view: &View, places: Places<'_>, core: &Core) -> Wish {
        let here = &core.edge.region;
        let is_well = places.group.clusters.iter().any(|cluster| cluster.region == *here && places.may(cluster, core));
        match view.pins(here).filter(|set| self.has_token && is_well && !set.is_empty()) {
            Some(set) => {
                self.kind = Kind::Read { region: Arc::clone(here), set };
                Wish::Region(Arc::clone(here))
            }
            None => Wish::Any,
        }
    }

    /// The node knows nothing about the domain: a promise cannot be kept, and a write's place not be told.
    fn unwatched(&self, core: &Core, trail: &mut Trail) -> Result<Wish, Denial> {
        match self.kind {
            Kind::Write { .. } => Ok(Wish::Usual),
            Kind::Read { .. } if self.told.get(self.mark).is_none() => Ok(Wish::Any),
            Kind::Read { .. } => self.otherwise(core, trail),
        }
    }

    fn otherwise(&self, core: &Core, trail: &mut Trail) -> Result<Wish, Denial> {
        match self.otherwise {
            ElseDoc::Stale => {
                core.edge.positions.count(Event::Stale);
                trail.consistency("no region had the client's last write; served by one that may be behind");
                Ok(Wish::Stale)
            }
            // Where the primary is was looked at before: its region has everything, if it can be proved.
            ElseDoc::Primary | ElseDoc::Refuse => Err(unreached(core)),
        }
    }

    /// Writes go where the primary is, and to none that is older than what the client has seen.
    async fn write(&mut self, domain: &Domain, core: &Core) -> Result<Wish, Denial> {
        let mut changes = domain.changes();
        // For a moment, after a promotion: what is written to a primary whose epoch is not known counts as lost later.
        let is_known = |view: &Arc<View>| view.epoch().is_none() || (view.unknown_primary().is_none() && !view.lacks_writer());
        // What it answers is a guard that holds the view's lock. It must end here: the view is read again below, and whoever reads twice
        // while the monitor waits to write stops this core for good.
        let _is_known = core.within(EPOCH_WITHIN, changes.wait_for(is_known)).await.is_some();
        let view = domain.view();
        self.look_for_loss(&view, core)?;
        let before = view.writer();
        let newest = view.epoch();
        let is_behind = before.is_some() && self.told.get(self.mark).is_some_and(|position| Some(position.epoch) > newest);
        if is_behind || view.lacks_writer() {
            let detail = "the database that takes this service's writes is not known to be the newest one right now";
            return Err(Denial::new(ProblemKind::RegionUnavailable, detail).retry_after(1));
        }
        let epoch = match view.unknown_primary() {
            Some(_) => newest.map(|_| view.epochs.provisional(core.edge.clock.now().wall)),
            None => newest,
        };
        self.kind = Kind::Write { before, epoch };
        // Where the primary is that the token will be of, whatever the snapshot knew when the request began.
        let region = before.and_then(|pin| view.server(pin.server)).map(|shown| Arc::clone(&shown.region));
        Ok(region.map_or(Wish::Usual, Wish::Region))
    }

    /// A position that has not survived is told: strict routes refuse, others drop it and say so.
    fn look_for_loss(&mut self, view: &View, core: &Core) -> Result<(), Denial> {
        let is_lost = |position: Option<Position>| position.is_some_and(|position| view.has_lost(position));
        let (of_told, of_older) = (is_lost(self.told.get(self.mark)), is_lost(self.older));
        if !of_told && !of_older {
            return Ok(());
        }
        lost(core, self.otherwise, self.cookie)?;
        (self.is_lost, self.older) = (true, None);
        if of_told {
            let _there = self.told.set(self.mark, None);
        }
        Ok(())
    }

    /// Puts what the exchange has added into the token, and that into the response.
    ///
    /// # Errors
    /// `position-unreached` when a server of the set that was read is not the same any more: the answer may be of before.
    pub(crate) async fn keep(mut self, upstream: &Upstream, headers: &mut HeaderMap, core: &Core, trail: &mut Trail) -> Result<(), Denial> {
        let supplied =
            headers.remove(&POSITION).filter(|_| upstream.regions.iter().flat_map(|region| &region.targets).all(|target| target.reach.tls.is_some()));
        let mut is_untold = self.domain.is_none() && matches!(self.kind, Kind::Write { .. });
        if let Some(domain) = self.domain.clone() {
            let added = match &self.kind {
                Kind::Write { before, epoch } => {
                    let position = written(&domain, *before, *epoch, supplied, core).await;
                    is_untold = position.is_none();
                    position
                }
                Kind::Read { set, .. } if set.is_empty() => None,
                Kind::Read { region, set } => self.read((&domain, region), set, headers, core, trail).await?,
            };
            if let Some(added) = added {
                let merged = domain.view().merge(self.told.get(self.mark), added);
                if merged.is_lost {
                    core.edge.positions.count(Event::Lost);
                }
                self.is_lost |= merged.is_lost;
                self.put(merged.position, core);
            }
        }
        if is_untold {
            // The token says nothing about this write.
            core.edge.positions.count(Event::Untold);
            headers.insert(refuse::STALENESS, HeaderValue::from_static("unknown"));
        }
        headers.remove(&TOKEN);
        if self.told.iter().next().is_some()
            && let Some(token) = core.edge.consistency_keys.mint(self.tenant, &self.told, core.edge.clock.now().wall)
            && let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(token))
        {
            self.keep_in_cookie(&value, headers);
            headers.insert(TOKEN, value);
        } else if self.cookie == Cookie::Sent {
            headers.append(SET_COOKIE, cookie::CLEARED);
        }
        if self.is_lost {
            headers.insert(refuse::STALENESS, HeaderValue::from_static("lost"));
            trail.consistency("an earlier position of the client has not provably survived a promotion; it was told");
        }
        Ok(())
    }

    /// Gives a browser the token of a write to keep. That of a read is not kept: an answer that was long under way would put an earlier one in
    /// the place of what a write has set meanwhile.
    fn keep_in_cookie(&self, token: &HeaderValue, headers: &mut HeaderMap) {
        let is_news = matches!(self.kind, Kind::Write { .. }) || self.is_lost && self.cookie != Cookie::Beside;
        if self.cookie != Cookie::None
            && is_news
            && let Some(field) = token.to_str().ok().and_then(cookie::field)
        {
            headers.append(SET_COOKIE, field);
        }
    }

    /// Takes a position into the token; where there is no room, in the place of a domain that is not watched any more. A document has no
    /// more domains than there is room.
    fn put(&mut self, position: Position, core: &Core) {
        if self.told.set(self.mark, Some(position)) {
            return;
        }
        let gone = self.told.iter().map(|(mark, _)| mark).find(|mark| core.edge.positions.domain(*mark).is_none());
        if gone.is_none_or(|gone| !self.told.set(gone, None)) || !self.told.set(self.mark, Some(position)) {
            tracing::error!("a consistency token has no room for another domain; its client may miss a write of its own");
        }
    }

    /// Looks at the set again over the same connections: what was read is not more than it has now, and was read of those servers.
    async fn read(
        &self,
        (domain, region): (&Domain, &str),
        set: &[Pin],
        headers: &mut HeaderMap,
        core: &Core,
        trail: &mut Trail,
    ) -> Result<Option<Position>, Denial> {
        if let Some(positions) = look_again(domain, region, set, core).await {
            return Ok(positions.into_iter().max());
        }
        if self.told.get(self.mark).is_none() {
            // Nothing was promised; the token says nothing about this read.
            return Ok(None);
        }
        core.edge.positions.count(Event::HeldBack);
        if self.otherwise == ElseDoc::Stale {
            headers.insert(refuse::STALENESS, HeaderValue::from_static("unknown"));
            trail.consistency("a database server changed while it was read; the answer may be behind");
            return Ok(None);
        }
        Err(cannot_prove())
    }
}

/// The position of a write that has returned: the primary's that it went to, if that is the same still and the only one around; else one
/// that nothing but its epoch's primary has. `None` while nothing is known.
async fn written(domain: &Domain, before: Option<Pin>, epoch: Option<u32>, supplied: Option<HeaderValue>, core: &Core) -> Option<Position> {
    let unknown = before.map(|pin| pin.epoch).or(epoch).map(|epoch| Position { epoch, lsn: Lsn::END });
    let view = domain.view();
    let known = if let Some(pin) = before {
        // The service may know where its own commit is.
        if let Some(lsn) = supplied.and_then(|value| supplied_place(&view, pin, &value)) {
            (view.writer() == Some(pin)).then_some(Position { epoch: pin.epoch, lsn })
        } else {
            // Another server of the region may have been promoted, and the service have moved there before it was seen here.
            let region = view.server(pin.server).map(|shown| Arc::clone(&shown.region));
            let asked = view.with_others(region.as_deref().unwrap_or_default(), &[pin]);
            let shown = core.within(LOOK_WITHIN, domain.ask(&asked)).await.unwrap_or_default();
            let is_alone = shown.iter().flatten().filter(|shown| shown.is_primary).count() == 1;
            pin.still(shown.first().and_then(Option::as_ref).filter(|shown| shown.is_primary && is_alone))
        }
    } else {
        None
    };
    if known.is_some() {
        core.edge.positions.count(Event::Told);
    } else if unknown.is_some() {
        core.edge.positions.count(Event::Untold);
    }
    known.or(unknown)
}

/// `"16/B374D848";timeline=2`: a place in the log, and the timeline that it is of.
fn supplied_place(view: &View, pin: Pin, value: &HeaderValue) -> Option<Lsn> {
    let (place, timeline) = value.to_str().ok()?.split_once(";timeline=")?;
    let epoch = view.epochs.get(pin.epoch)?;
    let is_its = timeline.parse() == Ok(epoch.writer.timeline);
    Lsn::parse(place.strip_prefix('"')?.strip_suffix('"')?).filter(|_| is_its)
}

/// Tells the service what its session must have: `"shop";epoch=2;lsn="16/B374D848"` (an item of RFC 9651).
fn require(head: &mut Head, domain: &str, position: Position) {
    // A place that nobody knows is the primary's alone, and no number.
    if position.lsn == Lsn::END {
        return;
    }
    let text = format!("\"{domain}\";epoch={};lsn=\"{}\"", position.epoch, position.lsn);
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        head.parts.headers.insert(REQUIRE, value);
    }
}

/// Counts a loss.
///
/// # Errors
/// `position-lost` where the route refuses.
fn lost(core: &Core, otherwise: ElseDoc, cookie: Cookie) -> Result<(), Denial> {
    core.edge.positions.count(Event::Lost);
    if otherwise == ElseDoc::Refuse {
        let detail = "what you have written or read may have been lost when another database server took over; begin again without the token";
        return Err(Denial::new(ProblemKind::PositionLost, detail).forgetting_token(cookie == Cookie::Sent));
    }
    Ok(())
}

fn rejected(core: &Core, why: Rejected) -> Denial {
    core.edge.positions.count(Event::Rejected);
    let detail = match why {
        Rejected::Malformed => "Consistency-Token is not a token of this gateway; send the text of the last response, or none",
        Rejected::KeyUnknown => "the key that the Consistency-Token was made with is not in use any more; send none",
        Rejected::Forged => "the Consistency-Token was altered, or not made here; send the text of the last response, or none",
        Rejected::Foreign => "the Consistency-Token belongs to another tenant; send none",
    };
    Denial::new(ProblemKind::ConsistencyTokenInvalid, detail)
}

fn unreached(core: &Core) -> Denial {
    core.edge.positions.count(Event::Unreached);
    cannot_prove()
}

fn cannot_prove() -> Denial {
    let detail = "no region has, or can prove that it has, what you have written or read; try again";
    Denial::new(ProblemKind::PositionUnreached, detail).retry_after(1)
}
