//! Compiles domains: their servers, and whether clients are told positions.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Errors, names, upstream};
use crate::{
    consistency_token::{DOMAINS_MAX, DomainMark},
    document::{Document, RouteDoc},
    policy::{ConsistencyDoc, PresetDoc, ReadModeDoc},
    structure::{Domain, DomainServer},
};

pub(super) fn domains(document: &Document, regions: &[Arc<str>], errors: &mut Errors) -> Vec<Domain> {
    let names = names("domains", document.domains.iter().map(|doc| doc.name.as_str()), errors);
    let tracked = tracked(document);
    let mut marks: HashMap<DomainMark, &str> = HashMap::new();
    let mut out = Vec::new();
    for (index, (doc, name)) in document.domains.iter().zip(names).enumerate() {
        if doc.name == "control" {
            errors.add(format!("domains[{index}].name"), "`control` is the name of Causeway's own database; choose another");
        }
        if doc.servers.is_empty() {
            errors.add(format!("domains[{index}].servers"), "a domain needs at least one server");
        }
        let mark = DomainMark::of(&doc.name);
        if let Some(other) = marks.insert(mark, &doc.name).filter(|other| **other != *doc.name) {
            errors.add(
                format!("domains[{index}].name"),
                format!("by chance tokens would name `{}` and `{other}` alike; give one of them another name", doc.name),
            );
        }
        let mut servers: Vec<DomainServer> = Vec::new();
        for (position, server) in doc.servers.iter().enumerate() {
            let path = format!("domains[{index}].servers[{position}]");
            if upstream::split_address(&server.address).is_none() {
                errors.add(format!("{path}.address"), format!("`{}` is not `host:port`", server.address));
            }
            if servers.iter().any(|other| *other.address == *server.address) {
                errors.add(format!("{path}.address"), format!("`{}` stands twice: a server is known by its address", server.address));
            }
            match regions.iter().find(|region| ***region == *server.region) {
                Some(region) => {
                    servers.push(DomainServer { address: server.address.as_str().into(), region: Arc::clone(region), is_read: server.reads });
                }
                None => errors.unknown(format!("{path}.region"), "region", &server.region, regions.iter().map(|name| &**name)),
            }
        }
        out.push(Domain { is_tracked: tracked.contains(&*name), is_beating: doc.heartbeat, name, mark, servers });
    }
    if out.iter().filter(|domain| domain.is_tracked).count() > DOMAINS_MAX {
        errors.add("domains", format!("routes promise their own writes to clients of more than {DOMAINS_MAX} domains: a token has no room for more"));
    }
    out
}

/// The domains of the services for which some route promises clients their own writes.
fn tracked(document: &Document) -> HashSet<&str> {
    let services = document.routes.iter().filter(|route| reads_own_writes(route)).flat_map(|route| {
        let besides = route.split.iter().map(|split| &split.upstream).chain(route.canary.iter().map(|canary| &canary.upstream));
        besides.chain([&route.upstream]).map(String::as_str)
    });
    let services: HashSet<&str> = services.collect();
    document.upstreams.iter().filter(|doc| services.contains(doc.name.as_str())).filter_map(|doc| doc.domain.as_deref()).collect()
}

fn reads_own_writes(route: &RouteDoc) -> bool {
    match &route.consistency {
        ConsistencyDoc::Preset(preset) => *preset == PresetDoc::Social,
        ConsistencyDoc::Full(full) => full.reads.mode == ReadModeDoc::ReadYourWrites,
    }
}
