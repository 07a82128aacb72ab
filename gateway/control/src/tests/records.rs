//! What the access log keeps of the control plane.

use std::{net::IpAddr, sync::atomic::Ordering};

use audit::event::Outcome;
use axum::{body::Body, routing::post as on_post};
use tower::ServiceExt;

use super::fixture::{Fixture, ask, post, request, send};
use crate::{
    policy::Action,
    port::PeerAddress,
    router::{framed, guarded},
};

#[tokio::test]
async fn a_refused_log_in_is_recorded_with_its_address_and_without_the_secret() {
    let fixture = Fixture::new();
    let token = fixture.token("viewer");
    let bad = format!("{}x", &token[..token.len() - 1]);
    let address: IpAddr = "192.0.2.7".parse().unwrap();

    let builder = request("GET", "/status").header("authorization", format!("Bearer {bad}"));
    let mut sent = builder.body(Body::empty()).unwrap();
    sent.extensions_mut().insert(PeerAddress(address));
    let answer = send(fixture.router(), sent).await;

    let events = fixture.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].action, "operator.login");
    assert_eq!(events[0].outcome, Outcome::Denied);
    assert_eq!(events[0].reason, Some("credentials-invalid"));
    assert_eq!(events[0].client_address, Some(address));
    assert_eq!(events[0].request_id, answer.header("x-request-id"));
    assert!(!format!("{events:?}").contains(&bad[21..40]));
}

#[tokio::test]
async fn a_flood_of_refused_log_ins_does_not_fill_the_log() {
    let fixture = Fixture::new();

    for _ in 0..100 {
        ask(&fixture, "GET", "/status", None).await.assert_problem(401, "credentials-missing");
    }
    fixture.clock.advance_seconds(1);
    ask(&fixture, "GET", "/status", None).await.assert_problem(401, "credentials-missing");

    let events = fixture.events();
    assert_eq!(events.len(), 21);
    assert_eq!(events.iter().map(|event| event.count).sum::<u64>(), 101);
}

#[tokio::test]
async fn a_refused_or_failed_act_is_recorded_with_its_reason() {
    let fixture = Fixture::new();
    let admin = fixture.token("admin");
    let viewer = fixture.token("viewer");

    post(&fixture, "/v1/keys", &viewer, r#"{"name": "a"}"#).await.assert_problem(403, "role-insufficient");
    post(&fixture, "/v1/keys", &admin, r#"{"nam": "a"}"#).await.assert_problem(422, "request-invalid");
    post(&fixture, "/v1/keys", &admin, r#"{"name": "a"}"#).await.assert_problem(503, "database-unavailable");

    let events = fixture.events();
    let seen: Vec<_> = events.iter().map(|event| (event.action, event.outcome, event.status, event.reason)).collect();
    assert_eq!(
        seen,
        [
            ("key.create", Outcome::Denied, Some(403), Some("role-insufficient")),
            ("key.create", Outcome::Denied, Some(422), Some("request-invalid")),
            ("key.create", Outcome::Error, Some(503), Some("database-unavailable")),
        ]
    );
    assert!(events.iter().all(|event| event.actor.as_deref() == Some("ada") && event.path.as_deref() == Some("/v1/keys")));
}

#[tokio::test]
async fn reading_the_log_is_recorded_and_reading_the_state_is_not() {
    let fixture = Fixture::new();
    let token = fixture.token("auditor");

    ask(&fixture, "GET", "/status", Some(&token)).await;
    ask(&fixture, "GET", "/v1/keys", Some(&token)).await;
    ask(&fixture, "GET", "/v1/audit/events?key=0123456789ab", Some(&token)).await;

    let events = fixture.events();
    assert_eq!(events.iter().map(|event| event.action).collect::<Vec<_>>(), ["audit.read"]);
}

#[tokio::test]
async fn nothing_is_done_when_the_log_cannot_take_the_record() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    fixture.log.is_full.store(true, Ordering::SeqCst);

    let answer = post(&fixture, "/v1/keys", &token, "this would be a 400").await;

    answer.assert_problem(503, "audit-unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    // A refused log-in is still refused.
    ask(&fixture, "GET", "/status", None).await.assert_problem(401, "credentials-missing");
}

#[tokio::test]
async fn an_answer_whose_record_was_lost_is_a_503() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    fixture.log.loses.store(true, Ordering::SeqCst);

    post(&fixture, "/v1/keys", &token, "this would be a 400").await.assert_problem(503, "audit-unavailable");
}

#[tokio::test]
async fn an_act_whose_client_went_away_leaves_exactly_one_record() {
    async fn forever() -> &'static str {
        std::future::pending().await
    }
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let paths = axum::Router::new().route("/slow", guarded(&fixture.state, Action::KeyCreate, on_post(forever)));
    let router = framed(paths, fixture.state.clone());
    let builder = request("POST", "/slow").header("authorization", format!("Bearer {token}"));

    let mut answer = Box::pin(router.oneshot(builder.body(Body::empty()).unwrap()));
    let waker = std::task::Waker::noop();
    let polled = answer.as_mut().poll(&mut std::task::Context::from_waker(waker));
    assert!(polled.is_pending());
    assert!(fixture.events().is_empty());
    drop(answer);

    let events = fixture.events();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].outcome, events[0].status), (Outcome::Unknown, None));
}

#[tokio::test]
async fn an_act_that_panics_leaves_exactly_one_record_and_a_500() {
    async fn broken() -> &'static str {
        panic!("a bug")
    }
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let paths = axum::Router::new().route("/broken", guarded(&fixture.state, Action::KeyCreate, on_post(broken)));
    let builder = request("POST", "/broken").header("authorization", format!("Bearer {token}"));

    let answer = send(framed(paths, fixture.state.clone()), builder.body(Body::empty()).unwrap()).await;

    answer.assert_problem(500, "internal");
    let events = fixture.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].outcome, Outcome::Error);
}
