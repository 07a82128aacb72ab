use model::{position::Lsn, secret::SecretText};
use tokio::time::timeout;

use super::fixture::{OWNER_PASSWORD, SOON, Server, as_superuser, owner, superuser};
use crate::{
    bootstrap::{Which, create_if_missing},
    demo::DemoDatabase,
    domain_heartbeat::{Line, Look, LookError, place_of},
    heartbeat::Beating as _,
    pool::Credentials,
};

/// One test for what needs two servers.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_services_primary_is_confirmed_by_its_own_heartbeats_and_what_stands_in_the_way_is_named() {
    let old = Server::start(&["primary"]);
    let password = SecretText::new(OWNER_PASSWORD.to_owned());
    create_if_missing(&old.address, &superuser("postgres"), Which::Demo, &password).await.expect("the database is made");
    let demo = Credentials { user: "demo".to_owned(), ..owner("demo") };
    let look = async |address: &str, credentials: &Credentials| -> Result<Look, LookError> {
        Line::open(&place_of(address, credentials).expect("an address")).await.expect("it connects").look().await
    };
    assert!(matches!(look(&old.address, &demo).await, Err(LookError::Missing)), "the table is not there");
    DemoDatabase::connect(&old.address, &demo, 2).expect("an address").migrate().await.expect("the tables are made");

    // A role that only watches has no right yet.
    as_superuser(&old.address, "demo", &format!("create role watcher login password '{OWNER_PASSWORD}'; grant connect on database demo to watcher"))
        .await;
    let watcher = Credentials { user: "watcher".to_owned(), ..demo.clone() };
    assert!(matches!(look(&old.address, &watcher).await, Err(LookError::Denied)));
    as_superuser(&old.address, "demo", "grant usage on schema causeway to watcher; grant select on causeway.heartbeat to watcher").await;
    assert!(matches!(look(&old.address, &watcher).await, Err(LookError::Denied)), "who may only read writes none");
    as_superuser(&old.address, "demo", "grant update on causeway.heartbeat to watcher").await;

    let place = place_of(&old.address, &watcher).expect("an address");
    let mut reader = Line::open(&place).await.expect("it connects");
    let mut writer = Line::open(&place).await.expect("it connects");
    let before = reader.look().await.expect("it may");
    assert_eq!((before.heart.beat, before.writer.timeline, &*before.writer.server), (0, 1, &*old.address));
    let mut acked = 0;
    for seen in 0..3 {
        let confirms = reader.look().await.expect("it may").heart.confirms(before.heart.beat, before.heart.under);
        assert!(!confirms, "beat {seen} may have begun before the read, or is not known to be clean");
        let beat = writer.beat(seen, acked, "eu-1", 900).await.expect("it may").expect("nobody else writes");
        assert!(beat.is_clean);
        acked = beat.number;
    }
    let after = reader.look().await.expect("it may");
    assert!(after.heart.confirms(before.heart.beat, before.heart.under) && after.lsn > before.lsn && before.lsn > Lsn(0), "{after:?}");
    assert_eq!((after.heart.writer.as_str(), after.heart.writer_rtt_us, after.heart.standbys.as_str()), ("eu-1", 900, ""));
    assert_eq!(writer.beat(1, 3, "us-1", 900).await.expect("it may"), None, "somebody has taken the step");
    // The row is gone: a restore, or somebody who cleans up.
    as_superuser(&old.address, "demo", "delete from causeway.heartbeat").await;
    assert!(matches!(reader.look().await, Err(LookError::Missing)));
    as_superuser(&old.address, "demo", "insert into causeway.heartbeat default values").await;
    as_superuser(
        &old.address,
        "demo",
        "alter table causeway.heartbeat drop constraint heartbeat_acked_check; update causeway.heartbeat set acked = 9",
    )
    .await;
    assert!(matches!(reader.look().await, Err(LookError::Missing)), "that would confirm everything");
    as_superuser(&old.address, "demo", "update causeway.heartbeat set acked = 0").await;

    let new = Server::start(&["standby", &old.port.to_string()]);
    let is_standby = async || matches!(look(&new.address, &watcher).await, Err(LookError::Standby));
    timeout(SOON, async { while !is_standby().await {} }).await.expect("a standby shows nothing");
    as_superuser(&new.address, "postgres", "select pg_promote()").await;
    let promoted = timeout(SOON, async {
        loop {
            if let Ok(look) = look(&new.address, &watcher).await {
                break look;
            }
        }
    });
    assert_eq!(promoted.await.expect("it takes writes").writer.timeline, 2);
}
