//! Certificates that change, and a node that leaves, under HTTP/3.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use harness::http3::Client;
use harness::wait;
use rustix::process::Signal;
use rustls_pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Place, none};
use crate::certificates::{leaf, renew};
use crate::operation::START_WITHIN;
use crate::service::read_request;
use crate::site::SOON;

/// A service that answers when it is told to.
async fn waiting(place: &Place, told: Arc<Notify>, asked: Arc<Notify>) -> JoinSet<()> {
    let text = std::fs::read_to_string(place.station.folder().join("http3.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let target = document["upstreams"][1]["regions"]["eu-west"]["targets"][0].as_str().unwrap();
    let port: u16 = target.rsplit_once(':').unwrap().1.parse().unwrap();
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream, &mut Vec::new(), 0).await.unwrap();
        asked.notify_one();
        told.notified().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await.unwrap();
        told.notified().await;
    });
    task
}

fn shown(connection: &quinn::Connection) -> CertificateDer<'static> {
    let chain = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    chain[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn http3_takes_new_certificates_and_leaves_without_cutting_what_runs() {
    let place = Place::start("idle_timeout: 60s").await;
    let station = &place.station;
    let mut kept = place.client(101).await;
    assert_eq!(place.send(&mut kept, "GET", "/open/before", &[], none()).await.status, 200);

    let folder = station.ca().parent().unwrap();
    assert_eq!(shown(kept.connection()), leaf(folder));
    let fresh = renew(folder, "server", &["localhost", "127.0.0.1"]);
    let connect = async || harness::http3::connect(station.address(), None, "localhost", &fresh.path().join("ca.pem")).await;
    let (connection, _) = wait::some("the new chain", SOON, async || connect().await.ok()).await.unwrap();
    assert_eq!(shown(&connection), leaf(folder));
    assert_eq!(place.send(&mut kept, "GET", "/open/reloaded", &[], none()).await.status, 200, "connections go on");

    let (told, asked) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let _service = waiting(&place, Arc::clone(&told), Arc::clone(&asked)).await;
    let request = place.request("GET", "/slow/late", &[("x-request-id", "http3-late")]);
    let mut busy = Client::connect(station.address(), None, "localhost", &fresh.path().join("ca.pem")).await.unwrap();
    let mut running = JoinSet::new();
    running.spawn(async move { (busy.send(request, none()).await, busy) });
    asked.notified().await;

    place.node.process.signal(Signal::TERM);
    kept.ended().await;
    assert!(place.node.process.is_alive(), "an idle connection is told at once; the node waits for the other");
    let refused = tokio::time::timeout(Duration::from_secs(3), connect()).await.expect("told at once");
    assert!(refused.is_err(), "no new connection");
    told.notify_one();
    let (answer, mut busy) = running.join_next().await.unwrap().unwrap();
    let answer = answer.expect("what runs is not cut");
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    assert!(busy.send(place.request("GET", "/open/more", &[]), none()).await.is_err(), "nothing new on a connection that was told");
    busy.ended().await;
    let Place { mut node, station, .. } = place;
    assert_eq!(node.ended(Duration::from_secs(15)).await, Some(0), "{}", node.log());

    // The port is free again for the next process.
    let node = station.launch(|_| {});
    let up = wait::until("the next process", START_WITHIN, async || node.said("node is up")).await;
    assert!(up.is_ok(), "{}", node.log());
    let again = async || harness::http3::connect(station.address(), None, "localhost", &fresh.path().join("ca.pem")).await;
    wait::until("HTTP/3", SOON, async || again().await.is_ok()).await.unwrap();
    station.stop().await;
}
