//! Servers of a domain come and go by the document, while clients are promised something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::Place;

const READS: &str = "{ mode: read_your_writes, wait: 100ms, else: refuse }";
/// Writers and readers at a time, each one request after another.
const CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_a_domain_come_and_go_and_no_promise_under_way_is_broken() {
    let place = Arc::new(Place::start(READS).await);
    let before = broken(&place).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&place), Arc::clone(&is_over)));
    }
    let standby = format!("\"127.0.0.1:{}\", region: us-east", place.reader().postgres_port);
    assert!(place.text.contains(&standby), "{}", place.text);
    let with = |instead: &str| place.text.replace(&standby, instead);
    let unread = format!("{standby}, reads: false");
    // Nobody answers there, and nobody reads it.
    let more = format!("\"127.0.0.1:9\", region: us-east, reads: false }}\n  - {{ address: {standby}");
    for _ in 0..4 {
        for text in [with(&more), with(&unread), place.text.clone()] {
            place.apply(&text, READS).await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for (told, count) in clients.join_all().await.into_iter().flatten() {
        *all.entry(told).or_default() += count;
    }
    let served = |told: &str| all.get(told).copied().unwrap_or_default();
    assert!(served("write 201 eu-west") > 100 && served("read 200 us-east") > 50 && served("read 200 eu-west") > 0, "{all:?}");
    assert_eq!(all.len(), 3, "whatever else was answered: {all:?}");
    assert_eq!(broken(&place).await, before, "writes whose place was not told, and reads that had to be asked again");
    Arc::into_inner(place).unwrap().dev.stop().await.unwrap();
}

/// How many promises nodes have had to mend, in both regions.
async fn broken(place: &Place) -> Vec<u64> {
    let mut counts = Vec::new();
    for region in &place.dev.ready().regions {
        for event in ["untold", "held_back"] {
            counts.push(place.event(region, event).await);
        }
    }
    counts
}

/// Writes at one region and reads that at the other, and so on; what was answered, and how often.
async fn client(place: Arc<Place>, is_over: Arc<AtomicBool>) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let written = place.create(place.writer(), None).await;
        let (status, region, staleness) = written.told();
        *answers.entry(format!("write {status} {region}{staleness}")).or_default() += 1;
        let Some(id) = written.body["id"].as_i64() else { continue };
        let read = place.read(place.reader(), id, Some(&written.token())).await;
        let (status, region, staleness) = read.told();
        *answers.entry(format!("read {status} {region}{staleness}")).or_default() += 1;
    }
    answers
}

/// Nothing arrives there: neither the services' rows nor Causeway's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_takes_effect_in_a_region_whose_replica_stands_still() {
    let place = Place::start(READS).await;
    place.pause().await;
    let (id, token) = place.item(place.writer()).await;
    assert_eq!(place.read(place.reader(), id, Some(&token)).await.told(), (200, "eu-west", ""));
    place.policy("{ mode: eventual }").await;
    assert_eq!(place.read(place.reader(), id, Some(&token)).await.told(), (404, "us-east", ""), "nothing is promised any more");
    place.resume().await;
    place.dev.stop().await.unwrap();
}
