//! Compiles how responses of a route are kept.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::Method;

use super::Errors;
use crate::{
    document::{RouteDoc, UpstreamDoc},
    filter::CacheDoc,
    policy::{AuditDoc, ReadModeDoc},
    structure::{
        Reads,
        filter::{CacheRules, FieldRules, Variable},
    },
};

/// The largest body that is kept unless a route says otherwise: most API responses, and few files.
const OBJECT_BYTES_DEFAULT: u64 = 1 << 20;
/// Kept bodies are collected before they go on, so each takes this much memory for each request that is on its way.
const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// What of a route the cache must fit.
pub(super) struct Context<'c> {
    pub(super) doc: &'c RouteDoc,
    pub(super) upstream: Option<&'c UpstreamDoc>,
    pub(super) methods: &'c [Method],
    pub(super) reads: Reads,
    pub(super) get_writes: bool,
    pub(super) request_fields: Option<&'c FieldRules>,
}

pub(super) fn compile(doc: &CacheDoc, at: &str, context: &Context<'_>, errors: &mut Errors) -> CacheRules {
    if !context.methods.is_empty() && !context.methods.contains(&Method::GET) {
        errors.add(at, "only responses to GET are kept, and the route does not take it");
    }
    if context.get_writes || context.reads.mode != ReadModeDoc::Eventual {
        errors.add_with_help(
            at,
            "a stored response may be older than the route's `consistency` promises",
            Some("use `reads: { mode: eventual }` without `get_writes`, or leave `cache` out".to_owned()),
        );
    }
    if context.doc.audit == AuditDoc::Strict {
        errors.add(at, "`audit: strict` records the intent before each call of the service, and a refresh has none; use `durable`");
    }
    let told = context.request_fields.into_iter().flat_map(FieldRules::variables).find(|variable| match variable {
        Variable::Application | Variable::KeyId => true,
        Variable::Consumer | Variable::Subject | Variable::Issuer => doc.shared,
        Variable::RequestId | Variable::Tenant | Variable::Route | Variable::Region | Variable::ClientAddress | Variable::Host => false,
    });
    if told.is_some() {
        let whose = if doc.shared {
            "one response is kept for all callers"
        } else {
            "one response is kept for each consumer, or each subject of a token or signer"
        };
        errors.add(at, format!("{whose}, so the service must not be told more about the caller by `headers.request`"));
    }
    let object_bytes_max = doc.object_max.map_or(OBJECT_BYTES_DEFAULT, |bytes| bytes.0);
    if object_bytes_max == 0 || object_bytes_max > OBJECT_BYTES_MAX {
        errors.add(format!("{at}.object_max"), "a body that is kept has 1 byte to 16MiB: it is collected before it goes on");
    }
    CacheRules {
        scope: scope(context.doc, context.upstream),
        shared: doc.shared,
        object_bytes_max,
        while_revalidate: doc.stale_while_revalidate.map_or(0, |span| span.0.as_secs()),
        if_error: doc.stale_if_error.map_or(0, |span| span.0.as_secs()),
    }
}

/// A route that was edited, or whose service was, finds nothing that was kept before.
fn scope(doc: &RouteDoc, upstream: Option<&UpstreamDoc>) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Documents are plain data: writing them as JSON cannot fail, and if it did the texts would be equal for all.
    serde_json::to_string(doc).unwrap_or_default().hash(&mut hasher);
    upstream.map(serde_json::to_string).and_then(Result::ok).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
