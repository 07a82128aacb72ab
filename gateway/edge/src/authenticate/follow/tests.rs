use std::sync::Arc;

use model::{
    authority::Authority,
    change::{ApplicationRow, AuthorityChange, ConsumerRow, KeyRow, Revisions, SecretRow},
    compile::compile,
    document::Document,
    id::{ApplicationId, ConsumerId},
    snapshot::Snapshot,
    structure::identity::Way,
    time::{BootNanos, UtcMicros},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    authenticate::Proof,
    fixture::{edge, key, key_row, principal},
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

/// What follows from a request goes by the route as it is now: a route that takes another kind of caller lets nobody on who came with a key.
#[test]
fn whoever_is_followed_could_still_come_and_is_looked_up_again() {
    let now = Now { boot: BootNanos(0), wall: UtcMicros(1) };
    let route = |name: &str, auth: Value| {
        json!({ "name": name, "match": { "path": format!("/{name}") }, "upstream": "shop", "auth": auth,
            "consistency": { "keys": { "max_staleness": "5m", "on_stale": "allow" } } })
    };
    let token = json!({ "jwt": { "issuer": "id" } });
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "issuers": [{ "name": "id", "issuer": "https://id.example", "jwks": "https://id.example/keys", "audiences": ["api"], "application": "web" }],
        "upstreams": [{ "name": "shop", "regions": { "eu": { "targets": ["http://10.0.0.1:80"] } } }],
        "routes": [
            route("key", json!("api_key")), route("either", json!({ "any_of": ["api_key", token] })), route("both", json!({ "all_of": ["api_key", token] })),
            route("token", token), route("open", json!("none")),
        ],
    });
    let document: Document = serde_json::from_value(document).unwrap();
    let consumer = ConsumerRow { id: ConsumerId::new(Uuid::nil()), name: "customer".to_owned(), tenant: "acme".to_owned(), residency: None };
    let id = ApplicationId::new(Uuid::nil());
    let application = ApplicationRow { id, consumer: consumer.id, name: "web".to_owned(), plan: None, scopes: Vec::new() };
    let with_key = Authority::from_rows([consumer], [application], [key_row()], []);
    let without_key = with_key.with([AuthorityChange::KeyRemoved { id: key_row().id }]);
    let structure = Arc::new(compile(&document).unwrap());
    let snapshot = |authority: Authority| Snapshot {
        revisions: Revisions::default(),
        structure: Arc::clone(&structure),
        authority: Arc::new(authority),
        writers: Arc::default(),
        booted_from: None,
    };
    let (with_key, without_key) = (snapshot(with_key), snapshot(without_key));
    let edge = edge(with_key.clone());
    let caller = principal(&[], key(), Vec::new());
    let followed = |snapshot: &Snapshot, path: &str, before| {
        let parts = http::Request::get(path).header("host", "api.example").body(()).unwrap().into_parts().0;
        let head = crate::head::check(Box::new(parts), 100).unwrap();
        let matched = crate::route::find(snapshot, &head).unwrap();
        follow(matched, before, true, &edge, now).map(|followed| followed.principal().is_some()).map_err(|denial| denial.kind.code())
    };

    let refused = Err("credentials-invalid");
    for (path, expected) in [("/key", Ok(true)), ("/either", Ok(true)), ("/both", refused), ("/token", refused), ("/open", Ok(false))] {
        assert_eq!(followed(&with_key, path, Some(&caller)), expected, "{path}");
    }
    assert_eq!((followed(&with_key, "/key", None), followed(&with_key, "/open", None)), (refused, Ok(false)), "nobody is nobody");
    assert_eq!(followed(&without_key, "/key", Some(&caller)), refused, "the key is gone");
}
