//! Calls of the control plane through its node's own data listener: they are those of a client, and they are believed by nothing but the
//! node's certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use app::own_gateway::{OwnGateway, Senders, WITHIN};
use bytes::Bytes;
use control::port::{Called, Gateway, GatewayFault};
use edge::tls::{Certificates, Chain, ChainTable, UnknownHost};
use http::Request;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::service::ok;
use crate::site::site;

/// The developer who tries something out.
pub(crate) const DEVELOPER: [u8; 4] = [198, 51, 100, 30];

fn certificates(certificate: &[u8], key: &[u8]) -> Arc<Certificates> {
    Certificates::new(ChainTable::new(&Chain::read(certificate, key).unwrap(), &[], UnknownHost::Default))
}

/// What the node itself has: its certificate and key lie in a folder of the deployment.
pub(crate) fn own(folder: &Path) -> Arc<Certificates> {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    certificates(&read("server.pem"), &read("server.key"))
}

pub(crate) async fn call(
    address: SocketAddr,
    certificates: Arc<Certificates>,
    senders: Senders,
    request: Request<&'static str>,
) -> Result<Called, GatewayFault> {
    OwnGateway::new(address, certificates, senders, WITHIN).call(DEVELOPER.into(), request.map(Bytes::from)).await
}

#[tokio::test]
async fn call_of_the_control_plane_is_routed_refused_and_recorded_as_a_clients() {
    let site = site().await;
    let service = site.service("tried", |_| ok("fine"));
    let key = site.key(json!({ "name": "tried", "application": "default" })).await;
    let folder = site.ca().parent().unwrap();
    let post = |path: &str| Request::post(path.to_owned()).header("host", "127.0.0.1").header("content-type", "text/plain");
    let call = async |request| call(site.address(), own(folder), Senders::default(), request).await.unwrap().response;

    let stranger = call(post("/tried/things?n=1").header("x-request-id", "tried-stranger").body("a thing").unwrap()).await;
    let lost = call(post("/nowhere").body("").unwrap()).await;
    let known = post("/tried/things?n=1").header("x-api-key", &key.secret).header("x-request-id", "tried-known").header("connection", "x-a");
    let known = call(known.header("expect", "100-continue").header("x-a", "1").body("a thing").unwrap()).await;

    for (answer, status, code) in [(stranger, 401, "credentials-missing"), (lost, 404, "route-not-found")] {
        let problem: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!((answer.status().as_u16(), &problem["code"]), (status, &json!(code)), "{problem}");
    }
    assert_eq!((known.status().as_u16(), known.body().as_ref()), (200, &b"fine"[..]));
    let seen = service.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].line(), &seen[0].body[..], seen[0].header("x-a")), ("POST /tried/things?n=1 HTTP/1.1", &b"a thing"[..], vec!["1"]));
    for (id, outcome) in [("tried-stranger", "denied"), ("tried-known", "ok")] {
        let records = site.records(&format!("request_id={id}&phase=outcome"), 1).await;
        assert_eq!((&records[0]["outcome"], &records[0]["route"]), (&json!(outcome), &json!("tried")), "{records:?}");
    }
}

/// Somebody on this machine who took the port would be sent a developer's key.
#[tokio::test]
async fn call_of_the_control_plane_goes_to_nobody_without_the_nodes_certificate() {
    let site = site().await;
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let other = certificates(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    let request = || Request::get("/nowhere").header("host", "localhost").body("").unwrap();

    let refused = call(site.address(), other, Senders::default(), request()).await;
    let taken = call(site.address(), own(site.ca().parent().unwrap()), Senders::default(), request()).await;

    assert_eq!((refused.map(drop), taken.map(drop)), (Err(GatewayFault::Broken), Ok(())));
}
