use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use model::{authority::Consumer, compile::compile, document::Document, jwt::issuer::Confirmation, time::UtcMicros};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    authenticate::{Certified, Principal, Proof, Token},
    certificate::Shown,
    fixture::{key, principal},
};

/// 2026-01-01.
const NOW: Now = Now { boot: BootNanos(5_000_000_000), wall: UtcMicros(1_767_225_600_999_999) };

fn later(seconds: u64) -> Now {
    let micros = i64::try_from(seconds * 1_000_000).unwrap();
    Now { boot: BootNanos(NOW.boot.0 + seconds * 1_000_000_000), wall: UtcMicros(NOW.wall.0 + micros) }
}

fn keyring() -> Keyring {
    let pem = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    Keyring::new(vec![SigningKey::from_pem("k1", pem.as_bytes()).unwrap()], "k1").unwrap()
}

fn token(issuer: &str, subject: &str) -> Proof {
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "issuers": [{ "name": issuer, "issuer": "https://id.example", "jwks": "https://id.example/k", "audiences": ["api"], "application": "web" }],
    });
    let document: Document = serde_json::from_value(document).unwrap();
    let issuer = Arc::clone(&compile(&document).unwrap().issuers[0]);
    Proof::Token(Arc::new(Token {
        rules: Arc::clone(&issuer.rules),
        issuer,
        subject: subject.into(),
        id: Some("t-1".into()),
        issued_at: None,
        subject_id: Uuid::nil(),
        client: None,
        scopes: [].into(),
        until: UtcMicros(i64::MAX),
        confirmation: None,
    }))
}

fn certificate() -> (Proof, String) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "certificate_authorities": [{ "name": "partners", "ca": root.pem(), "application": "web" }],
    });
    let document: Document = serde_json::from_value(document).unwrap();
    let authority = compile(&document).unwrap().authorities.remove(0);
    let mut leaf = CertificateParams::default();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf.distinguished_name.push(DnType::CommonName, "robot");
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &root).unwrap().der().clone();
    let Shown::Certificate(certificate) = Shown::of(Some(&[leaf])) else { panic!("a certificate") };
    let holder = certificate.judge(&authority, NOW).unwrap();
    let thumbprint = certificate.thumbprint_text().to_owned();
    (Proof::Certificate(Arc::new(Certified { authority, certificate, holder, subject_id: Uuid::nil() })), thumbprint)
}

fn given(desk: &Principals, audience: &str, principal: &Principal, now: Now, keys: &Keyring) -> String {
    let token = desk.token(&Claims::new("eu", audience, principal, 42), keys, now).unwrap();
    assert!(token.is_sensitive(), "kept out of the tables of HTTP/2, and of logs");
    token.to_str().unwrap().to_owned()
}

/// Head and claims of a token.
fn read(token: &str) -> [Value; 2] {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    [parts[0], parts[1]].map(|part| serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap())
}

fn claims(principal: &Principal) -> Value {
    let [_, mut claims] = read(&given(&Principals::default(), "shop", principal, NOW, &keyring()));
    for name in ["iat", "exp", "jti"] {
        assert!(claims.as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }
    claims
}

#[test]
fn each_kind_of_caller_is_told_by_what_proved_it() {
    let of_key = claims(&principal(&["read", "own"], key(), Vec::new()));
    assert_eq!(
        of_key,
        json!({
            "iss": "eu", "aud": "shop", "sub": "web", "kind": "key", "tenant": "acme", "consumer": "customer", "client_id": "web",
            "scope": "read own", "key_id": "AbCdEf123456", "amr": ["api_key"], "revision": 42,
        })
    );
    let of_token = claims(&principal(&[], token("accounts", "al\"ice\\ü"), Vec::new()));
    assert_eq!(
        of_token,
        json!({
            "iss": "eu", "aud": "shop", "sub": "al\"ice\\ü", "sub_issuer": "accounts", "kind": "token", "tenant": "acme",
            "consumer": "customer", "client_id": "web", "scope": "", "amr": ["jwt"], "revision": 42,
        })
    );
    let (proof, thumbprint) = certificate();
    let of_certificate = claims(&principal(&["read"], proof.clone(), Vec::new()));
    assert_eq!(
        of_certificate,
        json!({
            "iss": "eu", "aud": "shop", "sub": "CN=robot", "sub_issuer": "partners", "kind": "certificate", "tenant": "acme",
            "consumer": "customer", "client_id": "web", "scope": "read", "amr": ["mtls"], "cnf": { "x5t#S256": thumbprint }, "revision": 42,
        })
    );
    let of_all = claims(&principal(&["read"], key(), vec![token("accounts", "alice"), proof]));
    assert_eq!([&of_all["kind"], &of_all["sub"], &of_all["sub_issuer"], &of_all["key_id"]], ["key", "alice", "accounts", "AbCdEf123456"]);
    assert_eq!([&of_all["amr"], &of_all["cnf"]["x5t#S256"]], [&json!(["api_key", "jwt", "mtls"]), &json!(thumbprint)]);
}

#[test]
fn a_service_is_told_what_the_callers_token_is_bound_to() {
    let bound = |key_thumbprint, certificate_thumbprint| {
        let Proof::Token(token) = token("accounts", "alice") else { panic!("a token") };
        let confirmation = Some(Confirmation { key_thumbprint, certificate_thumbprint });
        Proof::Token(Arc::new(Token { confirmation, ..Token::clone(&token) }))
    };
    let told = |proof: Proof| claims(&principal(&[], proof, Vec::new()))["cnf"].clone();
    let (zeros, ones) = ("A".repeat(43), BASE64URL_NOPAD.encode(&[255; 32]));

    assert_eq!(told(bound(Some([255; 32]), None)), json!({ "jkt": ones }));
    assert_eq!(told(bound(None, Some([0; 32]))), json!({ "x5t#S256": zeros }));
    assert_eq!(told(bound(Some([255; 32]), Some([0; 32]))), json!({ "jkt": ones, "x5t#S256": zeros }));
}

#[test]
fn a_token_lives_half_a_minute_and_its_signature_is_over_all_of_it() {
    let keys = keyring();
    let token = given(&Principals::default(), "shop", &principal(&["read"], key(), Vec::new()), NOW, &keys);
    let [head, claims] = read(&token);

    assert_eq!(head, json!({ "alg": "EdDSA", "typ": "cw+jwt", "kid": "k1" }));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_767_225_600), &json!(1_767_225_630)));
    assert_eq!(BASE64URL_NOPAD.decode(claims["jti"].as_str().unwrap().as_bytes()).unwrap().len(), 16);
    let set: Value = serde_json::from_str(&keys.published().0).unwrap();
    let public = BASE64URL_NOPAD.decode(set["keys"][0]["x"].as_str().unwrap().as_bytes()).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &signature).unwrap();
}

#[test]
fn a_token_is_given_again_for_ten_seconds_and_then_made_anew() {
    let (desk, keys, caller) = (Principals::default(), keyring(), principal(&["read"], key(), Vec::new()));
    let first = given(&desk, "shop", &caller, NOW, &keys);

    assert_eq!(given(&desk, "shop", &caller, later(9), &keys), first);
    let second = given(&desk, "shop", &caller, later(10), &keys);
    assert_ne!(read(&second)[1]["jti"], read(&first)[1]["jti"]);
    assert_eq!(read(&second)[1]["exp"], 1_767_225_640);
    desk.sweep(later(60).boot);
    desk.sweep(later(90).boot);
    assert_eq!(desk.0.lock().kept.len(), 0);
}

/// Whoever differs in anything that a service may decide by has a token of its own.
#[test]
fn no_two_callers_share_a_token() {
    let (desk, keys) = (Principals::default(), keyring());
    let (proof, _) = certificate();
    let mut seen = std::collections::HashSet::new();
    let mut other_tenant = principal(&["read"], key(), Vec::new());
    other_tenant.consumer = Arc::new(Consumer { name: "customer".into(), tenant: "else".into(), residency: None });
    for (audience, caller) in [
        ("shop", principal(&["read"], token("accounts", "alice"), Vec::new())),
        ("till", principal(&["read"], token("accounts", "alice"), Vec::new())),
        ("shop", principal(&["read", "write"], token("accounts", "alice"), Vec::new())),
        ("shop", principal(&[], token("accounts", "alice"), Vec::new())),
        ("shop", principal(&["read"], token("accounts", "alic"), Vec::new())),
        ("shop", principal(&["read"], token("other", "alice"), Vec::new())),
        ("shop", principal(&["read"], token("accounts", "alice"), vec![proof])),
        ("shop", principal(&["read"], key(), Vec::new())),
        ("shop", principal(&["read"], key(), vec![token("accounts", "alice")])),
        ("shop", other_tenant),
    ] {
        let made = given(&desk, audience, &caller, NOW, &keys);
        assert_eq!(given(&desk, audience, &caller, NOW, &keys), made);
        assert!(seen.insert(made), "{audience} {caller:?}");
    }
    let caller = principal(&["read"], key(), Vec::new());
    let newer = desk.token(&Claims::new("eu", "shop", &caller, 43), &keys, NOW).unwrap();
    assert!(seen.insert(newer.to_str().unwrap().to_owned()), "at another revision");
}

/// Called without a token, the service would take the caller for nobody.
#[test]
fn without_a_key_there_is_a_refusal_and_not_a_request_without_a_token() {
    let caller = principal(&["read"], key(), Vec::new());

    let denial = Principals::default().token(&Claims::new("eu", "shop", &caller, 42), &Keyring::default(), NOW).unwrap_err();

    assert_eq!(denial.kind, ProblemKind::Internal);
}

#[test]
fn what_is_printed_names_nobody() {
    let desk = Principals::default();
    given(&desk, "shop", &principal(&["read"], token("accounts", "alice"), Vec::new()), NOW, &keyring());

    assert_eq!(format!("{desk:?}"), "Principals { .. }");
}
