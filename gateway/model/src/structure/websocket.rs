//! Which WebSockets a route takes, ready to decide.

use std::time::Duration;

use crate::origin::Origins;

/// The rules of a route that takes WebSockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRules {
    /// Whose pages may open one.
    pub pages: Pages,
    /// How many may be open at once, for each node.
    pub open_max: usize,
    /// How long nothing may pass in either direction.
    pub idle: Duration,
    /// How long one may be open.
    pub lifetime: Duration,
}

/// Whose pages may open a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pages {
    /// Those of the host that is asked for.
    SameHost,
    /// Those of listed origins, or everybody's.
    Of(Origins),
}

impl Pages {
    /// True when a page of `origin` may open a WebSocket to `authority`: the host that it asks for, with its port.
    pub fn allow(&self, origin: &str, authority: &str) -> bool {
        match self {
            // Browsers leave the scheme's own port out of both; other clients may write it.
            Self::SameHost => origin.strip_prefix("https://").is_some_and(|host| without_port(host).eq_ignore_ascii_case(without_port(authority))),
            Self::Of(origins) => origins.allow(origin),
        }
    }
}

fn without_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

#[cfg(test)]
mod tests;
