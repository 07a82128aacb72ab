//! The files of nodes and regions that `causeway dev` does not know, made from those that it has written.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::dev::RegionReady;
use crate::node;

/// What is a node's own.
pub(super) struct Own<'a> {
    pub(super) node: String,
    pub(super) region: &'a str,
    /// Which of its region's nodes it is.
    pub(super) number: usize,
    /// Data and control.
    pub(super) ports: [u16; 2],
    /// The servers, as this node reaches them, and their regions.
    pub(super) servers: &'a [(u16, &'static str)],
}

/// A node file from that of a region's first node, which stands in a folder at the same depth.
pub(super) fn node(base: &str, from: &RegionReady, own: &Own<'_>) -> Result<String> {
    let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok()).context("a listener without a port");
    let [data, control] = [port(&from.data)?, port(&from.control)?];
    let mut text = String::new();
    let mut replaced = 0;
    for line in base.lines() {
        let key = line.split_once(':').map(|(key, _)| key).unwrap_or_default();
        let changed = match key {
            "node" => Some(format!("node: {}", own.node)),
            "region" => Some(format!("region: {}", own.region)),
            "data" => Some(node::with_port(line, data, own.ports[0])),
            "control" => Some(node::with_port(line, control, own.ports[1])),
            "spool" => Some(format!("spool: {{ dir: spool-{}, max: 1GiB, segment: 16MiB }}", own.number)),
            "state" => Some(format!("state: state-{}", own.number)),
            "  servers" => Some(servers(own.servers)?),
            _ => None,
        };
        // The servers of the base: they are replaced as a whole.
        if line.starts_with("  - {") {
            continue;
        }
        replaced += usize::from(changed.is_some());
        writeln!(text, "{}", changed.as_deref().unwrap_or(line))?;
    }
    ensure!(replaced == 7, "the node file has another form: {replaced} of 7 lines were found");
    // All clients of a test come from one address, and ask for what is refused on purpose. Six nodes share two cores.
    text.push_str("cores: 1\nlimits: { failures_per_prefix: 100000, handshakes_per_address: 10000 }\n");
    Ok(text)
}

fn servers(servers: &[(u16, &str)]) -> Result<String> {
    let mut text = "  servers:".to_owned();
    for (port, region) in servers {
        write!(text, "\n  - {{ address: \"127.0.0.1:{port}\", region: {region} }}")?;
    }
    Ok(text)
}

/// A region that `causeway dev` does not know.
#[derive(Debug)]
pub(super) struct Further {
    pub(super) name: &'static str,
    /// The port of its demo service.
    pub(super) service: u16,
    /// The port of the standby that the service reads.
    pub(super) standby: u16,
}

/// The demo's document with more regions, each with its own service and its own server of the service's database.
pub(super) fn document(base: &str, more: &[Further]) -> Result<String> {
    let mut text = String::new();
    let mut found = 0;
    for line in base.lines() {
        writeln!(text, "{line}")?;
        let is_region = line.starts_with("- { name: us-east, gateway:");
        let is_server = line.starts_with("  - { address: \"127.0.0.1:") && line.ends_with("region: us-east }");
        let is_upstream = line.starts_with("    us-east: { targets:");
        found += usize::from(is_region || is_server || is_upstream);
        for Further { name, service, standby } in more {
            if is_region {
                writeln!(text, "- {{ name: {name} }}")?;
            } else if is_server {
                writeln!(text, "  - {{ address: \"127.0.0.1:{standby}\", region: {name} }}")?;
            } else if is_upstream {
                writeln!(text, "    {name}: {{ targets: [ \"http://127.0.0.1:{service}\" ] }}")?;
            }
        }
    }
    ensure!(found == 3, "the demo's document has another form: {found} of 3 lines were found");
    Ok(text)
}
