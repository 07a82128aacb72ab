//! Purges of stored responses: who may, what can be named, and what a failure says.

use model::purge::PURGE_TAGS_MAX;
use serde_json::json;

use super::fixture::{Fixture, post};

const PATH: &str = "/v1/cache/purge";

#[tokio::test]
async fn a_role_that_takes_nothing_back_does_not_purge_and_the_attempt_is_recorded() {
    let fixture = Fixture::new();
    let body = json!({ "tags": ["a"] }).to_string();

    for role in ["viewer", "approver", "auditor"] {
        let token = fixture.token(role);
        post(&fixture, PATH, &token, body.clone()).await.assert_problem(403, "role-insufficient");
    }

    let events = fixture.events();
    assert_eq!(events.iter().map(|event| (event.action, event.status)).collect::<Vec<_>>(), [("cache.purge", Some(403)); 3]);
}

#[tokio::test]
async fn a_purge_without_a_database_says_so_and_when_to_come_back() {
    let fixture = Fixture::new();

    for role in ["operator", "developer", "security", "admin"] {
        let token = fixture.token(role);
        let answer = post(&fixture, PATH, &token, json!({ "tags": ["a"], "route": "r", "tenant": "t" }).to_string()).await;
        answer.assert_problem(503, "database-unavailable");
        assert_eq!(answer.header("retry-after"), "2");
    }
}

#[tokio::test]
async fn what_no_service_can_have_said_and_everything_at_once_are_refused_by_name() {
    let fixture = Fixture::new();
    let token = fixture.token("operator");
    let many: Vec<String> = (0..=PURGE_TAGS_MAX).map(|n| format!("t{n}")).collect();

    for (body, pointer) in [
        (json!({}), "/tags"),
        (json!({ "tags": [] }), "/tags"),
        (json!({ "tags": ["a", ""] }), "/tags"),
        (json!({ "tags": ["a b"] }), "/tags"),
        (json!({ "tags": ["a,b"] }), "/tags"),
        (json!({ "tags": ["a\r\nb: c"] }), "/tags"),
        (json!({ "tags": ["a\u{0}"] }), "/tags"),
        (json!({ "tags": ["\u{e4}"] }), "/tags"),
        (json!({ "tags": ["x".repeat(129)] }), "/tags"),
        (json!({ "tags": many }), "/tags"),
        (json!({ "tags": "a" }), "/tags"),
        (json!({ "tags": [1] }), "/tags/0"),
        (json!({ "route": "" }), "/route"),
        (json!({ "route": "../a" }), "/route"),
        (json!({ "tenant": "a\nb" }), "/tenant"),
        (json!({ "tag": "a" }), "/tag"),
        (json!({ "tags": ["a"], "everything": true }), "/everything"),
    ] {
        let problem = post(&fixture, PATH, &token, body.to_string()).await.assert_problem(422, "request-invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    let huge = json!({ "tags": ["x".repeat(100_000)] }).to_string();
    post(&fixture, PATH, &token, huge).await.assert_problem(413, "body-too-large");
}
