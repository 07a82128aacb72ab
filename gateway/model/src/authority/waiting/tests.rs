use super::*;
use crate::{
    authority::Authority,
    change::{AuthorityChange, BcryptRow, KeyRow},
    fixture::{key_id as id, key_row},
};

/// A key that waits under this prefix, or that waits for nothing.
fn row(n: u8, prefix: Option<&str>) -> KeyRow {
    let bcrypt = prefix.map(|prefix| BcryptRow { prefix: Prefix::parse(prefix).unwrap(), sealed: vec![n, 255], pepper: 1 });
    KeyRow { bcrypt, ..key_row(n) }
}

fn set(n: u8, prefix: Option<&str>) -> AuthorityChange {
    AuthorityChange::Key(Box::new(row(n, prefix)))
}

fn gone(n: u8) -> AuthorityChange {
    AuthorityChange::KeyRemoved { id: id(n) }
}

fn found(authority: &Authority, text: &str) -> Vec<KeyId> {
    let text = Foreign::parse(text).unwrap();
    let mut found: Vec<_> = authority.waiting.iter().flat_map(|waiting| waiting.find(&text)).collect();
    found.sort_unstable();
    found
}

#[test]
fn keys_are_found_by_what_their_texts_begin_with_whatever_order_changes_have() {
    let start = Authority::from_rows([], [], [row(1, Some("prefix")), row(2, Some("prefix")), row(3, Some("prefix-c")), row(4, None)], []);
    for (changes, short, long) in [
        (vec![], vec![1, 2], vec![1, 2, 3]),
        (vec![set(1, None)], vec![2], vec![2, 3]),
        (vec![set(1, None), set(1, Some("prefix"))], vec![1, 2], vec![1, 2, 3]),
        (vec![set(1, Some("prefix-c")), set(2, Some("other-"))], vec![], vec![1, 3]),
        (vec![gone(1), gone(2)], vec![], vec![3]),
        (vec![gone(3), set(4, Some("prefix-c"))], vec![1, 2], vec![1, 2, 4]),
        (vec![set(4, Some("prefix")), set(4, None), gone(9)], vec![1, 2], vec![1, 2, 3]),
    ] {
        let after = start.with(changes.clone());
        let ids = |numbers: Vec<u8>| numbers.into_iter().map(id).collect::<Vec<_>>();
        assert_eq!(found(&after, "prefix-x"), ids(short), "{changes:?}");
        assert_eq!(found(&after, "prefix-c9"), ids(long), "{changes:?}");
        let mut lengths = after.waiting.as_ref().map(|waiting| waiting.lengths.clone()).unwrap_or_default();
        lengths.sort_unstable();
        let mut counted: Vec<(usize, usize)> = Vec::new();
        for prefix in after.keys.iter().filter_map(|(_, key)| prefix(key)) {
            match counted.iter_mut().find(|(length, _)| *length == prefix.as_str().len()) {
                Some((_, n)) => *n += 1,
                None => counted.push((prefix.as_str().len(), 1)),
            }
        }
        counted.sort_unstable();
        assert_eq!(lengths, counted, "{changes:?}");
    }
    assert_eq!(found(&start, "prefi"), [], "it is shorter than any prefix");
}

#[test]
fn while_no_key_waits_there_is_no_index() {
    let start = Authority::from_rows([], [], [row(4, None)], []);
    assert!(start.waiting.is_none());
    let with = start.with([set(1, Some("prefix"))]);
    let same = with.with([set(4, None)]);
    assert!(Arc::ptr_eq(with.waiting.as_ref().unwrap(), same.waiting.as_ref().unwrap()), "a change of another key copies nothing");
    assert!(with.with([set(1, None)]).waiting.is_none());
}

#[test]
fn a_row_goes_to_disk_and_back_with_what_is_sealed() {
    let row = row(1, Some("prefix"));
    let key = Key::from(row.clone());
    let written = serde_json::to_value(key.to_row(row.id)).unwrap();
    assert_eq!(written["bcrypt"], serde_json::json!({ "prefix": "prefix", "sealed": "01ff", "pepper": 1 }));
    let back: KeyRow = serde_json::from_value(written).unwrap();
    assert_eq!(back.bcrypt, row.bcrypt);
    let plain = serde_json::to_value(self::row(2, None)).unwrap();
    assert!(plain.get("bcrypt").is_none(), "a node of the version before could not read it");
}
