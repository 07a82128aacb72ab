//! What is decided without a database: who may what, what is read from a document, and how hostile texts are shown.

use http::{HeaderMap, HeaderValue};
use model::{document::Document, key::fingerprint_plain};
use serde_json::json;
use store::account::team::TeamRole;

use super::{
    catalogue::Place,
    password,
    rights::{Right, allows},
    session, site,
    view::markdown,
};

#[test]
fn a_team_is_changed_by_its_owners_alone_and_viewers_change_nothing() {
    let of = |role| Right::ALL.map(|right| allows(role, right));
    assert_eq!(of(TeamRole::Viewer), [true, false, false, false]);
    assert_eq!(of(TeamRole::Developer), [true, true, true, false]);
    assert_eq!(of(TeamRole::Owner), [true; 4]);
}

#[test]
fn a_description_cannot_bring_scripts_pictures_or_links_of_other_schemes() {
    let html =
        markdown("Hi <script>alert(1)</script> **bold** [x](javascript:alert(1)) ![p](https://elsewhere.example/p.png) [ok](https://a.example)");
    for never in ["<script", "javascript:", "<img", "elsewhere.example"] {
        assert!(!html.contains(never), "{never}: {html}");
    }
    assert!(html.contains("&lt;script&gt;") && html.contains("<strong>bold</strong>") && html.contains(r#"href="https://a.example""#), "{html}");
    assert!(!markdown("a <b onmouseover=x> c").contains("<b "));
}

#[test]
fn passwords_that_anybody_would_guess_are_refused() {
    let is_fine = |password: &str| password::fault(password, "anna.bell@example.com").is_none();
    assert!(is_fine("a short sentence is fine") && is_fine("ünïcödé wörds"));
    assert!(!is_fine("short") && !is_fine("aaaaaaaaaaaaaaaa") && !is_fine("abababababababab"));
    assert!(!is_fine("my Anna.Bell password") && !is_fine(&"long".repeat(40)));
}

#[tokio::test]
async fn a_password_is_verified_under_its_key_alone() {
    let passwords = password::Passwords::default();
    let hash = passwords.hash([1; 32], "correct horse battery".to_owned(), [9; 32]).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let verify = async |key: [u8; 32], text: &str, hash: Option<String>| passwords.verify(key, text.to_owned(), hash).await.unwrap();
    assert!(verify([1; 32], "correct horse battery", Some(hash.clone())).await);
    assert!(!verify([2; 32], "correct horse battery", Some(hash.clone())).await, "without the pepper a dump is of no use");
    assert!(!verify([1; 32], "correct horse batterz", Some(hash)).await);
    assert!(!verify([1; 32], "anything at all", None).await);
    assert!(!verify([1; 32], "anything at all", Some("garbage".to_owned())).await);
}

#[test]
fn of_several_session_cookies_none_counts() {
    let id = "A".repeat(43);
    let presented = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("cookie", HeaderValue::try_from(*value).unwrap());
        }
        session::presented(&headers)
    };
    let good = format!("__Host-causeway={id}");
    assert_eq!(presented(&[&good]), Some(fingerprint_plain(id.as_bytes())));
    assert_eq!(presented(&[&format!("a=b; {good}; c=d")]), Some(fingerprint_plain(id.as_bytes())));
    for bad in ["", "causeway=x", "__Host-causeway=", "__Host-causeway=short", "__Host-causewayx=AAAA"] {
        assert_eq!(presented(&[bad]), None, "{bad}");
    }
    assert_eq!(presented(&[&good, &good]), None);
    assert_eq!(presented(&[&format!("{good}; {good}")]), None);
    assert_eq!(presented(&[&format!("__Host-causeway={}", "!".repeat(43))]), None);
}

fn document() -> Document {
    serde_json::from_value(json!({
        "version": 1,
        "regions": [{ "name": "eu", "gateway": "https://api.example:8443" }],
        "tenants": [
            { "name": "acme", "hosts": ["*.wild.example", "api.example"], "portal": { "sign_up": "open", "plan": "free", "scopes": ["read"], "title": "Acme" } },
            { "name": "other", "hosts": ["other.example"] },
        ],
        "plans": [{ "name": "free", "limits": { "daily": { "rate": "1000/d" } } }],
        "apis": [
            { "name": "orders", "openapi": {
                "openapi": "3.1.0", "info": { "title": "Orders", "version": "2", "description": "<b>hi</b>" }, "servers": [{ "url": "/v2" }],
                "components": { "schemas": { "New": { "type": "object", "properties": { "name": { "type": "string" }, "n": { "type": "integer", "minimum": 3 } } } } },
                "paths": { "/orders/{id}": {
                    "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 7 } }],
                    "get": { "operationId": "getOrder", "summary": "One order", "responses": { "200": { "description": "It" } } },
                    "put": { "operationId": "put/it", "parameters": [{ "name": "dry", "in": "query", "schema": { "type": "boolean" } }],
                        "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } } },
                        "responses": { "200": { "description": "It" } } } } },
            } },
            { "name": "hidden", "openapi": { "openapi": "3.1.0", "info": { "title": "Hidden", "version": "1" }, "paths": {
                "/hidden": { "get": { "operationId": "h", "responses": { "200": { "description": "It" } } } } } } },
        ],
        "upstreams": [{ "name": "up", "regions": { "eu": { "targets": ["http://127.0.0.1:9"], "role": "writer" } } }],
        "routes": [
            { "name": "reads", "match": { "host": "api.example", "path": "/v2/**", "methods": ["GET"] }, "api": "orders", "scopes": ["read"], "upstream": "up" },
            { "name": "open", "match": { "host": "api.example", "path": "/v2/**" }, "api": "orders", "auth": "none", "upstream": "up" },
            { "name": "elsewhere", "match": { "host": "other.example", "path": "/**" }, "api": "hidden", "upstream": "up" },
        ],
    }))
    .unwrap()
}

#[test]
fn the_catalogue_says_of_each_operation_what_the_route_says_that_takes_it() {
    let site = site::made(&document()).unwrap();
    assert_eq!((site.title.as_str(), site.tenant.as_str()), ("Acme", "acme"));
    let names: Vec<_> = site.apis.iter().map(|api| api.name.as_str()).collect();
    assert_eq!(names, ["orders"], "what another tenant's host serves is not shown");
    let [get, put] = site.apis[0].operations.as_slice() else { panic!("two operations") };
    assert_eq!((get.id.as_str(), get.path.as_str(), get.origin.as_str()), ("getOrder", "/v2/orders/{id}", "https://api.example:8443"));
    assert_eq!((get.scopes.as_slice(), get.proofs.as_slice()), (["read".to_owned()].as_slice(), ["API key".to_owned()].as_slice()));
    assert!(put.scopes.is_empty() && put.proofs.is_empty(), "the open route takes it");
    assert_eq!(put.id, "put-v2-orders--id-", "an id that is no part of an address gets another");
    let parameters: Vec<_> = put.parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.place, parameter.example.as_str())).collect();
    assert_eq!(parameters, [("dry", Place::Query, "true"), ("id", Place::Path, "7")]);
    assert_eq!(put.body.as_ref().unwrap().example, "{\n  \"name\": \"text\",\n  \"n\": 3\n}");
    assert!(site.apis[0].about.contains("&lt;b&gt;"));
}

#[test]
fn a_deployment_without_a_portal_says_how_to_get_one() {
    let mut document = document();
    document.tenants[0].portal = None;
    let refusal = site::made(&document).unwrap_err();
    assert_eq!(refusal.kind().status(), 404);
    assert!(refusal.detail().contains("portal"), "{}", refusal.detail());
}

#[test]
fn a_schema_that_refers_to_itself_has_an_example_all_the_same() {
    let mut document = document();
    document.apis[0].openapi["components"]["schemas"]["New"]["properties"]["again"] = json!({ "$ref": "#/components/schemas/New" });
    let site = site::made(&document).unwrap();
    assert!(site.apis[0].operations[1].body.as_ref().unwrap().example.contains("again"));
}
