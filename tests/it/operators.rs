//! Operators from the making of their token to its end: what each role may, and that nobody gives what they have not.

use std::time::Duration;

use harness::client::{self, Version};
use harness::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::calls::shared;
use crate::operation::Station;
use crate::program::causeway;

const WITHIN: Duration = Duration::from_secs(20);

/// Status and body of a call with a token.
async fn ask(http: &reqwest::Client, token: &str, method: Method, url: String, body: Option<&Value>) -> (u16, Value) {
    let request = http.request(method, url).bearer_auth(token);
    let request = if let Some(body) = body { request.json(body) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_what_the_role_says_gives_no_more_and_ends_with_the_token() {
    let station = Station::start(|text| text).await;
    let _node = station.serve().await;
    let http = client::http(station.ca(), Version::Http1).unwrap();
    let admin = station.dev.ready().operator_token.clone();
    let here = station.region.control.clone();
    let there = station.dev.reader().unwrap().control.clone();
    let call =
        async |token: &str, method: Method, path: &str, body: Option<Value>| ask(&http, token, method, format!("{here}{path}"), body.as_ref()).await;
    let create =
        async |token: &str, name: &str, role: &str| call(token, Method::POST, "/v1/operators", Some(json!({ "name": name, "role": role }))).await;

    let (status, made) = create(&admin, "dana", "developer").await;
    assert_eq!((status, &made["role"], &made["name"]), (201, &json!("developer"), &json!("dana")), "{made}");
    let (dana, dana_id) = (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned());
    assert_eq!(call(&dana, Method::POST, "/v1/keys", Some(json!({ "name": "danas" }))).await.0, 201);
    for (method, path, body) in [
        (Method::GET, "/v1/audit/events", None),
        (Method::POST, "/v1/consumers", Some(json!({ "name": "x" }))),
        (Method::GET, "/v1/operators", None),
        (Method::POST, "/v1/operators", Some(json!({ "name": "y", "role": "viewer" }))),
        (Method::POST, "/v1/operators/0123456789ab/revoke", None),
    ] {
        let (status, problem) = call(&dana, method.clone(), path, body).await;
        assert_eq!((status, &problem["code"]), (403, &json!("role-insufficient")), "{method} {path}");
    }

    let operator = create(&admin, "olga", "operator").await.1["token"].as_str().unwrap().to_owned();
    for role in ["auditor", "security", "admin"] {
        let (status, problem) = create(&operator, "mole", role).await;
        assert_eq!((status, &problem["code"]), (403, &json!("role-insufficient")), "{role}");
        assert!(problem["detail"].as_str().unwrap().contains("audit.read"), "{problem}");
    }
    assert_eq!(create(&operator, "vera", "viewer").await.0, 201);
    for (body, pointer) in [
        (json!({ "name": "x", "role": "root" }), "/role"),
        (json!({ "name": "X!", "role": "viewer" }), "/name"),
        (json!({ "name": "x", "role": "viewer", "expires_in": 59 }), "/expires_in"),
        (json!({ "name": "x", "role": "viewer", "expires_in": 34_560_001 }), "/expires_in"),
        (json!({ "name": "x" }), "/role"),
        (json!({ "name": "x", "role": "viewer", "admin": true }), "/admin"),
    ] {
        let (status, problem) = call(&admin, Method::POST, "/v1/operators", Some(body.clone())).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}: {problem}");
    }
    assert_eq!(create(&admin, "dana", "viewer").await.0, 409, "the name is taken");

    let (_, listed) = call(&admin, Method::GET, "/v1/operators", None).await;
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["vera", "olga", "dana"], "newest first");
    assert!(!listed.to_string().contains("cw_op_"), "a token is shown once");

    let at = async |base: &str| ask(&http, &dana, Method::GET, format!("{base}/v1/keys"), None).await.0;
    assert_eq!((at(&here).await, at(&there).await), (200, 200));
    let revoke = format!("/v1/operators/{dana_id}/revoke");
    assert_eq!(call(&admin, Method::POST, &revoke, None).await.0, 200);
    assert_eq!(at(&here).await, 401, "the node that was asked knows it at once");
    wait::until("the other node's refusal", WITHIN, async || at(&there).await == 401).await.unwrap();
    assert_eq!(call(&admin, Method::POST, &revoke, None).await.0, 200, "again");
    for unknown in ["/v1/operators/0123456789ab/revoke", "/v1/operators/nonsense/revoke"] {
        assert_eq!(call(&admin, Method::POST, unknown, None).await.0, 404, "{unknown}");
    }
    assert_eq!(create(&admin, "dana", "viewer").await.0, 201, "the name is free again");
    let own = format!("/v1/operators/{}/revoke", &admin[6..18]);
    assert_eq!(call(&admin, Method::POST, &own, None).await.0, 409, "nobody locks themselves out");
    assert_eq!(call(&admin, Method::GET, "/v1/operators", None).await.0, 200);

    let records = async || {
        let found = call(&admin, Method::GET, "/v1/audit/events?class=admin&limit=200", None).await.1;
        let items = found["items"].as_array().cloned().unwrap_or_default();
        (items.iter().filter(|item| item.to_string().contains("operator.revoke")).count(), found.to_string())
    };
    let told = wait::some("the records", WITHIN, async || Some(records().await).filter(|(count, _)| *count >= 4)).await.unwrap().0.1;
    assert!(told.contains(&format!("operator:{dana_id}")) && !told.contains(&dana), "what was done, and no secret");
    station.stop().await;
}

#[tokio::test]
async fn operators_are_made_listed_and_ended_on_the_command_line() {
    let dev = shared().await;
    let ready = dev.ready();
    let writer = dev.writer().unwrap();
    let ca = ready.ca.to_str().unwrap();
    let run = async |token: &str, arguments: &[&str]| {
        causeway(arguments, &[("CAUSEWAY_CONTROL", &writer.control), ("CAUSEWAY_TOKEN", token), ("CAUSEWAY_CA", ca)], WITHIN).await
    };
    let admin = ready.operator_token.as_str();
    let made = run(admin, &["operators", "create", "cli-ann", "--role", "viewer", "--expires-in", "1d"]).await.expect(0);
    let token = made.stdout.trim();
    assert!(token.starts_with("cw_op_") && made.stderr.contains("viewer for cli-ann") && !made.stderr.contains(token), "{made:?}");
    run(token, &["keys", "list"]).await.expect(0);
    let listed = run(admin, &["operators", "list", "--json"]).await.expect(0).json();
    let entry = listed["items"].as_array().unwrap().iter().find(|item| item["name"] == "cli-ann").unwrap().clone();
    assert!(run(admin, &["operators", "list"]).await.expect(0).stdout.contains("cli-ann"));
    let whole = run(admin, &["operators", "revoke", token]).await.expect(1);
    assert!(whole.stderr.contains("give only its id") && !whole.stderr.contains(&token[20..]), "{whole:?}");
    let ended = run(admin, &["operators", "revoke", entry["id"].as_str().unwrap()]).await.expect(0);
    assert!(ended.stdout.contains("is revoked"), "{ended:?}");
    let refused = run(token, &["keys", "list"]).await.expect(1);
    assert!(refused.stderr.contains("credentials-invalid"), "{refused:?}");
    let unknown = run(admin, &["operators", "create", "cli-bob", "--role", "root"]).await.expect(1);
    assert!(unknown.stderr.contains("must be `viewer`"), "{unknown:?}");
}

/// A client that is refused while it still sends reads why; a reset would overtake the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_is_still_sending_its_body() {
    let dev = shared().await;
    let http = client::http(&dev.ready().ca, Version::Http1).unwrap();
    let url = format!("{}/v1/keys", dev.writer().unwrap().control);
    for size in [1_000, 100_000, 4_000_000] {
        for turn in 0..20 {
            let request = http.post(&url).header("content-type", "application/json").header("connection", "close");
            let answer = request.body(format!("{{\"name\":\"{}\"}}", "a".repeat(size))).send().await;
            assert_eq!(answer.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}")), Ok(401), "{size} bytes, turn {turn}");
        }
    }
}
