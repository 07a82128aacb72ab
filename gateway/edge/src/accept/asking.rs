//! Which clients are asked for a certificate.

use super::handshake::Asked;
use crate::runtime::Core;

/// Whether a client that names this host, or none, is asked for a certificate. Without a name, where any host asks it is asked: the host
/// is not known yet, and addresses may be hosts.
pub(super) fn asks(core: &Core, name: Asked<'_>) -> bool {
    let Some(snapshot) = core.snapshot() else { return false };
    let (hosts, forwarding) = (&snapshot.structure.hosts, snapshot.structure.forwarding.get(&core.edge.region));
    match name {
        Asked::Anybody => hosts.asks_certificate || forwarding.is_some(),
        Asked::Unnamed => hosts.asks_certificate,
        Asked::Host(name) => {
            let name = name.to_ascii_lowercase();
            // Gateways of other regions call this one by that name, and nobody else does.
            let is_gateways = forwarding.is_some_and(|forwarding| forwarding.server_names.iter().any(|own| **own == *name));
            is_gateways || hosts.find(&name).is_some_and(|table| table.asks_certificate)
        }
    }
}
