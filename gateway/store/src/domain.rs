//! Where the primary of a fronted service's database is: that region takes the writes.

use futures_util::future::join_all;

use crate::{
    pool::{AddressError, Credentials},
    sample::{Probe, choose_primary, probe_of},
    topology::Server,
};

/// Asks the servers of one domain which of them is the primary.
#[derive(Debug)]
pub struct DomainMonitor {
    name: String,
    servers: Vec<(Server, Probe)>,
    current: Option<usize>,
}

impl DomainMonitor {
    /// Prepares; nothing connects yet. The role needs no more than the right to connect.
    ///
    /// # Errors
    /// An address that is not `host:port`.
    pub fn new(name: &str, servers: Vec<Server>, credentials: &Credentials) -> Result<Self, AddressError> {
        let mut probes = Vec::with_capacity(servers.len());
        for server in servers {
            let probe = probe_of(&server.address, credentials)?;
            probes.push((server, probe));
        }
        Ok(Self { name: name.to_owned(), servers: probes, current: None })
    }

    /// The domain's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The region of the primary; `None` when no server says that it is one, or when two do and their timelines do not
    /// tell which is the old one. Takes at most 1 s, and 3 s while a server cannot be connected to.
    pub async fn primary_region(&mut self) -> Option<String> {
        let samples = join_all(self.servers.iter_mut().map(|(_, probe)| probe.sample())).await;
        self.current = choose_primary(&samples, self.current);
        let (server, _) = self.servers.get(self.current?)?;
        Some(server.region.clone())
    }
}
