//! Databases of fronted services, as a document names them.

use serde::{Deserialize, Serialize};

/// A fronted service's database cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainDoc {
    /// Its name.
    pub name: String,
    /// Its servers; which one is the primary is found, never configured.
    pub servers: Vec<ServerDoc>,
    /// Whether the nodes may write heartbeats there: what proves how old an answer is (`reads: { mode: bounded }`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heartbeat: bool,
}

/// One database server of a domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerDoc {
    /// `host:port`.
    pub address: String,
    /// The region whose services read it.
    pub region: String,
    /// False for a standby that nobody reads until it is promoted. The primary is read in its region, whatever stands here.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub reads: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}
