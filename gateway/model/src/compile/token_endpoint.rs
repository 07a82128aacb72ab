//! Compiles routes that the gateway answers itself, with access tokens for API keys.

use std::{collections::BTreeMap, sync::Arc};

use super::{Errors, resilience};
use crate::{
    access_token::LIFE_SECONDS_MAX,
    document::{RouteDoc, TimeoutsDoc, UpstreamDoc},
    duration::Span,
    resilience::RetriesDoc,
    structure::{TokenEndpoint, Upstream, identity::Auth},
};

/// What records have where a service would stand. No service can be named so.
const OWN: &str = "(gateway)";
/// How long a token lives unless the route says otherwise: what a client with a clock that is off still manages, and short for a thief.
const LIFE_SECONDS_DEFAULT: i64 = 300;
/// Below, clients would ask for tokens all the time.
const LIFE_SECONDS_MIN: i64 = 30;

/// Reads `routes[].token_endpoint`, and says what does not go with it.
pub(super) fn compile(doc: &RouteDoc, at: &str, auth: &Auth, errors: &mut Errors) -> Option<TokenEndpoint> {
    let endpoint = doc.token_endpoint.as_ref()?;
    if !matches!(auth, Auth::ApiKey) {
        errors.add(format!("{at}.auth"), "a token endpoint gives tokens for API keys: write `auth: api_key`, or leave it out");
    }
    if doc.matches.methods != ["POST"] {
        errors.add(format!("{at}.match.methods"), "a token endpoint is asked with POST alone: write `methods: [POST]`");
    }
    for (name, is_there) in meaningless(doc) {
        if is_there {
            errors.add(format!("{at}.{name}"), format!("the gateway answers on this route itself, so `{name}` means nothing here; remove it"));
        }
    }
    let seconds = endpoint.lifetime.map_or(LIFE_SECONDS_DEFAULT, |span| i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX));
    let is_whole = endpoint.lifetime.is_none_or(|span| span.0.subsec_nanos() == 0);
    if !is_whole || !(LIFE_SECONDS_MIN..=LIFE_SECONDS_MAX).contains(&seconds) {
        errors.add(format!("{at}.token_endpoint.lifetime"), "a token lives for 30s to 60m, in whole seconds");
    }
    Some(TokenEndpoint { lifetime_seconds: seconds })
}

fn meaningless(doc: &RouteDoc) -> [(&'static str, bool); 12] {
    [
        ("upstream", !doc.upstream.is_empty()),
        ("split", !doc.split.is_empty()),
        ("canary", !doc.canary.is_empty()),
        ("mirror", doc.mirror.is_some()),
        ("retries", doc.retries != RetriesDoc::default()),
        ("api", doc.api.is_some()),
        ("rewrite", doc.rewrite.is_some()),
        ("upstream_host", doc.upstream_host.is_some()),
        ("cache", doc.cache.is_some()),
        // What is secret in it could be guessed from the length, beside text that the client chooses.
        ("compression", doc.compression.is_some()),
        ("websocket", doc.websocket.is_some()),
        ("body_max", doc.body_max.is_some()),
    ]
}

/// What stands for a service: it has no region, so nothing can be sent to it.
pub(super) fn own(errors: &mut Errors) -> Arc<Upstream> {
    let doc = UpstreamDoc {
        residency: None,
        name: OWN.to_owned(),
        domain: None,
        regions: BTreeMap::new(),
        timeouts: TimeoutsDoc::default(),
        protocol: None,
        tls: None,
        principal: None,
        balance: crate::resilience::BalanceDoc::default(),
        in_flight: None,
        slow_start: None,
        health: None,
        outliers: crate::resilience::OutliersDoc::default(),
        panic_percent: 0,
        breaker: None,
        retry_budget: crate::resilience::BudgetDoc::default(),
        resolve_every: Span(std::time::Duration::from_secs(10)),
    };
    Arc::new(Upstream {
        name: Arc::from(OWN),
        // Beyond every list of services.
        index: usize::MAX,
        resilience: resilience::upstream(&doc, OWN, errors),
        principal: None,
        domain: None,
        tracked: None,
        beating: None,
        writer: None,
        regions: Vec::new(),
        residency: crate::residency::Residency::default(),
        connect_timeout: doc.timeouts.connect.0,
        response_timeout: doc.timeouts.response.0,
        idle_timeout: doc.timeouts.idle.0,
    })
}

#[cfg(test)]
mod tests;
