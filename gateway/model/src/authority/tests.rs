use uuid::Uuid;

use super::*;

fn row(id: u128, name: &str) -> ApplicationRow {
    ApplicationRow { id: application_id(id), consumer: ConsumerId::new(Uuid::from_u128(9)), name: name.to_owned(), plan: None, scopes: Vec::new() }
}

fn application_id(id: u128) -> ApplicationId {
    ApplicationId::new(Uuid::from_u128(id))
}

#[test]
fn applications_are_found_by_name_whatever_order_their_changes_have() {
    let start = Authority::from_rows([], [row(1, "a"), row(2, "b")], [], []);
    let set = |id, name: &str| AuthorityChange::Application(row(id, name));
    let gone = |id| AuthorityChange::ApplicationRemoved { id: application_id(id) };

    for (changes, expected) in [
        (vec![], [Some(1), Some(2), None]),
        (vec![set(1, "c")], [None, Some(2), Some(1)]),
        (vec![set(1, "c"), set(2, "a")], [Some(2), None, Some(1)]),
        (vec![set(2, "a"), set(1, "c")], [Some(2), None, Some(1)]),
        (vec![set(1, "b"), set(2, "a")], [Some(2), Some(1), None]),
        (vec![gone(1)], [None, Some(2), None]),
        (vec![gone(1), set(3, "a")], [Some(3), Some(2), None]),
        (vec![set(3, "a"), gone(1)], [Some(3), Some(2), None]),
        (vec![set(1, "c"), gone(1)], [None, Some(2), None]),
        (vec![set(1, "c"), set(1, "a")], [Some(1), Some(2), None]),
        (vec![gone(3)], [Some(1), Some(2), None]),
    ] {
        let after = start.with(changes.clone());
        let found = ["a", "b", "c"].map(|name| after.application_ids.get(name).copied());
        assert_eq!(found, expected.map(|id| id.map(application_id)), "{changes:?}");
    }
}

/// What nodes have sealed to their disks before consumers had labels, and what they seal now.
#[test]
fn a_consumers_labels_are_in_its_row_and_a_row_without_them_is_read() {
    let id = ConsumerId::new(Uuid::from_u128(9));
    let before = format!(r#"{{"kind":"consumer","id":"{id}","name":"acme","tenant":"main"}}"#);
    let change: AuthorityChange = serde_json::from_str(&before).unwrap();
    let labels = |authority: &Authority| authority.consumers.get(&id).unwrap().residency.as_ref().map(Labels::to_texts);
    let start = Authority::default().with([change]);
    assert_eq!(labels(&start), None);
    let written = serde_json::to_string(&AuthorityChange::Consumer(start.consumers.get(&id).unwrap().to_row(id))).unwrap();
    assert_eq!(written, before, "a version that knows no labels reads what has none");

    for asked in [vec![], vec!["eu".to_owned()], vec!["us".to_owned(), "eu".to_owned()]] {
        let row = ConsumerRow { id, name: "acme".to_owned(), tenant: "main".to_owned(), residency: Some(asked.clone()) };
        let after = start.with([AuthorityChange::Consumer(row)]);
        assert_eq!(labels(&after), Some(asked.clone()));
        let sealed = serde_json::to_vec(&after.consumers.get(&id).unwrap().to_row(id)).unwrap();
        let read = Authority::from_rows([serde_json::from_slice(&sealed).unwrap()], [], [], []);
        assert_eq!(labels(&read), Some(asked));
    }
}
