//! A node whose routes take signatures, its service, and those who sign.

use std::net::{Ipv4Addr, TcpListener};

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512,
    RsaKeyPair,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use harness::client::Version;
use harness::websocket::Echo;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::operation::{Running, Station};
use crate::service::{Service, ok, raw};
use crate::site::upstream;

/// A private key of any kind.
pub(crate) enum Private {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Pss(RsaKeyPair),
    Pkcs1(RsaKeyPair),
}

/// Somebody who signs.
pub(crate) struct Signing {
    pub(crate) name: &'static str,
    algorithm: &'static str,
    private: Private,
}

impl Signing {
    pub(crate) fn ed25519(name: &'static str) -> Self {
        Self { name, algorithm: "ed25519", private: Private::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    /// One for each algorithm.
    fn all() -> Vec<Self> {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        vec![
            Self::ed25519("partner"),
            Self { name: "p256", algorithm: "ecdsa-p256-sha256", private: Private::Ecdsa(p256) },
            Self { name: "p384", algorithm: "ecdsa-p384-sha384", private: Private::Ecdsa(p384) },
            Self { name: "pss", algorithm: "rsa-pss-sha512", private: Private::Pss(rsa()) },
            Self { name: "pkcs1", algorithm: "rsa-v1_5-sha256", private: Private::Pkcs1(rsa()) },
        ]
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let by_rsa = |key: &RsaKeyPair, encoding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
            let mut out = vec![0; key.public_modulus_len()];
            key.sign(encoding, &random, text, &mut out).unwrap();
            out
        };
        match &self.private {
            Private::Ed25519(key) => key.sign(text).as_ref().to_vec(),
            Private::Ecdsa(key) => key.sign(&random, text).unwrap().as_ref().to_vec(),
            Private::Pss(key) => by_rsa(key, &RSA_PSS_SHA512),
            Private::Pkcs1(key) => by_rsa(key, &RSA_PKCS1_SHA256),
        }
    }

    /// The public half: a JSON Web Key for Ed25519, PEM for the others.
    fn public(&self) -> Value {
        let pem = |der: &[u8]| {
            let text = BASE64.encode(der);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            json!(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
        };
        match &self.private {
            Private::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key.public_key().as_ref()) }),
            Private::Ecdsa(key) => pem(key.public_key().as_der().unwrap().as_ref()),
            Private::Pss(key) | Private::Pkcs1(key) => pem(key.public_key().as_der().unwrap().as_ref()),
        }
    }

    pub(crate) fn doc(&self, application: &str) -> Value {
        json!({ "name": self.name, "application": application, "algorithm": self.algorithm, "key": self.public() })
    }
}

/// A request that is going to be signed.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) body: Option<Vec<u8>>,
    /// More fields, all covered.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// How long ago it was made, in seconds.
    pub(crate) age: i64,
    /// More parameters, each with its semicolon.
    pub(crate) parameters: String,
    /// Whether the digest of the body is covered.
    pub(crate) digest: Option<&'static str>,
}

impl Draft {
    pub(crate) fn get(target: &str) -> Self {
        Self { method: "GET", target: target.to_owned(), body: None, fields: Vec::new(), age: 0, parameters: String::new(), digest: None }
    }

    pub(crate) fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", body: Some(body.into()), digest: Some("sha-256"), ..Self::get(target) }
    }

    pub(crate) fn with(mut self, parameters: &str) -> Self {
        self.parameters.push_str(parameters);
        self
    }

    pub(crate) fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub(crate) fn aged(mut self, age: i64) -> Self {
        self.age = age;
        self
    }

    /// The fields that go with it, signed ones and the signature.
    pub(crate) fn signed(&self, by: &Signing, authority: &str) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if let Some(algorithm) = self.digest {
            let hash = if algorithm == "sha-512" { &SHA512 } else { &SHA256 };
            let body = self.body.as_deref().unwrap_or_default();
            fields.push(("content-digest".to_owned(), format!("{algorithm}=:{}:", BASE64.encode(digest(hash, body).as_ref()))));
        }
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let derived =
            [("@method", self.method.to_owned()), ("@authority", authority.to_owned()), ("@path", path.to_owned()), ("@query", format!("?{query}"))];
        let covered: Vec<(String, String)> = derived.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(fields.clone()).collect();
        let names: Vec<String> = covered.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let created = time::OffsetDateTime::now_utc().unix_timestamp() - self.age;
        let parameters = format!("({});created={created};keyid=\"{}\"{}", names.join(" "), by.name, self.parameters);
        let lines: Vec<String> = covered.iter().map(|(name, value)| format!("\"{name}\": {value}\n")).collect();
        let signature = BASE64.encode(&by.sign(format!("{}\"@signature-params\": {parameters}", lines.concat()).as_bytes()));
        fields.push(("signature-input".to_owned(), format!("sig={parameters}")));
        fields.push(("signature".to_owned(), format!("sig=:{signature}:")));
        fields
    }
}

/// A node, its service, and its signers; the first has Ed25519.
pub(crate) struct Place {
    pub(crate) station: Station,
    pub(crate) node: Running,
    pub(crate) service: Service,
    pub(crate) chat: Echo,
    pub(crate) signers: Vec<Signing>,
    ports: [u16; 3],
    /// A service that speaks HTTP/2.
    _http2: JoinSet<()>,
}

impl Place {
    pub(crate) async fn start() -> Self {
        Self::within("failures_per_prefix: 100000").await
    }

    /// One with these limits.
    pub(crate) async fn within(limits: &str) -> Self {
        let station = Station::start(|text| {
            // A program without HTTP/3 refuses a file that asks for it.
            let http3 = if cfg!(feature = "http3") { ", http3: {} }\ncontrol" } else { " }\ncontrol" };
            format!("{}limits: {{ {limits} }}\n", text.replacen(" }\ncontrol", http3, 1))
        })
        .await;
        let node = station.serve().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        // Sent with an age beyond its lifetime, it is stale from the beginning.
        let aging = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=10, stale-while-revalidate=1000\r\nage: 20\r\ncontent-length: 5\r\n\r\naging";
        let service = Service::start(tokio::net::TcpListener::from_std(listener).unwrap(), |seen| {
            if seen.line().contains("/aging") { raw(aging) } else { ok("served") }
        });
        let (chat, address) = Echo::anywhere().await.unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ports = [port, address.port(), listener.local_addr().unwrap().port()];
        let (http2, _) = crate::upstream_protocols::serve(listener, None);
        let place = Self { station, node, service, chat, signers: Signing::all(), ports, _http2: http2 };
        let signers = place.signers.iter().map(|signer| signer.doc("default")).collect::<Vec<_>>();
        place.apply(&json!(signers)).await;
        place
    }

    pub(crate) fn partner(&self) -> &Signing {
        &self.signers[0]
    }

    /// Puts a document with these signers in force.
    pub(crate) async fn apply(&self, signers: &Value) {
        let names: Vec<&Value> = signers.as_array().unwrap().iter().map(|signer| &signer["name"]).collect();
        let asked = |more: Value| {
            let mut rule = json!({ "signer": names });
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "signature": rule })
        };
        let route = |name: &str, auth: Value, more: Value| {
            let mut route =
                json!({ "name": name, "match": { "path": format!("/{name}/**"), "host": "127.0.0.1" }, "auth": auth, "upstream": "echo" });
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        };
        let [echo, chat, http2] = self.ports;
        let mut by_http2 = upstream("http2", http2);
        by_http2["protocol"] = json!("http2");
        let mut told = upstream("echo", echo);
        told["principal"] = json!({});
        let document = json!({
            "version": 1,
            "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }, { "name": "foreign", "hosts": ["foreign.example"] }],
            "plans": [{ "name": "free", "limits": { "burst": { "rate": "200/s", "burst": 400 } } }],
            "consumers": [{ "name": "demo", "tenant": "demo" }, { "name": "rival", "tenant": "demo" }, { "name": "stranger", "tenant": "foreign" }],
            "applications": [
                { "name": "default", "consumer": "demo", "plan": "free", "scopes": ["read", "own"] },
                { "name": "rival", "consumer": "rival", "plan": "free" },
                { "name": "stranger", "consumer": "stranger" },
            ],
            "signers": signers,
            "upstreams": [told, upstream("aging", echo), upstream("chat", chat), by_http2],
            "routes": [
                route("signed", asked(json!({})), json!({ "scopes": ["read"] })),
                route("once", asked(json!({ "nonce": "required", "max_age": "5m" })), json!({})),
                route("more", asked(json!({ "components": ["content-type", "x-note"], "tag": "shop" })), json!({})),
                route("loose", asked(json!({ "content_digest": "optional" })), json!({})),
                route("any", json!({ "any_of": ["api_key", asked(json!({}))] }), json!({})),
                route("all", json!({ "all_of": ["api_key", asked(json!({}))] }), json!({})),
                route("limited", asked(json!({})), json!({ "limits": [{ "name": "few", "rate": "3/h" }] })),
                route("http2", asked(json!({})), json!({ "upstream": "http2" })),
                route("small", asked(json!({})), json!({ "body_max": "1KiB" })),
                route("plain", json!("api_key"), json!({})),
                route("aging", asked(json!({ "nonce": "required" })), json!({ "upstream": "aging", "cache": {} })),
                route("chat", asked(json!({ "nonce": "required" })), json!({ "upstream": "chat", "websocket": {} })),
            ],
        });
        self.station.put(&document, &self.node).await;
    }

    pub(crate) fn authority(&self) -> String {
        self.station.region.data.trim_start_matches("https://").to_owned()
    }

    /// Sends a draft, signed, with something done to its fields and its body.
    pub(crate) async fn send(&self, version: Version, draft: &Draft, by: &Signing, change: impl FnOnce(&mut Sent)) -> Response {
        let mut sent = Sent {
            method: draft.method.parse().unwrap(),
            target: draft.target.clone(),
            fields: draft.signed(by, &self.authority()),
            body: draft.body.clone().map(Body::from),
        };
        change(&mut sent);
        let request = self.station.http(version).request(sent.method, format!("{}{}", self.station.region.data, sent.target));
        let request = sent.fields.iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = if let Some(body) = sent.body { request.body(body) } else { request };
        request.send().await.unwrap()
    }

    /// Status and problem code of a draft as it is, over HTTP/2.
    pub(crate) async fn judged(&self, draft: &Draft, by: &Signing) -> (u16, String) {
        crate::tokens::verdict(self.send(Version::Http2, draft, by, |_| {}).await).await
    }

    /// How often signatures were refused for a reason.
    pub(crate) async fn refused(&self, reason: &str) -> String {
        self.station.metric(&format!("causeway_signatures_refused_total{{reason=\"{reason}\"}}")).await.to_string()
    }

    pub(crate) async fn stop(self) {
        drop(self.node);
        self.station.stop().await;
    }
}

/// A request on its way.
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Option<Body>,
}

impl Sent {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.fields.retain(|(other, _)| other != name);
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn get(&self, name: &str) -> String {
        self.fields.iter().find(|(other, _)| other == name).unwrap().1.clone()
    }
}
