//! A connection that another region's gateway does not take for one of a gateway any more: requests go over another one, and none is lost.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future;
use harness::wait;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::StatusCode;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::place::{Place, WITHIN, gateway, name_of};
use crate::client_certificates::place::Ca;

/// Plays the gateway of a region: what came over connections up to a number it does not take.
struct Far {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    refused_up_to: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Far {
    /// `refusal` is how it says so.
    async fn start(ca: &Ca, region: &str, refusal: fn() -> Response<Full<Bytes>>) -> Self {
        let holder = gateway(ca, &name_of(region));
        let [chain, key] = holder.pem();
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let [connections, refused_up_to, refusals] = [(); 3].map(|()| Arc::<AtomicUsize>::default());
        let (opened, limit, counted) = (Arc::clone(&connections), Arc::clone(&refused_up_to), Arc::clone(&refusals));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, limit, counted) = (tls.clone(), Arc::clone(&limit), Arc::clone(&counted));
                let number = opened.fetch_add(1, Ordering::SeqCst) + 1;
                open.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |_: Request<Incoming>| {
                        let is_refused = number <= limit.load(Ordering::SeqCst);
                        counted.fetch_add(usize::from(is_refused), Ordering::SeqCst);
                        let served = || Response::builder().header("causeway-crossing", "served").body(Full::default()).unwrap();
                        future::ready(Ok::<_, Infallible>(if is_refused { refusal() } else { served() }))
                    });
                    drop(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, connections, refused_up_to, refusals, _tasks: tasks }
    }

    /// Takes nothing more over the connections that are open.
    fn refuse_older(&self) {
        self.refused_up_to.store(self.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_taken_for_a_gateways_any_more_costs_no_request() {
    let place = Place::start().await;
    let bare = || Response::builder().status(StatusCode::MISDIRECTED_REQUEST).body(Full::default()).unwrap();
    // As a refusal of a call of gRPC looks.
    let told = || Response::builder().header("causeway-crossing", "refused=\"certificate-not-asked\";sent").body(Full::default()).unwrap();
    let refusals: [fn() -> Response<Full<Bytes>>; 2] = [bare, told];
    for (index, refusal) in refusals.into_iter().enumerate() {
        let far = Far::start(&place.ca, "eu-west", refusal).await;
        let mut document = place.document(&[]);
        let region = document["regions"].as_array_mut().unwrap().iter_mut().find(|region| region["name"] == "eu-west").unwrap();
        region["forwarding"]["targets"] = json!([format!("https://{}", far.address)]);
        assert_eq!(place.calls.change("/v1/apply", Some(&document)).await.unwrap().status, 200);
        let caller = place.region("us-east").clone();
        let reached = async || place.get(&caller, "/far/").await.status() == StatusCode::OK && far.connections.load(Ordering::SeqCst) > 0;
        wait::until("the gateway that is played", WITHIN, reached).await.unwrap();

        for round in 0..5 {
            far.refuse_older();
            let before = far.refusals.load(Ordering::SeqCst);
            let requests = (0..40).map(|number| {
                let request = place.client.post(format!("{}/far/{number}", caller.data)).body("x").timeout(WITHIN);
                let get = place.client.get(format!("{}/far/{number}", caller.data)).timeout(WITHIN);
                async move { if number % 4 == 0 { request.send().await } else { get.send().await }.unwrap().status() }
            });
            let statuses = future::join_all(requests).await;
            // A body that streams cannot be sent again.
            for (number, status) in statuses.iter().enumerate() {
                assert!(
                    *status == StatusCode::OK || number % 4 == 0 && *status == StatusCode::SERVICE_UNAVAILABLE,
                    "{index}, {round}, {number}: {status}"
                );
            }
            assert!(far.refusals.load(Ordering::SeqCst) > before, "{index}, {round}: nothing was refused, and nothing is shown");
            let settled = far.refusals.load(Ordering::SeqCst);
            for _ in 0..20 {
                assert_eq!(place.get(&caller, "/far/").await.status(), StatusCode::OK);
            }
            assert!(far.refusals.load(Ordering::SeqCst) - settled <= 1, "the other core's connection, at most");
        }
    }
    place.stop().await;
}
