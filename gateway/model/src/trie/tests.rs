use super::*;

fn trie(patterns: &[&'static str]) -> Trie<&'static str> {
    let mut trie = Trie::default();
    for pattern in patterns {
        trie.insert(&Pattern::parse(pattern).unwrap(), *pattern);
    }
    trie
}

#[test]
fn the_most_specific_pattern_wins() {
    let trie = trie(&["/**", "/a/**", "/a/{x}", "/a/b", "/a/{x}/c", "/a/b/{y}", "/"]);
    for (path, expected) in [
        ("/", "/"),
        ("/z", "/**"),
        ("/z/y/x", "/**"),
        ("/a", "/a/**"),
        ("/a/", "/a/**"),
        ("/a/b", "/a/b"),
        ("/a/q", "/a/{x}"),
        ("/a/q/", "/a/**"),
        ("/a/b/c", "/a/b/{y}"),
        ("/a/q/c", "/a/{x}/c"),
        ("/a/q/d", "/a/**"),
    ] {
        assert_eq!(trie.find(path, |_| true), Some(&expected), "{path}");
    }
}

#[test]
fn the_search_goes_back_when_a_candidate_does_not_fit() {
    let trie = trie(&["/a/b/{y}", "/a/{x}/c", "/a/**"]);

    assert_eq!(trie.find("/a/b/c", |value| *value != "/a/b/{y}"), Some(&"/a/{x}/c"));
    assert_eq!(trie.find("/a/b/c", |value| value.ends_with("**")), Some(&"/a/**"));
    assert_eq!(trie.find("/a/b/c", |_| false), None);
}

#[test]
fn patterns_that_cannot_be_read_are_refused() {
    for text in ["", "a", "/**/a", "/{}", "/x{y}", "/{a}{b}", "/a/*", "/../b", "/a//b", "/%41"] {
        assert!(Pattern::parse(text).is_err(), "{text}");
    }
    assert_eq!(Pattern::parse("/a/{x}").unwrap().shape(), Pattern::parse("/a/{other}").unwrap().shape());
}

/// An escape that is not needed must not lead to a less specific route (RFC 3986 section 6.2.2 leaves it; services do not).
#[test]
fn spellings_of_one_segment_find_one_pattern() {
    let trie = trie(&["/**", "/users/@me", "/caf\u{e9}", "/a%20b", "/users/{id}"]);
    for (path, expected) in [
        ("/users/@me", "/users/@me"),
        ("/users/%40me", "/users/@me"),
        ("/caf%C3%A9", "/caf\u{e9}"),
        ("/caf\u{e9}", "/caf\u{e9}"),
        ("/a%20b", "/a%20b"),
        ("/users/%2540me", "/users/{id}"),
    ] {
        assert_eq!(trie.find(path, |_| true), Some(&expected), "{path}");
    }
    assert_eq!(Pattern::parse("/a%40b").unwrap().shape(), Pattern::parse("/a@b").unwrap().shape(), "two spellings are one route");
}
