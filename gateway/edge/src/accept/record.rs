//! Records of what never became a request: floods that are refused unread, and heads that the codec could not read.

use audit::event::{Class, Decision, Event, Outcome, Personal, Phase};
use bytes::Bytes;
use model::problem::{Denial, ProblemKind};
use uuid::Uuid;

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
    event.personal = Personal { client_address: Some(&address), ..Personal::default() };
    drop(reservation.record(&event));
}

/// What a client was told whose head the codec could not read.
pub(super) type Told = (ProblemKind, Uuid);

/// The answer to a head that the codec could not read, in place of its own with this status.
pub(super) fn explain(core: &Core, status: u16, is_ambiguous: bool) -> (Bytes, Told) {
    let (kind, detail) = match status {
        _ if is_ambiguous => (ProblemKind::RequestMalformed, "the request's head has more than one reading, or a length that no body has"),
        414 => (ProblemKind::UriTooLong, "the request target is too long"),
        431 => (ProblemKind::HeadersTooLarge, "the request's head is too large, or has too many fields"),
        _ => (ProblemKind::RequestMalformed, "the request's head is not valid HTTP/1.1"),
    };
    let now = core.edge.clock.now();
    let id = core.uuid(now);
    let body = Denial::new(kind, detail).to_json(&id.to_string(), &core.edge.region).to_string();
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_micros(u64::try_from(now.wall.0).unwrap_or(0)));
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\ncache-control: no-store\r\nx-request-id: {id}\r\n\
         proxy-status: causeway; error=http_request_denied\r\nconnection: close\r\ndate: {date}\r\n\r\n",
        kind.status(),
        body.len(),
    );
    (Bytes::from(head + &body), (kind, id))
}

/// Records a request whose head the codec could not read, and which was answered by [`explain`] or by the codec itself.
pub(super) fn malformed(core: &Core, peer: &Peer, error: &hyper::Error, told: Option<Told>) {
    if !error.is_parse() {
        return;
    }
    let (kind, id) = told.unwrap_or_else(|| {
        let kind = if error.is_parse_too_large() { ProblemKind::HeadersTooLarge } else { ProblemKind::RequestMalformed };
        (kind, core.uuid(core.edge.clock.now()))
    });
    unread(core, peer, kind, id);
}

/// Records what a client was told whose head could not be read as a request.
pub(crate) fn unread(core: &Core, peer: &Peer, kind: ProblemKind, id: Uuid) {
    let now = core.edge.clock.now();
    core.counters.refused(kind);
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
    let address = peer.address.to_string();
    let request_id = id.to_string();
    let mut event = Event::new(Class::Access, Phase::Outcome, id, now.wall.0, &core.edge.region, &core.edge.node, &request_id);
    event.outcome = Outcome::Denied;
    event.decision = Decision::Deny;
    event.severity = 2;
    event.reason = Some(kind.code());
    event.status = Some(kind.status().as_u16());
    event.scheme = Some("https");
    event.protocol = Some(peer.protocol.name());
    event.tls_version = Some(peer.tls.version);
    event.tls_cipher = Some(peer.tls.cipher);
    event.sni = peer.tls.server_name.as_deref();
    event.certificate = peer.shown.thumbprint_text();
    event.personal = Personal { client_address: Some(&address), ..Personal::default() };
    drop(reservation.record(&event));
}
