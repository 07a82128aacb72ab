//! Where the data of a consumer may lie: what is refused before a database is asked.

use axum::body::Body;
use serde_json::{Value, json};

use super::fixture::{Answer, Fixture, post, request, send};

async fn patch(fixture: &Fixture, token: &str, body: &Value) -> Answer {
    let builder = request("PATCH", "/v1/consumers/acme").header("authorization", format!("Bearer {token}"));
    let builder = builder.header("content-type", "application/json");
    send(fixture.router(), builder.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn what_is_no_list_of_labels_is_refused_where_it_stands() {
    let fixture = Fixture::new();
    let token = fixture.token("operator");
    let many: Vec<_> = (0..33).map(|number| format!("l{number}")).collect();

    for (labels, pointer, words) in [
        (json!([]), "/residency", "an empty list lets no region serve"),
        (json!(many), "/residency", "at most 32 labels"),
        (json!(["eu", "eu"]), "/residency", "each label stands there once"),
        (json!(["EU"]), "/residency", "a label is 1 to 63"),
        (json!([""]), "/residency", "a label is 1 to 63"),
        (json!(["eu\u{0}"]), "/residency", "a label is 1 to 63"),
        (json!(["x".repeat(64)]), "/residency", "a label is 1 to 63"),
        (json!("eu"), "/residency", "must be a"),
        (json!([1]), "/residency/0", "must be a"),
        (json!([null]), "/residency/0", "must be a"),
        (json!({ "eu": true }), "/residency", "must be a"),
    ] {
        for answer in [
            patch(&fixture, &token, &json!({ "residency": labels })).await,
            post(&fixture, "/v1/consumers", &token, json!({ "name": "acme", "residency": labels }).to_string()).await,
        ] {
            let problem = answer.assert_problem(422, "request-invalid");
            let error = &problem["errors"][0];
            assert_eq!(error["pointer"], pointer, "{labels}: {problem}");
            assert!(error["message"].as_str().unwrap().contains(words), "{labels}: {problem}");
        }
    }
    for good in [json!({}), json!({ "residency": null }), json!({ "residency": ["eu"] }), json!({ "residency": many[..32] })] {
        patch(&fixture, &token, &good).await.assert_problem(503, "database-unavailable");
    }
    for bad in [json!({ "name": "other" }), json!({ "tenant": "other" }), json!({ "Residency": null }), json!([]), json!(null)] {
        patch(&fixture, &token, &bad).await.assert_problem(422, "request-invalid");
    }
}

#[tokio::test]
async fn operators_alone_change_it_and_each_attempt_is_recorded() {
    let fixture = Fixture::new();
    for role in ["viewer", "developer", "approver", "security", "auditor"] {
        patch(&fixture, &fixture.token(role), &json!({ "residency": null })).await.assert_problem(403, "role-insufficient");
    }
    patch(&fixture, &fixture.token("operator"), &json!({ "residency": ["eu"] })).await.assert_problem(503, "database-unavailable");

    let events = fixture.events();
    assert_eq!(events.len(), 6, "{events:?}");
    assert!(events.iter().all(|event| event.action == "consumer.change" && event.path.as_deref() == Some("/v1/consumers/acme")), "{events:?}");
}
