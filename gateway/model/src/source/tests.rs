use super::*;
use crate::document::Document;

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_known_key() {
    let error = read::<Document>("version: 1\nroutes:\n- name: a\n  match: { path: /a }\n  upstraem: x\n").unwrap_err();

    assert_eq!((error.line, error.column), (5, 3), "{error:?}");
    assert!(error.message.contains("upstraem"), "{error:?}");
    assert_eq!(error.help.as_deref(), Some("did you mean `upstream`?"), "{error:?}");
}

#[test]
fn a_wrong_value_names_its_place() {
    let error = read::<Document>("version: 1\nplans:\n- name: p\n  limits:\n    burst: { rate: 20 per second }\n").unwrap_err();

    assert_eq!(error.line, 5, "{error:?}");
    assert!(error.message.contains("20/s"), "{error:?}");
}

#[test]
fn the_position_of_a_value_is_found_by_its_path() {
    let (_, positions) = read::<Document>("version: 1\nroutes:\n- name: a\n  match: { path: /a }\n  upstream: x\n").unwrap();

    assert_eq!(positions.find("routes[0].upstream"), (5, 13));
    assert_eq!(positions.find("routes[0].match.path"), (4, 18));
    assert_eq!(positions.find("routes[0].absent").0, 3);
}

#[test]
fn hostile_texts_are_errors_and_not_panics() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]";
    for text in ["", ":", "{", "version: 1\nversion: 1", "\u{0}", &"[".repeat(100_000), bomb, "version: 1\nroutes: {}", "version: x"] {
        assert!(read::<Document>(text).is_err(), "{}", text.chars().take(40).collect::<String>());
    }
}
