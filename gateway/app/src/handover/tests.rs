use std::{net::TcpListener, path::Path, sync::Arc, sync::atomic::Ordering};

use model::time::UtcMicros;

use super::{Giver, Sockets, ask};
use crate::facts::Facts;

fn sockets(data: usize, control: usize) -> Sockets {
    let bind = |count| (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    Sockets { data: bind(data), control: bind(control) }
}

fn ports(sockets: &Sockets) -> [Vec<u16>; 2] {
    [&sockets.data, &sockets.control].map(|sockets| sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect())
}

async fn asking(path: &Path, node: &'static str) -> Result<Option<(Sockets, super::Predecessor)>, String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || ask(&path, node).map_err(|error| format!("{error:#}"))).await.unwrap()
}

/// More sockets than one message takes; then a successor that ends, one that is another node, one that takes over.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_given_until_a_successor_serves_and_only_to_this_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("handover.sock");
    assert!(asking(&path, "n1").await.unwrap().is_none(), "nobody serves yet");
    std::fs::write(&path, "left by a process that was killed").unwrap();
    let own = sockets(130, 2);
    let expected = ports(&own);
    let facts = Facts::new(UtcMicros(0), false);
    let giver = Giver::bind(&path, "n1", own).unwrap();
    let heard = Arc::clone(&facts);
    #[expect(clippy::disallowed_methods, reason = "joined below")]
    let handing = tokio::spawn(async move { giver.given(heard).await.unwrap() });

    assert!(asking(&path, "n2").await.unwrap_err().contains("this is node n1, not n2"));

    let (sockets, predecessor) = asking(&path, "n1").await.unwrap().unwrap();
    assert_eq!(ports(&sockets), expected);
    assert_eq!(predecessor.pid(), std::process::id());
    assert!(facts.handing_over.load(Ordering::Relaxed));
    drop(predecessor);

    let (sockets, predecessor) = asking(&path, "n1").await.unwrap().unwrap();
    assert_eq!(ports(&sockets), expected, "a successor that ended changes nothing");
    let taking = tokio::task::spawn_blocking(move || predecessor.take_over().map_err(|error| format!("{error:#}")));
    handing.await.unwrap().draining();
    taking.await.unwrap().unwrap();
    assert!(facts.handing_over.load(Ordering::Relaxed));
    assert!(path.exists(), "the path is the successor's");
}

#[tokio::test(flavor = "multi_thread")]
async fn process_that_stops_gives_up_a_hand_over_and_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("handover.sock");
    let giver = Giver::bind(&path, "n1", sockets(1, 1)).unwrap();
    #[expect(clippy::disallowed_methods, reason = "joined below")]
    let handing = tokio::spawn(giver.given(Facts::new(UtcMicros(0), false)));
    let (_sockets, predecessor) = asking(&path, "n1").await.unwrap().unwrap();

    handing.abort();
    assert!(handing.await.unwrap_err().is_cancelled());

    assert!(!path.exists());
    let error = predecessor.take_over().unwrap_err();
    assert!(format!("{error:#}").contains("the other process"), "{error:#}");
}

#[test]
fn only_sockets_at_the_addresses_of_the_node_file_are_kept() {
    let own = sockets(2, 1);
    let [data, control] = ports(&own);
    let at = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();

    let mut kept = own.try_clone().unwrap();
    kept.keep(at(data[0]), at(control[0]));
    assert_eq!(ports(&kept), [vec![data[0]], vec![control[0]]]);
    let mut kept = own.try_clone().unwrap();
    kept.keep(at(0), format!("127.0.0.2:{}", control[0]).parse().unwrap());
    assert_eq!(ports(&kept), [data, vec![]]);
}
