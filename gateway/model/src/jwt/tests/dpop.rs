//! Proofs of possession: what holds, and one mistake at a time (RFC 9449 section 4.3).

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use super::{Algorithm, NOW, Signer, UtcMicros, WORLD, edited, install_provider, token as signed};
use crate::jwt::dpop::{ALGORITHMS, Asked, Fault, Proved, verify};

const TOKEN: &str = "eyJ.e30.sig";
const ASKED: Asked<'_> = Asked { method: "POST", authority: "API.example", path: "/orders/7", token: TOKEN };

fn jwk(signer: &Signer) -> Value {
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

fn header(signer: &Signer, algorithm: Algorithm) -> Value {
    json!({ "typ": "dpop+jwt", "alg": algorithm.name(), "jwk": jwk(signer) })
}

fn hash(text: &str) -> String {
    BASE64URL_NOPAD.encode(digest(&SHA256, text.as_bytes()).as_ref())
}

fn claims() -> Value {
    json!({ "jti": "p-1", "htm": "POST", "htu": "https://api.example/orders/7", "iat": NOW, "ath": hash(TOKEN) })
}

fn check(proof: &str) -> Result<Proved, Fault> {
    check_for(proof, ASKED)
}

fn check_for(proof: &str, asked: Asked<'_>) -> Result<Proved, Fault> {
    install_provider();
    verify(proof, asked, UtcMicros(0).plus_seconds(NOW))
}

fn with_header(edit: impl FnOnce(&mut Map<String, Value>)) -> String {
    signed(&WORLD.p256, Algorithm::Es256, &edited(header(&WORLD.p256, Algorithm::Es256), edit), &claims().to_string())
}

fn with_claims(edit: impl FnOnce(&mut Map<String, Value>)) -> String {
    signed(&WORLD.p256, Algorithm::Es256, &header(&WORLD.p256, Algorithm::Es256).to_string(), &edited(claims(), edit))
}

fn with_claim(name: &str, value: Value) -> String {
    with_claims(|claims| drop(claims.insert(name.to_owned(), value)))
}

#[test]
fn a_proof_of_each_kind_of_key_holds_and_names_its_key() {
    let world = &*WORLD;
    for (algorithm, signer) in ALGORITHMS.into_iter().zip([&world.p256, &world.p384, &world.ed, &world.rsa, &world.rsa]) {
        let proved = check(&signed(signer, algorithm, &header(signer, algorithm).to_string(), &claims().to_string())).unwrap();
        // Written by hand, with the members in the order of their names.
        let jwk = jwk(signer);
        let member = |name: &str| jwk[name].as_str().unwrap().to_owned();
        let text = match jwk["kty"].as_str().unwrap() {
            "EC" => format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, member("crv"), member("x"), member("y")),
            "OKP" => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, member("x")),
            _ => format!(r#"{{"e":"AQAB","kty":"RSA","n":"{}"}}"#, member("n")),
        };
        assert_eq!(BASE64URL_NOPAD.encode(&proved.thumbprint), hash(&text), "{}", algorithm.name());
    }
    let same = check(&with_header(|header| drop(header.get_mut("jwk").unwrap().as_object_mut().unwrap().insert("kid".to_owned(), json!("x")))));
    assert_eq!(same, check(&with_claims(|_| ())), "what else the key says does not make it another, nor does a new signature make another proof");
    assert_ne!(check(&with_claim("jti", json!("p-2"))).unwrap().id, same.unwrap().id);
}

/// RFC 9449 §4.1 and §6.1 have a proof and the thumbprint of its key.
#[test]
fn the_thumbprint_is_the_one_of_the_standard() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR\
                 nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj\
                 oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTN\
                 Fc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let asked = Asked { method: "GET", authority: "resource.example.org", path: "/protectedresource", token };
    install_provider();

    let proved = verify(proof, asked, UtcMicros(0).plus_seconds(1_562_262_620)).unwrap();

    assert_eq!(BASE64URL_NOPAD.encode(&proved.thumbprint), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn what_is_wrong_with_a_header_is_told_by_its_name() {
    let world = &*WORLD;
    let set = |name: &'static str, value: Value| with_header(|header| drop(header.insert(name.to_owned(), value)));
    let jwk_with = |name: &'static str, value: Value| {
        with_header(|header| drop(header.get_mut("jwk").unwrap().as_object_mut().unwrap().insert(name.to_owned(), value)))
    };
    let secret = Signer::secret("s", &[7; 32]);
    let hmac = json!({ "typ": "dpop+jwt", "alg": "HS256", "jwk": { "kty": "oct", "k": BASE64URL_NOPAD.encode(&[7; 32]) } });
    for (name, proof, fault) in [
        ("nothing", String::new(), Fault::Malformed),
        ("no token", "abc".to_owned(), Fault::Malformed),
        ("two, joined by a hop", format!("{0}, {0}", with_header(|_| ())), Fault::Malformed),
        ("crit", set("crit", json!(["x"])), Fault::Malformed),
        ("too long", set("x", json!("a".repeat(1_100))), Fault::Malformed),
        ("no typ", with_header(|header| drop(header.remove("typ"))), Fault::TypeWrong),
        ("typ of tokens", set("typ", json!("JWT")), Fault::TypeWrong),
        ("typ with a prefix", set("typ", json!("application/dpop+jwt")), Fault::TypeWrong),
        ("alg none", set("alg", json!("none")), Fault::AlgorithmRefused),
        ("alg nobody knows", set("alg", json!("ES256K")), Fault::AlgorithmRefused),
        ("alg that is not for proofs", set("alg", json!("RS512")), Fault::AlgorithmRefused),
        ("a secret", signed(&secret, Algorithm::Hs256, &hmac.to_string(), &claims().to_string()), Fault::AlgorithmRefused),
        ("alg of another curve", set("alg", json!("ES384")), Fault::KeyInvalid),
        ("alg of another kind", set("alg", json!("EdDSA")), Fault::KeyInvalid),
        ("no key", with_header(|header| drop(header.remove("jwk"))), Fault::KeyInvalid),
        ("a key as text", set("jwk", json!(jwk(&world.p256).to_string())), Fault::KeyInvalid),
        ("a list", set("jwk", json!([jwk(&world.p256)])), Fault::KeyInvalid),
        ("a private key", jwk_with("d", json!("AQ")), Fault::KeyInvalid),
        ("a secret in a public key", jwk_with("k", json!("AQ")), Fault::KeyInvalid),
        ("a key for encryption", jwk_with("use", json!("enc")), Fault::KeyInvalid),
        ("a key for another algorithm", jwk_with("alg", json!("ES384")), Fault::KeyInvalid),
        ("a point off the curve", jwk_with("x", json!("A".repeat(43))), Fault::KeyInvalid),
        ("a coordinate with padding", jwk_with("x", json!(format!("{}=", jwk(&world.p256)["x"].as_str().unwrap()))), Fault::KeyInvalid),
        ("somebody else's key", set("jwk", jwk(&world.attacker)), Fault::SignatureInvalid),
    ] {
        assert_eq!(check(&proof), Err(fault), "{name}");
    }
    let good = with_claims(|_| ());
    let (content, _) = good.rsplit_once('.').unwrap();
    assert_eq!(check(&format!("{content}.{}", BASE64URL_NOPAD.encode(&[0; 64]))), Err(Fault::SignatureInvalid));
    let twice = header(&world.p256, Algorithm::Es256).to_string().replacen('{', "{\"jwk\":{},", 1);
    assert_eq!(check(&signed(&world.p256, Algorithm::Es256, &twice, &claims().to_string())), Err(Fault::Malformed), "two keys");
}

#[test]
fn what_is_wrong_with_what_a_proof_says_is_told_by_its_name() {
    let without = |name: &'static str| with_claims(|claims| drop(claims.remove(name)));
    for (name, proof, fault) in [
        ("no jti", without("jti"), Fault::IdInvalid),
        ("an empty jti", with_claim("jti", json!("")), Fault::IdInvalid),
        ("a long jti", with_claim("jti", json!("a".repeat(129))), Fault::IdInvalid),
        ("a jti with a line", with_claim("jti", json!("a\nb")), Fault::IdInvalid),
        ("a number as jti", with_claim("jti", json!(1)), Fault::IdInvalid),
        ("no htm", without("htm"), Fault::MethodWrong),
        ("another method", with_claim("htm", json!("GET")), Fault::MethodWrong),
        ("a method in small letters", with_claim("htm", json!("post")), Fault::MethodWrong),
        ("no htu", without("htu"), Fault::UriWrong),
        ("no iat", without("iat"), Fault::DateWrong),
        ("iat as text", with_claim("iat", json!(NOW.to_string())), Fault::DateWrong),
        ("an old one", with_claim("iat", json!(NOW - 61)), Fault::DateWrong),
        ("one of the future", with_claim("iat", json!(NOW + 6)), Fault::DateWrong),
        ("no ath", without("ath"), Fault::TokenWrong),
        ("another token's", with_claim("ath", json!(hash("eyJ.e30.other"))), Fault::TokenWrong),
        ("ath with padding", with_claim("ath", json!(format!("{}=", hash(TOKEN)))), Fault::TokenWrong),
        ("ath as hex", with_claim("ath", json!(data_encoding::HEXLOWER.encode(digest(&SHA256, TOKEN.as_bytes()).as_ref()))), Fault::TokenWrong),
    ] {
        assert_eq!(check(&proof), Err(fault), "{name}");
    }
    for made in [NOW - 60, NOW + 5] {
        assert!(check(&with_claim("iat", json!(made))).is_ok(), "{made}");
    }
    assert!(check(&with_claim("jti", json!("a".repeat(128)))).is_ok());
    let mut codes: Vec<_> = Fault::ALL.iter().map(|fault| fault.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Fault::ALL.len());
}

#[test]
fn the_address_is_compared_in_its_normal_form() {
    let is_for = |uri: &str, authority: &str, path: &str| {
        check_for(&with_claim("htu", json!(uri)), Asked { authority, path, ..ASKED }).map_or_else(|fault| assert_eq!(fault, Fault::UriWrong), |_| ());
        check_for(&with_claim("htu", json!(uri)), Asked { authority, path, ..ASKED }).is_ok()
    };
    for (uri, authority, path) in [
        ("https://api.example/a", "api.example", "/a"),
        ("HTTPS://API.example:443/a", "api.example", "/a"),
        ("https://api.example:/a", "api.example:443", "/a"),
        ("https://api.example./a", "api.example", "/a"),
        ("https://api.example", "api.example", "/"),
        ("https://api.example?x", "api.example", "/"),
        ("https://api.example/a?q=/b#c", "api.example", "/a"),
        ("https://api.example:8443/%61", "api.example:8443", "/a"),
        ("https://api.example/%c3%a4", "api.example", "/%C3%A4"),
        ("https://[::1]:8443/a", "[::1]:8443", "/a"),
    ] {
        assert!(is_for(uri, authority, path), "{uri} for {authority}{path}");
    }
    for (uri, authority, path) in [
        ("http://api.example/a", "api.example", "/a"),
        ("https://api.example:8443/a", "api.example", "/a"),
        ("https://api.example/a", "api.example:8443", "/a"),
        ("https://api.example/A", "api.example", "/a"),
        ("https://api.example/a/", "api.example", "/a"),
        ("https://api.example/b/../a", "api.example", "/a"),
        ("https://api.example//a", "api.example", "/a"),
        ("https://api.example/%2561", "api.example", "/a"),
        ("https://me@api.example/a", "api.example", "/a"),
        ("https://api.example@evil.example/a", "api.example", "/a"),
        ("https://evil.example/a", "api.example", "/a"),
        ("https://api.example\\@evil/a", "api.example", "/a"),
        (" https://api.example/a", "api.example", "/a"),
        ("https:/api.example/a", "api.example", "/a"),
        ("https:///a", "api.example", "/a"),
        ("//api.example/a", "api.example", "/a"),
        ("/a", "api.example", "/a"),
        ("", "", "/"),
        ("https://api.example:99999/a", "api.example:99999", "/a"),
        ("httpsé//api.example/a", "api.example", "/a"),
    ] {
        assert!(!is_for(uri, authority, path), "{uri} for {authority}{path}");
    }
}
