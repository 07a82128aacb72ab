//! WebSockets that may not go on: a revoked key, a withdrawn route, a node that stops; and those that go on through a reload.

use std::time::Duration;

use harness::client::Version;
use harness::dev::Dev;
use harness::wait;
use harness::websocket::{self, Client, Echo, Session};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{BOTH, ask, code, counted, ends, metric, open};
use crate::operation::Station;
use crate::site::{SOON, apply, site, upstream};
use crate::wire::Wire;

/// A revocation takes effect within a second, also for what is open.
#[tokio::test(flavor = "multi_thread")]
async fn websockets_of_a_revoked_key_are_closed_within_a_second_and_no_others() {
    let site = site().await;
    let echo = Echo::start(site.listener("wskey"));
    let (gone, stays) = (site.key(json!({ "name": "websocket-gone" })).await, site.key(json!({ "name": "websocket-stays" })).await);
    let before = metric(site, &ends("revoked")).await;
    let mut doomed = Vec::new();
    let mut others = Vec::new();
    for version in BOTH {
        doomed.push(open(site, version, "/wskey/a", &[("x-api-key", &gone.secret), ("x-request-id", "websocket-revoked")]).await);
        others.push(open(site, version, "/wskey/a", &[("x-api-key", &stays.secret)]).await);
    }
    for client in doomed.iter_mut().chain(&mut others) {
        client.echo("hello").await.unwrap();
    }

    site.control(reqwest::Method::POST, &format!("/v1/keys/{}/revoke", gone.id), None).await;
    let revoked = Instant::now();
    for client in &mut doomed {
        assert_eq!(client.closed().await.unwrap(), Some(1008));
    }
    let took = revoked.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?} from the answer to the revocation to the last close");
    counted(site, "revoked", before + 1).await;
    for client in &mut others {
        client.echo("not meant").await.unwrap();
    }
    for version in BOTH {
        let refused = ask(site, version, "/wskey/a", &[("x-api-key", &gone.secret)]).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), code(&refused).as_str()), (401, "credentials-invalid"));
    }
    wait::until("both ends at the service", SOON, async || echo.served().iter().filter(|served| served.end == Some(Some(1008))).count() == 2)
        .await
        .unwrap();
    // An intent, an outcome and a close for each: the close says why.
    let records = site.records("request_id=websocket-revoked", 6).await;
    let closes: Vec<_> = records.iter().filter(|record| record["phase"] == "close").collect();
    assert_eq!(closes.len(), 2, "{records:?}");
    for close in closes {
        assert_eq!((close["outcome"].as_str(), close["reason"].as_str()), (Some("denied"), Some("credentials-invalid")), "{close}");
    }
}

/// A roll that throws a secret away closes what that secret opened, and leaves what the one in use did.
#[tokio::test(flavor = "multi_thread")]
async fn websockets_of_a_secret_that_was_thrown_away_are_closed_and_those_of_the_one_in_use_go_on() {
    let site = site().await;
    let _echo = Echo::start(site.listener("wsreplaced"));
    let key = site.key(json!({ "name": "websocket-replaced" })).await;
    let roll = async |body: Value| {
        let path = format!("/v1/keys/{}/roll", key.id);
        site.control(reqwest::Method::POST, &path, Some(body)).await["secret"].as_str().unwrap().to_owned()
    };

    let lost = roll(json!({ "overlap": 3600 })).await;
    let is_taken = async || ask(site, Version::Http1, "/wsreplaced/a", &[("x-api-key", &lost)]).await.is_ok();
    wait::until("the new secret", SOON, is_taken).await.unwrap();
    let (mut doomed, mut others) = (Vec::new(), Vec::new());
    for version in BOTH {
        doomed.push(open(site, version, "/wsreplaced/a", &[("x-api-key", &lost)]).await);
        others.push(open(site, version, "/wsreplaced/a", &[("x-api-key", &key.secret)]).await);
    }
    for client in doomed.iter_mut().chain(&mut others) {
        client.echo("hello").await.unwrap();
    }
    roll(json!({ "while_rolling": "replace_present" })).await;
    for client in &mut doomed {
        assert_eq!(client.closed().await.unwrap(), Some(1008));
    }
    for client in &mut others {
        client.echo("not meant").await.unwrap();
    }
}

fn document(port: u16, withdrawn: Option<Value>, turn: usize) -> Value {
    let route = |name: &str, websocket: Value| json!({ "name": name, "match": { "path": format!("/{name}/**") }, "auth": "none", "upstream": "echo", "websocket": websocket, "timeout": format!("{}s", 20 + turn) });
    let mut routes = vec![route("kept", json!({}))];
    routes.extend(withdrawn.map(|websocket| route("withdrawn", websocket)));
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "upstreams": [upstream("echo", port)],
        "routes": routes,
    })
}

async fn open_at(dev: &Dev, version: Version, path: &str) -> Option<Client> {
    let address = dev.writer().unwrap().data_address().unwrap();
    let alpn = if version == Version::Http1 { "http/1.1" } else { "h2" };
    let stream = Box::new(Wire::connect(address, &dev.ready().ca, alpn, None).await.into_stream());
    match version {
        Version::Http1 => websocket::open_http1(stream, path, &[]).await.unwrap().ok(),
        Version::Http2 => Session::start(stream).await.unwrap().open(path, &[]).await.unwrap().ok(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_document_closes_websockets_of_withdrawn_routes_and_no_others() {
    let dev = Dev::start().await.unwrap();
    let (_echo, address) = Echo::anywhere().await.unwrap();
    let file = dev.ready().ca.with_file_name("websockets.json");
    let change = |withdrawn: Option<Value>, turn: usize| apply(&dev, &document(address.port(), withdrawn, turn), &file);
    change(Some(json!({})), 0);
    let (mut kept, mut withdrawn) = (Vec::new(), Vec::new());
    for version in BOTH {
        kept.push(wait::some("the routes", SOON, async || open_at(&dev, version, "/kept/a").await).await.unwrap().0);
        withdrawn.push(open_at(&dev, version, "/withdrawn/a").await.unwrap());
    }

    // Changes that leave the route and its WebSockets allowed leave them open.
    for turn in 1..4 {
        change(Some(json!({ "max": 10 + turn })), turn);
        for client in kept.iter_mut().chain(&mut withdrawn) {
            client.echo(format!("after change {turn}")).await.unwrap();
        }
    }
    change(None, 5);
    for client in &mut withdrawn {
        assert_eq!(client.closed().await.unwrap(), Some(1008));
    }
    for client in &mut kept {
        client.echo("still here").await.unwrap();
    }
    dev.stop().await.unwrap();
}

/// A node that stops lets WebSockets go on until the deadline, and then says goodbye to both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_closes_websockets_with_1001_at_the_deadline() {
    let station = Station::start(|text| format!("{text}drain: {{ delay: 100ms, timeout: 2s }}\n")).await;
    let mut node = station.serve().await;
    let (echo, address) = Echo::anywhere().await.unwrap();
    apply(&station.dev, &document(address.port(), None, 0), &station.folder().join("websockets.json"));
    let mut clients = Vec::new();
    for version in BOTH {
        clients.push(wait::some("the route", SOON, async || open_at(&station.dev, version, "/kept/a").await).await.unwrap().0);
    }

    node.process.signal(Signal::TERM);
    let began = Instant::now();
    wait::until("a node out of rotation", SOON, async || station.calls.readiness(&station.region).await.is_ok_and(|(status, _)| status == 503))
        .await
        .unwrap();
    for client in &mut clients {
        client.echo("meanwhile").await.unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.closed().await.unwrap(), Some(1001));
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1_900) && took < Duration::from_secs(5), "the deadline is 2 s after the delay: {took:?}");
    let told = async || echo.served().iter().filter(|served| served.end == Some(Some(1001))).count() == 2;
    wait::until("both ends at the service", SOON, told).await.unwrap();
    assert_eq!(node.ended(SOON).await, Some(0), "{}", node.log());
    station.stop().await;
}
