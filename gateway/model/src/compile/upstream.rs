//! Compiles services: targets, regions and where writes go.

use std::sync::Arc;

use super::Errors;
use crate::{
    document::{RoleDoc, UpstreamDoc},
    structure::{Domain, Target, Upstream, UpstreamRegion},
};

pub(super) fn compile(doc: &UpstreamDoc, name: Arc<str>, index: usize, regions: &[Arc<str>], domains: &[Domain], errors: &mut Errors) -> Upstream {
    let at = format!("upstreams[{index}]");
    let domain = doc.domain.as_ref().and_then(|wanted| {
        let known = domains.iter().find(|domain| *domain.name == **wanted);
        if known.is_none() {
            errors.unknown(format!("{at}.domain"), "domain", wanted, domains.iter().map(|domain| &*domain.name));
        }
        known.map(|domain| Arc::clone(&domain.name))
    });
    if doc.regions.is_empty() {
        errors.add(format!("{at}.regions"), "a service needs at least one region");
    }
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
        let mut targets = Vec::new();
        for (position, url) in spec.targets.iter().enumerate() {
            match target(url) {
                Ok(target) => targets.push(Arc::new(target)),
                Err(message) => errors.add(format!("{path}.targets[{position}]"), message),
            }
        }
        out.push(UpstreamRegion { region: Arc::clone(region), targets });
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
    let resilience = super::resilience::upstream(doc, &at, errors);
    Upstream {
        name,
        index,
        resilience,
        domain,
        writer,
        regions: out,
        connect_timeout: doc.timeouts.connect.0,
        response_timeout: doc.timeouts.response.0,
        idle_timeout: doc.timeouts.idle.0,
    }
}

fn target(text: &str) -> Result<Target, String> {
    let url = url::Url::parse(text).map_err(|error| format!("`{text}` is not a URL ({error}); write `http://host:port`"))?;
    match url.scheme() {
        "http" => {}
        "https" => return Err(format!("`{text}`: TLS to services comes with a later release; use `http://`")),
        other => return Err(format!("`{text}`: scheme `{other}` is not supported; use `http://`")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}`: a target has no credentials, query or fragment"));
    }
    let host = url.host_str().ok_or_else(|| format!("`{text}` has no host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let authority = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
    let name = matches!(url.host(), Some(url::Host::Domain(_))).then(|| (host.into(), port));
    Ok(Target { address: format!("{host}:{port}").into(), authority: authority.into(), base_path: url.path().trim_end_matches('/').into(), name })
}

/// Splits `host:port`.
pub(super) fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}
