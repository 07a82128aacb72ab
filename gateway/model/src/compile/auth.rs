//! Compiles `routes[].auth`: how a route knows its callers.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Errors,
    certificate::Authorities,
    identity::{Issuers, rules},
    signer::{self, Signers},
};
use crate::{
    certificate::authority::Authority,
    identity::AuthDoc,
    structure::identity::{Auth, Credential, KeySource, TokenRule, Way},
};

/// Alternatives of a route, and methods of each.
const WAYS_MAX: usize = 8;

/// Authorities of a route: a connection keeps what so many said.
const AUTHORITIES_MAX: usize = 8;

/// What methods may name.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) issuers: &'k Issuers<'k>,
    pub(super) authorities: &'k Authorities<'k>,
    pub(super) signers: &'k Signers<'k>,
}

/// Compiles `routes[].auth`.
pub(super) fn auth(doc: &AuthDoc, at: &str, known: Known<'_>, errors: &mut Errors) -> Auth {
    match doc.0.as_str() {
        Some("none") => return Auth::None,
        Some("api_key") => return Auth::ApiKey,
        _ => {}
    }
    let before = errors.0.len();
    let mut ways: Vec<Way> = Vec::new();
    for (at, value) in alternatives(&doc.0, at, errors) {
        let way = way(value, &at, known, errors);
        if ways.iter().any(|other| other.kinds() == way.kinds()) && errors.0.len() == before {
            errors.add_with_help(
                &at,
                "another alternative asks for the same kinds of credentials",
                Some("name several issuers in one, `jwt: { issuer: [a, b] }`, or several authorities, `mtls: { authority: [a, b] }`".to_owned()),
            );
        }
        ways.push(way);
    }
    match ways.iter().map(|way| &*way.0).collect::<Vec<_>>().as_slice() {
        [[Credential::Key]] => Auth::ApiKey,
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
fn way(value: &Value, at: &str, known: Known<'_>, errors: &mut Errors) -> Way {
    let members = match value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("all_of")) {
        Some(list) => items(list, &format!("{at}.all_of"), errors),
        None => vec![(at.to_owned(), value)],
    };
    let mut credentials: Vec<Credential> = Vec::new();
    for (at, member) in members {
        let Some(credential) = method(member, &at, known, errors) else { continue };
        if credentials.iter().any(|other| std::mem::discriminant(other) == std::mem::discriminant(&credential)) {
            errors.add(at, "this method stands twice");
        }
        credentials.push(credential);
    }
    Way(credentials.into())
}

fn method(value: &Value, at: &str, known: Known<'_>, errors: &mut Errors) -> Option<Credential> {
    match value {
        Value::String(name) if name == "api_key" => return Some(Credential::Key),
        Value::String(name) if name == "jwt" => return token(&Map::new(), at, known, errors).map(Credential::Token),
        Value::String(name) if name == "none" => errors.add(at, "`none` stands alone: a route asks for a credential, or it does not"),
        Value::String(name) if name == "mtls" => return certificate(&Map::new(), at, known, errors).map(Credential::Certificate),
        Value::String(name) if name == "signature" => return signature(&Map::new(), at, known, errors),
        Value::String(name) => errors.unknown(at, "authentication method", name, ["api_key", "jwt", "mtls", "signature", "none"]),
        Value::Object(object) => match object.iter().next() {
            Some((name, Value::Object(rules))) if name == "jwt" && object.len() == 1 => {
                return token(rules, &format!("{at}.jwt"), known, errors).map(Credential::Token);
            }
            Some((name, Value::Object(rules))) if name == "mtls" && object.len() == 1 => {
                return certificate(rules, &format!("{at}.mtls"), known, errors).map(Credential::Certificate);
            }
            Some((name, Value::Object(rules))) if name == "signature" && object.len() == 1 => {
                return signature(rules, &format!("{at}.signature"), known, errors);
            }
            Some((name, _)) if matches!(name.as_str(), "any_of" | "all_of") => {
                errors.add(at, format!("`{name}` does not stand here: `any_of` holds methods and `all_of`, `all_of` holds methods"));
            }
            _ => errors.add(
                at,
                "write `api_key`, `jwt`, `mtls`, `signature`, `jwt: { issuer: <name>, audience: <text> }`, `mtls: { authority: <name> }` or `signature: { signer: <name> }`",
            ),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            errors.add(at, "write `api_key`, `jwt`, `mtls`, `signature`, `none`, `{ any_of: [..] }` or `{ all_of: [..] }`");
        }
    }
    None
}

/// The rules of `jwt`: one issuer, several, or the only one; and whom its tokens are for.
fn token(doc: &Map<String, Value>, at: &str, known: Known<'_>, errors: &mut Errors) -> Option<Box<[TokenRule]>> {
    let before = errors.0.len();
    for name in doc.keys().filter(|name| !matches!(name.as_str(), "issuer" | "audience")) {
        errors.add(format!("{at}.{name}"), format!("unknown key `{name}`: `jwt` has `issuer` and `audience`"));
    }
    let named = match doc.get("issuer") {
        None => only(at, &known.issuers.order, ONLY_ISSUER, errors),
        Some(value) => texts(value, &format!("{at}.issuer"), "the name of an issuer, or a list of them", errors),
    };
    let audiences = doc.get("audience").map(|value| texts(value, &format!("{at}.audience"), "an audience, or a list of them", errors));
    let mut rules_of: Vec<TokenRule> = Vec::new();
    for name in &named {
        let Some((found, issuer_doc)) = known.issuers.by_name.get(name.as_str()) else {
            errors.unknown(format!("{at}.issuer"), "issuer", name, known.issuers.by_name.keys().copied());
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
    if rules_of.iter().filter(|rule| matches!(rule.issuer.keys, KeySource::Introspection(_))).count() > 1 {
        // Such a token does not say whose it is, and one issuer is not told another's tokens.
        errors.add(format!("{at}.issuer"), "only one of a route's issuers can be asked about tokens (`introspection`)");
    }
    (errors.0.len() == before).then(|| rules_of.into())
}

/// The rules of `mtls`: one authority, several, or the only one.
fn certificate(doc: &Map<String, Value>, at: &str, known: Known<'_>, errors: &mut Errors) -> Option<Box<[Arc<Authority>]>> {
    let before = errors.0.len();
    for name in doc.keys().filter(|name| *name != "authority") {
        errors.add(format!("{at}.{name}"), format!("unknown key `{name}`: `mtls` has `authority`"));
    }
    let named = match doc.get("authority") {
        None => only(at, &known.authorities.order, ONLY_AUTHORITY, errors),
        Some(value) => texts(value, &format!("{at}.authority"), "the name of a certificate authority, or a list of them", errors),
    };
    let mut out: Vec<Arc<Authority>> = Vec::new();
    for name in &named {
        let Some(found) = known.authorities.by_name.get(name.as_str()) else {
            errors.unknown(format!("{at}.authority"), "certificate authority", name, known.authorities.order.iter().copied());
            continue;
        };
        // One with a mistake of its own has been told about.
        let Some(found) = found else { continue };
        if out.iter().any(|other| other.name() == found.name()) {
            errors.add(format!("{at}.authority"), format!("`{name}` stands twice"));
        }
        out.push(Arc::clone(found));
    }
    if out.len() > AUTHORITIES_MAX {
        errors
            .add(format!("{at}.authority"), format!("a route takes certificates of at most {AUTHORITIES_MAX} authorities; put their roots into one"));
    }
    (errors.0.len() == before).then(|| out.into())
}

fn signature(doc: &Map<String, Value>, at: &str, known: Known<'_>, errors: &mut Errors) -> Option<Credential> {
    signer::rule(doc, at, known.signers, errors).map(|rule| Credential::Signature(Box::new(rule)))
}

/// What is said where nothing is named and there is not exactly one.
#[derive(Clone, Copy)]
pub(super) struct Only {
    none: &'static str,
    several: &'static str,
    help: &'static str,
}

const ONLY_ISSUER: Only = Only {
    none: "there are no `issuers` whose tokens could be taken",
    several: "say whose tokens are taken",
    help: "write `jwt: { issuer: <name> }`, with a name from `issuers`",
};

const ONLY_AUTHORITY: Only = Only {
    none: "there are no `certificate_authorities` that could vouch for certificates",
    several: "say who vouches for certificates",
    help: "write `mtls: { authority: <name> }`, with a name from `certificate_authorities`",
};

pub(super) const ONLY_SIGNER: Only = Only {
    none: "there are no `signers` whose signatures could be taken",
    several: "say whose signatures are taken",
    help: "write `signature: { signer: <name> }`, with a name from `signers`",
};

pub(super) fn only(at: &str, order: &[&str], words: Only, errors: &mut Errors) -> Vec<String> {
    if let [only] = order {
        return vec![(*only).to_owned()];
    }
    errors.add_with_help(at, if order.is_empty() { words.none } else { words.several }, Some(words.help.to_owned()));
    Vec::new()
}

pub(super) fn texts(value: &Value, at: &str, what: &str, errors: &mut Errors) -> Vec<String> {
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
