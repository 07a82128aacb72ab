//! Compiles issuers, and how a route knows its callers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use url::Url;

use super::{Errors, names};
use crate::{
    identity::{AuthDoc, IssuerDoc},
    jwt::{
        algorithm::{Algorithm, Algorithms},
        issuer::{Draft, Rules},
        keys::{KeySet, StaticKey},
    },
    structure::{
        identity::{Auth, Holder, Issuer, KeySource, Place, Remote, TokenRule, Way},
        reach::roots,
    },
};

/// Each has a task, and a key set in memory.
const ISSUERS_MAX: usize = 64;
/// Alternatives of a route, and methods of each.
const WAYS_MAX: usize = 8;
/// More often than this is no refresh but load on somebody else's server.
const REFRESH_MIN: Duration = Duration::from_secs(30);
const REFRESH_MAX: Duration = Duration::from_hours(24);
const STALE_MAX: Duration = Duration::from_hours(24 * 31);
/// `OpenID` Connect Discovery 1.0 section 4.
const CONFIGURATION: &str = "/.well-known/openid-configuration";

/// The issuers that routes may name, in document order; one with a mistake is there as `None`.
pub(super) struct Issuers<'d> {
    by_name: HashMap<&'d str, (Option<Arc<Issuer>>, &'d IssuerDoc)>,
    order: Vec<&'d str>,
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
    Some(Arc::new(Issuer { name, rules: Arc::new(rules?), keys: keys?, holder: holder?, forward: doc.forward }))
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

fn rules(doc: &IssuerDoc, algorithms: Algorithms, audiences: Vec<String>, at: &str, errors: &mut Errors) -> Option<Rules> {
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
    let place = match (&doc.jwks, doc.discovery, doc.keys.is_empty()) {
        (Some(jwks), false, true) => Place::KeySet(https(jwks, &format!("{at}.jwks"), errors)?),
        (None, true, true) => {
            let url = format!("{}{CONFIGURATION}", doc.issuer.trim_end_matches('/'));
            Place::Configuration { url: https(&url, &format!("{at}.issuer"), errors)?, issuer: doc.issuer.as_str().into() }
        }
        (None, false, false) => return fixed(doc, algorithms, at, errors),
        _ => {
            errors.add(at, "write exactly one of `jwks` (where its key set is), `discovery: true` and `keys`");
            return None;
        }
    };
    let ca = roots(doc.ca.as_deref()).unwrap_or_else(|message| {
        errors.add(format!("{at}.ca"), message);
        None
    });
    if !(REFRESH_MIN..=REFRESH_MAX).contains(&doc.refresh.0) {
        errors.add(format!("{at}.refresh"), "write a duration from 30s to 24h");
    }
    if !(doc.refresh.0.saturating_mul(2)..=STALE_MAX).contains(&doc.stale_max.0) {
        errors.add(format!("{at}.stale_max"), "write a duration from twice that of `refresh` to 31d: one fetch that fails must not matter");
    }
    let remote = Remote { place, algorithms, ca, allows_private: doc.private_addresses, refresh: doc.refresh.0, stale_max: doc.stale_max.0 };
    Some(KeySource::Remote(Arc::new(remote)))
}

fn https(text: &str, at: &str, errors: &mut Errors) -> Option<Url> {
    let fault = match Url::parse(text) {
        Ok(url) if url.scheme() != "https" => "it is fetched over https alone: whoever could change a key set on its way could sign tokens",
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

/// Compiles `routes[].auth`.
pub(super) fn auth(doc: &AuthDoc, at: &str, issuers: &Issuers<'_>, errors: &mut Errors) -> Auth {
    match doc.0.as_str() {
        Some("none") => return Auth::None,
        Some("api_key") => return Auth::ApiKey,
        _ => {}
    }
    let before = errors.0.len();
    let mut ways: Vec<Way> = Vec::new();
    for (at, value) in alternatives(&doc.0, at, errors) {
        let way = way(value, &at, issuers, errors);
        if ways.iter().any(|other| other.key == way.key && other.token.is_some() == way.token.is_some()) && errors.0.len() == before {
            errors.add_with_help(
                &at,
                "another alternative asks for the same kinds of credentials",
                Some("name several issuers in one: `jwt: { issuer: [a, b] }`".to_owned()),
            );
        }
        ways.push(way);
    }
    match ways.as_slice() {
        [Way { key: true, token: None, .. }] => Auth::ApiKey,
        _ => Auth::Ways(ways.into()),
    }
}

/// The alternatives of a route, each with its place.
fn alternatives<'v>(value: &'v Value, at: &str, errors: &mut Errors) -> Vec<(String, &'v Value)> {
    let Some(list) = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("any_of")) else {
        return vec![(at.to_owned(), value)];
    };
    items(list, &format!("{at}.any_of"), errors)
}

fn items<'v>(list: &'v Value, at: &str, errors: &mut Errors) -> Vec<(String, &'v Value)> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() || items.len() > WAYS_MAX {
        errors.add(at, format!("write a list of 1 to {WAYS_MAX} methods, such as `[api_key, jwt]`"));
    }
    items.iter().enumerate().map(|(position, item)| (format!("{at}[{position}]"), item)).collect()
}

/// One alternative: a method, or all of several.
fn way(value: &Value, at: &str, issuers: &Issuers<'_>, errors: &mut Errors) -> Way {
    let mut way = Way::default();
    let members = match value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("all_of")) {
        Some(list) => items(list, &format!("{at}.all_of"), errors),
        None => vec![(at.to_owned(), value)],
    };
    for (at, member) in members {
        let is_new = match method(member, &at, issuers, errors) {
            None => continue,
            Some(Method::ApiKey) => !std::mem::replace(&mut way.key, true),
            Some(Method::Token(rules)) => {
                way.is_token_first = !way.key;
                way.token.replace(rules).is_none()
            }
        };
        if !is_new {
            errors.add(at, "this method stands twice");
        }
    }
    way
}

enum Method {
    ApiKey,
    Token(Box<[TokenRule]>),
}

fn method(value: &Value, at: &str, issuers: &Issuers<'_>, errors: &mut Errors) -> Option<Method> {
    match value {
        Value::String(name) if name == "api_key" => return Some(Method::ApiKey),
        Value::String(name) if name == "jwt" => return token(&Map::new(), at, issuers, errors).map(Method::Token),
        Value::String(name) if name == "none" => errors.add(at, "`none` stands alone: a route asks for a credential, or it does not"),
        Value::String(name) if name == "mtls" => errors.add(at, "client certificates come with a later release and are refused until then"),
        Value::String(name) => errors.unknown(at, "authentication method", name, ["api_key", "jwt", "none"]),
        Value::Object(object) => match object.iter().next() {
            Some((name, Value::Object(rules))) if name == "jwt" && object.len() == 1 => {
                return token(rules, &format!("{at}.jwt"), issuers, errors).map(Method::Token);
            }
            Some((name, _)) if matches!(name.as_str(), "any_of" | "all_of") => {
                errors.add(at, format!("`{name}` does not stand here: `any_of` holds methods and `all_of`, `all_of` holds methods"));
            }
            _ => errors.add(at, "write `api_key`, `jwt`, or `jwt: { issuer: <name>, audience: <text> }`"),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            errors.add(at, "write `api_key`, `jwt`, `none`, `{ any_of: [..] }` or `{ all_of: [..] }`");
        }
    }
    None
}

/// The rules of `jwt`: one issuer, several, or the only one; and whom its tokens are for.
fn token(doc: &Map<String, Value>, at: &str, issuers: &Issuers<'_>, errors: &mut Errors) -> Option<Box<[TokenRule]>> {
    let before = errors.0.len();
    for name in doc.keys().filter(|name| !matches!(name.as_str(), "issuer" | "audience")) {
        errors.add(format!("{at}.{name}"), format!("unknown key `{name}`: `jwt` has `issuer` and `audience`"));
    }
    let named = match doc.get("issuer") {
        None => only(at, issuers, errors),
        Some(value) => texts(value, &format!("{at}.issuer"), "the name of an issuer, or a list of them", errors),
    };
    let audiences = doc.get("audience").map(|value| texts(value, &format!("{at}.audience"), "an audience, or a list of them", errors));
    let mut rules_of: Vec<TokenRule> = Vec::new();
    for name in &named {
        let Some((found, issuer_doc)) = issuers.by_name.get(name.as_str()) else {
            errors.unknown(format!("{at}.issuer"), "issuer", name, issuers.by_name.keys().copied());
            continue;
        };
        // One with a mistake of its own has been told about.
        let Some(found) = found else { continue };
        if rules_of.iter().any(|rule| rule.issuer.name == found.name) {
            errors.add(format!("{at}.issuer"), format!("`{name}` stands twice"));
        }
        let rules = match &audiences {
            None => Some(Arc::clone(&found.rules)),
            Some(audiences) => rules(issuer_doc, found.rules.algorithms(), audiences.clone(), &format!("{at}.audience"), errors).map(Arc::new),
        };
        rules_of.extend(rules.map(|rules| TokenRule { issuer: Arc::clone(found), rules }));
    }
    (errors.0.len() == before).then(|| rules_of.into())
}

fn only(at: &str, issuers: &Issuers<'_>, errors: &mut Errors) -> Vec<String> {
    if let [only] = issuers.order.as_slice() {
        return vec![(*only).to_owned()];
    }
    let message = if issuers.order.is_empty() { "there are no `issuers` whose tokens could be taken" } else { "say whose tokens are taken" };
    errors.add_with_help(at, message, Some("write `jwt: { issuer: <name> }`, with a name from `issuers`".to_owned()));
    Vec::new()
}

fn texts(value: &Value, at: &str, what: &str, errors: &mut Errors) -> Vec<String> {
    let list = match value {
        Value::String(text) => vec![Some(text.clone())],
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    let out: Option<Vec<String>> = list.into_iter().collect();
    out.filter(|list| !list.is_empty()).unwrap_or_else(|| {
        errors.add(at, format!("write {what}"));
        Vec::new()
    })
}

#[cfg(test)]
mod tests;
