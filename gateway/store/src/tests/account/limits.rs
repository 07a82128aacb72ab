//! How many applications and keys the portal lets a team have: exact, however many ask at once.

use futures_util::future::join_all;

use super::conflicts;
use crate::{
    application::{self, NewApplication},
    consumer::{self, NewConsumer},
    key::{self, KeyFilter, NewKey, RevokedReason},
    page::PageRequest,
    tests::fixture::{Database, LATER, issued, operator},
};
use model::key::Purpose;

#[tokio::test]
async fn a_consumer_gets_no_more_applications_than_it_may_have() {
    let database = Database::new().await;
    let (consumer, first) = database.with_application().await;
    let (names, by): (Vec<String>, _) = ((0..8).map(|n| format!("app-{n}")).collect(), operator());
    let new = |name, at_most| NewApplication { name, consumer, plan: None, scopes: &[], at_most };
    let other = consumer::create(&database.primary, NewConsumer { name: "other", tenant: None, residency: None }, &by).await.expect("made").item.id;
    let of_other = NewApplication { consumer: other, ..new("others", Some(1)) };
    application::create(&database.primary, of_other, &by).await.expect("another's do not count");

    let results = join_all(names.iter().map(|name| application::create(&database.primary, new(name, Some(3)), &by))).await;

    let refused = results.iter().filter(|result| conflicts(result, "application_count")).count();
    assert_eq!((results.iter().filter(|result| result.is_ok()).count(), refused), (2, 6), "{results:?}");
    application::create(&database.primary, new("unbounded", None), &by).await.expect("without a number there is no bound");
    for gone in [first, results.into_iter().find_map(Result::ok).expect("two").item.id] {
        application::delete(&database.primary, gone, &by).await.expect("deleted");
    }
    application::create(&database.primary, new("again", Some(3)), &by).await.expect("there is room again");
}

#[tokio::test]
async fn an_application_gets_no_more_keys_than_it_may_have_and_revoked_ones_do_not_count() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let by = operator();
    let revoked = issued(Purpose::Live);
    let new = |issued| NewKey { at_most: Some(3), ..NewKey::of(issued, "k", application, LATER) };
    key::create(&database.primary, new(&revoked), &by).await.expect("made");
    key::revoke(&database.primary, &revoked.id, RevokedReason::Asked, &by).await.expect("revoked");
    let drawn: Vec<_> = (0..8).map(|_| issued(Purpose::Live)).collect();

    let results = join_all(drawn.iter().map(|issued| key::create(&database.primary, new(issued), &by))).await;

    let refused = results.iter().filter(|result| conflicts(result, "key_count")).count();
    assert_eq!((results.iter().filter(|result| result.is_ok()).count(), refused), (3, 5), "{results:?}");
    let more = issued(Purpose::Live);
    key::create(&database.primary, NewKey { at_most: None, ..new(&more) }, &by).await.expect("without a number there is no bound");
}

#[tokio::test]
async fn keys_are_listed_by_consumer() {
    let database = Database::new().await;
    let (consumer, application) = database.with_application().await;
    let by = operator();
    let other = consumer::create(&database.primary, NewConsumer { name: "other", tenant: None, residency: None }, &by).await.expect("made").item.id;
    let new = NewApplication { name: "others", consumer: other, plan: None, scopes: &[], at_most: None };
    let others = application::create(&database.primary, new, &by).await.expect("made").item.id;
    for application in [application, others, others] {
        let issued = issued(Purpose::Live);
        key::create(&database.primary, NewKey::of(&issued, "k", application, LATER), &by).await.expect("made");
    }

    let count = async |filter: KeyFilter| key::list(&database.primary, &filter, &PageRequest::default()).await.expect("a page").items.len();

    assert_eq!(count(KeyFilter { consumer: Some(consumer), ..KeyFilter::default() }).await, 1);
    assert_eq!(count(KeyFilter { consumer: Some(other), ..KeyFilter::default() }).await, 2);
    assert_eq!(count(KeyFilter { consumer: Some(other), application: Some(application), ..KeyFilter::default() }).await, 0);
    assert_eq!(count(KeyFilter::default()).await, 3);
}
