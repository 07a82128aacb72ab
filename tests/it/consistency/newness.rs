//! How old an answer may be: a bounded read is answered where nothing older is missing, or refused; a strong one by the primary's region.

use std::time::Duration;

use harness::wait;
use tokio::time::timeout;

use super::{Place, WITHIN};

const START: &str = "{ mode: read_your_writes, wait: 100ms, else: primary }";

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_read_goes_elsewhere_once_its_own_region_is_too_old_and_is_refused_where_nothing_proves_its_age() {
    let place = Place::start(START).await;
    let reader = place.reader();
    place.policy("{ mode: bounded, max: 500ms, wait: 100ms, else: refuse }").await;
    let (first, _) = place.item(reader).await;
    let at_home = async || place.read(reader, first, None).await.told() == (200, "us-east", "");
    wait::until("an answer of this region", WITHIN, at_home).await.unwrap();

    place.pause().await;
    let (second, _) = place.item(reader).await;
    let elsewhere = async || place.read(reader, second, None).await.told() == (200, "eu-west", "");
    wait::until("an answer from the primary's region", WITHIN, elsewhere).await.unwrap();
    for _ in 0..20 {
        assert_eq!(place.read(reader, second, None).await.told(), (200, "eu-west", ""), "the standby has nothing of the last half second");
    }
    place.resume().await;

    // A bound that the standby keeps although it stands still.
    place.policy("{ mode: bounded, max: 1h, wait: 100ms, else: refuse }").await;
    place.pause().await;
    let (third, _) = place.item(reader).await;
    assert_eq!(place.read(reader, third, None).await.told(), (404, "us-east", ""));
    place.resume().await;
    place.policy("{ mode: strong }").await;
    place.pause().await;
    let (fourth, _) = place.item(reader).await;
    assert_eq!(place.read(reader, fourth, None).await.told(), (200, "eu-west", ""));
    place.resume().await;

    // Only the primary's region can answer, and the data may not lie there.
    let labeled = |region: &str, label: &str| (format!("{{ name: {region}, gateway"), format!("{{ name: {region}, residency: [ {label} ], gateway"));
    let [(west, of_west), (east, of_east)] = [labeled("eu-west", "eu"), labeled("us-east", "us")];
    let text = place
        .text
        .replace(&west, &of_west)
        .replace(&east, &of_east)
        .replace("- name: demo\n  domain: demo\n", "- name: demo\n  domain: demo\n  residency: [ us ]\n");
    place.apply(&text, "{ mode: strong, wait: 10s }").await;
    let refused = timeout(Duration::from_secs(8), place.read(reader, first, None)).await.expect("nobody waits for what cannot come");
    assert_eq!(refused.body["code"], "residency-mismatch");
    place.apply(&text, "{ mode: strong, wait: 100ms, else: stale }").await;
    assert_eq!(place.read(reader, first, None).await.told(), (200, "us-east", "unknown"));
    place.policy("{ mode: strong }").await;

    // Nobody writes heartbeats any more: nothing that is read of the primary is confirmed.
    place.primary.ask("demo", "alter table causeway.heartbeat rename to hidden").await.unwrap();
    let refused = async || place.read(reader, first, None).await.body["code"] == "position-unreached";
    wait::until("a strong read without a lease to be refused", WITHIN, refused).await.unwrap();
    for region in &place.dev.ready().regions {
        let refused = async || place.read(region, first, None).await.body["code"] == "position-unreached";
        wait::until("a strong read without a lease to be refused", WITHIN, refused).await.unwrap();
    }
    let told = async || readiness(&place).await.contains("there is no table `causeway.heartbeat` with one row");
    wait::until("the reason", WITHIN, told).await.unwrap();
    place.policy("{ mode: bounded, max: 500ms, else: refuse }").await;
    assert_eq!(place.read(reader, first, None).await.body["code"], "position-unreached");
    place.policy("{ mode: bounded, max: 500ms, else: stale }").await;
    assert_eq!(place.read(reader, first, None).await.told(), (200, "us-east", "unknown"));

    place.primary.ask("demo", "alter table causeway.hidden rename to heartbeat").await.unwrap();
    wait::until("an answer of this region", WITHIN, at_home).await.unwrap();
    // Writes and their tokens are as before: another route of the service may promise clients their own.
    assert_eq!(place.create(reader, None).await.told(), (201, "eu-west", ""));
    place.dev.stop().await.unwrap();
}

/// The document says that the standby is read beside the primary: a strong read is answered when it has what the primary had when the
/// request came.
#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_waits_for_the_standbys_that_are_read_beside_the_primary() {
    let mut place = Place::start(START).await;
    let standby = place.reader().postgres_port;
    let line = format!("\"127.0.0.1:{standby}\", region: us-east }}");
    assert!(place.text.contains(&line));
    place.text = place.text.replace(&line, &line.replace("us-east", "eu-west"));
    place.policy("{ mode: strong, wait: 2s, else: refuse }").await;
    let at_writer = async |id| place.read(place.writer(), id, None).await.told() == (200, "eu-west", "");
    let (first, _) = place.item(place.writer()).await;
    // The standby has come to the set that is read at the primary.
    for region in [place.writer(), place.reader()] {
        let served = async || place.read(region, first, None).await.told() == (200, "eu-west", "");
        wait::until("a strong read", WITHIN, served).await.unwrap();
    }
    for region in [place.writer(), place.reader()] {
        for _ in 0..10 {
            let (id, _) = place.item(place.writer()).await;
            let read = place.read(region, id, None).await;
            assert_eq!(read.told(), (200, "eu-west", ""), "{read:?}, lease: {}", readiness(&place).await);
        }
    }
    place.policy("{ mode: strong, wait: 100ms, else: refuse }").await;
    place.pause().await;
    let (late, _) = place.item(place.writer()).await;
    for region in [place.writer(), place.reader()] {
        assert_eq!(place.read(region, late, None).await.body["code"], "position-unreached", "one of those that are read lacks it");
    }
    place.resume().await;
    wait::until("the standby", WITHIN, async || at_writer(late).await).await.unwrap();
    place.dev.stop().await.unwrap();
}

async fn readiness(place: &Place) -> String {
    let url = format!("{}/readyz?verbose", place.reader().control);
    place.client.get(url).bearer_auth(&place.dev.ready().operator_token).send().await.unwrap().text().await.unwrap()
}
