//! The client's address behind trusted hops: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! A field is read from its right end, because every hop appends and only the last ones are trusted: the first address that
//! is no trusted hop is the client, whatever stands left of it. The field itself goes no further, see [`crate::fields`].

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{certificate::Shown, network::Networks, tls::Peer};

/// Hops that are looked at: longer chains are nobody's network, and an attacker's field is not walked for ever.
const HOPS_MAX: usize = 32;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which field tells the client's address. One, never both: a hop that appends to one passes the other as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A list of addresses.
    XForwardedFor,
    /// RFC 7239 section 4, parameter `for`.
    Forwarded,
}

/// Trusted hops, and the field that they write.
#[derive(Debug, Clone)]
pub struct TrustedHops {
    field: Field,
    networks: Networks,
}

impl TrustedHops {
    /// Trusts these networks to append to this field.
    pub const fn new(field: Field, networks: Networks) -> Self {
        Self { field, networks }
    }

    /// Whether an address is a trusted hop.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// Who a request comes from: the connection's peer, or behind trusted hops the client that they name. What the hop has proved about
    /// itself is not the client's, whoever that turns out to be.
    pub fn client(&self, peer: &Arc<Peer>, headers: &HeaderMap) -> Arc<Peer> {
        if !self.trusts(peer.address) {
            return Arc::clone(peer);
        }
        let address = self.address(peer.address, headers);
        let is_bare = matches!(peer.shown, Shown::NotAsked | Shown::OfHop);
        if address == peer.address && is_bare { Arc::clone(peer) } else { Arc::new(peer.at(address)) }
    }

    /// Says which client a request is passed on for, in place of what the field said. For a sender that is a trusted hop.
    pub fn tell(&self, client: IpAddr, headers: &mut HeaderMap) {
        let text = match (self.field, client.to_canonical()) {
            (Field::XForwardedFor, address) => address.to_string(),
            (Field::Forwarded, IpAddr::V4(address)) => format!("for={address}"),
            (Field::Forwarded, IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        };
        headers.remove(self.name());
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(self.name(), value);
        }
    }

    const fn name(&self) -> HeaderName {
        match self.field {
            Field::XForwardedFor => X_FORWARDED_FOR,
            Field::Forwarded => header::FORWARDED,
        }
    }

    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let mut left = HOPS_MAX;
        for value in headers.get_all(self.name()).iter().rev() {
            let Ok(text) = value.to_str() else { return client };
            for element in elements_from_the_right(text) {
                let named = match self.field {
                    Field::XForwardedFor => node(element),
                    Field::Forwarded => forwarded_for(element).and_then(node),
                };
                // What is unknown, hidden or garbled ends what can be known: the hop that wrote it is the last one.
                let Some(address) = named else { return client };
                client = address;
                left -= 1;
                if left == 0 || !self.trusts(address) {
                    return client;
                }
            }
        }
        client
    }
}

/// Elements of a list, last first. Commas in quoted strings separate nothing (RFC 9110 section 5.6.1).
fn elements_from_the_right(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut in_quotes = false;
        let comma = text.char_indices().rev().find(|(_, c)| {
            in_quotes ^= *c == '"';
            *c == ',' && !in_quotes
        });
        let (before, element) = match comma {
            Some((at, _)) => (text.get(..at), text.get(at + 1..)),
            None => (None, Some(text)),
        };
        rest = before;
        element.map(str::trim)
    })
    .filter(|element| !element.is_empty())
}

/// The `for` parameter of one element (RFC 7239 section 4): exactly one.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => Some(value),
    }
}

/// A node (RFC 7239 section 6): an address, IPv6 ones in brackets where a port may follow.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok().map(IpAddr::from)?, after)
    } else {
        let (address, after) = text.split_at(text.find(':')?);
        (address.parse::<Ipv4Addr>().ok().map(IpAddr::from)?, after)
    };
    let is_port = |text: &str| !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then(|| address.to_canonical())
}

#[cfg(test)]
mod tests;
