//! Compiles how gateways of a region are reached from others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Errors, Tenants, certificate, upstream};
use crate::{
    certificate::{
        Name, Thumbprint,
        authority::{Authority, CrlDepth, ExpiredCrls, Holders},
    },
    document::{RegionDoc, forwarding::ForwardingDoc},
    host::HostPattern,
    structure::{
        Target,
        forwarding::Forwarding,
        reach::{self, ProtocolDoc},
    },
};

/// Gateways of one region.
const TARGETS_MAX: usize = 64;

/// The regions whose gateways can be reached, by name.
pub(super) type Known = HashMap<Arc<str>, Arc<Forwarding>>;

pub(super) fn forwarding(docs: &[RegionDoc], regions: &[Arc<str>], tenants: &Tenants, errors: &mut Errors) -> Known {
    let mut out = Known::new();
    let mut names: HashSet<Box<str>> = HashSet::new();
    for (index, (doc, region)) in docs.iter().zip(regions).enumerate() {
        let Some(doc) = &doc.forwarding else { continue };
        let at = format!("regions[{index}].forwarding");
        let before = errors.0.len();
        let targets = targets(doc, &at, errors);
        let server_names: HashSet<Box<str>> =
            targets.iter().filter_map(|target| target.reach.tls.as_ref()).map(|tls| tls.server_name.to_ascii_lowercase().into()).collect();
        for name in &server_names {
            check_name(name, &at, tenants, errors);
            if !names.insert(name.clone()) {
                errors
                    .add(format!("{at}.server_name"), format!("`{name}` is the name of another region's gateways, too: it tells which region calls"));
            }
        }
        if !super::is_name(&doc.client_certificate) {
            errors.add(
                format!("{at}.client_certificate"),
                "it is not the name of an identity: use 1 to 63 of a-z, 0-9, `-` and `_`. Certificate and key stand in node files, under `identities`",
            );
        }
        let roots = certificate::anchors(Some(&doc.ca), None, &at, errors);
        if errors.0.len() > before {
            continue;
        }
        let server_names: Vec<Box<str>> = server_names.into_iter().collect();
        let authority = authority(region, &server_names, roots, doc);
        out.insert(Arc::clone(region), Arc::new(Forwarding { targets, server_names, authority }));
    }
    out
}

fn targets(doc: &ForwardingDoc, at: &str, errors: &mut Errors) -> Vec<Arc<Target>> {
    if doc.targets.is_empty() || doc.targets.len() > TARGETS_MAX {
        errors.add(format!("{at}.targets"), format!("write 1 to {TARGETS_MAX} gateways of the region, `https://host:port`"));
    }
    // What is wrong with it is told with the roots.
    let ca = reach::roots(Some(&doc.ca)).unwrap_or_default();
    let mut out = Vec::new();
    for (position, url) in doc.targets.iter().enumerate() {
        let spec = upstream::Spec {
            // Where it is not spoken, connecting fails: over HTTP/1.1 the answer would be lost when the service has acted.
            protocol: Some(ProtocolDoc::Http2),
            server_name: doc.server_name.as_deref(),
            identity: Some(&doc.client_certificate),
            roots: ca.as_deref(),
            is_gateway: true,
        };
        match upstream::target(url, &spec) {
            Ok(target) if target.reach.tls.is_none() => {
                errors.add(format!("{at}.targets[{position}]"), format!("`{url}`: gateways are reached over TLS; write `https://host:port`"));
            }
            Ok(target) if !target.base_path.is_empty() => {
                errors.add(format!("{at}.targets[{position}]"), format!("`{url}`: a gateway has no path"));
            }
            Ok(target) => out.push(Arc::new(target)),
            Err(message) => errors.add(format!("{at}.targets[{position}]"), message),
        }
    }
    out
}

/// A gateway's name is a host name and nobody's else: connections that name it are asked for a certificate, and browsers would be, too.
fn check_name(name: &str, at: &str, tenants: &Tenants, errors: &mut Errors) {
    let path = format!("{at}.server_name");
    if name.parse::<std::net::IpAddr>().is_ok() {
        errors.add_with_help(
            path,
            format!("`{name}` is an address; the certificates of gateways say a name"),
            Some("write the name in `server_name`, and the address in `targets`".to_owned()),
        );
    } else if !reach::is_server_name(name) {
        errors.add(path, format!("`{name}` is not a host name"));
    } else if let Some((tenant, _)) = tenants.iter().find(|(_, hosts)| hosts.iter().any(|host| is_of(host, name))) {
        errors.add(
            path,
            format!("`{name}` is a host of tenant `{tenant}`: its clients would be asked for a certificate; give the gateways a name of their own"),
        );
    }
}

fn is_of(host: &HostPattern, name: &str) -> bool {
    let is_below = || name.strip_suffix(host.name()).and_then(|rest| rest.strip_suffix('.')).is_some_and(|label| !label.is_empty());
    if host.is_wildcard() { is_below() } else { host.name() == name }
}

fn authority(region: &Arc<str>, names: &[Box<str>], roots: certificate::Anchors, doc: &ForwardingDoc) -> Authority {
    let by_name = names.iter().map(|name| (Name::Dns(name.clone()), Arc::clone(region))).collect();
    let digest = Thumbprint::of(format!("{region}\n{}\n{}", names.join(" "), doc.ca).as_bytes());
    Authority {
        name: Arc::clone(region),
        roots,
        crls: Box::default(),
        crl_depth: CrlDepth::Leaf,
        expired_crls: ExpiredCrls::Deny,
        crls_end: None,
        holders: Holders { by_name, ..Holders::default() },
        forward: false,
        digest,
    }
}
