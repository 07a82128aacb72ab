//! Purges: what a region has stored, or is about to store, is not given after one, and everything else is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use harness::client::Version;
use harness::dev::RegionReady;
use harness::wait;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::program::causeway_at;
use crate::service::{Seen, raw, read_request};
use crate::site::{SOON, Site, site};

mod cut_off;

/// Services that these tests play.
pub(crate) const SERVICES: [&str; 5] = ["purged", "purged-late", "purged-confirmed", "purged-erring", "purged-untold"];
/// From the answer of a purge to its effect.
const WITHIN: Duration = Duration::from_secs(1);

/// The routes to them.
pub(crate) fn routes() -> Vec<Value> {
    let route = |name: &str, path: &str, service: &str, cache: Value| json!({ "name": name, "match": { "host": "127.0.0.1", "path": path }, "upstream": service, "auth": "none", "cache": cache });
    vec![
        route("purge-one", "/purged/one/**", "purged", json!({})),
        route("purge-two", "/purged/two/**", "purged", json!({})),
        route("purge-late", "/purged-late/**", "purged-late", json!({})),
        route("purge-confirmed", "/purged-confirmed/**", "purged-confirmed", json!({})),
        route("purge-erring", "/purged-erring/**", "purged-erring", json!({ "stale_if_error": "1h", "stale_while_revalidate": "1h" })),
        route("purge-untold", "/purged-untold/**", "purged-untold", json!({})),
    ]
}

#[derive(Debug)]
struct Got {
    status: u16,
    text: String,
    cache: String,
    is_tagged: bool,
}

impl Got {
    fn is_hit(&self) -> bool {
        self.cache.starts_with("causeway; hit")
    }
}

async fn get(site: &Site, region: &RegionReady, path: &str) -> Got {
    let answer = site.http(Version::Http1).get(format!("{}{path}", region.data)).send().await.unwrap();
    let cache = answer.headers().get("cache-status").map_or("no cache-status", |value| value.to_str().unwrap()).to_owned();
    let (status, is_tagged) = (answer.status().as_u16(), answer.headers().contains_key("cache-tag"));
    Got { status, is_tagged, cache, text: answer.text().await.unwrap() }
}

/// A request under way.
fn ahead(site: &'static Site, path: &'static str) -> JoinSet<Got> {
    let mut request = JoinSet::new();
    request.spawn(get(site, site.region(), path));
    request
}

async fn answered(mut request: JoinSet<Got>) -> Got {
    request.join_next().await.unwrap().unwrap()
}

async fn purge(site: &Site, body: Value) -> Value {
    let answer = site.control(Method::POST, "/v1/cache/purge", Some(body)).await;
    assert!(answer["revision"]["authority"].as_u64() > Some(0) && answer["committed_at"].is_string(), "{answer}");
    answer
}

/// A tagged response that says how often the service was asked.
fn tagged(tags: &str, text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncache-control: public, max-age=600\r\ncache-tag: {tags}\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

#[tokio::test]
async fn a_purge_reaches_both_regions_and_takes_what_it_names_and_nothing_else() {
    let site = site().await;
    let count = AtomicUsize::new(0);
    let _service = site.service("purged", move |seen| {
        let number = seen.line().split(['/', ' ']).nth(4).unwrap_or_default();
        raw(&tagged(&format!("item:{number}, all"), &format!("answer {}", count.fetch_add(1, Ordering::SeqCst))))
    });
    let paths = ["/purged/one/1", "/purged/one/2", "/purged/two/1"];
    let regions = site.regions();
    let settle = async || {
        let mut texts = Vec::new();
        for region in regions {
            for path in paths {
                let first = get(site, region, path).await;
                let again = get(site, region, path).await;
                assert!(again.is_hit() && again.text == first.text && !first.is_tagged && !again.is_tagged, "{first:?} {again:?}");
                texts.push((region, path, again.text));
            }
        }
        texts
    };

    for (arguments, gone) in [
        (&["--tag", "item:1"][..], &["/purged/one/1", "/purged/two/1"][..]),
        (&["--tag", "item:1", "--route", "purge-two"], &["/purged/two/1"]),
        (&["--tag", "nothing", "--tag", "item:2"], &["/purged/one/2"]),
        (&["--route", "purge-one"], &["/purged/one/1", "/purged/one/2"]),
        (&["--tag", "all", "--tenant", "demo"], &paths),
        (&["--tag", "all", "--tenant", "foreign"], &[]),
        (&["--tag", "item"], &[]),
    ] {
        let before = settle().await;
        let ran = causeway_at(site.ready(), &[&["cache", "purge", "--json"], arguments].concat()).await.expect(0).json();
        let revision = ran["revision"]["authority"].as_u64().unwrap();
        for region in regions {
            // What goes shows that the purge is here; for what stays, the revision does.
            wait::until("the purge", WITHIN, async || site.authority(region).await >= revision).await.unwrap();
        }
        for (region, path, text) in before {
            let after = get(site, region, path).await;
            assert_eq!(
                (after.text != text, !after.is_hit()),
                (gone.contains(&path), gone.contains(&path)),
                "{arguments:?} {} {path} {after:?}",
                region.name
            );
        }
    }

    let records = site.records("action=cache.purge", 7).await;
    assert!(records.iter().any(|record| record["object"].as_str().is_some_and(|text| text.ends_with(" route=purge-two tag=item:1"))), "{records:?}");
    for region in regions {
        let counted = async |name: &str| {
            let text = site.metrics(region).await;
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            line.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        assert!(counted("causeway_cache_purges_total").await >= 7.0);
        wait::until("what is dropped, nine for the five purges that find something,", SOON, async || {
            counted("causeway_cache_purged_total").await >= 9.0
        })
        .await
        .unwrap();
    }
}

/// A service that answers the n-th request by `answer`, and those that ask for `/held` only once it is told.
fn held(
    site: &Site,
    name: &str,
    answer: impl Fn(&Seen, usize) -> String + Send + Sync + 'static,
) -> (watch::Sender<bool>, Arc<AtomicUsize>, JoinSet<()>) {
    let (go, told) = watch::channel(false);
    let (listener, asked, answer) = (site.listener(name), Arc::<AtomicUsize>::default(), Arc::new(answer));
    let count = Arc::clone(&asked);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut told, count, answer) = (told.clone(), Arc::clone(&count), Arc::clone(&answer));
            served.spawn(async move {
                let mut left = Vec::new();
                while let Ok(seen) = read_request(&mut stream, &mut left, 0).await {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    let text = answer(&seen, number);
                    if seen.line().contains("/held") {
                        drop(told.wait_for(|go| *go).await);
                    }
                    if stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (go, asked, task)
}

/// The race that a purge must win: the service was asked before it, and answers after it.
#[tokio::test]
async fn a_response_that_was_on_its_way_when_the_purge_came_is_not_kept_and_not_shared() {
    let site = site().await;
    let (go, asked, _task) = held(site, "purged-late", |_, number| tagged("late", &format!("answer {number}")));
    let region = site.region();
    let request = async || get(site, region, "/purged-late/held").await;
    let leader = ahead(site, "/purged-late/held");
    wait::until("the request at the service", SOON, async || asked.load(Ordering::SeqCst) == 1).await.unwrap();

    let revision = purge(site, json!({ "tags": ["late"] })).await["revision"]["authority"].as_u64().unwrap();
    wait::until("the purge", WITHIN, async || site.authority(region).await >= revision).await.unwrap();
    let after = ahead(site, "/purged-late/held");
    go.send(true).unwrap();

    let first = answered(leader).await;
    assert_eq!((first.text.as_str(), first.cache.ends_with("detail=purged")), ("answer 0", true), "{first:?}");
    assert_eq!(answered(after).await.text, "answer 1", "who asked after the purge waits for no answer from before it");
    let kept = request().await;
    assert!(kept.text == "answer 1" && kept.is_hit(), "{kept:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// A 304 that was asked for before the purge confirms nothing after it.
#[tokio::test]
async fn a_confirmation_that_was_on_its_way_when_the_purge_came_confirms_nothing() {
    let site = site().await;
    let (go, asked, _task) = held(site, "purged-confirmed", |seen, number| {
        let fields = "cache-control: no-cache\r\netag: \"v\"\r\n";
        if seen.header("if-none-match").is_empty() {
            let text = format!("answer {number}");
            format!("HTTP/1.1 200 OK\r\n{fields}cache-tag: confirmed\r\ncontent-length: {}\r\n\r\n{text}", text.len())
        } else {
            // Without its tags: those of the stored response hold.
            format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")
        }
    });
    let region = site.region();
    go.send(true).unwrap();
    assert_eq!(get(site, region, "/purged-confirmed/held").await.text, "answer 0");
    assert_eq!(get(site, region, "/purged-confirmed/held").await.text, "answer 0");
    go.send(false).unwrap();
    let confirmed = ahead(site, "/purged-confirmed/held");
    wait::until("the question", SOON, async || asked.load(Ordering::SeqCst) == 3).await.unwrap();

    let revision = purge(site, json!({ "tags": ["confirmed"] })).await["revision"]["authority"].as_u64().unwrap();
    wait::until("the purge", WITHIN, async || site.authority(region).await >= revision).await.unwrap();
    go.send(true).unwrap();

    assert_eq!(answered(confirmed).await.text, "answer 0", "its question was older than the purge");
    assert_eq!(get(site, region, "/purged-confirmed/held").await.text, "answer 3", "there was nothing left to be confirmed");
}

#[tokio::test]
async fn what_is_purged_stands_in_for_nothing_though_it_might_be_given_stale() {
    let site = site().await;
    let broken = Arc::<AtomicBool>::default();
    let fails = Arc::clone(&broken);
    let _service = site.service("purged-erring", move |_| {
        if fails.load(Ordering::SeqCst) {
            return raw("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ndown");
        }
        raw("HTTP/1.1 200 OK\r\ncache-control: max-age=10\r\nage: 20\r\ncache-tag: erring\r\ncontent-length: 4\r\n\r\ngood")
    });
    let region = site.region();
    assert_eq!(get(site, region, "/purged-erring/a").await.text, "good");
    broken.store(true, Ordering::SeqCst);
    let stale = get(site, region, "/purged-erring/a").await;
    assert!(stale.text == "good" && stale.cache.contains("detail=stale"), "{stale:?}");

    purge(site, json!({ "tags": ["erring"] })).await;

    wait::until("the failure", WITHIN, async || get(site, region, "/purged-erring/a").await.status == 503).await.unwrap();
}

#[tokio::test]
async fn a_response_whose_tags_cannot_be_read_is_given_and_not_kept() {
    let site = site().await;
    let long = "x".repeat(129);
    let many = (0..65).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
    let service = site.service("purged-untold", move |seen| {
        let tags = match seen.line().split(['/', ' ']).nth(3).unwrap_or_default() {
            "long" => &long,
            "many" => &many,
            "spaced" => "a b",
            "bytes" => "\u{e4}",
            "twice" => "a,a , a\r\ncache-tag: a",
            _ => "",
        };
        raw(&tagged(tags, "body"))
    });
    let region = site.region();

    for (path, is_kept) in [("long", false), ("many", false), ("spaced", false), ("bytes", false), ("twice", true), ("none", true)] {
        let path = format!("/purged-untold/{path}");
        let first = get(site, region, &path).await;
        let again = get(site, region, &path).await;
        assert_eq!((first.status, first.text.as_str(), first.is_tagged, again.is_tagged), (200, "body", false, false), "{path}");
        assert_eq!(again.is_hit(), is_kept, "{path}: {again:?}");
    }
    assert_eq!(service.seen().len(), 10);
}

#[tokio::test]
async fn a_purge_of_an_unknown_tenant_or_route_is_refused_with_its_name() {
    let site = site().await;

    for (body, pointer) in [(json!({ "tags": ["a"], "route": "nowhere" }), "/route"), (json!({ "tenant": "nobody" }), "/tenant")] {
        let problem = site.control(Method::POST, "/v1/cache/purge", Some(body)).await;
        assert_eq!((problem["code"].as_str(), problem["errors"][0]["pointer"].as_str()), (Some("request-invalid"), Some(pointer)), "{problem}");
    }
    let ran = causeway_at(site.ready(), &["cache", "purge", "--route", "nowhere"]).await.expect(1);
    assert!(ran.stderr.contains("is not the name of a route"), "{ran:?}");
}
