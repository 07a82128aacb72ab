//! `jwt`: a token gets in only if its issuer signed it, for us, for now. Everything else that a client can make of one is refused, and
//! all refusals look the same.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use harness::issuer::Signer;
use harness::seed::Random;
use model::jwt::algorithm::{Algorithm, Algorithms};
use model::jwt::issuer::{Draft, Rules, verify};
use model::jwt::keys::KeySet;
use model::jwt::token::Unverified;
use model::time::UtcMicros;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::share;
use crate::tokens::{Got, Tokens};

/// The fewest mutations of a run.
const MUTATIONS_MIN: u64 = 400;
/// For each of so many mutations there is one token that is good.
const GOOD_EVERY: u64 = 4;
/// What a changed character becomes: all that a compact serialization has, and what careless readers take for it.
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/%~\"{},";
/// The mutants: the issuer publishes an attacker's key under the id of its own; the document names an audience too many.
const FOREIGN_KEY: &str = "foreign-key";
const WIDE_AUDIENCE: &str = "wide-audience";

pub(crate) const CLAIM: Claim = Claim {
    slug: "jwt",
    promise: "a token that its issuer did not sign, for us and for now, gets nobody in, and all refusals look the same (n: tokens)",
    trials: 20_000,
    mutants: &[FOREIGN_KEY, WIDE_AUDIENCE],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// Keys of the issuer, and of somebody else.
struct Keys {
    good: Vec<Arc<Signer>>,
    attacker: Vec<Arc<Signer>>,
}

impl Keys {
    fn new() -> Result<Self> {
        let set = || -> Result<Vec<Arc<Signer>>> {
            Ok(vec![Arc::new(Signer::p256("p256")?), Arc::new(Signer::ed25519("ed")?), Arc::new(Signer::rsa("rsa")?)])
        };
        Ok(Self { good: set()?, attacker: set()? })
    }
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let keys = Keys::new()?;
    let published = if context.is_mutant(FOREIGN_KEY) { &keys.attacker } else { &keys.good };
    let place = Tokens::start(1, |_| published.clone()).await?;
    if context.is_mutant(WIDE_AUDIENCE) {
        place.apply(&["api", "else"]).await?;
    }
    let claims = place.issuers.first().context("no issuer")?.claims();
    let refusal = place.ask("not a token").await?;
    ensure!(refusal.status == 401, "garbage was answered {}", refusal.status);
    let mut judge = Judge { place: &place, refusal, refused: 0 };

    for (name, token) in checklist(&keys, &claims)? {
        judge.refuses(verdict, name, &token).await?;
    }
    verdict.figure("checklist", judge.refused);
    let vectors = vectors();
    for (name, token) in &vectors {
        judge.refuses(verdict, name, token).await?;
    }
    verdict.figure("vectors", if vectors.is_empty() { "skipped".to_owned() } else { vectors.len().to_string() });
    signatures_count(&place, verdict, &keys, &claims).await?;

    for (name, micros) in costs(&keys, &claims)? {
        verdict.figure(name, format!("{micros:.1}"));
    }
    let mutations = context.trials.max(MUTATIONS_MIN);
    let (mut good, mut served) = (0_u64, 0_u64);
    for number in 0..mutations {
        let number = context.from.saturating_add(number);
        let mut random = Random::new(context.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let signer = keys.good.get(below(&mut random, keys.good.len())).context("no key")?;
        let token = signer.token(&varied(&mut random, &claims))?;
        if number.is_multiple_of(GOOD_EVERY) {
            good += 1;
            let got = place.ask(&token).await?;
            served += u64::from(got.status == 200);
            verdict.trial(got.status == 200, || format!("a good token ({}) was answered {got:?}", signer.algorithm()));
        }
        let changed = mutated(&mut random, &token, &keys)?;
        judge.refuses(verdict, "a changed token", &changed).await?;
    }
    verdict.figure("mutations", mutations);
    verdict.figure("good", good);
    verdict.figure("good_share", share(served, good));
    place.ground.stop().await
}

struct Judge<'p> {
    place: &'p Tokens,
    /// How every refusal looks.
    refusal: Got,
    refused: u64,
}

impl Judge<'_> {
    async fn refuses(&mut self, verdict: &mut Verdict, name: &str, token: &str) -> Result<()> {
        let got = self.place.ask(token).await?;
        self.refused += 1;
        verdict.trial(got == self.refusal, || format!("{name} was answered {got:?}: {token}"));
        Ok(())
    }
}

/// What of a refusal depends on the signature alone, so that an expired token is known to have been verified before.
async fn signatures_count(place: &Tokens, verdict: &mut Verdict, keys: &Keys, claims: &Value) -> Result<()> {
    let expired = with(claims, "exp", &json!(1_300_819_380));
    for (signers, reason) in [(&keys.good, "expired"), (&keys.attacker, "signature-invalid")] {
        for signer in signers {
            let before = place.refused(reason).await?;
            let got = place.ask(&signer.token(&expired)?).await?;
            let after = place.refused(reason).await?;
            verdict.trial(got.status == 401 && after == before + 1, || format!("{} expired: {got:?}, not counted as {reason}", signer.algorithm()));
        }
    }
    Ok(())
}

/// What it takes to read and verify a token of each kind of key, in microseconds: the least of some rounds, because others use the machine, too.
fn costs(keys: &Keys, claims: &Value) -> Result<Vec<(&'static str, f64)>> {
    const ROUNDS: usize = 20;
    const TIMES: u32 = 50;
    let algorithms = Algorithms::new(&[Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256])?;
    let set: Vec<Value> = keys.good.iter().map(|signer| signer.jwk()).collect::<Result<_>>()?;
    let set = KeySet::from_jwks(&json!({ "keys": set }).to_string(), algorithms)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let rules = Rules::compile(Draft {
        issuer: text("iss"),
        audiences: vec![text("aud")],
        algorithms,
        leeway_seconds: 10,
        lifetime_seconds_max: None,
        ty: None,
        claims_required: Vec::new(),
        scope_claim: None,
        client_claim: None,
    })?;
    let now = UtcMicros(0).plus_seconds(claims.get("iat").and_then(Value::as_i64).unwrap_or_default());
    model::jwt::install_provider();
    let mut out = Vec::new();
    for (name, signer) in ["us_es256", "us_eddsa", "us_rs256"].into_iter().zip(&keys.good) {
        let token = signer.token(claims)?;
        let mut least = f64::MAX;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for _ in 0..TIMES {
                ensure!(verify(&rules, &set, &Unverified::parse(&token)?, now).is_ok(), "a good token does not hold");
            }
            least = least.min(began.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES));
        }
        out.push((name, least));
    }
    Ok(out)
}

fn below(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length.max(1) as u64)).unwrap_or_default()
}

fn with(claims: &Value, name: &str, value: &Value) -> Value {
    let mut claims = claims.clone();
    if let Some(members) = claims.as_object_mut() {
        members.insert(name.to_owned(), value.clone());
    }
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    if let Some(members) = claims.as_object_mut() {
        members.remove(name);
    }
    claims
}

/// Another good token: other subject, id, audiences and scopes.
fn varied(random: &mut Random, claims: &Value) -> Value {
    let subjects = ["alice", "bob@example.com", "00u1a2b3", "Zoë", "a b"];
    let audiences = [json!("api"), json!(["api"]), json!(["else", "api"]), json!(["api", "api"])];
    let scopes = [json!("read write"), json!(""), json!(["read"]), json!("a:b/c")];
    let pick = |random: &mut Random, list: &[Value]| list.get(below(random, list.len())).cloned().unwrap_or_default();
    let claims = with(claims, "sub", &json!(subjects.get(below(random, subjects.len()))));
    let claims = with(&claims, "aud", &pick(random, &audiences));
    let claims = with(&claims, "scope", &pick(random, &scopes));
    with(&claims, "jti", &json!(format!("t-{}", random.below(1 << 40))))
}

/// One change of a good token that leaves nothing of its authority.
fn mutated(random: &mut Random, token: &str, keys: &Keys) -> Result<String> {
    let mut bytes = token.as_bytes().to_vec();
    let at = below(random, bytes.len());
    let letter = ALPHABET.get(below(random, ALPHABET.len())).copied().unwrap_or(b'A');
    let parts: Vec<&str> = token.split('.').collect();
    let part = |n: usize| parts.get(n).copied().unwrap_or_default();
    match random.below(9) {
        0 | 1 => {
            let place = bytes.get_mut(at).context("no byte")?;
            *place = if *place == letter { if letter == b'A' { b'B' } else { b'A' } } else { letter };
        }
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, letter),
        4 => bytes.truncate(at.max(1)),
        5 => bytes = format!("{}.{}.{}", part(1), part(0), part(2)).into_bytes(),
        6 => bytes = format!("{}.{}.", part(0), part(1)).into_bytes(),
        7 => {
            // The payload of the one under the signature of another.
            let other = keys.good.first().context("no key")?.token(&json!({ "iss": "x", "n": random.below(1 << 30) }))?;
            bytes = format!("{}.{}.{}", part(0), part(1), other.rsplit('.').next().unwrap_or_default()).into_bytes();
        }
        _ => {
            // Signed again, by somebody else, under the same id.
            let payload = BASE64URL_NOPAD.decode(part(1).as_bytes())?;
            let header = BASE64URL_NOPAD.decode(part(0).as_bytes())?;
            let signer = keys.attacker.get(below(random, keys.attacker.len())).context("no key")?;
            let header: Value = serde_json::from_slice(&header)?;
            let header = with(&header, "alg", &json!(signer.algorithm()));
            bytes = signer.compact(&header.to_string(), &String::from_utf8(payload)?)?.into_bytes();
        }
    }
    Ok(String::from_utf8(bytes)?)
}

/// Tokens that are wrong in one way each (RFC 8725).
fn checklist(keys: &Keys, claims: &Value) -> Result<Vec<(&'static str, String)>> {
    let signer = keys.good.first().context("no key")?;
    let rsa = keys.good.last().context("no key")?;
    let good = signer.token(claims)?;
    let (content, signature) = good.rsplit_once('.').context("no signature")?;
    let text = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let header = json!({ "alg": "ES256", "kid": "p256" });
    let mut out: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in headers(keys)? {
        out.push((name, signer.compact(&value, &claims.to_string())?));
    }
    for (name, value) in payloads(claims) {
        out.push((name, signer.compact(&header.to_string(), &value)?));
    }
    for (name, alg) in [("alg none", "none"), ("alg None", "None"), ("alg NONE", "NONE"), ("alg nOnE", "nOnE")] {
        let unsigned = format!("{}.{}", text(&json!({ "alg": alg }).to_string()), text(&claims.to_string()));
        out.push((name, format!("{unsigned}.")));
        out.push((name, format!("{unsigned}.{signature}")));
    }
    // An HMAC whose secret is the public key, as text and as bytes.
    let jwk = rsa.jwk()?.to_string();
    for secret in [jwk.as_bytes(), b"".as_slice(), b"secret".as_slice()] {
        let body = format!("{}.{}", text(&json!({ "alg": "HS256", "kid": "rsa" }).to_string()), text(&claims.to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let mac = aws_lc_rs::hmac::sign(&key, body.as_bytes());
        out.push(("HMAC with what everybody knows", format!("{body}.{}", BASE64URL_NOPAD.encode(mac.as_ref()))));
    }
    let zero = BASE64URL_NOPAD.encode(&[0; 64]);
    let mut forms = vec![
        ("a signature of zeros (CVE-2022-21449)", format!("{content}.{zero}")),
        ("an empty signature", format!("{content}.")),
        ("no signature", content.to_owned()),
        ("two signatures", format!("{good}.{signature}")),
        ("five parts", format!("{good}.a.b")),
        ("padding", format!("{good}=")),
        ("padding of the header", good.replacen('.', "=.", 1)),
        ("a leading dot", format!(".{good}")),
        ("a trailing dot", format!("{good}.")),
        ("a blank inside", good.replacen('.', " .", 1)),
        ("two tokens", format!("{good},{good}")),
        ("a quoted token", format!("\"{good}\"")),
        ("9 KiB", signer.token(&with(claims, "x", &json!("a".repeat(7_000))))?),
    ];
    out.append(&mut forms);
    for signer in &keys.attacker {
        out.push(("somebody else's key", signer.token(claims)?));
    }
    out.push(("the attacker's key in the header", {
        let attacker = keys.attacker.first().context("no key")?;
        attacker.compact(&json!({ "alg": "ES256", "kid": "p256", "jwk": attacker.jwk()? }).to_string(), &claims.to_string())?
    }));
    Ok(out)
}

/// Headers that are signed by the right key and are refused all the same.
fn headers(keys: &Keys) -> Result<Vec<(&'static str, String)>> {
    let header = |more: Value| {
        let mut header = json!({ "alg": "ES256", "kid": "p256" });
        if let (Some(members), Some(more)) = (header.as_object_mut(), more.as_object()) {
            members.extend(more.clone());
        }
        header.to_string()
    };
    let unknown = keys.attacker.first().context("no key")?;
    Ok(vec![
        ("crit", header(json!({ "crit": ["exp"], "exp": 1 }))),
        ("empty crit", header(json!({ "crit": [] }))),
        ("b64", header(json!({ "b64": false, "crit": ["b64"] }))),
        ("b64 alone", header(json!({ "b64": true }))),
        ("another typ", header(json!({ "typ": "logout+jwt" }))),
        ("typ of a security event", header(json!({ "typ": "secevent+jwt" }))),
        ("typ as number", header(json!({ "typ": 1 }))),
        ("kid as number", header(json!({ "kid": 1 }))),
        ("empty kid", header(json!({ "kid": "" }))),
        ("kid of another kind of key", header(json!({ "kid": "rsa" }))),
        ("kid with a path", header(json!({ "kid": "../../../../dev/null" }))),
        ("kid with SQL", header(json!({ "kid": "x' or '1'='1" }))),
        ("alg of another curve", header(json!({ "alg": "ES384" }))),
        ("alg in lower case", header(json!({ "alg": "es256" }))),
        ("alg of a secret", header(json!({ "alg": "HS256" }))),
        ("alg as list", header(json!({ "alg": ["ES256"] }))),
        ("alg missing", json!({ "kid": "p256" }).to_string()),
        ("alg twice", "{\"alg\":\"ES256\",\"kid\":\"p256\",\"alg\":\"ES256\"}".to_owned()),
        ("kid twice, once escaped", "{\"alg\":\"ES256\",\"kid\":\"p256\",\"\\u006bid\":\"p256\"}".to_owned()),
        ("a list", "[]".to_owned()),
        ("a text", "\"ES256\"".to_owned()),
        ("broken JSON", "{\"alg\":\"ES256\"".to_owned()),
        ("something behind the JSON", format!("{} x", header(json!({})))),
        ("too deep", header(json!({ "x": [[[[[[1]]]]]] }))),
        ("too long", header(json!({ "x": "a".repeat(1_100) }))),
        ("encrypted", header(json!({ "enc": "A256GCM", "alg": "dir" }))),
        ("unknown kid", json!({ "alg": "ES256", "kid": format!("not-{}", unknown.key_id) }).to_string()),
    ])
}

/// Payloads that are signed by the right key and are refused all the same.
fn payloads(claims: &Value) -> Vec<(&'static str, String)> {
    let now = claims.get("iat").and_then(Value::as_i64).unwrap_or_default();
    let set = |name: &str, value: Value| with(claims, name, &value).to_string();
    vec![
        ("expired", set("exp", json!(now - 60))),
        ("exp missing", without(claims, "exp").to_string()),
        ("exp as text", set("exp", json!((now + 300).to_string()))),
        ("exp null", set("exp", Value::Null)),
        ("exp negative", set("exp", json!(-1))),
        ("exp beyond all years", set("exp", json!(1.0e300))),
        ("exp as list", set("exp", json!([now + 300]))),
        ("exp true", set("exp", json!(true))),
        ("exp twice", format!("{},\"exp\":{}}}", claims.to_string().trim_end_matches('}'), now + 9_999)),
        ("not yet valid", set("nbf", json!(now + 120))),
        ("nbf as text", set("nbf", json!("0"))),
        ("issued in the future", set("iat", json!(now + 120))),
        ("another audience", set("aud", json!("else"))),
        ("an audience that begins alike", set("aud", json!("api2"))),
        ("an audience that is a part", set("aud", json!("ap"))),
        ("an audience in other case", set("aud", json!("API"))),
        ("no audience", without(claims, "aud").to_string()),
        ("an empty list of audiences", set("aud", json!([]))),
        ("audiences as object", set("aud", json!({ "api": true }))),
        ("a list with a number", set("aud", json!(["api", 1]))),
        ("another issuer", set("iss", json!("https://else.example"))),
        ("an issuer with a slash more", set("iss", json!(format!("{}/", claims.get("iss").and_then(Value::as_str).unwrap_or_default())))),
        ("issuer as list", set("iss", json!([claims.get("iss")]))),
        ("no issuer", without(claims, "iss").to_string()),
        ("no subject", without(claims, "sub").to_string()),
        ("an empty subject", set("sub", json!(""))),
        ("subject as number", set("sub", json!(1))),
        ("a subject with a line feed", set("sub", json!("alice\nadmin"))),
        ("a subject of 300 bytes", set("sub", json!("a".repeat(300)))),
        ("jti as number", set("jti", json!(1))),
        ("scope as number", set("scope", json!(1))),
        ("scope with a quotation mark", set("scope", json!("a\"b"))),
        ("bound to a key", set("cnf", json!({ "jkt": "A".repeat(43) }))),
        ("bound to a certificate", set("cnf", json!({ "x5t#S256": "A".repeat(43) }))),
        ("bound to something", set("cnf", json!({ "kid": "x" }))),
        ("too deep", set("x", json!([[[[[[[[[[1]]]]]]]]]]))),
        ("a list", "[]".to_owned()),
        ("nothing", "{}".to_owned()),
        ("no JSON", "alice".to_owned()),
    ]
}

/// The compact serializations of the public vectors: all are somebody else's, or no tokens. None where the folder is missing.
fn vectors() -> Vec<(String, String)> {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/jose-cookbook/jws");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut out: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let text = std::fs::read_to_string(&path).ok()?;
            let value: Value = serde_json::from_str(&text).ok()?;
            let compact = value.pointer("/output/compact")?.as_str()?.to_owned();
            Some((path.file_stem()?.to_string_lossy().into_owned(), compact))
        })
        .collect();
    out.sort_unstable();
    out
}
