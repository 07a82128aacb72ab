use super::*;
use crate::{
    authority::Authority,
    change::{AuthorityChange, KeyRow, SecretRow},
    fixture::{key_id as id, key_row},
    key::foreign::Foreign,
    secret::SecretKey,
};

fn peppers() -> Peppers {
    Peppers::new([(1, SecretKey::new([1; 32])), (2, SecretKey::new([2; 32]))]).unwrap()
}

fn hash(text: &str) -> ForeignHash {
    Foreign::parse(text).unwrap().hash()
}

/// A key that a text finds under these layers, or none.
fn row(n: u8, text: Option<(&str, &[u16])>) -> KeyRow {
    let lookup = text.map(|(text, layers)| SecretRow { digest: peppers().lookup(layers, &hash(text)).unwrap().0, peppers: layers.to_vec() });
    KeyRow { lookup, ..key_row(n) }
}

fn set(n: u8, text: Option<(&str, &[u16])>) -> AuthorityChange {
    AuthorityChange::Key(Box::new(row(n, text)))
}

fn gone(n: u8) -> AuthorityChange {
    AuthorityChange::KeyRemoved { id: id(n) }
}

fn found(authority: &Authority, text: &str) -> Option<KeyId> {
    authority.imported.as_ref()?.find(&peppers(), &hash(text))
}

#[test]
fn a_key_is_found_by_its_text_whatever_order_changes_have() {
    let one: &[u16] = &[1];
    let start = Authority::from_rows([], [], [row(1, Some(("a", one))), row(2, Some(("b", &[1, 2]))), row(3, None)], []);
    for (changes, expected) in [
        (vec![], [Some(1), Some(2), None]),
        (vec![set(1, None)], [None, Some(2), None]),
        (vec![set(1, Some(("a", &[1, 2])))], [Some(1), Some(2), None]),
        (vec![set(1, Some(("a", &[1, 2]))), set(1, Some(("c", one)))], [None, Some(2), Some(1)]),
        (vec![gone(1), set(4, Some(("a", one)))], [Some(4), Some(2), None]),
        (vec![set(4, Some(("a", one))), gone(1)], [Some(4), Some(2), None]),
        (vec![set(3, Some(("c", &[2])))], [Some(1), Some(2), Some(3)]),
        (vec![set(3, Some(("c", &[2]))), set(3, None)], [Some(1), Some(2), None]),
        (vec![set(3, None), gone(9)], [Some(1), Some(2), None]),
    ] {
        let after = start.with(changes.clone());
        assert_eq!(["a", "b", "c"].map(|text| found(&after, text)), expected.map(|n| n.map(id)), "{changes:?}");
        let mut counted: Vec<_> = after.imported.as_ref().map(|imported| imported.layers.clone()).unwrap_or_default();
        let mut rows: Vec<(Layers, usize)> = Vec::new();
        for (_, key) in after.keys.iter() {
            let Some(lookup) = key.lookup() else { continue };
            match rows.iter_mut().find(|(layers, _)| *layers == lookup.peppers) {
                Some((_, n)) => *n += 1,
                None => rows.push((lookup.peppers.clone(), 1)),
            }
        }
        counted.sort_by_key(|(layers, _)| layers.to_vec());
        rows.sort_by_key(|(layers, _)| layers.to_vec());
        assert_eq!(counted, rows, "{changes:?}");
    }
}

#[test]
fn without_imported_keys_there_is_no_index_and_what_they_leave_goes() {
    let start = Authority::from_rows([], [], [row(3, None)], []);
    assert!(start.imported.is_none());
    let with = start.with([set(1, Some(("a", &[1])))]);
    assert_eq!(found(&with, "a"), Some(id(1)));
    let same = with.with([set(3, None)]);
    assert!(Arc::ptr_eq(with.imported.as_ref().unwrap(), same.imported.as_ref().unwrap()), "a change of another key copies nothing");
    assert!(with.with([gone(1)]).imported.is_none());
}

#[test]
fn a_row_goes_to_disk_and_back_with_what_finds_it() {
    let row = row(1, Some(("a", &[1, 2])));
    let key = Key::from(row.clone());
    let back: KeyRow = serde_json::from_value(serde_json::to_value(key.to_row(row.id)).unwrap()).unwrap();
    assert_eq!(back.lookup, row.lookup);
    let plain = serde_json::to_value(self::row(2, None)).unwrap();
    assert!(plain.get("lookup").is_none(), "a node of the version before could not read it");
}
