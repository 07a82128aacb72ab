//! Asks the service again behind a response that was given stale (RFC 5861 section 3).
//!
//! It is a request of its own: with its own record, for the caller whom the request that caused it was verified to come from, if that still
//! holds. Their head proves nothing a second time: a proof of possession in it is spent. It is not charged to the caller's limits, because
//! the request that caused it was.

use std::sync::Arc;

use model::problem::{Denial, ProblemKind};

use super::ticket::Ticket;
use crate::{
    accept,
    authenticate::{self, Principal},
    authorize::{self, Use},
    head::Head,
    limit, route,
    runtime::Core,
    serve::{self, Answer},
    tls::Peer,
    trail::Trail,
    validate::ValidBody,
};

/// Starts it; at most one for each key, because the ticket leads the key's flight. Failures leave the stored response.
pub(super) fn spawn(core: &Arc<Core>, peer: &Arc<Peer>, head: &Head, caller: Option<&Principal>, ticket: Ticket) {
    let (core, peer, mut head, caller) = (Arc::clone(core), Arc::clone(peer), head.clone(), caller.cloned());
    // A HEAD may find a stale response, too; what is kept is what GET brings.
    head.parts.method = http::Method::GET;
    accept::spawn(async move {
        if let Err(denial) = run(&core, &peer, head, caller, ticket).await {
            tracing::debug!(problem.kind = denial.kind.code(), "a stored response could not be refreshed");
        }
    });
}

async fn run(core: &Arc<Core>, peer: &Arc<Peer>, mut head: Head, caller: Option<Principal>, ticket: Ticket) -> Result<(), Denial> {
    let Some(snapshot) = core.snapshot() else { return Ok(()) };
    let now = core.edge.clock.now();
    let mut trail = Trail::start(core, peer, &head.parts, snapshot.revisions, now)?;
    let outcome = async {
        let matched = route::find(&snapshot, &head)?;
        trail.matched(&matched)?;
        let authenticated = authenticate::follow(matched, caller.as_ref(), head.is_read(), &core.edge, now)?;
        trail.principal(authenticated.principal());
        let usage = Use { method: head.method().as_str(), address: trail.client_address(), shown: &peer.shown, now };
        let admitted = limit::readmit(authorize::check(authenticated, usage)?);
        let route = Arc::clone(admitted.permit().route());
        if !ticket.is_for(admitted.permit(), &core.edge.region) {
            let text = "what is kept here is not for this caller any more, because of where its data may lie";
            return Err(Denial::new(ProblemKind::ResidencyMismatch, text));
        }
        trail.consistency("refreshes the cache");
        ticket.ask(&mut head);
        let fetched = serve::fetch(core, &snapshot, &admitted, head, ValidBody::Empty, &mut trail).await;
        ticket.land(core, &route, fetched, &mut trail).await
    }
    .await;
    match outcome {
        Ok(Answer::Ready(response)) => {
            let length = u64::try_from(response.body().len()).unwrap_or(u64::MAX);
            drop(trail.outcome(response.status().as_u16(), None, Some((0, length))));
            Ok(())
        }
        // It may not be kept any more: nobody reads the rest.
        Ok(Answer::Service(exchange, _)) => {
            drop(trail.outcome(exchange.response.status().as_u16(), None, Some((0, 0))));
            Ok(())
        }
        // Nothing that is kept was a handshake; dropped, its trail records an abort.
        Ok(Answer::Switched(_)) => Ok(()),
        Err(denial) => {
            drop(trail.outcome(denial.kind.status().as_u16(), Some(denial.kind), Some((0, 0))));
            Err(denial)
        }
    }
}
