use super::*;

fn prefix(strip: &str, add: &str) -> RewriteDoc {
    RewriteDoc { strip_prefix: strip.to_owned(), add_prefix: add.to_owned(), path: None }
}

fn template(path: &str) -> RewriteDoc {
    RewriteDoc { strip_prefix: String::new(), add_prefix: String::new(), path: Some(path.to_owned()) }
}

#[test]
fn a_prefix_is_cut_whatever_spelling_the_path_came_in() {
    let check = |doc: RewriteDoc, pattern: &str, path: &str, expected: &str| {
        assert_eq!(Rewrite::compile(&doc, pattern).unwrap().apply(path), expected, "{doc:?} {pattern} {path}");
    };

    check(prefix("/caf\u{e9}", ""), "/caf\u{e9}/**", "/caf%C3%A9/x", "/x");
    check(prefix("/caf%C3%A9", ""), "/caf\u{e9}/**", "/caf\u{e9}/x", "/x");
    check(prefix("/@me", "/self"), "/@me/**", "/%40me/a%3Bb", "/self/a%3Bb");
    check(prefix("/a", ""), "/a/**", "/a", "/");
    check(prefix("/a", ""), "/a/**", "/a/", "/");
    check(prefix("/a", "/b"), "/a/**", "/a", "/b");
    check(prefix("/a/b", "/x/y"), "/a/b/c", "/a/b/c", "/x/y/c");
    check(prefix("/a/{id}", ""), "/a/{id}/**", "/a/7/rest", "/rest");
    check(prefix("", "/v2"), "/items/{id}", "/items/7", "/v2/items/7");
    check(prefix("", "/v2"), "/**", "/", "/v2/");
}

#[test]
fn a_template_moves_whole_segments() {
    let check = |doc: &str, pattern: &str, path: &str, expected: &str| {
        assert_eq!(Rewrite::compile(&template(doc), pattern).unwrap().apply(path), expected, "{doc} {pattern} {path}");
    };

    check("/v2/{id}", "/items/{id}", "/items/7", "/v2/7");
    check("/{b}/{a}", "/{a}/{b}", "/x%20y/%E2%82%AC", "/%E2%82%AC/x%20y");
    check("/v2/{id}/**", "/items/{id}/**", "/items/7/a/b", "/v2/7/a/b");
    check("/v2/{id}/**", "/items/{id}/**", "/items/7", "/v2/7");
    check("/**", "/items/**", "/items", "/");
    check("/fixed/", "/a", "/a", "/fixed/");
    check("/", "/a", "/a", "/");
}

#[test]
fn a_rewrite_that_cannot_be_meant_is_refused() {
    let check = |doc: RewriteDoc, pattern: &str, field: &str, error: RewriteError| {
        assert_eq!(Rewrite::compile(&doc, pattern), Err((field, error)) as Result<_, (&str, _)>, "{doc:?} {pattern}");
    };

    check(prefix("", ""), "/a", "strip_prefix", RewriteError::Empty);
    check(prefix("a", ""), "/a", "strip_prefix", RewriteError::NotPrefix("a".into()));
    check(prefix("", "/b/"), "/a", "add_prefix", RewriteError::NotPrefix("/b/".into()));
    check(prefix("", "/../b"), "/a", "add_prefix", RewriteError::NotPrefix("/../b".into()));
    check(prefix("/b", ""), "/a", "strip_prefix", RewriteError::OtherPath);
    check(prefix("/a", ""), "/abc", "strip_prefix", RewriteError::OtherPath);
    check(prefix("/a/b", ""), "/a/**", "strip_prefix", RewriteError::OtherPath);
    check(RewriteDoc { add_prefix: "/v".to_owned(), ..template("/x") }, "/a", "path", RewriteError::Both);
    check(template("x"), "/a", "path", RewriteError::NotPrefix("x".into()));
    check(template("/{id}"), "/a", "path", RewriteError::Unknown("id".into()));
    check(template("/{id}"), "/{id}/{id}", "path", RewriteError::Ambiguous("id".into()));
    check(template("/x"), "/a/**", "path", RewriteError::Rest);
    check(template("/x/**"), "/a", "path", RewriteError::Rest);
    check(template("/**/x"), "/a/**", "path", RewriteError::Segment("**".into()));
    // Text around a parameter could make a dot segment of it: `.` and `.;x`.
    check(template("/.{id}"), "/{id}", "path", RewriteError::Segment(".{id}".into()));
    check(template("/a//b"), "/a", "path", RewriteError::Segment("".into()));
    check(template("/a?b"), "/a", "path", RewriteError::Segment("a?b".into()));
}
