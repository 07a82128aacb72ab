use model::change::Revisions;

use super::fixture::{Database, document};
use crate::{
    error::StoreError,
    node::{self, Nack, NodeReport},
    page::PageRequest,
    plan,
    tenant::{self, ManagedBy},
};

#[tokio::test]
async fn tenants_and_plans_are_listed_with_what_the_file_says() {
    let database = Database::new().await;
    database
        .apply(&document(
            "tenants: [{ name: acme, hosts: [api.example.com, '*.acme.example'] }]\nplans: [{ name: basic, limits: { calls: { rate: 20/s } } }]",
        ))
        .await;

    let tenants = tenant::list(&database.primary, &PageRequest::default()).await.expect("a list");
    let plan = plan::get(&database.primary, "basic").await.expect("it is there");
    let plans = plan::list(&database.primary, &PageRequest::default()).await.expect("a list");
    let missing = tenant::get(&database.primary, "nobody").await;

    let hosts: Vec<String> = tenants.items[0].hosts.iter().map(ToString::to_string).collect();
    assert_eq!((tenants.items[0].name.as_str(), hosts), ("acme", vec!["api.example.com".to_owned(), "*.acme.example".to_owned()]));
    assert_eq!((plan.managed_by, plan.limits["calls"].rate.count.get(), plans.items.len()), (ManagedBy::File, 20, 1));
    assert!(matches!(missing, Err(StoreError::NotFound { what: "tenant", .. })));
}

#[tokio::test]
async fn a_late_report_of_an_earlier_start_does_not_stand_in_for_the_present_one() {
    let database = Database::new().await;
    let revisions = |authority| Revisions { epoch: 2, authority, structural_epoch: 1, structural: 1, ..Revisions::default() };
    let nack = Some(Nack { structural: 2, message: "a route names no service".to_owned() });
    let new = NodeReport {
        name: "eu-1".to_owned(),
        region: "eu".to_owned(),
        incarnation: 2,
        revisions: revisions(7),
        nack,
        deny_bound_ms: 2_000,
        has_predecessor: false,
        staleness_ms: None,
        trouble: None,
    };
    let old = NodeReport { incarnation: 1, revisions: revisions(3), nack: None, ..new.clone() };

    for report in [&old, &new] {
        node::register(&database.primary, report).await.expect("it is recorded");
    }
    assert!(!node::heartbeat(&database.primary, &old).await.expect("an answer"));

    let nodes = node::list(&database.primary).await.expect("a list");
    let seen = nodes.first().expect("one node");
    assert_eq!((nodes.len(), seen.incarnation, seen.revisions, &seen.nack), (1, 2, revisions(7), &new.nack));
}
