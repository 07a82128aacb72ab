use model::key::Purpose;

use super::fixture::{Database, LATER, document, file, issued, operator};
use crate::{
    application::{self, NewApplication},
    apply::{ApplyReport, Mode, ResourceName, apply},
    consumer::{self, NewConsumer},
    error::StoreError,
    key::{self, NewKey},
    page::PageRequest,
    revision::{Delta, authority_delta, heads, structure},
};

const WHOLE: &str = "
regions: [{ name: eu }, { name: us }]
domains: [{ name: shop, servers: [{ address: '127.0.0.1:5432', region: eu }] }]
tenants: [{ name: acme, hosts: [api.example.com] }]
plans: [{ name: basic, limits: { calls: { rate: 20/s, burst: 40 } } }, { name: gold, limits: { calls: { rate: 1000/m } } }]
issuers: [{ name: accounts, issuer: 'https://id.example', jwks: 'https://id.example/keys', audiences: [api], application: web }]
apis: [{ name: orders, openapi: { openapi: 3.1.0, info: { title: t, version: '1' }, paths: {}, x-number: 1e2 } }]
consumers: [{ name: shop }]
applications: [{ name: web, consumer: shop, plan: basic, scopes: [read, write] }, { name: app, consumer: shop }]
upstreams: [{ name: orders, domain: shop, regions: { eu: { targets: ['http://127.0.0.1:9000'] } } }]
routes: [{ name: orders, match: { path: '/orders/**' }, upstream: orders }, { name: more, match: { path: /more }, upstream: orders }]
";

fn names(section: &[ResourceName]) -> Vec<String> {
    section.iter().map(|resource| format!("{} {}", resource.kind.as_str(), resource.name)).collect()
}

fn constraint(result: Result<ApplyReport, StoreError>) -> String {
    match result {
        Err(StoreError::Conflict { constraint, .. }) => constraint,
        other => panic!("a conflict was promised, not {other:?}"),
    }
}

#[tokio::test]
async fn applying_the_same_document_again_changes_nothing_and_takes_no_revision() {
    let database = Database::new().await;
    let document = document(WHOLE);

    let first = database.apply(&document).await;
    let second = database.apply(&document).await;

    assert_eq!(first.created.len(), 14);
    assert_eq!((first.revisions.authority, first.revisions.structural), (1, 1));
    assert!(second.is_empty(), "{second:?}");
    assert_eq!(second.unchanged, first.created);
    assert_eq!(second.revisions, first.revisions);
    let stored = structure(&database.primary).await.expect("it loads");
    assert!(stored.quarantined.is_empty());
    let without_callers = model::document::Document { consumers: Vec::new(), applications: Vec::new(), ..document };
    let text = |document| serde_json::to_value(document).expect("it is plain");
    assert_eq!(text(stored.document), text(without_callers));
}

#[tokio::test]
async fn an_update_touches_what_is_different_and_one_revision_a_lane() {
    let database = Database::new().await;
    database.apply(&document(WHOLE)).await;
    let changed = WHOLE.replace("burst: 40", "burst: 41").replace("scopes: [read, write]", "scopes: [read]").replace("name: more", "name: rest");

    let report = database.apply(&document(&changed)).await;

    assert_eq!(names(&report.updated), ["plan basic", "application web"]);
    assert_eq!(names(&report.created), ["route rest"]);
    assert_eq!(names(&report.deleted), ["route more"]);
    assert_eq!((report.revisions.authority, report.revisions.structural), (2, 2));
}

#[tokio::test]
async fn a_new_order_alone_is_no_update_and_yet_stored() {
    let database = Database::new().await;
    database.apply(&document("regions: [{ name: eu }, { name: us }]")).await;

    let report = database.apply(&document("regions: [{ name: us }, { name: eu }]")).await;

    assert!(report.is_empty(), "{report:?}");
    assert_eq!(report.revisions.structural, 2);
    let stored = structure(&database.primary).await.expect("it loads").document;
    assert_eq!(stored.regions.iter().map(|region| region.name.as_str()).collect::<Vec<_>>(), ["us", "eu"]);
}

#[tokio::test]
async fn apply_prunes_its_own_rows_and_no_others() {
    let database = Database::new().await;
    database.with_application().await;
    database.apply(&document(&WHOLE.replace("[{ name: acme", "[{ name: gone, hosts: [g.example.com] }, { name: acme"))).await;

    let report = database.apply(&document("tenants: [{ name: acme, hosts: [api.example.com] }]")).await;

    assert_eq!(report.deleted.len(), 14);
    let left = application::list(&database.primary, &application::ApplicationFilter::default(), &PageRequest::default()).await.expect("a list");
    assert_eq!(left.items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["made-app"]);
    let left = consumer::list(&database.primary, None, &PageRequest::default()).await.expect("a list");
    assert_eq!(left.items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["made"]);
    assert_eq!(database.number("select count(*) from gateway_resource").await, 0);
}

#[tokio::test]
async fn keys_end_with_the_application_that_the_file_drops() {
    let database = Database::new().await;
    database.apply(&document(WHOLE)).await;
    let application = application::by_name(&database.primary, "web").await.expect("it is there").id;
    let issued = issued(Purpose::Live);
    let new = NewKey::of(&issued, "k", application, LATER);
    key::create(&database.primary, new, &operator()).await.expect("a key is made");
    let before = heads(&database.primary).await.expect("there are heads");

    let report = database.apply(&document(&WHOLE.replace("{ name: web, consumer: shop, plan: basic, scopes: [read, write] },", ""))).await;

    assert_eq!((names(&report.deleted), report.keys_revoked), (vec!["application web".to_owned()], vec![issued.id]));
    assert!(matches!(key::get(&database.primary, &issued.id).await, Err(StoreError::NotFound { .. })));
    let delta = authority_delta(&database.primary, &before).await.expect("a delta");
    let Delta::Changes { changes, .. } = delta else { panic!("nothing asks for a reload") };
    let kinds: Vec<_> =
        changes.into_iter().map(|change| serde_json::to_value(change.result.expect("it reads")).expect("plain")["kind"].clone()).collect();
    assert_eq!(kinds, ["key_removed", "application_removed"]);
}

#[tokio::test]
async fn what_the_api_still_uses_is_not_pruned_and_nothing_else_changes_either() {
    let database = Database::new().await;
    database.apply(&document(WHOLE)).await;
    let consumer = consumer::create(&database.primary, NewConsumer { name: "api-made", tenant: None, residency: None }, &operator())
        .await
        .expect("made")
        .item
        .id;
    let new = NewApplication { name: "api-app", consumer, plan: Some("gold"), scopes: &[], at_most: None };
    application::create(&database.primary, new, &operator()).await.expect("made");
    let before = heads(&database.primary).await.expect("there are heads");
    let without_gold =
        WHOLE.replace(", { name: gold, limits: { calls: { rate: 1000/m } } }", "").replace("[{ name: eu }", "[{ name: xx }, { name: eu }");

    let result = apply(&database.primary, &document(&without_gold), Mode::Commit, &file()).await;
    let without_tenant = apply(&database.primary, &document(""), Mode::DryRun, &file()).await;

    assert_eq!(constraint(result), "application_plan_fk");
    // The plan is looked at first.
    assert_eq!(constraint(without_tenant), "application_plan_fk");
    assert_eq!(heads(&database.primary).await.expect("there are heads"), before);
    assert_eq!(structure(&database.primary).await.expect("it loads").document.regions.len(), 2);
}

#[tokio::test]
async fn a_name_that_the_api_rules_is_refused() {
    let database = Database::new().await;
    database.with_application().await;
    let tenant = "tenants: [{ name: acme, hosts: [api.example.com] }]\n";

    let consumer = apply(&database.primary, &document(&format!("{tenant}consumers: [{{ name: made }}]")), Mode::Commit, &file()).await;
    let both = format!("{tenant}consumers: [{{ name: other }}]\napplications: [{{ name: made-app, consumer: other }}]");
    let application = apply(&database.primary, &document(&both), Mode::Commit, &file()).await;

    assert_eq!((constraint(consumer), constraint(application)), ("managed_by".to_owned(), "managed_by".to_owned()));
    assert!(matches!(consumer::by_name(&database.primary, "other").await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_dry_run_reports_the_same_and_keeps_nothing() {
    let database = Database::new().await;
    let document = document(WHOLE);

    let dry = apply(&database.primary, &document, Mode::DryRun, &file()).await.expect("it is computed");
    let empty = structure(&database.primary).await.expect("it loads").document;
    let real = database.apply(&document).await;

    assert!(empty.routes.is_empty());
    assert_eq!((dry.revisions.authority, dry.revisions.structural), (0, 0));
    assert_eq!(ApplyReport { revisions: real.revisions, ..dry }, real);
}

#[tokio::test]
async fn a_character_that_the_database_cannot_store_is_the_callers_mistake() {
    let database = Database::new().await;
    let api = "apis: [{ name: a, openapi: { openapi: 3.1.0, info: { title: \"\\0\", version: '1' }, paths: {} } }]";

    let result = apply(&database.primary, &document(api), Mode::Commit, &file()).await;

    assert!(matches!(result, Err(StoreError::Invalid { .. })), "{result:?}");
}
