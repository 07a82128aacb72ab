use crate::{compile::compile, document::Document, source, structure::Structure};

const BASE: &str = "
version: 1
regions: [ { name: eu } ]
tenants: [ { name: acme, hosts: [ api.example ] } ]
upstreams: [ { name: shop, regions: { eu: { targets: [ \"http://10.0.0.1:8080\" ] } } } ]
routes:
";

fn compile_route(rest: &str) -> Result<Structure, Vec<String>> {
    let text = format!("{BASE}- {{ name: a, match: {{ path: \"/a/{{id}}\", methods: [GET, POST] }}, upstream: shop, {rest} }}");
    let (document, _) = source::read::<Document>(&text).map_err(|error| vec![format!("syntax: {}", error.message)])?;
    compile(&document)
        .map_err(|errors| errors.into_iter().map(|error| format!("{}: {} {}", error.path, error.message, error.help.unwrap_or_default())).collect())
}

/// A mistake, and what its message must hold.
fn check(rest: &str, expected: &str) {
    let errors = compile_route(rest).expect_err(rest);
    assert!(errors.iter().any(|error| error.contains(expected)), "{rest}\n  expected: {expected}\n  got: {errors:?}");
}

fn good(rest: &str) {
    assert!(compile_route(rest).is_ok(), "{rest}: {:?}", compile_route(rest).err());
}

#[test]
fn each_mistake_in_cors_is_named_with_its_place() {
    check("cors: {}", "syntax: missing field `origins`");
    check("cors: { origins: [] }", "routes[0].cors.origins: name 1 to 64 origins");
    check("cors: { origins: \"*\", credentials: true }", "routes[0].cors.credentials: credentials for every origin");
    check("cors: { origins: [ \"*\", \"https://a.example\" ] }", "so it stands alone");
    check("cors: { origins: [ \"https://a.example\", \"null\" ] }", "routes[0].cors.origins[1]: `null`");
    check("cors: { origins: \"https://a.example/\" }", "routes[0].cors.origins: `https://a.example/`: an origin is a scheme and a host");
    check("cors: { origins: \"https://*.example\" }", "a wildcard stands for the first label");
    check(
        "cors: { origins: \"https://a.example\", methods: [DELETE] }",
        "routes[0].cors.methods[0]: the route does not take DELETE add it to `match.methods`",
    );
    check("cors: { origins: \"https://a.example\", methods: [\"*\"] }", "`*` is not a method");
    check("cors: { origins: \"https://a.example\", headers: [\"a b\"] }", "routes[0].cors.headers[0]: `a b` is not a header name");
    check("cors: { origins: \"https://a.example\", headers: [\"*\", x] }", "`*` stands for all fields");
    check("cors: { origins: \"https://a.example\", expose: [\"*\"], credentials: true }", "routes[0].cors.expose[0]: with credentials");
    check("cors: { origins: \"https://a.example\", max_age: 2d }", "routes[0].cors.max_age");
    check("cors: { origins: \"https://a.example\", maxage: 2d }", "unknown field `maxage`");
    check(
        "cors: { origins: \"https://a.example\" }, headers: { response: { set: { Access-Control-Allow-Origin: \"*\" } } }",
        "is set by the route's `cors`",
    );

    good("cors: { origins: \"*\", expose: [\"*\"], headers: \"*\", max_age: 24h }");
    good("cors: { origins: [ \"https://*.a.example\", \"http://localhost:3000\" ], credentials: true, methods: [GET, HEAD] }");
}

#[test]
fn fields_that_are_not_the_operators_are_refused() {
    for name in
        ["Connection", "transfer-encoding", "Content-Length", "TE", "trailer", "upgrade", "keep-alive", "proxy-authorization", "transfer_encoding"]
    {
        check(&format!("headers: {{ request: {{ set: {{ {name}: x }} }} }}"), "belongs to one connection or to the framing");
        check(&format!("headers: {{ response: {{ remove: [ {name} ] }} }}"), "belongs to one connection or to the framing");
    }
    for name in ["causeway-region", "Causeway-Anything", "causeway_region", "x-request-id"] {
        check(&format!("headers: {{ request: {{ set: {{ {name}: x }} }} }}"), "the gateway's own word");
        check(&format!("headers: {{ response: {{ set: {{ {name}: x }} }} }}"), "the gateway's own word");
    }
    for name in ["x-forwarded-for", "forwarded", "via", "X-Real-IP"] {
        check(&format!("headers: {{ request: {{ add: {{ {name}: x }} }} }}"), "routes[0].headers.request.add.");
    }
    check("headers: { request: { set: { host: x } } }", "write `upstream_host: preserve`");
    check("headers: { request: { set: { authorization: \"Basic eA==\" } } }", "this document holds no secrets");
    check("headers: { response: { set: { content-encoding: gzip } } }", "says how the body is to be read");
    check("headers: { request: { remove: [ \"a b\" ] } }", "routes[0].headers.request.remove[0]: `a b` is not a header name");
    check("headers: { request: { set: { x-a: \"a\\nb\" } } }", "printable ASCII");
    check("headers: { request: { set: { x-a: \" a\" } } }", "printable ASCII");
    check("headers: { request: { set: { x-a: \"\u{e9}\" } } }", "printable ASCII");
    check("headers: { request: { set: { x-a: a, X-A: b } } }", "stands twice");
    check("headers: { request: { set: { x-a: a }, remove: [X-A] } }", "stands twice");
    check("headers: { request: {} }", "nothing is changed");
    check("headers: { request: { sets: { x-a: a } } }", "unknown field `sets`");
    check(
        "headers: { request: { set: { x-a: \"${consumr}\" } } }",
        "routes[0].headers.request.set.x-a: there is no variable named `consumr` did you mean `${consumer}`?",
    );
    check("headers: { request: { set: { x-a: \"${request_id\" } } }", "`${` has no `}`");
    check("auth: none, headers: { request: { set: { x-a: \"${consumer}\" } } }", "knows no caller");

    good(
        "headers: { request: { remove: [authorization, cookie], set: { x-a: \"$5 ${consumer}/${region}\" }, add: { x-b: [a, b] } }, response: { remove: [server] } }",
    );
}

#[test]
fn rewrites_and_hosts_are_checked_against_the_route() {
    check("rewrite: {}", "routes[0].rewrite.strip_prefix: an empty rewrite");
    check("rewrite: { path: \"/v2/{name}\" }", "routes[0].rewrite.path: the route's path has no parameter `name`");
    check("rewrite: { path: \"/v2\", add_prefix: /x }", "`path` gives the whole path");
    check("rewrite: { strip_prefix: /b }", "does not start with this prefix");
    for host in ["a b", "A.example", "a.example:", "a.example:port", "http://a.example", ""] {
        check(&format!("upstream_host: \"{host}\""), "routes[0].upstream_host: ");
    }

    good("rewrite: { path: \"/v2/{id}\" }, upstream_host: preserve");
    good("rewrite: { add_prefix: /v2 }, upstream_host: \"inner.example:8080\"");
    good("rewrite: { strip_prefix: \"/a/{id}\" }, upstream_host: target");
}

#[test]
fn each_mistake_in_compression_is_named_with_its_place() {
    check("compression: { types: [] }", "routes[0].compression.types: an empty list");
    check("compression: { types: [json] }", "routes[0].compression.types[0]: `json` is not a media type");
    check("compression: { types: [\"*/*\"] }", "`*/*` is not a media type");
    check("compression: { types: [application/grpc] }", "gRPC compresses its own messages");
    check("compression: { codings: [deflate] }", "syntax: unknown variant `deflate`");
    check("compression: { codings: [] }", "routes[0].compression.codings: name each");
    check("compression: { codings: [gzip, gzip] }", "once at most");

    let structure = compile_route("compression: { types: [\"text/*\", Application/JSON] }").unwrap();
    let rules = structure.routes[0].filters.as_ref().unwrap().compression.as_ref().unwrap();
    for (content_type, expected) in [
        ("text/html; charset=utf-8", true),
        ("TEXT/PLAIN", true),
        ("application/json", true),
        ("application/json5", false),
        ("text/event-stream", false),
        ("image/png", false),
        ("", false),
    ] {
        assert_eq!(rules.covers(content_type), expected, "{content_type}");
    }
    let named = compile_route("compression: { types: [\"text/event-stream\"] }").unwrap();
    assert!(named.routes[0].filters.as_ref().unwrap().compression.as_ref().unwrap().covers("text/event-stream"));
    let family = compile_route("compression: { types: [\"application/*\"] }").unwrap();
    for (content_type, expected) in [("application/json", true), ("application/grpc", false), ("Application/gRPC+proto; a=b", false)] {
        assert_eq!(family.routes[0].filters.as_ref().unwrap().compression.as_ref().unwrap().covers(content_type), expected, "{content_type}");
    }
}

#[test]
fn a_route_that_asks_for_nothing_carries_nothing() {
    assert!(compile_route("audit: durable").unwrap().routes[0].filters.is_none());
}

#[test]
fn a_cache_that_would_break_another_promise_is_refused() {
    check("cache: {}, consistency: finance", "routes[0].cache: a stored response may be older");
    check("cache: {}, consistency: { get_writes: true }", "routes[0].cache: a stored response may be older");
    check("cache: {}, audit: strict", "routes[0].cache: `audit: strict` records the intent");
    check("cache: {}, headers: { request: { set: { x-a: \"${application}\" } } }", "one response is kept for each consumer");
    check("cache: { shared: true }, headers: { request: { set: { x-a: \"${consumer}\" } } }", "one response is kept for all callers");
    check("cache: { object_max: 1GiB }", "routes[0].cache.object_max: a body that is kept");
    check("cache: { ttl: 5s }", "unknown field `ttl`");

    good("cache: {}, headers: { request: { set: { x-a: \"${consumer} ${request_id}\" } } }");
    good("cache: { shared: true, object_max: 64KiB, stale_while_revalidate: 10s, stale_if_error: 1h }");
    let scope = |rest: &str| compile_route(rest).unwrap().routes[0].filters.as_ref().unwrap().cache.unwrap().scope;
    assert_eq!(scope("cache: {}"), scope("cache: {}"));
    assert_ne!(scope("cache: {}"), scope("cache: {}, rewrite: { add_prefix: /v2 }"), "an edited route finds nothing of the old one");
}
