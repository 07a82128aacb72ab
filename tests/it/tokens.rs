//! Tokens of an issuer through a real node: what is taken, what is refused, and what happens when the issuer is not well.

mod away;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use harness::client::Version;
use harness::issuer::{Issuer, Manner, Signer};
use harness::wait;
use reqwest::Response;
use serde_json::{Value, json};

use crate::operation::{Running, Station};
use crate::service::{Service, ok};
use crate::site::{SOON, upstream};

/// A node with routes for keys, tokens, either and both, and the issuer of the tokens.
pub(crate) struct Place {
    pub(crate) station: Station,
    node: Running,
    pub(crate) service: Service,
    pub(crate) issuer: Issuer,
    pub(crate) signer: Signer,
    port: u16,
}

fn issuer_doc(issuer: &Issuer, ca: &str, more: &Value) -> Value {
    let mut doc = json!({
        "name": "accounts", "issuer": issuer.url(), "jwks": format!("{}/keys", issuer.url()), "audiences": ["api"],
        "application_claim": "azp", "ca": ca, "private_addresses": true,
    });
    doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    doc.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    doc
}

pub(crate) fn document(place_port: u16, issuer: &Value) -> Value {
    let route = |name: &str, more: Value| {
        let mut route = json!({ "name": name, "match": { "path": format!("/{name}/**") }, "upstream": "echo" });
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    // What is kept for others cannot rest on a token that the service sees.
    let cache = if issuer["forward"] == true { json!({}) } else { json!({ "cache": {} }) };
    let mut cached = route(
        "cached",
        json!({ "auth": "jwt", "match": { "path": "/cached/**", "host": "127.0.0.1" },
        "consistency": { "reads": { "mode": "eventual" } } }),
    );
    cached.as_object_mut().unwrap().extend(cache.as_object().unwrap().clone());
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }, { "name": "foreign", "hosts": ["foreign.example"] }],
        "plans": [{ "name": "free", "limits": { "burst": { "rate": "200/s", "burst": 400 } } }],
        "consumers": [{ "name": "demo", "tenant": "demo" }, { "name": "rival", "tenant": "demo" }, { "name": "stranger", "tenant": "foreign" }],
        "applications": [
            { "name": "default", "consumer": "demo", "plan": "free", "scopes": ["read", "own"] },
            { "name": "rival", "consumer": "rival", "plan": "free" },
            { "name": "stranger", "consumer": "stranger" },
        ],
        "issuers": [issuer],
        "upstreams": [upstream("echo", place_port)],
        "routes": [
            route("open", json!({ "auth": "none", "match": { "path": "/open/**", "host": "127.0.0.1" } })),
            route("token", json!({ "auth": "jwt", "match": { "path": "/token/**", "host": "127.0.0.1" }, "headers": { "request": { "set": {
                "x-who": "${subject}", "x-issuer": "${issuer}", "x-app": "${application}" } } } })),
            route("any", json!({ "auth": { "any_of": ["api_key", "jwt"] }, "match": { "path": "/any/**", "host": "127.0.0.1" } })),
            route("all", json!({ "auth": { "all_of": ["api_key", "jwt"] }, "match": { "path": "/all/**", "host": "127.0.0.1" } })),
            route("scoped", json!({ "auth": "jwt", "scopes": ["write"], "match": { "path": "/scoped/**", "host": "127.0.0.1" } })),
            route("other", json!({ "auth": { "jwt": { "audience": "other" } }, "match": { "path": "/other/**", "host": "127.0.0.1" } })),
            route("limited", json!({ "auth": "jwt", "limits": [{ "name": "few", "rate": "3/h" }], "match": { "path": "/limited/**", "host": "127.0.0.1" } })),
            route("lenient", json!({ "auth": "jwt", "match": { "path": "/lenient/**", "host": "127.0.0.1" },
                "consistency": { "keys": { "max_staleness": "5m", "on_stale": "allow" } } })),
            route("reading", json!({ "auth": "jwt", "match": { "path": "/reading/**", "host": "127.0.0.1" },
                "consistency": { "keys": { "max_staleness": "5m", "on_stale": "allow_reads" } } })),
            cached,
        ],
    })
}

impl Place {
    pub(crate) async fn start() -> Self {
        Self::start_with("", &[]).await
    }

    /// Starts it with more in the node's file, and with files beside that.
    pub(crate) async fn start_with(more: &str, files: &[(&str, &str)]) -> Self {
        let station = Station::start(|text| format!("{text}limits: {{ failures_per_prefix: 100000 }}\n{more}")).await;
        for (name, content) in files {
            std::fs::write(station.folder().join(name), content).unwrap();
        }
        let node = station.serve().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let signer = Signer::p256("first").unwrap();
        let folder = station.ca().parent().unwrap();
        let issuer = Issuer::start(&folder.join("server.pem"), &folder.join("server.key"), &[&signer]).await.unwrap();
        listener.set_nonblocking(true).unwrap();
        let service = Service::start(tokio::net::TcpListener::from_std(listener).unwrap(), |seen| {
            let cached = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\ncontent-length: 1\r\n\r\n";
            // Sent with an age beyond its lifetime, it is stale from the beginning.
            let aging =
                "HTTP/1.1 200 OK\r\ncache-control: public, max-age=10, stale-while-revalidate=1000\r\nage: 20\r\ncontent-length: 5\r\n\r\naging";
            match seen.line() {
                line if line.contains("/cached/aging") => crate::service::raw(aging),
                line if line.contains("/cached") => crate::service::raw(&format!("{cached}{}", seen.turn % 10)),
                _ => ok("served"),
            }
        });
        let place = Self { station, node, service, issuer, signer, port };
        place.apply(&json!({})).await;
        place
    }

    /// Puts the issuer in force with other rules.
    pub(crate) async fn apply(&self, more: &Value) {
        let ca = std::fs::read_to_string(self.station.ca()).unwrap();
        self.station.put(&document(self.port, &issuer_doc(&self.issuer, &ca, more)), &self.node).await;
    }

    pub(crate) async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let http = self.station.http(Version::Http2);
        let request = http.get(format!("{}{path}", self.station.region.data));
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
    }

    pub(crate) async fn with_token(&self, path: &str, token: &str) -> Response {
        self.ask(path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Status and problem code of a request with a token of these claims.
    async fn judged(&self, path: &str, claims: &Value) -> (u16, String) {
        verdict(self.with_token(path, &self.signer.token(claims).unwrap()).await).await
    }

    pub(crate) fn claims(&self, change: &Value) -> Value {
        let mut claims = self.issuer.claims();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    }

    /// Tokens refused for a reason, or keys offered by a kind.
    pub(crate) async fn count(&self, name: &str) -> String {
        self.station.metric(name).await.to_string()
    }

    pub(crate) async fn refused(&self, reason: &str) -> String {
        self.count(&format!("causeway_tokens_refused_total{{reason=\"{reason}\"}}")).await
    }

    pub(crate) fn log(&self) -> String {
        self.node.log()
    }

    pub(crate) async fn stop(self) {
        drop(self.node);
        self.station.stop().await;
    }
}

pub(crate) async fn verdict(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn one_more(count: &str) -> String {
    (count.parse::<u64>().unwrap() + 1).to_string()
}

const INVALID: &str = "credentials-invalid";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_issuer_are_taken_by_its_rules_alone_or_beside_keys() {
    let place = Place::start().await;
    taken(&place).await;
    refused(&place).await;
    ways(&place).await;
    counted_for_their_subject(&place).await;
    denied(&place).await;
    place.stop().await;
}

async fn taken(place: &Place) {
    let token = place.signer.token(&place.issuer.claims()).unwrap();
    let answer = place.with_token("/token/x", &token).await;
    assert_eq!(answer.status(), 200);
    let seen = place.service.seen().pop().unwrap();
    assert_eq!([seen.header("x-who"), seen.header("x-issuer"), seen.header("x-app")], [["alice"], ["accounts"], ["default"]]);
    assert!(!seen.head.contains(&token) && seen.header("authorization").is_empty(), "the token was for the gateway");
    let record = place.station.record(&answer).await;
    assert_eq!(
        [&record["principal_kind"], &record["auth_method"], &record["issuer"], &record["application"], &record["personal"]["data"]["subject"]],
        ["token", "jwt", "accounts", "default", "alice"]
    );
    assert!(record["key_id"].is_null() && !record.to_string().contains(&token), "{record}");

    for signer in [Signer::rsa("rsa").unwrap(), Signer::ed25519("ed").unwrap()] {
        place.issuer.publish(&[&place.signer, &signer]).unwrap();
        place.apply(&json!({ "algorithms": ["ES256", "RS256", "EdDSA"], "required_claims": [signer.key_id.clone()] })).await; // another set: fetched anew
        let token = signer.token(&place.claims(&json!({ signer.key_id.clone(): true }))).unwrap();
        let served = async || place.with_token("/token/x", &token).await.status() == 200;
        wait::until("a token of another kind of key", SOON, served).await.unwrap();
    }
    place.apply(&json!({ "forward": true })).await;
    assert_eq!(place.with_token("/token/x", &token).await.status(), 200);
    assert_eq!(place.service.seen().pop().unwrap().header("authorization"), [format!("Bearer {token}")], "where the services are to get it");
    place.apply(&json!({})).await;
}

async fn refused(place: &Place) {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    for (claims, reason) in [
        (json!({ "exp": now - 11 }), "expired"),
        (json!({ "exp": null }), "date-invalid"),
        (json!({ "nbf": now + 60 }), "not-yet-valid"),
        (json!({ "aud": "else" }), "audience-wrong"),
        (json!({ "iss": "https://else.example" }), "issuer-wrong"),
        (json!({ "sub": "" }), "subject-invalid"),
        (json!({ "azp": "nobody" }), "application-unknown"),
        (json!({ "azp": null }), "client-invalid"),
        (json!({ "cnf": { "jkt": "A".repeat(43) } }), "token-bound"),
    ] {
        let before = place.refused(reason).await;
        assert_eq!(place.judged("/token/x", &place.claims(&claims)).await, (401, INVALID.to_owned()), "{claims}");
        assert_eq!(place.refused(reason).await, one_more(&before), "{claims}");
    }
    let (status, code) = place.judged("/token/x", &place.claims(&json!({ "azp": "stranger" }))).await;
    assert_eq!((status, code.as_str()), (401, INVALID), "an application of another tenant");
    assert_eq!(place.judged("/other/x", &place.issuer.claims()).await.0, 401, "for another audience than the route's");
    assert_eq!(place.judged("/other/x", &place.claims(&json!({ "aud": ["x", "other"] }))).await.0, 200);
    assert_eq!(place.judged("/scoped/x", &place.issuer.claims()).await.0, 200);
    assert_eq!(place.judged("/scoped/x", &place.claims(&json!({ "scope": "read" }))).await, (403, "scope-insufficient".to_owned()));
    let foreign = Signer::p256("first").unwrap();
    let forged = foreign.token(&place.issuer.claims()).unwrap();
    assert_eq!(verdict(place.with_token("/token/x", &forged).await).await, (401, INVALID.to_owned()), "signed by somebody else");
    let before = place.count("causeway_token_keys_offered_total{kind=\"jku\"}").await;
    let header = json!({ "alg": "ES256", "kid": "first", "jku": "https://evil.example/keys" }).to_string();
    let offering = place.signer.compact(&header, &place.issuer.claims().to_string()).unwrap();
    assert_eq!(place.with_token("/token/x", &offering).await.status(), 200, "what a header offers is ignored");
    assert_eq!(place.count("causeway_token_keys_offered_total{kind=\"jku\"}").await, one_more(&before));
}

async fn ways(place: &Place) {
    let key = place.station.calls.first_key();
    let token = place.signer.token(&place.issuer.claims()).unwrap();
    let rivals = place.signer.token(&place.claims(&json!({ "azp": "rival" }))).unwrap();
    let bearer = |text: &str| format!("Bearer {text}");
    for (path, fields, expected) in [
        ("/any/x", vec![("x-api-key", key.to_owned())], (200, "")),
        ("/any/x", vec![("authorization", bearer(key))], (200, "")),
        ("/any/x", vec![("authorization", bearer(&token))], (200, "")),
        ("/any/x", vec![("authorization", bearer(&token)), ("x-api-key", key.to_owned())], (401, INVALID)),
        ("/any/x", vec![], (401, "credentials-missing")),
        ("/any/x", vec![("x-api-key", token.clone())], (401, INVALID)),
        ("/all/x", vec![("authorization", bearer(&token)), ("x-api-key", key.to_owned())], (200, "")),
        ("/all/x", vec![("authorization", bearer(&token)), ("authorization", bearer(key))], (401, INVALID)),
        ("/all/x", vec![("authorization", bearer(&rivals)), ("x-api-key", key.to_owned())], (401, INVALID)),
        ("/all/x", vec![("authorization", bearer(&token))], (401, "credentials-missing")),
        ("/all/x", vec![("x-api-key", key.to_owned())], (401, "credentials-missing")),
        ("/token/x", vec![("x-api-key", key.to_owned())], (401, INVALID)),
        ("/token/x", vec![], (401, "credentials-missing")),
        ("/token/x", vec![("authorization", "Basic YWxpY2U6eA==".to_owned())], (401, INVALID)),
        ("/token/x", vec![("authorization", bearer(&"a".repeat(9_000)))], (401, INVALID)),
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, code) = verdict(place.ask(path, &fields).await).await;
        assert_eq!((status, code.as_str()), expected, "{path} {:?}", fields.iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
    let both = place.ask("/all/x", &[("authorization", &bearer(&token)), ("x-api-key", key)]).await;
    let record = place.station.record(&both).await;
    assert_eq!([&record["principal_kind"], &record["auth_method"], &record["personal"]["data"]["subject"]], ["key", "api_key jwt", "alice"]);
    assert!(record["key_id"].is_string());
}

/// One user's limits and stored responses are no other user's.
async fn counted_for_their_subject(place: &Place) {
    let of = |subject: &str| place.claims(&json!({ "sub": subject }));
    for subject in ["bob", "carol"] {
        for _ in 0..3 {
            assert_eq!(place.judged("/limited/x", &of(subject)).await.0, 200);
        }
        assert_eq!(place.judged("/limited/x", &of(subject)).await, (429, "quota-exceeded".to_owned()));
    }
    let elsewhere = place.claims(&json!({ "sub": "bob", "azp": "rival" }));
    assert_eq!(place.judged("/limited/x", &elsewhere).await.0, 200, "the same person with another customer's application");
    let body = async |subject: &str, application: &str| {
        let claims = place.claims(&json!({ "sub": subject, "azp": application }));
        let answer = place.with_token("/cached/x", &place.signer.token(&claims).unwrap()).await;
        let status = answer.headers()["cache-status"].to_str().unwrap().to_owned();
        status.contains("hit")
    };
    for (subject, application) in [("bob", "default"), ("carol", "default"), ("bob", "rival")] {
        assert!(!body(subject, application).await, "{subject} {application}: another one's response");
        assert!(body(subject, application).await, "{subject} {application}");
    }
}

/// What an operator refuses is refused, and what is issued later is good again.
async fn denied(place: &Place) {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let claims = |subject: &str, id: &str, issued_at: i64| place.claims(&json!({ "sub": subject, "jti": id, "iat": issued_at }));
    let deny = async |body: Value| place.station.calls.change("/v1/tokens/deny", Some(&body)).await.unwrap();
    for (body, pointer) in [
        (json!({ "issuer": "account", "token": "t" }), "/issuer"),
        (json!({ "issuer": "accounts" }), "/token"),
        (json!({ "issuer": "accounts", "token": "t", "subject": "erin" }), "/subject"),
        (json!({ "issuer": "accounts", "token": "t", "issued_until": "1h" }), "/issued_until"),
        (json!({ "issuer": "accounts", "subject": "erin", "issued_until": "soon" }), "/issued_until"),
        (json!({ "issuer": "accounts", "token": "t", "lasts": "for ever" }), "/lasts"),
        (json!({ "issuer": "accounts", "token": "" }), "/token"),
        (json!({ "issuer": "accounts", "token": "a".repeat(256) }), "/token"),
    ] {
        let answer = deny(body.clone()).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
        assert!(answer.body.contains(pointer), "{body}: {}", answer.body);
    }
    assert_eq!(place.judged("/token/x", &claims("erin", "t-1", now - 10)).await.0, 200);

    assert_eq!(deny(json!({ "issuer": "accounts", "token": "t-1" })).await.status, 200);
    let refused = async |claims: &Value| place.judged("/token/x", claims).await == (401, INVALID.to_owned());
    let one = claims("erin", "t-1", now - 10);
    wait::until("the denial of a token", Duration::from_secs(1), async || refused(&one).await).await.unwrap();
    assert_eq!(place.judged("/token/x", &claims("erin", "t-2", now - 10)).await.0, 200, "another one about the same person");

    assert_eq!(deny(json!({ "issuer": place.issuer.url(), "subject": "erin", "issued_until": "5s" })).await.status, 200);
    let old = claims("erin", "t-2", now - 10);
    wait::until("the denial of a subject", Duration::from_secs(1), async || refused(&old).await).await.unwrap();
    assert_eq!(place.judged("/token/x", &claims("erin", "t-3", now)).await.0, 200, "issued later");
    let mut undated = claims("erin", "t-5", now);
    undated.as_object_mut().unwrap().remove("iat");
    assert!(refused(&undated).await, "who knows when it was issued");
    assert_eq!(place.judged("/token/x", &claims("frank", "t-4", now - 10)).await.0, 200, "somebody else");
    let listed = place.station.calls.control(&place.station.region, "/v1/tokens/denied").await.unwrap().json();
    let told: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| (item["token"].clone(), item["subject"].clone())).collect();
    assert_eq!(told, [(Value::Null, json!("erin")), (json!("t-1"), Value::Null)]);
    assert!(place.refused("token-denied").await.parse::<u64>().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_not_well_costs_no_more_than_what_it_alone_can_tell() {
    let place = Place::start().await;
    let good = async || place.judged("/token/x", &place.issuer.claims()).await.0 == 200;
    wait::until("the first key set", SOON, good).await.unwrap();
    for (number, (manner, said)) in [
        (Manner::Status(500), "the answer is 500"),
        (Manner::Status(404), "the answer is 404"),
        (Manner::Redirect, "the answer is 302"),
        (Manner::Silent, "longer than two seconds"),
        (Manner::Garbage, "is not a plain JSON object"),
        (Manner::Endless, "longer than it may be"),
        (Manner::Empty, "no key of the set can be used"),
        (Manner::CutOff, "or broke off"),
    ]
    .into_iter()
    .enumerate()
    {
        place.issuer.behave(manner);
        // Another CA text is another way to the keys: everything that was known is dropped, and nothing can be had.
        let ca = std::fs::read_to_string(place.station.ca()).unwrap();
        place.apply(&json!({ "ca": ca.repeat(number + 2) })).await;
        let (status, code) = place.judged("/token/x", &place.issuer.claims()).await;
        assert_eq!((status, code.as_str()), (503, "issuer-unreachable"), "{manner:?}");
        assert!(place.node.log().contains(said), "{manner:?}: {}", place.node.log());
        place.issuer.behave(Manner::Well);
        place.apply(&json!({})).await;
        wait::until("the key set", SOON, good).await.unwrap();
    }
    // Where what is known stays good, nobody notices; the operator does.
    let says = async |what: &str| {
        let checks = async || place.station.calls.control(&place.station.region, "/readyz?verbose").await.unwrap().body;
        let said = wait::until("what the node says of the issuer", SOON, async || checks().await.contains(what)).await;
        assert!(said.is_ok(), "{}", checks().await);
    };
    says("1 key sets are fetched").await;
    place.issuer.behave(Manner::Silent);
    place.apply(&json!({ "refresh": "30s" })).await;
    assert!(good().await, "the keys are known");
    let unknown = Signer::p256("unknown").unwrap().token(&place.issuer.claims()).unwrap();
    assert_eq!(verdict(place.with_token("/token/x", &unknown).await).await, (503, "issuer-unreachable".to_owned()), "only the issuer could tell");
    says("`accounts` cannot be had: it took longer than two seconds; the one before is in use").await;
    assert!(good().await);
    place.issuer.behave(Manner::Slow(Duration::from_millis(300)));
    place.apply(&json!({ "discovery": true, "jwks": null })).await;
    assert!(good().await, "the first request waits for the configuration and the keys");
    let leeway = place.claims(&json!({ "exp": time::OffsetDateTime::now_utc().unix_timestamp() - 3 }));
    assert_eq!(place.judged("/token/x", &leeway).await.0, 200, "within the leeway");
    place.issuer.claim_to_be("https://else.example");
    place.apply(&json!({ "discovery": true, "jwks": null, "algorithms": ["ES256"] })).await;
    assert_eq!(place.judged("/token/x", &place.issuer.claims()).await.0, 503, "the configuration is another issuer's");
    place.issuer.claim_to_be(place.issuer.url());
    place.issuer.behave(Manner::Well);
    place.apply(&json!({ "private_addresses": false })).await;
    assert_eq!(place.judged("/token/x", &place.issuer.claims()).await.0, 503, "it is at no public address");
    place.apply(&json!({ "ca": null })).await;
    assert_eq!(place.judged("/token/x", &place.issuer.claims()).await.0, 503, "its certificate is nobody's that the system trusts");
    assert_eq!(verdict(place.ask("/open/x", &[]).await).await.0, 200, "others do not notice");
    place.stop().await;
}
