//! Watches where the primaries of the fronted services' databases are: their regions take the writes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::document::Document;
use store::{
    domain::DomainMonitor,
    pool::{Credentials, Tls},
    topology::Server,
};
use tokio::sync::watch;

/// The region of each domain's primary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers(pub HashMap<Arc<str>, Arc<str>>);

/// How to connect to each domain.
pub type DomainCredentials = HashMap<String, Credentials>;

/// Asks every domain's servers each 500 ms; a domain whose servers do not answer keeps its last known writer.
pub async fn watch(credentials: DomainCredentials, mut document: watch::Receiver<Arc<Document>>, writers: watch::Sender<Writers>) {
    let mut pulse = tokio::time::interval(Duration::from_millis(500));
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut monitors = Vec::new();
    loop {
        tokio::select! {
            _ = pulse.tick() => {}
            Ok(()) = document.changed() => document.mark_changed(),
        }
        if document.has_changed().unwrap_or(false) {
            monitors = monitors_of(&document.borrow_and_update().clone(), &credentials);
        }
        let found = futures_util::future::join_all(monitors.iter_mut().map(ask)).await;
        writers.send_if_modified(|known| {
            let before = known.clone();
            known.0.extend(found.into_iter().flatten());
            *known != before
        });
    }
}

async fn ask(monitor: &mut DomainMonitor) -> Option<(Arc<str>, Arc<str>)> {
    let region = monitor.primary_region().await?;
    Some((Arc::from(monitor.name()), Arc::from(region)))
}

fn monitors_of(document: &Document, credentials: &DomainCredentials) -> Vec<DomainMonitor> {
    let mut monitors = Vec::new();
    for domain in &document.domains {
        let Some(credentials) = credentials.get(&domain.name) else {
            tracing::error!(domain = domain.name, "the node file has no `domains` entry with this name: writes to its services have no region");
            continue;
        };
        let remote = domain.servers.iter().find(|server| credentials.tls == Tls::Plain && !crate::config::is_local(&server.address));
        if let Some(server) = remote {
            tracing::error!(
                domain = domain.name,
                server = server.address,
                "a server of this domain is not on this machine: give the domain `tls` in the node file"
            );
            continue;
        }
        let servers = domain.servers.iter().map(|server| Server { address: server.address.clone(), region: server.region.clone() }).collect();
        match DomainMonitor::new(&domain.name, servers, credentials) {
            Ok(monitor) => monitors.push(monitor),
            Err(error) => tracing::error!(domain = domain.name, error = &error as &dyn std::error::Error, "a domain cannot be watched"),
        }
    }
    monitors
}
