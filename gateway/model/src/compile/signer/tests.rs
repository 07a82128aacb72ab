use serde_json::{Value, json};

use crate::{
    compile::compile,
    document::Document,
    signature::rule::Need,
    structure::{Structure, identity::Kinds},
};

const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";

fn signer(name: &str) -> Value {
    json!({ "name": name, "application": "web", "algorithm": "ed25519", "key": KEY })
}

fn compiled(signers: &Value, auth: &Value, more: Option<(&str, Value)>) -> Result<Structure, Vec<String>> {
    let mut route = json!({ "name": "a", "match": { "host": "api.example", "path": "/a" }, "auth": auth, "upstream": "shop" });
    if let Some((name, value)) = more {
        route[name] = value;
    }
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }],
        "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "signers": signers,
        "upstreams": [{ "name": "shop", "regions": { "eu": { "targets": ["http://10.0.0.1:8080"] } } }],
        "routes": [route],
    });
    let document: Document = serde_json::from_value(document).map_err(|error| vec![error.to_string()])?;
    compile(&document).map_err(|errors| errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect())
}

fn check(signers: &Value, auth: &Value, expected: &str) {
    let errors = compiled(signers, auth, None).expect_err(expected);
    assert!(errors.iter().any(|error| error.contains(expected)), "{signers} {auth}\n  expected: {expected}\n  got: {errors:?}");
}

#[test]
fn mistakes_in_a_signer_are_told_with_their_place() {
    let with = |name: &str, value: Value| {
        let mut signer = signer("partner");
        signer[name] = value;
        json!([signer])
    };
    let auth = json!("api_key");
    check(&with("name", json!("Partner!")), &auth, "signers[0].name: `Partner!` is not a name");
    check(&json!([signer("a"), signer("a")]), &auth, "signers[1].name: the name `a` is used twice");
    check(&with("application", json!("a b")), &auth, "signers[0].application: `a b` is not the name of an application");
    check(&with("algorithm", json!("hmac-sha256")), &auth, "signers[0].algorithm: `hmac-sha256` needs a secret");
    check(&with("algorithm", json!("EdDSA")), &auth, "signers[0].algorithm: there is no signature algorithm named `EdDSA`");
    check(&with("algorithm", json!("rsa-pss-sha512")), &auth, "signers[0].key: it does not fit `algorithm`");
    check(&with("key", json!("text")), &auth, "signers[0].key: write one section PUBLIC KEY of PEM, or a JSON Web Key");
    check(&with("key", json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQ", "d": "AQ" })), &auth, "signers[0].key: it is a private key");
    check(&with("key", json!({ "kty": "oct", "k": "AQ" })), &auth, "signers[0].key: it is a secret");
    check(&with("keys", json!([])), &auth, "unknown field `keys`");
}

#[test]
fn mistakes_in_what_a_route_asks_for_are_told_with_their_place() {
    let two = json!([signer("a"), signer("b")]);
    let one = json!([signer("a")]);
    let rule = |name: &str, value: Value| json!({ "signature": { name: value } });
    check(&json!([]), &json!("signature"), "routes[0].auth: there are no `signers`");
    check(&two, &json!("signature"), "routes[0].auth: say whose signatures are taken");
    check(&two, &rule("signer", json!("c")), "routes[0].auth.signature.signer: there is no signer named `c`");
    check(&two, &rule("signer", json!(["a", "a"])), "routes[0].auth.signature.signer: `a` stands twice");
    check(&one, &rule("signer", json!([])), "routes[0].auth.signature.signer: write the name of a signer");
    check(&one, &rule("max_age", json!("301s")), "routes[0].auth.signature.max_age: write a duration from 1s to 5m");
    check(&one, &rule("max_age", json!("1500ms")), "routes[0].auth.signature.max_age");
    check(&one, &rule("max_age", json!(60)), "routes[0].auth.signature.max_age");
    check(&one, &rule("content_digest", json!(false)), "routes[0].auth.signature.content_digest: write `required` or `optional`");
    check(&one, &rule("nonce", json!("never")), "routes[0].auth.signature.nonce: write `required`");
    check(&one, &rule("tag", json!("")), "routes[0].auth.signature.tag: write a text");
    check(&one, &rule("age", json!("1s")), "routes[0].auth.signature.age: unknown key `age`");
    for name in ["Date", "@status", "@query-param", "signature", "signature-input", "a b", ""] {
        check(&one, &rule("components", json!([name])), &format!("routes[0].auth.signature.components: `{name}` is neither"));
    }
    let many: Vec<_> = (0..17).map(|at| format!("x-{at}")).collect();
    check(&one, &rule("components", json!(many)), "routes[0].auth.signature.components: a route asks for at most 16");
    check(&one, &json!({ "any_of": ["signature", "signature"] }), "routes[0].auth.any_of[1]: another alternative asks for the same kinds");
    let errors = compiled(&one, &json!("signature"), Some(("body_max", json!("17MiB")))).unwrap_err();
    assert!(errors[0].contains("routes[0].body_max: bodies that a signature covers are held in memory"), "{errors:?}");
    assert!(compiled(&one, &json!("signature"), Some(("body_max", json!("16MiB")))).is_ok());
}

/// Over HTTP/1.1 nothing that is signed tells the handshake from a plain request.
#[test]
fn a_websocket_needs_signatures_that_are_used_once() {
    let one = json!([signer("a")]);
    let of = |auth: Value| compiled(&one, &auth, Some(("websocket", json!({}))));
    for auth in [
        json!("signature"),
        json!({ "any_of": ["api_key", "signature"] }),
        json!({ "all_of": ["api_key", { "signature": { "nonce": "optional" } }] }),
    ] {
        let errors = of(auth.clone()).unwrap_err();
        assert!(errors[0].contains("routes[0].websocket: nothing in a signature says that a WebSocket is meant"), "{auth}: {errors:?}");
    }
    assert!(of(json!({ "signature": { "nonce": "required" } })).is_ok() && of(json!("api_key")).is_ok());
}

#[test]
fn a_route_asks_for_what_is_safe_unless_it_says_otherwise() {
    let one = json!([signer("a")]);
    let structure = compiled(&one, &json!("signature"), None).unwrap();
    let auth = &structure.routes[0].auth;
    let way = auth.way(Kinds { signature: true, ..Kinds::default() }).unwrap();
    let rules = &way.signature_rule().unwrap().rules;

    assert!(auth.takes_signature());
    assert_eq!((rules.age_seconds_max, rules.digest, rules.nonce, rules.tag.as_deref()), (60, Need::Required, Need::Optional, None));
    assert_eq!(rules.wanted().collect::<Vec<_>>(), ["@method", "@authority", "@path", "@query"]);
    assert_eq!(&*structure.signers["a"].application, "web");

    let said = json!({ "all_of": [{ "signature": {
        "signer": "a", "components": ["content-type", "@target-uri"], "max_age": "5m", "content_digest": "optional", "nonce": "required", "tag": "shop",
    } }, "api_key"] });
    let structure = compiled(&one, &said, None).unwrap();
    let way = structure.routes[0].auth.way(Kinds { signature: true, key: true, ..Kinds::default() }).unwrap();
    let rules = &way.signature_rule().unwrap().rules;
    assert_eq!((rules.age_seconds_max, rules.digest, rules.nonce, rules.tag.as_deref()), (300, Need::Optional, Need::Required, Some("shop")));
    assert_eq!(&*rules.components, ["content-type".into(), "@target-uri".into()]);
}
