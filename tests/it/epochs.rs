//! The control database is promoted or restored under nodes that serve: they take what it has now, and mistake nothing for it.

use std::time::Duration;

use harness::dev::{Dev, RegionReady};
use harness::process::Process;
use harness::sql::Sql;
use harness::wait;
use rustix::process::Signal;

use crate::calls::{Calls, Issued};

const WITHIN: Duration = Duration::from_secs(20);

struct Place {
    dev: Dev,
    calls: Calls,
    primary: Sql,
}

impl Place {
    async fn start() -> Self {
        let dev = Dev::start().await.unwrap();
        let calls = Calls::of(dev.ready()).unwrap();
        let primary = Sql::open(dev.writer().unwrap().postgres_port, &dev.reader().unwrap().postgres_data_dir).unwrap();
        Self { dev, calls, primary }
    }

    async fn status(&self, region: &RegionReady, key: &Issued) -> u16 {
        self.calls.get(region, "/demo/v1/social/echo", &key.secret).await.map_or(0, |answer| answer.status)
    }

    async fn everywhere(&self, key: &Issued, expected: u16) {
        for region in &self.dev.ready().regions {
            let known = wait::until("what is known of a key", WITHIN, async || self.status(region, key).await == expected).await;
            assert!(known.is_ok(), "{} {expected} {}", region.name, key.id);
        }
    }

    /// A member of each region's account of its node.
    async fn facts(&self, member: &str) -> Vec<u64> {
        let mut facts = Vec::new();
        for region in &self.dev.ready().regions {
            facts.push(self.calls.control(region, "/status").await.unwrap().json()["node"][member].as_u64().unwrap());
        }
        facts
    }

    async fn epoch_of(&self, server: &Sql) -> String {
        server.ask("causeway", "select max(epoch) from control_head").await.unwrap().concat()
    }
}

/// T2 and ADR 0030: the old primary lives, answers and is the writer region's own server, and nobody goes by it any more.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_follow_a_promoted_server_and_leave_the_old_primary_that_still_answers() {
    let place = Place::start().await;
    let [kept, ended] = [place.calls.issue("kept").await.unwrap(), place.calls.issue("ended").await.unwrap()];
    place.everywhere(&kept, 200).await;
    place.everywhere(&ended, 200).await;
    // A structure that no node can serve: each keeps the one before, and goes on calling it by its epoch.
    let break_it =
        "update gateway_resource set body = jsonb_set(body, '{upstream}', '\"nowhere\"') where kind = 'route' and name = 'demo-items-write'";
    let next = "; update control_head set rev = rev + 1 where lane = 'structural'";
    let good = "select body from gateway_resource where kind = 'route' and name = 'demo-items-write'";
    let good = place.primary.ask("causeway", good).await.unwrap().concat();
    place.primary.ask("causeway", &format!("{break_it}{next}")).await.unwrap();
    let refused = async |region: &RegionReady| place.calls.readiness(region).await.is_ok_and(|(_, text)| text.contains("does not compile here"));
    for region in &place.dev.ready().regions {
        wait::until("the refused structure", WITHIN, async || refused(region).await).await.unwrap();
    }
    let structures = place.facts("structural_revision").await;

    let promoted = place.primary.on(place.dev.reader().unwrap().postgres_port);
    promoted.ask("postgres", "select pg_promote()").await.unwrap();
    // Until the nodes have seen it, a write may still go to the old one, and is lost with it.
    let began = async || place.calls.issue("after").await.is_ok() && place.epoch_of(&promoted).await == "2";
    wait::until("the first write on the new primary", WITHIN, began).await.unwrap();

    let fresh = place.calls.issue("fresh").await.unwrap();
    place.everywhere(&fresh, 200).await;
    assert_eq!(place.calls.change(&format!("/v1/keys/{}/revoke", ended.id), None).await.unwrap().status / 100, 2);
    place.everywhere(&ended, 401).await;
    place.everywhere(&kept, 200).await;
    assert_eq!(place.facts("epoch").await, [2, 2]);
    assert_eq!(place.facts("structural_epoch").await, [1, 1], "a structure that was kept is not of the new epoch");
    assert_eq!(place.facts("structural_revision").await, structures);
    assert_eq!(place.epoch_of(&place.primary).await, "1", "nothing was written to the old one");
    let parents =
        "select count(*) from control_epoch as new join control_epoch as old on new.parent_id = old.epoch_id where (old.epoch, new.epoch) = (1, 2)";
    assert_eq!(promoted.ask("causeway", parents).await.unwrap(), ["1"]);

    let restore = format!("update gateway_resource set body = '{good}' where kind = 'route' and name = 'demo-items-write'{next}");
    promoted.ask("causeway", &restore).await.unwrap();
    wait::until("the structure of the new epoch", WITHIN, async || place.facts("structural_epoch").await == [2, 2]).await.unwrap();
    place.everywhere(&kept, 200).await;
    place.dev.stop().await.unwrap();
}

/// A database that was restored to an earlier time has given its next revisions to something else already.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_on_with_a_primary_that_lost_revisions_without_taking_its_next_ones_for_them() {
    let place = Place::start().await;
    let [kept, lost] = [place.calls.issue("kept").await.unwrap(), place.calls.issue("lost").await.unwrap()];
    place.everywhere(&kept, 200).await;
    place.everywhere(&lost, 200).await;

    let forget = format!(
        "begin; update control_head set rev = rev - 1 where lane = 'authority'; \
         delete from control_log where lane = 'authority' and rev > (select rev from control_head where lane = 'authority'); \
         delete from api_key where key_id = '{}'; commit",
        lost.id
    );
    place.primary.ask("causeway", &forget).await.unwrap();

    place.everywhere(&lost, 401).await;
    place.everywhere(&kept, 200).await;
    assert_eq!(place.facts("epoch").await, [2, 2]);
    let next = place.calls.issue("next").await.unwrap();
    place.everywhere(&next, 200).await;
    assert_eq!(place.calls.change(&format!("/v1/keys/{}/revoke", kept.id), None).await.unwrap().status / 100, 2);
    place.everywhere(&kept, 401).await;
    place.everywhere(&next, 200).await;
    place.dev.stop().await.unwrap();
}

/// The region's own server is there and says nothing: whoever asks it would wait for seconds, and a key that was revoked meanwhile be served.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_whose_server_stands_still_goes_by_what_the_primary_has() {
    let place = Place::start().await;
    let ended = place.calls.issue("ended").await.unwrap();
    place.everywhere(&ended, 200).await;
    let reader = place.dev.reader().unwrap();
    let first = Process::of(reader.postgres_pid).unwrap();
    let server: Vec<Process> = std::iter::once(first).chain(first.descendants()).collect();

    let all = |signal| {
        for process in &server {
            process.signal(signal);
        }
    };
    all(Signal::STOP);
    let fresh = place.calls.issue("fresh").await.unwrap();
    let shown = wait::until("a key that the primary has", WITHIN, async || place.status(reader, &fresh).await == 200).await;
    assert_eq!(place.calls.change(&format!("/v1/keys/{}/revoke", ended.id), None).await.unwrap().status / 100, 2);
    let refused = wait::until("a revocation that the primary has", WITHIN, async || place.status(reader, &ended).await == 401).await;
    all(Signal::CONT);

    // A second is the promise; five seconds is how long the server is given to answer.
    for took in [shown.unwrap(), refused.unwrap()] {
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    place.dev.stop().await.unwrap();
}
