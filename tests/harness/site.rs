//! Regions in which the same can be tried, however they are made.

use anyhow::{Context, Result};

use crate::dev::{Ready, RegionReady};
use crate::regions::{Member, Regions};
use crate::testbed::Testbed;

/// A running deployment of several regions.
#[derive(Debug)]
pub enum Site {
    /// All on this machine's own address, and proxies for what crosses.
    Loopback(Box<Regions>),
    /// In network namespaces.
    Namespaces(Box<Testbed>),
}

impl Site {
    /// The names of the regions, the writer's first.
    pub fn names(&self) -> &[&'static str] {
        match self {
            Self::Loopback(regions) => regions.names(),
            Self::Namespaces(testbed) => testbed.names(),
        }
    }

    /// All nodes, region by region.
    pub fn members(&self) -> &[Member] {
        match self {
            Self::Loopback(regions) => regions.members(),
            Self::Namespaces(testbed) => testbed.members(),
        }
    }

    /// The first node beside the primary.
    ///
    /// # Errors
    /// Never once it was started.
    pub fn writer(&self) -> Result<&RegionReady> {
        Ok(self.members().first().context("there is no node")?.node.region())
    }

    /// What a client needs: the CA, the first key, the operator's token.
    pub fn ready(&self) -> &Ready {
        match self {
            Self::Loopback(regions) => regions.dev().ready(),
            Self::Namespaces(testbed) => testbed.ready(),
        }
    }

    /// Whether a region that is cut off does not reach the other regions' services either.
    pub fn cuts_services(&self) -> bool {
        match self {
            Self::Loopback(_) => false,
            Self::Namespaces(_) => true,
        }
    }

    /// Cuts a region off: its servers and nodes hear nothing of the other regions' servers, and those nothing of its own. Nobody is told.
    ///
    /// # Errors
    /// When the kernel does not take the rules.
    pub fn cut_off(&self, region: usize) -> Result<()> {
        match self {
            Self::Loopback(regions) => regions.cut_off(region),
            Self::Namespaces(testbed) => testbed.cut_off(region)?,
        }
        Ok(())
    }

    /// Ends that.
    ///
    /// # Errors
    /// When the kernel does not take the rules.
    pub fn rejoin(&self, region: usize) -> Result<()> {
        match self {
            Self::Loopback(regions) => regions.rejoin(region),
            Self::Namespaces(testbed) => testbed.rejoin(region)?,
        }
        Ok(())
    }

    /// Stops everything.
    ///
    /// # Errors
    /// When a part does not end in order.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Loopback(regions) => regions.stop().await,
            Self::Namespaces(testbed) => testbed.stop().await,
        }
    }
}
