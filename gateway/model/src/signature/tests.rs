//! What signatures are taken for, and for what they are not.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use serde_json::{Value, json};

use super::{
    Fault, Proved,
    base::{self, Asked},
    digest::Digests,
    field::Fields,
    key::{Algorithm, Key, Signer},
    rule::{Content, Need, Rules},
    verify,
};
use crate::time::UtcMicros;

mod components;
mod keys;
mod random;
mod refusals;
mod vectors;

const NOW: i64 = 1_700_000_000;

/// A request under test.
#[derive(Clone)]
struct Request {
    method: &'static str,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl Request {
    fn new(method: &'static str, uri: &str, fields: &[(&str, &str)]) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        Self { method, uri: uri.parse().unwrap(), version: Version::HTTP_11, headers }
    }

    fn asked(&self) -> Asked<'_> {
        Asked { method: self.method, uri: &self.uri, version: self.version, headers: &self.headers }
    }

    /// The base of the only signature.
    fn base(&self) -> Result<String, Fault> {
        let mut headers = self.headers.clone();
        headers.entry("signature").or_insert(HeaderValue::from_static("s=:AQ==:"));
        let fields = Fields::of(&headers).unwrap();
        let inputs = fields.inputs()?;
        base::build(self.asked(), &inputs[0])
    }

    /// The same with a signature under the label `sig`, over what the input says.
    fn signed(&self, key: &Ed25519KeyPair, input: &str) -> Self {
        let mut signed = self.clone();
        signed.headers.insert("signature-input", HeaderValue::from_str(&format!("sig={input}")).unwrap());
        let base = signed.base().unwrap();
        let signature = BASE64.encode(key.sign(base.as_bytes()).as_ref());
        signed.headers.insert("signature", HeaderValue::from_str(&format!("sig=:{signature}:")).unwrap());
        signed
    }
}

fn rules() -> Rules {
    Rules { components: Box::default(), age_seconds_max: 60, digest: Need::Required, nonce: Need::Optional, tag: None }
}

fn signer(name: &str, key: &Ed25519KeyPair) -> Arc<Signer> {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key.public_key().as_ref()) });
    Arc::new(Signer { name: name.into(), application: "shop".into(), key: Key::read(&jwk, Algorithm::Ed25519).unwrap() })
}

fn judge(request: &Request, signer: &Arc<Signer>, rules: &Rules, content: Content) -> Result<Proved, Fault> {
    let find = |name: &str| (*name == *signer.name).then_some(signer);
    verify(request.asked(), content, find, rules, UtcMicros(NOW * 1_000_000)).map(|(_, proved)| proved)
}

/// A request that is signed as it has to be, and whose signature covers headers, too.
fn order() -> Request {
    let digest = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    Request::new("POST", "/orders?a=1", &[("host", "api.example"), ("content-digest", digest), ("x-note", "one"), ("x-note", "two")])
}

const COVERED: &str = r#"("@method" "@authority" "@path" "@query" "content-digest" "x-note")"#;

fn input(rest: &str) -> String {
    format!("{COVERED};created={NOW};keyid=\"partner\"{rest}")
}
