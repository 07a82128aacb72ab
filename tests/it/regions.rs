//! The testbed of several regions is what it says: far, whole, and cut off where it is cut.

use std::time::Duration;

use harness::client::{self, Version};
use harness::regions::{Distance, Plan, Quorum, Regions};
use harness::wait;

const WITHIN: Duration = Duration::from_secs(30);

/// Without this what is shown on it shows nothing.
#[tokio::test(flavor = "multi_thread")]
async fn three_regions_are_far_from_each_other_and_the_one_that_is_cut_off_hears_of_nothing() {
    let plan = Plan { regions: 3, quorum: Quorum::InRegion, distance: Distance::CONTINENTS };
    let regions = Regions::start(plan).await.unwrap();
    let names: Vec<&str> = regions.members().iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["eu-west-1", "eu-west-2", "us-east-1", "us-east-2", "ap-south-1", "ap-south-2"]);

    let client = client::http(&regions.dev().ready().ca, Version::Http1).unwrap();
    let status = async |member: usize, route: &str| {
        let url = format!("{}/demo/v1/{route}/echo", regions.members()[member].node.region().data);
        let request = client.get(url).header("x-api-key", &regions.dev().ready().api_key);
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    };
    let standbys = "select application_name || ' ' || sync_state from pg_stat_replication order by 1";
    assert_eq!(regions.primary().ask("postgres", standbys).await.unwrap(), ["ap_south async", "eu_west_2 quorum", "us_east async"]);
    let far = "select min(replay_lag) > interval '150 ms' from pg_stat_replication where sync_state = 'async'";
    wait::until("a lag as long as the line", WITHIN, async || regions.primary().ask("postgres", far).await.is_ok_and(|rows| rows == ["t"]))
        .await
        .unwrap();

    reads_its_own_standby(&regions, 2).await;

    regions.cut_off(2);
    for member in [4, 5] {
        wait::until("the end of what a cut-off node may trust", WITHIN, async || status(member, "finance").await == 503).await.unwrap();
        assert_eq!(status(member, "social").await, 200);
    }
    // A machine that is busy may be late with a confirmation; who is cut off never gets one.
    for member in [0, 1, 2, 3] {
        let served = wait::until("a region that is not cut off", WITHIN, async || status(member, "finance").await == 200).await;
        assert!(served.is_ok(), "{}", names[member]);
    }
    assert_eq!([status(4, "finance").await, status(5, "finance").await], [503, 503]);
    regions.rejoin(2);
    regions.wait_serving().await.unwrap();
    regions.stop().await.unwrap();
}

/// A region that `causeway dev` does not know has a service of its own, which shows what the region's standby has and nothing else.
async fn reads_its_own_standby(regions: &Regions, region: usize) {
    let client = client::http(&regions.dev().ready().ca, Version::Http1).unwrap();
    let member = |region: usize| regions.members().iter().find(|member| member.region == region).unwrap().node.region();
    let write = async || {
        let request = client.post(format!("{}/demo/v1/items", member(region).data)).json(&serde_json::json!({ "name": "far", "quantity": 1 }));
        let answer = request.header("x-api-key", &regions.dev().ready().api_key).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let item: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        item["id"].as_i64().unwrap()
    };
    let read = async |at: usize, item: i64| {
        let request = client.get(format!("{}/demo/v1/eventual/items/{item}", member(at).data));
        let answer = request.header("x-api-key", &regions.dev().ready().api_key).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("causeway-region").unwrap().to_str().unwrap().to_owned())
    };
    let own = regions.names()[region];

    regions.hold_replication(region);
    let item = write().await;
    assert_eq!(read(0, item).await, (200, "eu-west".to_owned()));
    wait::until("the other regions", WITHIN, async || read(1, item).await.0 == 200).await.unwrap();
    assert_eq!(read(region, item).await, (404, own.to_owned()));
    let has = "select pg_is_in_recovery(), count(*) from item";
    assert_eq!(regions.server(region).unwrap().ask("demo", has).await.unwrap(), ["t|0"]);

    regions.release_replication(region);
    wait::until("what was held", WITHIN, async || read(region, item).await == (200, own.to_owned())).await.unwrap();
}
