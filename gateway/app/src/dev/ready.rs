//! The ready file: what scripts need to know about a running development deployment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// The whole file. Its form is stable.
#[derive(Debug, Serialize)]
pub struct Ready {
    /// The regions, the writer first.
    pub regions: Vec<ReadyRegion>,
    /// The CA that clients must trust.
    pub ca: PathBuf,
    /// A first API key.
    pub api_key: String,
    /// An operator token.
    pub operator_token: String,
    /// The process that runs `causeway dev`.
    pub dev_pid: u32,
}

/// One region.
#[derive(Debug, Serialize)]
pub struct ReadyRegion {
    /// Its name.
    pub name: &'static str,
    /// `writer` for the region of the primary, else `reader`.
    pub role: &'static str,
    /// Where clients connect.
    pub data: String,
    /// Where operators connect.
    pub control: String,
    /// The node's process.
    pub node_pid: u32,
    /// The node's file.
    pub node_config: PathBuf,
    /// The node's audit spool.
    pub spool_dir: PathBuf,
    /// The port of the region's PostgreSQL server.
    pub postgres_port: u16,
    /// Its process.
    pub postgres_pid: u32,
    /// Its data folder.
    pub postgres_data_dir: PathBuf,
}

impl Ready {
    /// Writes the file under a temporary name and renames it, so that a reader never sees half of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
        crate::certs::private(&temporary, &serde_json::to_string_pretty(self)?)?;
        std::fs::rename(&temporary, path).with_context(|| format!("cannot write the ready file {}", path.display()))
    }
}
