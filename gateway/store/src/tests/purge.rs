use model::{
    change::AuthorityChange,
    purge::{Purge, Tag},
};

use super::fixture::{Database, operator};
use crate::{
    error::StoreError,
    purge,
    revision::{Delta, authority_delta, heads},
};

#[tokio::test]
async fn a_purge_is_a_revision_of_its_own_each_time_and_comes_back_as_it_was_written() {
    let database = Database::new().await;
    database.with_application().await;
    let before = heads(&database.primary).await.expect("there are heads");
    let named = Purge { tenant: Some("acme".into()), route: None, tags: vec![Tag::parse("a").unwrap(), Tag::parse("b").unwrap()] };

    let first = purge::create(&database.primary, &named, &operator()).await.expect("it is written");
    let again = purge::create(&database.primary, &named, &operator()).await.expect("it is written again");

    assert_eq!((first.revisions.authority, again.revisions.authority), (before.authority + 1, before.authority + 2));
    assert_eq!((first.revisions.structural, again.revisions.structural), (before.structural, before.structural));
    assert!(first.item <= again.item);
    let delta = authority_delta(&database.primary, &before).await.expect("a delta");
    let Delta::Changes { changes, .. } = delta else { panic!("nothing asks for a reload") };
    let read: Vec<_> = changes.into_iter().map(|change| change.result.expect("it reads")).collect();
    assert!(matches!(&read[..], [AuthorityChange::CachePurge(one), AuthorityChange::CachePurge(two)] if *one == named && *two == named), "{read:?}");
}

#[tokio::test]
async fn a_purge_of_what_is_not_there_is_refused_and_writes_nothing() {
    let database = Database::new().await;
    database.with_application().await;
    let before = heads(&database.primary).await.expect("there are heads");

    let tenant = purge::create(&database.primary, &Purge { tenant: Some("nobody".into()), ..Purge::default() }, &operator()).await;
    let route = purge::create(&database.primary, &Purge { route: Some("nowhere".into()), ..Purge::default() }, &operator()).await;

    assert!(matches!(&tenant, Err(StoreError::NotFound { what: "tenant", .. })), "{tenant:?}");
    assert!(matches!(&route, Err(StoreError::NotFound { what: "route", .. })), "{route:?}");
    assert_eq!(heads(&database.primary).await.expect("there are heads"), before);
}
