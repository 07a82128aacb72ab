//! Who is let in: by handshakes begun and connections held, each counted by address.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use rustls::ServerConfig;

use super::{
    places::{Place, Places},
    proxy::ProxyProtocol,
};

/// Limits of the acceptors, from the node's file.
#[derive(Debug)]
pub struct AcceptLimits {
    /// Handshakes a second that one address may begin, with twice as many at once.
    pub handshakes_per_second: NonZeroU32,
    /// Connections that one address may hold at once.
    pub connections_per_address: Option<NonZeroU32>,
}

/// How handshakes are made. The two have nothing in common by which a session of one could be resumed in the other.
#[derive(Debug)]
pub struct Handshakes {
    /// For hosts that need no client certificate.
    pub usual: Arc<ServerConfig>,
    /// For hosts that do.
    pub asking: Arc<ServerConfig>,
}

impl Handshakes {
    /// For a listener where nobody is asked.
    pub fn without_clients(usual: Arc<ServerConfig>) -> Self {
        Self { asking: Arc::clone(&usual), usual }
    }
}

/// What all cores' acceptors share.
#[derive(Debug)]
pub struct Acceptors {
    /// The TLS configurations for new connections.
    pub(super) tls: Handshakes,
    pub(super) handshakes: DefaultKeyedRateLimiter<IpAddr>,
    places: Option<Arc<Places>>,
    pub(super) proxy: Option<ProxyProtocol>,
}

impl Acceptors {
    /// Makes the shared part.
    pub fn new(tls: Handshakes, limits: &AcceptLimits, proxy: Option<ProxyProtocol>) -> Arc<Self> {
        let per_second = limits.handshakes_per_second;
        let quota = Quota::per_second(per_second).allow_burst(per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1)));
        let places = limits.connections_per_address.map(Places::new);
        Arc::new(Self { tls, handshakes: RateLimiter::keyed(quota), places, proxy })
    }

    /// Lets a client's connection in; `None` when its address begins too many, or holds too many.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Entered> {
        self.handshakes.check_key(&address).ok()?;
        let place = match &self.places {
            None => None,
            Some(places) => Some(places.take(address)?),
        };
        Some(Entered { address, _place: place })
    }

    /// Whether a peer is a balancer that says whose connections it passes on.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.from.contains(address))
    }
}

/// A client's connection that was let in: from where, and its place among those of its address.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) address: IpAddr,
    _place: Option<Place>,
}

/// A connection as it was accepted.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A client's own.
    Client(Entered),
    /// From a balancer at this address; whose it is, its header says.
    Proxy(IpAddr),
}
