//! Keys that end while a request is under way, and the last key of all: what was let in has to be let in still when it leaves.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use harness::client::Version;
use harness::wait;
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::operation::Station;
use crate::service::ok;
use crate::signatures::place::{Draft, Place};
use crate::site::{Key, SOON, Site, apply, site, source, upstream};
use crate::tokens::verdict;
use crate::wire::{Answer, Wire};

const INVALID: &str = "credentials-invalid";
/// What a request is told that was let in before its key ended.
const MEANWHILE: &str = "the credential was revoked meanwhile";
const THING: &str = "{\"name\":\"slow\",\"quantity\":1}";

async fn post(site: &Site, path: &str, body: Value) -> Value {
    site.control(Method::POST, path, Some(body)).await
}

/// Waits until the node has in force what a change was answered with.
async fn reached(site: &Site, answer: &Value) {
    let revision = answer["revision"]["authority"].as_u64().unwrap_or_else(|| panic!("no revision: {answer}"));
    wait::until("the revision", SOON, async || site.authority(site.region()).await >= revision).await.unwrap();
}

async fn wire(site: &Site) -> Wire {
    Wire::connect(site.address(), site.ca(), "http/1.1", Some(source(92))).await
}

/// A request whose body stops in the middle; it goes on when `meanwhile` is done.
async fn slowly(site: &Site, path: &str, fields: &str, body: &str, meanwhile: impl Future<Output = ()>) -> Answer {
    let mut wire = wire(site).await;
    let (first, second) = body.split_at(body.len() / 2);
    wire.send(format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}content-length: {}\r\n\r\n{first}", body.len())).await;
    meanwhile.await;
    wire.send(second).await;
    wire.answer().await.unwrap()
}

fn detail(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["detail"].as_str().unwrap_or_default().to_owned()
}

/// A service that has refused is asked again, but not for a caller who has none to say for any more.
#[tokio::test]
async fn a_later_try_is_not_made_for_a_key_that_has_ended_meanwhile() {
    let site = site().await;
    let listener = site.listener("again");
    let key = site.key(json!({ "name": "again", "application": "default" })).await;
    for ends in [false, true] {
        let mut wire = wire(site).await;
        wire.send(format!("GET /again/x HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {}\r\n\r\n", key.secret)).await;
        let mut service = BufStream::new(timeout(SOON, listener.accept()).await.unwrap().unwrap().0);
        asked(&mut service).await;
        if ends {
            reached(site, &post(site, &format!("/v1/keys/{}/revoke", key.id), json!({})).await).await;
        }
        service.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        service.flush().await.unwrap();
        if ends {
            let answer = wire.answer().await.unwrap();
            assert_eq!((answer.status, answer.code().as_str(), detail(&answer).as_str()), (401, INVALID, MEANWHILE));
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(told["retryable"], false, "the service has had the first one");
            assert!(service.get_ref().try_read(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "asked again");
            assert!(timeout(Duration::from_millis(1), listener.accept()).await.is_err(), "asked again, by another way");
        } else {
            asked(&mut service).await;
            service.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            service.flush().await.unwrap();
            assert_eq!(wire.answer().await.unwrap().status, 200);
        }
    }
}

/// Waits for the head of a request.
async fn asked(service: &mut BufStream<TcpStream>) {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(timeout(SOON, service.read_line(&mut line)).await.unwrap().unwrap() > 0);
    }
}

/// A body that has to be checked is held until all of it is there. Whoever was let in for it is looked at once more before it goes anywhere.
#[tokio::test]
async fn a_body_that_is_held_is_not_sent_on_for_a_key_that_has_ended_meanwhile() {
    let site = site().await;
    let service = site.service("held", |_| ok("served"));
    let json = "content-type: application/json\r\n";
    let key = async || site.key(json!({ "name": "held", "application": "default" })).await;
    let api_key = |key: &str| format!("{json}x-api-key: {key}\r\n");
    let at = |key: &Key, verb: &str| format!("/v1/keys/{}/{verb}", key.id);

    let good = key().await;
    assert_eq!(slowly(site, "/held/things", &api_key(&good.secret), THING, async {}).await.status, 200, "slow, and let in");
    let served = service.seen().len();
    assert_eq!(served, 1);
    for (verb, body) in [("revoke", json!({})), ("revoke", json!({ "leaked": true })), ("disable", json!({}))] {
        let key = key().await;
        let ends = async { reached(site, &post(site, &at(&key, verb), body.clone()).await).await };
        let answer = slowly(site, "/held/things", &api_key(&key.secret), THING, ends).await;
        assert_eq!((answer.status, answer.code().as_str(), detail(&answer).as_str()), (401, INVALID, MEANWHILE), "{verb} {body}");
    }
    // The secret that was rolled away, and the token that stands for a key.
    let rolled = key().await;
    reached(site, &post(site, &at(&rolled, "roll"), json!({ "overlap": 3600 })).await).await;
    let ends = async { reached(site, &post(site, &at(&rolled, "end-overlap"), json!({})).await).await };
    let answer = slowly(site, "/held/things", &api_key(&rolled.secret), THING, ends).await;
    assert_eq!((answer.status, detail(&answer).as_str()), (401, MEANWHILE), "the overlap has ended");
    let lent = key().await;
    let form = format!("grant_type=client_credentials&client_id={}&client_secret={}", lent.id, lent.secret);
    let is_form = "content-type: application/x-www-form-urlencoded\r\n";
    let given = slowly(site, "/oauth/token", is_form, &form, async {}).await;
    let token = serde_json::from_slice::<Value>(&given.body).unwrap()["access_token"].as_str().unwrap().to_owned();
    let ends = async { reached(site, &post(site, &at(&lent, "revoke"), json!({})).await).await };
    let answer = slowly(site, "/held/things", &format!("{json}authorization: Bearer {token}\r\n"), THING, ends).await;
    assert_eq!((answer.status, detail(&answer).as_str()), (401, MEANWHILE), "the token has died with its key");
    let slow = key().await;
    let form = format!("grant_type=client_credentials&client_id={}&client_secret={}", slow.id, slow.secret);
    let ends = async { reached(site, &post(site, &at(&slow, "revoke"), json!({})).await).await };
    let answer = slowly(site, "/oauth/token", is_form, &form, ends).await;
    assert_eq!(answer.status, 401, "no token for a key that has ended while its form came: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(service.seen().len(), served, "nothing of any of them came to the service");
    assert_eq!(slowly(site, "/held/things", &api_key(&good.secret), THING, async {}).await.status, 200, "other keys go on");
}

/// What has begun at the service is not taken back (docs/keys.md): the service has seen the head, and has to be told how it ends.
#[tokio::test]
async fn a_body_that_streams_goes_on_and_the_next_request_does_not() {
    let site = site().await;
    let service = site.service("begun", |_| ok("served"));
    let key = site.key(json!({ "name": "begun", "application": "default" })).await;
    let ends = async {
        wait::until("the service's connection", SOON, async || service.connections() == 1).await.unwrap();
        reached(site, &post(site, &format!("/v1/keys/{}/revoke", key.id), json!({})).await).await;
    };
    let fields = format!("x-api-key: {}\r\n", key.secret);
    let answer = slowly(site, "/begun/x", &fields, "first half, second half", ends).await;

    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(service.seen().pop().unwrap().body, b"first half, second half");
    let next = slowly(site, "/begun/x", &fields, "no", async {}).await;
    assert_eq!((next.status, next.code().as_str()), (401, INVALID));
    assert_eq!(service.seen().len(), 1);
}

const SIGNED: &str = "a body that comes in two pieces";

/// A signed request whose body stops in the middle; it goes on when `meanwhile` is done, which begins when the signature was taken.
async fn signed_slowly(place: &Place, path: &str, key: Option<&str>, meanwhile: impl Future<Output = ()>) -> (u16, String) {
    let (more, pieces) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(2);
    let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces))).boxed();
    let count = async || place.station.metric("causeway_signatures_taken_total").await;
    let taken = count().await;
    let (first, second) = SIGNED.split_at(10);
    let draft = Draft::post(path, SIGNED);
    let sending = place.send(Version::Http2, &draft, place.partner(), |sent| {
        if let Some(key) = key {
            sent.set("x-api-key", key);
        }
        sent.body = Some(Body::wrap_stream(pieces));
    });
    let sent = async {
        more.send(Ok(first.into())).await.unwrap();
        wait::until("the signature", SOON, async || count().await > taken).await.unwrap();
        meanwhile.await;
        more.send(Ok(second.into())).await.unwrap();
        drop(more);
    };
    verdict(tokio::join!(sending, sent).0).await
}

/// A body that is held against its signature: the key beside it, and the signer, are looked at again.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_body_is_not_sent_on_for_whoever_is_out_meanwhile() {
    let place = Place::start().await;
    let made = place.station.calls.issue("beside").await.unwrap();
    let becomes = async |expected: u16| {
        let status = async || place.station.calls.get(&place.station.region, "/plain/x", &made.secret).await.unwrap().status;
        wait::until("the key", SOON, async || status().await == expected).await.unwrap();
    };
    becomes(200).await;
    let held = |path: &str| place.service.seen().iter().filter(|seen| seen.line().contains(path)).count();
    assert_eq!(signed_slowly(&place, "/all/x", Some(&made.secret), async {}).await.0, 200, "slow, and let in");
    assert_eq!(signed_slowly(&place, "/signed/x", None, async {}).await.0, 200);

    let revoked = async {
        assert_eq!(place.station.calls.change(&format!("/v1/keys/{}/revoke", made.id), None).await.unwrap().status, 200);
        becomes(401).await;
    };
    let out = (401, INVALID.to_owned());
    assert_eq!(signed_slowly(&place, "/all/x", Some(&made.secret), revoked).await, out);
    let all: Vec<Value> = place.signers.iter().map(|signer| signer.doc("default")).collect();
    assert_eq!(signed_slowly(&place, "/signed/x", None, place.apply(&json!(all[1..]))).await, out, "the signer is none any more");
    assert_eq!([held("/all/x"), held("/signed/x")], [1, 1], "nothing of it came to the service");
    place.stop().await;
}

/// A route that is served from disk, too; whoever is let in gets 502, because nothing listens behind it.
fn document(applications: &Value) -> Value {
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "consumers": [{ "name": "demo", "tenant": "demo" }],
        "applications": applications,
        "upstreams": [upstream("nowhere", 1)],
        "routes": [{ "name": "lenient", "match": { "path": "/lenient/**" }, "upstream": "nowhere",
            "consistency": { "keys": { "max_staleness": "5m", "on_stale": "allow" } } }],
    })
}

/// An empty set is not no set: where the last key has ended, nobody is let in, by no way in which a node learns of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_key_of_all_ends_by_a_change_by_a_full_load_and_from_disk() {
    const IN: u16 = 502;
    let station = Station::start(|text| text).await;
    let node = station.serve().await;
    let put = |applications: Value| apply(&station.dev, &document(&applications), &station.folder().join("last.json"));
    put(json!([{ "name": "default", "consumer": "demo", "scopes": [] }]));
    let status = async |key: &str| station.calls.get(&station.region, "/lenient/x", key).await.unwrap().status;
    let becomes = async |key: &str, expected: u16| wait::until("the answer", SOON, async || status(key).await == expected).await.unwrap();
    let (sealed, key) = (station.sealed(), station.calls.first_key().to_owned());
    becomes(&key, IN).await;
    let with_key = station.resealed("before").await;

    let listed = station.calls.control(&station.region, "/v1/keys?limit=200&state=active").await.unwrap().json();
    let ids: Vec<_> = listed["items"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "{listed}");
    assert_eq!(station.calls.change(&format!("/v1/keys/{}/revoke", ids[0]), None).await.unwrap().status, 200);
    becomes(&key, 401).await;
    let without_key = station.resealed("after").await;
    drop(node);

    // Loaded whole, by a node that knows nothing.
    std::fs::remove_dir_all(sealed.parent().unwrap()).unwrap();
    let node = station.serve().await;
    assert_eq!(status(&key).await, 401, "a full load");
    drop(node);

    // From disk, by a node that reaches no database; the file of before would let it in.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports: Vec<_> = station.dev.ready().regions.iter().map(|region| format!("127.0.0.1:{}", region.postgres_port)).collect();
    let mut config = String::new();
    station.edit(|text| {
        config = text;
        ports.iter().fold(config.clone(), |text, port| text.replace(port, &format!("127.0.0.1:{closed}")))
    });
    for (bytes, expected) in [(&without_key, 401), (&with_key, IN)] {
        std::fs::write(&sealed, bytes).unwrap();
        let node = station.serve().await;
        let said = station.calls.readiness(&station.region).await.unwrap().1;
        assert!(said.contains("read from disk"), "{said}");
        assert_eq!(status(&key).await, expected, "from disk");
        drop(node);
    }
    station.edit(|_| config.clone());
    let node = station.serve().await;
    becomes(&key, 401).await;

    // Its application goes, and with it every row: no key at all is something, too.
    // The node that was started from disk may not have found the primary yet.
    let again = wait::some("a key", SOON, async || station.calls.issue("again").await.ok()).await.unwrap().0.secret;
    becomes(&again, IN).await;
    put(json!([]));
    becomes(&again, 401).await;
    let n_keys = async || station.metric("causeway_keys").await;
    assert!(n_keys().await < 0.5, "{}", n_keys().await);
    drop(node);
    std::fs::remove_dir_all(sealed.parent().unwrap()).unwrap();
    let _node = station.serve().await;
    assert_eq!((status(&again).await, n_keys().await < 0.5), (401, true), "a full load of nothing");
    station.stop().await;
}
