//! A key becomes an access token (OAuth 2.0, `client_credentials`), and the token is worth what the key is worth: no more, and no longer.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use harness::client::{self, Version};
use harness::wait;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::service::ok;
use crate::site::{Key, SOON, Site, site, source};

/// A client at an address that no other test fails from.
async fn http() -> reqwest::Client {
    client::http_from(site().await.ca(), Version::Http1, Some(source(77))).unwrap()
}

async fn whole(request: RequestBuilder) -> (Response, Value) {
    let answer = request.send().await.unwrap();
    let (parts, body) = http::Response::from(answer).into_parts();
    let bytes = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (Response::from(http::Response::from_parts(parts, "")), value)
}

/// Asks the token endpoint with a form.
async fn ask(path: &str, form: &str, basic: Option<(&str, &str)>) -> (Response, Value) {
    let url = site().await.url(path);
    let request = http().await.post(url).header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
    let request = match basic {
        Some((id, secret)) => request.header("authorization", format!("Basic {}", BASE64.encode(format!("{id}:{secret}").as_bytes()))),
        None => request,
    };
    whole(request).await
}

/// A form, what stands in HTTP Basic, and the status and the error that come of it.
type Mistake<'m> = (&'m str, Option<(&'m str, &'m str)>, u16, &'m str);

const GRANT: &str = "grant_type=client_credentials";

fn in_form(key: &Key) -> String {
    format!("{GRANT}&client_id={}&client_secret={}", key.id, key.secret)
}

async fn token(key: &Key) -> String {
    let (answer, body) = ask("/oauth/token", GRANT, Some((&key.id, &key.secret))).await;
    assert_eq!(answer.status(), 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

async fn status(path: &str, token: &str) -> u16 {
    http().await.get(site().await.url(path)).bearer_auth(token).send().await.unwrap().status().as_u16()
}

async fn becomes(path: &str, token: &str, expected: u16) {
    wait::until("the change in the data plane", SOON, async || status(path, token).await == expected).await.unwrap();
}

async fn post(site: &Site, key: &Key, verb: &str, body: Value) -> Value {
    site.control(Method::POST, &format!("/v1/keys/{}/{verb}", key.id), Some(body)).await
}

#[tokio::test]
async fn a_key_becomes_a_token_that_stands_for_it() {
    let site = site().await;
    let service = site.service("lent", |_| ok("served"));
    let key = site.key(json!({ "name": "lent" })).await;

    for (form, basic) in [(GRANT.to_owned(), true), (in_form(&key), false), (format!("{GRANT}&client_id={}", key.id), true)] {
        let (answer, body) = ask("/oauth/token", &form, basic.then_some((&*key.id, &*key.secret))).await;
        assert_eq!(answer.status(), 200, "{body}");
        assert_eq!((&body["token_type"], &body["expires_in"], &body["scope"]), (&json!("Bearer"), &json!(300), &json!("items:read")));
        assert_eq!(body.as_object().unwrap().len(), 4, "{body}");
        for (name, value) in [("cache-control", "no-store"), ("content-type", "application/json")] {
            assert_eq!(answer.headers()[name], value);
        }
        assert!(answer.headers().contains_key("ratelimit"), "it is limited like any route");
    }

    let token = token(&key).await;
    let claims: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap()).unwrap();
    assert_eq!((&claims["client_id"], &claims["sub"], &claims["iss"]), (&json!(key.id), &json!("default"), &json!("https://127.0.0.1")));
    assert!(!token.contains(&key.secret[21..]), "it does not hold the secret");

    let request = http().await.get(site.url("/lent")).bearer_auth(&token).header("x-request-id", "lent-request-1");
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert!(service.seen().iter().all(|seen| seen.header("authorization").is_empty()), "the token ends at the gateway, as keys do");
    let records = site.records("request_id=lent-request-1", 1).await;
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&record["auth_method"], &record["key_id"], &record["application"]), (&json!("api_key_token"), &json!(key.id), &json!("default")));
    assert_eq!(status("/lent", &token[..token.len() - 1]).await, 401);
    assert_eq!(status("/lent", &format!("{token}A")).await, 401);

    // The answer of the endpoint is a record like any other, and names the key.
    let records = site.records(&format!("key={}&route=token", key.id), 4).await;
    assert!(records.iter().all(|record| record["status"] == 200 && record["upstream"] == "(gateway)"), "{records:?}");
}

#[tokio::test]
async fn a_token_dies_with_its_key_and_with_the_secret_that_it_was_given_for() {
    let site = site().await;
    let _service = site.service("lentscoped", |_| ok("served"));
    let key = site.key(json!({ "name": "dies" })).await;
    let first = token(&key).await;
    assert_eq!(status("/lentscoped", &first).await, 200);

    // It stands for the key as the key is now.
    site.control(Method::PATCH, &format!("/v1/keys/{}", key.id), Some(json!({ "scopes": [] }))).await;
    becomes("/lentscoped", &first, 403).await;
    site.control(Method::PATCH, &format!("/v1/keys/{}", key.id), Some(json!({ "scopes": ["items:read"], "methods": ["POST"] }))).await;
    becomes("/lentscoped", &first, 403).await;
    site.control(Method::PATCH, &format!("/v1/keys/{}", key.id), Some(json!({ "methods": null }))).await;
    becomes("/lentscoped", &first, 200).await;

    post(site, &key, "disable", json!({})).await;
    becomes("/lentscoped", &first, 401).await;
    post(site, &key, "enable", json!({})).await;
    becomes("/lentscoped", &first, 200).await;

    let rolled = post(site, &key, "roll", json!({ "overlap": 3600 })).await;
    let new = Key { id: key.id.clone(), secret: rolled["secret"].as_str().unwrap().to_owned() };
    wait::until("the new secret", SOON, async || ask("/oauth/token", GRANT, Some((&new.id, &new.secret))).await.0.status() == 200).await.unwrap();
    let (second, third) = (token(&new).await, token(&key).await);
    for token in [&first, &second, &third] {
        assert_eq!(status("/lentscoped", token).await, 200, "both secrets live");
    }
    post(site, &key, "end-overlap", json!({})).await;
    becomes("/lentscoped", &first, 401).await;
    assert_eq!(status("/lentscoped", &third).await, 401, "it was given for the secret that is over");
    assert_eq!(status("/lentscoped", &second).await, 200);

    post(site, &key, "revoke", json!({})).await;
    becomes("/lentscoped", &second, 401).await;
    let (answer, body) = ask("/oauth/token", GRANT, Some((&new.id, &new.secret))).await;
    assert_eq!((answer.status().as_u16(), &body["error"]), (401, &json!("invalid_client")));
}

/// A secret that was thrown away may have been used by whoever got hold of the answer.
#[tokio::test]
async fn a_token_of_a_secret_that_was_thrown_away_ends_and_that_of_the_one_in_use_does_not() {
    let site = site().await;
    let _service = site.service("lentscoped", |_| ok("served"));
    let key = site.key(json!({ "name": "thrown away" })).await;
    let rolled = async |body: Value| Key { id: key.id.clone(), secret: post(site, &key, "roll", body).await["secret"].as_str().unwrap().to_owned() };
    let taken = async |key: &Key| {
        wait::until("the new secret", SOON, async || ask("/oauth/token", GRANT, Some((&key.id, &key.secret))).await.0.status() == 200).await.unwrap();
        token(key).await
    };

    let in_use = token(&key).await;
    let lost = taken(&rolled(json!({ "overlap": 3600 })).await).await;
    for token in [&in_use, &lost] {
        assert_eq!(status("/lentscoped", token).await, 200, "both secrets live");
    }
    let kept = rolled(json!({ "while_rolling": "replace_present" })).await;
    becomes("/lentscoped", &lost, 401).await;
    let (first, new) = (token(&key).await, taken(&kept).await);
    for token in [&in_use, &first, &new] {
        assert_eq!(status("/lentscoped", token).await, 200, "the secret in use and the new one live");
    }
    post(site, &key, "end-overlap", json!({})).await;
    becomes("/lentscoped", &in_use, 401).await;
    assert_eq!([status("/lentscoped", &first).await, status("/lentscoped", &new).await, status("/lentscoped", &lost).await], [401, 200, 401]);
}

#[tokio::test]
async fn scopes_are_narrowed_and_never_widened() {
    let site = site().await;
    let key = site.key(json!({ "name": "narrow", "scopes": ["items:read", "items:write"] })).await;
    let asked = async |scope: &str| ask("/oauth/token", &format!("{GRANT}&scope={scope}"), Some((&key.id, &key.secret))).await;

    let (_, body) = asked("items%3Awrite+items%3Awrite").await;
    assert_eq!(body["scope"], "items:write", "{body}");
    let narrow = body["access_token"].as_str().unwrap().to_owned();
    let refused = http().await.get(site.url("/lentscoped/narrow")).bearer_auth(&narrow).send().await.unwrap();
    assert_eq!(refused.status(), 403, "the key may, the token may not");
    let (_, body) = asked("").await;
    assert_eq!(body["scope"], "items:read items:write", "an empty parameter counts as left out");
    for scope in ["items:admin", "items:read+items:admin", "%22", "items:read,items:write"] {
        let (answer, body) = asked(scope).await;
        assert_eq!((answer.status().as_u16(), &body["error"], &body["code"]), (400, &json!("invalid_scope"), &json!("scope-invalid")), "{scope}");
    }
}

/// Whatever else is sent gets the error that RFC 6749 has for it, and no token.
#[tokio::test]
async fn each_mistake_has_its_code_and_none_gives_a_token() {
    let site = site().await;
    let key = site.key(json!({ "name": "mistakes" })).await;
    let other = site.key(json!({ "name": "other" })).await;
    let lent = token(&key).await;
    let (id, secret) = (&*key.id, &*key.secret);
    let own = Some((id, secret));
    let broken = format!("{}{}", &secret[..secret.len() - 1], if secret.ends_with('0') { '1' } else { '0' });
    let (lent_in_form, both) = (format!("{GRANT}&client_id={id}&client_secret={lent}"), in_form(&key));
    let long = format!("{GRANT}&x={}", "a".repeat(9_000));
    let cases: [Mistake<'_>; 20] = [
        ("", own, 400, "invalid_request"),
        ("grant_type=", own, 400, "invalid_request"),
        ("grant_type=password&username=a&password=b", own, 400, "unsupported_grant_type"),
        ("grant_type=Client_Credentials", own, 400, "unsupported_grant_type"),
        ("grant_type=client_credentials&grant_type=client_credentials", own, 400, "invalid_request"),
        ("grant_type=client_credentials&scope=a&scope=a", own, 400, "invalid_request"),
        (&both, own, 400, "invalid_request"),
        (&long, own, 413, "invalid_request"),
        ("grant_type=client_credentials&client_assertion=a&client_assertion_type=b", own, 400, "invalid_request"),
        ("grant_type=client_credentials&client_id=other", own, 400, "invalid_request"),
        (GRANT, None, 401, "invalid_client"),
        (GRANT, Some((id, &broken)), 401, "invalid_client"),
        (GRANT, Some((id, "")), 401, "invalid_client"),
        (GRANT, Some(("", secret)), 401, "invalid_client"),
        (GRANT, Some((&other.id, secret)), 401, "invalid_client"),
        (GRANT, Some((id, &secret[21..])), 401, "invalid_client"),
        (GRANT, Some((id, &lent)), 401, "invalid_client"),
        (&lent_in_form, None, 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=a&client_secret=b", None, 401, "invalid_client"),
        (GRANT, Some((id, site.operator_token())), 401, "invalid_client"),
    ];
    for (form, basic, status, error) in cases {
        let (answer, body) = ask("/oauth/token", form, basic).await;
        assert_eq!((answer.status().as_u16(), &body["error"]), (status, &json!(error)), "{form} {basic:?}: {body}");
        assert!(body.get("access_token").is_none() && body["error_description"].is_string(), "{body}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(challenge.as_deref(), (status == 401).then_some("Basic realm=\"causeway\""));
        assert!(!body.to_string().contains(&secret[21..64]), "no credential is echoed");
    }

    let url = site.url("/oauth/token");
    let form = "application/x-www-form-urlencoded";
    let post = async || http().await.post(&url).body(GRANT);
    for (request, status) in [
        (post().await.header("content-type", form).bearer_auth(secret), 401),
        (post().await.header("content-type", form).bearer_auth(&lent), 401),
        (post().await.header("content-type", form).header("x-api-key", secret), 400),
        (post().await.header("content-type", "application/json").basic_auth(id, Some(secret)), 415),
        (post().await.basic_auth(id, Some(secret)), 415),
        (http().await.get(&url).basic_auth(id, Some(secret)), 405),
        (http().await.post(site.url("/oauth/token?client_secret=a")).header("content-type", form).body(GRANT), 401),
    ] {
        let (answer, body) = whole(request).await;
        assert_eq!(answer.status(), status, "{body}");
        assert!(body.get("access_token").is_none(), "{body}");
    }
    let (answer, body) = ask("/oauth/brief", GRANT, own).await;
    assert_eq!((answer.status().as_u16(), &body["error"]), (403, &json!("unauthorized_client")), "the route is for another consumer");

    let charset = http().await.post(&url).header("content-type", "application/x-www-form-urlencoded; charset=utf-8").body(GRANT);
    assert_eq!(charset.basic_auth(id, Some(secret)).send().await.unwrap().status(), 200, "what many libraries send");
}
