use crate::{compile::compile, document::Document, source, structure::Structure};

fn compiled(route: &str) -> Result<Structure, Vec<String>> {
    let text = format!(
        "
version: 1
regions: [ {{ name: eu }} ]
tenants: [ {{ name: acme, hosts: [ api.example ] }} ]
upstreams:
- {{ name: shop, regions: {{ eu: {{ targets: [ \"http://10.0.0.1:8080\" ] }} }} }}
routes:
- {{ name: token, {route} }}
"
    );
    let (document, _) = source::read::<Document>(&text).map_err(|error| vec![format!("syntax: {}", error.message)])?;
    // The database keeps documents as JSON: nothing may be lost there.
    let kept: Document = serde_json::from_value(serde_json::to_value(&document).unwrap()).unwrap();
    compile(&kept).map_err(|errors| errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect())
}

const MATCH: &str = "match: { path: /oauth/token, methods: [POST] }";

#[test]
fn a_token_endpoint_needs_a_path_and_no_service() {
    for (rest, expected) in [("token_endpoint: {}", 300), ("token_endpoint: { lifetime: 30s }", 30), ("token_endpoint: { lifetime: 1h }", 3_600)] {
        let structure = compiled(&format!("{MATCH}, {rest}")).unwrap();
        let route = &structure.routes[0];
        assert_eq!(route.token_endpoint.map(|endpoint| endpoint.lifetime_seconds), Some(expected), "{rest}");
        assert!(route.upstream.regions.is_empty(), "nothing can be sent anywhere");
        assert_eq!(structure.upstreams.len(), 1, "it is no service of the document");
    }
    let structure = compiled("match: { path: /a }, upstream: shop").unwrap();
    assert!(structure.routes[0].token_endpoint.is_none());
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (route, expected) in [
        ("match: { path: /a }", "routes[0].upstream: name the service that answers"),
        ("match: { path: /a, methods: [POST] }, token_endpoint: null", "routes[0].upstream: name the service"),
        (&format!("{MATCH}, token_endpoint: {{}}, upstream: shop"), "routes[0].upstream: the gateway answers on this route itself"),
        (&format!("{MATCH}, token_endpoint: {{}}, auth: none"), "routes[0].auth: a token endpoint gives tokens for API keys"),
        (&format!("{MATCH}, token_endpoint: {{}}, cache: {{}}"), "routes[0].cache: the gateway answers"),
        (&format!("{MATCH}, token_endpoint: {{}}, websocket: {{}}"), "routes[0].websocket: the gateway answers"),
        (&format!("{MATCH}, token_endpoint: {{}}, compression: {{}}"), "routes[0].compression: the gateway answers"),
        (&format!("{MATCH}, token_endpoint: {{}}, retries: {{ on: [503] }}"), "routes[0].retries"),
        (&format!("{MATCH}, token_endpoint: {{}}, body_max: 1MiB"), "routes[0].body_max"),
        (&format!("{MATCH}, token_endpoint: {{}}, mirror: {{ upstream: shop }}"), "routes[0].mirror"),
        (&format!("{MATCH}, token_endpoint: {{}}, split: [ {{ upstream: shop, percent: 1 }} ]"), "routes[0].split"),
        ("match: { path: /a }, token_endpoint: {}", "routes[0].match.methods: a token endpoint is asked with POST alone"),
        ("match: { path: /a, methods: [POST, GET] }, token_endpoint: {}", "routes[0].match.methods"),
        (&format!("{MATCH}, token_endpoint: {{ lifetime: 29s }}"), "routes[0].token_endpoint.lifetime: a token lives for 30s to 60m"),
        (&format!("{MATCH}, token_endpoint: {{ lifetime: 61m }}"), "routes[0].token_endpoint.lifetime"),
        (&format!("{MATCH}, token_endpoint: {{ lifetime: 30500ms }}"), "routes[0].token_endpoint.lifetime"),
        (&format!("{MATCH}, token_endpoint: {{ life: 30s }}"), "syntax"),
        (&format!("{MATCH}, token_endpoint: true"), "syntax"),
    ] {
        let errors = compiled(route).expect_err(route);
        assert!(errors.iter().any(|error| error.contains(expected)), "{route}\n  expected: {expected}\n  got: {errors:?}");
    }
}
