//! What a signature over a request costs: `cargo run --profile quick -p model --example signature`.
//!
//! Reading the two fields, building the base, holding it against the rules and verifying it, for a key of each kind, in microseconds: the
//! least of some rounds, because others use the machine, too.
#![expect(clippy::print_stdout, reason = "its output is the figures")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::{error::Error, sync::Arc, time::Instant};

use aws_lc_rs::{
    encoding::AsDer,
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PSS_SHA512, RsaKeyPair},
};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, Uri, Version};
use model::{
    signature::{
        base::Asked,
        key::{Algorithm, Key, Signer},
        rule::{Content, Need, Rules},
        verify,
    },
    time::UtcMicros,
};
use serde_json::Value;

const ROUNDS: usize = 20;
const TIMES: u32 = 200;
const NOW: i64 = 1_700_000_000;
const DIGEST: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

/// Signs a text.
type Sign = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Unspecified>>;

fn measure(algorithm: Algorithm, public: &[u8], sign: &Sign) -> Result<f64, Box<dyn Error>> {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(public));
    let key = Key::read(&Value::from(pem), algorithm)?;
    let signer = Arc::new(Signer { name: "partner".into(), application: "shop".into(), key });
    let rules = Rules { components: Box::default(), age_seconds_max: 60, digest: Need::Required, nonce: Need::Optional, tag: None };
    let covered = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;
    let parameters = format!("{covered};created={NOW};keyid=\"partner\";nonce=\"0123456789abcdef\"");
    let base = format!(
        "\"@method\": POST\n\"@authority\": api.example\n\"@path\": /orders\n\"@query\": ?a=1\n\"content-digest\": {DIGEST}\n\"@signature-params\": {parameters}"
    );
    let mut headers = HeaderMap::new();
    let fields = [
        ("host", "api.example".to_owned()),
        ("content-digest", DIGEST.to_owned()),
        ("signature-input", format!("sig={parameters}")),
        ("signature", format!("sig=:{}:", BASE64.encode(&sign(base.as_bytes())?))),
    ];
    for (name, value) in fields {
        headers.insert(name, HeaderValue::from_str(&value)?);
    }
    let uri = Uri::from_static("/orders?a=1");
    let asked = Asked { method: "POST", uri: &uri, version: Version::HTTP_11, headers: &headers };
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..TIMES {
            verify(asked, Content::Present, |_| Some(&signer), &rules, UtcMicros(NOW * 1_000_000))?;
        }
        least = least.min(began.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES));
    }
    Ok(least)
}

fn main() -> Result<(), Box<dyn Error>> {
    let random = SystemRandom::new;
    let ed25519 = Ed25519KeyPair::generate()?;
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let of_ed25519 = ed25519.public_key().as_der()?.as_ref().to_vec();
    let of_p256 = p256.public_key().as_der()?.as_ref().to_vec();
    let of_rsa = rsa.public_key().as_der()?.as_ref().to_vec();
    let cases: [(Algorithm, Vec<u8>, Sign); 3] = [
        (Algorithm::Ed25519, of_ed25519, Box::new(move |text| Ok(ed25519.sign(text).as_ref().to_vec()))),
        (Algorithm::EcdsaP256Sha256, of_p256, Box::new(move |text| Ok(p256.sign(&random(), text)?.as_ref().to_vec()))),
        (
            Algorithm::RsaPssSha512,
            of_rsa,
            Box::new(move |text| {
                let mut out = vec![0; rsa.public_modulus_len()];
                rsa.sign(&RSA_PSS_SHA512, &random(), text, &mut out)?;
                Ok(out)
            }),
        ),
    ];
    for (algorithm, public, sign) in &cases {
        println!("{}: {:.1} us", algorithm.name(), measure(*algorithm, public, sign)?);
    }
    Ok(())
}
