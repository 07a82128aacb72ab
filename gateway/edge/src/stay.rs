//! Whether a caller who was let in for something that lasts may stay: decided again at each publication, and while keys cannot be confirmed.
//!
//! WebSockets ([`crate::websocket`]) and streamed responses ([`streams`]) go by it (ADR 0014).

pub mod streams;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use http::Method;
use model::{
    problem::{Denial, ProblemKind},
    residency::Within,
    snapshot::Snapshot,
    structure::{Route, Upstream},
    time::Now,
};
use parking_lot::Mutex;

use crate::{
    authenticate::{self, Principal},
    authorize::{self, Use},
    certificate::Shown,
    runtime::Edge,
};

/// Who was let in, and by what.
#[derive(Debug)]
pub(crate) struct Stay {
    route: Mutex<Arc<Route>>,
    principal: Option<Principal>,
    source: Source,
    method: Method,
    server: Option<Server>,
    /// The generation of the snapshot that the caller was last looked up in; 0 before the first time.
    checked: AtomicU64,
    expires_at: AtomicI64,
}

/// Where a caller comes from, as far as a key can be bound to it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The client's address.
    pub(crate) address: IpAddr,
    /// What its connection's handshake showed.
    pub(crate) shown: Shown,
}

/// Where what a caller gets comes from.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The region.
    pub(crate) region: Arc<str>,
    /// The name of the service.
    pub(crate) upstream: Arc<str>,
}

/// Why a caller may not stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Over {
    /// The key is revoked or expired, or its owner is gone.
    Revoked = 1,
    /// The route is gone, or not this caller's any more.
    Withdrawn,
    /// Keys cannot be confirmed.
    Stale,
    /// The region that it comes from may not serve it any more.
    Misplaced,
}

impl Over {
    const ALL: [Self; 4] = [Self::Revoked, Self::Withdrawn, Self::Stale, Self::Misplaced];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|over| *over as u8 == number)
    }

    /// What a refusal for this reason would have been.
    pub(crate) fn denial(self) -> Denial {
        match self {
            Self::Revoked => Denial::new(ProblemKind::CredentialsInvalid, "the credential was revoked, or is over, while the response streamed"),
            Self::Withdrawn => Denial::new(ProblemKind::RouteForbidden, "the caller may not use the route any more"),
            Self::Stale => Denial::new(ProblemKind::AuthorityStale, "this region cannot confirm right now that keys are still valid; try again"),
            Self::Misplaced => Denial::new(
                ProblemKind::ResidencyMismatch,
                "the region that the response comes from is none any more in which these data may lie; try again",
            ),
        }
    }
}

/// The routes of a snapshot by name; made when somebody needs it.
#[derive(Debug, Default)]
pub(crate) struct Routes<'s>(Option<HashMap<&'s str, &'s Arc<Route>>>);

impl<'s> Routes<'s> {
    fn get(&mut self, snapshot: &'s Snapshot, name: &str) -> Option<&'s Arc<Route>> {
        let by_name = self.0.get_or_insert_with(|| snapshot.structure.routes.iter().map(|route| (&*route.name, route)).collect());
        by_name.get(name).copied()
    }
}

impl Stay {
    /// What has to be remembered of whoever is let in.
    pub(crate) fn new(route: &Arc<Route>, principal: Option<Principal>, source: Source, method: Method, server: Option<Server>) -> Self {
        let (checked, expires_at) = (AtomicU64::new(0), AtomicI64::new(i64::MAX));
        Self { route: Mutex::new(Arc::clone(route)), principal, source, method, server, checked, expires_at }
    }

    /// Says that the snapshot of this generation is the one that let the caller in.
    pub(crate) fn known_in(self, generation: u64) -> Self {
        self.checked.store(generation, Ordering::Relaxed);
        self
    }

    /// Decides again. The generation has to be read before the snapshot: one that is published in between is looked at again.
    /// `takes`: what the route has to be besides.
    pub(crate) fn over<'s>(
        &self,
        edge: &Edge,
        (generation, snapshot): (u64, &'s Snapshot),
        routes: &mut Routes<'s>,
        takes: impl Fn(&Route) -> bool,
        now: Now,
    ) -> Option<Over> {
        if self.expires_at.load(Ordering::Relaxed) <= now.wall.0 {
            return Some(Over::Revoked);
        }
        let has_changed = self.checked.swap(generation, Ordering::Relaxed) != generation;
        let refused = || self.refused(snapshot, routes, takes, now);
        has_changed.then(refused).flatten().or_else(|| self.unconfirmed(edge, snapshot, now))
    }

    /// Decides once more for who has been let in a moment ago: nothing is looked for by name while nothing was published.
    pub(crate) fn at_once(&self, edge: &Edge, (generation, snapshot): (u64, &Snapshot), now: Now) -> Option<Over> {
        if self.checked.load(Ordering::Relaxed) != generation {
            return self.over(edge, (generation, snapshot), &mut Routes::default(), |_| true, now);
        }
        let route = Arc::clone(&self.route.lock());
        self.judge(&route, snapshot, now).or_else(|| self.unconfirmed(edge, snapshot, now))
    }

    /// Over a snapshot that has changed: the route of the same name, and the key.
    fn refused<'s>(&self, snapshot: &'s Snapshot, routes: &mut Routes<'s>, takes: impl Fn(&Route) -> bool, now: Now) -> Option<Over> {
        let mut own = self.route.lock();
        let Some(route) = routes.get(snapshot, &own.name).filter(|route| route.tenant == own.tenant && takes(route)) else {
            return Some(Over::Withdrawn);
        };
        *own = Arc::clone(route);
        drop(own);
        self.judge(route, snapshot, now)
    }

    /// The caller, by a route of this snapshot.
    fn judge(&self, route: &Arc<Route>, snapshot: &Snapshot, now: Now) -> Option<Over> {
        match &self.principal {
            _ if route.auth.is_none() => self.misplaced(route, Within::default()),
            None => Some(Over::Withdrawn),
            Some(principal) => {
                if !authenticate::is_taken(route, principal) {
                    return Some(Over::Withdrawn);
                }
                let Some((principal, expires_at)) = authenticate::again(snapshot, principal, &route.tenant, now) else {
                    return Some(Over::Revoked);
                };
                let is_bound = principal.key().and_then(|proof| proof.key.restrictions()).is_some_and(|bound| bound.certificates.is_some());
                let certificate = self.source.shown.certificate().filter(|_| is_bound).map(|shown| shown.facts().ends_after(now.wall));
                self.expires_at.store(certificate.map_or(expires_at, |end| end.min(expires_at)).0, Ordering::Relaxed);
                let usage = Use { method: self.method.as_str(), address: self.source.address, shown: &self.source.shown, now };
                let withdrawn = authorize::may_use(route, &principal, usage).err().map(|_| Over::Withdrawn);
                withdrawn.or_else(|| self.misplaced(route, principal.within(snapshot)))
            }
        }
    }

    /// Whether the region that serves may serve still: by the route, by its service of that name, and by the caller.
    fn misplaced(&self, route: &Route, within: Within<'_>) -> Option<Over> {
        let Server { region, upstream } = self.server.as_ref()?;
        let is_lawful = route.residency.allows(region) && within.allows(region);
        let serves = |service: &&Arc<Upstream>| service.name == *upstream;
        let by_service = || route.services().find(serves).is_none_or(|service| service.residency.allows(region));
        (!is_lawful || !by_service()).then_some(Over::Misplaced)
    }

    /// What the lease on the knowledge about keys says, by the route's policy.
    fn unconfirmed(&self, edge: &Edge, snapshot: &Snapshot, now: Now) -> Option<Over> {
        let route = self.route.lock();
        let is_open = route.auth.is_none() || edge.lease.check(route.keys, self.method.is_safe(), snapshot, now).is_ok();
        (!is_open).then_some(Over::Stale)
    }
}

#[cfg(test)]
mod tests;
