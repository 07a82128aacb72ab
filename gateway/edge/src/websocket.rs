//! WebSockets: the handshake over HTTP/1.1 (RFC 6455) or HTTP/2 (RFC 8441), then bytes in both directions until one side ends it.
//!
//! A handshake is a request like any other, through every stage and with its record before its answer. What follows is not looked
//! into, but watched: [`seats`] ends what is idle, too old, or not allowed any more.

mod frames;
pub mod handshake;
mod pipe;
pub mod places;
pub mod seats;
pub mod tally;
pub mod tunnel;
pub mod wish;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, response::Parts};
use hyper_util::rt::TokioIo;
use model::{
    policy::AuditDoc,
    problem::{Denial, ProblemKind},
};

use self::{
    handshake::Handshake,
    places::Place,
    tunnel::{Carried, Tunnel},
};
use crate::{
    accept,
    authenticate::Principal,
    body::ReplyBody,
    current::Held,
    filter::After,
    forward::Exchange,
    head::Head,
    http1::Stream,
    limit::{Admitted, LimitFacts},
    pool::Slot,
    refuse,
    runtime::Core,
    serve::{self, Answer},
    stay::Source,
    tls::Protocol,
    trail::{self, Trail},
    validate::ValidBody,
};

/// A WebSocket that the service has agreed to, and the client does not know of yet.
#[derive(Debug)]
pub struct Opening {
    handshake: Box<Handshake>,
    parts: Parts,
    service: Stream,
    early: Bytes,
    slot: Slot,
    place: Place,
    route: Arc<model::structure::Route>,
    principal: Option<Principal>,
}

/// Sends an admitted handshake to the service. Any other answer than 101 is an ordinary response.
///
/// # Errors
/// `overloaded`, `upstream-malformed`, and those of [`serve::fetch`].
pub(crate) async fn open(
    core: &Core,
    snapshot: &Held,
    admitted: &Admitted<'_>,
    handshake: Box<Handshake>,
    head: Head,
    trail: &mut Trail,
) -> Result<Answer, Denial> {
    let permit = admitted.permit();
    let route = permit.route();
    let route_max = route.websocket.as_ref().map_or(0, |rules| rules.open_max);
    let place = core.edge.websockets.take(&route.name, core.edge.settings.websockets_max, route_max)?;
    // Whatever the body says: a handshake has none.
    let Exchange { response, meter, stay } = serve::fetch(core, snapshot, admitted, head, ValidBody::Empty, trail).await?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        if response.status().is_success() && handshake.over == Protocol::Http2 {
            // There it would open the stream (RFC 8441 section 4).
            return Err(malformed("the service did not switch to WebSocket"));
        }
        return Ok(Answer::Service(Exchange { response, meter, stay }, Bytes::new()));
    }
    let (parts, body) = response.into_parts();
    handshake.verify(&parts.headers)?;
    let (service, early, slot) = body.into_switched().ok_or_else(|| malformed("the service switched before it had the handshake"))?;
    let (route, principal) = (Arc::clone(route), permit.principal().cloned());
    Ok(Answer::Switched(Box::new(Opening { handshake, parts, service, early, slot, place, route, principal })))
}

fn malformed(detail: &'static str) -> Denial {
    Denial::new(ProblemKind::UpstreamMalformed, detail)
}

/// Releases the answer to a handshake once its record is on disk; frames go on from there.
pub(crate) async fn release(
    core: &Arc<Core>,
    opening: Opening,
    mut trail: Trail,
    limits: &LimitFacts,
    after: Option<Box<After>>,
) -> Response<ReplyBody> {
    let Opening { mut handshake, mut parts, service, early, slot, place, route, principal } = opening;
    let source = Source { address: trail.client_address(), shown: trail.peer().shown.clone() };
    for (name, text) in [(refuse::REQUEST_ID, Some(&**trail.request_id())), (refuse::REGION, trail.target_region())] {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            parts.headers.insert(name, value);
        }
    }
    limits.write_headers(&mut parts.headers);
    if let Some(mut after) = after {
        after.change(&mut parts.headers);
    }
    let status = handshake.answer(&mut parts.headers);
    let receipt = trail.outcome(status.as_u16(), None, None);
    if trail.durability() != AuditDoc::Buffered && !serve::is_durable(core, receipt).await {
        trail.abandon();
        let denial = trail::unavailable().maybe_processed();
        core.counters.refused(denial.kind);
        return refuse::response(trail.form(), &denial, trail.request_id(), &core.edge.region, |_| {});
    }
    let now = trail.now();
    core.counters.served(trail.route_name(), status, now.boot.nanos_since(trail.started().boot));
    let mut response = Response::new(ReplyBody::Whole(None));
    *response.status_mut() = status;
    *response.headers_mut() = parts.headers;
    // A route that takes none has no handshake.
    let Some(rules) = &route.websocket else { return response };
    let seat = core.websockets.seat(&route, rules, principal, source, trail.server(), now);
    let tunnel = Box::new(Tunnel::new(core, seat, trail, service, &early, (slot, place)));
    match handshake.stream.take() {
        None => drop(response.extensions_mut().insert(Carried::new(tunnel))),
        // The stream is there once the answer has left; a connection that ends before drops the tunnel.
        Some(stream) => accept::spawn(async move {
            if let Ok(stream) = stream.await {
                tunnel.run(TokioIo::new(stream), Bytes::new()).await;
            }
        }),
    }
    response
}

/// Takes the tunnel out of an answer whose connection is to carry it.
pub fn carried(response: &mut Response<ReplyBody>) -> Option<Box<Tunnel>> {
    response.extensions_mut().remove::<Carried>()?.take()
}
