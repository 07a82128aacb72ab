//! Decides whether the caller may use the route; the only constructors of [`Permit`].

use std::{net::IpAddr, sync::Arc};

use http::HeaderValue;
use model::{
    certificate::ClientCertificate,
    policy::OnStaleDoc,
    problem::{Denial, ProblemKind},
    residency::Within,
    restriction::{Facts, Restricted, Restrictions},
    snapshot::Snapshot,
    structure::{Plan, Route},
    time::Now,
};

use crate::{
    authenticate::{self, Authenticated, Principal},
    certificate::Shown,
    route::Matched,
    runtime::Edge,
};

/// The right to use a route.
#[derive(Debug)]
pub struct Permit<'s> {
    matched: Matched<'s>,
    principal: Option<Principal>,
    crossed: Option<Box<Vouched>>,
}

/// What another region's gateway says about the caller that it knows.
#[derive(Debug)]
struct Vouched(Option<HeaderValue>);

impl<'s> Permit<'s> {
    /// The right to use a route that another region's gateway has granted; `principal` is what it tells the service about the caller.
    pub(crate) fn crossed(matched: Matched<'s>, principal: Option<HeaderValue>) -> Self {
        Self { matched, principal: None, crossed: Some(Box::new(Vouched(principal))) }
    }

    /// Whether another region's gateway has granted it.
    pub(crate) const fn is_crossed(&self) -> bool {
        self.crossed.is_some()
    }

    /// What the gateway that has granted it tells the service about the caller.
    pub(crate) fn vouched(&self) -> Option<&HeaderValue> {
        self.crossed.as_ref()?.0.as_ref()
    }

    /// The route.
    pub const fn route(&self) -> &'s Arc<Route> {
        self.matched.route()
    }

    /// The snapshot that the whole request is decided over.
    pub const fn snapshot(&self) -> &'s Snapshot {
        self.matched.snapshot()
    }

    /// Who calls; `None` on routes without authentication.
    pub const fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The regions in which the caller's data may lie; any where nobody is asked who calls.
    pub fn within(&self) -> Within<'s> {
        self.principal.as_ref().map_or_else(Within::default, |principal| principal.within(self.matched.snapshot()))
    }

    /// Whether responses to the caller may be kept in a region.
    pub fn may_keep_in(&self, region: &str) -> bool {
        self.route().may_lie_in(region) && self.within().allows(region)
    }

    /// The caller's plan.
    pub fn plan(&self) -> Option<&'s Plan> {
        let name = self.principal.as_ref()?.plan()?;
        self.matched.snapshot().structure.plans.get(name)
    }
}

/// How a request comes, as far as a key can be bound to it.
#[derive(Debug, Clone, Copy)]
pub struct Use<'r> {
    /// Its method; the GET that it began with for a WebSocket.
    pub method: &'r str,
    /// The client's address.
    pub address: IpAddr,
    /// What its connection's handshake showed.
    pub shown: &'r Shown,
    /// When it is used.
    pub now: Now,
}

/// Checks a caller who is known; one that need not be passes.
///
/// # Errors
/// `key-restricted`, `certificate-not-asked`, `route-forbidden` or `scope-insufficient`.
pub fn check<'s>(authenticated: Authenticated<'s>, usage: Use<'_>) -> Result<Permit<'s>, Denial> {
    let (matched, principal) = authenticated.into_parts();
    let route = matched.route();
    if let Some(principal) = &principal {
        may_use(route, principal, usage)?;
    }
    Ok(Permit { matched, principal, crossed: None })
}

/// Checks what the key is bound to, who may use the route, then scopes.
///
/// # Errors
/// `key-restricted`, `certificate-not-asked`, `route-forbidden` or `scope-insufficient`.
pub fn may_use(route: &Route, principal: &Principal, usage: Use<'_>) -> Result<(), Denial> {
    if let Some(bound) = principal.key().and_then(|proof| proof.key.restrictions()) {
        within(bound, route, usage)?;
    }
    let allowed = route
        .allow
        .as_ref()
        .is_none_or(|allow| allow.consumers.contains(&*principal.consumer.name) || allow.applications.contains(&*principal.application.name));
    if !allowed {
        return Err(Denial::new(ProblemKind::RouteForbidden, "the credential is valid, but its owner may not use this route"));
    }
    if let Some(missing) = route.scopes.iter().find(|scope| !principal.scopes.contains(scope)) {
        return Err(Denial::new(ProblemKind::ScopeInsufficient, format!("the credential lacks the scope `{missing}`")));
    }
    Ok(())
}

/// Checks what the key is bound to.
fn within(bound: &Restrictions, route: &Route, usage: Use<'_>) -> Result<(), Denial> {
    // One that has ended proves nothing any more, although its key is held.
    let certificate = usage.shown.certificate().map(|shown| shown.facts()).filter(|facts| facts.is_within_dates(usage.now.wall));
    let certificate = certificate.map(ClientCertificate::thumbprint);
    let text = match bound.forbids(Facts { route: &route.name, method: usage.method, address: usage.address, certificate }) {
        None => return Ok(()),
        Some(Restricted::Route) => "the key may not be used on this route",
        Some(Restricted::Method) => "the key may not be used with this method",
        Some(Restricted::Address) => "the key may not be used from this address",
        // Another connection can help where the host asks; where it does not, none can.
        Some(Restricted::Certificate) if route.asks_certificate && matches!(usage.shown, Shown::NotAsked) => {
            return Err(authenticate::not_asked());
        }
        Some(Restricted::Certificate) => "the key may only be used over a connection with its client certificate",
    };
    Err(Denial::new(ProblemKind::KeyRestricted, text))
}

/// Checks again, just before dispatch and before each later try, that the authority behind the decision is still fresh: neither a slow body nor a
/// slow service must outlive it.
///
/// # Errors
/// `authority-stale`; `credentials-invalid` when the key was revoked while the body came in, `residency-mismatch` when the caller has got other
/// labels: the region was chosen by those before.
pub fn still_fresh(permit: &Permit<'_>, edge: &Edge, is_read: bool, now: Now) -> Result<(), Denial> {
    if permit.route().auth.is_none() {
        return Ok(());
    }
    edge.lease.check(permit.route().keys, is_read, permit.snapshot(), now)?;
    let Some(principal) = permit.principal() else { return Ok(()) };
    let is_over = principal.tokens_until().is_some_and(|until| now.wall >= until);
    if is_over {
        return Err(Denial::new(ProblemKind::CredentialsInvalid, "the token expired meanwhile"));
    }
    // Only `deny` routes promise this bound for keys.
    let is_strict = permit.route().keys.on_stale == OnStaleDoc::Deny;
    let Some(current) = edge.current.load() else { return Ok(()) };
    // Labels are promised to everybody; while nothing was published there are no others.
    if !is_strict && std::ptr::eq(&raw const *current, permit.snapshot()) {
        return Ok(());
    }
    if is_strict && !authenticate::is_still_valid(&current, principal, now) {
        return Err(Denial::new(ProblemKind::CredentialsInvalid, "the credential was revoked meanwhile"));
    }
    let consumer = current.authority.consumers.get(&principal.consumer_id);
    if consumer.is_some_and(|consumer| consumer.residency != principal.consumer.residency) {
        let text = "where these data may lie has changed meanwhile; try again";
        return Err(Denial::new(ProblemKind::ResidencyMismatch, text).retry_after(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
