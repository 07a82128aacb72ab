//! A pepper is replaced while keys are in use, and nobody has their secrets.

use std::time::Duration;

use harness::wait;

use crate::operation::Station;
use crate::program::causeway;
use crate::site::SOON;

#[tokio::test]
async fn keys_work_before_and_after_a_new_pepper_is_put_around_their_digests() {
    let station = Station::start(|text| with_second_pepper(&text)).await;
    std::fs::write(station.folder().join("pepper-2"), "5".repeat(64)).unwrap();
    let node = station.serve().await;
    let config = station.arguments().last().unwrap().to_str().unwrap().to_owned();
    let status = async |key: &str| station.calls.get(&station.region, "/demo/v1/echo", key).await.unwrap().status;
    let made = station.calls.issue("made with the new pepper").await.unwrap();
    wait::until("the new key", SOON, async || status(&made.secret).await == 200).await.unwrap();
    assert_eq!(status(station.calls.first_key()).await, 200, "the key from before");

    let first = causeway(&["admin", "rotate-pepper", "--config", &config], &[], Duration::from_secs(30)).await.expect(0);
    let again = causeway(&["admin", "rotate-pepper", "--config", &config], &[], Duration::from_secs(30)).await.expect(0);

    assert!(first.stdout.contains("1 keys have pepper 2 outermost now"), "{first:?}");
    assert!(again.stdout.contains("0 keys have pepper 2 outermost now"), "{again:?}");
    let key = station.calls.first_key();
    let id = &key[8..20];
    let shown = station.calls.control(&station.region, &format!("/v1/keys/{id}")).await.unwrap().json();
    assert_eq!(shown["state"], "active", "{shown}");
    // Revisions are applied in their order: a node that knows this key has the rotation, too.
    let last = station.calls.issue("made after it").await.unwrap();
    wait::until("the last key", SOON, async || status(&last.secret).await == 200).await.unwrap();
    for key in [key, &made.secret] {
        assert_eq!(status(key).await, 200, "with the layer around its digest");
    }
    node.process.kill().await.unwrap();
}

/// The node file with another pepper behind the first.
fn with_second_pepper(text: &str) -> String {
    const FIRST: &str = r#"{ version: 1, key: "file:../secrets/pepper-1" }"#;
    assert!(text.contains(FIRST), "{text}");
    text.replace(FIRST, &format!(r#"{FIRST}, {{ version: 2, key: "file:pepper-2" }}"#))
}
