use super::*;

fn check(body: &str, expected: Result<(), &str>) {
    let wish: CreateKey = serde_json::from_str(body).unwrap();
    let found = wish.validate().map_err(|errors| errors.field_errors().keys().map(ToString::to_string).collect::<Vec<_>>().join(","));
    assert_eq!(found, expected.map_err(str::to_owned), "{body}");
}

#[test]
fn lists_are_checked_entry_by_entry() {
    check(r#"{"name":"k","routes":["orders"],"methods":["GET","M-SEARCH"],"addresses":["192.0.2.7","2001:db8::/32"]}"#, Ok(()));
    check(r#"{"name":"k","routes":[],"methods":[],"addresses":[]}"#, Ok(()));
    check(r#"{"name":"k","routes":["Orders!"]}"#, Err("routes"));
    check(r#"{"name":"k","methods":["get"]}"#, Err("methods"));
    check(r#"{"name":"k","methods":["G E T"]}"#, Err("methods"));
    check(r#"{"name":"k","methods":[""]}"#, Err("methods"));
    for address in ["192.0.2.0/33", "192.0.2", "example.com", "", "192.0.2.7:80", "*"] {
        check(&format!(r#"{{"name":"k","addresses":["{address}"]}}"#), Err("addresses"));
    }
    check(&format!(r#"{{"name":"k","certificates":["{}"]}}"#, "ab".repeat(32)), Ok(()));
    check(r#"{"name":"k","certificates":[]}"#, Ok(()));
    for text in ["", "ab", &"ab".repeat(33), &"xy".repeat(32)] {
        check(&format!(r#"{{"name":"k","certificates":["{text}"]}}"#), Err("certificates"));
    }
    let many = vec!["\"192.0.2.7\""; 33].join(",");
    check(&format!(r#"{{"name":"k","addresses":[{many}]}}"#), Err("addresses"));
}

#[test]
fn a_range_is_shown_as_it_is_meant() {
    let shown = |text| network(text).map(|range| range.to_string());

    assert_eq!(shown("192.0.2.77/24").as_deref(), Some("192.0.2.0/24"));
    assert_eq!(shown("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
    assert_eq!(shown("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
}

#[test]
fn null_gives_back_what_the_application_has_and_what_is_absent_stays() {
    let change = |body: &str| serde_json::from_str::<ChangeKey>(body).unwrap();

    let unchanged = change("{}").restrictions();
    assert_eq!((unchanged.routes, unchanged.methods), (Patch::Keep, Patch::Keep));
    assert_eq!((unchanged.addresses, unchanged.certificates), (Patch::Keep, Patch::Keep));
    let KeyChange { routes, methods, addresses, certificates, .. } =
        change(&format!(r#"{{"routes":null,"methods":["GET"],"addresses":["192.0.2.7"],"certificates":["{}"]}}"#, "AB:".repeat(31) + "ab"))
            .restrictions();
    assert_eq!((routes, methods), (Patch::Reset, Patch::Set(vec!["GET".into()])));
    assert_eq!(addresses, Patch::Set(vec!["192.0.2.7/32".parse().unwrap()]));
    assert_eq!(certificates, Patch::Set(vec![Thumbprint([0xab; 32])]));
    assert_eq!(change(r#"{"certificates":null}"#).restrictions().certificates, Patch::Reset);
    assert_eq!(change(r#"{"scopes":null}"#).scopes, Patch::Reset);
    assert_eq!(change(r#"{"scopes":[]}"#).scopes, Patch::Set(Vec::new()));
    assert_eq!(change("{}").scopes, Patch::Keep);
    assert!(change(r#"{"name":""}"#).check().is_err());
    assert!(change(r#"{"expires_in":59}"#).check().is_err());
}

#[test]
fn a_call_is_the_same_only_from_the_same_operator_with_the_same_body() {
    let body: CreateKey = serde_json::from_str(r#"{"name":"k"}"#).unwrap();
    let other: CreateKey = serde_json::from_str(r#"{"name":"l"}"#).unwrap();
    let actor = |name: &str| Actor { kind: store::actor::ActorKind::Operator, name: name.to_owned() };
    let headers = |key: &str| HeaderMap::from_iter([(IDEMPOTENCY_KEY, key.parse().unwrap())]);
    let made = |name, key, body: &CreateKey| call(&headers(key), &actor(name), body).unwrap().unwrap();

    let first = made("ann", "1", &body);
    assert_eq!((made("ann", "1", &body).token, made("ann", "1", &body).fingerprint), (first.token, first.fingerprint));
    assert_ne!(made("ben", "1", &body).token, first.token);
    assert_ne!(made("ann", "2", &body).token, first.token);
    assert_ne!(made("ann", "1", &other).fingerprint, first.fingerprint);
    assert!(call(&headers(&"x".repeat(256)), &actor("ann"), &body).is_err());
    assert!(call(&HeaderMap::new(), &actor("ann"), &body).unwrap().is_none());
    let mut twice = headers("1");
    twice.append(IDEMPOTENCY_KEY, "2".parse().unwrap());
    assert!(call(&twice, &actor("ann"), &body).is_err());
}
