//! Records of what never became a request: floods that are refused unread, and heads that the codec could not read.

use audit::event::{Class, Decision, Event, Outcome, Personal, Phase};
use model::problem::ProblemKind;

use crate::{gate::Prefix, runtime::Core, tls::Peer};

/// Writes one record for each address prefix whose requests were refused unrecorded, with their number.
pub(super) fn floods(core: &Core) {
    let now = core.edge.clock.now();
    for (prefix, count) in core.edge.gate.take_refused(now.boot) {
        flood(core, prefix, count);
    }
}

fn flood(core: &Core, prefix: Prefix, count: u64) {
    let Ok(mut reservation) = core.lane.reserve(audit::spool::Durability::Buffered, 1) else { return };
    let now = core.edge.clock.now();
    let (id, address) = (core.uuid(now), prefix.address().to_string());
    let request_id = id.to_string();
    let mut event = Event::new(Class::Access, Phase::Outcome, id, now.wall.0, &core.edge.region, &core.edge.node, &request_id);
    event.outcome = Outcome::Denied;
    event.decision = Decision::Deny;
    event.severity = 2;
    event.reason = Some(ProblemKind::PeerLimited.code());
    event.status = Some(ProblemKind::PeerLimited.status().as_u16());
    event.count = Some(count);
    event.personal = Personal { client_address: Some(&address), user_agent: None };
    drop(reservation.record(&event));
}

/// Records a request whose head the codec could not read; it has answered 400 or 431 by itself, and closed.
pub(super) fn malformed(core: &Core, peer: &Peer, error: &hyper::Error) {
    if !error.is_parse() {
        return;
    }
    let kind = if error.is_parse_too_large() { ProblemKind::HeadersTooLarge } else { ProblemKind::RequestMalformed };
    core.counters.refused(kind);
    let now = core.edge.clock.now();
    // Behind a trusted hop nobody knows whose head it was: the hop's other clients must not pay for it.
    let is_hop = core.edge.settings.trusted_hops.as_ref().is_some_and(|hops| hops.trusts(peer.address));
    if !is_hop {
        // Under a flood these are counted with the other refusals of their prefix.
        if core.edge.gate.check(peer.address, now.boot).is_err() {
            return;
        }
        core.edge.gate.failed(peer.address, now.boot);
    }
    let Ok(mut reservation) = core.lane.reserve(audit::spool::Durability::Buffered, 1) else { return };
    let (id, address) = (core.uuid(now), peer.address.to_string());
    let request_id = id.to_string();
    let mut event = Event::new(Class::Access, Phase::Outcome, id, now.wall.0, &core.edge.region, &core.edge.node, &request_id);
    event.outcome = Outcome::Denied;
    event.decision = Decision::Deny;
    event.severity = 2;
    event.reason = Some(kind.code());
    event.status = Some(kind.status().as_u16());
    event.scheme = Some("https");
    event.protocol = Some("h1");
    event.tls_version = Some(peer.tls.version);
    event.tls_cipher = Some(peer.tls.cipher);
    event.sni = peer.tls.server_name.as_deref();
    event.personal = Personal { client_address: Some(&address), user_agent: None };
    drop(reservation.record(&event));
}
