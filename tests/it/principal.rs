//! Services are told who calls, by a token that they verify with the node's published keys; and nobody else can tell them.

mod place;

use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use harness::client::Version;
use harness::wait;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};

use self::place::{Place, key_id, only, verify};
use crate::grpc::play::Client;
use crate::operation::START_WITHIN;
use crate::program::causeway;
use crate::site::SOON;

const NAME: &str = "causeway-principal";
/// What a client may try to pass for.
const FORGED: [(&str, &str); 3] = [(NAME, "forged"), (NAME, "forged again"), ("causeway_principal", "forged")];
/// The key that came with the deployment, in its node file.
const FIRST: &str = r#"{ signing: dev-1, keys: [ { id: dev-1, key: "file:../certs/principal.key" } ] }"#;

/// Claims without those of one token, and those.
fn parted(mut claims: Value) -> (Value, [Value; 3]) {
    let own = ["iat", "exp", "jti"].map(|name| claims.as_object_mut().unwrap().remove(name).unwrap());
    (claims, own)
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_ask_are_told_who_calls_and_can_verify_it() {
    let place = Place::start().await;
    callers(&place).await;
    forgers(&place).await;
    each_service_for_itself(&place).await;
    tries_calls_and_websockets(&place).await;
    revoked(&place).await;
    place.stop().await;
}

async fn callers(place: &Place) {
    let key = place.station.calls.first_key();
    let last = || only(&place.told.seen().pop().unwrap().header(NAME));
    let revision = json!(place.station.metric("causeway_config_authority_revision").await);

    assert_eq!(place.by_key("/key/x", &[]).await, 200);
    let token = last();
    let (claims, [iat, exp, jti]) = parted(place.verified(&token, "told").await);
    let expected = json!({
        "iss": "eu-west", "aud": "told", "sub": "default", "kind": "key", "tenant": "demo", "consumer": "demo", "client_id": "default",
        "scope": "read own", "key_id": &key[8..20], "amr": ["api_key"], "revision": claims["revision"],
    });
    assert_eq!(claims, expected);
    assert_eq!(claims["revision"].as_f64(), revision.as_f64());
    assert_eq!(exp.as_i64().unwrap() - iat.as_i64().unwrap(), 30);
    assert!((time::OffsetDateTime::now_utc().unix_timestamp() - iat.as_i64().unwrap()).abs() <= 10, "{iat}");
    assert_eq!(jti.as_str().unwrap().len(), 22);
    assert!(!token.contains(&key[21..]) && !claims.to_string().contains(&key[21..]), "never the secret");

    let bearer = |more: Value| format!("Bearer {}", place.token(&more));
    wait::until("the issuer's keys", SOON, async || {
        place.ask(Version::Http2, "/token/x", &[("authorization", &bearer(json!({})))]).await.status() == 200
    })
    .await
    .unwrap();
    let (claims, _) = parted(place.verified(&last(), "told").await);
    assert_eq!(
        claims,
        json!({
            "iss": "eu-west", "aud": "told", "sub": "alice", "sub_issuer": "accounts", "kind": "token", "tenant": "demo", "consumer": "demo",
            "client_id": "default", "scope": "read write", "amr": ["jwt"], "revision": claims["revision"],
        })
    );
    // Another subject, and other scopes of the same, a moment later: what was made for one is not given to another.
    for (more, subject, scope) in [(json!({ "sub": "bob" }), "bob", "read write"), (json!({ "scope": "read" }), "alice", "read")] {
        assert_eq!(place.ask(Version::Http2, "/token/x", &[("authorization", &bearer(more))]).await.status(), 200);
        let claims = place.verified(&last(), "told").await;
        assert_eq!([&claims["sub"], &claims["scope"]], [subject, scope]);
    }

    let holder = place.ca.holder("robot.partner.example");
    assert_eq!(place.by_certificate(&holder, "/cert/x").await, 200);
    let (claims, _) = parted(place.verified(&last(), "told").await);
    assert_eq!(
        claims,
        json!({
            "iss": "eu-west", "aud": "told", "sub": "dns:robot.partner.example", "sub_issuer": "partners", "kind": "certificate",
            "tenant": "demo", "consumer": "demo", "client_id": "default", "scope": "read own", "amr": ["mtls"],
            "cnf": { "x5t#S256": holder.thumbprint }, "revision": claims["revision"],
        })
    );

    assert_eq!(place.by_key("/all/x", &[("authorization", &bearer(json!({})))]).await, 200);
    let claims = place.verified(&last(), "told").await;
    assert_eq!([&claims["kind"], &claims["sub"], &claims["scope"]], ["key", "alice", "read"], "what both allow");
    assert_eq!((&claims["amr"], &claims["key_id"]), (&json!(["api_key", "jwt"]), &json!(&key[8..20])));
}

/// Whatever a client, a service or a document says under this name goes no further.
async fn forgers(place: &Place) {
    for version in [Version::Http1, Version::Http2] {
        let fields = [&[("x-api-key", place.station.calls.first_key())], &FORGED[..]].concat();
        assert_eq!(place.ask(version, "/key/x", &fields).await.status(), 200);
        let seen = place.told.seen().pop().unwrap();
        place.verified(&only(&seen.header(NAME)), "told").await;
        assert!(seen.header("causeway_principal").is_empty());
        assert_eq!(seen.header("x-mine"), ["kept"]);

        assert_eq!(place.ask(version, "/open/x", &FORGED).await.status(), 200);
        let seen = place.told.seen().pop().unwrap();
        assert!(seen.line().contains("/open/x") && !seen.head.to_ascii_lowercase().contains("principal"), "nobody is known: {}", seen.head);
    }
    let echoed = place.ask(Version::Http2, "/key/echo", &[("x-api-key", place.station.calls.first_key())]).await;
    assert!(echoed.status() == 200 && !echoed.headers().contains_key(NAME), "a service's word about it");
    for rules in [json!({ "set": { "Causeway-Principal": "x" } }), json!({ "remove": [NAME] }), json!({ "add": { NAME: "x" } })] {
        let mut document = place.document(&json!({}));
        document["routes"][0]["headers"]["request"] = rules;
        let answer = place.station.calls.change("/v1/check", Some(&document)).await.unwrap();
        assert!(answer.status == 422 && answer.body.contains("is the gateway's own word"), "{}", answer.body);
    }
}

async fn each_service_for_itself(place: &Place) {
    let told = || place.told.seen().pop().unwrap();
    assert_eq!(place.by_key("/canary/own", &[]).await, 200);
    place.verified(&only(&told().header(NAME)), "told").await;
    for (path, fields) in [("/canary/next", &[("x-next", "1")][..]), ("/split/next", &[])] {
        assert_eq!(place.by_key(path, fields).await, 200);
        let seen = place.next.seen().pop().unwrap();
        assert!(seen.line().contains(path));
        place.verified(&only(&seen.header(NAME)), "https://next.example/v2").await;
    }
    assert_eq!(place.by_key("/canary/quiet", &[("x-quiet", "1")]).await, 200);
    assert!(place.quiet.seen().pop().unwrap().header(NAME).is_empty(), "it does not ask");

    assert_eq!(place.by_key("/mirrored/x", &[]).await, 200);
    place.verified(&only(&told().header(NAME)), "told").await;
    wait::until("the copy", SOON, async || !place.shadow.seen().is_empty()).await.unwrap();
    let copy = place.shadow.seen().pop().unwrap();
    assert_eq!(copy.header("causeway-mirror"), ["1"]);
    place.verified(&only(&copy.header(NAME)), "shadow").await;
    // The other way round: what is for the one that takes the request is not for the one that looks on.
    assert_eq!(place.by_key("/unwatched/x", &[]).await, 200);
    place.verified(&only(&told().header(NAME)), "told").await;
    let copied = async || place.quiet.seen().into_iter().find(|seen| seen.line().contains("/unwatched/x"));
    let (copy, _) = wait::some("the copy", SOON, copied).await.unwrap();
    assert!(copy.header(NAME).is_empty(), "{}", copy.head);
    assert_eq!(place.by_key("/quiet/x", &[]).await, 200);
    let copied = async || place.told.seen().into_iter().find(|seen| seen.line().contains("/quiet/x"));
    let (copy, _) = wait::some("the copy", SOON, copied).await.unwrap();
    place.verified(&only(&copy.header(NAME)), "told").await;
    let own = place.quiet.seen().into_iter().find(|seen| seen.line().contains("/quiet/x")).unwrap();
    assert!(own.header(NAME).is_empty(), "{}", own.head);
}

async fn tries_calls_and_websockets(place: &Place) {
    assert_eq!(place.by_key("/again/x", &[]).await, 200);
    let tries: Vec<_> = place.told.seen().into_iter().filter(|seen| seen.line().contains("/again/")).collect();
    assert_eq!(tries.len(), 2, "the first was answered 503");
    for seen in tries {
        place.verified(&only(&seen.header(NAME)), "told").await;
    }

    let key = place.station.calls.first_key();
    let mut client = Client::connect(place.station.address(), place.station.ca()).await;
    let mut request = tonic::Request::new(Bytes::from_static(b"hello"));
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request.metadata_mut().insert(NAME, "forged".parse().unwrap());
    assert_eq!(client.unary("/calls/Ask", request).await.unwrap().into_inner(), Bytes::from_static(b"hello"));
    let fields = place.calls.seen().pop().unwrap();
    let values: Vec<&str> = fields.get_all(NAME).iter().map(|value| value.to_str().unwrap()).collect();
    place.verified(&only(&values), "calls").await;

    let stream = crate::operation::dial(place.station.address(), None, b"", "127.0.0.1", crate::operation::tls(place.station.ca())).await.unwrap();
    let fields = [("x-api-key", key), (NAME, "forged")];
    let mut socket = harness::websocket::open_http1(Box::new(stream), "/chat/x", &fields).await.unwrap().expect("an open WebSocket");
    socket.echo("hello").await.unwrap();
    let fields = place.chat.served().pop().unwrap().fields;
    let values: Vec<&str> = fields.get_all(NAME).iter().map(|value| value.to_str().unwrap()).collect();
    place.verified(&only(&values), "chat").await;
}

/// A token that is still kept is no way around a revocation: it is given only to requests that were let in.
async fn revoked(place: &Place) {
    let key = place.station.calls.issue("to be revoked").await.unwrap();
    let status = async || place.ask(Version::Http2, "/key/revoked", &[("x-api-key", &key.secret)]).await.status().as_u16();
    wait::until("the key", SOON, async || status().await == 200).await.unwrap();
    let answer = place.station.calls.change(&format!("/v1/keys/{}/revoke", key.id), Some(&json!({}))).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait::until("the revocation", SOON, async || status().await == 401).await.unwrap();
    let before = place.told.seen().len();
    assert_eq!(status().await, 401);
    assert_eq!(place.told.seen().len(), before);
}

/// A key is published before it signs and for some time after: whatever set a service has fetched last, it can verify.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_without_a_token_that_cannot_be_verified() {
    let mut place = Place::start().await;
    let (folder, second) = (place.station.folder().to_owned(), KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    std::fs::write(folder.join("second.key"), second.serialize_pem()).unwrap();
    let both = |signing: &str| {
        format!(
            r#"{{ signing: {signing}, keys: [ {{ id: dev-1, key: "file:../certs/principal.key" }}, {{ id: second, key: "file:second.key" }} ] }}"#
        )
    };
    let signed = async |place: &Place| {
        // A node that has just started may wait for its first look at the primary.
        wait::until("a request that is served", SOON, async || place.by_key("/key/x", &[]).await == 200).await.unwrap();
        let token = only(&place.told.seen().pop().unwrap().header(NAME));
        (key_id(&token), token)
    };
    let edit = |from: String, to: String| {
        move |text: String| {
            assert!(text.contains(&from), "{text}");
            text.replace(&from, &to)
        }
    };
    let names = async |place: &Place| place.keys().await.keys.iter().map(|key| key.common.key_id.clone().unwrap()).collect::<Vec<_>>();
    let answer = place.key_set().await;
    let told = |name: &str| answer.header(name).map(str::to_owned);
    assert_eq!(
        (answer.status, told("content-type"), told("cache-control")),
        (200, Some("application/jwk-set+json".into()), Some("public, max-age=300".into()))
    );
    assert_eq!(names(&place).await, ["dev-1"]);
    let (by, _) = signed(&place).await;
    assert_eq!(by, "dev-1");

    place.restart(edit(FIRST.into(), both("dev-1"))).await;
    assert_ne!(place.key_set().await.header("etag"), answer.header("etag"), "another set");
    let (by, older) = signed(&place).await;
    let cached = place.keys().await;
    assert_eq!((by.as_str(), names(&place).await.as_slice()), ("dev-1", &["dev-1".to_owned(), "second".to_owned()][..]));

    place.restart(edit(both("dev-1"), both("second"))).await;
    let (by, newer) = signed(&place).await;
    assert_eq!(by, "second");
    for token in [&older, &newer] {
        verify(token, &cached, "told");
        verify(token, &place.keys().await, "told");
    }

    let only_second = r#"{ signing: second, keys: [ { id: second, key: "file:second.key" } ] }"#;
    place.restart(edit(both("second"), only_second.to_owned())).await;
    assert_eq!(names(&place).await, ["second"]);
    let (_, token) = signed(&place).await;
    verify(&token, &cached, "told");
    place.stop().await;
}

/// It would call as if nobody had asked: services could take that for a caller without rights, or for themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_keys_neither_takes_nor_serves_a_document_in_which_services_ask() {
    let mut place = Place::start().await;
    assert_eq!(place.by_key("/key/x", &[]).await, 200);
    // Else it could start with the document before, which asks for no keys, and keep that.
    place.station.resealed("asking").await;
    place.node = None;
    place.station.edit(|text| text.replace(&format!("principal: {FIRST}\n"), ""));
    let node = place.station.launch(|_| {});
    let before = place.told.seen().len();
    wait::until("the refusal at load", START_WITHIN, async || node.said("no key to sign who calls")).await.unwrap();
    wait::until("the node", START_WITHIN, async || node.said("node is up")).await.unwrap();
    let told = async || place.station.calls.readiness(&place.station.region).await.is_ok_and(|(_, text)| text.contains("upstreams[0].principal"));
    wait::until("the node to say so", SOON, told).await.unwrap();
    // Not ready, or without any host: which of the two it is depends on what it has read by now.
    let status = place.by_key("/key/x", &[]).await;
    assert!(matches!(status, 421 | 503), "it serves nothing: {status}");
    assert_eq!(place.told.seen().len(), before, "the service is not called by nobody");
    let document = place.document(&json!({ "audience": "x" }));
    for path in ["/v1/check", "/v1/apply", "/v1/apply?dry_run=true"] {
        let answer = place.station.calls.change(path, Some(&document)).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (422, "document-invalid"), "{path}");
        assert_eq!(answer.json()["errors"][0]["path"], "upstreams[0].principal", "{}", answer.body);
    }
    assert_eq!(place.key_set().await.body, r#"{"keys":[]}"#);
    drop(node);
    place.stop().await;
}

/// Wrong keys are told where they stand, before a node starts with them; and no node starts with them.
#[tokio::test]
async fn wrong_keys_are_named_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let made = app::certs::development(dir.path(), &["localhost".to_owned()], time::OffsetDateTime::now_utc()).unwrap();
    assert_eq!(made.principal.metadata().unwrap().permissions().mode() & 0o777, 0o600, "for its owner alone");
    let before = std::fs::read(&made.principal).unwrap();
    app::certs::development(dir.path(), &["localhost".to_owned()], time::OffsetDateTime::now_utc()).unwrap();
    assert_eq!(std::fs::read(&made.principal).unwrap(), before, "what is there stays");
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("pepper-1", "5".repeat(64));
    write("p384.key", KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem());
    write("copy.key", String::from_utf8(before).unwrap());
    write("public.key", KeyPair::generate().unwrap().public_key_pem());
    let good = r#"{ id: a, key: "file:principal.key" }"#;
    for (principal, expected) in [
        (format!("{{ signing: a, keys: [ {good} ] }}"), None),
        (r#"{ signing: a, keys: [ { id: a, key: "env:CAUSEWAY_TEST_NOT_SET" } ] }"#.to_owned(), None),
        (format!("{{ signing: b, keys: [ {good} ] }}"), Some(("principal.signing", "there is no key with the id `b`"))),
        ("{ signing: a, keys: [] }".to_owned(), Some(("principal.signing", "there is no key with the id `a`"))),
        (format!("{{ signing: a, keys: [ {good}, {good} ] }}"), Some(("principal.keys[1].id", "stands twice"))),
        (r#"{ signing: A, keys: [ { id: A, key: "file:principal.key" } ] }"#.to_owned(), Some(("principal.keys[0].id", "is not a name"))),
        (
            format!(r#"{{ signing: a, keys: [ {good}, {{ id: b, key: "file:p384.key" }} ] }}"#),
            Some(("principal.keys[1].key", "neither an Ed25519 nor a P-256")),
        ),
        (format!(r#"{{ signing: a, keys: [ {good}, {{ id: b, key: "file:public.key" }} ] }}"#), Some(("principal.keys[1].key", "BEGIN PRIVATE KEY"))),
        (format!(r#"{{ signing: a, keys: [ {good}, {{ id: b, key: "file:missing.key" }} ] }}"#), Some(("principal.keys[1].key", "missing.key"))),
        (format!(r#"{{ signing: a, keys: [ {good}, {{ id: b, key: "file:copy.key" }} ] }}"#), Some(("principal.keys", "are one key"))),
        (r#"{ signing: a, keys: [ { id: a, key: "hunter2" } ] }"#.to_owned(), Some(("", "by reference"))),
    ] {
        let text = format!("{}principal: {principal}\n", crate::command_line::NODE);
        write("node.yaml", text);
        let file = dir.path().join("node.yaml");
        let file = file.to_str().unwrap();
        let told = causeway(&["check", "--json", file], &[], SOON).await.expect(i32::from(expected.is_some()));
        let Some((path, words)) = expected else { continue };
        let errors = told.json()["errors"].clone();
        assert!(errors[0].to_string().contains(words) && !errors.to_string().contains("hunter2"), "{principal}: {errors}");
        assert!(path.is_empty() || errors[0]["path"] == path, "{principal}: {errors}");
        let served = causeway(&["serve", "--config", file], &[], SOON).await;
        let served = served.expect(1);
        assert!(served.stderr.contains(words), "{principal}: {served:?}");
    }
}
