use super::*;

fn check(restrictions: &str, (route, method, address): (&str, &str, &str), expected: Option<Restricted>) {
    let read: Restrictions = serde_json::from_str(restrictions).unwrap();
    let facts = Facts { route, method, address: address.parse().unwrap(), certificate: None };
    assert_eq!(read.forbids(facts), expected, "{restrictions} {route} {method} {address}");
}

#[test]
fn what_is_absent_does_not_restrict_and_what_is_empty_allows_nothing() {
    let usual = ("orders", "GET", "192.0.2.7");

    check("{}", usual, None);
    check(r#"{"routes":[]}"#, usual, Some(Restricted::Route));
    check(r#"{"methods":[]}"#, usual, Some(Restricted::Method));
    check(r#"{"addresses":[]}"#, usual, Some(Restricted::Address));
}

#[test]
fn each_list_is_held_against_its_own_fact() {
    check(r#"{"routes":["orders"]}"#, ("orders", "GET", "192.0.2.7"), None);
    check(r#"{"routes":["order"]}"#, ("orders", "GET", "192.0.2.7"), Some(Restricted::Route));
    check(r#"{"methods":["GET","HEAD"]}"#, ("orders", "HEAD", "192.0.2.7"), None);
    check(r#"{"methods":["GET"]}"#, ("orders", "get", "192.0.2.7"), Some(Restricted::Method));
    check(r#"{"addresses":["192.0.2.0/24"]}"#, ("orders", "GET", "192.0.2.7"), None);
    check(r#"{"addresses":["192.0.2.0/24"]}"#, ("orders", "GET", "192.0.3.7"), Some(Restricted::Address));
}

#[test]
fn an_address_has_one_meaning_on_both_stacks() {
    check(r#"{"addresses":["192.0.2.0/24"]}"#, ("orders", "GET", "::ffff:192.0.2.7"), None);
    check(r#"{"addresses":["192.0.2.0/24"]}"#, ("orders", "GET", "::ffff:192.0.3.7"), Some(Restricted::Address));
    check(r#"{"addresses":["2001:db8::/32"]}"#, ("orders", "GET", "192.0.2.7"), Some(Restricted::Address));
}

#[test]
fn a_restriction_that_this_version_does_not_know_is_not_skipped() {
    assert!(serde_json::from_str::<Restrictions>(r#"{"routes":["orders"],"weekdays":["monday"]}"#).is_err());
    assert!(serde_json::from_str::<Restrictions>(r#"{"addresses":["192.0.2.0/33"]}"#).is_err());
}

#[test]
fn a_key_with_certificates_needs_one_of_them_on_its_connection() {
    let (one, two) = (Thumbprint::of(b"one"), Thumbprint::of(b"two"));
    let broken = |certificates: &[Thumbprint], shown: Option<Thumbprint>| {
        let bound: Restrictions = serde_json::from_value(serde_json::json!({ "certificates": certificates })).unwrap();
        assert!(!bound.is_none());
        assert_eq!(serde_json::from_value::<Restrictions>(serde_json::to_value(&bound).unwrap()).unwrap(), bound);
        bound.forbids(Facts { route: "orders", method: "GET", address: "192.0.2.7".parse().unwrap(), certificate: shown })
    };

    for (certificates, shown, expected) in [
        (&[one, two][..], Some(two), None),
        (&[one], Some(one), None),
        (&[one], Some(two), Some(Restricted::Certificate)),
        (&[one], None, Some(Restricted::Certificate)),
        (&[], Some(one), Some(Restricted::Certificate)),
        (&[], None, Some(Restricted::Certificate)),
    ] {
        assert_eq!(broken(certificates, shown), expected, "{certificates:?} {shown:?}");
    }
    assert!(serde_json::from_str::<Restrictions>(r#"{"certificates":["ab"]}"#).is_err());
}
