//! Where the data of a route or a service may lie.

use std::sync::Arc;

/// The regions that may serve: all of them, or those that have one of the labels that are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residency(Option<Arc<[Arc<str>]>>);

impl Residency {
    /// Only these regions.
    pub fn only(regions: Vec<Arc<str>>) -> Self {
        Self(Some(regions.into()))
    }

    /// True where nothing is asked for.
    pub const fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a region may serve. A deployment has a few, so that a list is searched as fast as a table.
    pub fn allows(&self, region: &str) -> bool {
        self.0.as_ref().is_none_or(|regions| regions.iter().any(|known| **known == *region))
    }
}
