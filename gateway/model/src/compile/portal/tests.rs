use super::super::compile;
use crate::{
    document::Document,
    portal::{KeysDoc, PortalDoc, SignUpDoc},
    source,
};

fn read(portal: &str) -> Result<Document, String> {
    let text = format!(
        "version: 1\nplans: [ {{ name: free }} ]\napis: [ {{ name: orders, openapi: {{ openapi: 3.1.0, info: {{ title: o, version: \"1\" }}, paths: {{}} }} }} ]\ntenants:\n- {{ name: other, hosts: [ other.example ] }}\n- {{ name: acme, hosts: [ api.example ], portal: {portal} }}\n"
    );
    source::read::<Document>(&text).map(|(document, _)| document).map_err(|error| format!("syntax: {}", error.message))
}

/// A mistake in a portal, and the whole of what is said about it.
fn check(portal: &str, expected: &str) {
    let said = match read(portal) {
        Ok(document) => compile(&document).expect_err(portal).into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect(),
        Err(error) => vec![error],
    };
    assert!(said.len() == 1 && said[0].contains(expected), "{portal}\n  expected: {expected}\n  got: {said:?}");
}

#[test]
fn each_mistake_about_the_portal_is_named_with_its_place() {
    check("{ sign_up: everybody }", "syntax");
    check("{ signup: open }", "syntax");
    check("{ plan: gold }", "tenants[1].portal.plan: there is no plan named `gold`");
    check("{ scopes: [ read, \"a b\" ] }", "tenants[1].portal.scopes[1]: `a b` is not a scope");
    check("{ scopes: [ read, read ] }", "tenants[1].portal.scopes[1]: the scope `read` stands there twice");
    check("{ apis: [ order ] }", "tenants[1].portal.apis[0]: there is no API named `order`");
    check("{ apis: [ orders, orders ] }", "tenants[1].portal.apis[1]: the API `orders` stands there twice");
    for title in ["", "  ", "a\\tb", &"x".repeat(61)] {
        check(&format!("{{ title: \"{title}\" }}"), "tenants[1].portal.title: a title has 1 to 60 characters");
    }
}

#[test]
fn a_second_portal_is_refused() {
    let mut document = read("{}").unwrap();
    document.tenants[0].portal = Some(PortalDoc::default());

    let errors = compile(&document).unwrap_err();

    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0].path.as_str(), errors[0].message.contains("tenant `other` has the portal already")), ("tenants[1].portal", true));
}

#[test]
fn what_is_written_about_the_portal_is_kept_and_what_is_not_is_sign_up_closed_and_keys_open() {
    let title = "\u{e9}".repeat(60);
    let document =
        read(&format!("{{ sign_up: approval, keys: approval, plan: free, scopes: [ read ], apis: [ orders ], title: \"{title}\" }}")).unwrap();
    let kept: Document = serde_json::from_value(serde_json::to_value(&document).unwrap()).unwrap();
    compile(&kept).unwrap();

    let expected = PortalDoc {
        sign_up: SignUpDoc::Approval,
        keys: KeysDoc::Approval,
        plan: Some("free".to_owned()),
        scopes: vec!["read".to_owned()],
        apis: Some(vec!["orders".to_owned()]),
        title: Some(title),
    };
    assert_eq!((kept.tenants[0].portal.as_ref(), kept.tenants[1].portal.as_ref()), (None, Some(&expected)));
    let silent = read("{}").unwrap().tenants[1].portal.clone().unwrap();
    assert_eq!((silent.sign_up, silent.keys), (SignUpDoc::Closed, KeysDoc::Open));
    // A node of the version before refuses a document with a member that it does not know.
    assert!(!serde_json::to_string(&silent).unwrap().contains("keys"));
}
