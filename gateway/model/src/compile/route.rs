//! Compiles one route.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, Method};

use super::{Compiled, Errors, Tenants, auth, consistency, filter, is_name, quota, token_endpoint, websocket};
use crate::{
    consistency_token::TenantMark,
    document::{AllowDoc, LimitDoc, RegionDoc, RouteDoc, UpstreamDoc, ValidationDoc},
    host::HostPattern,
    identity::{ClientCertificateDoc, ImportedKeysDoc},
    openapi::Api,
    policy::AuditDoc,
    rewrite::Rewrite,
    structure::{Allow, Domain, LimitSource, Plan, Route, RouteLimit, Upstream, identity::Auth},
    trie::Pattern,
};

/// The largest body a route takes unless it says otherwise: what most JSON APIs need, and what streams anyway.
const BODY_BYTES_DEFAULT: u64 = 10 << 20;
/// The largest body of a route with a schema: such bodies are held in memory while they are checked.
const BODY_BYTES_CHECKED_MAX: u64 = 16 << 20;
/// Limits a route may have: each costs a look-up per request and a pair of header members.
const LIMITS_MAX: usize = 8;

pub(super) struct Context<'a> {
    pub(super) proofs: auth::Known<'a>,
    pub(super) tenants: &'a Tenants,
    pub(super) plans: &'a HashMap<Arc<str>, Plan>,
    pub(super) apis: &'a HashMap<Arc<str>, Option<Arc<Api>>>,
    pub(super) upstreams: &'a HashMap<Arc<str>, Arc<Upstream>>,
    pub(super) upstream_docs: &'a [UpstreamDoc],
    pub(super) region_docs: &'a [RegionDoc],
    pub(super) domains: &'a [Domain],
    /// What stands for a service where the gateway answers itself.
    pub(super) own: Arc<Upstream>,
}

pub(super) fn compile(doc: &RouteDoc, index: usize, context: &Context<'_>, errors: &mut Errors) -> Option<Compiled> {
    let at = format!("routes[{index}]");
    let before = errors.0.len();
    let tenant_hosts = hosts(doc, &at, context.tenants, errors);
    let pattern = match Pattern::parse(&doc.matches.path) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            errors.add(format!("{at}.match.path"), format!("`{}`: {error}", doc.matches.path));
            None
        }
    };
    let methods = methods(doc, &at, errors);
    let headers = headers(doc, &at, errors);
    let auth = auth::auth(&doc.auth, &format!("{at}.auth"), context.proofs, errors);
    let api = doc.api.as_ref().and_then(|name| {
        let known = context.apis.get(name.as_str());
        if known.is_none() {
            errors.unknown(format!("{at}.api"), "API", name, context.apis.keys().map(|known| &**known));
        }
        known.cloned().flatten()
    });
    let token_endpoint = token_endpoint::compile(doc, &at, &auth, errors);
    let upstream = if token_endpoint.is_some() { Some(&context.own) } else { service(doc, &at, context, errors) };
    let limits = limits(doc, &at, &auth, context, errors);
    let (keys, reads, get_writes) = consistency::policy(&doc.consistency, &at, errors);
    consistency::bounded(doc, reads.mode, &at, context, errors);
    let retries = super::resilience::retries(&doc.retries, &at, errors);
    let diversions = super::resilience::diversions(doc, &at, context, errors);
    let residency = super::residency::lawful(doc.residency.as_deref(), &at, context.region_docs, errors);
    for service in upstream.into_iter().chain(diversions.services()) {
        super::residency::served(&residency, service, may_write(doc, get_writes), context.domains, &at, errors);
    }
    unsupported(doc, &at, errors);
    access(doc, &at, &auth, errors);
    let rewrite = rewrite(doc, &at, errors);
    let upstream_host = filter::upstream_host(doc.upstream_host.as_deref(), &at, errors);
    let upstream_doc = context.upstream_docs.iter().find(|known| known.name == doc.upstream);
    let filters = filter::compile(doc, &at, &filter::Context { auth: &auth, methods: &methods, upstream: upstream_doc, reads, get_writes }, errors);
    if doc.cache.is_some() {
        super::principal::cached(&at, &auth, upstream, &diversions, errors);
    }
    let websocket = websocket::compile(doc, &at, &methods, context.upstream_docs, errors);
    let body_bytes_max = doc.body_max.map_or(BODY_BYTES_DEFAULT, |bytes| bytes.0);
    if api.is_some() && body_bytes_max > BODY_BYTES_CHECKED_MAX {
        errors.add(format!("{at}.body_max"), "bodies that are checked against a schema are held in memory: at most 16MiB");
    }
    if websocket.is_some() && auth.takes_signature_twice() {
        errors.add_with_help(
            format!("{at}.websocket"),
            "nothing in a signature says that a WebSocket is meant, so that whoever has seen one could open a WebSocket with it",
            Some("use `nonce: required` with `signature`: then it is worth one request".to_owned()),
        );
    }
    if auth.takes_signature() && body_bytes_max > BODY_BYTES_CHECKED_MAX {
        errors.add(format!("{at}.body_max"), "bodies that a signature covers are held in memory until they are checked: at most 16MiB");
    }
    if errors.0.len() > before {
        return None;
    }
    let (tenant, hosts) = tenant_hosts?;
    let upstream = Arc::clone(upstream?);
    let timeout = doc.timeout.map_or(upstream.connect_timeout + upstream.response_timeout + Duration::from_secs(5), |span| span.0);
    let route = Arc::new(Route {
        name: Arc::from(doc.name.as_str()),
        tenant_mark: TenantMark::of(&tenant),
        tenant,
        pattern: doc.matches.path.as_str().into(),
        methods,
        headers,
        asks_certificate: auth.asks_certificate() || doc.client_certificate == ClientCertificateDoc::Ask,
        imported_keys: doc.imported_keys,
        auth,
        scopes: doc.scopes.iter().map(|scope| scope.as_str().into()).collect(),
        allow: doc.allow.as_ref().map(allow),
        limits,
        keys,
        reads,
        residency,
        get_writes,
        audit: doc.audit,
        api,
        enforce: doc.validation == ValidationDoc::Enforce,
        upstream,
        token_endpoint,
        diversions: (!diversions.canaries.is_empty() || !diversions.shares.is_empty() || diversions.mirror.is_some()).then(|| Box::new(diversions)),
        retries,
        rewrite,
        upstream_host,
        filters,
        websocket,
        body_bytes_max,
        timeout,
    });
    Some(Compiled { index, hosts, pattern: pattern?, route })
}

/// Whether requests may have to go where writes go.
fn may_write(doc: &RouteDoc, get_writes: bool) -> bool {
    get_writes || doc.matches.methods.is_empty() || doc.matches.methods.iter().any(|method| !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS"))
}

fn service<'c>(doc: &RouteDoc, at: &str, context: &'c Context<'_>, errors: &mut Errors) -> Option<&'c Arc<Upstream>> {
    let path = format!("{at}.upstream");
    if doc.upstream.is_empty() {
        errors.add(path, "name the service that answers, or write `token_endpoint: {}` where the gateway is to give access tokens");
        return None;
    }
    let known = context.upstreams.get(doc.upstream.as_str());
    if known.is_none() {
        errors.unknown(path, "upstream", &doc.upstream, context.upstreams.keys().map(|known| &**known));
    }
    known
}

fn hosts(doc: &RouteDoc, at: &str, tenants: &Tenants, errors: &mut Errors) -> Option<(Arc<str>, Vec<HostPattern>)> {
    let Some(wanted) = &doc.matches.host else {
        let mut all = tenants.iter();
        if let (Some((tenant, hosts)), None) = (all.next(), all.next()) {
            return Some((Arc::clone(tenant), hosts.clone()));
        }
        errors.add(format!("{at}.match.host"), "say which host the route serves: there is not exactly one tenant");
        return None;
    };
    let mut owner: Option<&Arc<str>> = None;
    for host in wanted.as_slice() {
        let found = tenants.iter().find(|(_, hosts)| hosts.iter().any(|pattern| pattern == host || covers(pattern, host)));
        match (found, owner) {
            (None, _) => errors.add_with_help(
                format!("{at}.match.host"),
                format!("host `{host}` belongs to no tenant"),
                Some("add it to the `hosts` of a tenant".to_owned()),
            ),
            (Some((tenant, _)), Some(other)) if tenant != other => {
                errors
                    .add(format!("{at}.match.host"), format!("host `{host}` belongs to tenant `{tenant}`, the others to `{other}`: make two routes"));
            }
            (Some((tenant, _)), _) => owner = Some(tenant),
        }
    }
    Some((Arc::clone(owner?), wanted.as_slice().to_vec()))
}

fn covers(pattern: &HostPattern, host: &HostPattern) -> bool {
    pattern.is_wildcard() && host.name().strip_suffix(pattern.name()).is_some_and(|rest| rest.ends_with('.'))
}

fn methods(doc: &RouteDoc, at: &str, errors: &mut Errors) -> Box<[Method]> {
    let mut out = Vec::new();
    for (position, text) in doc.matches.methods.iter().enumerate() {
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if method != Method::CONNECT && text.bytes().all(|byte| byte.is_ascii_uppercase()) => out.push(method),
            _ => errors.add(format!("{at}.match.methods[{position}]"), format!("`{text}` is not a method that can be routed; write GET, POST, ..")),
        }
    }
    // HEAD asks what GET would answer (RFC 9110 section 9.3.2): it must meet the same rules, not a less specific route's.
    if out.contains(&Method::GET) && !out.contains(&Method::HEAD) {
        out.push(Method::HEAD);
    }
    out.into()
}

fn headers(doc: &RouteDoc, at: &str, errors: &mut Errors) -> Box<[(HeaderName, Box<[u8]>)]> {
    let mut out = Vec::new();
    for (name, value) in &doc.matches.headers {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(header) => out.push((header, value.as_bytes().into())),
            Err(_) => errors.add(format!("{at}.match.headers.{name}"), format!("`{name}` is not a header name")),
        }
    }
    out.into()
}

fn limits(doc: &RouteDoc, at: &str, auth: &Auth, context: &Context<'_>, errors: &mut Errors) -> Box<[RouteLimit]> {
    let mut out: Vec<RouteLimit> = Vec::new();
    if doc.limits.len() > LIMITS_MAX {
        errors.add(format!("{at}.limits"), format!("a route has at most {LIMITS_MAX} limits"));
    }
    for (position, limit) in doc.limits.iter().enumerate() {
        let path = format!("{at}.limits[{position}]");
        if !is_name(&limit.name) {
            errors.add(format!("{path}.name"), format!("`{}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`", limit.name));
        }
        if out.iter().any(|other| *other.name == *limit.name) {
            errors.add(format!("{path}.name"), format!("the limit `{}` stands twice on this route", limit.name));
        }
        if auth.is_none() && limit.by != crate::document::ByDoc::Address {
            errors.add_with_help(
                format!("{path}.by"),
                "a route without authentication can only count addresses",
                Some("write `by: address`".to_owned()),
            );
        }
        if limit.scope.as_deref().is_some_and(|scope| scope != "local") || limit.bound.is_some() {
            errors.add(&path, "limits count per node in this release; `scope: global` and `bound` come later and are refused until then");
        }
        if let Some(source) = limit_source(limit, &path, context.plans, errors) {
            out.push(RouteLimit { name: Arc::from(limit.name.as_str()), scope: limit_scope(doc, limit), by: limit.by, source });
        }
    }
    out.into()
}

/// A limit from a plan is shared by every route that names it; any other belongs to its route.
fn limit_scope(doc: &RouteDoc, limit: &LimitDoc) -> u64 {
    let mut hasher = DefaultHasher::new();
    match &limit.from {
        Some(from) => ("plan", from.as_str()).hash(&mut hasher),
        None => ("route", doc.name.as_str(), limit.name.as_str()).hash(&mut hasher),
    }
    limit.by.hash(&mut hasher);
    hasher.finish()
}

fn limit_source(limit: &LimitDoc, path: &str, plans: &HashMap<Arc<str>, Plan>, errors: &mut Errors) -> Option<LimitSource> {
    match (&limit.rate, &limit.from) {
        (Some(rate), None) => quota(*rate, limit.burst, path, errors).map(LimitSource::Fixed),
        (None, Some(_)) if limit.burst.is_some() => {
            errors.add(format!("{path}.burst"), "with `from` the burst stands in the plan; remove it here");
            None
        }
        (None, Some(from)) => {
            let Some(name) = from.strip_prefix("plan.").filter(|name| is_name(name)) else {
                errors.add(format!("{path}.from"), format!("`{from}` is not `plan.<limit>`"));
                return None;
            };
            let mut lacking: Vec<&str> = plans.iter().filter(|(_, plan)| !plan.limits.contains_key(name)).map(|(plan, _)| &**plan).collect();
            lacking.sort_unstable();
            if plans.is_empty() || !lacking.is_empty() {
                // A plan without the limit would be unlimited, or shut out: neither should happen by omission.
                let which = if lacking.is_empty() { "there is no plan".to_owned() } else { format!("these plans lack it: {}", lacking.join(", ")) };
                errors.add(format!("{path}.from"), format!("every plan needs a limit named `{name}`; {which}"));
                return None;
            }
            Some(LimitSource::Plan(name.into()))
        }
        _ => {
            errors.add(path, "a limit has either a `rate` or a `from`");
            None
        }
    }
}

fn unsupported(doc: &RouteDoc, at: &str, errors: &mut Errors) {
    if doc.idempotency.is_some() {
        errors.add(format!("{at}.idempotency"), "idempotency comes with a later release and is refused until then; remove it");
    }
    if doc.audit == AuditDoc::Replicated {
        errors.add(format!("{at}.audit"), "`replicated` comes with a later release and is refused until then; use `strict`");
    }
}

fn rewrite(doc: &RouteDoc, at: &str, errors: &mut Errors) -> Option<Rewrite> {
    let compiled = Rewrite::compile(doc.rewrite.as_ref()?, &doc.matches.path);
    compiled.map_err(|(field, error)| errors.add(format!("{at}.rewrite.{field}"), error.to_string())).ok()
}

fn access(doc: &RouteDoc, at: &str, auth: &Auth, errors: &mut Errors) {
    for (position, scope) in doc.scopes.iter().enumerate() {
        if !is_scope(scope) {
            errors.add(format!("{at}.scopes[{position}]"), format!("`{scope}` is not a scope (RFC 6749 section 3.3)"));
        }
    }
    if auth.is_none() && (!doc.scopes.is_empty() || doc.allow.is_some()) {
        errors.add(format!("{at}.auth"), "a route without authentication cannot ask for scopes or name who may use it");
    }
    if doc.client_certificate == ClientCertificateDoc::Ask && !auth.takes_key() {
        errors.add_with_help(
            format!("{at}.client_certificate"),
            "only keys can be bound to a certificate, and this route takes none",
            Some("leave it out: where `auth` needs a certificate, clients are asked for one anyway".to_owned()),
        );
    }
    if doc.imported_keys == ImportedKeysDoc::Accept && !auth.takes_key() {
        errors.add(format!("{at}.imported_keys"), "the route takes no keys; leave it out, or let `auth` have `api_key`");
    }
    if doc.allow.as_ref().is_some_and(|allow| allow.consumers.is_empty() && allow.applications.is_empty()) {
        errors.add(format!("{at}.allow"), "an empty list would refuse everybody; leave `allow` out, or name a consumer or application");
    }
}

/// True for a scope token (RFC 6749 section 3.3), at most 64 bytes.
pub(crate) fn is_scope(scope: &str) -> bool {
    (1..=64).contains(&scope.len()) && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn allow(doc: &AllowDoc) -> Allow {
    let set = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    Allow { consumers: set(&doc.consumers), applications: set(&doc.applications) }
}
