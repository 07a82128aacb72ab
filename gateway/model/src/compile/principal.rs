//! Compiles which services are told who calls.

use std::sync::Arc;

use super::Errors;
use crate::{
    document::UpstreamDoc,
    structure::{Upstream, identity::Auth, resilience::Diversions},
};

/// Longest audience, in bytes: it stands in each token, and services take heads of 8 KiB as a rule.
const AUDIENCE_BYTES_MAX: usize = 255;

/// For whom the tokens of a service are, if it asks for any.
pub(super) fn audience(doc: &UpstreamDoc, name: &Arc<str>, at: &str, errors: &mut Errors) -> Option<Arc<str>> {
    let Some(written) = &doc.principal.as_ref()?.audience else { return Some(Arc::clone(name)) };
    let is_plain = |audience: &str| audience.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if written.is_empty() || written.len() > AUDIENCE_BYTES_MAX || !is_plain(written) {
        errors.add(
            format!("{at}.principal.audience"),
            format!("an audience has 1 to {AUDIENCE_BYTES_MAX} bytes without blanks; leave it out for the service's name"),
        );
    }
    Some(Arc::from(written.as_str()))
}

/// Says what is wrong with keeping responses of services that are told who calls: they may rest on any claim, on scopes or on the key.
pub(super) fn cached(at: &str, auth: &Auth, upstream: Option<&Arc<Upstream>>, diversions: &Diversions, errors: &mut Errors) {
    if auth.is_none() {
        return;
    }
    let canaries = diversions.canaries.iter().map(|canary| &canary.upstream);
    let shares = diversions.shares.iter().map(|share| &share.upstream);
    let told = upstream.into_iter().chain(canaries).chain(shares).find(|service| service.principal.is_some());
    if let Some(service) = told {
        errors.add(
            format!("{at}.cache"),
            format!("service `{}` is told who calls (its `principal`), so nothing that it answers can be kept for others", service.name),
        );
    }
}

#[cfg(test)]
mod tests;
