//! A node whose services want to know who calls, those services, and those who call.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use harness::client::Version;
use harness::issuer::{Issuer, Signer};
use harness::websocket::Echo;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Response;
use serde_json::{Value, json};

use crate::calls::Answer;
use crate::client_certificates::place::{Ca, Holder};
use crate::grpc::play::{self, messages};
use crate::operation::{Running, Station};
use crate::service::{Service, ok, raw};
use crate::site::upstream;

/// A node, its services and its callers.
pub(crate) struct Place {
    pub(crate) station: Station,
    pub(crate) node: Option<Running>,
    pub(crate) told: Service,
    pub(crate) quiet: Service,
    pub(crate) next: Service,
    pub(crate) shadow: Service,
    pub(crate) calls: play::Service,
    pub(crate) chat: Echo,
    pub(crate) issuer: Issuer,
    pub(crate) signer: Signer,
    pub(crate) ca: Ca,
    ports: [u16; 6],
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn tokio_listener(listener: TcpListener) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listener).unwrap()
}

/// A value with members of another.
fn with(mut value: Value, more: &Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

impl Place {
    pub(crate) async fn start() -> Self {
        let station = Station::start(|text| format!("{text}limits: {{ failures_per_prefix: 100000 }}\n")).await;
        let node = station.serve().await;
        let [told, quiet, next, shadow, calls] = std::array::from_fn(|_| listener());
        let (chat, address) = Echo::anywhere().await.unwrap();
        let signer = Signer::p256("first").unwrap();
        let folder = station.ca().parent().unwrap();
        let issuer = Issuer::start(&folder.join("server.pem"), &folder.join("server.key"), &[&signer]).await.unwrap();
        let again = AtomicUsize::new(0);
        let ports = [told.1, quiet.1, next.1, shadow.1, calls.1, address.port()];
        let told = Service::start(tokio_listener(told.0), move |seen| {
            let unavailable = "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n";
            let echoing = "HTTP/1.1 200 OK\r\ncauseway-principal: forged\r\ncontent-length: 0\r\n\r\n";
            match seen.line() {
                line if line.contains("/again") && again.fetch_add(1, Ordering::SeqCst) == 0 => raw(unavailable),
                line if line.contains("/echo") => raw(echoing),
                _ => ok("told"),
            }
        });
        let place = Self {
            told,
            quiet: Service::start(tokio_listener(quiet.0), |_| ok("quiet")),
            next: Service::start(tokio_listener(next.0), |_| ok("next")),
            shadow: Service::start(tokio_listener(shadow.0), |_| ok("shadow")),
            calls: play::play(tokio_listener(calls.0), |asked| async move { Ok(messages([asked.message().await])) }.boxed()),
            chat,
            issuer,
            signer,
            ca: Ca::root("partners"),
            ports,
            node: Some(node),
            station,
        };
        place.apply().await;
        place
    }

    /// The document, with what `told` says about principals.
    pub(crate) fn document(&self, principal: &Value) -> Value {
        let ca = std::fs::read_to_string(self.station.ca()).unwrap();
        let [told, quiet, next, shadow, calls, chat] = self.ports;
        let route = |name: &str, more: Value| {
            let route = json!({ "name": name, "match": { "path": format!("/{name}/**"), "host": "127.0.0.1" }, "upstream": "told" });
            with(route, &more)
        };
        json!({
            "version": 1,
            "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }],
            "plans": [{ "name": "free", "limits": { "burst": { "rate": "200/s", "burst": 400 } } }],
            "consumers": [{ "name": "demo", "tenant": "demo" }],
            "applications": [{ "name": "default", "consumer": "demo", "plan": "free", "scopes": ["read", "own"] }],
            "issuers": [{
                "name": "accounts", "issuer": self.issuer.url(), "jwks": format!("{}/keys", self.issuer.url()), "audiences": ["api"],
                "application_claim": "azp", "ca": ca, "private_addresses": true,
            }],
            "certificate_authorities": [{ "name": "partners", "ca": self.ca.pem(), "application": "default" }],
            "upstreams": [
                with(upstream("told", told), &json!({ "principal": principal, "retry_budget": { "percent": 100, "per_second": 100 } })),
                upstream("quiet", quiet),
                with(upstream("next", next), &json!({ "principal": { "audience": "https://next.example/v2" } })),
                with(upstream("shadow", shadow), &json!({ "principal": {} })),
                with(upstream("calls", calls), &json!({ "principal": {}, "protocol": "http2" })),
                with(upstream("chat", chat), &json!({ "principal": {} })),
            ],
            "routes": [
                route("key", json!({ "headers": { "request": { "set": { "x-mine": "kept" } } } })),
                route("token", json!({ "auth": "jwt" })),
                route("cert", json!({ "auth": "mtls" })),
                route("all", json!({ "auth": { "all_of": ["api_key", "jwt"] } })),
                route("open", json!({ "auth": "none" })),
                route("quiet", json!({ "upstream": "quiet", "mirror": { "upstream": "told" } })),
                route("canary", json!({ "canary": [{ "upstream": "next", "header": "x-next" }, { "upstream": "quiet", "header": "x-quiet" }] })),
                route("split", json!({ "upstream": "quiet", "split": [{ "upstream": "next", "percent": 100 }] })),
                route("mirrored", json!({ "mirror": { "upstream": "shadow" } })),
                route("unwatched", json!({ "mirror": { "upstream": "quiet" } })),
                route("again", json!({ "retries": { "on": [503], "backoff": "1ms" } })),
                route("calls", json!({ "upstream": "calls" })),
                route("chat", json!({ "upstream": "chat", "websocket": {} })),
            ],
        })
    }

    async fn apply(&self) {
        self.station.put(&self.document(&json!({})), self.node.as_ref().unwrap()).await;
    }

    /// Ends the node, changes its file and starts it again.
    pub(crate) async fn restart(&mut self, edit: impl FnOnce(String) -> String) {
        self.node = None;
        self.station.edit(edit);
        self.node = Some(self.station.serve().await);
    }

    pub(crate) async fn ask(&self, version: Version, path: &str, fields: &[(&str, &str)]) -> Response {
        let request = self.station.http(version).get(format!("{}{path}", self.station.region.data));
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
    }

    /// Asks with the key that came with the deployment.
    pub(crate) async fn by_key(&self, path: &str, more: &[(&str, &str)]) -> u16 {
        let fields = [&[("x-api-key", self.station.calls.first_key())], more].concat();
        self.ask(Version::Http2, path, &fields).await.status().as_u16()
    }

    pub(crate) async fn by_certificate(&self, holder: &Holder, path: &str) -> u16 {
        harness::client::install_provider();
        let roots = reqwest::Certificate::from_pem_bundle(&std::fs::read(self.station.ca()).unwrap()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only(roots).identity(holder.identity()).no_proxy().build().unwrap();
        client.get(format!("{}{path}", self.station.region.data)).send().await.unwrap().status().as_u16()
    }

    /// A token of the issuer.
    pub(crate) fn token(&self, more: &Value) -> String {
        self.signer.token(&with(self.issuer.claims(), more)).unwrap()
    }

    /// The key set, as a service fetches it: without any credential.
    pub(crate) async fn key_set(&self) -> Answer {
        let response = self.station.http(Version::Http1).get(format!("{}/.well-known/jwks.json", self.station.region.control)).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    pub(crate) async fn keys(&self) -> JwkSet {
        serde_json::from_str(&self.key_set().await.body).unwrap()
    }

    /// What a token says, verified as a service would.
    pub(crate) async fn verified(&self, token: &str, audience: &str) -> Value {
        verify(token, &self.keys().await, audience)
    }

    pub(crate) async fn stop(self) {
        drop(self.node);
        self.station.stop().await;
    }
}

/// The only token of a request.
pub(crate) fn only(values: &[&str]) -> String {
    let [token] = values else { panic!("{} tokens: {values:?}", values.len()) };
    (*token).to_owned()
}

/// The name of the key that signed a token.
#[expect(clippy::disallowed_methods, reason = "services have a library, and none of the gateway's code")]
pub(crate) fn key_id(token: &str) -> String {
    decode_header(token).unwrap().kid.unwrap()
}

/// Verifies a token as docs/principal.md tells services to; its claims.
#[expect(clippy::disallowed_methods, reason = "services have a library, and none of the gateway's code")]
pub(crate) fn verify(token: &str, keys: &JwkSet, audience: &str) -> Value {
    let header = decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("cw+jwt"));
    let key = keys.find(header.kid.as_deref().unwrap()).expect("a published key");
    let algorithm: Algorithm = key.common.key_algorithm.unwrap().to_string().parse().unwrap();
    assert!(matches!(algorithm, Algorithm::EdDSA | Algorithm::ES256));
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["eu-west"]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}
