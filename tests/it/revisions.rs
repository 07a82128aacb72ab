//! Revisions on their way to the nodes: none is lost, none goes back, and no content of a row ends a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::dev::{Dev, RegionReady};
use harness::node::{Node, Topology, Under};
use harness::process::Process;
use harness::sql::Sql;
use harness::wait;

use crate::calls::{Calls, Issued};
use crate::program::causeway_at;

const WITHIN: Duration = Duration::from_secs(20);

fn superuser(dev: &Dev) -> Sql {
    Sql::open(dev.writer().unwrap().postgres_port, &dev.reader().unwrap().postgres_data_dir).unwrap()
}

/// A member of `/status`'s account of the node.
async fn fact(calls: &Calls, region: &RegionReady, member: &str) -> u64 {
    let status = calls.control(region, "/status").await.unwrap().json();
    status["node"][member].as_u64().unwrap_or_else(|| panic!("{member}: {status}"))
}

async fn works(calls: &Calls, region: &RegionReady, key: &str) -> bool {
    calls.get(region, "/demo/v1/social/echo", key).await.is_ok_and(|answer| answer.status == 200)
}

async fn works_everywhere(calls: &Calls, dev: &Dev, key: &Issued) {
    for region in &dev.ready().regions {
        wait::until("the key in force", WITHIN, async || works(calls, region, &key.secret).await).await.unwrap();
    }
}

fn all_alive(dev: &Dev) -> bool {
    dev.ready().regions.iter().all(|region| Process::of(region.node_pid).is_ok_and(Process::is_alive))
}

/// A revision of the authority lane as a control transaction writes it, with rows of the test's choice.
fn authority_revision(rows: &[(&str, &str)]) -> String {
    let n = rows.len();
    let mut statements = "begin; update control_head set rev = rev + 1 where lane = 'authority';".to_owned();
    for (ordinal, (entity, body)) in rows.iter().enumerate() {
        let insert = format!(
            "insert into control_log (rev, lane, epoch, ordinal, n_rows, kind, entity, op, body, actor) \
             select rev, 'authority', epoch, {}, {n}, 'key', '{entity}', 'put', {body}, 'test' from control_head where lane = 'authority';",
            ordinal + 1
        );
        statements.push_str(&insert);
    }
    statements + "commit;"
}

/// R5, T13: what cannot be read takes away its own key and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn bad_authority_row_is_skipped_and_counted_and_every_other_key_goes_on() {
    let dev = Dev::start().await.unwrap();
    let calls = Calls::of(dev.ready()).unwrap();
    let sql = superuser(&dev);
    let (victim, before) = (calls.issue("victim").await.unwrap(), calls.issue("before").await.unwrap());
    works_everywhere(&calls, &dev, &victim).await;
    works_everywhere(&calls, &dev, &before).await;

    let deep = format!("('{}' || '1' || '{}')::jsonb", "[".repeat(500), "]".repeat(500));
    let rows: Vec<(&str, String)> = vec![
        (&victim.id, "'{\"kind\": \"key_put\", \"digest\": 7}'".to_owned()),
        ("no key id '' at all", "'{\"change\": \"of another version\"}'".to_owned()),
        ("AAAAAAAAAAAA", "null".to_owned()),
        ("BBBBBBBBBBBB", "'[]'".to_owned()),
        ("CCCCCCCCCCCC", deep),
    ];
    let rows: Vec<(&str, &str)> = rows.iter().map(|(entity, body)| (*entity, body.as_str())).collect();
    sql.ask("causeway", &authority_revision(&rows)).await.unwrap();
    let after = calls.issue("after").await.unwrap();

    works_everywhere(&calls, &dev, &after).await;
    for region in &dev.ready().regions {
        assert!(works(&calls, region, &before.secret).await, "{}", region.name);
        assert_eq!(calls.get(region, "/demo/v1/social/echo", &victim.secret).await.unwrap().code(), "credentials-invalid", "{}", region.name);
        let (status, text) = calls.readiness(region).await.unwrap();
        assert!(status == 200 && text.contains("5 rows could not be read"), "{text}");
        assert_eq!(fact(&calls, region, "quarantined").await, 5);
        let metrics = calls.control(region, "/metrics").await.unwrap().body;
        assert!(
            metrics.lines().any(|line| line.starts_with("causeway_rows_quarantined") && line.trim_end_matches(".0").ends_with(" 5")),
            "{}",
            region.name
        );
    }
    assert!(all_alive(&dev));

    // A revision without its rows: the count does not match, and the node loads everything instead.
    sql.ask("causeway", "update control_head set rev = rev + 1 where lane = 'authority'").await.unwrap();
    let last = calls.issue("last").await.unwrap();
    works_everywhere(&calls, &dev, &last).await;
    works_everywhere(&calls, &dev, &before).await;
    assert!(all_alive(&dev));
    dev.stop().await.unwrap();
}

/// R4: a structure that a node cannot read whole takes no partial effect. A route that is left out would hand its requests to a
/// wider one, which may ask for less.
#[tokio::test(flavor = "multi_thread")]
async fn corrupted_structure_leaves_the_last_good_one_and_the_authority_lane_goes_on() {
    let dev = Dev::start().await.unwrap();
    let calls = Calls::of(dev.ready()).unwrap();
    let sql = superuser(&dev);
    let reader = calls.change("/v1/keys", Some(&serde_json::json!({ "name": "reader", "scopes": ["items:read"] }))).await.unwrap();
    let reader: Issued = serde_json::from_str(&reader.body).unwrap();
    works_everywhere(&calls, &dev, &reader).await;
    let post = async |region: &RegionReady| {
        let client = dev.client(harness::client::Version::Http1).unwrap();
        let body = serde_json::json!({ "name": "x", "quantity": 1 });
        let request = client.post(format!("{}/demo/v1/items", region.data)).header("x-api-key", &reader.secret).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let next = "; update control_head set rev = rev + 1 where lane = 'structural'";
    // The scope check stands in the narrow route alone.
    let unreadable = "update gateway_resource set body = '{\"name\": 7}' where kind = 'route' and name = 'demo-items-write'";
    let foreign =
        "update gateway_resource set body = jsonb_set(body, '{upstream}', '\"nowhere\"') where kind = 'route' and name = 'demo-items-write'";
    let unknown = "update gateway_resource set body = body || '{\"from_the_future\": true}' where kind = 'route' and name = 'demo-items-write'";
    let good = sql.ask("causeway", "select body from gateway_resource where kind = 'route' and name = 'demo-items-write'").await.unwrap().concat();
    let restore = format!("update gateway_resource set body = '{good}' where kind = 'route' and name = 'demo-items-write'");
    for region in &dev.ready().regions {
        assert_eq!(post(region).await, 403, "{}: the scope is missing", region.name);
    }

    // Deeper than any reader goes: it must not cost the whole statement, and with it the other lane.
    let deep = format!(
        "update gateway_resource set body = ('{}1{}')::jsonb where kind = 'route' and name = 'demo-items-write'",
        "[".repeat(500),
        "]".repeat(500)
    );
    let corruptions = [(unreadable, "demo-items-write"), (&deep, "invalid type: sequence"), (foreign, "nowhere"), (unknown, "from_the_future")];
    for (corruption, word) in corruptions {
        sql.ask("causeway", &format!("{restore}; {corruption}{next}")).await.unwrap();
        for region in &dev.ready().regions {
            let named = wait::until("the refused revision in /readyz", WITHIN, async || {
                calls
                    .readiness(region)
                    .await
                    .is_ok_and(|(status, text)| status == 200 && text.contains("does not compile here") && text.contains(word))
            })
            .await;
            assert!(named.is_ok(), "{word}: {:?}", calls.readiness(region).await);
            assert_eq!(post(region).await, 403, "{word}: the last good structure stays in {}", region.name);
        }
        let key = calls.issue(word).await.unwrap();
        works_everywhere(&calls, &dev, &key).await;
        assert_eq!(calls.change(&format!("/v1/keys/{}/revoke", key.id), None).await.unwrap().status / 100, 2);
        for region in &dev.ready().regions {
            wait::until("the revocation", WITHIN, async || !works(&calls, region, &key.secret).await).await.unwrap();
        }
    }

    // A node that starts now has its sealed structure, or none at all; never a part of the new one.
    let region = dev.reader().unwrap().clone();
    let state = region.node_config.parent().unwrap().join("state");
    let mut node = Node::adopt(&dev, &region).unwrap();
    node.stop().await.unwrap();
    node.start(Under::Bare).await.unwrap();
    node.wait_ready(WITHIN).await.unwrap();
    assert_eq!(post(&region).await, 403, "from the sealed snapshot");
    node.stop().await.unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    node.start(Under::Bare).await.unwrap();
    wait::until("the sentence about it", WITHIN, async || {
        calls.readiness(&region).await.is_ok_and(|(status, text)| status == 503 && text.contains("from_the_future"))
    })
    .await
    .unwrap();
    assert_eq!(calls.get(&region, "/demo/v1/social/echo", calls.first_key()).await.unwrap().status / 100, 4, "no structure, no route");

    sql.ask("causeway", &format!("{restore}{next}")).await.unwrap();
    node.wait_ready(WITHIN).await.unwrap();
    for region in &dev.ready().regions {
        wait::until("the good structure again", WITHIN, async || {
            calls.readiness(region).await.is_ok_and(|(_, text)| text.contains("the newest structure compiles here"))
        })
        .await
        .unwrap();
        assert_eq!(post(region).await, 403, "{}", region.name);
    }
    node.stop().await.unwrap();
    drop(node);
    dev.stop().await.unwrap();
}

/// Commit order is revision order, and a reader that sees the head has every change up to it.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_keys_in_a_row_are_known_everywhere() {
    let dev = Dev::start().await.unwrap();
    let calls = Calls::of(dev.ready()).unwrap();
    let mut keys = Vec::new();
    for n in 0..200 {
        keys.push(calls.issue(&format!("row-{n}")).await.unwrap());
    }
    let revision = fact(&calls, dev.writer().unwrap(), "authority_revision").await;

    for region in &dev.ready().regions {
        let what = format!("revision {revision} in {}", region.name);
        wait::until(&what, WITHIN, async || fact(&calls, region, "authority_revision").await >= revision).await.unwrap();
        works_everywhere(&calls, &dev, keys.last().unwrap()).await;
        for key in &keys {
            assert!(works(&calls, region, &key.secret).await, "{} of {}", key.id, region.name);
        }
    }
    dev.stop().await.unwrap();
}

/// A new structure takes over between two requests, on the connections that are open, and what was counted stays counted.
#[tokio::test(flavor = "multi_thread")]
async fn apply_under_load_drops_no_request_and_refills_no_limit() {
    let dev = Dev::start().await.unwrap();
    let calls = Calls::of(dev.ready()).unwrap();
    let region = dev.writer().unwrap().clone();
    let present = dev.ready().ca.parent().unwrap().with_file_name("gateway.yaml");
    let text = std::fs::read_to_string(&present).unwrap();
    let limited = async || calls.get(&region, "/demo/v1/limited", calls.first_key()).await.unwrap();
    for n in 0..5 {
        assert_eq!(limited().await.status, 200, "{n}");
    }
    assert_eq!(limited().await.status, 429);
    let ended = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (calls, region, ended) = (Calls::of(dev.ready()).unwrap(), region.clone(), Arc::clone(&ended));
        clients.spawn(async move {
            let (mut served, mut lost) = (0_u32, Vec::new());
            while !ended.load(Ordering::Relaxed) {
                match calls.get(&region, "/demo/v1/social/echo", calls.first_key()).await {
                    Ok(answer) if answer.status == 200 => served += 1,
                    other => lost.push(format!("{other:?}")),
                }
            }
            (served, lost)
        });
    }
    let before = fact(&calls, &region, "structural_revision").await;

    let mut statuses = Vec::new();
    for n in 0..10 {
        let file = present.with_file_name("changing.yaml");
        std::fs::write(&file, text.replace("burst: 400", &format!("burst: {}", 401 + n))).unwrap();
        causeway_at(dev.ready(), &["apply", "-f", file.to_str().unwrap()]).await.expect(0);
        wait::until("the new structure", WITHIN, async || fact(&calls, &region, "structural_revision").await > before + n).await.unwrap();
        statuses.push(limited().await.status);
    }
    ended.store(true, Ordering::Relaxed);
    let told = clients.join_all().await;

    let (served, lost): (u32, Vec<String>) = told.into_iter().fold((0, Vec::new()), |(sum, mut all), (served, lost)| {
        all.extend(lost);
        (sum + served, all)
    });
    assert!(lost.is_empty(), "{} requests were lost beside {served}: {:?}", lost.len(), lost.first());
    assert!(served > 100, "{served} requests are no load");
    // One a 12 s comes back by itself; ten applies take less than a minute.
    let let_in = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)) && let_in <= 4, "{statuses:?}");
    assert_eq!(statuses.first(), Some(&429));
    dev.stop().await.unwrap();
}

/// R1 over a restart: a replica that lags shows an older head than the node had applied before.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_node_does_not_go_back_behind_what_it_had_applied() {
    let mut topology = Topology::start().await.unwrap();
    let calls = Calls::of(topology.dev().ready()).unwrap();
    let region = topology.reader.region().clone();
    let writer = topology.writer.region().clone();
    let sealed = region.node_config.parent().unwrap().join("state/snapshot.sealed");
    let key = calls.issue("revoked").await.unwrap();
    wait::until("the key in force", WITHIN, async || works(&calls, &region, &key.secret).await).await.unwrap();

    // The standby hears nothing from here on; the node gets the rest from the primary, and seals it.
    topology.replication.refuse();
    topology.replication.cut();
    let present = topology.dev().ready().ca.parent().unwrap().with_file_name("gateway.yaml");
    let text = std::fs::read_to_string(&present).unwrap();
    let file = present.with_file_name("later.yaml");
    std::fs::write(&file, text.replace("burst: 400", "burst: 401")).unwrap();
    causeway_at(topology.dev().ready(), &["apply", "-f", file.to_str().unwrap()]).await.expect(0);
    let before = std::fs::metadata(&sealed).and_then(|meta| meta.modified()).unwrap();
    assert_eq!(calls.change(&format!("/v1/keys/{}/revoke", key.id), None).await.unwrap().status / 100, 2);
    wait::until("the revocation past the standby", WITHIN, async || !works(&calls, &region, &key.secret).await).await.unwrap();
    let applied = fact(&calls, &region, "authority_revision").await;
    let structural = fact(&calls, &region, "structural_revision").await;
    wait::until("the revision on disk", WITHIN, async || {
        calls.readiness(&region).await.is_ok_and(|(_, text)| text.contains("written"))
            && std::fs::metadata(&sealed)
                .and_then(|meta| meta.modified())
                .is_ok_and(|at| at > before && at.elapsed().is_ok_and(|age| age > Duration::from_millis(600)))
    })
    .await
    .unwrap();

    for under_partition in [false, true] {
        if under_partition {
            // Now not even the primary answers: the standby's old rows are all there is.
            topology.to_primary.refuse();
            topology.to_primary.cut();
        }
        topology.reader.kill().await.unwrap();
        topology.reader.start(Under::Bare).await.unwrap();
        topology.reader.wait_ready(WITHIN).await.unwrap();
        for _ in 0..20 {
            let answer = calls.get(&region, "/demo/v1/social/echo", &key.secret).await.unwrap();
            assert_eq!(answer.code(), "credentials-invalid", "the revoked key came back (partition: {under_partition})");
        }
        // Without the database no operator's token can be checked; numbers need none.
        let metrics = calls.control(&region, "/metrics").await.unwrap().body;
        for (lane, revision) in [("authority", applied), ("structural", structural)] {
            let line = format!("causeway_config_{lane}_revision {revision}");
            assert!(metrics.lines().any(|known| known.trim_end_matches(".0") == line), "{line} is missing in {metrics}");
        }
        topology.to_primary.heal();
    }
    assert!(works(&calls, &writer, calls.first_key()).await);
    topology.replication.heal();
    topology.stop().await.unwrap();
}
