//! Where the data of consumers may lie.

use model::change::{AuthorityChange, ConsumerRow};

use super::fixture::{Database, document, file, operator};
use crate::{
    apply::{Mode, apply},
    consumer::{self, ConsumerInfo, NewConsumer},
    error::StoreError,
    key::life::Patch,
    page::PageRequest,
    revision::{Delta, authority_delta, full, heads},
};

const REGIONS: &str = "
regions: [{ name: eu-west, residency: [eu, hipaa] }, { name: us-east, residency: [us, 'null'] }, { name: bare }]
tenants: [{ name: acme, hosts: [api.example.com] }]
";

fn labels(of: &[&str]) -> Vec<String> {
    of.iter().map(|label| (*label).to_owned()).collect()
}

async fn made(database: &Database, name: &str, asked: Option<&[String]>) -> Result<ConsumerInfo, StoreError> {
    let new = NewConsumer { name, tenant: None, residency: asked };
    consumer::create(&database.primary, new, &operator()).await.map(|written| written.item)
}

async fn change(database: &Database, consumer: &ConsumerInfo, to: Patch<Vec<String>>) -> Result<(Option<Vec<String>>, u64), StoreError> {
    let written = consumer::change(&database.primary, consumer.id, to, &operator()).await?;
    let shown = consumer::get(&database.primary, consumer.id).await.expect("it is there");
    assert_eq!(shown.residency, written.item.residency);
    Ok((written.item.residency, written.revisions.authority))
}

/// What a node knows that begins now.
async fn loaded(database: &Database, name: &str) -> ConsumerRow {
    let load = full(&database.primary).await.expect("it loads");
    load.consumers.into_iter().find(|row| row.name == name).expect("the consumer is there")
}

fn unknown<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::NotFound { what: "label", name }) => name,
        other => panic!("a label that no region has, and not {other:?}"),
    }
}

#[tokio::test]
async fn labels_are_set_changed_and_cleared_and_nodes_that_follow_or_begin_know_the_same() {
    let database = Database::new().await;
    database.apply(&document(REGIONS)).await;
    let before = heads(&database.primary).await.expect("there are heads");

    let (free, bound) = (made(&database, "free", None).await.expect("made"), made(&database, "bound", Some(&labels(&["eu"]))).await.expect("made"));
    assert_eq!((&free.residency, &bound.residency), (&None, &Some(labels(&["eu"]))));
    assert_eq!(loaded(&database, "free").await.residency, None);
    assert_eq!(loaded(&database, "bound").await.residency, Some(labels(&["eu"])));
    let (set, at) = change(&database, &free, Patch::Set(labels(&["null", "hipaa"]))).await.expect("changed");
    assert_eq!(set, Some(labels(&["null", "hipaa"])), "the word is a label like others");
    assert_eq!(change(&database, &free, Patch::Set(labels(&["null", "hipaa"]))).await.expect("so already"), (set.clone(), at));
    assert_eq!(change(&database, &free, Patch::Keep).await.expect("nothing asked"), (set, at));
    assert_eq!(change(&database, &bound, Patch::Reset).await.expect("cleared"), (None, at + 1));
    let listed = consumer::list(&database.primary, None, &PageRequest::default()).await.expect("a list").items;
    assert_eq!(listed.iter().map(|info| info.residency.is_some()).collect::<Vec<_>>(), [false, true], "newest first");

    let delta = authority_delta(&database.primary, &before).await.expect("a delta");
    let Delta::Changes { changes, .. } = delta else { panic!("nothing asks for a reload") };
    let rows = changes.into_iter().map(|change| {
        let AuthorityChange::Consumer(row) = change.result.expect("it reads") else { panic!("consumers alone were changed") };
        (row.name, row.residency)
    });
    let followed: std::collections::HashMap<_, _> = rows.collect();
    for name in ["free", "bound"] {
        assert_eq!(followed[name], loaded(&database, name).await.residency, "{name}: the last change, and the whole load");
    }
}

#[tokio::test]
async fn a_label_that_no_region_has_is_refused_and_nothing_is_changed() {
    let database = Database::new().await;
    database.apply(&document(REGIONS)).await;
    let consumer = made(&database, "made", Some(&labels(&["eu"]))).await.expect("made");
    let before = heads(&database.primary).await.expect("there are heads");

    assert_eq!(unknown(made(&database, "other", Some(&labels(&["eu", "ue"]))).await), "ue");
    assert_eq!(unknown(change(&database, &consumer, Patch::Set(labels(&["mars", "eu"]))).await), "mars");
    assert_eq!(consumer::labels(&database.primary).await.expect("labels"), ["eu", "hipaa", "null", "us"]);
    assert_eq!(heads(&database.primary).await.expect("there are heads"), before);
    assert!(matches!(consumer::by_name(&database.primary, "other").await, Err(StoreError::NotFound { .. })));
    assert_eq!(loaded(&database, "made").await.residency, Some(labels(&["eu"])));
}

/// Whoever writes to the table past us cannot leave there what nodes would read as something else.
#[tokio::test]
async fn the_database_keeps_nothing_that_is_no_list_of_labels() {
    let database = Database::new().await;
    database.apply(&document(REGIONS)).await;
    made(&database, "made", None).await.expect("made");
    let long = "x".repeat(63);

    let accepts = async |array: &str| {
        let statement = format!(
            "do $$ begin update consumer set residency = {array}; exception when check_violation then update consumer set residency = null; end $$"
        );
        database.run(statement).await;
        database.number("select count(*) from consumer where residency is not null").await == 1
    };
    for good in [
        "array['eu']".to_owned(),
        "array['eu', 'null', 'a_b-c', '0']".to_owned(),
        format!("array['{long}']"),
        "array_fill('eu'::text, array[32])".to_owned(),
    ] {
        assert!(accepts(&good).await, "{good}");
    }
    for bad in [
        "'{}'::text[]".to_owned(),
        "array_fill('eu'::text, array[33])".to_owned(),
        "array[null]::text[]".to_owned(),
        "array['eu', null]".to_owned(),
        "array['']".to_owned(),
        "array['EU']".to_owned(),
        "array['-eu']".to_owned(),
        "array['e u']".to_owned(),
        "array['eu,us']".to_owned(),
        "array['eu}']".to_owned(),
        "array[E'eu\\nus']".to_owned(),
        "array['\"eu\"']".to_owned(),
        "array['NULL']".to_owned(),
        "array[['eu', 'us'], ['eu', 'us']]".to_owned(),
        format!("array['{long}x']"),
    ] {
        assert!(!accepts(&bad).await, "{bad}");
    }
}

#[tokio::test]
async fn what_a_document_says_of_its_consumers_is_applied_and_changed_there_alone() {
    let database = Database::new().await;
    let with = |consumers: &str| document(&format!("{REGIONS}consumers: [{consumers}]"));
    let both = "{ name: shop, residency: [eu, us] }, { name: free }";
    database.apply(&with(both)).await;
    assert_eq!(loaded(&database, "shop").await.residency, Some(labels(&["eu", "us"])));

    assert!(database.apply(&with(both)).await.is_empty(), "the same again changes nothing");
    for (next, expected) in [
        ("{ name: shop, residency: [us] }, { name: free }", Some(labels(&["us"]))),
        ("{ name: shop }, { name: free }", None),
        (both, Some(labels(&["eu", "us"]))),
    ] {
        let report = database.apply(&with(next)).await;
        assert_eq!(report.updated.iter().map(|resource| resource.name.as_str()).collect::<Vec<_>>(), ["shop"], "{next}");
        assert_eq!(loaded(&database, "shop").await.residency, expected);
    }
    let shop = consumer::by_name(&database.primary, "shop").await.expect("it is there");
    for to in [Patch::Reset, Patch::Set(labels(&["eu"])), Patch::Keep] {
        let refused = change(&database, &shop, to).await;
        assert!(matches!(&refused, Err(StoreError::Conflict { constraint, .. }) if constraint == "managed_by"), "{refused:?}");
    }
}

#[tokio::test]
async fn an_apply_names_whom_no_region_may_serve_any_more() {
    let database = Database::new().await;
    database.apply(&document(REGIONS)).await;
    for (name, asked) in [("both", labels(&["eu", "us"])), ("eu-only", labels(&["eu"])), ("us-only", labels(&["us"]))] {
        made(&database, name, Some(&asked)).await.expect("made");
    }
    made(&database, "free", None).await.expect("made");
    let without_eu = document(&REGIONS.replace("[eu, hipaa]", "[hipaa]"));

    assert!(database.apply(&document(REGIONS)).await.consumers_adrift.is_empty());
    let would = apply(&database.primary, &without_eu, Mode::DryRun, &file()).await.expect("it is computed");
    assert_eq!(would.consumers_adrift, ["eu-only"]);
    assert_eq!(database.apply(&without_eu).await.consumers_adrift, ["eu-only"]);
    let bare = database.apply(&document("tenants: [{ name: acme, hosts: [api.example.com] }]")).await;
    assert_eq!(bare.consumers_adrift, ["both", "eu-only", "us-only"], "no region at all");
    // What it asks for stays, so that the label can come back.
    assert_eq!(loaded(&database, "eu-only").await.residency, Some(labels(&["eu"])));
    assert!(database.apply(&document(REGIONS)).await.consumers_adrift.is_empty());
}
