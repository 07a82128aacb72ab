//! Only a whole, living key of the right tenant opens a route; nothing else is told apart, and no key reaches a service.

use harness::wait;
use serde_json::json;

use crate::service::ok;
use crate::site::{SOON, site, source};
use crate::wire::{Answer, Wire};

async fn ask(path: &str, fields: &str) -> Answer {
    let mut wire = Wire::connect(site().await.address(), site().await.ca(), "http/1.1", Some(source(6))).await;
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n")).await;
    wire.answer().await.unwrap()
}

#[tokio::test]
async fn every_bad_key_gets_the_same_refusal() {
    let site = site().await;
    let service = site.service("keyed", |_| ok("served"));
    let key = site.key(json!({ "name": "good", "application": "default" })).await.secret;
    let abroad = site.key(json!({ "name": "abroad", "application": "abroad" })).await.secret;
    let revoked = site.key(json!({ "name": "revoked", "application": "default" })).await;
    site.control(reqwest::Method::POST, &format!("/v1/keys/{}/revoke", revoked.id), Some(json!({}))).await;
    let gone = wait::until("the revocation", SOON, async || ask("/keyed", &format!("x-api-key: {}\r\n", revoked.secret)).await.status == 401).await;
    gone.unwrap();
    let served = service.seen().len();
    let last = if key.ends_with('0') { "1" } else { "0" };
    let (forged, cut) = (format!("{}{last}", &key[..key.len() - 1]), &key[..key.len() - 1]);

    let mut details = std::collections::BTreeSet::new();
    for fields in [
        format!("x-api-key: {forged}\r\n"),
        format!("x-api-key: {cut}\r\n"),
        format!("x-api-key: {key}0\r\n"),
        format!("x-api-key: {}\r\n", key.to_lowercase()),
        format!("x-api-key: {}\r\n", key.replacen("cw_live_", "cw_test_", 1)),
        format!("x-api-key: {}\r\n", key.replacen("cw_live_", "cw_my_", 1)),
        format!("x-api-key: {abroad}\r\n"),
        format!("x-api-key: {}\r\n", revoked.secret),
        format!("x-api-key: {}\r\n", site.operator_token()),
        format!("x-api-key: {key}\r\nx-api-key: {key}\r\n"),
        format!("x-api-key: {key}\r\nauthorization: Bearer {key}\r\n"),
        format!("authorization: Bearer {key}\r\nauthorization: Bearer {key}\r\n"),
        format!("authorization: Basic {key}\r\n"),
        format!("authorization: {key}\r\n"),
        format!("x-api-key: {key},{key}\r\n"),
        format!("x-api-key: \u{e9}{key}\r\n"),
        format!("x-api-key: cw_live_{}\r\n", "a".repeat(8 << 10)),
        "x-api-key:\r\n".to_owned(),
    ] {
        let answer = ask("/keyed", &fields).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "credentials-invalid"), "{fields}");
        assert!(answer.header("www-authenticate").is_some(), "{}", answer.head);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        details.insert(body["detail"].to_string());
    }
    assert_eq!(details.len(), 1, "{details:?}");
    for fields in [String::new(), format!("x-api-key: {key}\r\nconnection: x-api-key\r\n")] {
        assert_eq!(ask("/keyed", &fields).await.code(), "credentials-missing", "{fields}");
    }
    assert_eq!(service.seen().len(), served, "nothing was forwarded");

    for fields in [format!("x-api-key: {key}\r\n"), format!("authorization: bearer {key}\r\n")] {
        assert_eq!(ask("/keyed", &fields).await.status, 200);
    }
    assert!(service.seen().iter().all(|seen| !seen.head.contains("cw_")), "a service saw a key");
}

/// URLs end up in logs: ours must not hold the key either, in no spelling.
#[tokio::test]
async fn key_in_the_url_is_refused_and_not_recorded() {
    let site = site().await;
    let key = site.dev_key();
    let encoded = key.replace('_', "%5F");
    let doubly = key.replacen('c', "%63", 1);

    for (n, path) in [
        format!("/keyed?key={key}"),
        format!("/keyed/{key}"),
        format!("/keyed?key={encoded}"),
        format!("/keyed/{encoded}"),
        format!("/keyed/{doubly}"),
        // A person's own token, which nobody takes here.
        format!("/keyed?token={}", key.replacen("cw_live_", "cw_my_", 1)),
    ]
    .iter()
    .enumerate()
    {
        let id = format!("misplaced-key-{n}");
        let answer = ask(path, &format!("x-request-id: {id}\r\nx-api-key: {key}\r\n")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "credential-misplaced"), "{path}");
        let records = site.records(&format!("request_id={id}"), 1).await;
        let secret = &key[key.len() - 20..];
        assert!(records.len() == 1 && !records[0].to_string().contains(secret), "{records:?}");
    }
}

#[tokio::test]
async fn scopes_and_owners_decide_after_the_key() {
    let site = site().await;
    let _scoped = site.service("scoped", |_| ok("served"));
    let _private = site.service("private", |_| ok("served"));
    let fields = |key: &crate::site::Key| format!("x-api-key: {}\r\n", key.secret);
    let with = site.key(json!({ "name": "with", "application": "default" })).await;
    let none = site.key(json!({ "name": "none", "application": "default", "scopes": [] })).await;
    let other = site.key(json!({ "name": "other", "application": "other" })).await;

    for (path, key, status, code) in [
        ("/scoped", &with, 200, ""),
        ("/scoped", &none, 403, "scope-insufficient"),
        ("/scoped", &other, 403, "scope-insufficient"),
        ("/private", &with, 403, "route-forbidden"),
        ("/private", &other, 200, ""),
    ] {
        let answer = ask(path, &fields(key)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
}
