//! What a document asks of the nodes that serve it.

use super::{ConfigError, Errors};
use crate::{
    source::nearest,
    structure::{Structure, identity::KeySource},
};

/// By what a node proves itself, and its callers, to services.
#[derive(Debug, Clone, Copy)]
pub struct Means<'m> {
    /// The names of its identities.
    pub identities: &'m [&'m str],
    /// Whether it can sign who calls.
    pub principals: Signing,
    /// Whether it can sign access tokens.
    pub tokens: Signing,
    /// The names of what it proves itself with to issuers that it asks about tokens.
    pub introspection_clients: &'m [&'m str],
}

/// Whether a node can sign something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// It has a key.
    Ready,
    /// It has none.
    Keyless,
}

/// Checks that a node has what a document wants services to see of it.
///
/// # Errors
/// One for each identity, each service that wants to know who calls, and each issuer that is asked about tokens, that the node has nothing for. A node
/// that called without would be somebody else to the service, or nobody.
pub fn check(structure: &Structure, means: Means<'_>) -> Result<(), Vec<ConfigError>> {
    let mut errors = Errors::default();
    for (index, issuer) in structure.issuers.iter().enumerate() {
        let KeySource::Introspection(introspection) = &issuer.keys else { continue };
        let (name, known) = (&*introspection.client, means.introspection_clients);
        if !known.contains(&name) {
            let help = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            errors.add_with_help(
                format!("issuers[{index}].introspection.client"),
                format!(
                    "this node has no client named `{name}`; write it under `introspection_clients` in every node file, restart the nodes, then apply"
                ),
                help,
            );
        }
    }
    for (index, upstream) in structure.upstreams.iter().enumerate() {
        if upstream.principal.is_some() && means.principals == Signing::Keyless {
            errors.add(
                format!("upstreams[{index}].principal"),
                "this node has no key to sign who calls; write it under `principal` in every node file, restart the nodes, then apply",
            );
        }
        let tls = upstream.regions.iter().flat_map(|region| &region.targets).find_map(|target| target.reach.tls.as_ref());
        let known = means.identities;
        let Some(name) = tls.and_then(|tls| tls.identity.as_deref()).filter(|name| !known.contains(name)) else { continue };
        let help = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        errors.add_with_help(
            format!("upstreams[{index}].tls.client_certificate"),
            format!("this node has no identity named `{name}`; write it under `identities` in every node file, restart the nodes, then apply"),
            help,
        );
    }
    for (index, region) in structure.regions.iter().enumerate() {
        // None but those that a service is behind are called.
        let mut behind = structure.upstreams.iter().flat_map(|upstream| &upstream.regions).filter(|behind| behind.region == *region);
        let Some(gateway) = behind.find_map(|behind| behind.gateways.first()) else { continue };
        let (known, tls) = (means.identities, gateway.reach.tls.as_ref());
        let Some(name) = tls.and_then(|tls| tls.identity.as_deref()).filter(|name| !known.contains(name)) else { continue };
        let help = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        errors.add_with_help(
            format!("regions[{index}].forwarding.client_certificate"),
            format!("this node has no identity named `{name}`; write it under `identities` in every node file, restart the nodes, then apply"),
            help,
        );
    }
    for (index, route) in structure.routes.iter().enumerate() {
        if route.token_endpoint.is_some() && means.tokens == Signing::Keyless {
            errors.add(
                format!("routes[{index}].token_endpoint"),
                "this node has no key to sign access tokens; write it under `secrets.access_tokens` in every node file, restart the nodes, then apply",
            );
        }
    }
    if errors.0.is_empty() { Ok(()) } else { Err(errors.0) }
}

#[cfg(test)]
mod tests;
