//! Lists of address ranges: who is trusted to speak for somebody else.

use std::net::IpAddr;

use ipnet::IpNet;

/// Address ranges in CIDR form (RFC 4632, RFC 4291 section 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// A list of ranges. An empty one holds nobody.
    pub fn new(ranges: impl IntoIterator<Item = IpNet>) -> Self {
        Self(ranges.into_iter().collect())
    }

    /// Whether an address is in one of them. Lists are a handful long: a walk is faster than a tree.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }
}
