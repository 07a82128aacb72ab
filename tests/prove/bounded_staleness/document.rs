//! The routes of the claim, and the documents that say what is not so.

use std::time::Duration;

use anyhow::Result;

use crate::read_your_writes::document::edited;

/// What a read is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Eventual,
    /// All that was acknowledged half a second before.
    Half,
    /// A second before.
    One,
    /// Five seconds before.
    Five,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Eventual, Self::Half, Self::One, Self::Five];

    pub(super) const fn bound(self) -> Option<Duration> {
        match self {
            Self::Eventual => None,
            Self::Half => Some(Duration::from_millis(500)),
            Self::One => Some(Duration::from_secs(1)),
            Self::Five => Some(Duration::from_secs(5)),
        }
    }

    pub(super) const fn narrowest() -> Duration {
        Duration::from_millis(500)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Eventual => "eventual",
            Self::Half => "500ms",
            Self::One => "1s",
            Self::Five => "5s",
        }
    }

    /// The figure of the share that was served.
    pub(super) const fn served_name(self) -> &'static str {
        match self {
            Self::Eventual => "served_eventual",
            Self::Half => "served_500ms",
            Self::One => "served_1s",
            Self::Five => "served_5s",
        }
    }

    /// In front of the service's own paths.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Eventual => "/bound/none",
            Self::Half => "/bound/500ms",
            Self::One => "/bound/1s",
            Self::Five => "/bound/5s",
        }
    }
}

/// What is false in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Falsehood {
    /// The region's server is said to be the one on this port, which has everything at once. The region's service reads another one.
    Server(u16),
    /// Every bound is ten minutes.
    Wider,
}

/// The region about which it is.
const REGION: &str = "us-east";

/// The document with the routes of the claim.
///
/// # Errors
/// When the document has another form than the falsehood needs.
pub(super) fn with_routes(text: &str, falsehood: Option<Falsehood>) -> Result<String> {
    let mut text = match falsehood {
        None | Some(Falsehood::Wider) => text.to_owned(),
        Some(Falsehood::Server(port)) => edited(text, &format!("region: {REGION} }}"), |line| {
            line.starts_with("  - { address:").then(|| format!("  - {{ address: \"127.0.0.1:{port}\", region: {REGION} }}"))
        })?,
    };
    for kind in Kind::ALL {
        let (name, path) = (kind.path().trim_start_matches('/').replace('/', "-"), kind.path());
        let reads = match (kind, falsehood) {
            (Kind::Eventual, _) => "{ mode: eventual }".to_owned(),
            (_, Some(Falsehood::Wider)) => "{ mode: bounded, max: 10m, wait: 100ms, else: refuse }".to_owned(),
            (kind, _) => format!("{{ mode: bounded, max: {}, wait: 100ms, else: refuse }}", kind.name()),
        };
        // This is not about the disk, which ten servers share: a record that is late would cost its call.
        let more = format!(
            "\n- name: {name}\n  match: {{ path: \"{path}/**\" }}\n  upstream: demo\n  rewrite: {{ strip_prefix: {path}, add_prefix: /demo/v1 }}\n  \
             audit: buffered\n  consistency:\n    keys: {{ max_staleness: 300s, on_stale: allow }}\n    reads: {reads}\n"
        );
        text.push_str(&more);
    }
    Ok(text)
}
