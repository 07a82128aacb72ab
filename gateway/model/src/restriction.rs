//! Where a key may be used, beyond its scopes.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::certificate::Thumbprint;

/// Entries that one list of a key may have: what a person can still read, and a walk that costs nothing.
pub const ENTRIES_MAX: usize = 32;

/// What a key is bound to. What is absent does not restrict; what is empty allows nothing.
///
/// A member that this version does not know makes the row unreadable, so that a restriction is never skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restrictions {
    /// Names of routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Box<str>>>,
    /// Request methods, in their exact case (RFC 9110 section 9.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<Box<str>>>,
    /// Addresses that it may come from (CIDR).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<IpNet>>,
    /// Client certificates, one of which its connection must have shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<Thumbprint>>,
}

/// What a request has that a key can be bound to.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// The name of its route.
    pub route: &'f str,
    /// Its method.
    pub method: &'f str,
    /// The client's address.
    pub address: IpAddr,
    /// The certificate whose key the client has proved to hold.
    pub certificate: Option<Thumbprint>,
}

/// No restriction at all.
pub static UNRESTRICTED: Restrictions = Restrictions { routes: None, methods: None, addresses: None, certificates: None };

impl Restrictions {
    /// True when nothing is restricted.
    pub const fn is_none(&self) -> bool {
        self.routes.is_none() && self.methods.is_none() && self.addresses.is_none() && self.certificates.is_none()
    }

    /// What forbids this use; `None` when nothing does.
    pub fn forbids(&self, facts: Facts<'_>) -> Option<Restricted> {
        let lacks = |list: &Option<Vec<Box<str>>>, value: &str| list.as_ref().is_some_and(|list| !list.iter().any(|entry| **entry == *value));
        if lacks(&self.routes, facts.route) {
            return Some(Restricted::Route);
        }
        if lacks(&self.methods, facts.method) {
            return Some(Restricted::Method);
        }
        // An IPv4 client of a dual-stack listener must not slip past an IPv4 range, nor be shut out by it.
        let address = facts.address.to_canonical();
        let outside = self.addresses.as_ref().is_some_and(|ranges| !ranges.iter().any(|range| range.contains(&address)));
        if outside {
            return Some(Restricted::Address);
        }
        // Thumbprints are public: there is no secret in the time that a comparison takes.
        let holds = |list: &Vec<Thumbprint>| facts.certificate.is_some_and(|shown| list.contains(&shown));
        self.certificates.as_ref().is_some_and(|list| !holds(list)).then_some(Restricted::Certificate)
    }
}

/// What a use broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restricted {
    /// The key is not for this route.
    Route,
    /// The key is not for this method.
    Method,
    /// The key is not for this client address.
    Address,
    /// The connection has shown none of the key's certificates.
    Certificate,
}

#[cfg(test)]
mod tests;
