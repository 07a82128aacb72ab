use std::collections::BTreeMap;

use futures_util::future::join_all;
use model::{
    change::{AuthorityChange, ConsumerRow, Lane, Revisions},
    id::ConsumerId,
    key::Purpose,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::fixture::{Database, LATER, SOON, document, issued, operator};
use crate::{
    consumer::{self, NewConsumer},
    error::StoreError,
    key::{self, NewKey, RevokedReason},
    revision::{Change, Delta, ReloadReason, authority_delta, full, heads, listen, structure},
    write::{ControlWrite, Lanes},
};

const WRITERS: u64 = 16;
const WRITES: u64 = 12;

/// Every third write is rolled back after it took its place.
async fn write(database: &Database, writer: u64) -> u64 {
    let mut committed = 0;
    for number in 0..WRITES {
        let row =
            ConsumerRow { id: ConsumerId::new(Uuid::now_v7()), name: format!("c{writer}-{number}"), tenant: "acme".to_owned(), residency: None };
        let mut write = ControlWrite::begin(&database.primary, Lanes::Authority, &operator()).await.expect("it begins");
        for _ in 0..=number % 3 {
            write.authority(&AuthorityChange::Consumer(row.clone())).expect("it is noted");
        }
        if (writer + number).is_multiple_of(3) {
            write.rollback().await.expect("it is taken back");
        } else {
            write.commit().await.expect("it commits");
            committed += 1;
        }
    }
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_have_no_gap_under_sixteen_writers_of_which_some_roll_back() {
    let database = Database::new().await;

    let committed: u64 = join_all((0..WRITERS).map(|writer| write(&database, writer))).await.into_iter().sum();

    let head = heads(&database.primary).await.expect("there are heads");
    assert_eq!(head.authority, committed);
    let revs = database.number("select count(distinct rev) from control_log where lane = 'authority'").await;
    assert_eq!(u64::try_from(revs).expect("a count"), committed);
    assert_eq!(database.number("select coalesce(max(rev), 0) from control_log").await, revs);
    let incomplete = "select count(*) from (select rev from control_log group by rev having count(*) <> max(n_rows)) as wrong";
    assert_eq!(database.number(incomplete).await, 0);
}

/// A reader that starts anywhere and reads at any time sees a prefix: the same changes that the log has at the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_delta_is_a_prefix_of_what_is_written_at_the_same_time() {
    let database = Database::new().await;
    let writers = join_all((0..4).map(|writer| write(&database, writer)));
    let reader = async {
        let (mut seen, mut at) = (Vec::new(), 0);
        while u64::try_from(seen.len()).expect("a count") < 4 * WRITES / 3 {
            let Delta::Changes { revisions, changes } = authority_delta(&database.primary, &since(1, at)).await.expect("a delta") else {
                panic!("nothing asks for a reload")
            };
            assert!(revisions.authority >= at);
            assert!(changes.iter().all(|change| change.rev > at && change.rev <= revisions.authority));
            at = revisions.authority;
            seen.extend(changes.into_iter().map(|change| change.rev));
        }
        (seen, at)
    };

    let (_, (seen, at)) = timeout(SOON, async { tokio::join!(writers, reader) }).await.expect("the writers get on");

    let whole = authority_delta(&database.primary, &since(1, 0)).await.expect("a delta");
    let Delta::Changes { changes, .. } = whole else { panic!("nothing asks for a reload") };
    let prefix: Vec<u64> = changes.iter().map(|change| change.rev).filter(|rev| *rev <= at).collect();
    assert_eq!(seen, prefix);
}

/// Heads of which only the number is known.
fn since(epoch: u64, authority: u64) -> Revisions {
    Revisions { epoch, authority, ..Revisions::default() }
}

#[tokio::test]
async fn a_bad_body_is_quarantined_and_the_rest_applies() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let before = heads(&database.primary).await.expect("there are heads");
    let mut ids = Vec::new();
    for name in ["first", "bad", "last"] {
        let issued = issued(Purpose::Live);
        let new = NewKey::of(&issued, name, application, LATER);
        key::create(&database.primary, new, &operator()).await.expect("a key is made");
        ids.push(issued.id);
    }
    let bad = ids[1];
    for body in ["jsonb_set(body, '{secret,digest}', '\"short\"')", "'{\"kind\":\"surprise\"}'", "'[]'", "null"] {
        database.run(format!("update control_log set body = {body} where entity = '{bad}'")).await;

        let delta = authority_delta(&database.primary, &before).await.expect("a delta");

        let Delta::Changes { changes, revisions } = delta else { panic!("a bad body asks for no reload") };
        assert_eq!(revisions.authority, before.authority + 3);
        let [
            Change { result: Ok(AuthorityChange::Key(first)), .. },
            Change { result: Err(row), .. },
            Change { result: Ok(AuthorityChange::Key(last)), .. },
        ] = changes.as_slice()
        else {
            panic!("two keys around a bad row, not {changes:?}")
        };
        assert_eq!((first.id, row.kind.as_str(), row.entity.as_str(), last.id), (ids[0], "key", bad.as_str(), ids[2]));
    }
}

#[tokio::test]
async fn what_is_missing_or_of_another_epoch_asks_for_a_whole_load() {
    let database = Database::new().await;
    write(&database, 0).await;
    let head = heads(&database.primary).await.expect("there are heads");
    let check = async |epoch: u64, after: u64| match authority_delta(&database.primary, &since(epoch, after)).await.expect("an answer") {
        Delta::Changes { .. } => None,
        Delta::Reload(reason) => Some(reason),
    };

    assert_eq!(check(head.epoch, 0).await, None);
    assert_eq!(check(head.epoch, head.authority).await, None);
    assert_eq!(check(head.epoch - 1, 0).await, Some(ReloadReason::Epoch));
    assert_eq!(check(head.epoch + 1, 0).await, Some(ReloadReason::Regressed), "a server that was left behind has nothing to take");
    assert_eq!(check(head.epoch, head.authority + 1).await, Some(ReloadReason::Regressed));
    database.run("delete from control_log where rev = 3 and ordinal = n_rows").await;
    assert_eq!(check(head.epoch, 0).await, Some(ReloadReason::Gap));
    assert_eq!(check(head.epoch, 3).await, None);
    database.run("delete from control_log where rev > 3").await;
    assert_eq!(check(head.epoch, 3).await, Some(ReloadReason::Gap));
}

#[tokio::test]
async fn a_commit_hints_at_each_lane_that_it_changed() {
    let database = Database::new().await;
    let mut hints = listen(&database.primary).await.expect("the primary lets us listen");

    database.apply(&document("tenants: [{ name: acme, hosts: [api.example.com] }]\nconsumers: [{ name: shop }]")).await;

    let mut seen = BTreeMap::new();
    for _ in 0..2 {
        let hint = timeout(SOON, hints.next()).await.expect("a hint comes").expect("the connection lives");
        seen.insert(hint.lane.as_str(), (hint.epoch, hint.rev));
    }
    assert_eq!(seen, BTreeMap::from([(Lane::Authority.as_str(), (1, 1)), (Lane::Structural.as_str(), (1, 1))]));
}

#[tokio::test]
async fn a_whole_load_is_what_the_changes_add_up_to() {
    let database = Database::new().await;
    let (consumer, application) = database.with_application().await;
    let (kept, ended) = (issued(Purpose::Live), issued(Purpose::Test));
    for issued in [&kept, &ended] {
        let new = NewKey { scopes: Some(&[]), ..NewKey::of(issued, "k", application, LATER) };
        key::create(&database.primary, new, &operator()).await.expect("a key is made");
    }
    key::revoke(&database.primary, &ended.id, RevokedReason::Asked, &operator()).await.expect("it is revoked");
    consumer::create(&database.primary, NewConsumer { name: "other", tenant: Some("acme"), residency: None }, &operator()).await.expect("one more");

    let load = full(&database.primary).await.expect("everything loads");

    let delta = authority_delta(&database.primary, &since(1, 0)).await.expect("a delta");
    let Delta::Changes { changes, revisions } = delta else { panic!("nothing asks for a reload") };
    assert_eq!(load.revisions, revisions);
    let mut last = BTreeMap::new();
    for change in changes {
        let change = change.result.expect("every body reads");
        let entity = match &change {
            AuthorityChange::Key(row) => row.id.to_string(),
            AuthorityChange::Application(row) => row.id.to_string(),
            AuthorityChange::Consumer(row) => row.id.to_string(),
            AuthorityChange::KeyRemoved { .. }
            | AuthorityChange::ApplicationRemoved { .. }
            | AuthorityChange::ConsumerRemoved { .. }
            | AuthorityChange::TokenDenied(_)
            | AuthorityChange::CachePurge(_) => {
                panic!("nothing was removed, and yet {change:?}")
            }
        };
        last.insert(entity, serde_json::to_value(change).expect("it is plain"));
    }
    let rows = load.keys.into_iter().map(|row| AuthorityChange::Key(Box::new(row))).map(|change| serde_json::to_value(change).expect("it is plain"));
    let rows = rows.chain(load.applications.into_iter().map(|row| serde_json::to_value(AuthorityChange::Application(row)).expect("it is plain")));
    let rows = rows.chain(load.consumers.into_iter().map(|row| serde_json::to_value(AuthorityChange::Consumer(row)).expect("it is plain")));
    let rows: BTreeMap<String, serde_json::Value> = rows.map(|row| (row["id"].as_str().expect("an id").to_owned(), row)).collect();
    assert_eq!(rows, last);
    assert!(rows.contains_key(&consumer.to_string()) && rows.contains_key(kept.id.as_str()));
    assert_eq!(rows[ended.id.as_str()]["state"], "revoked");
}

#[tokio::test]
async fn a_structural_row_that_does_not_parse_is_named_and_left_out() {
    let database = Database::new().await;
    database.apply(&document("tenants: [{ name: acme, hosts: [a.example.com] }, { name: bolt, hosts: [b.example.com] }]")).await;
    database.run("update tenant set body = '{\"name\":\"acme\",\"unknown\":1}' where name = 'acme'").await;

    let load = structure(&database.primary).await.expect("it loads");

    assert_eq!(load.document.tenants.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>(), ["bolt"]);
    assert_eq!(load.quarantined.iter().map(|row| (row.kind.as_str(), row.entity.as_str())).collect::<Vec<_>>(), [("tenant", "acme")]);
    assert_eq!((load.revisions.epoch, load.revisions.authority, load.revisions.structural_epoch, load.revisions.structural), (1, 0, 1, 1));
}

/// T6: only the server's own refusal says that a commit did not happen.
#[tokio::test]
async fn a_commit_is_refused_or_unknown_and_never_mistaken() {
    let database = Database::new().await;
    database.with_application().await;
    let before = heads(&database.primary).await.expect("there are heads");
    let at_commit = async |body: &str| {
        database
            .run(format!(
                "drop trigger if exists at_commit on control_log;
                create or replace function at_commit() returns trigger language plpgsql as $$ begin {body} return null; end $$;
                create constraint trigger at_commit after insert on control_log deferrable initially deferred
                    for each row execute function at_commit();"
            ))
            .await;
        consumer::create(&database.primary, NewConsumer { name: "late", tenant: None, residency: None }, &operator()).await.map(drop)
    };

    let refused = at_commit("raise exception 'no' using errcode = 'check_violation';").await;
    let ended = at_commit("perform pg_terminate_backend(pg_backend_pid());").await;

    assert!(matches!(&refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    assert!(matches!(&ended, Err(StoreError::CommitUnknown { .. })), "{ended:?}");
    assert_eq!(heads(&database.primary).await.expect("there are heads"), before);
}
