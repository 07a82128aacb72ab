//! What a key goes through: rolls, pauses, approvals, restrictions; each seen at the data listener, where it counts.

use std::net::IpAddr;

use harness::client::Version;
use harness::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::program::{causeway, causeway_at};
use crate::service::{ok, raw};
use crate::site::{Key, SOON, Site, site, source};
use crate::wire::{Answer, Wire};

const FAILS: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// A request over a connection of its own, from an address of its own.
async fn ask_from(from: IpAddr, method: &str, path: &str, secret: &str) -> Answer {
    let mut wire = Wire::connect(site().await.address(), site().await.ca(), "http/1.1", Some(from)).await;
    let length = if method == "GET" { "" } else { "content-length: 0\r\n" };
    wire.send(format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {secret}\r\n{length}\r\n")).await;
    wire.answer().await.unwrap()
}

async fn status(path: &str, secret: &str) -> u16 {
    ask_from(source(61), "GET", path, secret).await.status
}

/// Waits until the data plane gives this answer.
async fn becomes(path: &str, secret: &str, expected: u16) {
    wait::until("the change in the data plane", SOON, async || status(path, secret).await == expected).await.unwrap();
}

async fn post(site: &Site, key: &Key, verb: &str, body: Value) -> Value {
    site.control(Method::POST, &format!("/v1/keys/{}/{verb}", key.id), Some(body)).await
}

async fn change(site: &Site, key: &Key, body: Value) -> Value {
    site.control(Method::PATCH, &format!("/v1/keys/{}", key.id), Some(body)).await
}

fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member}: {answer}")).to_owned()
}

#[tokio::test]
async fn both_secrets_work_for_the_overlap_and_the_record_tells_which_came() {
    let site = site().await;
    let _service = site.service("rolled", |_| ok("served"));
    let key = site.key(json!({ "name": "rolled" })).await;

    let rolled = post(site, &key, "roll", json!({ "overlap": 3600 })).await;
    let new = text(&rolled, "secret");
    becomes("/rolled", &new, 200).await;
    assert_eq!(rolled["id"], json!(key.id));
    assert!(key.secret.ends_with(&text(&rolled, "previous_last_four")), "{rolled}");
    assert_eq!(status("/rolled", &key.secret).await, 200, "the old secret works beside the new one");
    for (id, secret, method) in [("roll-old", &key.secret, "api_key_old"), ("roll-new", &new, "api_key")] {
        let mut wire = Wire::connect(site.address(), site.ca(), "http/1.1", Some(source(61))).await;
        wire.send(format!("GET /rolled HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: {id}\r\nx-api-key: {secret}\r\n\r\n")).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
        let records = site.records(&format!("request_id={id}"), 1).await;
        assert_eq!((&records[0]["auth_method"], &records[0]["key_id"]), (&json!(method), &json!(key.id)), "{records:?}");
    }

    let shown = site.control(Method::GET, &format!("/v1/keys/{}", key.id), None).await;
    assert_eq!((shown.get("secret"), &shown["previous_until"]), (None, &rolled["previous_until"]), "{shown}");
    post(site, &key, "end-overlap", json!({})).await;
    becomes("/rolled", &key.secret, 401).await;
    assert_eq!(status("/rolled", &new).await, 200);
}

/// The overlap ends by the clock of the node, without any further write.
#[tokio::test]
async fn the_old_secret_dies_on_time_and_at_once_without_overlap() {
    let site = site().await;
    let _service = site.service("ontime", |_| ok("served"));
    let key = site.key(json!({ "name": "on time" })).await;

    let second = text(&post(site, &key, "roll", json!({ "overlap": 2 })).await, "secret");
    becomes("/ontime", &second, 200).await;
    becomes("/ontime", &key.secret, 401).await;
    let third = text(&post(site, &key, "roll", json!({ "overlap": 0 })).await, "secret");
    becomes("/ontime", &third, 200).await;

    assert_eq!(status("/ontime", &second).await, 401, "the node took the new secret and the end of the old one at once");
}

#[tokio::test]
async fn a_key_waits_for_approval_and_can_be_paused() {
    let site = site().await;
    let _service = site.service("paused", |_| ok("served"));
    let made = site.control(Method::POST, "/v1/keys", Some(json!({ "name": "waits", "application": "default", "pending": true }))).await;
    let key = Key { id: text(&made, "id"), secret: text(&made, "secret") };
    let reached = made["revision"]["authority"].as_u64().unwrap();
    wait::until("the revision", SOON, async || site.authority(site.region()).await >= reached).await.unwrap();
    assert_eq!(status("/paused", &key.secret).await, 401, "it is not approved");

    post(site, &key, "approve", json!({})).await;
    becomes("/paused", &key.secret, 200).await;
    post(site, &key, "disable", json!({})).await;
    becomes("/paused", &key.secret, 401).await;
    post(site, &key, "enable", json!({})).await;
    becomes("/paused", &key.secret, 200).await;
    post(site, &key, "revoke", json!({ "leaked": true })).await;
    becomes("/paused", &key.secret, 401).await;

    for verb in ["enable", "approve", "disable", "roll", "end-overlap"] {
        let refused = post(site, &key, verb, json!({})).await;
        assert_eq!(refused["code"], "resource-conflict", "{verb}: {refused}");
    }
    let shown = site.control(Method::GET, &format!("/v1/keys/{}", key.id), None).await;
    assert_eq!((&shown["state"], &shown["revoked_reason"]), (&json!("revoked"), &json!("leaked")));
}

#[tokio::test]
async fn a_bound_key_is_refused_elsewhere_with_what_it_broke() {
    let site = site().await;
    let _service = site.service("bound", |_| ok("served"));
    let _other = site.service("unbound", |_| ok("served"));
    let near = source(62);
    let bound = json!({ "name": "bound", "routes": ["bound", "any"], "methods": ["GET"], "addresses": [format!("{near}/32"), "127.0.0.1"] });
    let key = site.key(bound).await;

    for (from, method, path, expected) in [
        (near, "GET", "/bound", None),
        (near, "GET", "/unbound", Some("the key may not be used on this route")),
        (near, "POST", "/bound", Some("the key may not be used with this method")),
        (source(63), "GET", "/bound", Some("the key may not be used from this address")),
    ] {
        let answer = ask_from(from, method, path, &key.secret).await;
        let detail = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|body| body["detail"].as_str().map(str::to_owned));
        match expected {
            None => assert_eq!(answer.status, 200, "{}", answer.head),
            Some(expected) => {
                assert_eq!((answer.status, answer.code().as_str(), detail.as_deref()), (403, "key-restricted", Some(expected)));
            }
        }
    }

    let freed = change(site, &key, json!({ "routes": null, "addresses": null })).await;
    assert_eq!((&freed["routes"], &freed["methods"]), (&Value::Null, &json!(["GET"])), "{freed}");
    becomes("/unbound", &key.secret, 200).await;
    change(site, &key, json!({ "methods": [] })).await;
    becomes("/unbound", &key.secret, 403).await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_member() {
    let site = site().await;
    let key = site.key(json!({ "name": "checked" })).await;
    let create = |body| site.control(Method::POST, "/v1/keys", Some(body));

    for (body, pointer) in [
        (json!({ "name": "x", "routes": ["no-such-route"] }), "/routes"),
        (json!({ "name": "x", "addresses": ["192.0.2.0/40"] }), "/addresses"),
        (json!({ "name": "x", "methods": ["get"] }), "/methods"),
        (json!({ "name": "x", "plan": "platinum" }), "/plan"),
        (json!({ "name": "x", "environment": "staging" }), "/environment"),
        (json!({ "name": "x", "state": "active" }), "/state"),
    ] {
        let refused = create(body).await;
        assert_eq!((&refused["code"], &refused["errors"][0]["pointer"]), (&json!("request-invalid"), &json!(pointer)), "{refused}");
    }
    for (body, pointer) in [
        (json!({ "routes": ["no-such-route"] }), "/routes"),
        (json!({ "plan": "platinum" }), "/plan"),
        (json!({ "name": "" }), "/name"),
        (json!({ "state": "active" }), "/state"),
        (json!({ "expires_in": 1 }), "/expires_in"),
    ] {
        let refused = change(site, &key, body).await;
        assert_eq!((&refused["code"], &refused["errors"][0]["pointer"]), (&json!("request-invalid"), &json!(pointer)), "{refused}");
    }
    let refused = post(site, &key, "roll", json!({ "overlap": 2_592_001 })).await;
    assert_eq!(refused["errors"][0]["pointer"], "/overlap", "{refused}");
    assert_eq!(status("/any/probe", &key.secret).await, 502, "nothing of it changed the key");
}

/// draft-ietf-httpapi-idempotency-key-header-07: whoever lost the answer can ask again, and makes no second key.
#[tokio::test]
async fn a_repeated_call_for_a_key_makes_one_key_and_shows_its_secret_once() {
    let site = site().await;
    let http = site.http(Version::Http1);
    let call = async |key: &str, body: Value| {
        let url = format!("{}/v1/keys", site.region().control);
        let request = http.post(url).bearer_auth(site.operator_token()).header("idempotency-key", key).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let replayed = answer.headers().get("idempotency-replayed").is_some();
        (answer.status().as_u16(), replayed, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    let body = json!({ "name": "once", "application": "sibling" });

    let (first, again) = tokio::join!(call("one-key", body.clone()), call("one-key", body.clone()));
    let third = call("one-key", body.clone()).await;
    let other = call("one-key", json!({ "name": "twice", "application": "sibling" })).await;
    let long = call(&"x".repeat(256), body).await;

    let (made, repeated) = if first.0 == 201 { (first, again) } else { (again, first) };
    assert_eq!((made.0, made.1, repeated.0, repeated.1), (201, false, 200, true), "{made:?} {repeated:?}");
    assert!(made.2["secret"].is_string());
    for answer in [&repeated.2, &third.2] {
        assert_eq!((&answer["id"], &answer["secret"]), (&made.2["id"], &Value::Null), "{answer}");
    }
    assert_eq!((other.0, other.2["code"].as_str()), (409, Some("resource-conflict")), "{other:?}");
    assert_eq!(long.0, 400, "{long:?}");
}

#[tokio::test]
async fn the_command_line_leads_a_key_from_its_making_to_its_end() {
    let site = site().await;
    let _service = site.service("terminal", |_| ok("served"));
    let run = async |arguments: &[&str], code| causeway_at(site.ready(), arguments).await.expect(code);

    let arguments = ["keys", "create", "terminal", "--application", "default", "--route", "terminal", "--idempotency-key", "terminal", "--json"];
    let made = run(&arguments, 0).await.json();
    let again = run(&arguments[..arguments.len() - 1], 1).await;
    assert!(again.stderr.contains("was made by the same call before"), "{again:?}");
    let (id, first) = (text(&made, "id"), text(&made, "secret"));
    let rolled = run(&["keys", "roll", &id, "--overlap", "1h"], 0).await;
    let second = rolled.stdout.trim().to_owned();
    assert!(rolled.stderr.contains("works until") && !rolled.stderr.contains(&second), "{rolled:?}");
    for secret in [&first, &second] {
        becomes("/terminal", secret, 200).await;
    }
    run(&["keys", "end-overlap", &id], 0).await;
    becomes("/terminal", &first, 401).await;
    run(&["keys", "disable", &id], 0).await;
    becomes("/terminal", &second, 401).await;
    run(&["keys", "enable", &id], 0).await;
    becomes("/terminal", &second, 200).await;
    run(&["keys", "change", &id, "--method", "PUT", "--reset", "routes"], 0).await;
    becomes("/terminal", &second, 403).await;
    let shown = run(&["keys", "show", &id], 0).await;
    assert!(shown.stdout.contains("PUT") && shown.stdout.contains("(any)"), "{}", shown.stdout);
    assert!(run(&["keys", "change", &id], 1).await.stderr.contains("say what to change"));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.py"), format!("# settings\nKEY = '{second}'\n")).unwrap();
    let folder = folder.path().to_str().unwrap();
    let found = causeway(&["keys", "scan", folder], &[], SOON).await.expect(2);
    assert!(found.stdout.contains(&format!("config.py:2:8: live key {id}")) && !found.stdout.contains(&second), "{found:?}");
    let revoked = run(&["keys", "scan", folder, "--revoke", "--json"], 2).await.json();
    assert_eq!((&revoked["found"][0]["outcome"], &revoked["found"][0]["line"]), (&json!("revoked"), &json!(2)), "{revoked}");
    becomes("/terminal", &second, 401).await;
    run(&["keys", "revoke", &id], 0).await;
}

/// Usage is what the access log says: each answered request is in it once, with its errors and its secret.
#[tokio::test]
async fn usage_of_a_key_is_what_its_records_say() {
    let site = site().await;
    let _service = site.service("counted", |seen| if seen.line().contains("/fails") { raw(FAILS) } else { ok("served") });
    let key = site.key(json!({ "name": "counted", "routes": ["counted", "any"] })).await;
    let new = text(&post(site, &key, "roll", json!({ "overlap": 60 })).await, "secret");
    becomes("/any/probe", &new, 502).await;

    for _ in 0..5 {
        assert_eq!(status("/counted", &new).await, 200);
    }
    assert_eq!(status("/counted", &key.secret).await, 200);
    assert_eq!(status("/counted/fails", &new).await, 503);
    assert_eq!(status("/rolled", &new).await, 403);

    let usage = async |more: &str| site.control(Method::GET, &format!("/v1/usage?key={}{more}", key.id), None).await;
    let sum = |usage: &Value, member: &str| usage["items"].as_array().unwrap().iter().map(|point| point[member].as_u64().unwrap()).sum::<u64>();
    let counted = wait::some("the usage", SOON, async || Some(usage("&route=counted").await).filter(|usage| sum(usage, "requests") == 7)).await;
    let counted = counted.unwrap().0;
    assert_eq!((sum(&counted, "server_errors"), sum(&counted, "old_secret")), (1, 1), "{counted}");
    for member in ["p50_us", "p95_us"] {
        assert!(counted["items"][0][member].as_u64().is_some_and(|us| us > 0), "{counted}");
    }
    // It came last, so it may be in the next load; and the last use is written behind the load.
    let refused = async || Some(usage("&route=rolled&step=minute").await).filter(|usage| sum(usage, "requests") == 1);
    let refused = wait::some("the refused request", SOON, refused).await.unwrap().0;
    assert_eq!(sum(&refused, "denied"), 1, "{refused}");
    let shown = async || site.control(Method::GET, &format!("/v1/keys/{}", key.id), None).await;
    let shown = async || Some(shown().await).filter(|shown| shown["last_used"]["region"] == "eu-west");
    let shown = wait::some("the last use", SOON, shown).await.unwrap().0;
    assert_eq!(shown["previous_requests_30s"], 1, "{shown}");

    let table = causeway_at(site.ready(), &["usage", "--key", &key.id, "--step", "minute"]).await.expect(0);
    assert!(table.stdout.trim_start().starts_with("FROM") && table.stdout.lines().count() >= 2, "{table:?}");
    let csv =
        site.http(Version::Http1).get(format!("{}/v1/usage?key={}&format=csv", site.region().control, key.id)).bearer_auth(site.operator_token());
    let csv = csv.send().await.unwrap().text().await.unwrap();
    assert!(csv.starts_with("at,requests,") && csv.lines().count() >= 2, "{csv}");
    for bad in ["&step=second", "&since=soon", "&since=400d&step=minute", "&colour=red"] {
        assert_eq!(usage(bad).await["code"], "request-invalid", "{bad}");
    }
}
