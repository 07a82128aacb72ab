use std::time::Duration;

use crate::{
    compile::compile,
    document::Document,
    source,
    structure::{
        Structure,
        websocket::{Pages, WebSocketRules},
    },
};

const BASE: &str = "
version: 1
regions: [ { name: eu } ]
tenants: [ { name: acme, hosts: [ api.example ] } ]
upstreams:
- { name: chat, regions: { eu: { targets: [ \"http://10.0.0.1:8080\" ] } } }
- { name: grpc, protocol: http2, regions: { eu: { targets: [ \"http://10.0.0.2:8080\" ] } } }
- { name: web, protocol: auto, regions: { eu: { targets: [ \"https://10.0.0.3:8443\" ] } } }
routes:
";

fn read(route: &str) -> Result<Structure, Vec<String>> {
    let text = format!("{BASE}- {{ name: a, match: {{ path: /a }}, {route} }}\n");
    let (document, _) = source::read::<Document>(&text).map_err(|error| vec![format!("syntax: {}", error.message)])?;
    compile(&document).map_err(|errors| errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect())
}

fn rules(route: &str) -> Option<WebSocketRules> {
    read(route).unwrap_or_else(|errors| panic!("{route}: {errors:?}")).routes[0].websocket.as_deref().cloned()
}

#[test]
fn a_route_takes_no_websocket_unless_it_says_so() {
    assert_eq!(rules("upstream: chat"), None);
    let plain = rules("upstream: chat, websocket: {}").unwrap();

    assert_eq!((plain.open_max, plain.idle, plain.lifetime), (1_000, Duration::from_mins(5), Duration::from_hours(24)));
    assert_eq!(plain.pages, Pages::SameHost);
    assert!(rules("upstream: web, websocket: {}").is_some(), "`auto` can be spoken to over HTTP/1.1");
}

#[test]
fn what_is_written_holds() {
    let full = rules("upstream: chat, websocket: { origins: [ \"https://app.example\" ], max: 7, idle: 90s, lifetime: 2h }").unwrap();

    assert_eq!((full.open_max, full.idle, full.lifetime), (7, Duration::from_secs(90), Duration::from_hours(2)));
    assert!(full.pages.allow("https://app.example", "api.example") && !full.pages.allow("https://api.example", "api.example"));
    assert!(rules("upstream: chat, websocket: { origins: \"*\" }").unwrap().pages.allow("null", "api.example"));
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (route, expected) in [
        ("upstream: chat, websocket: true", "syntax"),
        ("upstream: chat, websocket: { ping: 5s }", "syntax"),
        ("upstream: chat, websocket: { max: 0 }", "routes[0].websocket.max: 0 would refuse"),
        ("upstream: chat, websocket: { idle: 10ms }", "routes[0].websocket.idle: write a duration"),
        ("upstream: chat, websocket: { lifetime: 32d }", "routes[0].websocket.lifetime: write a duration"),
        ("upstream: chat, websocket: { origins: [] }", "routes[0].websocket.origins: name 1 to"),
        ("upstream: chat, websocket: { origins: \"null\" }", "routes[0].websocket.origins: `null`"),
        ("upstream: chat, websocket: { origins: [ \"https://a.example\", app ] }", "routes[0].websocket.origins[1]: `app`"),
        ("upstream: chat, websocket: { origins: [ \"*\", \"https://a.example\" ] }", "stands alone"),
        ("upstream: chat, cache: {}, websocket: {}", "routes[0].websocket: a WebSocket has nothing"),
        ("upstream: grpc, websocket: {}", "over HTTP/2 alone"),
        ("upstream: chat, split: [ { upstream: grpc, percent: 5 } ], websocket: {}", "the upstream `grpc`"),
        ("upstream: chat, canary: [ { upstream: grpc, header: x-canary } ], websocket: {}", "the upstream `grpc`"),
    ] {
        let errors = read(route).expect_err(route);
        assert!(errors.iter().any(|error| error.contains(expected)), "{route}\n  expected: {expected}\n  got: {errors:?}");
    }
    let text = format!("{BASE}- {{ name: a, match: {{ path: /a, methods: [POST] }}, upstream: chat, websocket: {{}} }}\n");
    let errors = compile(&source::read::<Document>(&text).unwrap().0).unwrap_err();
    assert!(errors.iter().any(|error| error.message.contains("begins with a GET")), "{errors:?}");
}
