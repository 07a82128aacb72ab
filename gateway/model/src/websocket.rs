//! WebSockets through a route, as an operator writes it. Off unless it is written.

use serde::{Deserialize, Serialize};

use crate::{document::OneOrMany, duration::Span};

/// Which WebSockets a route takes (RFC 6455), and for how long.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketDoc {
    /// Origins of pages that may open one: `https://app.example`, `https://*.example` (one label), or `*`. Pages of the host
    /// that is asked for when absent. Clients that are no browsers send none, and are let in by their credentials alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<OneOrMany<String>>,
    /// How many may be open at once, for each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// How long nothing may pass in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
    /// How long one may be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Span>,
}
