//! Tokens that are bound to a key of their client's (RFC 9449), through a real node: what a thief of one can do with it.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use harness::client::Version;
use harness::issuer::Signer;
use harness::wait;
use reqwest::Response;
use serde_json::{Value, json};

use crate::site::SOON;
use crate::tokens::{Place, one_more, verdict};

const ALGORITHMS: &str = "algs=\"ES256 ES384 EdDSA PS256 RS256\"";

fn hash(text: &str) -> String {
    BASE64URL_NOPAD.encode(digest(&SHA256, text.as_bytes()).as_ref())
}

/// The public half alone, without what a key set adds.
fn jwk(key: &Signer) -> Value {
    let mut jwk = key.jwk().unwrap();
    jwk.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "kid" | "use"));
    jwk
}

/// RFC 7638: the members in the order of their names, without blanks.
fn thumbprint(key: &Signer) -> String {
    let members: BTreeMap<String, Value> = serde_json::from_value(jwk(key)).unwrap();
    hash(&serde_json::to_string(&members).unwrap())
}

/// A client with a key of its own.
pub(crate) struct Client<'p> {
    place: &'p Place,
    key: Signer,
    next: std::sync::atomic::AtomicU64,
}

impl<'p> Client<'p> {
    pub(crate) fn new(place: &'p Place, key: Signer) -> Self {
        Self { place, key, next: std::sync::atomic::AtomicU64::new(0) }
    }

    /// `jkt`.
    pub(crate) fn thumbprint(&self) -> String {
        thumbprint(&self.key)
    }

    /// A token that is bound to the client's key, and says this besides.
    fn token(&self, change: &Value) -> String {
        let mut claims = self.place.claims(&json!({ "cnf": { "jkt": thumbprint(&self.key) } }));
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.place.signer.token(&claims).unwrap()
    }

    /// A proof for a GET of a path, with something changed.
    pub(crate) fn proof(&self, path: &str, token: &str, change: &Value) -> String {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let header = json!({ "typ": "dpop+jwt", "alg": self.key.algorithm(), "jwk": jwk(&self.key) });
        let mut claims = json!({
            "jti": format!("{}-{id}", self.key.key_id), "htm": "GET", "htu": format!("{}{path}", self.place.station.region.data),
            "iat": time::OffsetDateTime::now_utc().unix_timestamp(), "ath": hash(token),
        });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.key.compact(&header.to_string(), &claims.to_string()).unwrap()
    }

    pub(crate) async fn ask(&self, path: &str, token: &str, proofs: &[&str]) -> Response {
        let scheme = format!("DPoP {token}");
        let fields: Vec<(&str, &str)> = [("authorization", &*scheme)].into_iter().chain(proofs.iter().map(|proof| ("dpop", *proof))).collect();
        self.place.ask(path, &fields).await
    }

    /// How a request with a changed proof is refused: the reason is counted, and the client is told that its proof is not accepted.
    async fn is_unproved(&self, token: &str, proofs: &[&str], reason: &str) {
        let before = self.place.refused(reason).await;
        let answer = self.ask("/token/x", token, proofs).await;
        assert_eq!(challenges(&answer), [format!("DPoP error=\"invalid_dpop_proof\", {ALGORITHMS}")], "{reason}");
        assert_eq!(verdict(answer).await, (401, "credentials-invalid".to_owned()), "{reason}");
        assert_eq!(self.place.refused(reason).await, one_more(&before), "{reason}");
    }
}

fn challenges(answer: &Response) -> Vec<String> {
    answer.headers().get_all("www-authenticate").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_key_is_worth_nothing_without_a_proof_for_each_request() {
    let place = Place::start().await;
    let client = Client::new(&place, Signer::p256("client").unwrap());
    let thief = Client::new(&place, Signer::ed25519("thief").unwrap());
    refused_unless_the_issuer_says_so(&client).await;

    place.apply(&json!({ "dpop": "accept" })).await;
    taken(&place, &client).await;
    proofs_that_do_not_hold(&client).await;
    stolen(&place, &client, &thief).await;
    refreshed(&place, &client).await;
    forwarded(&place, &client).await;
    required(&place, &client).await;
    place.stop().await;
}

async fn refused_unless_the_issuer_says_so(client: &Client<'_>) {
    let token = client.token(&json!({}));
    let before = client.place.refused("token-bound").await;
    let proof = client.proof("/token/x", &token, &json!({}));

    let answer = client.ask("/token/x", &token, &[&proof]).await;

    assert_eq!(challenges(&answer), ["Bearer realm=\"causeway\""], "nothing is said of what is not taken");
    assert_eq!(verdict(answer).await, (401, "credentials-invalid".to_owned()));
    assert_eq!(client.place.refused("token-bound").await, one_more(&before));
}

async fn taken(place: &Place, client: &Client<'_>) {
    let token = client.token(&json!({}));
    let proof = client.proof("/token/x", &token, &json!({}));
    let answer = client.ask("/token/x?q=1", &token, &[&proof]).await;
    assert_eq!(answer.status(), 200);
    let seen = place.service.seen().pop().unwrap();
    assert!(seen.header("dpop").is_empty() && seen.header("authorization").is_empty(), "both were for the gateway: {}", seen.head);
    let record = place.station.record(&answer).await;
    assert_eq!([&record["principal_kind"], &record["auth_method"]], ["token", "jwt"]);
    assert!(!record.to_string().contains(&proof), "{record}");

    for key in [Signer::ed25519("ed").unwrap(), Signer::rsa("rsa").unwrap()] {
        let other = Client::new(place, key);
        let token = other.token(&json!({}));
        assert_eq!(other.ask("/any/x", &token, &[&other.proof("/any/x", &token, &json!({}))]).await.status(), 200);
    }
    // The same over HTTP/1.1, where the host stands in another place.
    let url = format!("{}/token/x", place.station.region.data);
    let request = place.station.http(Version::Http1).get(url).header("authorization", format!("dpop {token}"));
    let answer = request.header("dpop", client.proof("/token/%78?", &token, &json!({}))).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let unbound = place.signer.token(&place.issuer.claims()).unwrap();
    assert_eq!(place.with_token("/token/x", &unbound).await.status(), 200, "others are bearer tokens");
    let answer = place.ask("/token/x", &[]).await;
    assert_eq!(challenges(&answer), ["Bearer realm=\"causeway\"".to_owned(), format!("DPoP {ALGORITHMS}")]);
    let key = place.station.calls.first_key();
    let both = [("x-api-key", key), ("authorization", &*format!("DPoP {token}")), ("dpop", &*client.proof("/all/x", &token, &json!({})))];
    assert_eq!(place.ask("/all/x", &both).await.status(), 200, "beside a key");
}

async fn proofs_that_do_not_hold(client: &Client<'_>) {
    let token = client.token(&json!({}));
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    for (change, reason) in [
        (json!({ "htm": "POST" }), "dpop-method-wrong"),
        (json!({ "htu": "https://else.example/token/x" }), "dpop-uri-wrong"),
        (json!({ "htu": "https://127.0.0.1/token/x" }), "dpop-uri-wrong"),
        (json!({ "iat": now - 90 }), "dpop-date-wrong"),
        (json!({ "iat": now + 30 }), "dpop-date-wrong"),
        (json!({ "ath": hash("another") }), "dpop-token-wrong"),
        (json!({ "jti": "a".repeat(200) }), "dpop-id-invalid"),
    ] {
        client.is_unproved(&token, &[&client.proof("/token/x", &token, &change)], reason).await;
    }
    client.is_unproved(&token, &[&client.proof("/any/x", &token, &json!({}))], "dpop-uri-wrong").await;
    client.is_unproved(&token, &[], "dpop-missing").await;
    client.is_unproved(&token, &["eyJ"], "dpop-malformed").await;
    let mut forged = client.proof("/token/x", &token, &json!({}));
    forged.replace_range(forged.len() - 8.., "AAAAAAAA");
    client.is_unproved(&token, &[&forged], "dpop-signature-invalid").await;
    let two = [client.proof("/token/x", &token, &json!({})), client.proof("/token/x", &token, &json!({}))];
    let answer = client.ask("/token/x", &token, &[&two[0], &two[1]]).await;
    assert_eq!(challenges(&answer), [format!("DPoP error=\"invalid_dpop_proof\", {ALGORITHMS}")]);
    assert_eq!(verdict(answer).await.0, 401, "two proofs");
    let used = client.proof("/token/x", &token, &json!({}));
    assert_eq!(client.ask("/token/x", &token, &[&used]).await.status(), 200);
    client.is_unproved(&token, &[&used], "dpop-replayed").await;
    let again = client.proof("/token/x", &token, &json!({ "jti": "once" }));
    assert_eq!(client.ask("/token/x", &token, &[&again]).await.status(), 200);
    client.is_unproved(&token, &[&client.proof("/token/x", &token, &json!({ "jti": "once", "iat": now + 1 }))], "dpop-replayed").await;
}

/// What somebody can do who has the token, and even a proof of its owner's, but not the key.
async fn stolen(place: &Place, client: &Client<'_>, thief: &Client<'_>) {
    let token = client.token(&json!({}));
    for (path, answer, reason, challenge) in [
        ("as a bearer token", place.with_token("/token/x", &token).await, "dpop-needed", "DPoP algs"),
        (
            "with a proof of their own",
            thief.ask("/token/x", &token, &[&thief.proof("/token/x", &token, &json!({}))]).await,
            "dpop-of-another",
            "invalid_token",
        ),
    ] {
        let said = challenges(&answer).join(", ");
        assert!(said.contains(challenge), "{path}: {said}");
        assert_eq!(verdict(answer).await, (401, "credentials-invalid".to_owned()), "{path}");
        assert_ne!(place.refused(reason).await, "0", "{path}");
    }
    let bearer = place.signer.token(&place.issuer.claims()).unwrap();
    let before = place.refused("dpop-unbound").await;
    let answer = thief.ask("/token/x", &bearer, &[&thief.proof("/token/x", &bearer, &json!({}))]).await;
    assert!(challenges(&answer).concat().contains("invalid_token"));
    assert_eq!((answer.status().as_u16(), place.refused("dpop-unbound").await), (401, one_more(&before)), "a bearer token with a proof");
    // A token that does not hold looks like one that is another's, so that a thief learns nothing.
    let expired = client.token(&json!({ "exp": 1_300_819_380 }));
    let answer = thief.ask("/token/x", &expired, &[&thief.proof("/token/x", &expired, &json!({}))]).await;
    assert!(challenges(&answer).concat().contains("invalid_token"));
    // Proofs that came with such tokens take up no room, and are not used up.
    let proof = client.proof("/token/x", &token, &json!({}));
    assert_eq!(place.ask("/token/x", &[("authorization", &format!("Bearer {token}")), ("dpop", &proof)]).await.status(), 401);
    assert_eq!(client.ask("/token/x", &token, &[&proof]).await.status(), 200);
}

/// The proof of the request that finds a stale response is spent; what is asked behind it goes by the caller.
async fn refreshed(place: &Place, client: &Client<'_>) {
    let token = client.token(&json!({}));
    let replayed = place.refused("dpop-replayed").await;
    let fetched = || place.service.seen().iter().filter(|seen| seen.line().contains("/cached/aging")).count();
    for status in ["causeway; fwd=uri-miss", "causeway; hit"] {
        let answer = client.ask("/cached/aging", &token, &[&client.proof("/cached/aging", &token, &json!({}))]).await;
        assert_eq!(answer.status(), 200);
        let said = answer.headers()["cache-status"].to_str().unwrap();
        assert!(said.starts_with(status), "{said}");
    }
    wait::until("the refresh", SOON, async || fetched() == 2).await.unwrap();
    assert_eq!(place.refused("dpop-replayed").await, replayed, "nobody has shown a proof twice");
}

async fn forwarded(place: &Place, client: &Client<'_>) {
    place.apply(&json!({ "dpop": "accept", "forward": true })).await;
    let token = client.token(&json!({}));
    let proof = client.proof("/token/x", &token, &json!({}));
    assert_eq!(client.ask("/token/x", &token, &[&proof]).await.status(), 200);
    let seen = place.service.seen().pop().unwrap();
    assert_eq!([seen.header("authorization"), seen.header("dpop")], [[format!("DPoP {token}")], [proof]], "a proof goes where its token goes");
}

async fn required(place: &Place, client: &Client<'_>) {
    place.apply(&json!({ "dpop": "require" })).await;
    let before = place.refused("token-not-bound").await;
    let unbound = place.signer.token(&place.issuer.claims()).unwrap();
    assert_eq!(verdict(place.with_token("/token/x", &unbound).await).await.0, 401);
    assert_eq!(place.refused("token-not-bound").await, one_more(&before));
    let token = client.token(&json!({}));
    assert_eq!(client.ask("/token/x", &token, &[&client.proof("/token/x", &token, &json!({}))]).await.status(), 200);
    // Bound to a certificate, too: the connection would have to be asked for one.
    let both = client.token(&json!({ "cnf": { "jkt": thumbprint(&client.key), "x5t#S256": "A".repeat(43) } }));
    assert_eq!(verdict(client.ask("/token/x", &both, &[&client.proof("/token/x", &both, &json!({}))]).await).await.0, 401);
}
