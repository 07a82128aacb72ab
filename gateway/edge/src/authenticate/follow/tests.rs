use std::sync::Arc;

use model::{
    change::{KeyRow, SecretRow},
    compile::compile,
    document::Document,
    structure::identity::Way,
    time::UtcMicros,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    authenticate::Proof,
    fixture::{key, key_row, principal},
};

/// A route whose issuers and ways are these.
fn route(issuer: &Value, auth: &Value) -> Arc<Route> {
    let mut first =
        json!({ "name": "id", "issuer": "https://id.example", "jwks": "https://id.example/keys", "audiences": ["api"], "application": "web" });
    first.as_object_mut().unwrap().extend(issuer.as_object().unwrap().clone());
    let second =
        json!({ "name": "other", "issuer": "https://other.example", "jwks": "https://other.example/k", "audiences": ["api"], "application": "web" });
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "issuers": [first, second],
        "upstreams": [{ "name": "chat", "regions": { "eu": { "targets": ["http://10.0.0.1:80"] } } }],
        "routes": [{ "name": "chat", "match": { "path": "/chat" }, "upstream": "chat", "websocket": {}, "auth": auth }],
    });
    let document: Document = serde_json::from_value(document).unwrap();
    Arc::clone(&compile(&document).unwrap().routes[0])
}

fn token(route: &Route) -> Proof {
    let kinds = |key| Kinds { key, token: true, ..Kinds::default() };
    let rule = route.auth.way(kinds(false)).or_else(|| route.auth.way(kinds(true))).and_then(Way::token_rules).unwrap()[0].clone();
    Proof::Token(Arc::new(Token {
        issuer: rule.issuer,
        rules: rule.rules,
        subject: "alice".into(),
        id: Some("t-1".into()),
        issued_at: Some(UtcMicros(900_000_000)),
        subject_id: Uuid::nil(),
        client: None,
        scopes: [].into(),
        until: UtcMicros(i64::MAX),
        confirmation: None,
    }))
}

#[test]
fn a_caller_stays_only_where_they_could_have_come_with_the_same_credentials() {
    let (none, id) = (json!({}), json!({ "jwt": { "issuer": "id" } }));
    let by_token = principal(&[], token(&route(&none, &id)), Vec::new());
    for (issuer, auth, expected) in [
        (json!({}), id.clone(), true),
        (json!({ "refresh": "1m", "stale_max": "1h" }), id.clone(), true),
        (json!({}), json!({ "any_of": ["api_key", { "jwt": { "issuer": ["other", "id"] } }] }), true),
        (json!({}), json!({ "jwt": { "issuer": "other" } }), false),
        (json!({}), json!({ "jwt": { "issuer": "id", "audience": "else" } }), false),
        (json!({}), json!({ "all_of": ["api_key", { "jwt": { "issuer": "id" } }] }), false),
        (json!({}), json!("api_key"), false),
        (json!({ "audiences": ["else"] }), id.clone(), false),
        (json!({ "issuer": "https://moved.example" }), id.clone(), false),
        (json!({ "application": "limited" }), id.clone(), false),
        (json!({ "jwks": "https://id.example/other" }), id.clone(), false),
        (json!({ "required_claims": ["verified"] }), id.clone(), false),
        (json!({ "dpop": "require" }), id.clone(), false),
        (json!({ "certificate_bound": "require" }), id.clone(), false),
    ] {
        assert_eq!(is_taken(&route(&issuer, &auth), &by_token), expected, "{issuer} {auth}");
    }

    let by_key = principal(&[], key(), Vec::new());
    let foreign = |secret_number| {
        let lookup = SecretRow { digest: [1; 32], peppers: vec![1] };
        let row = KeyRow { lookup: Some(lookup), secret_number: 2, ..key_row() };
        principal(&[], Proof::Key(KeyProof { id: row.id, secret_number, lent: None, key: Arc::new(row.into()) }), Vec::new())
    };
    assert!(!is_taken(&route(&none, &json!("api_key")), &foreign(1)), "the route does not take keys of other systems any more");
    assert!(is_taken(&route(&none, &json!("api_key")), &foreign(2)), "one that was rolled is ours");
    assert!(is_taken(&route(&none, &json!("api_key")), &by_key));
    let either = json!({ "any_of": ["api_key", { "jwt": { "issuer": "id" } }] });
    assert!(is_taken(&route(&none, &either), &by_key));
    let both = json!({ "all_of": ["api_key", { "jwt": { "issuer": "id" } }] });
    assert!(!is_taken(&route(&none, &both), &by_key), "a token is asked for, too");
    let with_both = principal(&[], key(), vec![token(&route(&none, &both))]);
    assert!(is_taken(&route(&none, &both), &with_both) && !is_taken(&route(&none, &either), &with_both));
}
