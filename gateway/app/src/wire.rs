//! The ports of the control plane, filled with this node's clock, randomness and access log.

use std::{net::IpAddr, sync::Arc};

use audit::{
    event::{Class, Decision, Event, Outcome, Personal, Phase},
    spool::{Durability, Lane, Reservation},
};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use control::port::{AdminEvent, AuditPlace, AuditSink, AuditUnavailable, Clock, Random, Recorded};
use model::time::Now;

/// The machine's clocks.
#[derive(Debug)]
pub struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Now {
        edge::clock::Clock.now()
    }
}

/// Random bytes from the system's generator.
pub fn random() -> Random {
    let source = SystemRandom::new();
    Arc::new(move |bytes| fill(&source, bytes))
}

fn fill(source: &SystemRandom, bytes: &mut [u8]) {
    // A key made from anything else would be worse than no process: there is nothing to serve without randomness.
    assert!(source.fill(bytes).is_ok(), "the system's random source failed");
}

/// The access log of this node.
#[derive(Debug)]
pub struct SpoolSink {
    /// The control plane's way into the spool.
    pub lane: Lane,
    /// This node's region.
    pub region: Arc<str>,
    /// This node's name.
    pub node: Arc<str>,
}

impl AuditSink for SpoolSink {
    fn reserve(&self) -> Result<Box<dyn AuditPlace>, AuditUnavailable> {
        let reservation = self.lane.reserve(Durability::Durable, 1).map_err(|_| AuditUnavailable)?;
        Ok(Box::new(SpoolPlace { reservation, region: Arc::clone(&self.region), node: Arc::clone(&self.node) }))
    }
}

#[derive(Debug)]
struct SpoolPlace {
    reservation: Reservation,
    region: Arc<str>,
    node: Arc<str>,
}

impl AuditPlace for SpoolPlace {
    fn record(mut self: Box<Self>, admin: AdminEvent) -> Recorded {
        let address = admin.client_address.map(|address: IpAddr| address.to_string());
        let mut event = Event::new(Class::Admin, Phase::Outcome, admin.event_id, admin.at.0, &self.region, &self.node, &admin.request_id);
        event.outcome = admin.outcome;
        event.decision = if event.outcome == Outcome::Denied { Decision::Deny } else { Decision::Allow };
        event.actor = admin.actor.as_deref();
        event.key_id = admin.token_id.as_deref();
        event.principal_kind = admin.actor.is_some().then_some("operator");
        event.action = Some(admin.action);
        event.object = admin.object.as_deref();
        event.method = Some(&admin.method);
        event.path = admin.path.as_deref();
        event.status = admin.status;
        event.reason = admin.reason;
        event.duration_us = Some(admin.duration_us);
        event.count = (admin.count > 1).then_some(admin.count);
        event.personal = Personal { client_address: address.as_deref(), ..Personal::default() };
        let receipt = self.reservation.record(&event);
        Box::pin(async move {
            match tokio::time::timeout(std::time::Duration::from_secs(1), receipt.durable()).await {
                Ok(Ok(_seq)) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(AuditUnavailable),
            }
        })
    }
}
