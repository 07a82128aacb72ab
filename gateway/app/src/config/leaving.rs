//! `drain` and `handover`: how a node leaves, and how another process of it takes over.

use std::path::PathBuf;

use model::duration::Span;
use serde::{Deserialize, Serialize};

/// How a node leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainConfig {
    /// Between "not ready" and the end of accepting: for as long, load balancers can find out.
    pub delay: Span,
    /// To finish what runs, from the end of accepting on.
    pub timeout: Span,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { delay: Span(std::time::Duration::from_millis(500)), timeout: Span(edge::runtime::Settings::default().drain_timeout) }
    }
}

/// How another process of this node takes over.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandoverConfig {
    /// The Unix socket at which the process that serves hands its listening sockets over.
    pub socket: PathBuf,
}
