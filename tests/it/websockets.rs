//! WebSockets through the gateway: over HTTP/1.1 and over HTTP/2, from the handshake to the end.

mod handshake;
mod leave;
mod life;

use std::sync::Arc;

use harness::client::Version;
use harness::websocket::{self, Client, Session};
use http::Response;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::site::{SOON, Site};
use crate::wire::Wire;

/// Services that these tests play.
pub(crate) const SERVICES: [&str; 22] = [
    "wsreplaced",
    "wsshut",
    "wsplain",
    "wsframes",
    "wsignored",
    "wsbroken",
    "wsearly",
    "wsorigin",
    "wspage",
    "wsecho",
    "wsboth",
    "wskey",
    "wsrecord",
    "wstalk",
    "wsend",
    "wscut",
    "wsslow",
    "wsfull",
    "wsidle",
    "wsold",
    "wshalf",
    "wsmany",
];

/// The routes to them.
pub(crate) fn routes() -> Vec<Value> {
    let route = |name: &str, websocket: Value, more: Value| {
        let matches = json!({ "host": ["127.0.0.1", "localhost"], "path": format!("/{name}/**") });
        let mut route = json!({ "name": name, "match": matches, "auth": "none", "upstream": name });
        route["websocket"] = websocket;
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    let own = ["wsplain", "wsignored", "wskey", "wsreplaced", "wsrecord", "wsorigin", "wsfull", "wsidle", "wsold"];
    let mut all: Vec<Value> = SERVICES.iter().filter(|name| !own.contains(name)).map(|name| route(name, json!({}), json!({}))).collect();
    all.extend([
        json!({ "name": "wsplain", "match": { "host": "127.0.0.1", "path": "/wsplain/**" }, "auth": "none", "upstream": "wsplain" }),
        json!({ "name": "wsignored", "match": { "host": "127.0.0.1", "path": "/wsignored/**" }, "auth": "none", "upstream": "wsignored" }),
        route("wskey", json!({}), json!({ "auth": "api_key", "audit": "strict" })),
        route("wsreplaced", json!({}), json!({ "auth": "api_key" })),
        route("wsrecord", json!({}), json!({ "auth": "api_key", "scopes": ["items:read"] })),
        route("wsorigin", json!({ "origins": ["https://app.example", "https://*.pages.example"] }), json!({})),
        route("wsfull", json!({ "max": 2 }), json!({})),
        route("wsidle", json!({ "idle": "1s" }), json!({})),
        route("wsold", json!({ "lifetime": "2s" }), json!({})),
        json!({ "name": "wstls-open", "match": { "host": "127.0.0.1", "path": "/wstls/open" }, "auth": "none", "upstream": "wstls", "websocket": {} }),
    ]);
    all
}

/// Both ways to open one.
const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

/// A handshake over a connection of its own; a refusal is an answer.
async fn ask(site: &Site, version: Version, path: &str, fields: &[(&str, &str)]) -> Result<Client, Response<Vec<u8>>> {
    match version {
        Version::Http1 => {
            let stream = Wire::http1(site).await.into_stream();
            websocket::open_http1(Box::new(stream), path, fields).await.unwrap()
        }
        Version::Http2 => {
            let stream = Wire::connect(site.address(), site.ca(), "h2", None).await.into_stream();
            // The connection lives as long as its streams.
            Session::start(Box::new(stream)).await.unwrap().open(path, fields).await.unwrap()
        }
    }
}

/// An open WebSocket.
async fn open(site: &Site, version: Version, path: &str, fields: &[(&str, &str)]) -> Client {
    ask(site, version, path, fields).await.unwrap_or_else(|answer| {
        panic!("{version:?} {path} was refused: {answer:?} {}", String::from_utf8_lossy(answer.body()));
    })
}

/// The code of a problem.
fn code(answer: &Response<Vec<u8>>) -> String {
    let json: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    json["code"].as_str().unwrap_or_default().to_owned()
}

/// A number of the node, by its whole name with labels.
async fn metric(site: &Site, name: &str) -> u64 {
    let request = site.http(Version::Http1).get(format!("{}/metrics", site.region().control)).bearer_auth(site.operator_token());
    let text = request.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).trim_end_matches(".0").parse().unwrap()
}

/// Waits until an end was counted for a reason.
async fn counted(site: &Site, reason: &str, before: u64) {
    let name = ends(reason);
    let counted = harness::wait::until("an end that is counted", SOON, async || metric(site, &name).await > before).await;
    assert!(counted.is_ok(), "{reason} was {before}, and still is");
}

fn ends(reason: &str) -> String {
    format!("causeway_websocket_ends_total{{reason=\"{reason}\"}}")
}

/// TLS for a service that these tests play.
fn acceptor(site: &Site, protocols: &[&str]) -> TlsAcceptor {
    let (certificate, key) = site.certificate();
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
    let mut config = config.unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
