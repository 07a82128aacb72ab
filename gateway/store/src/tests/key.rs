use model::{change::KeyState, id::ApplicationId, key::Purpose};
use uuid::Uuid;

use super::fixture::{Database, LATER, document, file, hex, issued, operator};
use crate::{
    application::{self, NewApplication, NoDefault},
    consumer::{self, NewConsumer},
    error::StoreError,
    key::{self, Created, KeyFilter, NewKey, RevokedReason},
    operator::{self, NewOperator},
    page::PageRequest,
    revision::heads,
};

#[tokio::test]
async fn a_key_is_stored_with_what_is_public_and_revoked_once() {
    let database = Database::new().await;
    let (consumer, application) = database.with_application().await;
    let issued = issued(Purpose::Test);
    let scopes = ["read".to_owned()];
    let new = NewKey { scopes: Some(&scopes), ..NewKey::of(&issued, "ci", application, LATER) };

    let Created::New(made) = key::create(&database.primary, new, &operator()).await.expect("a key is made") else { panic!("it is new") };
    let first = key::revoke(&database.primary, &issued.id, RevokedReason::Asked, &operator()).await.expect("it is revoked");
    let second = key::revoke(&database.primary, &issued.id, RevokedReason::Asked, &file()).await.expect("it says so again");
    let found = key::get(&database.primary, &issued.id).await.expect("it is there");

    assert_eq!((made.item.id, made.item.application, made.item.consumer), (issued.id, application, consumer));
    assert_eq!((made.item.environment.as_str(), made.item.tenant.as_str(), made.item.state), ("test", "acme", KeyState::Active));
    assert!(issued.text.expose_secret().ends_with(&made.item.last_four));
    assert_eq!((made.item.scopes.as_deref(), made.item.expires_at), (Some(scopes.as_slice()), LATER));
    assert_eq!(first.revisions.authority, made.revisions.authority + 1);
    assert_eq!((first.already, second.already), (false, true));
    assert_eq!((second.at, second.revisions.epoch_id, second.revisions.authority), (first.at, first.revisions.epoch_id, first.revisions.authority));
    assert_eq!(heads(&database.primary).await.expect("there are heads"), first.revisions);
    assert_eq!((found.state, found.revoked_at, found.revoked_by.as_deref()), (KeyState::Revoked, Some(first.at), Some("operator:ann")));
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_what_exists_is_a_conflict() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let issued = issued(Purpose::Live);
    let nobody = ApplicationId::new(Uuid::nil());
    let new = |application| NewKey::of(&issued, "k", application, LATER);

    let orphan = key::create(&database.primary, new(nobody), &operator()).await;
    let unknown = key::revoke(&database.primary, &issued.id, RevokedReason::Asked, &operator()).await;
    key::create(&database.primary, new(application), &operator()).await.expect("a key is made");
    let again = key::create(&database.primary, new(application), &operator()).await;

    assert!(matches!(&orphan, Err(StoreError::NotFound { what: "application", .. })), "{orphan:?}");
    assert!(matches!(&unknown, Err(StoreError::NotFound { what: "key", .. })), "{unknown:?}");
    assert!(matches!(&again, Err(StoreError::Conflict { constraint, .. }) if constraint == "api_key_pk"), "{again:?}");
}

#[tokio::test]
async fn deleting_a_consumer_ends_its_applications_and_their_keys() {
    let database = Database::new().await;
    let (consumer, application) = database.with_application().await;
    let issued = issued(Purpose::Live);
    let new = NewKey::of(&issued, "k", application, LATER);
    key::create(&database.primary, new, &operator()).await.expect("a key is made");

    let deleted = consumer::delete(&database.primary, consumer, &operator()).await.expect("it is deleted").item;

    assert_eq!((deleted.applications, deleted.keys_revoked), (vec!["made-app".to_owned()], vec![issued.id]));
    assert!(matches!(consumer::get(&database.primary, consumer).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(application::get(&database.primary, application).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(key::get(&database.primary, &issued.id).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn the_api_does_not_delete_what_the_file_rules() {
    let database = Database::new().await;
    database
        .apply(&document(
            "tenants: [{ name: acme, hosts: [a.example.com] }]\nconsumers: [{ name: shop }]\napplications: [{ name: web, consumer: shop }]",
        ))
        .await;
    let application = application::by_name(&database.primary, "web").await.expect("it is there");

    let first = application::delete(&database.primary, application.id, &operator()).await.map(drop);
    let second = consumer::delete(&database.primary, application.consumer, &operator()).await.map(drop);

    for result in [first, second] {
        assert!(matches!(&result, Err(StoreError::Conflict { constraint, .. }) if constraint == "managed_by"), "{result:?}");
    }
}

#[tokio::test]
async fn a_key_without_an_application_goes_to_the_only_one_or_to_the_default() {
    let database = Database::new().await;
    assert!(matches!(application::default_application(&database.primary).await, Err(NoDefault::NoApplication)));
    let (consumer, only) = database.with_application().await;
    assert_eq!(application::default_application(&database.primary).await.expect("the only one").id, only);
    let new = |name| NewApplication { name, consumer, plan: None, scopes: &[], at_most: None };
    application::create(&database.primary, new("a-second"), &operator()).await.expect("made");
    let Err(NoDefault::Ambiguous { names }) = application::default_application(&database.primary).await else { panic!("there is a choice") };
    assert_eq!(names, ["a-second", "made-app"]);
    let default = application::create(&database.primary, new("default"), &operator()).await.expect("made").item.id;

    let chosen = application::default_application(&database.primary).await.expect("the one named default");

    assert_eq!(chosen.id, default);
}

#[tokio::test]
async fn an_operator_token_is_found_until_it_is_revoked() {
    let database = Database::new().await;
    let issued = issued(Purpose::Operator);
    let new = NewOperator { issued: &issued, name: "ann", role: "operator", expires_at: None };

    operator::create(&database.primary, new, &file()).await.expect("a token is made");
    let twice = operator::create(&database.primary, NewOperator { issued: &super::fixture::issued(Purpose::Operator), ..new }, &file()).await;
    let odd = operator::create(&database.primary, NewOperator { role: "root", ..new }, &file()).await;
    let found = operator::find(&database.primary, &issued.id).await.expect("an answer").expect("it is there");
    operator::revoke(&database.primary, &issued.id, &file()).await.expect("it is revoked");
    let gone = operator::find(&database.primary, &issued.id).await.expect("an answer");

    assert_eq!((found.name.as_str(), found.role.as_str(), found.digest.0), ("ann", "operator", issued.digest.0));
    assert!(matches!(&twice, Err(StoreError::Conflict { constraint, .. }) if constraint == "operator_token_name_unique"), "{twice:?}");
    assert!(matches!(&odd, Err(StoreError::Invalid { .. })), "{odd:?}");
    assert!(gone.is_none());
}

/// identity.md: a dump of the database must contain nothing that authenticates.
#[tokio::test]
async fn no_column_of_any_table_holds_the_text_of_a_credential() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let (live, token) = (issued(Purpose::Live), issued(Purpose::Operator));
    let new = NewKey::of(&live, "k", application, LATER);
    key::create(&database.primary, new, &operator()).await.expect("a key is made");
    key::revoke(&database.primary, &live.id, RevokedReason::Asked, &operator()).await.expect("it is revoked");
    let new = NewOperator { issued: &token, name: "ann", role: "operator", expires_at: None };
    operator::create(&database.primary, new, &file()).await.expect("a token is made");
    let tables = database.texts("select format('%I', table_name) from information_schema.tables where table_schema = 'public'").await;
    assert!(tables.len() >= 13, "{tables:?}");

    let mut ids_seen = 0;
    for table in &tables {
        for issued in [&live, &token] {
            let text = issued.text.expose_secret();
            let secret = &text[text.len() - 49..text.len() - 6];
            let hex = hex(secret.as_bytes());
            // A row as text shows bytes in hexadecimal.
            let rows = |needle: &str| format!("select count(*) from {table} as entry where entry::text like '%{needle}%'");
            assert_eq!(database.number(rows(secret)).await, 0, "{table} holds the secret");
            assert_eq!(database.number(rows(&hex)).await, 0, "{table} holds the secret as bytes");
            ids_seen += database.number(rows(issued.id.as_str())).await;
        }
    }
    // The search does find what is there: the key, two entries of the log, the token.
    assert_eq!(ids_seen, 4);
}

#[tokio::test]
async fn pages_show_every_key_once_newest_first_and_filter() {
    let database = Database::new().await;
    let (consumer, application) = database.with_application().await;
    let new = NewApplication { name: "other", consumer, plan: None, scopes: &[], at_most: None };
    let other = application::create(&database.primary, new, &operator()).await.expect("made").item.id;
    let mut made = Vec::new();
    for number in 0..7 {
        let issued = issued(Purpose::Live);
        let application = if number == 3 { other } else { application };
        let new = NewKey::of(&issued, "k", application, LATER);
        key::create(&database.primary, new, &operator()).await.expect("a key is made");
        made.insert(0, issued.id);
    }
    // The same instant for some: the id decides, and no page may lose one.
    database
        .run("update api_key set created_at = (select min(created_at) from api_key) where created_at < (select max(created_at) from api_key)")
        .await;
    key::revoke(&database.primary, &made[0], RevokedReason::Asked, &operator()).await.expect("it is revoked");

    let mut seen = Vec::new();
    let mut page = PageRequest { limit: 2, cursor: None };
    loop {
        let found = key::list(&database.primary, &KeyFilter::default(), &page).await.expect("a page");
        assert!(found.items.len() <= 2);
        seen.extend(found.items.iter().map(|item| item.id));
        let Some(cursor) = found.next_cursor else { break };
        page.cursor = Some(cursor);
    }
    assert_eq!(seen[0], made[0]);
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!((seen.len(), sorted.len()), (7, 7));

    let count = async |filter: KeyFilter| key::list(&database.primary, &filter, &PageRequest::default()).await.expect("a page").items.len();
    assert_eq!(count(KeyFilter { application: Some(other), ..KeyFilter::default() }).await, 1);
    assert_eq!(count(KeyFilter { state: Some(KeyState::Revoked), ..KeyFilter::default() }).await, 1);
    assert_eq!(count(KeyFilter { tenant: Some("acme".to_owned()), ..KeyFilter::default() }).await, 7);
    assert_eq!(count(KeyFilter { tenant: Some("else".to_owned()), ..KeyFilter::default() }).await, 0);
    let odd = PageRequest { cursor: Some("1.2.3'".to_owned()), limit: 9999 };
    assert!(key::list(&database.primary, &KeyFilter::default(), &odd).await.expect("any text orders somewhere").items.is_empty());
    let foreign = PageRequest { cursor: Some("x".to_owned()), limit: 1 };
    let refused = consumer::list(&database.primary, None, &foreign).await;
    assert!(matches!(&refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    let unnamed = consumer::create(&database.primary, NewConsumer { name: "made", tenant: None, residency: None }, &operator()).await;
    assert!(matches!(&unnamed, Err(StoreError::Conflict { constraint, .. }) if constraint == "consumer_name_unique"), "{unnamed:?}");
}
