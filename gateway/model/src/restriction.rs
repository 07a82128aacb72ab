//! Where a key may be used, beyond its scopes.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

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
}

/// No restriction at all.
pub static UNRESTRICTED: Restrictions = Restrictions { routes: None, methods: None, addresses: None };

impl Restrictions {
    /// True when nothing is restricted.
    pub const fn is_none(&self) -> bool {
        self.routes.is_none() && self.methods.is_none() && self.addresses.is_none()
    }

    /// What forbids this use; `None` when nothing does.
    pub fn forbids(&self, route: &str, method: &str, address: IpAddr) -> Option<Restricted> {
        let lacks = |list: &Option<Vec<Box<str>>>, value: &str| list.as_ref().is_some_and(|list| !list.iter().any(|entry| **entry == *value));
        if lacks(&self.routes, route) {
            return Some(Restricted::Route);
        }
        if lacks(&self.methods, method) {
            return Some(Restricted::Method);
        }
        // An IPv4 client of a dual-stack listener must not slip past an IPv4 range, nor be shut out by it.
        let address = address.to_canonical();
        let outside = self.addresses.as_ref().is_some_and(|ranges| !ranges.iter().any(|range| range.contains(&address)));
        outside.then_some(Restricted::Address)
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
}

#[cfg(test)]
mod tests;
