//! Tokens that only their issuer can read (RFC 7662), through a real node: what is asked, what is believed, and what an attacker can make of it.

use std::time::Duration;

use harness::introspector::Introspector;
use harness::issuer::{Manner, Signer};
use harness::wait;
use serde_json::{Value, json};

use crate::tokens::{Place, one_more, verdict};

/// What the node file says besides. The secret has letters that have to be encoded.
const CLIENTS: &str = "introspection_clients: { gateway: { id: \"the gateway\", secret: \"file:introspection.secret\" } }\n";
const SECRET: &str = "s3:cr%t é";
const INVALID: &str = "credentials-invalid";

struct Stage {
    place: Place,
    issuer: Introspector,
}

impl Stage {
    async fn start() -> Self {
        let place = Place::start_with(CLIENTS, &[("introspection.secret", SECRET)]).await;
        let folder = place.station.ca().parent().unwrap();
        let issuer = Introspector::start(&folder.join("server.pem"), &folder.join("server.key")).await.unwrap();
        let stage = Self { place, issuer };
        stage.apply("2s", &json!({})).await;
        stage
    }

    async fn apply(&self, cache: &str, more: &Value) {
        let url = self.issuer.url();
        let mut doc = json!({
            "jwks": null, "issuer": url, "application_claim": "client_id",
            "introspection": { "endpoint": format!("{url}/introspect"), "client": "gateway", "cache": cache },
        });
        doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.place.apply(&doc).await;
    }

    /// Has the issuer know a token, with something changed.
    fn know(&self, token: &str, change: &Value) {
        let mut claims = self.issuer.claims();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.issuer.know(token, claims);
    }

    async fn ask(&self, token: &str) -> (u16, String) {
        verdict(self.place.with_token("/token/x", token).await).await
    }

    fn asked(&self) -> usize {
        self.issuer.asked().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_only_its_issuer_can_read_is_taken_by_what_the_issuer_says() {
    let stage = Stage::start().await;
    taken(&stage).await;
    refused(&stage).await;
    never_asked_about(&stage).await;
    ended(&stage).await;
    bound(&stage).await;
    stage.place.stop().await;
}

async fn taken(stage: &Stage) {
    let Stage { place, issuer } = stage;
    stage.know("good+/~._-==", &json!({}));
    let answer = place.with_token("/token/x", "good+/~._-==").await;
    assert_eq!(answer.status(), 200);
    let seen = place.service.seen().pop().unwrap();
    assert_eq!([seen.header("x-who"), seen.header("x-issuer"), seen.header("x-app")], [["alice"], ["accounts"], ["default"]]);
    assert!(seen.header("authorization").is_empty(), "the token was for the gateway");
    let record = place.station.record(&answer).await;
    assert_eq!([&record["principal_kind"], &record["auth_method"], &record["personal"]["data"]["subject"]], ["token", "jwt", "alice"]);
    assert!(!record.to_string().contains("good+"), "{record}");

    let question = issuer.asked().pop().unwrap();
    assert_eq!(question.token, "good+/~._-==");
    assert!(question.head.starts_with("POST /introspect HTTP/1.1\r\n") && question.body.contains("token_type_hint=access_token"), "{question:?}");
    let written = data_encoding::BASE64.encode(b"the+gateway:s3%3Acr%25t+%C3%A9");
    assert!(question.head.contains(&format!("authorization: Basic {written}")), "{question:?}");
    let before = stage.asked();
    for _ in 0..3 {
        stage.know("kept", &json!({}));
        assert_eq!(stage.ask("kept").await.0, 200);
    }
    assert_eq!(stage.asked(), before + 1, "what was said is good for a while");
    assert!(!place.log().contains("good+") && !place.log().contains(SECRET), "{}", place.log());
}

async fn refused(stage: &Stage) {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    for (number, (change, reason)) in [
        (json!({ "active": false }), "token-inactive"),
        (json!({ "iss": "https://else.example" }), "issuer-wrong"),
        (json!({ "aud": "else" }), "audience-wrong"),
        (json!({ "aud": null }), "audience-missing"),
        (json!({ "sub": null }), "subject-missing"),
        (json!({ "exp": now - 60 }), "expired"),
        (json!({ "exp": "soon" }), "date-invalid"),
        (json!({ "nbf": now + 60 }), "not-yet-valid"),
        (json!({ "client_id": "nobody" }), "application-unknown"),
        (json!({ "scope": 1 }), "scopes-invalid"),
        (json!({ "cnf": { "kid": "x" } }), "confirmation-invalid"),
        (json!({ "cnf": { "jkt": "A".repeat(43) } }), "token-bound"),
        (json!({ "cnf": { "x5t#S256": "A".repeat(43) } }), "token-bound"),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("refused-{number}");
        stage.know(&token, &change);
        let before = stage.place.refused(reason).await;
        assert_eq!(stage.ask(&token).await, (401, INVALID.to_owned()), "{change}");
        assert_eq!(stage.place.refused(reason).await, one_more(&before), "{change}");
    }
    stage.know("stranger", &json!({ "client_id": "stranger" }));
    assert_eq!(stage.ask("stranger").await, (401, INVALID.to_owned()), "an application of another tenant");
    stage.know("reader", &json!({ "scope": "read", "iss": null, "exp": null }));
    assert_eq!(stage.ask("reader").await.0, 200, "who was asked is known, and how long an answer is good");
    assert_eq!(verdict(stage.place.with_token("/scoped/x", "reader").await).await, (403, "scope-insufficient".to_owned()));
    let before = stage.asked();
    for _ in 0..3 {
        assert_eq!(stage.ask("unknown").await, (401, INVALID.to_owned()));
    }
    assert_eq!(stage.asked(), before + 1, "a no is good for a while, too");
}

/// What can be no token of this issuer's costs it nothing.
async fn never_asked_about(stage: &Stage) {
    let before = stage.asked();
    let signed = Signer::p256("first").unwrap().token(&stage.issuer.claims()).unwrap();
    let long = "a".repeat(4_097);
    for token in [&*signed, "eyJ.e30.sig", &long, "a b", "a,b", "\"a\"", "=", "a=b", "a%20b"] {
        assert_eq!(stage.ask(token).await, (401, INVALID.to_owned()), "{token}");
    }
    assert_eq!(stage.asked(), before);
    let most = "a".repeat(4_096);
    assert_eq!((stage.ask(&most).await.0, stage.asked()), (401, before + 1), "the longest that is asked about");
}

/// What its issuer or an operator takes back.
async fn ended(stage: &Stage) {
    stage.know("short", &json!({ "jti": "t-short" }));
    assert_eq!(stage.ask("short").await.0, 200);
    stage.issuer.forget("short");
    let is_over = async || stage.ask("short").await.0 == 401;
    let took = wait::until("the end of a token that was taken back", Duration::from_secs(5), is_over).await.unwrap();
    assert!(took <= Duration::from_millis(2_900), "its answer was good for two seconds: {took:?}");

    for (token, id) in [("one", "t-one"), ("another", "t-another")] {
        stage.know(token, &json!({ "jti": id, "sub": "erin" }));
        assert_eq!(stage.ask(token).await.0, 200);
    }
    let denial = json!({ "issuer": "accounts", "token": "t-one" });
    assert_eq!(stage.place.station.calls.change("/v1/tokens/deny", Some(&denial)).await.unwrap().status, 200);
    wait::until("the denial", Duration::from_secs(1), async || stage.ask("one").await.0 == 401).await.unwrap();
    assert_eq!(stage.ask("another").await.0, 200);
}

/// An issuer's word about a bound token is worth as much as a bound token.
async fn bound(stage: &Stage) {
    let client = crate::dpop::Client::new(&stage.place, Signer::p256("client").unwrap());
    stage.apply("2s", &json!({ "dpop": "accept" })).await;
    stage.know("bound", &json!({ "cnf": { "jkt": client.thumbprint() } }));
    assert_eq!(stage.ask("bound").await.0, 401, "as a bearer token");
    let proof = client.proof("/token/x", "bound", &json!({}));
    assert_eq!(client.ask("/token/x", "bound", &[&proof]).await.status(), 200);
    assert_eq!(client.ask("/token/x", "bound", &[&proof]).await.status(), 401, "its proof was used");
    stage.apply("2s", &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_cannot_be_asked_is_told_apart_from_a_token_that_is_none() {
    let stage = Stage::start().await;
    stage.know("good", &json!({}));
    assert_eq!(stage.ask("good").await.0, 200);
    for (number, manner) in
        [Manner::Status(500), Manner::Status(401), Manner::Redirect, Manner::Silent, Manner::Garbage, Manner::Endless, Manner::Empty, Manner::CutOff]
            .into_iter()
            .enumerate()
    {
        stage.issuer.behave(manner);
        let token = format!("good-{number}");
        stage.know(&token, &json!({}));
        assert_eq!(stage.ask(&token).await, (503, "issuer-unreachable".to_owned()), "{manner:?}");
        stage.issuer.behave(Manner::Well);
        assert_eq!(stage.ask(&token).await.0, 200, "nothing is remembered of {manner:?}");
    }
    for (number, answer) in [
        json!({ "sub": "alice" }),
        json!({ "active": "true" }),
        json!({ "active": 1 }),
        json!([true]),
        json!({ "active": true, "x": "a".repeat(70_000) }),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("odd-{number}");
        stage.issuer.know(&token, answer);
        assert_eq!(stage.ask(&token).await, (503, "issuer-unreachable".to_owned()), "{number}");
    }
    stage.apply("2s", &json!({ "private_addresses": false })).await;
    assert_eq!(stage.ask("good").await.0, 503, "it is at no public address");
    stage.apply("2s", &json!({ "ca": null })).await;
    assert_eq!(stage.ask("good").await.0, 503, "its certificate is nobody's that the system trusts");
    assert_eq!(verdict(stage.place.ask("/open/x", &[]).await).await.0, 200, "others do not notice");
    stage.place.stop().await;
}

/// Whoever sends tokens of their own making makes the node ask, and no more than so much at once; good tokens get through.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_no_cannon_for_whoever_invents_tokens() {
    let stage = Stage::start().await;
    stage.apply("1m", &json!({})).await;
    stage.know("good", &json!({}));
    assert_eq!(stage.ask("good").await.0, 200);
    stage.issuer.behave(Manner::Slow(Duration::from_millis(100)));

    let before = stage.asked();
    let same = futures_util::future::join_all((0..50).map(|_| stage.ask("invented")));
    assert!(same.await.iter().all(|got| got.0 == 401));
    assert_eq!(stage.asked(), before + 1, "one text is asked about once at a time");

    let many: Vec<String> = (0..400).map(|number| format!("invented-{number}")).collect();
    let (invented, good) = tokio::join!(
        futures_util::future::join_all(many.iter().map(|token| stage.ask(token))),
        futures_util::future::join_all((0..20).map(|_| stage.ask("good"))),
    );
    assert!(good.iter().all(|got| got.0 == 200), "what is known is asked about no more: {good:?}");
    let n = |status: u16| invented.iter().filter(|got| got.0 == status).count();
    assert_eq!(n(401) + n(503), 400, "{invented:?}");
    assert!(n(401) >= 32, "some were asked about");
    assert!(stage.issuer.at_once_most() <= 32, "{} at once", stage.issuer.at_once_most());
    let is_free = async || stage.ask("invented-again").await.0 == 401;
    wait::until("room for others", Duration::from_secs(5), is_free).await.unwrap();
    stage.place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_the_client_refuses_the_document() {
    let stage = Stage::start().await;
    let url = stage.issuer.url();
    let ca = std::fs::read_to_string(stage.place.station.ca()).unwrap();
    let issuer = json!({
        "name": "accounts", "issuer": url, "audiences": ["api"], "application": "default", "ca": ca, "private_addresses": true,
        "introspection": { "endpoint": format!("{url}/introspect"), "client": "gatewey" },
    });
    let document = crate::tokens::document(1, &issuer);

    let answer = stage.place.station.calls.change("/v1/check", Some(&document)).await.unwrap();

    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(answer.json()["errors"][0]["path"], "issuers[0].introspection.client", "{}", answer.body);
    assert!(answer.body.contains("did you mean `gateway`?"), "{}", answer.body);
    stage.place.stop().await;
}
