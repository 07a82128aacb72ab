//! An issuer that stays away: its keys serve until they are as old as they may become, and then each route goes its own way.

use std::time::{Duration, Instant};

use harness::client::Version;
use harness::issuer::Manner;
use harness::wait;
use reqwest::Method;
use serde_json::json;

use super::{Place, verdict};
use crate::site::SOON;

/// The shortest that a document may say.
const STALE_MAX: Duration = Duration::from_mins(1);
/// How late the refusal may be told of: what a question and a fetch that fails take.
const SLACK: Duration = Duration::from_secs(10);
/// After one fetch because of a token, the next one of its kind.
const COOL_DOWN: Duration = Duration::from_secs(30);

const UNREACHABLE: &str = "issuer-unreachable";

/// What a token gets on a route.
async fn got(place: &Place, method: Method, path: &str, token: &str) -> (u16, String) {
    let request = place.station.http(Version::Http2).request(method, format!("{}{path}", place.station.region.data));
    verdict(request.bearer_auth(token).send().await.unwrap()).await
}

#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_issuer_that_stays_away_serve_until_their_age_and_then_each_route_decides() {
    let place = Place::start().await;
    let until = time::OffsetDateTime::now_utc().unix_timestamp() + 600;
    let token = place.signer.token(&place.claims(&json!({ "exp": until }))).unwrap();
    let fresh = |number: u32| place.signer.token(&place.claims(&json!({ "exp": until, "jti": number.to_string() }))).unwrap();
    // Another CA text is another way to the keys: what is known is fetched between these two instants.
    let ca = std::fs::read_to_string(place.station.ca()).unwrap().repeat(2);
    let before = Instant::now();
    place.apply(&json!({ "ca": ca, "refresh": "30s", "stale_max": "1m" })).await;
    wait::until("the key set", SOON, async || got(&place, Method::GET, "/token/x", &token).await.0 == 200).await.unwrap();
    let known = Instant::now();
    place.issuer.behave(Manner::Status(500));

    // A question now and then would be enough; every five milliseconds for a minute is too much.
    wait::until("most of the time", STALE_MAX, async || known.elapsed() + SLACK > STALE_MAX).await.unwrap();
    assert_eq!(got(&place, Method::POST, "/token/x", &fresh(0)).await, (200, String::new()), "the age is not reached: {}", place.log());
    let denied = async || got(&place, Method::GET, "/token/x", &token).await != (200, String::new());
    wait::until("the end of what is known", STALE_MAX + SLACK, denied).await.unwrap();
    assert!(before.elapsed() > STALE_MAX, "it was refused when it was at most {} ms old", before.elapsed().as_millis());
    assert!(known.elapsed() < STALE_MAX + SLACK, "it was taken when it was at least {} ms old", known.elapsed().as_millis());
    let unreachable = (503, UNREACHABLE.to_owned());
    for (method, path, expected) in [
        (Method::GET, "/token/x", false),
        (Method::POST, "/token/x", false),
        (Method::GET, "/lenient/x", true),
        (Method::POST, "/lenient/x", true),
        (Method::GET, "/reading/x", true),
        (Method::POST, "/reading/x", false),
    ] {
        // One that was seen before, and one that was not.
        for token in [&token, &fresh(1)] {
            let got = got(&place, method.clone(), path, token).await;
            assert_eq!(got, if expected { (200, String::new()) } else { unreachable.clone() }, "{method} {path}");
        }
    }
    // Old keys are keys all the same: what they did not sign is nobody's, and what has expired has.
    let forged = harness::issuer::Signer::p256("first").unwrap().token(&place.issuer.claims()).unwrap();
    assert_eq!(got(&place, Method::GET, "/lenient/x", &forged).await, (401, super::INVALID.to_owned()));
    let over = place.signer.token(&place.claims(&json!({ "exp": until - 1_000 }))).unwrap();
    assert_eq!(got(&place, Method::GET, "/lenient/x", &over).await.0, 401);
    assert_eq!(place.ask("/open/x", &[]).await.status(), 200, "others do not notice");

    place.issuer.behave(Manner::Well);
    let again = async || got(&place, Method::POST, "/token/x", &token).await.0 == 200;
    wait::until("the issuer's keys again", COOL_DOWN + SLACK, again).await.unwrap();
    place.stop().await;
}
