//! Heartbeats, what they confirm, and commits whose wait for a standby is cut short (T6).

use model::{change::Revisions, key::Purpose, secret::SecretText};
use tokio::time::timeout;
use uuid::Uuid;

use super::fixture::{Database, LATER, OWNER_PASSWORD, SOON, Server, as_superuser, document, file, issued, operator, owner, superuser};
use crate::{
    apply::{Mode, apply},
    bootstrap::{Which, create_if_missing},
    consumer::{self, NewConsumer},
    epoch::Heard,
    error::StoreError,
    heartbeat::{Beating as _, Line},
    key::{self, NewKey, RevokedReason},
    migrate,
    node::{self, Acknowledged, NodeReport},
    pool::{self, Primary},
};

async fn line(database: &Database) -> Line {
    Line::open(&database.primary).await.expect("it connects")
}

fn report(name: &str, incarnation: u64, deny_bound_ms: u64) -> NodeReport {
    NodeReport {
        name: name.to_owned(),
        region: "eu".to_owned(),
        incarnation,
        revisions: Revisions::default(),
        nack: None,
        deny_bound_ms,
        has_predecessor: false,
        staleness_ms: None,
        trouble: None,
    }
}

#[tokio::test]
async fn one_of_two_writers_takes_the_next_step_and_a_read_is_confirmed_by_the_second_beat_after_it() {
    let database = Database::new().await;
    let (mut near, mut far, mut reader) = (line(&database).await, line(&database).await, line(&database).await);
    let before = reader.look().await.expect("it answers").heart;
    assert_eq!((before.beat, before.acked, before.writer.as_str()), (0, 0, ""));

    let first = near.beat(0, 0, "near", 100).await.expect("it is written").expect("it is the first");
    assert!(first.number == 1 && first.is_clean);
    assert_eq!(far.beat(0, 0, "far", 9_000).await.expect("an answer"), None, "the step was taken");
    near.beat(1, 1, "near", 100).await.expect("it is written").expect("it is the next");
    let between = reader.look().await.expect("it answers").heart;
    assert_eq!((between.beat, between.acked, between.writer.as_str(), between.writer_rtt_us), (2, 1, "near", 100));
    assert!(!between.confirms(before.beat, before.under), "beat 1 may have begun before the read, and of beat 2 nothing is known");
    far.beat(2, 0, "far", 9_000).await.expect("it is written").expect("it has taken over");
    assert_eq!(
        reader.look().await.expect("it answers").heart.acked,
        1,
        "who has taken over does not know what was clean before, and takes nothing back"
    );

    far.beat(3, 3, "far", 9_000).await.expect("it is written").expect("it is the next");
    let after = reader.look().await.expect("it answers").heart;
    assert!(after.confirms(before.beat, before.under) && after.confirms(1, before.under) && !after.confirms(2, before.under), "{after:?}");
}

/// Settings that were changed and changed back are loaded again all the same (ADR 0030, 11).
#[tokio::test]
async fn a_read_is_not_confirmed_when_the_settings_were_loaded_in_between() {
    let server = Server::start(&["primary"]);
    let primary = migrated(&server).await;
    let mut line = Line::open(&primary).await.expect("it connects");
    let before = line.look().await.expect("it answers").heart;
    as_superuser(&server.address, "postgres", "select pg_reload_conf()").await;

    let after = timeout(SOON, async {
        loop {
            let look = line.look().await.expect("it answers").heart;
            if look.under != before.under {
                break look;
            }
        }
    });
    let after = after.await.expect("the settings are loaded again");
    let confirming = crate::heartbeat::Heart { acked: 9, ..after.clone() };
    assert!(!confirming.confirms(0, before.under) && confirming.confirms(0, after.under));
}

async fn migrated(server: &Server) -> Primary {
    let password = SecretText::new(OWNER_PASSWORD.to_owned());
    create_if_missing(&server.address, &superuser("postgres"), Which::Causeway, &password).await.expect("the database is made");
    let options = pool::options(&server.address, &owner("causeway")).expect("an address");
    let primary = Primary::new(pool::lazy(options, 8), Heard::default());
    migrate::migrate(&primary).await.expect("the schema is made");
    primary
}

/// Cancels every wait for a standby, again and again.
async fn cancel_waits(server: &Server) {
    loop {
        let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
        as_superuser(&server.address, "postgres", cancel).await;
    }
}

/// A server that waits for a standby which never comes, and somebody who cancels each wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_cut_short_while_it_waited_for_its_standby_is_not_taken_for_one() {
    let server = Server::start(&["primary"]);
    let primary = migrated(&server).await;
    apply(&primary, &document("tenants: [{ name: acme, hosts: [api.example.com] }]"), Mode::Commit, &file()).await.expect("it applies");
    let consumer =
        consumer::create(&primary, NewConsumer { name: "made", tenant: None, residency: None }, &operator()).await.expect("it is made").item.id;
    let application = crate::application::NewApplication { name: "app", consumer, plan: None, scopes: &[], at_most: None };
    let application = crate::application::create(&primary, application, &operator()).await.expect("it is made").item.id;
    let key = issued(Purpose::Live);
    key::create(&primary, NewKey::of(&key, "ci", application, LATER), &operator()).await.expect("it is made");
    let id = key.id;
    node::register(&primary, &report("eu-1", 1, 2_000)).await.expect("it is recorded");
    let mut line = Line::open(&primary).await.expect("it connects");
    as_superuser(&server.address, "postgres", "alter system set synchronous_standby_names = 'nobody'").await;
    as_superuser(&server.address, "postgres", "select pg_reload_conf()").await;
    timeout(SOON, async { while line.look().await.expect("it answers").heart.standbys != "nobody" {} }).await.expect("the settings are loaded");

    // What was acknowledged waits for nobody.
    let acknowledged = Acknowledged { epoch_id: Uuid::from_u128(1), authority: 3 };
    assert!(timeout(SOON, line.acknowledge("eu-1", 1, acknowledged)).await.expect("at once").expect("it is recorded"));

    let mut beat = crate::heartbeat::Beat { number: 0, is_clean: true };
    let cut = async {
        // The server takes a moment from its settings to the first wait.
        let waits = async {
            while beat.is_clean {
                beat = line.beat(beat.number, 0, "eu-1", 1).await.expect("it is committed here").expect("it is the next");
            }
        };
        timeout(SOON, waits).await.expect("nobody confirms it");
        let reported = node::heartbeat(&primary, &report("eu-1", 1, 2_000)).await;
        assert!(matches!(reported, Err(StoreError::CommitUnconfirmed)), "{reported:?}");
        let revoked = key::revoke(&primary, &id, RevokedReason::Asked, &operator()).await;
        assert!(matches!(revoked, Err(StoreError::CommitUnconfirmed)), "{revoked:?}");
        // It stands here, so repeating it finds it done: and must not believe it.
        let again = key::revoke(&primary, &id, RevokedReason::Asked, &operator()).await;
        assert!(matches!(again, Err(StoreError::Unavailable { .. })), "{again:?}");
    };
    tokio::select! {
        () = cut => {}
        () = cancel_waits(&server) => unreachable!("it cancels for ever"),
    }

    as_superuser(&server.address, "postgres", "alter system reset synchronous_standby_names").await;
    as_superuser(&server.address, "postgres", "select pg_reload_conf()").await;
    let again = timeout(SOON, key::revoke(&primary, &id, RevokedReason::Asked, &operator())).await.expect("nobody is waited for");
    assert!(again.expect("it is done").already);
    assert!(line.beat(beat.number, 0, "eu-1", 1).await.expect("it is written").expect("it is the next").is_clean);
}

#[tokio::test]
async fn a_node_stands_to_a_revision_by_what_it_acknowledged_in_its_epoch() {
    let database = Database::new().await;
    let mut line = line(&database).await;
    let (epoch_id, other) = (Uuid::from_u128(5), Uuid::from_u128(6));
    let told = |epoch_id, authority| Acknowledged { epoch_id, authority };
    assert!(!line.acknowledge("eu-1", 1, told(epoch_id, 4)).await.expect("an answer"), "it is not registered");
    for (name, bound) in [("eu-1", 2_000), ("us-1", 300_000)] {
        assert_eq!(node::register(&database.primary, &report(name, 7, bound)).await.expect("it is recorded"), 7);
    }
    assert!(!line.acknowledge("eu-1", 6, told(epoch_id, 4)).await.expect("an answer"), "an earlier process of the node");
    for authority in [3, 5, 9] {
        assert!(line.acknowledge("eu-1", 7, told(epoch_id, authority)).await.expect("an answer"));
    }

    let (nodes, now) = node::standing(&database.primary, told(epoch_id, 4)).await.expect("an answer");
    let seen: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.knows, node.deny_bound_ms)).collect();
    assert_eq!(seen, [("eu-1", true, Some(2_000)), ("us-1", false, Some(300_000))]);
    let times = database.texts("select acked_at::text from node_ack order by authority").await;
    assert_eq!(times.len(), 3);
    let at = nodes[0].acknowledged_at.expect("it is an hour young");
    assert!(at <= now);
    let second = database.number("select (extract(epoch from acked_at) * 1000000)::bigint from node_ack where authority = 5").await;
    assert_eq!(at.0, second, "the first that has the revision");
    let knows = async |revision| node::standing(&database.primary, revision).await.expect("an answer").0[0].knows;
    assert!(!knows(told(epoch_id, 10)).await && !knows(told(other, 1)).await, "a later one, and one of another epoch");

    let removed = async |name| node::remove(&database.primary, name).await.expect("an answer");
    database.run("update node set last_seen = now() - interval '3 minutes'").await;
    assert!(!removed("us-1").await, "it may go by what it knew for five minutes and what a clock loses");
    assert!(removed("eu-1").await && !removed("eu-1").await);
    assert_eq!(database.number("select count(*) from node_ack").await, 0);
    database.run("update node set last_seen = now() - interval '8 minutes'").await;
    assert!(removed("us-1").await);
}

/// Spool folders count their starts apart, and a wiped one begins anew: whoever begins has the row, whatever its number is.
#[tokio::test]
async fn the_process_that_has_begun_last_speaks_for_its_node_and_no_other() {
    let database = Database::new().await;
    let mut line = line(&database).await;
    let register = async |report| node::register(&database.primary, &report).await.expect("it is recorded");
    let heartbeat = async |report| node::heartbeat(&database.primary, &report).await.expect("an answer");
    assert!(!heartbeat(report("eu-1", 9, 1)).await, "nobody has registered");
    assert_eq!(register(report("eu-1", 900, 2_000)).await, 900);
    let told = Acknowledged { epoch_id: Uuid::from_u128(5), authority: 4 };
    assert!(line.acknowledge("eu-1", 900, told).await.expect("an answer"));
    let knows = async || node::standing(&database.primary, told).await.expect("an answer").0[0].knows;
    assert!(knows().await);

    let next = register(report("eu-1", 3, 2_000)).await;
    assert_eq!(next, 901);
    assert!(!knows().await, "what the process before has acknowledged is not what this one comes to");
    assert!(!heartbeat(report("eu-1", 900, 2_000)).await && heartbeat(report("eu-1", next, 2_000)).await);
    assert!(!line.acknowledge("eu-1", 900, told).await.expect("an answer"));
    assert!(line.acknowledge("eu-1", next, told).await.expect("an answer") && knows().await);
    // A process of an earlier version has the row now, and says neither.
    database.run("update node set incarnation = 950").await;
    assert!(!knows().await && !heartbeat(report("eu-1", next, 2_000)).await);
    let bound = node::standing(&database.primary, told).await.expect("an answer").0[0].deny_bound_ms;
    assert_eq!(bound, None);
    let beside = NodeReport { has_predecessor: true, ..report("eu-1", 1, 2_000) };
    assert_eq!(register(beside.clone()).await, 951);
    assert!(heartbeat(NodeReport { incarnation: 951, ..beside }).await);
    let bound = node::standing(&database.primary, told).await.expect("an answer").0[0].deny_bound_ms;
    assert_eq!(bound, None, "nobody knows for how long the process before goes on");
    assert!(heartbeat(report("eu-1", 951, 2_000)).await);
    let bound = node::standing(&database.primary, told).await.expect("an answer").0[0].deny_bound_ms;
    assert_eq!(bound, Some(2_000), "it has ended");
}

/// At a hand-over two processes of one node serve for a while, and one row speaks for both.
#[tokio::test]
async fn the_bound_of_the_process_before_holds_until_it_has_ended() {
    let database = Database::new().await;
    let bound = async || database.number("select deny_bound_ms from node").await;
    node::register(&database.primary, &report("eu-1", 1, 300_000)).await.expect("it is recorded");
    let next = NodeReport { has_predecessor: true, ..report("eu-1", 2, 2_000) };
    node::register(&database.primary, &next).await.expect("it is recorded");
    assert_eq!(bound().await, 300_000);
    assert!(node::heartbeat(&database.primary, &next).await.expect("it is recorded"));
    assert_eq!(bound().await, 300_000);
    assert!(node::heartbeat(&database.primary, &report("eu-1", 2, 2_000)).await.expect("it is recorded"));
    assert_eq!(bound().await, 2_000);
}
