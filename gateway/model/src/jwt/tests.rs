//! One issuer with a key of each kind, a valid token of it, and everything that can be wrong with one.

#![expect(clippy::print_stdout, reason = "the vectors print `skipped` where they are missing, and the tables how long they are")]

mod accepted;
mod dpop;
mod introspection;
mod key_sets;
mod random;
mod refusals;
mod rules;
mod signer;
mod vectors;

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use self::signer::Signer;
use super::{
    algorithm::{Algorithm, Algorithms},
    install_provider,
    issuer::{Draft, Rules, Verified, verify},
    keys::{KeyFault, KeySet, SetFault, StaticKey},
    rejection::{Reason, Rejection},
    token::Unverified,
};
use crate::time::UtcMicros;

/// The instant of all tests, in seconds.
const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example/realm";
const AUDIENCE: &str = "https://api.example";

/// What algorithms with public keys there are.
const PUBLIC: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];
const SECRET: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

/// The issuer, and an attacker with keys of their own.
struct World {
    rsa: Signer,
    pinned: Signer,
    p256: Signer,
    p384: Signer,
    ed: Signer,
    attacker: Signer,
    keys: KeySet,
    rules: Rules,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    install_provider();
    let (rsa, pinned) = (Signer::rsa("rsa"), Signer::rsa("pinned"));
    let (p256, p384, ed) = (Signer::p256("p256"), Signer::p384("p384"), Signer::ed("ed"));
    let mut pinned_jwk = pinned.jwk();
    pinned_jwk["alg"] = json!("PS256");
    let mut encryption = pinned.jwk();
    encryption["kid"] = json!("encryption");
    encryption["use"] = json!("enc");
    let set = [rsa.jwk(), pinned_jwk, p256.jwk(), p384.jwk(), ed.jwk(), encryption];
    let keys = key_set(&set, &PUBLIC).unwrap();
    assert_eq!((keys.n_usable(), keys.refused().len()), (5, 1), "{keys:?}");
    World { rsa, pinned, p256, p384, ed, attacker: Signer::p256("attacker"), keys, rules: Rules::compile(draft()).unwrap() }
});

fn draft() -> Draft {
    Draft {
        issuer: ISSUER.to_owned(),
        audiences: vec!["urn:other".to_owned(), AUDIENCE.to_owned()],
        algorithms: Algorithms::new(&PUBLIC).unwrap(),
        leeway_seconds: 10,
        lifetime_seconds_max: Some(3_600),
        ty: None,
        claims_required: vec!["tenant".to_owned()],
        scope_claim: None,
        client_claim: None,
    }
}

fn key_set(keys: &[Value], accepted: &[Algorithm]) -> Result<KeySet, SetFault> {
    KeySet::from_jwks(&json!({ "keys": keys }).to_string(), Algorithms::new(accepted).unwrap())
}

fn header(algorithm: Algorithm, key_id: &str) -> Value {
    json!({ "alg": algorithm.name(), "kid": key_id })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "exp": NOW + 300, "nbf": NOW - 20, "iat": NOW - 20, "jti": "t-1",
        "scope": "read write", "client_id": "shop", "tenant": "acme",
    })
}

/// A signed token with exactly this header and payload.
fn token(signer: &Signer, algorithm: Algorithm, header: &str, payload: &str) -> String {
    let input = [header, payload].map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
    let signature = BASE64URL_NOPAD.encode(&signer.sign(algorithm, input.as_bytes()));
    format!("{input}.{signature}")
}

/// The valid token of a key.
fn valid(signer: &Signer, algorithm: Algorithm) -> String {
    token(signer, algorithm, &header(algorithm, signer.key_id).to_string(), &claims().to_string())
}

/// The whole way with the rules and the keys of the world.
fn check(text: &str) -> Result<Verified, Rejection> {
    check_by(&WORLD.rules, &WORLD.keys, text)
}

fn check_by(rules: &Rules, keys: &KeySet, text: &str) -> Result<Verified, Rejection> {
    install_provider();
    verify(rules, keys, &Unverified::parse(text)?, UtcMicros(0).plus_seconds(NOW))
}

fn edited(mut object: Value, edit: impl FnOnce(&mut Map<String, Value>)) -> String {
    edit(object.as_object_mut().unwrap());
    object.to_string()
}

/// The valid token of the P-256 key with another header.
fn with_header(edit: impl FnOnce(&mut Map<String, Value>)) -> String {
    token(&WORLD.p256, Algorithm::Es256, &edited(header(Algorithm::Es256, "p256"), edit), &claims().to_string())
}

/// The valid token of the P-256 key with other claims.
fn with_claims(edit: impl FnOnce(&mut Map<String, Value>)) -> String {
    with_payload(&edited(claims(), edit))
}

/// The valid token of the P-256 key with one claim replaced.
fn with_claim(name: &str, value: Value) -> String {
    with_claims(|claims| drop(claims.insert(name.to_owned(), value)))
}

/// The valid token of the P-256 key without one claim.
fn without_claim(name: &str) -> String {
    with_claims(|claims| drop(claims.remove(name)))
}

fn with_payload(payload: &str) -> String {
    token(&WORLD.p256, Algorithm::Es256, &header(Algorithm::Es256, "p256").to_string(), payload)
}
