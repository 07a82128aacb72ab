//! Browsers keep the token in a cookie, on routes that let them.

use reqwest::header::{COOKIE, SET_COOKIE};

use super::{Answer, Place, TOKEN};

const NAME: &str = "__Host-causeway-consistency=";
const ATTRIBUTES: &str = "; Path=/; Secure; HttpOnly; SameSite=Lax";
const FORGET: &str = "; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";

/// What a browser would keep: the token, or nothing where it is told to forget it.
fn kept(answer: &Answer) -> Option<String> {
    let mut fields = answer.headers.get_all(SET_COOKIE).iter().map(|field| field.to_str().unwrap().strip_prefix(NAME).unwrap());
    let field = fields.next()?;
    assert_eq!(fields.next(), None);
    Some(field.strip_suffix(ATTRIBUTES).or_else(|| field.strip_suffix(FORGET)).unwrap().to_owned())
}

async fn read(place: &Place, id: i64, cookie: &str) -> Answer {
    let request = place.client.get(format!("{}/demo/v1/items/{id}", place.reader().data));
    place.send(request.header(COOKIE, format!("theme=dark; {NAME}{cookie}; lang=en")), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_keeps_the_cookie_reads_what_it_wrote() {
    let place = Place::start("{ mode: read_your_writes, wait: 100ms, else: refuse }").await;
    let without = place.create(place.writer(), None).await;
    assert_eq!((without.status, kept(&without)), (201, None), "routes have none unless they say so");
    place.policy("{ mode: read_your_writes, wait: 100ms, else: refuse, cookie: true }").await;

    place.pause().await;
    let written = place.create(place.reader(), None).await;
    let (id, token) = (written.body["id"].as_i64().unwrap(), kept(&written).unwrap());
    assert_eq!(token, written.header(TOKEN), "the same, for whoever has scripts");
    let answer = read(&place, id, &token).await;
    assert_eq!(answer.told(), (200, "eu-west", ""), "{answer:?}");
    assert!(kept(&answer).is_none_or(|token| !token.is_empty()), "{answer:?}");
    assert_eq!(place.read(place.reader(), id, None).await.told(), (404, "us-east", ""), "without it the standby answers");
    place.resume().await;

    // Whatever else stands there is no reason to refuse a browser for good.
    let before = place.event(place.reader(), "token_rejected").await;
    for bad in ["", "x", &token[1..], &format!("{token}; {NAME}{token}")] {
        let answer = read(&place, 1, bad).await;
        assert_eq!((answer.status, kept(&answer).as_deref()), (200, Some("")), "{bad}: {answer:?}");
    }
    assert_eq!(place.event(place.reader(), "token_rejected").await, before + 4);
    let replaced = place.send(
        place
            .client
            .post(format!("{}/demo/v1/items", place.reader().data))
            .header(COOKIE, format!("{NAME}x"))
            .json(&serde_json::json!({ "name": "pens", "quantity": 3 })),
        None,
    );
    let replaced = replaced.await;
    assert_eq!((replaced.status, kept(&replaced).as_deref()), (201, Some(replaced.header(TOKEN))), "{replaced:?}");
    // A field counts in its place, and is held to what fields are held to.
    let both = place.client.get(format!("{}/demo/v1/items/{id}", place.reader().data)).header(COOKIE, format!("{NAME}{token}"));
    assert_eq!(place.send(both, Some("x")).await.body["code"], "consistency-token-invalid");
    place.dev.stop().await.unwrap();
}
