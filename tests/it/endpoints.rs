//! Requests are spread over a service's endpoints as it asks, and endpoints that fail are spared while others can serve.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use harness::wait;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::arena::arena;
use crate::service::{Act, Service, ok, raw};
use crate::site::SOON;

fn error(status: u16) -> Vec<Act> {
    raw(&format!("HTTP/1.1 {status} Error\r\ncontent-length: 0\r\n\r\n"))
}

fn counts(services: &[Service]) -> Vec<usize> {
    services.iter().map(|service| service.seen().len()).collect()
}

#[tokio::test]
async fn round_robin_gives_each_endpoint_the_same_number() {
    let arena = arena().await;
    let services = arena.play("turns", |index, _| ok(&index.to_string()));
    let http = arena.http();

    for _ in 0..30 {
        assert_eq!(http.get(arena.url("/turns/x")).send().await.unwrap().status(), 200);
    }

    assert_eq!(counts(&services), [10, 10, 10]);
}

/// All cores agree, and a new connection changes nothing.
#[tokio::test]
async fn hashed_value_always_finds_the_same_endpoint() {
    let arena = arena().await;
    let kinds = ["byheader", "bycookie", "byaddress", "bypath"];
    let _services: Vec<_> = kinds.iter().map(|kind| arena.play(kind, |index, _| ok(&index.to_string()))).collect();

    for kind in kinds {
        let mut owners = HashSet::new();
        for user in 0..16 {
            let ask = async || {
                let path = if kind == "bypath" { format!("/{kind}/{user}?fresh=1") } else { format!("/{kind}/x") };
                let request =
                    arena.http().get(arena.url(&path)).header("x-user", format!("user-{user}")).header("cookie", format!("a=1; sid=s{user}; b=2"));
                request.send().await.unwrap().text().await.unwrap()
            };
            let home = ask().await;
            for _ in 0..4 {
                assert_eq!(ask().await, home, "{kind} {user}");
            }
            owners.insert(home);
        }
        assert_eq!(owners.len() > 1, kind != "byaddress", "{kind}: {owners:?}");
    }
}

#[tokio::test]
async fn endpoint_with_errors_in_a_row_rests_and_comes_back() {
    let arena = arena().await;
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    let services =
        arena.play("outlier", move |index, _| if index == 0 && broken.load(Ordering::SeqCst) { error(500) } else { ok(&index.to_string()) });
    let before = arena.metric("causeway_endpoint_rests_total{reason=\"server_errors\"}").await;

    wait::until("the endpoint to rest", SOON, async || {
        arena.get("/outlier/x").await;
        arena.metric("causeway_endpoint_rests_total{reason=\"server_errors\"}").await > before
    })
    .await
    .unwrap();
    assert_eq!(services[0].seen().len(), 5, "five errors in a row, and then none");
    assert_eq!(arena.metric("causeway_endpoints{upstream=\"outlier\",state=\"resting\"}").await, 1);
    is_broken.store(false, Ordering::SeqCst);

    wait::until("the endpoint to come back", SOON, async || arena.get("/outlier/x").await == (200, "0".to_owned())).await.unwrap();
}

#[tokio::test]
async fn endpoint_with_too_small_a_share_of_good_answers_rests() {
    let arena = arena().await;
    // Every second answer of the one is an error: never two in a row.
    let services = arena.play("share", |index, seen| if index == 0 && seen.turn % 2 == 1 { error(500) } else { ok(&index.to_string()) });
    let http = arena.http();

    for _ in 0..400 {
        drop(http.get(arena.url("/share/x")).send().await.unwrap().bytes().await);
    }

    let [bad, good] = counts(&services)[..] else { panic!("two endpoints") };
    assert!((20..60).contains(&bad) && good > 340, "{bad} and {good}");
}

/// A lone endpoint that missed its deadlines has nobody to stand in for it: sparing it would be an outage of our own.
#[tokio::test]
async fn lone_endpoint_that_was_late_is_asked_again_at_once() {
    let arena = arena().await;
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = Arc::clone(&is_slow);
    let services = arena.play("lone", move |_, _| if slow.load(Ordering::SeqCst) { vec![Act::Hang] } else { ok("fine") });

    for _ in 0..6 {
        assert_eq!(arena.get("/lone/x").await.0, 504);
    }
    is_slow.store(false, Ordering::SeqCst);

    assert_eq!(arena.get("/lone/x").await, (200, "fine".to_owned()));
    assert_eq!(services[0].seen().len(), 7, "every request has reached it");
    assert!(arena.metric("causeway_endpoint_panic_total").await > 0);
}

#[tokio::test]
async fn requests_over_the_cap_go_to_another_endpoint_wait_or_are_refused_at_once() {
    let arena = arena().await;
    let gate = Arc::new(AtomicBool::new(false));
    let hold = |name: &str| {
        let gate = Arc::clone(&gate);
        arena.play(name, move |index, _| if gate.load(Ordering::SeqCst) { ok(&index.to_string()) } else { vec![Act::Hang] })
    };
    let (capped, queued, spill) = (hold("capped"), hold("queued"), hold("spill"));
    let ask = move |path: &'static str| async move {
        let began = Instant::now();
        let (status, _) = arena.get(path).await;
        (status, began.elapsed())
    };
    // The response deadline of five seconds ends those that hold the places.
    let mut holders = JoinSet::new();
    holders.spawn(async move { join_all([ask("/capped/a"), ask("/queued/a"), ask("/spill/a"), ask("/spill/b")]).await });
    wait::until("the places to be taken", SOON, async || (capped[0].seen().len(), queued[0].seen().len(), counts(&spill)) == (1, 1, vec![1, 1]))
        .await
        .unwrap();
    gate.store(true, Ordering::SeqCst);

    for path in ["/capped/c", "/spill/c"] {
        let (status, took) = ask(path).await;
        assert!(status == 503 && took < Duration::from_secs(1), "{path}: {status} after {took:?}");
    }
    let mut waiter = JoinSet::new();
    waiter.spawn(ask("/queued/b"));
    wait::until("one to wait", SOON, async || arena.metric("causeway_endpoint_queued_total").await > 0).await.unwrap();
    assert_eq!(ask("/queued/c").await.0, 503, "the queue holds one");
    let (status, took) = waiter.join_next().await.unwrap().unwrap();

    assert!(status == 200 && took > Duration::from_millis(500), "it had to wait: {status} after {took:?}");
    assert!(holders.join_next().await.unwrap().unwrap().into_iter().all(|(status, _)| status == 504));
    assert_eq!(ask("/capped/d").await.0, 200, "the place is free again");
}

#[tokio::test]
async fn endpoint_that_says_it_is_not_well_gets_no_requests_until_it_is() {
    let arena = arena().await;
    let is_ill = Arc::new(AtomicBool::new(true));
    let ill = Arc::clone(&is_ill);
    let services = arena.play("byhttp", move |index, seen| match seen.line() {
        "GET /well HTTP/1.1" if index == 0 && ill.load(Ordering::SeqCst) => error(503),
        "GET /well HTTP/1.1" => ok("well"),
        _ => ok(&index.to_string()),
    });

    wait::until("the check to find out", SOON, async || arena.metric("causeway_endpoints{upstream=\"byhttp\",state=\"out\"}").await == 1)
        .await
        .unwrap();
    for _ in 0..10 {
        assert_eq!(arena.get("/byhttp/x").await, (200, "1".to_owned()));
    }
    let checks: Vec<_> = services[0].seen().into_iter().filter(|seen| seen.line().contains("/well")).collect();
    assert!(checks.iter().all(|seen| seen.header("user-agent") == ["causeway-health"]), "{checks:?}");
    assert_eq!(checks[0].header("host"), [format!("127.0.0.1:{}", arena.port("byhttp", 0))]);
    is_ill.store(false, Ordering::SeqCst);

    wait::until("the endpoint to come back", SOON, async || arena.get("/byhttp/x").await.1 == "0").await.unwrap();
}

/// Checks of both kinds find an endpoint that is gone; the other carries on without a failed request.
#[tokio::test]
async fn endpoint_that_takes_no_connection_is_found_by_its_check() {
    let arena = arena().await;
    let _services = arena.play("bytcp", |index, _| ok(&index.to_string()));
    // Nobody has taken the connections of the checks until now: on a slow machine their queue was full.
    wait::until("both to be found well", SOON, async || arena.metric("causeway_endpoints{upstream=\"bytcp\",state=\"out\"}").await == 0)
        .await
        .unwrap();
    // The listener stays: only shutting it down makes the kernel refuse, as a process that has ended would.
    arena.close("bytcp", 0);

    wait::until("the check to find out", SOON, async || arena.metric("causeway_endpoints{upstream=\"bytcp\",state=\"out\"}").await == 1)
        .await
        .unwrap();
    for _ in 0..20 {
        assert_eq!(arena.get("/bytcp/x").await, (200, "1".to_owned()));
    }
}

/// The service is asked by its name, at the address that was found; a name that cannot be found fails its own requests alone.
#[tokio::test]
async fn names_are_looked_up_and_stay_in_the_host_field() {
    let arena = arena().await;
    let services = arena.play("named", |_, _| ok("fine"));
    let port = arena.port("named", 0);

    wait::until("the name to be found", SOON, async || arena.metric("causeway_names_changed_total").await >= 1).await.unwrap();
    for _ in 0..10 {
        assert_eq!(arena.get("/named/x").await.0, 200);
    }
    assert!(services[0].seen().iter().all(|seen| seen.header("host") == [format!("localhost:{port}")]));
    wait::until("the other name to fail", SOON, async || arena.metric("causeway_names_failed_total").await >= 1).await.unwrap();
    assert!(matches!(arena.get("/unnamed/x").await.0, 502 | 504));
}
