//! A token that was verified a moment ago: its signature is not checked again, and everything else is (ADR 0019).

use std::time::Duration;

use harness::issuer::Signer;
use harness::wait;
use serde_json::json;

use crate::tokens::{Place, verdict};

async fn taken(place: &Place, how: &str) -> u64 {
    place.count(&format!("causeway_tokens_taken_total{{how=\"{how}\"}}")).await.parse().unwrap()
}

async fn status(place: &Place, path: &str, token: &str) -> u16 {
    verdict(place.with_token(path, token).await).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_again_is_known_and_held_against_everything_that_can_change() {
    let place = Place::start().await;
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let token = |change| place.signer.token(&place.claims(&change)).unwrap();

    let one = token(json!({ "jti": "known" }));
    assert_eq!(status(&place, "/token/x", &one).await, 200);
    let (known, verified) = (taken(&place, "known").await, taken(&place, "verified").await);
    for _ in 0..3 {
        assert_eq!(status(&place, "/token/x", &one).await, 200);
    }
    assert_eq!((taken(&place, "known").await, taken(&place, "verified").await), (known + 3, verified), "verified once");
    let seen = place.service.seen().pop().unwrap();
    assert_eq!([seen.header("x-who"), seen.header("x-app")], [["alice"], ["default"]]);
    let mut forged = one.clone();
    forged.replace_range(forged.len() - 8.., "AAAAAAAA");
    assert_eq!(status(&place, "/token/x", &forged).await, 401, "a text that differs in its signature is another");
    assert_eq!(status(&place, "/other/x", &one).await, 401, "known for one audience, and no other");

    // What ends by itself.
    let short = token(json!({ "exp": now - 4 }));
    assert_eq!(status(&place, "/token/x", &short).await, 200, "within the leeway");
    let is_over = async || status(&place, "/token/x", &short).await == 401;
    wait::until("the end of a known token", Duration::from_secs(15), is_over).await.unwrap();

    // What an operator ends.
    let denial = json!({ "issuer": "accounts", "token": "known" });
    assert_eq!(place.station.calls.change("/v1/tokens/deny", Some(&denial)).await.unwrap().status, 200);
    let is_denied = async || status(&place, "/token/x", &one).await == 401;
    wait::until("the denial of a known token", Duration::from_secs(1), is_denied).await.unwrap();

    // What the document says now.
    let two = token(json!({ "jti": "two" }));
    assert_eq!(status(&place, "/token/x", &two).await, 200);
    place.apply(&json!({ "audiences": ["else"] })).await;
    assert_eq!(status(&place, "/token/x", &two).await, 401, "other rules");
    place.apply(&json!({})).await;
    let is_good = async || status(&place, "/token/x", &two).await == 200;
    wait::until("the rules of before", Duration::from_secs(5), is_good).await.unwrap();

    // What its issuer takes back.
    let other = Signer::p256("other").unwrap();
    place.issuer.publish(&[&other]).unwrap();
    let anew = std::fs::read_to_string(place.station.ca()).unwrap().repeat(2);
    place.apply(&json!({ "ca": anew })).await;
    let is_unknown = async || status(&place, "/token/x", &two).await == 401;
    wait::until("the end of a key", Duration::from_secs(5), is_unknown).await.unwrap();
    place.stop().await;
}
