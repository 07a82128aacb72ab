//! Compiles services: targets, regions and where writes go.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::{Errors, forwarding};
use crate::{
    document::{RegionDoc, RoleDoc, UpstreamDoc, forwarding::RegionReachDoc},
    structure::{
        Domain, Target, Upstream, UpstreamRegion,
        reach::{self, HttpVersion, ProtocolDoc, Reach, ReachTls},
    },
};

/// Where services may run, and their databases.
pub(super) struct Places<'d> {
    pub(super) names: &'d [Arc<str>],
    pub(super) docs: &'d [RegionDoc],
    pub(super) domains: &'d [Domain],
    pub(super) forwarding: &'d forwarding::Known,
}

pub(super) fn compile(doc: &UpstreamDoc, name: Arc<str>, index: usize, places: &Places<'_>, errors: &mut Errors) -> Upstream {
    let Places { names: regions, docs, domains, forwarding } = *places;
    let at = format!("upstreams[{index}]");
    let domain = doc.domain.as_ref().and_then(|wanted| {
        let known = domains.iter().find(|domain| *domain.name == **wanted);
        if known.is_none() {
            errors.unknown(format!("{at}.domain"), "domain", wanted, domains.iter().map(|domain| &*domain.name));
        }
        known
    });
    let tracked = domain.filter(|domain| domain.is_tracked).map(|domain| domain.mark);
    let beating = domain.filter(|domain| domain.is_beating).map(|domain| domain.mark);
    let domain = domain.map(|domain| Arc::clone(&domain.name));
    if doc.regions.is_empty() {
        errors.add(format!("{at}.regions"), "a service needs at least one region");
    }
    let roots = roots(doc, &at, errors);
    let mut is_any_tls = false;
    let mut out = Vec::new();
    let mut writers = Vec::new();
    for (region, spec) in &doc.regions {
        let path = format!("{at}.regions.{region}");
        let Some(region) = regions.iter().find(|known| ***known == **region) else {
            errors.unknown(path, "region", region, regions.iter().map(|known| &**known));
            continue;
        };
        match spec.role {
            Some(_) if doc.domain.is_some() => {
                errors.add(format!("{path}.role"), "with a `domain` the writer region is where its primary is; remove `role`");
            }
            Some(RoleDoc::Writer) => writers.push(Arc::clone(region)),
            Some(RoleDoc::Reader) | None => {}
        }
        if spec.targets.is_empty() {
            errors.add(format!("{path}.targets"), "a region needs at least one target");
        }
        let gateways = match (spec.reach, forwarding.get(region)) {
            (RegionReachDoc::Direct, _) => Vec::new(),
            (RegionReachDoc::Gateway, Some(known)) => {
                callers(docs, &path, errors);
                known.targets.iter().map(|target| behind(target, &name)).collect()
            }
            // One with mistakes of its own is told there.
            (RegionReachDoc::Gateway, None) if says_how(docs, region) => Vec::new(),
            (RegionReachDoc::Gateway, None) => {
                errors.add(
                    format!("{path}.reach"),
                    format!("it is not said how the gateways of {region} are reached: write `forwarding` of that region"),
                );
                Vec::new()
            }
        };
        let wanted = Spec::of(doc, roots.as_deref());
        let mut targets = Vec::new();
        for (position, url) in spec.targets.iter().enumerate() {
            match target(url, &wanted) {
                Ok(target) => {
                    is_any_tls |= target.reach.tls.is_some();
                    targets.push(Arc::new(target));
                }
                Err(message) => errors.add(format!("{path}.targets[{position}]"), message),
            }
        }
        out.push(UpstreamRegion { region: Arc::clone(region), targets, gateways });
    }
    if doc.tls.is_some() && !is_any_tls {
        errors.add(format!("{at}.tls"), "no target of this service is `https://`; write `https://host:port`, or remove `tls`");
    }
    if writers.len() > 1 {
        errors.add(format!("{at}.regions"), "only one region can be the writer");
    }
    if doc.domain.is_none() && writers.is_empty() && out.len() > 1 {
        errors.add_with_help(
            format!("{at}.regions"),
            "it is not said where writes go",
            Some("name the service's `domain`, or give one region `role: writer`".to_owned()),
        );
    }
    let writer = writers.pop().or_else(|| out.first().filter(|_| out.len() == 1).map(|only| Arc::clone(&only.region)));
    let residency = super::residency::lawful(doc.residency.as_deref(), &at, docs, errors);
    let resilience = super::resilience::upstream(doc, &at, errors);
    let principal = super::principal::audience(doc, &name, &at, errors);
    Upstream {
        name,
        index,
        resilience,
        principal,
        domain,
        tracked,
        beating,
        writer,
        regions: out,
        residency,
        connect_timeout: doc.timeouts.connect.0,
        response_timeout: doc.timeouts.response.0,
        idle_timeout: doc.timeouts.idle.0,
    }
}

/// The roots of `tls.ca`, and complaints about `tls` as such.
fn roots(doc: &UpstreamDoc, at: &str, errors: &mut Errors) -> Option<Box<[CertificateDer<'static>]>> {
    let tls = doc.tls.as_ref()?;
    if tls.server_name.as_ref().is_some_and(|name| !reach::is_server_name(name)) {
        errors.add(format!("{at}.tls.server_name"), "it is not a host name or an address");
    }
    if tls.client_certificate.as_ref().is_some_and(|name| !super::is_name(name)) {
        errors.add(
            format!("{at}.tls.client_certificate"),
            "it is not the name of an identity: use 1 to 63 of a-z, 0-9, `-` and `_`. Certificate and key stand in node files, under `identities`",
        );
    }
    tls.roots().unwrap_or_else(|message| {
        errors.add(format!("{at}.tls.ca"), message);
        None
    })
}

/// Whoever has no gateways that others know can call none.
fn callers(docs: &[RegionDoc], path: &str, errors: &mut Errors) {
    let strangers: Vec<&str> = docs.iter().filter(|doc| doc.forwarding.is_none()).map(|doc| doc.name.as_str()).collect();
    if !strangers.is_empty() {
        errors.add(format!("{path}.reach"), format!("gateways prove from which region they call: write `forwarding` of {}", strangers.join(", ")));
    }
}

/// Whether a region's document says how its gateways are reached, rightly or not.
fn says_how(docs: &[RegionDoc], region: &str) -> bool {
    docs.iter().any(|doc| doc.name == *region && doc.forwarding.is_some())
}

/// A gateway, for the requests of one service.
fn behind(gateway: &Target, service: &str) -> Arc<Target> {
    let reach = Reach { behind: Some(service.into()), ..Reach::clone(&gateway.reach) };
    Arc::new(Target { reach: Arc::new(reach), ..gateway.clone() })
}

/// What is said of all targets of a service, or of a region's gateways.
pub(super) struct Spec<'d> {
    pub(super) protocol: Option<ProtocolDoc>,
    pub(super) server_name: Option<&'d str>,
    pub(super) identity: Option<&'d str>,
    pub(super) roots: Option<&'d [CertificateDer<'static>]>,
    pub(super) is_gateway: bool,
}

impl<'d> Spec<'d> {
    fn of(doc: &'d UpstreamDoc, roots: Option<&'d [CertificateDer<'static>]>) -> Self {
        let tls = doc.tls.as_ref();
        Self {
            protocol: doc.protocol,
            server_name: tls.and_then(|tls| tls.server_name.as_deref()),
            identity: tls.and_then(|tls| tls.client_certificate.as_deref()),
            roots,
            is_gateway: false,
        }
    }
}

pub(super) fn target(text: &str, spec: &Spec<'_>) -> Result<Target, String> {
    let url = url::Url::parse(text).map_err(|error| format!("`{text}` is not a URL ({error}); write `http://host:port`"))?;
    let is_tls = match url.scheme() {
        "http" => false,
        "https" => true,
        other => return Err(format!("`{text}`: scheme `{other}` is not supported; use `http://` or `https://`")),
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}`: a target has no credentials, query or fragment"));
    }
    let host = url.host_str().ok_or_else(|| format!("`{text}` has no host"))?;
    let version = match spec.protocol {
        Some(ProtocolDoc::Http1) => HttpVersion::Http1,
        Some(ProtocolDoc::Http2) => HttpVersion::Http2,
        Some(ProtocolDoc::Auto) if !is_tls => return Err(format!("`{text}`: `protocol: auto` needs TLS; say `http1` or `http2`, or use `https://`")),
        None if !is_tls => HttpVersion::Http1,
        Some(ProtocolDoc::Auto) | None => HttpVersion::Negotiated,
    };
    let tls = is_tls.then(|| {
        // A URL writes IPv6 addresses in brackets, certificates do not.
        let server_name = spec.server_name.unwrap_or_else(|| host.trim_start_matches('[').trim_end_matches(']'));
        ReachTls { ca: spec.roots.map(Into::into), server_name: server_name.into(), identity: spec.identity.map(Into::into) }
    });
    let usual_port = if is_tls { 443 } else { 80 };
    let port = url.port_or_known_default().unwrap_or(usual_port);
    let authority = if port == usual_port { host.to_owned() } else { format!("{host}:{port}") };
    Ok(Target {
        address: format!("{host}:{port}").into(),
        authority: authority.into(),
        base_path: url.path().trim_end_matches('/').into(),
        name: matches!(url.host(), Some(url::Host::Domain(_))).then(|| (host.into(), port)),
        reach: Arc::new(Reach { version, tls, behind: None }),
        is_gateway: spec.is_gateway,
    })
}

/// Splits `host:port`.
pub(super) fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}
