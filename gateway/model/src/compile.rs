//! Turns a document into a structure, or into every mistake in it.
//!
//! The same code runs in `causeway check`, in the admin API and in every node, so that what was accepted is what is
//! served. All mistakes are reported, not the first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroU32,
    sync::Arc,
};

use http::Method;

use crate::{
    document::{ApiDoc, Document, PlanDoc, TenantDoc},
    host::HostPattern,
    limit::Quota,
    openapi::Api,
    residency::RegionLabels,
    source::nearest,
    structure::{HostTable, Plan, Route, RouteTable, Structure, Upstream},
    trie::{Pattern, Trie},
};

mod auth;
mod cache;
mod certificate;
mod consistency;
mod domain;
mod fields;
mod filter;
mod forwarding;
mod identity;
pub mod node;
mod portal;
mod principal;
mod residency;
mod resilience;
mod route;
mod signer;
mod token_endpoint;
mod upstream;
mod websocket;

/// A mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: `routes[3].match.path`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Collects mistakes while compiling goes on.
#[derive(Debug, Default)]
struct Errors(Vec<ConfigError>);

impl Errors {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigError { path: path.into(), message: message.into(), help: None });
    }

    fn add_with_help(&mut self, path: impl Into<String>, message: impl Into<String>, help: Option<String>) {
        self.0.push(ConfigError { path: path.into(), message: message.into(), help });
    }

    /// A reference to something that does not exist, with the nearest name that does.
    fn unknown<'n, I: IntoIterator<Item = &'n str>>(&mut self, path: impl Into<String>, what: &str, name: &str, known: I) {
        let help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        self.add_with_help(path, format!("there is no {what} named `{name}`"), help);
    }
}

/// Compiles a document.
///
/// # Errors
/// Every mistake found, in document order within each section.
pub fn compile(document: &Document) -> Result<Structure, Vec<ConfigError>> {
    let mut errors = Errors::default();
    if document.version != 1 {
        errors.add("version", format!("version {} is not known; this program reads version 1", document.version));
    }
    let regions = names("regions", document.regions.iter().map(|doc| doc.name.as_str()), &mut errors);
    let tenants = tenants(&document.tenants, &mut errors);
    let plans = plans(&document.plans, &mut errors);
    let domains = domain::domains(document, &regions, &mut errors);
    let apis = apis(document, &mut errors);
    residency::regions(document, &mut errors);
    let forwarding = forwarding::forwarding(&document.regions, &regions, &tenants, &mut errors);
    let places = upstream::Places { names: &regions, docs: &document.regions, domains: &domains, forwarding: &forwarding };
    let upstreams = upstreams(document, &places, &mut errors);
    callers(document, &tenants, &mut errors);
    portal::check(document, &mut errors);
    let issuers = identity::issuers(&document.issuers, &mut errors);
    let authorities = certificate::authorities(&document.certificate_authorities, &mut errors);
    let signers = signer::signers(&document.signers, &mut errors);
    let context = route::Context {
        proofs: auth::Known { issuers: &issuers, authorities: &authorities, signers: &signers },
        tenants: &tenants,
        plans: &plans,
        apis: &apis,
        upstreams: &upstreams,
        upstream_docs: &document.upstreams,
        region_docs: &document.regions,
        domains: &domains,
        own: token_endpoint::own(&mut errors),
    };
    names("routes", document.routes.iter().map(|doc| doc.name.as_str()), &mut errors);
    let mut compiled = Vec::with_capacity(document.routes.len());
    for (index, doc) in document.routes.iter().enumerate() {
        compiled.extend(route::compile(doc, index, &context, &mut errors));
    }
    let hosts = host_table(&compiled, &mut errors);
    if !errors.0.is_empty() {
        return Err(errors.0);
    }
    Ok(Structure {
        hosts,
        routes: compiled.into_iter().map(|entry| entry.route).collect(),
        upstreams: document.upstreams.iter().filter_map(|doc| upstreams.get(doc.name.as_str()).cloned()).collect(),
        plans,
        issuers: issuers.all(),
        authorities: authorities.all(),
        signers: signers.all(),
        failover: failover(document, &regions),
        forwarding,
        deployment: crate::hops::deployment(document),
        labels: RegionLabels::of(&document.regions),
        regions,
        domains,
    })
}

/// Checks the names of a section: form and uniqueness.
fn names<'a, I: Iterator<Item = &'a str>>(section: &str, names: I, errors: &mut Errors) -> Vec<Arc<str>> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for (index, name) in names.enumerate() {
        let path = format!("{section}[{index}].name");
        if !is_name(name) {
            errors.add(&path, format!("`{name}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`, starting with a letter or digit"));
        } else if !seen.insert(name) {
            errors.add(&path, format!("the name `{name}` is used twice in `{section}`"));
        }
        out.push(Arc::from(name));
    }
    out
}

/// True for the names that may stand in metric labels, URLs and records.
pub fn is_name(name: &str) -> bool {
    let first_ok = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    first_ok && name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
}

/// Tenants by name, each with its host patterns.
type Tenants = BTreeMap<Arc<str>, Vec<HostPattern>>;

fn tenants(docs: &[TenantDoc], errors: &mut Errors) -> Tenants {
    let names = names("tenants", docs.iter().map(|doc| doc.name.as_str()), errors);
    let mut owners: HashMap<&HostPattern, &str> = HashMap::new();
    let mut out = Tenants::new();
    for (index, (doc, name)) in docs.iter().zip(names).enumerate() {
        for (position, host) in doc.hosts.iter().enumerate() {
            if let Some(owner) = owners.insert(host, doc.name.as_str()) {
                errors.add(format!("tenants[{index}].hosts[{position}]"), format!("host `{host}` already belongs to tenant `{owner}`"));
            }
        }
        out.insert(name, doc.hosts.clone());
    }
    out
}

fn plans(docs: &[PlanDoc], errors: &mut Errors) -> HashMap<Arc<str>, Plan> {
    let names = names("plans", docs.iter().map(|doc| doc.name.as_str()), errors);
    let mut out = HashMap::new();
    for (index, (doc, name)) in docs.iter().zip(names).enumerate() {
        let mut limits = HashMap::new();
        for (limit, spec) in &doc.limits {
            let path = format!("plans[{index}].limits.{limit}");
            if !is_name(limit) {
                errors.add(&path, format!("`{limit}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`"));
            }
            if let Some(quota) = quota(spec.rate, spec.burst, &path, errors) {
                limits.insert(limit.as_str().into(), quota);
            }
        }
        out.insert(name, Plan { limits });
    }
    out
}

fn quota(rate: crate::limit::Rate, burst: Option<u32>, path: &str, errors: &mut Errors) -> Option<Quota> {
    match burst.map(NonZeroU32::new) {
        Some(None) => {
            errors.add(format!("{path}.burst"), "a burst of 0 would refuse everything; leave it out or write at least 1");
            None
        }
        Some(burst) => Some(Quota::new(rate, burst)),
        None => Some(Quota::new(rate, None)),
    }
}

fn apis(document: &Document, errors: &mut Errors) -> HashMap<Arc<str>, Option<Arc<Api>>> {
    let names = names("apis", document.apis.iter().map(|doc| doc.name.as_str()), errors);
    let mut out = HashMap::new();
    for (index, (doc, name)) in document.apis.iter().zip(names).enumerate() {
        let compiled = if let serde_json::Value::String(file) = &doc.openapi {
            errors.add(
                format!("apis[{index}].openapi"),
                format!("`{file}` is a file name, and files are read by the command line only; put the document inline"),
            );
            None
        } else {
            api(doc, index, errors)
        };
        out.insert(name, compiled);
    }
    out
}

fn api(doc: &ApiDoc, index: usize, errors: &mut Errors) -> Option<Arc<Api>> {
    match Api::compile(&doc.name, &doc.openapi) {
        Ok(api) => Some(Arc::new(api)),
        Err(found) => {
            for error in found {
                let place = if error.pointer.is_empty() { String::new() } else { format!(" at {}", error.pointer) };
                errors.add_with_help(format!("apis[{index}].openapi"), format!("API `{}`{place}: {}", doc.name, error.message), error.help);
            }
            None
        }
    }
}

fn upstreams(document: &Document, places: &upstream::Places<'_>, errors: &mut Errors) -> HashMap<Arc<str>, Arc<Upstream>> {
    let docs = &document.upstreams;
    let names = names("upstreams", docs.iter().map(|doc| doc.name.as_str()), errors);
    docs.iter()
        .zip(names)
        .enumerate()
        .map(|(index, (doc, name))| (Arc::clone(&name), Arc::new(upstream::compile(doc, name, index, places, errors))))
        .collect()
}

/// The regions in whose place others serve.
fn failover(document: &Document, regions: &[Arc<str>]) -> HashMap<Arc<str>, Vec<Arc<str>>> {
    let known = |name: &str| regions.iter().find(|known| ***known == *name).cloned();
    let listed = document.regions.iter().filter(|doc| !doc.failover.is_empty());
    listed.filter_map(|doc| Some((known(&doc.name)?, doc.failover.iter().filter_map(|name| known(name)).collect()))).collect()
}

/// Checks the references of consumers and applications that stand in the document.
fn callers(document: &Document, tenants: &Tenants, errors: &mut Errors) {
    names("consumers", document.consumers.iter().map(|doc| doc.name.as_str()), errors);
    names("applications", document.applications.iter().map(|doc| doc.name.as_str()), errors);
    for (index, doc) in document.consumers.iter().enumerate() {
        let path = format!("consumers[{index}].tenant");
        match &doc.tenant {
            Some(tenant) if tenants.contains_key(tenant.as_str()) => {}
            Some(tenant) => errors.unknown(path, "tenant", tenant, tenants.keys().map(|name| &**name)),
            None if tenants.len() == 1 => {}
            None => errors.add(path, "say which tenant the consumer belongs to: there is not exactly one"),
        }
        residency::consumer(doc, &format!("consumers[{index}].residency"), &document.regions, errors);
    }
    for (index, doc) in document.applications.iter().enumerate() {
        if !document.consumers.iter().any(|consumer| consumer.name == doc.consumer) {
            errors.unknown(
                format!("applications[{index}].consumer"),
                "consumer",
                &doc.consumer,
                document.consumers.iter().map(|consumer| consumer.name.as_str()),
            );
        }
        if let Some(plan) = &doc.plan
            && !document.plans.iter().any(|known| known.name == *plan)
        {
            errors.unknown(format!("applications[{index}].plan"), "plan", plan, document.plans.iter().map(|known| known.name.as_str()));
        }
    }
}

/// A compiled route, with the hosts it serves and its parsed pattern.
#[derive(Debug)]
struct Compiled {
    index: usize,
    hosts: Vec<HostPattern>,
    pattern: Pattern,
    route: Arc<Route>,
}

fn host_table(compiled: &[Compiled], errors: &mut Errors) -> HostTable {
    let mut by_host: BTreeMap<&HostPattern, Vec<&Compiled>> = BTreeMap::new();
    for entry in compiled {
        for host in &entry.hosts {
            by_host.entry(host).or_default().push(entry);
        }
    }
    let mut table = HostTable::default();
    let mut reported = HashSet::new();
    for (host, entries) in by_host {
        let mut trie = Trie::default();
        let mut shapes: HashMap<String, Vec<&Compiled>> = HashMap::new();
        for entry in &entries {
            let same = shapes.entry(entry.pattern.shape()).or_default();
            for other in same.iter() {
                if overlap(&entry.route, &other.route) && reported.insert((entry.index, other.index)) {
                    errors.add_with_help(
                        format!("routes[{}].match", entry.index),
                        format!("routes `{}` and `{}` can take the same request, and neither is more specific", other.route.name, entry.route.name),
                        Some("give them different methods, or let one of them match an additional header".to_owned()),
                    );
                }
            }
            same.push(entry);
            trie.insert(&entry.pattern, Arc::clone(&entry.route));
        }
        // More conditions first; a route for named methods before one for all.
        trie.sort_by_key(|route| (std::cmp::Reverse(route.headers.len()), route.methods.is_empty()));
        let Some(first) = entries.first() else { continue };
        let asks_certificate = entries.iter().any(|entry| entry.route.asks_certificate);
        table.asks_certificate |= asks_certificate;
        let entry = Arc::new(RouteTable { tenant: Arc::clone(&first.route.tenant), trie, asks_certificate });
        if host.is_wildcard() { &mut table.wildcard } else { &mut table.exact }.insert(host.name().into(), entry);
    }
    table
}

/// True when two routes of one shape can take the same request and none is more specific than the other.
fn overlap(a: &Route, b: &Route) -> bool {
    if a.headers.len() != b.headers.len() || a.methods.is_empty() != b.methods.is_empty() {
        return false;
    }
    let methods = a.methods.is_empty() || a.methods.iter().any(|method: &Method| b.methods.contains(method));
    let contradict = a.headers.iter().any(|(name, value)| b.headers.iter().any(|(other, theirs)| other == name && theirs != value));
    methods && !contradict
}

#[cfg(test)]
mod tests;
