//! What a node believes of the primary, and what a receipt says about nodes.

use std::time::Duration;

use harness::node::Topology;
use harness::wait;

use crate::calls::Calls;
use crate::program::causeway_at;

const WITHIN: Duration = Duration::from_secs(20);
const DENY: &str = "/demo/v1/finance/echo";
const ALLOW: &str = "/demo/v1/social/echo";

/// R3 where a server was replaced and does not know it: it answers every read as before, and can commit nothing, because its standby is
/// another one's by now. Models: `unconfirmed-probe`.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_answers_and_cannot_commit_renews_no_lease() {
    let topology = Topology::start().await.unwrap();
    let calls = Calls::of(topology.dev().ready()).unwrap();
    let writer = topology.writer.region().clone();
    let database = topology.primary();
    let status = async |route: &str| calls.get(&writer, route, calls.first_key()).await.map_or(0, |answer| answer.status);
    wait::until("confirmed keys", WITHIN, async || status(DENY).await == 200).await.unwrap();
    database.ask("postgres", "alter system set synchronous_standby_names = '*'").await.unwrap();
    database.ask("postgres", "select pg_reload_conf()").await.unwrap();
    let follows = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    wait::until("a standby that is waited for", WITHIN, async || database.ask("postgres", follows).await.is_ok_and(|rows| rows == ["1"]))
        .await
        .unwrap();
    wait::until("confirmed keys", WITHIN, async || status(DENY).await == 200).await.unwrap();
    let is_told = async || calls.control(&writer, "/readyz?verbose").await.is_ok_and(|answer| answer.body.contains("commits wait for *"));
    wait::until("the node to say what commits wait for", WITHIN, is_told).await.unwrap();

    topology.replication.partition();
    wait::until("the end of what may be trusted", WITHIN, async || {
        let answer = calls.get(&writer, DENY, calls.first_key()).await;
        answer.is_ok_and(|answer| answer.status == 503 && answer.code() == "authority-stale")
    })
    .await
    .unwrap();
    assert_eq!(database.ask("causeway", "select count(*) from control_heartbeat").await.unwrap(), ["1"], "it answers");
    assert_eq!(status(ALLOW).await, 200);

    topology.replication.heal();
    wait::until("confirmed keys", WITHIN, async || status(DENY).await == 200).await.unwrap();
    database.ask("postgres", "alter system reset synchronous_standby_names").await.unwrap();
    database.ask("postgres", "select pg_reload_conf()").await.unwrap();
    topology.stop().await.unwrap();
}

/// By the command line, as operators ask for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_is_waited_for_names_every_node_that_goes_by_it() {
    let topology = Topology::start().await.unwrap();
    let ready = topology.dev().ready();
    let calls = Calls::of(ready).unwrap();
    let regions = [topology.writer.region().clone(), topology.reader.region().clone()];
    let key = calls.issue("ended").await.unwrap();
    let status = async |region| calls.get(region, ALLOW, &key.secret).await.map_or(0, |answer| answer.status);
    for region in &regions {
        wait::until("the key", WITHIN, async || status(region).await == 200).await.unwrap();
    }
    let before = causeway_at(ready, &["keys", "propagation", &key.id, "--wait", "--timeout", "20s", "--json"]).await.expect(0).json();
    assert_eq!(before["receipt"]["is_effective"], true, "{before}");

    let receipt = causeway_at(ready, &["keys", "revoke", &key.id, "--wait", "--timeout", "20s", "--json"]).await.expect(0).json()["receipt"].clone();
    for region in &regions {
        assert_eq!(status(region).await, 401, "{}", region.name);
    }
    let nodes = receipt["nodes"].as_array().unwrap();
    let told: Vec<_> = nodes.iter().map(|node| (node["name"].as_str().unwrap(), node["state"].as_str().unwrap())).collect();
    assert_eq!(told, [("eu-west-1", "acknowledged"), ("us-east-1", "acknowledged")], "{receipt}");
    assert_eq!((&receipt["is_effective"], receipt["allow_routes"].as_str()), (&true.into(), Some("acknowledged")));
    let table = causeway_at(ready, &["keys", "propagation", &key.id]).await.expect(0);
    assert!(table.stdout.contains("effective since") && table.stdout.contains("us-east-1"), "{}", table.stdout);
    let again = calls.change(&format!("/v1/keys/{}/revoke?wait=effective&timeout=20", key.id), None).await.unwrap();
    assert_eq!((again.status, &again.json()["receipt"]["is_effective"]), (200, &true.into()), "{}", again.body);
    assert!(again.json()["receipt"]["elapsed_ms"].is_null(), "this call has changed nothing");

    let nodes = causeway_at(ready, &["nodes", "list"]).await.expect(0);
    assert!(nodes.stdout.contains("eu-west-1") && nodes.stdout.contains("ACKNOWLEDGED"), "{}", nodes.stdout);
    let refused = causeway_at(ready, &["nodes", "remove", "eu-west-1"]).await.expect(1);
    assert!(refused.stderr.contains("may still go by what it knew"), "{}", refused.stderr);
    causeway_at(ready, &["nodes", "remove", "nobody"]).await.expect(1);
    topology.stop().await.unwrap();
}
