//! Finds the route of a request; the only constructors of [`Matched`].

use std::sync::Arc;

use http::Method;
use model::{
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    structure::Route,
};

use crate::{cors, head::Head};

/// A request whose route is known.
#[derive(Debug)]
pub struct Matched<'s> {
    snapshot: &'s Snapshot,
    route: &'s Arc<Route>,
}

impl<'s> Matched<'s> {
    /// The route that another region's gateway has matched, if it is one for this host, path and method here, too: that one may know another
    /// document. Fields that it matched by are not looked at, because its filters may have changed them.
    pub(crate) fn named(snapshot: &'s Snapshot, head: &Head, name: &str) -> Option<Self> {
        let is_it = |route: &Route| *route.name == *name && (route.methods.is_empty() || route.methods.contains(head.method()));
        let route = snapshot.structure.hosts.find(&head.host)?.trie.find(head.path(), |route| is_it(route))?;
        Some(Self { snapshot, route })
    }

    /// The snapshot that the whole request is decided over.
    pub const fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }

    /// The route.
    pub const fn route(&self) -> &'s Arc<Route> {
        self.route
    }
}

/// Finds the most specific route for host, path, method and headers.
///
/// # Errors
/// `host-unknown`, `route-not-found`, or `method-not-allowed` with the methods that would be.
pub fn find<'s>(snapshot: &'s Snapshot, head: &Head) -> Result<Matched<'s>, Denial> {
    let Some(table) = snapshot.structure.hosts.find(&head.host) else {
        return Err(Denial::new(ProblemKind::HostUnknown, "no tenant has this host name"));
    };
    let mut allowed: Vec<Method> = Vec::new();
    let route = table.trie.find(head.path(), |route| fits(route, head, &mut allowed));
    match route {
        Some(route) => Ok(Matched { snapshot, route }),
        None if allowed.is_empty() => Err(Denial::new(ProblemKind::RouteNotFound, "nothing is served under this path")),
        None => Err(Denial::new(ProblemKind::MethodNotAllowed, "the path exists, but not with this method").allowing(allowed)),
    }
}

/// Finds the route that a preflight asks about, if that route has CORS: then the gateway answers, and not the service.
///
/// The most specific route for the method that the browser wants to use. A route that wants fields with certain values fits
/// when the preflight carries them, or says that the request will.
pub fn find_preflight<'s>(snapshot: &'s Snapshot, head: &Head) -> Option<Matched<'s>> {
    let wanted = cors::preflight_method(head)?;
    let table = snapshot.structure.hosts.find(&head.host)?;
    let route = table.trie.find(head.path(), |route| {
        let fields = route.headers.iter().all(|(name, value)| {
            let carried = head.parts.headers.get_all(name).iter().any(|field| field.as_bytes() == &**value);
            carried || cors::requested_fields(head).any(|requested| name.as_str().eq_ignore_ascii_case(requested))
        });
        fields && (route.methods.is_empty() || route.methods.contains(&wanted))
    })?;
    route.filters.as_ref()?.cors.as_ref()?;
    Some(Matched { snapshot, route })
}

fn fits(route: &Route, head: &Head, allowed: &mut Vec<Method>) -> bool {
    let headers = route.headers.iter().all(|(name, value)| head.parts.headers.get_all(name).iter().any(|field| field.as_bytes() == &**value));
    if !headers {
        return false;
    }
    let method = route.methods.is_empty() || route.methods.contains(head.method());
    if !method {
        for method in &route.methods {
            if !allowed.contains(method) {
                allowed.push(method.clone());
            }
        }
    }
    method
}
