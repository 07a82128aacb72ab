//! A limit admits exactly its burst, says what is left, and keeps its word about when to come back.

use std::time::Duration;

use harness::client::Version;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::service::{Service, ok};
use crate::site::{Key, site};

async fn ask(http: &reqwest::Client, path: &str, key: &Key) -> reqwest::Response {
    http.get(site().await.url(path)).header("x-api-key", &key.secret).send().await.unwrap()
}

fn header<'r>(answer: &'r reqwest::Response, name: &str) -> &'r str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// The tests of this file share one service, so they are one.
#[tokio::test]
async fn limits_admit_exactly_their_burst_and_count_whom_they_say() {
    let service = site().await.service("limits", |_| ok("served"));
    let new = async |name: &str, application: &str| site().await.key(json!({ "name": name, "application": application })).await;

    exact_burst_under_parallel_requests(&new("burst", "default").await, &service).await;
    refusal_says_when_and_charges_nothing(&new("brief", "default").await).await;
    let (one, two, sibling) = (new("one", "default").await, new("two", "default").await, new("three", "sibling").await);
    counts_by(&one, &two, &sibling).await;
    two_limits_are_charged_together_or_not_at_all(&new("narrow", "default").await, &sibling).await;
}

async fn exact_burst_under_parallel_requests(key: &Key, service: &Service) {
    let clients = [site().await.http(Version::Http1), site().await.http(Version::Http2)];
    let before = service.seen().len();
    let url = site().await.url("/limits/burst");
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        let request = clients[n % 2].get(&url).header("x-api-key", &key.secret);
        tasks.spawn(async move {
            let answer = request.send().await.unwrap();
            let left: u32 = header(&answer, "ratelimit").split(';').find_map(|part| part.strip_prefix("r=")).unwrap().parse().unwrap();
            assert_eq!(header(&answer, "ratelimit-policy"), "\"exact\";q=20;w=3600");
            (answer.status().as_u16(), left)
        });
    }
    let answers = tasks.join_all().await;

    let mut left: Vec<u32> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, left)| *left).collect();
    left.sort_unstable();
    assert_eq!(left, (0..20).collect::<Vec<_>>(), "each admitted request was told another number");
    assert!(answers.iter().all(|(status, left)| *status == 200 || (*status == 429 && *left == 0)), "{answers:?}");
    assert_eq!(service.seen().len() - before, 20);
}

async fn refusal_says_when_and_charges_nothing(key: &Key) {
    let http = site().await.http(Version::Http1);
    let began = Instant::now();
    for _ in 0..2 {
        assert_eq!(ask(&http, "/limits/second", key).await.status(), 200);
    }
    // Were these charged, the wait would grow with each.
    for _ in 0..20 {
        let refused = ask(&http, "/limits/second", key).await;
        assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "1"));
        assert_eq!(header(&refused, "ratelimit"), "\"brief\";r=0;t=1");
        let body: serde_json::Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
        assert_eq!(
            (body["code"].as_str(), body["retry_after_seconds"].as_u64(), body["retryable"].as_bool()),
            (Some("quota-exceeded"), Some(1), Some(true))
        );
    }
    assert!(began.elapsed() < Duration::from_secs(1), "the machine is too slow for this limit: {:?}", began.elapsed());
    // The promise is kept one interval after the first request, whatever was refused meanwhile.
    tokio::time::timeout_at(began + Duration::from_millis(1_900), async { while ask(&http, "/limits/second", key).await.status() != 200 {} })
        .await
        .unwrap();
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
}

async fn counts_by(one: &Key, two: &Key, sibling: &Key) {
    let http = site().await.http(Version::Http2);
    let used_up_by = async |path: &str, key: &Key| {
        for _ in 0..3 {
            assert_eq!(ask(&http, path, key).await.status(), 200, "{path}");
        }
        assert_eq!(ask(&http, path, key).await.status(), 429, "{path}");
    };
    used_up_by("/limits/key", one).await;
    used_up_by("/limits/application", one).await;
    used_up_by("/limits/consumer", one).await;
    used_up_by("/limits/address", one).await;

    for (path, key, expected) in [
        ("/limits/key", two, 200),
        ("/limits/application", two, 429),
        ("/limits/application", sibling, 200),
        ("/limits/consumer", sibling, 429),
        ("/limits/address", sibling, 429),
    ] {
        assert_eq!(ask(&http, path, key).await.status(), expected, "{path}");
    }
    let elsewhere = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).local_address(crate::site::source(7)).build().unwrap();
    assert_eq!(ask(&elsewhere, "/limits/address", one).await.status(), 200, "another address");
}

async fn two_limits_are_charged_together_or_not_at_all(key: &Key, sibling: &Key) {
    let http = site().await.http(Version::Http1);
    for expected in [200, 200, 429, 429, 429] {
        let answer = ask(&http, "/limits/two", key).await;
        assert_eq!(answer.status(), expected, "{}", header(&answer, "ratelimit"));
        assert_eq!(header(&answer, "ratelimit").matches(";r=").count(), 2);
    }
    // The wide limit of five was charged twice, not five times: so the sibling's own narrow one decides.
    for expected in [200, 200, 429] {
        assert_eq!(ask(&http, "/limits/two", sibling).await.status(), expected);
    }
}
