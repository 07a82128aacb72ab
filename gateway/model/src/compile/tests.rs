use super::*;
use crate::source;

const BASE: &str = "
version: 1
regions: [ { name: eu }, { name: us } ]
domains: [ { name: shop, servers: [ { address: \"db:5432\", region: eu } ] } ]
tenants: [ { name: acme, hosts: [ api.example, \"*.acme.example\" ] } ]
plans: [ { name: free, limits: { daily: { rate: 100/d } } } ]
upstreams:
- { name: shop, domain: shop, regions: { eu: { targets: [ \"http://10.0.0.1:8080\" ] }, us: { targets: [ \"http://10.1.0.1:8080\" ] } } }
routes:
";

fn compile_routes(routes: &str) -> Result<Structure, Vec<String>> {
    let (document, _) = source::read::<Document>(&format!("{BASE}{routes}")).map_err(|error| vec![format!("syntax: {}", error.message)])?;
    compile(&document).map_err(|errors| errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect())
}

/// A mistake in one route, and what the message must hold.
fn check(route: &str, expected: &str) {
    let errors = compile_routes(route).expect_err(route);
    assert!(errors.iter().any(|error| error.contains(expected)), "{route}\n  expected: {expected}\n  got: {errors:?}");
}

#[test]
fn each_kind_of_mistake_is_named_with_its_place() {
    check("- { name: a, match: { path: /a }, upstream: shopp }", "routes[0].upstream: there is no upstream named `shopp`");
    check("- { name: A, match: { path: /a }, upstream: shop }", "routes[0].name: `A` is not a name");
    check("- { name: a, match: { path: a }, upstream: shop }", "routes[0].match.path: `a`: a path pattern starts with a slash");
    check("- { name: a, match: { path: /a, host: other.example }, upstream: shop }", "belongs to no tenant");
    check("- { name: a, match: { path: /a, methods: [get] }, upstream: shop }", "routes[0].match.methods[0]");
    check("- { name: a, match: { path: /a }, api: nope, upstream: shop }", "routes[0].api: there is no API named `nope`");
    check("- { name: a, match: { path: /a }, auth: jwt, upstream: shop }", "refused until then");
    check("- { name: a, match: { path: /a }, auth: { any_of: [ api_key, { jwt: { issuer: x } } ] }, upstream: shop }", "refused until then");
    check("- { name: a, match: { path: /a }, auth: none, scopes: [x], upstream: shop }", "cannot ask for scopes");
    check("- { name: a, match: { path: /a }, idempotency: { methods: [POST] }, upstream: shop }", "refused until then");
    check("- { name: a, match: { path: /a }, audit: replicated, upstream: shop }", "refused until then");
    check(
        "- { name: a, match: { path: /a }, limits: [ { name: d, from: plan.weekly } ], upstream: shop }",
        "every plan needs a limit named `weekly`; these plans lack it: free",
    );
    check("- { name: a, match: { path: /a }, limits: [ { name: d, rate: 1/s, burst: 0 } ], upstream: shop }", "a burst of 0");
    check("- { name: a, match: { path: /a }, limits: [ { name: d, rate: 1/s, scope: global } ], upstream: shop }", "refused until then");
    check("- { name: a, match: { path: /a }, auth: none, limits: [ { name: d, rate: 1/s } ], upstream: shop }", "can only count addresses");
    check("- { name: a, match: { path: /a }, consistency: { keys: { max_staleness: 1ms } }, upstream: shop }", "below 500ms");
    check("- { name: a, match: { path: /a }, consistency: { reads: { mode: bounded } }, upstream: shop }", "`max` belongs to");
    check("- { name: a, match: { path: /a }, allow: {}, upstream: shop }", "would refuse everybody");
    check("- { name: a, match: { path: /a/b }, rewrite: { strip_prefix: /x }, upstream: shop }", "does not start with this prefix");
    check("- { name: a, match: { path: /abc }, rewrite: { strip_prefix: /a }, upstream: shop }", "whole segments");
    check("- { name: a, match: { path: /a }, upstream: shop, consistency: finanze }", "syntax");
    check("- { name: a, match: { path: /a }, upstream: shop }\n- { name: a, match: { path: /b }, upstream: shop }", "used twice");
}

#[test]
fn every_mistake_is_reported_and_not_the_first_alone() {
    let errors =
        compile_routes("- { name: a, match: { path: a }, auth: jwt, upstream: x }\n- { name: b, match: { path: b }, upstream: y }").unwrap_err();

    assert_eq!(errors.len(), 5, "{errors:?}");
}

#[test]
fn routes_that_can_take_the_same_request_are_refused_unless_one_is_more_specific() {
    let two = |a: &str, b: &str| {
        compile_routes(&format!("- {{ name: a, match: {{ {a} }}, upstream: shop }}\n- {{ name: b, match: {{ {b} }}, upstream: shop }}"))
    };

    for (a, b) in [("path: /x", "path: /x"), ("path: \"/x/{a}\"", "path: \"/x/{b}\""), ("path: /x, methods: [GET, PUT]", "path: /x, methods: [PUT]")]
    {
        assert!(two(a, b).is_err_and(|errors| errors.iter().any(|error| error.contains("neither is more specific"))), "{a} | {b}");
    }
    for (a, b) in [
        ("path: /x", "path: /x, methods: [GET]"),
        ("path: /x, methods: [GET]", "path: /x, methods: [PUT]"),
        ("path: /x", "path: /x, headers: { x-a: \"1\" }"),
        ("path: /x, headers: { x-a: \"1\" }", "path: /x, headers: { x-a: \"2\" }"),
        ("path: \"/x/**\"", "path: \"/x/{a}\""),
        ("path: /x, host: api.example", "path: /x, host: \"*.acme.example\""),
    ] {
        assert!(two(a, b).is_ok(), "{a} | {b}: {:?}", two(a, b).err());
    }
}

#[test]
fn a_route_that_takes_get_takes_head_too() {
    let structure = compile_routes("- { name: a, match: { path: /a, methods: [GET] }, upstream: shop }").unwrap();

    assert!(structure.routes[0].methods.contains(&Method::HEAD), "or HEAD could reach a less specific route with weaker rules");
}

#[test]
fn a_host_finds_the_exact_table_then_the_longest_wildcard() {
    let structure = compile_routes("- { name: a, match: { path: /a }, upstream: shop }").unwrap();

    for (host, found) in
        [("api.example", true), ("x.acme.example", true), ("x.y.acme.example", true), ("acme.example", false), ("other.example", false)]
    {
        assert_eq!(structure.hosts.find(host).is_some(), found, "{host}");
    }
}
