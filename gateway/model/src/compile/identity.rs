//! Compiles issuers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rustls_pki_types::CertificateDer;
use url::Url;

use super::{Errors, names};
use crate::{
    identity::{BindingDoc, IntrospectionDoc, IssuerDoc},
    jwt::{
        algorithm::{Algorithm, Algorithms},
        issuer::{Draft, Rules},
        keys::{KeySet, StaticKey},
    },
    structure::{
        identity::{Binding, Holder, Introspection, Issuer, KeySource, Place, Remote},
        reach::roots,
    },
};

/// Each has a task, and a key set in memory.
const ISSUERS_MAX: usize = 64;
/// More often than this is no refresh but load on somebody else's server.
const REFRESH_MIN: Duration = Duration::from_secs(30);
const REFRESH_MAX: Duration = Duration::from_hours(24);
/// Below, an answer serves hardly anybody else; above, a token that was taken back lives too long.
const CACHE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);
const STALE_MAX: Duration = Duration::from_hours(24 * 31);
/// `OpenID` Connect Discovery 1.0 section 4.
const CONFIGURATION: &str = "/.well-known/openid-configuration";

/// The issuers that routes may name, in document order; one with a mistake is there as `None`.
pub(super) struct Issuers<'d> {
    pub(super) by_name: HashMap<&'d str, (Option<Arc<Issuer>>, &'d IssuerDoc)>,
    pub(super) order: Vec<&'d str>,
}

impl Issuers<'_> {
    /// Those without a mistake.
    pub(super) fn all(&self) -> Vec<Arc<Issuer>> {
        self.order.iter().filter_map(|name| self.by_name.get(name)?.0.clone()).collect()
    }
}

/// Compiles `issuers`.
pub(super) fn issuers<'d>(docs: &'d [IssuerDoc], errors: &mut Errors) -> Issuers<'d> {
    if docs.len() > ISSUERS_MAX {
        errors.add("issuers", format!("there are at most {ISSUERS_MAX} issuers"));
    }
    let known = names("issuers", docs.iter().map(|doc| doc.name.as_str()), errors);
    let mut out = Issuers { by_name: HashMap::new(), order: Vec::new() };
    for (index, (doc, name)) in docs.iter().zip(known).enumerate() {
        let at = format!("issuers[{index}]");
        if docs.iter().take(index).any(|other| other.issuer == doc.issuer) {
            // Which of two rules a token is held against must not depend on their order.
            errors.add(format!("{at}.issuer"), format!("`{}` stands twice; write one issuer, and name audiences on the routes", doc.issuer));
        }
        out.order.push(&doc.name);
        out.by_name.insert(&doc.name, (issuer(doc, name, &at, errors), doc));
    }
    out
}

fn issuer(doc: &IssuerDoc, name: Arc<str>, at: &str, errors: &mut Errors) -> Option<Arc<Issuer>> {
    let before = errors.0.len();
    let holder = holder(doc, at, errors);
    // With a mistake in the list, the rest is looked at all the same.
    let public: Vec<Algorithm> = Algorithm::ALL.iter().copied().filter(|known| is_public(*known)).collect();
    let algorithms = algorithms(doc, at, errors).or_else(|| Algorithms::new(&public).ok());
    let rules = algorithms.and_then(|algorithms| rules(doc, algorithms, doc.audiences.clone(), at, errors));
    let keys = algorithms.and_then(|algorithms| key_source(doc, algorithms, at, errors));
    if errors.0.len() > before {
        return None;
    }
    let (certificate_bound, dpop) = (binding(doc.certificate_bound), binding(doc.dpop));
    Some(Arc::new(Issuer { name, rules: Arc::new(rules?), keys: keys?, holder: holder?, forward: doc.forward, certificate_bound, dpop }))
}

const fn binding(doc: BindingDoc) -> Binding {
    match doc {
        BindingDoc::Refuse => Binding::Refuse,
        BindingDoc::Accept => Binding::Accept,
        BindingDoc::Require => Binding::Require,
    }
}

fn holder(doc: &IssuerDoc, at: &str, errors: &mut Errors) -> Option<Holder> {
    match (&doc.application, &doc.application_claim) {
        (Some(name), None) if super::is_name(name) => Some(Holder::Application(name.as_str().into())),
        (Some(name), None) => {
            errors.add(format!("{at}.application"), format!("`{name}` is not the name of an application"));
            None
        }
        (None, Some(_)) => Some(Holder::Client),
        (Some(_), Some(_)) => {
            errors.add(format!("{at}.application_claim"), "`application` names it already; write one of the two");
            None
        }
        (None, None) => {
            let help = "write `application: <name>`, or `application_claim: client_id` where the token's client is named like an application";
            errors.add_with_help(at, "it is not said which application its tokens' calls count for", Some(help.to_owned()));
            None
        }
    }
}

fn algorithms(doc: &IssuerDoc, at: &str, errors: &mut Errors) -> Option<Algorithms> {
    let before = errors.0.len();
    let mut list = Vec::new();
    for (position, name) in doc.algorithms.iter().enumerate() {
        list.extend(algorithm(name, &format!("{at}.algorithms[{position}]"), errors));
    }
    if errors.0.len() > before {
        return None;
    }
    Algorithms::new(&list).map_err(|fault| errors.add(format!("{at}.algorithms"), fault.to_string())).ok()
}

/// Whether a key for it can stand in a document.
fn is_public(algorithm: Algorithm) -> bool {
    !algorithm.name().starts_with("HS")
}

fn algorithm(name: &str, at: &str, errors: &mut Errors) -> Option<Algorithm> {
    match Algorithm::parse(name) {
        Some(found) if is_public(found) => Some(found),
        Some(_) => {
            errors.add(at, format!("`{name}` needs a secret that both sides know, and a document is no place for one; use public keys"));
            None
        }
        None => {
            errors.unknown(at, "signature algorithm", name, Algorithm::ALL.iter().filter(|known| is_public(**known)).map(|known| known.name()));
            None
        }
    }
}

/// The rules of an issuer, with these audiences.
pub(super) fn rules(doc: &IssuerDoc, algorithms: Algorithms, audiences: Vec<String>, at: &str, errors: &mut Errors) -> Option<Rules> {
    let seconds = |span: crate::duration::Span| span.0.as_secs();
    let draft = Draft {
        issuer: doc.issuer.clone(),
        audiences,
        algorithms,
        leeway_seconds: u8::try_from(seconds(doc.leeway)).unwrap_or(u8::MAX),
        lifetime_seconds_max: doc.lifetime_max.map(|span| u32::try_from(seconds(span)).unwrap_or(u32::MAX)),
        ty: doc.typ.clone(),
        claims_required: doc.required_claims.clone(),
        scope_claim: doc.scope_claim.clone(),
        client_claim: doc.application_claim.clone(),
    };
    Rules::compile(draft).map_err(|fault| errors.add(at, fault.to_string())).ok()
}

fn key_source(doc: &IssuerDoc, algorithms: Algorithms, at: &str, errors: &mut Errors) -> Option<KeySource> {
    if let Some(introspection) = &doc.introspection {
        return asked(doc, introspection, at, errors);
    }
    let place = match (&doc.jwks, doc.discovery, doc.keys.is_empty()) {
        (Some(jwks), false, true) => Place::KeySet(https(jwks, &format!("{at}.jwks"), errors)?),
        (None, true, true) => {
            let url = format!("{}{CONFIGURATION}", doc.issuer.trim_end_matches('/'));
            Place::Configuration { url: https(&url, &format!("{at}.issuer"), errors)?, issuer: doc.issuer.as_str().into() }
        }
        (None, false, false) => return fixed(doc, algorithms, at, errors),
        _ => {
            errors.add(at, "write exactly one of `jwks` (where its key set is), `discovery: true`, `keys` and `introspection`");
            return None;
        }
    };
    let ca = trusted(doc, at, errors);
    if !(REFRESH_MIN..=REFRESH_MAX).contains(&doc.refresh.0) {
        errors.add(format!("{at}.refresh"), "write a duration from 30s to 24h");
    }
    if !(doc.refresh.0.saturating_mul(2)..=STALE_MAX).contains(&doc.stale_max.0) {
        errors.add(format!("{at}.stale_max"), "write a duration from twice that of `refresh` to 31d: one fetch that fails must not matter");
    }
    let remote = Remote { place, algorithms, ca, allows_private: doc.private_addresses, refresh: doc.refresh.0, stale_max: doc.stale_max.0 };
    Some(KeySource::Remote(Arc::new(remote)))
}

fn trusted(doc: &IssuerDoc, at: &str, errors: &mut Errors) -> Option<Box<[CertificateDer<'static>]>> {
    roots(doc.ca.as_deref()).unwrap_or_else(|message| {
        errors.add(format!("{at}.ca"), message);
        None
    })
}

/// An issuer that is asked about each token.
fn asked(doc: &IssuerDoc, introspection: &IntrospectionDoc, at: &str, errors: &mut Errors) -> Option<KeySource> {
    if doc.jwks.is_some() || doc.discovery || !doc.keys.is_empty() {
        errors.add(format!("{at}.introspection"), "an issuer is asked about its tokens, or has keys; write one of the two");
    }
    if doc.typ.is_some() {
        errors.add(format!("{at}.typ"), "tokens that only their issuer can read have no type that could be looked at");
    }
    let endpoint = https(&introspection.endpoint, &format!("{at}.introspection.endpoint"), errors);
    if !super::is_name(&introspection.client) {
        errors.add(format!("{at}.introspection.client"), format!("`{}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`", introspection.client));
    }
    if !CACHE.contains(&introspection.cache.0) {
        errors.add(format!("{at}.introspection.cache"), "write a duration from 1s to 5m: a token that its issuer takes back is taken for so long");
    }
    let ca = trusted(doc, at, errors);
    let (client, cache) = (introspection.client.as_str().into(), introspection.cache.0);
    Some(KeySource::Introspection(Arc::new(Introspection { endpoint: endpoint?, client, cache, ca, allows_private: doc.private_addresses })))
}

fn https(text: &str, at: &str, errors: &mut Errors) -> Option<Url> {
    let fault = match Url::parse(text) {
        Ok(url) if url.scheme() != "https" => "it is asked over https alone: whoever could change the answer on its way could make tokens",
        Ok(url) if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() => "it has credentials or a fragment",
        Ok(url) if url.host_str().is_some() => return Some(url),
        Ok(_) | Err(_) => "it is not a URL; write `https://host/path`",
    };
    errors.add(at, format!("`{text}`: {fault}"));
    None
}

fn fixed(doc: &IssuerDoc, algorithms: Algorithms, at: &str, errors: &mut Errors) -> Option<KeySource> {
    let before = errors.0.len();
    let mut keys = Vec::new();
    for (position, key) in doc.keys.iter().enumerate() {
        let place = format!("{at}.keys[{position}].algorithm");
        if let Some(algorithm) = algorithm(&key.algorithm, &place, errors) {
            if !algorithms.contains(algorithm) {
                let help = format!("add `{}` to `{at}.algorithms`", algorithm.name());
                errors.add_with_help(place, "the issuer's `algorithms` lack it, so no token could be signed with this key", Some(help));
            }
            keys.push(StaticKey { key_id: key.kid.as_deref(), algorithm, pem: &key.pem });
        }
    }
    if errors.0.len() > before {
        return None;
    }
    match KeySet::from_static(&keys) {
        Ok(set) => Some(KeySource::Fixed { keys: Arc::new(set), written: serde_json::to_string(&doc.keys).unwrap_or_default().into() }),
        Err(refused) => {
            errors.add(format!("{at}.keys[{}]", refused.position), refused.fault.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests;
