//! A request is sent again only where that is safe, for as long as its deadline lasts, and within a budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::wait;
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::arena::{Arena, arena};
use crate::service::{Act, Service, ok, raw};
use crate::site::SOON;

fn unavailable() -> Vec<Act> {
    raw("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
}

async fn send(arena: &Arena, method: &Method, path: &str) -> u16 {
    let request = arena.http().request(method.clone(), arena.url(path));
    let request = if *method == Method::POST || *method == Method::PATCH { request.body("x") } else { request };
    request.send().await.unwrap().status().as_u16()
}

/// Nothing has left: whatever the method, another endpoint may be asked.
#[tokio::test]
async fn endpoint_that_refuses_connections_fails_no_request() {
    let arena = arena().await;
    let services = arena.play("refused", |_, _| ok("fine"));
    let before = arena.metric("causeway_retries_total{reason=\"connect\"}").await;

    for n in 0..20 {
        let method = if n % 2 == 0 { Method::GET } else { Method::POST };
        assert_eq!(send(arena, &method, "/refused/x").await, 200, "{method} {n}");
    }

    assert_eq!(services[0].seen().len(), 20);
    assert!(arena.metric("causeway_retries_total{reason=\"connect\"}").await - before >= 5);
}

/// The first endpoint breaks off, or says 503; the second answers. Only idempotent requests get that answer.
#[tokio::test]
async fn only_idempotent_requests_are_sent_again() {
    let arena = arena().await;
    let services = arena.play("safe", |index, seen| match (index, seen.line()) {
        (0, line) if line.contains("/reset") => vec![Act::Reset],
        (0, _) => unavailable(),
        _ => ok("fine"),
    });
    let times = |path: &str| services.iter().flat_map(Service::seen).filter(|seen| seen.line().contains(path)).count();

    for (kind, failed) in [("reset", 502), ("status", 503)] {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE, Method::POST, Method::PATCH] {
            let is_safe = !matches!(method, Method::POST | Method::PATCH);
            for n in 0..4 {
                let path = format!("/safe/{kind}/{method}/{n}/");
                let status = send(arena, &method, &path).await;
                let sent = times(&path);
                assert!(status == 200 || status == failed && !is_safe, "{path}: {status}");
                assert!(sent == 1 || sent == 2 && is_safe, "{path} was sent {sent} times");
            }
        }
    }

    assert!(arena.metric("causeway_retries_total{reason=\"reset\"}").await > 0);
    assert!(arena.metric("causeway_retries_total{reason=\"status\"}").await > 0);
}

#[tokio::test]
async fn try_that_takes_too_long_is_followed_by_another() {
    let arena = arena().await;
    let _services = arena.play("pertry", |index, _| if index == 0 { vec![Act::Hang] } else { ok("fine") });

    for _ in 0..6 {
        let began = Instant::now();
        assert_eq!(send(arena, &Method::GET, "/pertry/x").await, 200);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    let posts = [send(arena, &Method::POST, "/pertry/x"), send(arena, &Method::POST, "/pertry/x")];
    let statuses = futures_util::future::join_all(posts).await;

    assert!(statuses.iter().all(|status| matches!(status, 200 | 504)), "{statuses:?}");
    assert!(arena.metric("causeway_retries_total{reason=\"timeout\"}").await > 0);
}

#[tokio::test]
async fn retries_end_with_the_requests_own_deadline() {
    let arena = arena().await;
    let services = arena.play("total", |_, _| vec![Act::Hang]);
    let began = Instant::now();

    let answer = arena.http().get(arena.url("/total/x")).send().await.unwrap();

    assert_eq!(answer.status(), 504);
    assert!((900..2_000).contains(&began.elapsed().as_millis()), "one second in all: {:?}", began.elapsed());
    assert!((3..=5).contains(&services[0].seen().len()), "{} tries of 300 ms", services[0].seen().len());
}

/// When everything fails, retries are a fifth of the traffic and not twice it.
#[tokio::test]
async fn retries_of_a_service_that_fails_stay_within_their_budget() {
    let arena = arena().await;
    let services = arena.play("budget", |_, _| unavailable());
    let http = arena.http();

    for _ in 0..200 {
        assert_eq!(http.get(arena.url("/budget/x")).send().await.unwrap().status(), 503);
    }

    let sent: usize = services.iter().map(|service| service.seen().len()).sum();
    assert!((220..=240).contains(&sent), "200 requests made {sent}");
    assert!(arena.metric("causeway_retries_refused_total").await > 0);
}

#[tokio::test]
async fn breaker_opens_after_failures_in_a_row_and_closes_when_trials_go_well() {
    let arena = arena().await;
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let services = arena.play("breaker", move |_, _| if down.load(Ordering::SeqCst) { unavailable() } else { ok("fine") });

    for _ in 0..5 {
        assert_eq!(send(arena, &Method::GET, "/breaker/x").await, 503);
    }
    let answer = arena.http().get(arena.url("/breaker/x")).send().await.unwrap();
    let (status, retry_after) = (answer.status(), answer.headers()["retry-after"].clone());
    let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!((status.as_u16(), problem["code"].as_str(), retry_after.to_str().unwrap()), (503, Some("circuit-open"), "1"));
    assert_eq!(services[0].seen().len(), 5, "an open breaker spares the service");
    assert_eq!(arena.metric("causeway_breaker_state{upstream=\"breaker\",region=\"eu-west\"}").await, 2);
    is_down.store(false, Ordering::SeqCst);

    wait::until("the breaker to close", SOON, async || {
        send(arena, &Method::GET, "/breaker/x").await;
        arena.metric("causeway_breaker_state{upstream=\"breaker\",region=\"eu-west\"}").await == 0
    })
    .await
    .unwrap();
    for _ in 0..10 {
        assert_eq!(send(arena, &Method::GET, "/breaker/x").await, 200);
    }
}

#[tokio::test]
async fn breaker_opens_when_too_few_answers_are_good() {
    let arena = arena().await;
    // Two of three fail, and no five in a row.
    let services = arena.play("ratio", |_, seen| if seen.turn % 3 == 0 { ok("fine") } else { unavailable() });
    let http = arena.http();

    let mut last = Value::Null;
    for _ in 0..60 {
        let answer = http.get(arena.url("/ratio/x")).send().await.unwrap();
        last = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
    }

    assert_eq!(last["code"], "circuit-open");
    assert!((20..=22).contains(&services[0].seen().len()), "{}", services[0].seen().len());
}
