//! Compiles `signers`, and what a route asks of their signatures.

use std::{collections::HashMap, sync::Arc};

use http::HeaderName;
use serde_json::{Map, Value};

use super::{
    Errors,
    auth::{ONLY_SIGNER, only, texts},
    names,
};
use crate::{
    duration::Span,
    identity::SignerDoc,
    jwt::keys::KeyFault,
    signature::{
        base::DERIVED,
        key::{Algorithm, Key, Signer},
        rule::{AGE_SECONDS_MAX, Need, Rules},
    },
    structure::identity::SignatureRule,
};

/// Each is a key in memory.
const SIGNERS_MAX: usize = 1_000;
/// What a route may ask for beside what every signature covers.
const COMPONENTS_MAX: usize = 16;
/// Long enough for slow networks and clocks that are behind.
const AGE_SECONDS_DEFAULT: i64 = 60;
/// The two fields, and what no signature over them could hold.
const NOT_COVERED: [&str; 3] = ["signature", "signature-input", "@query-param"];

/// The signers that routes may name, in document order; one with a mistake is there as `None`.
pub(super) struct Signers<'d> {
    pub(super) by_name: HashMap<&'d str, Option<Arc<Signer>>>,
    pub(super) order: Vec<&'d str>,
}

impl Signers<'_> {
    /// Those without a mistake.
    pub(super) fn all(&self) -> HashMap<Arc<str>, Arc<Signer>> {
        self.by_name.values().flatten().map(|signer| (Arc::clone(&signer.name), Arc::clone(signer))).collect()
    }
}

/// Compiles `signers`.
pub(super) fn signers<'d>(docs: &'d [SignerDoc], errors: &mut Errors) -> Signers<'d> {
    if docs.len() > SIGNERS_MAX {
        errors.add("signers", format!("there are at most {SIGNERS_MAX} signers"));
    }
    let known = names("signers", docs.iter().map(|doc| doc.name.as_str()), errors);
    let mut out = Signers { by_name: HashMap::new(), order: Vec::new() };
    for (index, (doc, name)) in docs.iter().zip(known).enumerate() {
        out.order.push(&doc.name);
        out.by_name.insert(&doc.name, signer(doc, name, &format!("signers[{index}]"), errors).map(Arc::new));
    }
    out
}

fn signer(doc: &SignerDoc, name: Arc<str>, at: &str, errors: &mut Errors) -> Option<Signer> {
    let before = errors.0.len();
    if !super::is_name(&doc.application) {
        errors.add(format!("{at}.application"), format!("`{}` is not the name of an application", doc.application));
    }
    let algorithm = algorithm(&doc.algorithm, &format!("{at}.algorithm"), errors)?;
    let key = match Key::read(&doc.key, algorithm) {
        Ok(key) => key,
        Err(fault) => {
            errors.add(format!("{at}.key"), said(fault));
            return None;
        }
    };
    (errors.0.len() == before).then(|| Signer { name, application: doc.application.as_str().into(), key })
}

fn algorithm(name: &str, at: &str, errors: &mut Errors) -> Option<Algorithm> {
    let found = Algorithm::parse(name);
    if name == "hmac-sha256" {
        errors.add(at, "`hmac-sha256` needs a secret that both sides know, and a document is no place for one; use a public key");
    } else if found.is_none() {
        errors.unknown(at, "signature algorithm", name, Algorithm::ALL.iter().map(|known| known.name()));
    }
    found
}

/// The words are those of issuers' key sets, where these two speak of the issuer.
fn said(fault: KeyFault) -> String {
    if matches!(fault, KeyFault::AlgorithmOther | KeyFault::AlgorithmUnfit) {
        return "it does not fit `algorithm`".to_owned();
    }
    if fault == KeyFault::PemInvalid {
        return "write one section PUBLIC KEY of PEM, or a JSON Web Key".to_owned();
    }
    if fault == KeyFault::SecretRefused {
        return "it is a secret, and signers have public keys".to_owned();
    }
    fault.to_string()
}

/// The rules of `signature`: one signer, several, or the only one; and what their signatures must be.
pub(super) fn rule(doc: &Map<String, Value>, at: &str, known: &Signers<'_>, errors: &mut Errors) -> Option<SignatureRule> {
    const MEMBERS: [&str; 6] = ["signer", "components", "max_age", "content_digest", "nonce", "tag"];
    let before = errors.0.len();
    for name in doc.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
        errors.add(format!("{at}.{name}"), format!("unknown key `{name}`: `signature` has `{}`", MEMBERS.join("`, `")));
    }
    let named = match doc.get("signer") {
        None => only(at, &known.order, ONLY_SIGNER, errors),
        Some(value) => texts(value, &format!("{at}.signer"), "the name of a signer, or a list of them", errors),
    };
    let mut signers: HashMap<Arc<str>, Arc<Signer>> = HashMap::new();
    for name in &named {
        let Some(found) = known.by_name.get(name.as_str()) else {
            errors.unknown(format!("{at}.signer"), "signer", name, known.order.iter().copied());
            continue;
        };
        // One with a mistake of its own has been told about.
        let Some(found) = found else { continue };
        if signers.insert(Arc::clone(&found.name), Arc::clone(found)).is_some() {
            errors.add(format!("{at}.signer"), format!("`{name}` stands twice"));
        }
    }
    let rules = Rules {
        components: components(doc.get("components"), &format!("{at}.components"), errors),
        age_seconds_max: age(doc.get("max_age"), &format!("{at}.max_age"), errors),
        digest: need(doc.get("content_digest"), Need::Required, &format!("{at}.content_digest"), errors),
        nonce: need(doc.get("nonce"), Need::Optional, &format!("{at}.nonce"), errors),
        tag: tag(doc.get("tag"), &format!("{at}.tag"), errors),
    };
    (errors.0.len() == before).then(|| SignatureRule { signers, rules: Arc::new(rules) })
}

fn components(value: Option<&Value>, at: &str, errors: &mut Errors) -> Box<[Box<str>]> {
    let Some(value) = value else { return Box::default() };
    let named = texts(value, at, "what signatures must cover, such as `[content-type]`", errors);
    if named.len() > COMPONENTS_MAX {
        errors.add(at, format!("a route asks for at most {COMPONENTS_MAX} components"));
    }
    for name in &named {
        let is_field = !name.bytes().any(|byte| byte.is_ascii_uppercase()) && HeaderName::from_bytes(name.as_bytes()).is_ok();
        if NOT_COVERED.contains(&name.as_str()) || !is_field && !DERIVED.contains(&name.as_str()) {
            errors.add(at, format!("`{name}` is neither the name of a header in lower case nor one of `{}`", DERIVED.join("`, `")));
        }
    }
    named.iter().map(|name| name.as_str().into()).collect()
}

fn age(value: Option<&Value>, at: &str, errors: &mut Errors) -> i64 {
    let Some(value) = value else { return AGE_SECONDS_DEFAULT };
    let span = value.as_str().and_then(Span::parse).filter(|span| span.0.subsec_nanos() == 0);
    let seconds = span.and_then(|span| i64::try_from(span.0.as_secs()).ok()).filter(|seconds| (1..=AGE_SECONDS_MAX).contains(seconds));
    seconds.unwrap_or_else(|| {
        errors.add(at, "write a duration from 1s to 5m, in whole seconds: nonces are remembered for no longer");
        AGE_SECONDS_DEFAULT
    })
}

fn need(value: Option<&Value>, default: Need, at: &str, errors: &mut Errors) -> Need {
    match value.map(Value::as_str) {
        None => default,
        Some(Some("required")) => Need::Required,
        Some(Some("optional")) => Need::Optional,
        Some(_) => {
            errors.add(at, "write `required` or `optional`");
            default
        }
    }
}

fn tag(value: Option<&Value>, at: &str, errors: &mut Errors) -> Option<Box<str>> {
    let text = value?.as_str().filter(|text| (1..=128).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    if text.is_none() {
        errors.add(at, "write a text of 1 to 128 printable characters of ASCII");
    }
    text.map(Box::from)
}

#[cfg(test)]
mod tests;
