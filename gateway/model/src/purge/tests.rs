use serde_json::json;

use super::{Purge, TAG_BYTES_MAX, Tag};

#[test]
fn a_tag_is_visible_ascii_without_a_comma_and_not_too_long() {
    for good in ["a", "product:1234", "K\"'{}~!", &"x".repeat(TAG_BYTES_MAX)] {
        assert_eq!(Tag::parse(good).map(|tag| tag.as_str().to_owned()).as_deref(), Ok(good));
    }
    for bad in ["", " ", "a b", "a,b", "a\tb", "a\nb", "a\0", "\u{7f}", "ä", &"x".repeat(TAG_BYTES_MAX + 1)] {
        assert!(Tag::parse(bad).is_err(), "{bad:?}");
        assert!(serde_json::from_value::<Purge>(json!({ "tags": [bad] })).is_err(), "{bad:?}: nor does it come in through a row");
    }
    assert_ne!(Tag::parse("a"), Tag::parse("A"));
}

#[test]
fn a_purge_comes_back_from_the_log_as_it_was_and_says_what_it_names() {
    let tag = |text| Tag::parse(text).unwrap();
    for (purge, said) in [
        (Purge { tags: vec![tag("a"), tag("b")], ..Purge::default() }, "tag=a tag=b"),
        (Purge { route: Some("r".into()), ..Purge::default() }, "route=r"),
        (Purge { tenant: Some("t".into()), route: Some("r".into()), tags: vec![tag("a")] }, "tenant=t route=r tag=a"),
        (Purge::default(), "everything"),
    ] {
        assert_eq!(purge.to_string(), said);
        assert_eq!(purge.is_everything(), said == "everything");
        let row = serde_json::to_value(&purge).unwrap();
        assert_eq!(serde_json::from_value::<Purge>(row.clone()).unwrap(), purge, "{row}");
    }
}
