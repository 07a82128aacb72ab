//! The form of answers and refusals.

use std::sync::atomic::Ordering;

use axum::{body::Body, routing::get};
use http::Request;
use http_body_util::StreamBody;
use serde_json::{Value, json};

use super::fixture::{Fixture, KEY_SET, ask, looked_at, post, request, send};
use crate::{
    port::{CheckState, Readiness},
    router::framed,
};

#[tokio::test]
async fn an_unknown_path_is_404_with_or_without_a_token() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");

    for path in ["/", "/v1", "/v1/", "/v2/keys", "/v1/keyss", "/v1/keys/", "/v1/keys/a/b/c", "/v1/routes/a/b"] {
        ask(&fixture, "GET", path, None).await.assert_problem(404, "route-not-found");
        ask(&fixture, "GET", path, Some(&token)).await.assert_problem(404, "route-not-found");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_says_which_are_right() {
    let fixture = Fixture::new();
    let check = async |method: &str, path: &str, allow: &[&str]| {
        let answer = ask(&fixture, method, path, None).await;
        answer.assert_problem(405, "method-not-allowed");
        let mut methods: Vec<&str> = answer.header("allow").split(',').collect();
        methods.sort_unstable();
        assert_eq!(methods, allow, "{path}");
    };

    check("PUT", "/v1/keys", &["GET", "HEAD", "POST"]).await;
    check("DELETE", "/v1/keys/0123456789ab", &["GET", "HEAD", "PATCH"]).await;
    check("GET", "/v1/keys/0123456789ab/revoke", &["POST"]).await;
    check("PUT", "/v1/consumers/acme", &["DELETE", "GET", "HEAD", "PATCH"]).await;
    check("POST", "/livez", &["GET", "HEAD"]).await;
    check("POST", "/v1/audit/events", &["GET", "HEAD"]).await;
}

#[tokio::test]
async fn a_request_id_is_taken_over_when_well_formed_and_made_when_not() {
    let fixture = Fixture::new();
    let check = async |sent: &[&str], kept: bool| {
        let builder = sent.iter().fold(request("GET", "/nothing"), |builder, id| builder.header("x-request-id", *id));
        let answer = send(fixture.router(), builder.body(Body::empty()).unwrap()).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.json()["request_id"], id);
        if kept {
            assert_eq!(id, sent[0]);
        } else {
            let uuid: uuid::Uuid = id.parse().unwrap();
            assert_eq!(uuid.get_version_num(), 7, "{sent:?}");
        }
    };

    check(&["job-17.retry:2"], true).await;
    check(&[&"a".repeat(64)], true).await;
    check(&[], false).await;
    check(&[""], false).await;
    check(&[&"a".repeat(65)], false).await;
    check(&["a b"], false).await;
    check(&["a\"b"], false).await;
    check(&["one", "two"], false).await;
    check(&["cw_live_0123456789ab_x"], false).await;
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400_and_a_wrong_content_type_is_415() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");

    for body in ["", "{", "nonsense", "{\"name\": \"a\"}}"] {
        post(&fixture, "/v1/keys", &token, body).await.assert_problem(400, "request-malformed");
    }
    for body in ["", "{", "nonsense", "{\"version\": 1}}"] {
        post(&fixture, "/v1/apply", &token, body).await.assert_problem(400, "request-malformed");
    }
    for path in ["/v1/keys", "/v1/consumers", "/v1/applications", "/v1/apply", "/v1/check"] {
        let builder = request("POST", path).header("authorization", format!("Bearer {token}"));
        let answer = send(fixture.router(), builder.body(Body::from("{}")).unwrap()).await;
        answer.assert_problem(415, "content-type-unsupported");
    }
}

#[tokio::test]
async fn a_wrong_member_is_422_with_its_pointer() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let check = async |path: &str, body: Value, pointer: &str, keyword: &str| {
        let problem = post(&fixture, path, &token, body.to_string()).await.assert_problem(422, "request-invalid");
        let errors: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| (&error["pointer"], &error["keyword"])).collect();
        assert_eq!(errors, [(&json!(pointer), &json!(keyword))], "{body}");
    };

    check("/v1/keys", json!({}), "/name", "required").await;
    check("/v1/keys", json!({ "name": "" }), "/name", "length").await;
    check("/v1/keys", json!({ "name": "x".repeat(81) }), "/name", "length").await;
    check("/v1/keys", json!({ "name": "a\u{7}" }), "/name", "printable").await;
    check("/v1/keys", json!({ "name": "a", "colour": 1 }), "/colour", "unknown").await;
    check("/v1/keys", json!({ "name": "a", "expires_in": 59 }), "/expires_in", "range").await;
    check("/v1/keys", json!({ "name": "a", "expires_in": 315_360_001 }), "/expires_in", "range").await;
    check("/v1/keys", json!({ "name": "a", "expires_in": -1 }), "/expires_in", "type").await;
    check("/v1/keys", json!({ "name": "a", "scopes": ["a b"] }), "/scopes", "scopes").await;
    check("/v1/keys", json!({ "name": "a", "scopes": ["a", "a"] }), "/scopes", "scopes").await;
    check("/v1/keys", json!({ "name": "a", "scopes": [1] }), "/scopes/0", "type").await;
    check("/v1/keys", json!({ "name": "a", "environment": "prod" }), "/environment", "enum").await;
    check("/v1/consumers", json!({ "name": "Acme" }), "/name", "name").await;
    check("/v1/applications", json!({ "name": "shop" }), "/consumer", "required").await;
}

#[tokio::test]
async fn a_lawful_body_gets_as_far_as_the_database() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let emoji = "🔑".repeat(80);

    for body in [
        json!({ "name": "ci" }),
        json!({ "name": emoji, "scopes": [], "expires_in": 60, "environment": "test", "application": "shop" }),
        json!({ "name": "ci", "scopes": null, "expires_in": 315_360_000 }),
    ] {
        post(&fixture, "/v1/keys", &token, body.to_string()).await.assert_problem(503, "database-unavailable");
    }
}

#[tokio::test]
async fn a_body_over_its_limit_is_413_announced_or_not() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");

    let announced = post(&fixture, "/v1/keys", &token, vec![b' '; (64 << 10) + 1]).await;
    announced.assert_problem(413, "body-too-large");
    // A stream without a length: read up to the limit and no further.
    let pieces = (0..100).map(|_| Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(vec![b' '; 1 << 10]))));
    let stream = StreamBody::new(futures_util::stream::iter(pieces));
    let streamed = post(&fixture, "/v1/keys", &token, Body::new(stream)).await;
    streamed.assert_problem(413, "body-too-large");
    let document = post(&fixture, "/v1/apply", &token, vec![b' '; (32 << 20) + 1]).await;
    document.assert_problem(413, "body-too-large");
}

#[tokio::test]
async fn a_document_with_mistakes_is_422_with_every_mistake_and_its_path() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let document = json!({
        "version": 1,
        "regions": [{ "name": "EU West" }],
        "tenants": [{ "name": "main", "hosts": ["localhost"] }],
        "applications": [{ "name": "shop", "consumer": "nobody" }],
    });

    for path in ["/v1/apply", "/v1/check", "/v1/apply?dry_run=true"] {
        let problem = post(&fixture, path, &token, document.to_string()).await.assert_problem(422, "document-invalid");
        let paths: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["regions[0].name", "applications[0].consumer"], "{problem}");
    }
    let shape = json!({ "version": 1, "regions": [{ "name": "eu", "colour": "blue" }] });
    let problem = post(&fixture, "/v1/check", &token, shape.to_string()).await.assert_problem(422, "document-invalid");
    assert_eq!(problem["errors"][0]["path"], "regions[0].colour");
}

#[tokio::test]
async fn a_good_document_passes_the_check_without_a_database() {
    let fixture = Fixture::new();
    let token = fixture.token("viewer");
    let document = json!({ "version": 1, "regions": [{ "name": "eu-west" }], "tenants": [{ "name": "main", "hosts": ["localhost"] }] });

    let answer = post(&fixture, "/v1/check", &token, document.to_string()).await;

    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["valid"], true);
    assert_eq!(answer.json()["counts"]["tenants"], 1);
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_and_so_is_waiting_for_something_else() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");

    let problem = ask(&fixture, "GET", "/v1/keys?colour=red", Some(&token)).await.assert_problem(422, "request-invalid");
    assert_eq!(problem["errors"][0], json!({ "in": "query", "name": "colour", "keyword": "unknown", "message": "is not known here" }));
    let revoke = "/v1/keys/0123456789ab/revoke?wait=applied";
    let problem = ask(&fixture, "POST", revoke, Some(&token)).await.assert_problem(422, "request-invalid");
    assert_eq!(problem["errors"][0]["name"], "wait");
}

#[tokio::test]
async fn an_id_of_another_form_is_404() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");

    for id in ["short", "0123456789abc", "0123456789a-", "%00%00%00%00%00%00%00%00%00%00%00%00"] {
        let path = format!("/v1/keys/{id}");
        ask(&fixture, "GET", &path, Some(&token)).await.assert_problem(404, "resource-not-found");
        let path = format!("/v1/keys/{id}/revoke");
        ask(&fixture, "POST", &path, Some(&token)).await.assert_problem(404, "resource-not-found");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_with_the_request_id_and_without_its_words() {
    async fn broken() -> &'static str {
        panic!("the database password is hunter2")
    }
    let fixture = Fixture::new();
    let router = framed(axum::Router::new().route("/broken", get(broken)), fixture.state.clone());

    let answer = send(router, request("GET", "/broken").body(Body::empty()).unwrap()).await;

    answer.assert_problem(500, "internal");
    assert!(!answer.text.contains("hunter2"));
}

#[tokio::test]
async fn a_node_is_ready_degraded_or_out_of_rotation() {
    let fixture = Fixture::new();
    let set = |ready, degraded, state| {
        let checks = vec![looked_at("database", state, "no server answers")];
        *fixture.node.readiness.lock().unwrap() = Readiness { ready, degraded, checks };
    };

    set(true, false, CheckState::Ok);
    assert_eq!(ask(&fixture, "GET", "/readyz", None).await.text, "ready\n");
    set(true, true, CheckState::Degraded);
    let answer = ask(&fixture, "GET", "/readyz?verbose", None).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("degraded  database"), "{}", answer.text);
    set(false, false, CheckState::Failed);
    let answer = ask(&fixture, "GET", "/readyz", None).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (503, "not ready\n"));
    let builder = request("GET", "/readyz?verbose").header("accept", "application/json");
    let answer = send(fixture.router(), builder.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["checks"][0]["state"], "failed");
    fixture.node.is_live.store(false, Ordering::SeqCst);
    assert_eq!(ask(&fixture, "GET", "/livez", None).await.status, 503);
}

#[tokio::test]
async fn metrics_are_openmetrics_and_the_status_is_json() {
    let fixture = Fixture::new();
    let token = fixture.token("viewer");

    let metrics = ask(&fixture, "GET", "/metrics", None).await;
    let status = ask(&fixture, "GET", "/status", Some(&token)).await.json();

    assert!(metrics.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(metrics.text.ends_with("# EOF\n"));
    assert_eq!(status["node"]["authority_revision"], 7);
    assert_eq!(status["node"]["started_at"], "2026-01-01T00:00:00Z");
    assert_eq!(status["readiness"]["ready"], true);
}

#[tokio::test]
async fn the_problem_list_has_every_problem_once() {
    let fixture = Fixture::new();

    let list = ask(&fixture, "GET", "/v1/problems", None).await.json();
    let mut codes: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap().to_owned()).collect();
    let n = codes.len();
    codes.sort_unstable();
    codes.dedup();

    assert_eq!(codes.len(), n);
    assert_eq!(n, model::problem::ProblemKind::ALL.len());
}

/// Services fetch it again and again, and caches between may keep it: for five minutes, as the rotation of keys counts on.
#[tokio::test]
async fn the_key_set_may_be_kept_for_five_minutes_and_is_not_sent_again_to_who_has_it() {
    let fixture = Fixture::new();
    let known = |tag: &str| Request::get("/.well-known/jwks.json").header("if-none-match", tag).body(Body::empty()).unwrap();

    let first = ask(&fixture, "GET", "/.well-known/jwks.json", None).await;
    assert_eq!((first.status.as_u16(), first.text.as_str()), (200, KEY_SET));
    for tag in ["\"digest\"", "\"other\", W/\"digest\"", "*"] {
        let again = send(fixture.router(), known(tag)).await;
        assert_eq!((again.status.as_u16(), again.text.as_str(), again.header("etag")), (304, "", "\"digest\""), "{tag}");
        assert_eq!(again.header("cache-control"), "public, max-age=300");
    }
    let changed = send(fixture.router(), known("\"other\"")).await;

    assert_eq!((changed.status.as_u16(), changed.header("content-type")), (200, "application/jwk-set+json"));
    assert_eq!((changed.header("cache-control"), changed.header("etag")), ("public, max-age=300", "\"digest\""));
    assert_eq!(ask(&fixture, "GET", "/livez", None).await.header("cache-control"), "no-store", "everything else");
}

/// A node that cannot say who calls must not take a document in which a service wants to know.
#[tokio::test]
async fn a_document_with_a_service_that_wants_to_know_who_calls_is_refused_by_a_node_without_keys() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let document = |principal: Value| {
        let mut told = json!({ "name": "told", "regions": { "eu": { "targets": ["http://127.0.0.1:1"] } } });
        told.as_object_mut().unwrap().extend(principal.as_object().unwrap().clone());
        json!({ "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }], "upstreams": [told] })
            .to_string()
    };

    let without = post(&fixture, "/v1/check", &token, document(json!({}))).await;
    let with = post(&fixture, "/v1/check", &token, document(json!({ "principal": {} }))).await;

    assert_eq!(without.status, 200);
    assert_eq!(with.status, 422);
    assert_eq!(with.json()["errors"][0]["path"], "upstreams[0].principal", "{}", with.json());
}
