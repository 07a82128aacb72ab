//! When the control database begins another epoch, and when it must not be written to.

use std::time::Duration;

use futures_util::future::join_all;
use model::change::Revisions;
use sqlx::raw_sql;
use tokio::time::timeout;
use uuid::Uuid;

use super::fixture::{Database, document, operator};
use crate::{
    consumer::{self, NewConsumer},
    epoch::settle,
    error::StoreError,
    pool::Primary,
    revision::{Delta, ReloadReason, authority_delta, heads},
};

async fn with_tenant() -> Database {
    let database = Database::new().await;
    database.apply(&document("tenants: [{ name: acme, hosts: [api.example.com] }]")).await;
    database
}

async fn write(primary: &Primary, name: &str) -> Result<Revisions, StoreError> {
    consumer::create(primary, NewConsumer { name, tenant: None, residency: None }, &operator()).await.map(|written| written.revisions)
}

async fn at(database: &Database) -> Revisions {
    heads(&database.primary).await.expect("there are heads")
}

/// T2: revisions that were lost with an old primary must not be mistaken for those that take their numbers.
#[tokio::test]
async fn the_first_write_on_another_timeline_begins_an_epoch_with_an_identity_and_a_parent() {
    let database = with_tenant().await;
    let first = write(&database.primary, "one").await.expect("it is written");
    assert_eq!((first.epoch, database.number("select count(*) from control_epoch where timeline is not null").await), (1, 1));
    database.run("update control_head set timeline = timeline - 1").await;

    let after = write(&database.primary, "two").await.expect("it is written");

    assert_eq!((after.epoch, after.structural_epoch, after.authority), (2, 2, first.authority + 1));
    assert!(after.epoch_id != first.epoch_id && !after.epoch_id.is_nil());
    assert_eq!(database.number("select count(distinct (epoch, epoch_id)) from control_head").await, 1);
    let parent = "select parent_id::text from control_epoch where epoch = 2 and began_lsn is not null";
    assert_eq!(database.texts(parent).await, [first.epoch_id.to_string()]);
    let delta = authority_delta(&database.primary, &first).await.expect("an answer");
    assert!(matches!(delta, Delta::Reload(ReloadReason::Epoch)), "{delta:?}");
    assert_eq!(write(&database.primary, "three").await.expect("it is written").epoch_id, after.epoch_id, "once");
}

/// ADR 0030, 10: a server that is promoted without having heard of an earlier promotion must not take its number.
#[tokio::test]
async fn an_epoch_takes_a_number_above_all_that_was_heard_of() {
    let database = with_tenant().await;
    let first = write(&database.primary, "one").await.expect("it is written");
    database.primary.heard().hear(&Revisions { epoch: 7, epoch_id: Uuid::from_u128(7), ..first });
    database.run("update control_head set timeline = timeline - 1").await;

    assert_eq!(write(&database.primary, "two").await.expect("it is written").epoch, 8);
}

/// The same number with another identity: nothing goes on from it.
#[tokio::test]
async fn two_epochs_of_one_number_are_not_taken_for_one() {
    let database = with_tenant().await;
    let first = write(&database.primary, "one").await.expect("it is written");
    let other = Revisions { epoch_id: Uuid::from_u128(7), ..first };
    let delta = authority_delta(&database.primary, &other).await.expect("an answer");
    assert!(matches!(delta, Delta::Reload(ReloadReason::Regressed)), "{delta:?}");
    let unnamed = authority_delta(&database.primary, &Revisions { epoch_id: Uuid::nil(), ..first }).await.expect("an answer");
    assert!(matches!(unnamed, Delta::Changes { .. }), "what an earlier version has written has a number alone");

    // Whoever followed the other one asks for a later epoch than both.
    let stranger = Primary::new(database.pool().clone(), crate::epoch::Heard::default());
    stranger.heard().hear(&other);
    let settled = settle(&stranger, &operator()).await.expect("it begins");
    assert_eq!((settled.epoch, settled.authority), (2, first.authority));
    assert_eq!(settle(&stranger, &operator()).await.expect("nothing to do").epoch_id, settled.epoch_id);
    assert_eq!(at(&database).await.epoch_id, settled.epoch_id);
}

/// Restored to an earlier time without a timeline of its own: the next revision would have the number of one that nodes know already.
#[tokio::test]
async fn a_primary_that_lost_revisions_begins_an_epoch_before_it_gives_their_numbers_again() {
    let database = with_tenant().await;
    let first = write(&database.primary, "one").await.expect("it is written");
    assert_eq!(settle(&database.primary, &operator()).await.expect("nothing to do").epoch, 1, "who asks for nothing changes nothing");
    database.primary.heard().hear(&Revisions { authority: first.authority + 3, ..first });

    let after = write(&database.primary, "two").await.expect("it is written");

    assert_eq!((after.epoch, after.authority), (2, first.authority + 1));
}

/// An old primary that still answers, or one that was restored to a time before a promotion.
#[tokio::test]
async fn a_primary_of_an_earlier_epoch_is_not_written_to() {
    let database = with_tenant().await;
    let first = write(&database.primary, "one").await.expect("it is written");
    database.primary.heard().hear(&Revisions { epoch: 3, epoch_id: Uuid::from_u128(3), ..first });

    let refused = write(&database.primary, "two").await;

    assert!(matches!(refused, Err(StoreError::Superseded { here: 1, known: 3 })), "{refused:?}");
    assert_eq!((at(&database).await, database.number("select count(*) from consumer where name = 'two'").await), (first, 0));
}

/// A structure that was lost is one as well as keys are.
#[tokio::test]
async fn a_primary_that_lost_a_structure_begins_an_epoch_with_the_next_write_of_both_lanes() {
    let database = with_tenant().await;
    let first = write(&database.primary, "one").await.expect("it is written");
    database.primary.heard().hear(&Revisions { structural: first.structural + 2, ..first });

    assert_eq!(write(&database.primary, "two").await.expect("it is written").epoch, 1, "its lane has lost nothing");
    let settled = settle(&database.primary, &operator()).await.expect("it begins");
    assert_eq!((settled.epoch, settled.structural), (2, first.structural));
}

/// For an operator who has restored the database.
#[tokio::test]
async fn an_epoch_begins_when_it_is_asked_for_above_what_is_said() {
    let database = with_tenant().await;
    let first = write(&database.primary, "one").await.expect("it is written");

    let next = crate::epoch::begin(&database.primary, 0, &operator()).await.expect("it begins");
    let far = crate::epoch::begin(&database.primary, 9, &operator()).await.expect("it begins");

    assert_eq!((next.epoch, far.epoch, far.authority), (2, 10, first.authority));
    assert_eq!(write(&database.primary, "two").await.expect("it is written").epoch, 10);
}

/// Each of them waits for the lock with a connection; who follows the database, or asks it what confirms keys, must find one all the same.
#[tokio::test]
async fn changes_that_wait_leave_connections_to_whoever_reads() {
    let database = with_tenant().await;
    let mut before = database.pool().begin().await.expect("a transaction begins");
    raw_sql("select from control_head for update").execute(&mut *before).await.expect("it is locked");

    let names: Vec<String> = (0..40).map(|number| format!("waiting-{number}")).collect();
    let writes = join_all(names.iter().map(|name| write(&database.primary, name)));
    let reads = async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        // As many as may wait do: half of the twenty.
        while database.number(waiting).await < 10 {}
        for _ in 0..20 {
            let read = timeout(Duration::from_millis(500), at(&database)).await;
            assert!(read.is_ok(), "a read waits for changes");
        }
    };
    tokio::select! {
        _ = writes => unreachable!("they end before they have the lock"),
        done = timeout(Duration::from_secs(3), reads) => done.expect("as many changes wait as may"),
    }
    assert_eq!(database.number("select count(*) from consumer where name like 'waiting-%'").await, 0);
}
