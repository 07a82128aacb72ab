use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use model::signature::key::{Algorithm, Key};
use serde_json::json;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn signer(name: &str, key: &Ed25519KeyPair) -> Arc<Signer> {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key.public_key().as_ref()) });
    Arc::new(Signer { name: name.into(), application: "web".into(), key: Key::read(&jwk, Algorithm::Ed25519).unwrap() })
}

fn rules() -> Rules {
    Rules { components: Box::new(["content-type".into()]), age_seconds_max: 60, digest: Need::Required, nonce: Need::Required, tag: None }
}

#[test]
fn a_nonce_is_remembered_for_as_long_as_any_signature_is_taken() {
    let signatures = Signatures::default();
    let signer = signer("partner", &Ed25519KeyPair::generate().unwrap());
    let at = |seconds: u64| BootNanos(seconds * SECOND);

    assert_eq!(signatures.spend(&signer, 7, at(1_000)), Ok(()));
    for later in [1_000, 1_001, 1_060, 1_304, 1_305] {
        assert_eq!(signatures.spend(&signer, 7, at(later)), Err(Fault::Replayed), "{later}");
    }
    assert_eq!(signatures.spend(&signer, 8, at(1_305)), Ok(()));
    assert_eq!(signatures.spend(&signer, 7, at(1_500)), Ok(()), "nobody takes it any more");
}

#[test]
fn a_refusal_says_what_every_signature_has_to_be_and_nothing_about_this_one() {
    let text = wanted(&rules());

    assert!(text.contains("created of the last 60 s and a nonce"), "{text}");
    assert!(text.contains("covers @method, @authority, @path, @query, content-type, content-digest where there is content"), "{text}");
    let less = wanted(&Rules { digest: Need::Optional, nonce: Need::Optional, components: Box::default(), ..rules() });
    assert!(less.contains("created of the last 60 s, covers @method, @authority, @path, @query, and is used once"), "{less}");
}

#[test]
fn what_has_begun_goes_on_with_the_same_signer_by_the_same_rules() {
    let (one, other) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
    let signed = Signed { signer: signer("partner", &one), rules: Arc::new(rules()), subject_id: Uuid::nil(), digests: None };
    let rule = |signer: Arc<Signer>, rules: Rules| SignatureRule { signers: [(Arc::clone(&signer.name), signer)].into(), rules: Arc::new(rules) };

    assert!(signed.is_taken(&rule(signer("partner", &one), rules())));
    assert!(!signed.is_taken(&rule(signer("partner", &other), rules())), "another key");
    assert!(!signed.is_taken(&rule(signer("another", &one), rules())), "another signer");
    assert!(!signed.is_taken(&rule(signer("partner", &one), Rules { nonce: Need::Optional, ..rules() })), "other rules");
}
