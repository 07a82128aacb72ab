//! Where the primary of a fronted service's database is: that region takes the writes.

use crate::{
    pool::{AddressError, Credentials},
    topology::Server,
};

/// Asks the servers of one domain which of them is the primary.
#[derive(Debug)]
pub struct DomainMonitor {}

impl DomainMonitor {
    /// Prepares; nothing connects yet. The role needs no more than the right to connect.
    ///
    /// # Errors
    /// An address that is not `host:port`.
    pub fn new(name: &str, servers: Vec<Server>, credentials: &Credentials) -> Result<Self, AddressError> {
        todo!()
    }

    /// The domain's name.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// The region of the primary; `None` when no server says that it is one, or when two do and their timelines do not
    /// tell which is the old one. Takes at most 1 s.
    pub async fn primary_region(&mut self) -> Option<String> {
        todo!()
    }
}
