use crate::{compile::compile, document::Document, source, structure::Structure};

fn compiled(principal: &str, route: &str) -> Result<Structure, Vec<String>> {
    let text = format!(
        "
version: 1
regions: [ {{ name: eu }} ]
tenants: [ {{ name: acme, hosts: [ api.example ] }} ]
upstreams:
- {{ name: shop, regions: {{ eu: {{ targets: [ \"http://10.0.0.1:8080\" ] }} }} }}
- {{ name: told, regions: {{ eu: {{ targets: [ \"http://10.0.0.2:8080\" ] }} }}{principal} }}
routes:
- {{ name: a, match: {{ path: /a }}, consistency: {{ reads: {{ mode: eventual }} }}, {route} }}
"
    );
    let (document, _) = source::read::<Document>(&text).map_err(|error| vec![format!("syntax: {}", error.message)])?;
    // The database keeps documents as JSON: nothing may be lost there.
    let kept: Document = serde_json::from_value(serde_json::to_value(&document).unwrap()).unwrap();
    compile(&kept).map_err(|errors| errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect())
}

fn audiences(structure: &Structure) -> Vec<Option<&str>> {
    structure.upstreams.iter().map(|upstream| upstream.principal.as_deref()).collect()
}

#[test]
fn service_that_asks_is_told_and_no_other() {
    for (principal, expected) in
        [("", None), (", principal: {}", Some("told")), (", principal: { audience: \"https://told.example/v1\" }", Some("https://told.example/v1"))]
    {
        let structure = compiled(principal, "upstream: told").unwrap();
        assert_eq!(audiences(&structure), [None, expected], "{principal}");
    }
}

#[test]
fn each_mistake_about_principals_is_named_with_its_place() {
    let long = format!(", principal: {{ audience: {} }}", "a".repeat(256));
    let cached = "routes[0].cache: service `told` is told who calls";
    for (principal, route, expected) in [
        (", principal: { audience: \"\" }", "upstream: told", "upstreams[1].principal.audience: an audience has 1 to 255 bytes"),
        (", principal: { audience: \"a b\" }", "upstream: told", "upstreams[1].principal.audience"),
        (", principal: { audience: \"a\\nb\" }", "upstream: told", "upstreams[1].principal.audience"),
        (&long, "upstream: told", "upstreams[1].principal.audience"),
        (", principal: { audiense: a }", "upstream: told", "syntax"),
        (", principal: true", "upstream: told", "syntax"),
        (", principal: {}", "upstream: told, cache: {}", cached),
        (", principal: {}", "upstream: told, cache: { shared: true }", cached),
        (", principal: {}", "upstream: shop, cache: {}, canary: [ { upstream: told, header: x } ]", cached),
        (", principal: {}", "upstream: shop, cache: {}, split: [ { upstream: told, percent: 1 } ]", cached),
    ] {
        let errors = compiled(principal, route).expect_err(route);
        assert!(errors.iter().any(|error| error.contains(expected)), "{principal} {route}\n  expected: {expected}\n  got: {errors:?}");
    }
    for (principal, route) in [
        ("", "upstream: told, cache: {}"),
        // Nobody is told of.
        (", principal: {}", "upstream: told, auth: none, cache: {}"),
        // Its answers are dropped.
        (", principal: {}", "upstream: shop, cache: {}, mirror: { upstream: told }"),
    ] {
        assert!(compiled(principal, route).is_ok(), "{principal} {route}: {:?}", compiled(principal, route));
    }
}

/// The word is the gateway's: no rule of a document can put another in its place, or take it away.
#[test]
fn no_header_rule_can_name_the_field() {
    for rule in ["set: { Causeway-Principal: x }", "add: { causeway-principal: x }", "remove: [ causeway_principal ]"] {
        let errors = compiled(", principal: {}", &format!("upstream: told, headers: {{ request: {{ {rule} }} }}")).expect_err(rule);
        assert!(errors.iter().any(|error| error.contains("is the gateway's own word")), "{rule}: {errors:?}");
    }
}
