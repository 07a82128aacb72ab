//! Services that want to know who calls: the node proves itself with a certificate of its own, or does not call at all.

use std::path::Path;
use std::sync::Arc;

use harness::client::Version;
use harness::wait;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::operation::Station;
use crate::site::SOON;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Puts a client's chain under a name into a folder, the key first; its leaf.
fn certificate(folder: &Path, name: &str, authority: &Authority) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, authority).unwrap();
    for (end, text) in [("key", key.serialize_pem()), ("pem", format!("{}{}", leaf.pem(), authority.pem()))] {
        let (next, file) = (folder.join(format!("{name}.{end}.next")), folder.join(format!("{name}.{end}")));
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, file).unwrap();
    }
    leaf.der().clone()
}

/// Plays a service that takes only clients of an authority, and answers with the certificate that it was shown. It keeps connections open, and
/// lets sessions be resumed.
async fn play(station: &Station, clients: &Authority) -> (u16, JoinSet<()>) {
    let mut roots = RootCertStore::empty();
    roots.add(clients.der().clone()).unwrap();
    let folder = station.ca().parent().unwrap();
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let mut config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            open.spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
                let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                    let body = http_body_util::Full::new(bytes::Bytes::from(shown.clone()));
                    async move { Ok::<_, std::convert::Infallible>(Response::new(body)) }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (port, tasks)
}

fn document(station: &Station, port: u16, protocol: &str, tls: &Value) -> Value {
    let mut tls = tls.clone();
    tls["ca"] = json!(std::fs::read_to_string(station.ca()).unwrap());
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }],
        "upstreams": [{
            "name": "closed",
            "protocol": protocol,
            "regions": { "eu-west": { "targets": [format!("https://127.0.0.1:{port}")] } },
            "tls": tls,
        }],
        "routes": [{ "name": "closed", "match": { "path": "/closed" }, "auth": "none", "upstream": "closed" }],
    })
}

fn with_identity(text: &str) -> String {
    format!("{text}\nidentities: {{ billing: {{ certificate: billing.pem, key: \"file:billing.key\" }} }}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn service_gets_the_certificate_that_the_document_names_and_a_renewed_one_from_then_on() {
    let station = Station::start(|text| with_identity(&text)).await;
    let (clients, others) = (authority(), authority());
    let before = certificate(station.folder(), "billing", &clients);
    let node = station.serve().await;
    let (port, _service) = play(&station, &clients).await;
    let http = station.http(Version::Http1);
    let get = async || {
        let answer = http.get(format!("{}/closed", station.region.data)).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    let apply = async |tls: Value| station.calls.change("/v1/apply", Some(&document(&station, port, "http1", &tls))).await.unwrap();

    // Without a certificate the service refuses: the route is there, and 502.
    assert_eq!(apply(json!({})).await.status, 200);
    wait::until("the route", SOON, async || get().await.0 == 502).await.unwrap();
    // A name that this node does not know is refused where it is written, with its place, and changes nothing.
    let refused = apply(json!({ "client_certificate": "biling" })).await;
    let error = &refused.json()["errors"][0];
    assert_eq!((refused.status, refused.code().as_str(), &error["path"]), (422, "document-invalid", &json!("upstreams[0].tls.client_certificate")));
    assert!(
        error["message"].as_str().unwrap().contains("no identity named `biling`") && error["help"].as_str().unwrap().contains("`billing`"),
        "{error}"
    );

    assert_eq!(apply(json!({ "client_certificate": "billing" })).await.status, 200);
    wait::until("the service to be reached", SOON, async || get().await.0 == 200).await.unwrap();
    assert_eq!(get().await.1, before.as_ref());
    assert!(station.metric("causeway_certificate_expiry_days{identity=\"billing\"}").await > 300.0);

    // A renewed certificate is shown from then on: connections that have shown another one are used no more, whatever carries the requests.
    let shown = |leaf: &CertificateDer<'static>| (200, leaf.as_ref().to_vec().into());
    for protocol in ["http2", "http1"] {
        let changed = document(&station, port, protocol, &json!({ "client_certificate": "billing" }));
        assert_eq!(station.calls.change("/v1/apply", Some(&changed)).await.unwrap().status, 200);
        for _ in 0..3 {
            let next = certificate(station.folder(), "billing", &clients);
            wait::until("the renewed certificate", SOON, async || get().await == shown(&next)).await.unwrap();
            for _ in 0..20 {
                assert_eq!(get().await, shown(&next), "{protocol}");
            }
        }
    }
    // One of a foreign authority is refused by the service.
    let second = certificate(station.folder(), "billing", &clients);
    wait::until("the renewed certificate", SOON, async || get().await == (200, second.as_ref().to_vec().into())).await.unwrap();
    let _foreign = certificate(station.folder(), "billing", &others);
    wait::until("the service to refuse the foreign one", SOON, async || get().await.0 == 502).await.unwrap();
    // Files that cannot be used change nothing.
    let third = certificate(station.folder(), "billing", &clients);
    wait::until("the good one again", SOON, async || get().await == (200, third.as_ref().to_vec().into())).await.unwrap();
    std::fs::write(station.folder().join("billing.key"), "no key").unwrap();
    wait::until("the node to say so", SOON, async || {
        station.calls.readiness(&station.region).await.is_ok_and(|(_, text)| text.contains("identity billing"))
    })
    .await
    .unwrap();
    assert_eq!(get().await, (200, third.as_ref().to_vec().into()));
    drop(node);
    station.stop().await;
}

/// The document was good when it was applied; a node that lacks the identity serves what it had, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn node_without_the_identity_refuses_the_document_and_says_so() {
    let station = Station::start(|text| with_identity(&text)).await;
    let clients = authority();
    certificate(station.folder(), "billing", &clients);
    let mut node = station.serve().await;
    let (port, _service) = play(&station, &clients).await;
    let http = station.http(Version::Http1);
    let get = async || http.get(format!("{}/closed", station.region.data)).send().await.map_or(0, |answer| answer.status().as_u16());
    assert_eq!(
        station
            .calls
            .change("/v1/apply", Some(&document(&station, port, "http1", &json!({ "client_certificate": "billing" }))))
            .await
            .unwrap()
            .status,
        200
    );
    wait::until("the service to be reached", SOON, async || get().await == 200).await.unwrap();
    // The other region's node never had it.
    let reader = station.dev.reader().unwrap().clone();
    let other = async || station.calls.readiness(&reader).await.unwrap().1;
    wait::until("the other node to say so", SOON, async || other().await.contains("no identity named `billing`")).await.unwrap();

    node.process.signal(rustix::process::Signal::TERM);
    assert_eq!(node.ended(SOON * 3).await, Some(0));
    station.edit(|text| text.replace("billing: {", "other: {"));
    let node = station.launch(|_| {});
    wait::until("the node to say so", SOON * 4, async || {
        station.calls.readiness(&station.region).await.is_ok_and(|(_, text)| text.contains("upstreams[0].tls.client_certificate"))
    })
    .await
    .unwrap_or_else(|error| panic!("{error}: {}", node.log()));
    assert_ne!(get().await, 200, "the service is not called by somebody else");
    drop(node);
    station.stop().await;
}
