//! Purges that a region cannot hear of, or cannot ask for.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::client::Version;
use harness::dev::RegionReady;
use harness::node::Topology;
use harness::wait;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{WITHIN, tagged};
use crate::calls::Calls;
use crate::service::{Service, raw};
use crate::site::{SOON, apply, upstream};

/// A purge as no version writes it.
const UNREADABLE: &str = "begin; update control_head set rev = rev + 1 where lane = 'authority'; \
    insert into control_log (rev, lane, epoch, ordinal, n_rows, kind, entity, op, body, actor) \
    select rev, 'authority', epoch, 1, 1, 'cache_purge', 'tag=a b', 'remove', '{\"kind\": \"cache_purge\", \"tags\": [\"a b\"]}', 'test' \
    from control_head where lane = 'authority'; commit;";

fn document(port: u16) -> Value {
    let route = |on_stale: &str| {
        json!({
            "name": on_stale, "match": { "host": "127.0.0.1", "path": format!("/{on_stale}/**") }, "upstream": "cut", "auth": "none", "cache": { "shared": true },
            "consistency": { "keys": { "max_staleness": "2s", "on_stale": on_stale } },
        })
    };
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "upstreams": [upstream("cut", port)],
        "routes": [route("deny"), route("allow")],
    })
}

/// With replay paused on its standby and the line to the primary cut, a region cannot know of a purge. Then its routes' policy
/// says what is given; and once it can know, it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_cut_off_gives_what_its_routes_allow_and_misses_no_purge() {
    let topology = Topology::start().await.unwrap();
    let (dev, calls) = (topology.dev(), Calls::of(topology.dev().ready()).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = AtomicUsize::new(0);
    let _service = Service::start(listener, move |_| raw(&tagged("cut", &format!("answer {}", count.fetch_add(1, Ordering::SeqCst)))));
    apply(dev, &document(port), &dev.ready().ca.with_file_name("purge.json"));
    let (writer, reader) = (topology.writer.region(), topology.reader.region());
    let get = async |region: &RegionReady, path: &str| {
        let answer = calls.get(region, path, "").await.unwrap();
        let is_hit = answer.header("cache-status").is_some_and(|text| text.starts_with("causeway; hit"));
        (answer.status, answer.body, is_hit)
    };
    let mut stored = Vec::new();
    for (region, path) in [(writer, "/deny/a"), (writer, "/allow/a"), (reader, "/deny/a"), (reader, "/allow/a")] {
        wait::until("a stored response", SOON, async || get(region, path).await.2).await.unwrap();
        stored.push((path, get(region, path).await.1));
    }
    let standby = topology.standby();
    standby.ask("postgres", "select pg_wal_replay_pause()").await.unwrap();
    let paused = async || standby.ask("postgres", "select pg_get_wal_replay_pause_state()").await.is_ok_and(|rows| rows == ["paused"]);
    wait::until("a paused standby", SOON, paused).await.unwrap();
    topology.to_primary.partition();
    let old = &stored[3].1;

    let body = json!({ "tags": ["cut"] });
    // The answer of the reader's control listener; none while it still waits for a primary that it took for reachable.
    let asked = async || {
        let request = dev.client(Version::Http1).unwrap().post(format!("{}/v1/cache/purge", reader.control)).timeout(Duration::from_secs(2));
        let answer = request.bearer_auth(&dev.ready().operator_token).json(&body).send().await.ok()?;
        let (status, has_delay) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        Some((status, has_delay, answer.json::<Value>().await.ok()?["code"].as_str().map(str::to_owned)))
    };
    let (refusal, _) = wait::some("a refusal: the primary is out of reach", SOON, asked).await.unwrap();
    assert_eq!(refusal, (503, true, Some("database-unavailable".to_owned())));
    let purged = calls.change("/v1/cache/purge", Some(&body)).await.unwrap();
    assert_eq!(purged.status, 200, "{}", purged.body);

    for (path, old) in &stored[..2] {
        wait::until("the writer's purge", WITHIN, async || get(writer, path).await.1 != *old).await.unwrap();
    }
    // Neither the response nor the last word of the primary is younger than two seconds then.
    wait::until("no more old responses where the route forbids them", SOON, async || !get(reader, "/deny/a").await.2).await.unwrap();
    wait::until("a young response, which is given all the same", SOON, async || get(reader, "/deny/a").await.2).await.unwrap();
    assert_eq!(get(reader, "/allow/a").await, (200, old.clone(), true), "it cannot know, and its route takes that");

    standby.ask("postgres", "select pg_wal_replay_resume()").await.unwrap();
    wait::until("the purge through the standby", WITHIN, async || get(reader, "/allow/a").await.1 != *old).await.unwrap();
    topology.to_primary.heal();
    wait::until("a purge through the reader's region", SOON, async || asked().await.is_some_and(|answer| answer.0 == 200)).await.unwrap();

    // What a node cannot read, or has not got, might have named anything.
    for (what, statement) in
        [("unreadable purge", UNREADABLE), ("revision without its rows", "update control_head set rev = rev + 1 where lane = 'authority'")]
    {
        let mut before = Vec::new();
        for region in [writer, reader] {
            wait::until("a stored response", SOON, async || get(region, "/allow/a").await.2).await.unwrap();
            before.push(get(region, "/allow/a").await.1);
        }
        topology.primary().ask("causeway", statement).await.unwrap();
        for (region, old) in [writer, reader].into_iter().zip(before) {
            wait::until(what, WITHIN, async || get(region, "/allow/a").await.1 != old).await.unwrap();
        }
    }
    topology.stop().await.unwrap();
}
