use super::qualifier;

#[test]
fn qualifiers_become_parameters_and_keep_colons_in_their_values() {
    assert_eq!(qualifier("status:>=400"), Ok(("status", ">=400".to_owned())));
    assert_eq!(qualifier("request:abc"), Ok(("request_id", "abc".to_owned())));
    assert_eq!(qualifier("since:2026-01-31T12:00:00Z"), Ok(("since", "2026-01-31T12:00:00Z".to_owned())));
}

#[test]
fn a_mistyped_qualifier_is_refused_with_the_nearest_one() {
    assert_eq!(qualifier("staus:400"), Err("did you mean `status:`?".to_owned()));
    assert!(qualifier("colour:red").is_err());
    assert!(qualifier("orders").is_err());
}
