//! How requests get to a region by way of its gateways.

use std::sync::Arc;

use super::Target;
use crate::certificate::authority::Authority;

/// A region whose gateways take requests from those of other regions.
#[derive(Debug)]
pub struct Forwarding {
    /// Its gateways.
    pub targets: Vec<Arc<Target>>,
    /// The names in their certificates: those of their listeners, and those by which they prove themselves elsewhere.
    pub server_names: Vec<Box<str>>,
    /// Who vouches for them when they call others. The application that it names is the region.
    pub authority: Authority,
}
