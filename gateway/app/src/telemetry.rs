//! Log lines on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogFormat;

/// Starts logging; a second call changes nothing.
///
/// `CAUSEWAY_LOG` chooses levels, `info` by default: `CAUSEWAY_LOG=edge=debug,info`.
pub fn start(format: LogFormat) {
    // Colors help a person; in a file they are noise.
    let is_terminal = std::io::stderr().is_terminal();
    let filter = crate::boot::environment("CAUSEWAY_LOG").and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init(),
        LogFormat::Text => registry.with(fmt::layer().with_target(false).with_ansi(is_terminal).with_writer(std::io::stderr)).try_init(),
    };
    // Only tests start it twice.
    started.ok();
}
