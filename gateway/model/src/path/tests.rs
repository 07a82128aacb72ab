use proptest::prelude::*;

use super::*;

#[test]
fn ordinary_paths_pass_untouched() {
    for path in ["/", "/a", "/a/", "/a/b.c/..d", "/a/...", "/a;v=1/b", "/%C3%A9", "/a%20b", "/:@!$&'()*+,="] {
        assert_eq!(normalize(path).as_deref(), Ok(path));
    }
}

#[test]
fn encoded_unreserved_characters_are_decoded_once() {
    assert_eq!(normalize("/%41%2d%7E%c3%a9").as_deref(), Ok("/A-~%C3%A9"));
    assert_eq!(normalize("/%2541").as_deref(), Ok("/%2541"), "never twice");
}

#[test]
fn tricks_are_refused() {
    use PathError::{BadEscape, Control, DotSegment, EmptySegment, HiddenSeparator, NotAbsolute, NotUtf8};
    for (path, error) in [
        ("", NotAbsolute),
        ("a", NotAbsolute),
        ("*", NotAbsolute),
        ("/..", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/.", DotSegment),
        ("/%2e%2e/b", DotSegment),
        ("/.%2E/b", DotSegment),
        ("/..;x/b", DotSegment),
        ("//", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a%2fb", HiddenSeparator),
        ("/a%5Cb", HiddenSeparator),
        ("/a\\b", HiddenSeparator),
        ("/a%00", Control),
        ("/a\u{1}", Control),
        ("/%", BadEscape),
        ("/%4", BadEscape),
        ("/%zz", BadEscape),
        ("/%+1", BadEscape),
        ("/%c0%ae", NotUtf8),
        ("/%ff", NotUtf8),
        ("/%é", BadEscape),
    ] {
        assert_eq!(normalize(path).as_deref(), Err(&error), "{path}");
    }
}

proptest! {
    #[test]
    fn a_normal_path_is_a_fixed_point(path in "/[ -~é]{0,40}") {
        if let Ok(normal) = normalize(&path) {
            prop_assert_eq!(normalize(&normal).unwrap(), normal.clone());
        }
    }
}
