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
    check("- { name: a, match: { path: /a }, auth: mtls, upstream: shop }", "routes[0].auth: there are no `certificate_authorities`");
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
    check("- { name: a, match: { path: /a }, consistency: { reads: { mode: bounded, max: 200ms } }, upstream: shop }", "at least 250ms");
    check("- { name: a, match: { path: /a }, consistency: { reads: { mode: bounded, max: 2h } }, upstream: shop }", "at most 1h");
    check("- { name: a, match: { path: /a }, consistency: { reads: { mode: strong, cookie: true } }, upstream: shop }", "no other mode has one");
    check("- { name: a, match: { path: /a }, consistency: health, upstream: shop }", "nobody writes heartbeats into its domain `shop`");
    check("- { name: a, match: { path: /a }, allow: {}, upstream: shop }", "would refuse everybody");
    check("- { name: a, match: { path: /a/b }, rewrite: { strip_prefix: /x }, upstream: shop }", "does not start with this prefix");
    check("- { name: a, match: { path: /abc }, rewrite: { strip_prefix: /a }, upstream: shop }", "whole segments");
    check("- { name: a, match: { path: /a }, upstream: shop, consistency: finanze }", "syntax");
    check("- { name: a, match: { path: /a }, upstream: shop }\n- { name: a, match: { path: /b }, upstream: shop }", "used twice");
}

#[test]
fn how_old_an_answer_may_be_is_promised_where_it_can_be_proved() {
    let of = |base: &str| {
        let route = "- { name: a, match: { path: /a }, upstream: shop, consistency: health }";
        let (document, _) = source::read::<Document>(&format!("{base}{route}")).unwrap();
        compile(&document).map_err(|errors| errors.into_iter().map(|error| error.message).collect::<Vec<String>>())
    };
    let beating = BASE.replace("name: shop, servers", "name: shop, heartbeat: true, servers");
    let structure = of(&beating).unwrap();
    let upstream = &structure.upstreams[0];
    assert!(structure.domains[0].is_beating && !structure.domains[0].is_tracked);
    assert_eq!((upstream.beating, upstream.tracked), (Some(structure.domains[0].mark), None), "clients are told no positions for it");

    // Without a domain: in two regions nobody can tell; in one there is nothing to choose from.
    let two = BASE.replace("domain: shop, regions: { eu: { targets", "regions: { eu: { role: writer, targets");
    assert!(of(&two).unwrap_err().concat().contains("it has no `domain`"));
    let one = two.replace(", us: { targets: [ \"http://10.1.0.1:8080\" ] }", "");
    assert!(of(&one).is_ok());
    // Whoever may answer beside it is looked at, too.
    let other = "- { name: other, regions: { eu: { role: writer, targets: [ \"http://10.0.0.2:1\" ] }, us: { targets: [ \"http://10.1.0.2:1\" ] } } }\nroutes:";
    let route = "- { name: a, match: { path: /a }, upstream: shop, consistency: health, split: [ { upstream: other, percent: 1 } ] }";
    let (document, _) = source::read::<Document>(&format!("{}{route}", beating.replace("routes:", other))).unwrap();
    let errors = compile(&document).unwrap_err();
    assert!(errors.iter().any(|error| error.message.contains("`other`")), "{errors:?}");
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

/// A mistake in the keys of an upstream about its endpoints, and what the message must hold.
fn check_upstream(keys: &str, expected: &str) {
    let text = format!(
        "version: 1\nregions: [ {{ name: eu }} ]\ntenants: [ {{ name: acme, hosts: [ api.example ] }} ]\nupstreams:\n- {{ name: shop, regions: {{ eu: {{ targets: [ \"http://shop.internal\" ] }} }}, {keys} }}\n"
    );
    let errors = match source::read::<Document>(&text) {
        Ok((document, _)) => compile(&document).expect_err(keys).into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect(),
        Err(error) => vec![format!("syntax: {}", error.message)],
    };
    assert!(errors.iter().any(|error| error.contains(expected)), "{keys}\n  expected: {expected}\n  got: {errors:?}");
}

#[test]
fn each_mistake_about_endpoints_is_named_with_its_place() {
    check_upstream("balance: fastest", "syntax");
    check_upstream("balance: { hash: { header: \"a b\" } }", "upstreams[0].balance.hash.header: `a b` is not a header name");
    check_upstream("balance: { hash: { cookie: \"a=b\" } }", "balance.hash.cookie");
    check_upstream("panic_percent: 101", "upstreams[0].panic_percent");
    check_upstream("resolve_every: 1ms", "upstreams[0].resolve_every: write at least 100ms");
    check_upstream("in_flight: { max: 0 }", "upstreams[0].in_flight.max");
    check_upstream("in_flight: { max: 1, queue: 100000 }", "in_flight.queue");
    check_upstream("in_flight: { max: 1, wait: 1m }", "in_flight.wait");
    check_upstream("health: { check: grpcs }", "syntax");
    check_upstream("health: { check: grpc }", "upstreams[0].health.check: gRPC needs HTTP/2");
    check_upstream("protocol: http1, health: { check: grpc }", "upstreams[0].health.check: gRPC needs HTTP/2");
    check_upstream("protocol: http2, health: { check: grpc, statuses: [ 200 ] }", "upstreams[0].health.statuses: `check: grpc`");
    check_upstream("health: { service: shop.Orders }", "upstreams[0].health.service: only `check: grpc`");
    check_upstream("health: { path: well }", "upstreams[0].health.path");
    check_upstream("health: { statuses: [ 100 ] }", "upstreams[0].health.statuses[0]");
    check_upstream("health: { interval: 1ms }", "upstreams[0].health.interval");
    check_upstream("health: { unhealthy: 0 }", "upstreams[0].health.unhealthy");
    check_upstream("outliers: { rest: 10s, rest_max: 1s }", "upstreams[0].outliers.rest_max");
    check_upstream("outliers: { success_percent: 120 }", "upstreams[0].outliers.success_percent");
    check_upstream("outliers: { requests: 0 }", "upstreams[0].outliers.requests");
    check_upstream("breaker: {}", "upstreams[0].breaker: a breaker needs");
    check_upstream("breaker: { failures: 1, trials: 0 }", "upstreams[0].breaker.trials");
    check_upstream("retry_budget: { percent: 150 }", "upstreams[0].retry_budget.percent");
    check_upstream("slow_strt: 1s", "syntax");
    check_upstream("tls: { client_certificate: \"/etc/key.pem\" }", "upstreams[0].tls.client_certificate: it is not the name of an identity");
}

#[test]
fn each_mistake_about_retries_and_other_services_is_named_with_its_place() {
    let check_route = |keys: &str, expected: &str| check(&format!("- {{ name: a, match: {{ path: /a }}, upstream: shop, {keys} }}"), expected);

    check_route("retries: { max: 6 }", "routes[0].retries.max");
    check_route("retries: { on: [ 404 ] }", "routes[0].retries.on[0]: an answer 404 is final");
    check_route("retries: { on: [ refusal ] }", "syntax");
    check_route("retries: { on: [ grpc_not_found ] }", "syntax");
    check_route("retries: { per_try: 0s }", "routes[0].retries.per_try");
    check_route("retries: { backoff: 1m }", "routes[0].retries.backoff");
    check_route("split: [ { upstream: shopp, percent: 1 } ]", "routes[0].split[0].upstream: there is no upstream named `shopp`");
    check_route("split: [ { upstream: shop, percent: 60 }, { upstream: shop, percent: 41 } ]", "routes[0].split: the shares are more than 100");
    check_route("split: [ { upstream: shop, percent: -1 } ]", "routes[0].split[0].percent");
    check_route("canary: [ { upstream: nope, header: x } ]", "routes[0].canary[0].upstream");
    check_route("canary: [ { upstream: shop, header: \"a b\" } ]", "routes[0].canary[0].header");
    check_route("mirror: { upstream: nope }", "routes[0].mirror.upstream");
    check_route("mirror: { upstream: shop, percent: 101 }", "routes[0].mirror.percent");
}

#[test]
fn what_is_written_about_endpoints_is_what_is_compiled() {
    let text = "version: 1\nregions: [ { name: eu } ]\ntenants: [ { name: acme, hosts: [ api.example ] } ]\nupstreams:\n- { name: shop, regions: { eu: { targets: [ \"http://shop.internal/v1\", \"http://10.0.0.1:8080\" ] } }, balance: { hash: address }, slow_start: 30s, health: { check: tcp } }\nroutes:\n- { name: a, match: { path: /a }, upstream: shop, retries: { on: [ reset, 503 ] }, split: [ { upstream: shop, percent: 0.25 } ] }\n";
    let (document, _) = source::read::<Document>(text).unwrap();
    // The database keeps documents as JSON: nothing may be lost there.
    let kept: Document = serde_json::from_value(serde_json::to_value(&document).unwrap()).unwrap();

    for document in [document, kept] {
        let structure = compile(&document).unwrap();
        let (upstream, route) = (&structure.upstreams[0], &structure.routes[0]);
        let rules = &upstream.resilience;
        assert_eq!(rules.balance, crate::structure::resilience::Balance::Hash(crate::structure::resilience::HashOn::Address));
        assert_eq!((rules.slow_start_nanos, rules.panic_percent, rules.check.as_ref().unwrap().unhealthy), (30_000_000_000, 30, 3));
        assert!(route.retries.wants_copy() && route.retries.on_reset && !route.retries.on_timeout && *route.retries.statuses == [503]);
        assert_eq!(route.diversions.as_ref().unwrap().shares[0].of_ten_thousand, 25);
        let names: Vec<_> = upstream.regions[0].targets.iter().map(|target| target.name.clone()).collect();
        assert_eq!(names, [Some(("shop.internal".into(), 80)), None]);
    }
}

/// A CA of nobody's, made for tests of documents.
fn ca() -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

#[test]
fn a_service_is_behind_the_gateways_of_its_region_and_nobody_elses() {
    let ca = ca();
    let of = |eu: &str, us: &str, service: &str| {
        let region = |text: &str| text.replace("CA", &format!("{ca:?}"));
        let base = BASE.replace("{ name: eu }, { name: us }", &format!("{{ name: eu{} }}, {{ name: us{} }}", region(eu), region(us))).replace(
            "- { name: shop, domain: shop,",
            &format!("- {{ name: far, regions: {{ eu: {{ targets: [ \"http://10.0.0.2:1\" ]{service} }} }} }}\n- {{ name: shop, domain: shop,"),
        );
        let (document, _) = source::read::<Document>(&format!("{base}- {{ name: a, match: {{ path: /a }}, upstream: far }}")).unwrap();
        let sentence = |error: ConfigError| format!("{}: {}", error.path, error.message);
        compile(&document).map_err(|errors| errors.into_iter().map(sentence).collect::<Vec<_>>().join("\n"))
    };
    let forwarding = |more: &str| format!(", forwarding: {{ ca: CA, client_certificate: gateway, {more} }}");
    let eu = forwarding("targets: [ \"https://GW.eu:8443\" ]");
    let us = forwarding("targets: [ \"https://10.0.0.9:8443\" ], server_name: gw.us");
    let behind = ", reach: gateway";

    let structure = of(&eu, &us, behind).unwrap();
    let region = &structure.upstreams[0].regions[0];
    assert!(region.is_behind_gateway("us") && !region.is_behind_gateway("eu"));
    let from = |here: &str| region.targets_from(here).iter().map(|target| (&*target.address, target.is_gateway)).collect::<Vec<_>>();
    assert_eq!((from("eu"), from("us")), (vec![("10.0.0.2:1", false)], vec![("gw.eu:8443", true)]));
    assert_eq!(structure.forwarding["eu"].server_names, ["gw.eu".into()]);
    assert!(!of(&eu, &us, "").unwrap().upstreams[0].regions[0].is_behind_gateway("us"));

    let other = |text: &str| forwarding(&format!("targets: [ {text} ]"));
    for (eu, us, expected) in [
        ("", us.as_str(), "upstreams[0].regions.eu.reach: it is not said how the gateways of eu are reached"),
        (&other(""), "", "regions[0].forwarding.targets: write 1 to 64 gateways"),
        (&other("\"http://gw.eu:80\""), "", "regions[0].forwarding.targets[0]: `http://gw.eu:80`: gateways are reached over TLS"),
        (&other("\"https://gw.eu/v1\""), "", "a gateway has no path"),
        (&other("\"https://10.0.0.9:1\""), "", "`10.0.0.9` is an address; the certificates of gateways say a name"),
        (&eu, "", "upstreams[0].regions.eu.reach: gateways prove from which region they call: write `forwarding` of us"),
        (&eu, &forwarding("targets: [ \"https://10.0.0.9:1\" ], server_name: gw.eu"), "`gw.eu` is the name of another region's gateways, too"),
        (&other("\"https://api.example\""), "", "`api.example` is a host of tenant `acme`"),
        (&other("\"https://gw.acme.example\""), "", "`gw.acme.example` is a host of tenant `acme`"),
        (&eu.replace("CA", "nobody"), "", "regions[0].forwarding.ca: "),
        (
            &eu.replace("client_certificate: gateway", "client_certificate: \"a b\""),
            "",
            "regions[0].forwarding.client_certificate: it is not the name of an identity",
        ),
    ] {
        let errors = of(eu, us, behind).unwrap_err();
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
}

#[test]
fn where_data_may_lie_is_a_matter_of_labels_and_a_document_that_could_not_be_served_is_refused() {
    let base = BASE
        .replace("regions: [ { name: eu }, { name: us } ]", "regions: [ { name: eu, residency: [ eu, west ], failover: [ us ] }, { name: us, residency: [ us, west ] } ]")
        .replace("- { name: shop, domain: shop,", "- { name: western, residency: [ eu ], regions: { eu: { role: writer, targets: [ \"http://10.0.0.2:1\" ] } } }\n- { name: shop, domain: shop,");
    let of = |base: &str, route: &str| {
        let (document, _) = source::read::<Document>(&format!("{base}- {{ name: a, match: {{ path: /a }}, {route} }}")).unwrap();
        compile(&document)
            .map_err(|errors| errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect::<Vec<String>>().join("\n"))
    };
    let allows = |structure: &Structure| ["eu", "us"].map(|region| structure.routes[0].may_lie_in(region));
    assert_eq!(allows(&of(&base, "upstream: shop").unwrap()), [true, true]);
    assert_eq!(allows(&of(&base, "upstream: shop, residency: [ eu ]").unwrap()), [true, false]);
    assert_eq!(allows(&of(&base, "upstream: shop, residency: [ us, eu ]").unwrap()), [true, true], "one of them is enough");
    assert_eq!(allows(&of(&base, "upstream: western, residency: [ west ]").unwrap()), [true, false], "of each list one");
    let split = "upstream: shop, split: [ { upstream: western, percent: 1 } ]";
    assert_eq!(allows(&of(&base, split).unwrap()), [true, false], "a response may come of either");
    assert_eq!(of(&base, "upstream: shop").unwrap().failover["eu"].as_slice(), ["us".into()]);

    for (route, expected) in [
        ("upstream: shop, residency: [ ue ]", "routes[0].residency[0]: there is no label of a region named `ue`"),
        ("upstream: shop, residency: []", "routes[0].residency: an empty list lets no region serve"),
        ("upstream: western, residency: [ us ]", "`western` runs in no region in which these data may lie"),
        ("upstream: shop, mirror: { upstream: western, percent: 1 }, residency: [ us ]", "`western` runs in no region"),
        ("upstream: shop, residency: [ us ]", "the domain `shop` of `shop` has no server in a region in which these data may lie"),
    ] {
        let errors = of(&base, route).unwrap_err();
        assert!(errors.contains(expected), "{route}: {errors}");
    }
    // Whoever only reads may be served where nothing is written.
    let (document, _) =
        source::read::<Document>(&format!("{base}- {{ name: a, match: {{ path: /a, methods: [ GET ] }}, upstream: shop, residency: [ us ] }}"))
            .unwrap();
    assert_eq!(allows(&compile(&document).unwrap()), [false, true]);
    for (regions, expected) in [
        ("failover: [ mars ]", "regions[0].failover[0]: there is no region named `mars`"),
        ("failover: [ eu ]", "or is the region itself"),
        ("failover: [ us, us ]", "regions[0].failover[1]: `us` stands there already"),
    ] {
        let errors = of(&base.replace("failover: [ us ]", regions), "upstream: shop").unwrap_err();
        assert!(errors.contains(expected), "{regions}: {errors}");
    }
    let errors = of(&base.replace("[ eu, west ]", "[ EU ]"), "upstream: shop").unwrap_err();
    assert!(errors.contains("regions[0].residency[0]: `EU` is not a label"), "{errors}");
}
