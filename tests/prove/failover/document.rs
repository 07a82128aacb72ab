//! The document of the claim: a domain for each chain, its service in the three regions, and a route of each kind to it.

use serde_json::{Value, json};

use super::chain::{Chain, REGIONS};
use super::record::Mode;

/// How long a read waits for what this region does not have yet.
const WAIT: &str = "100ms";

/// The path in front of the service's own.
pub(super) fn path(domain: &str, mode: Mode) -> String {
    format!("/{domain}/{}", mode.word())
}

pub(super) fn document(chains: &[Chain]) -> Value {
    let domains: Vec<Value> = chains.iter().map(domain).collect();
    let upstreams: Vec<Value> = chains.iter().map(upstream).collect();
    let routes: Vec<Value> = chains.iter().flat_map(|chain| Mode::ALL.map(|mode| route(&chain.name, mode))).collect();
    json!({
        "version": 1,
        "regions": REGIONS.map(|name| json!({ "name": name })),
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "domains": domains,
        "upstreams": upstreams,
        "routes": routes,
    })
}

/// The servers, as nodes reach them.
fn domain(chain: &Chain) -> Value {
    let server = |(server, region): (usize, &&str)| json!({ "address": format!("127.0.0.1:{}", chain.door(server)), "region": region });
    json!({ "name": chain.name, "servers": REGIONS.iter().enumerate().map(server).collect::<Vec<_>>() })
}

fn upstream(chain: &Chain) -> Value {
    let regions: serde_json::Map<String, Value> = REGIONS
        .iter()
        .enumerate()
        .map(|(server, region)| ((*region).to_owned(), json!({ "targets": [format!("http://127.0.0.1:{}", chain.service(server))] })))
        .collect();
    json!({
        "name": chain.name,
        "domain": chain.name,
        "regions": regions,
        "timeouts": { "connect": "1s", "response": "5s", "idle": "5s" },
        // A service whose database is gone answers 503. What a node makes of that is another claim's.
        "outliers": { "gateway_failures": 0, "server_errors": 0 },
    })
}

fn route(domain: &str, mode: Mode) -> Value {
    let path = path(domain, mode);
    json!({
        "name": format!("{domain}-{}", mode.word()),
        "match": { "path": format!("{path}/**") },
        "auth": "none",
        "upstream": domain,
        "rewrite": { "strip_prefix": path, "add_prefix": "/demo/v1" },
        "timeout": "15s",
        // This is not about the disk of the nodes.
        "audit": "buffered",
        "consistency": {
            "keys": { "max_staleness": "300s", "on_stale": "allow" },
            "reads": { "mode": "read_your_writes", "wait": WAIT, "else": mode.word() },
        },
    })
}
