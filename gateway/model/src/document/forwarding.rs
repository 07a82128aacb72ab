//! How gateways of other regions reach those of a region.

use serde::{Deserialize, Serialize};

/// `regions[].forwarding`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardingDoc {
    /// Base URLs of the region's data listeners, `https://host:port`, as nodes of other regions reach them.
    pub targets: Vec<String>,
    /// The name in the certificates of the region's gateways, when it is not the targets' host. It is no tenant's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// PEM certificates of who vouches for the certificates of the region's gateways, of their listeners and of their identities.
    pub ca: String,
    /// The name of the identity by which nodes of other regions prove themselves to this one's: each node file says where its certificate
    /// and key lie.
    pub client_certificate: String,
}

/// How nodes of other regions reach a service: `upstreams[].regions.NAME.reach`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionReachDoc {
    /// They connect to its targets.
    #[default]
    Direct,
    /// They hand the request to a gateway of its region.
    Gateway,
}

impl RegionReachDoc {
    /// The default, which documents leave out.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) const fn is_direct(&self) -> bool {
        matches!(self, Self::Direct)
    }
}
