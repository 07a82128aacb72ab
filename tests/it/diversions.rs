//! Requests that another service takes, and copies that another service gets.

use std::time::Duration;

use harness::wait;
use tokio::time::Instant;

use crate::arena::arena;
use crate::service::{Act, ok};
use crate::site::SOON;

#[tokio::test]
async fn split_gives_its_share_and_a_header_gives_all() {
    let arena = arena().await;
    let (stable, next, third) =
        (arena.play("stable", |_, _| ok("stable")), arena.play("next", |_, _| ok("next")), arena.play("third", |_, _| ok("third")));
    let http = arena.http();
    let ask = async |header: &str, value: &str| http.get(arena.url("/stable/x")).header(header, value).send().await.unwrap().text().await.unwrap();

    for _ in 0..20 {
        assert_eq!(ask("x-canary", "yes").await, "next");
        assert_eq!(ask("x-third", "anything").await, "third");
    }
    let mut taken = 0;
    for _ in 0..800 {
        taken += usize::from(ask("x-canary", "no").await == "next");
    }

    // Of 800 draws with a quarter each, 150 to 250 is four standard deviations.
    assert!((150..=250).contains(&taken), "{taken} of 800");
    assert_eq!((next[0].seen().len(), third[0].seen().len(), stable[0].seen().len()), (20 + taken, 20, 800 - taken));
}

#[tokio::test]
async fn record_names_the_service_that_took_the_request() {
    let arena = arena().await;
    let _services = (arena.play("noted", |_, _| ok("noted")), arena.play("taker", |_, _| ok("taker")));

    let request = arena.http().get(arena.url("/noted/x")).header("x-canary", "yes").header("x-request-id", "diverted-1");
    drop(request.send().await.unwrap().text().await);

    let records = arena.records("diverted-1").await;
    assert_eq!((&records[0]["upstream"], &records[0]["route"]), (&"taker".into(), &"noted".into()));
}

#[tokio::test]
async fn mirror_gets_the_same_request_and_its_answer_reaches_nobody() {
    let arena = arena().await;
    let primary = arena.play("primary", |_, _| ok("primary"));
    let shadow = arena.play("shadow", |_, _| ok("shadow"));
    let http = arena.http();

    for n in 0..20 {
        let answer = http.get(arena.url(&format!("/primary/{n}?q=1"))).header("x-mine", "kept").send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "primary");
    }
    wait::until("the copies", SOON, async || shadow[0].seen().len() == 20).await.unwrap();

    for (n, copy) in shadow[0].seen().iter().enumerate() {
        assert_eq!((copy.header("causeway-mirror"), copy.header("x-mine")), (vec!["1"], vec!["kept"]));
        assert_eq!(copy.header("host"), [format!("127.0.0.1:{}", arena.port("shadow", 0))]);
        assert!(shadow[0].seen().iter().any(|copy| copy.line() == format!("GET /primary/{n}?q=1 HTTP/1.1")));
    }
    assert!(primary[0].seen().iter().all(|seen| seen.header("causeway-mirror").is_empty()));
    assert!(shadow[0].connections() < 20, "connections of copies are kept");
    wait::until("the count", SOON, async || arena.metric("causeway_mirror_total{result=\"sent\"}").await >= 20).await.unwrap();
}

/// Copies pile up behind a service that never answers: they are dropped, and the real exchange does not notice.
#[tokio::test]
async fn mirror_that_hangs_costs_the_request_nothing() {
    let arena = arena().await;
    let _primary = arena.play("steady", |_, _| ok("fine"));
    let hung = arena.play("hung", |_, _| vec![Act::Hang]);
    let http = arena.http();

    let began = Instant::now();
    for _ in 0..400 {
        assert_eq!(http.get(arena.url("/steady/x")).send().await.unwrap().status(), 200);
    }

    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(hung[0].seen().len() <= 32, "no more than that many are under way: {}", hung[0].seen().len());
    // 400 copies on one core: 32 under way, one in hand, 256 waiting.
    assert_eq!(arena.metric("causeway_mirror_total{result=\"dropped\"}").await, 400 - 32 - 1 - 256);
    drop(http.post(arena.url("/steady/x")).body(reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("x")]))).send().await);
    assert!(arena.metric("causeway_mirror_total{result=\"streamed\"}").await >= 1);
}
