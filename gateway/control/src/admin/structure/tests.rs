use serde_json::json;
use store::page::PageRequest;

use super::page_of;

#[test]
fn walking_the_cursors_of_a_section_shows_each_entry_once_in_the_order_of_names() {
    let entries: Vec<_> = ["d", "a", "c", "e", "b"].into_iter().map(|name| json!({ "name": name })).collect();
    let mut seen = Vec::new();
    let mut cursor = None;

    loop {
        let page = page_of(entries.clone(), &PageRequest { limit: 2, cursor });
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }

    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}
