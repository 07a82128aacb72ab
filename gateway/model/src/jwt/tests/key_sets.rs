//! Key sets and single keys: which are used, and why the others are not.

use super::signer::{pem, spki};
use super::*;

fn fault(edit: impl FnOnce(&mut Map<String, Value>), key: &Value) -> Option<KeyFault> {
    let mut key = key.clone();
    edit(key.as_object_mut().unwrap());
    let set = key_set(&[key], &PUBLIC).unwrap();
    assert_eq!(set.n_usable() + set.refused().len(), 1);
    set.refused().first().map(|refused| refused.fault)
}

/// The key with one member replaced.
fn with(key: &Value, name: &str, value: Value) -> Option<KeyFault> {
    fault(|key| drop(key.insert(name.to_owned(), value)), key)
}

fn without(key: &Value, name: &str) -> Option<KeyFault> {
    fault(|key| drop(key.remove(name)), key)
}

fn encoded(bytes: &[u8]) -> Value {
    json!(BASE64URL_NOPAD.encode(bytes))
}

#[test]
fn members_decide_whether_a_key_is_used() {
    let (rsa, p256, ed) = (WORLD.rsa.jwk(), WORLD.p256.jwk(), WORLD.ed.jwk());
    let mut n = 0;
    let mut check = |name: &str, found: Option<KeyFault>, expected: Option<KeyFault>| {
        assert_eq!(found, expected, "{name}");
        n += 1;
    };
    check("as it is", with(&rsa, "x", json!(1)), None);
    check("for signatures", with(&rsa, "use", json!("sig")), None);
    check("for verifying", with(&rsa, "key_ops", json!(["sign", "verify"])), None);
    check("with a certificate", with(&rsa, "x5c", json!(["MIIB"])), None);
    check("without an id", without(&rsa, "kid"), None);
    check("with its algorithm", with(&p256, "alg", json!("ES256")), None);
    for usage in [json!("enc"), json!("SIG"), json!(""), json!(null), json!(["sig"])] {
        check("use", with(&rsa, "use", usage), Some(KeyFault::UseOther));
    }
    for operations in [json!(["sign"]), json!([]), json!("verify"), json!(null), json!([1]), json!(vec!["verify"; 17])] {
        check("key_ops", with(&rsa, "key_ops", operations), Some(KeyFault::OperationsOther));
    }
    for ty in [json!("rsa"), json!("EC2"), json!(1), json!(null)] {
        check("kty", with(&rsa, "kty", ty), Some(KeyFault::TypeUnknown));
    }
    check("no kty", without(&rsa, "kty"), Some(KeyFault::TypeUnknown));
    for kid in [json!(""), json!(1), json!("a\n"), json!("k".repeat(257)), json!(null)] {
        check("kid", with(&rsa, "kid", kid), Some(KeyFault::KeyIdInvalid));
    }
    for algorithm in [json!("RSA-OAEP"), json!("rs256"), json!("none"), json!(256), json!("ES512")] {
        check("alg", with(&rsa, "alg", algorithm), Some(KeyFault::AlgorithmUnknown));
    }
    check("alg of another type", with(&rsa, "alg", json!("ES256")), Some(KeyFault::AlgorithmUnfit));
    check("alg of secrets", with(&rsa, "alg", json!("HS256")), Some(KeyFault::AlgorithmUnfit));
    check("alg of another curve", with(&p256, "alg", json!("ES384")), Some(KeyFault::AlgorithmUnfit));
    check("alg of a curve", with(&ed, "alg", json!("ES256")), Some(KeyFault::AlgorithmUnfit));
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        check(name, with(&rsa, name, json!("AQ")), Some(KeyFault::PrivateKey));
        check(name, with(&p256, name, json!(null)), Some(KeyFault::PrivateKey));
        check(name, with(&ed, name, json!("AQ")), Some(KeyFault::PrivateKey));
    }
    println!("members: n={n}");
}

#[test]
fn numbers_and_points_are_checked_when_they_are_loaded() {
    let (rsa, p256, p384, ed) = (WORLD.rsa.jwk(), WORLD.p256.jwk(), WORLD.p384.jwk(), WORLD.ed.jwk());
    let n = BASE64URL_NOPAD.decode(rsa["n"].as_str().unwrap().as_bytes()).unwrap();
    let mut even = n.clone();
    *even.last_mut().unwrap() &= 0xFE;
    let mut bits_2047 = n.clone();
    bits_2047[0] &= 0x7F;
    for (name, modulus) in [
        ("even", even),
        ("2,047 bits", bits_2047),
        ("1,024 bits", n[128..].to_vec()),
        ("8,200 bits", [vec![0xFF; 1_024], vec![1]].concat()),
        ("a zero before", [&[0], &n[..]].concat()),
        ("empty", vec![]),
    ] {
        assert_eq!(with(&rsa, "n", encoded(&modulus)), Some(KeyFault::ModulusInvalid), "{name}");
    }
    assert_eq!(with(&rsa, "n", encoded(&[vec![0xFF; 1_023], vec![1]].concat())), None, "8,192 bits are still taken");
    for exponent in [&[][..], &[1], &[3], &[17], &[0xFF, 0xFF], &[1, 0, 0], &[1, 0, 2], &[0, 1, 0, 1], &[1, 0, 0, 0, 1]] {
        assert_eq!(with(&rsa, "e", encoded(exponent)), Some(KeyFault::ExponentInvalid), "{exponent:?}");
    }
    for exponent in [&[1, 0, 1][..], &[1, 0, 3], &[0xFF, 0xFF, 0xFF, 0xFF]] {
        assert_eq!(with(&rsa, "e", encoded(exponent)), None, "{exponent:?}");
    }
    for (key, member) in [(&rsa, "n"), (&rsa, "e"), (&p256, "x"), (&p256, "y"), (&ed, "x")] {
        assert_eq!(without(key, member), Some(KeyFault::MemberInvalid));
        for value in [json!(1), json!("AQ=="), json!("A Q"), json!("+/"), json!("AR")] {
            assert_eq!(with(key, member, value), Some(KeyFault::MemberInvalid));
        }
    }
    // Off the curve; the neutral element, as far as coordinates can say it; past the field; too short and too long.
    for (key, bytes) in [(&p256, 32), (&p384, 48)] {
        for y in [vec![0; bytes], vec![1; bytes], vec![0xFF; bytes], vec![1; bytes - 1], vec![1; bytes + 1], vec![]] {
            assert_eq!(with(key, "y", encoded(&y)), Some(KeyFault::PointInvalid));
        }
        let zeros = fault(|key| key.extend(["x", "y"].map(|name| (name.to_owned(), encoded(&vec![0; bytes])))), key);
        assert_eq!(zeros, Some(KeyFault::PointInvalid));
    }
    assert_eq!(with(&p256, "crv", json!("P-384")), Some(KeyFault::PointInvalid));
    for curve in [json!("P-521"), json!("secp256k1"), json!("p-256"), json!(1), json!("Ed25519")] {
        assert_eq!(with(&p256, "crv", curve), Some(KeyFault::CurveUnknown));
    }
    for curve in [json!("Ed448"), json!("X25519"), json!("P-256"), json!(null)] {
        assert_eq!(with(&ed, "crv", curve), Some(KeyFault::CurveUnknown));
    }
    for bytes in [31, 33] {
        assert_eq!(with(&ed, "x", encoded(&vec![1; bytes])), Some(KeyFault::PointInvalid));
    }
}

#[test]
fn a_set_that_is_none_is_refused_as_a_whole() {
    let accepted = Algorithms::new(&PUBLIC).unwrap();
    let key = WORLD.p256.jwk();
    let read = |text: &str| KeySet::from_jwks(text, accepted).map(|set| set.n_usable());
    for text in ["", "[]", "null", "{", "{}x", r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kty":"EC","kty":"oct"}]}"#, r#"{"keys":[[[[[[[]]]]]]]}"#] {
        assert_eq!(read(text), Err(SetFault::Malformed), "{text}");
    }
    for text in ["{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"Keys":[]}"#, &key.to_string()] {
        assert_eq!(read(text), Err(SetFault::KeysMissing), "{text}");
    }
    assert_eq!(read(r#"{"keys":[]}"#), Ok(0));
    assert_eq!(read(&json!({ "keys": vec![key.clone(); 51] }).to_string()), Err(SetFault::TooManyKeys));
    assert_eq!(read(&format!("{{\"keys\":[]}}{}", " ".repeat(262_144))), Err(SetFault::TooLong));
    assert_eq!(read(&json!({ "keys": [vec![0; 100_000]] }).to_string()), Ok(0));
    let fifty: Vec<Value> = (0..50)
        .map(|at| edited(key.clone(), |key| drop(key.insert("kid".to_owned(), json!(format!("k{at}"))))))
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect();
    assert_eq!(read(&json!({ "keys": fifty }).to_string()), Ok(50));
}

#[test]
fn one_bad_key_spoils_no_other() {
    let set = key_set(&[json!(1), WORLD.p256.jwk(), json!({ "kid": "odd", "kty": "AKP" })], &PUBLIC).unwrap();

    assert_eq!(set.n_usable(), 1);
    let refused: Vec<_> = set.refused().iter().map(|refused| (refused.position, refused.key_id.as_deref(), refused.fault)).collect();
    assert_eq!(refused, [(0, None, KeyFault::NotAnObject), (2, Some("odd"), KeyFault::TypeUnknown)]);
    assert_eq!(check_by(&WORLD.rules, &set, &valid(&WORLD.p256, Algorithm::Es256)).map(|verified| verified.algorithm), Ok(Some(Algorithm::Es256)));
}

#[test]
fn keys_with_one_id_are_all_refused() {
    let mut twin = WORLD.attacker.jwk();
    twin["kid"] = json!("p256");
    let set = key_set(&[WORLD.p256.jwk(), twin, WORLD.p384.jwk()], &PUBLIC).unwrap();

    assert_eq!(set.n_usable(), 1);
    assert!(set.refused().iter().all(|refused| refused.fault == KeyFault::KeyIdDuplicate), "{set:?}");
    let reason = check_by(&WORLD.rules, &set, &valid(&WORLD.p256, Algorithm::Es256)).unwrap_err().reason();
    assert_eq!(reason, Reason::KeyRefused, "it is no reason to fetch the set again");

    let mut beside = WORLD.rsa.jwk();
    beside["kid"] = json!("p256");
    beside["use"] = json!("enc");
    assert_eq!(key_set(&[WORLD.p256.jwk(), beside], &PUBLIC).unwrap().n_usable(), 0, "also when the other one would not be used");
}

#[test]
fn secrets_are_taken_only_where_they_are_configured_and_never_beside_public_keys() {
    let secret = |bytes: usize| Signer::secret("shared", &vec![7; bytes]).jwk();
    let fault = |key: Value, accepted: &[Algorithm]| key_set(&[key], accepted).unwrap().refused().first().map(|refused| refused.fault);
    let named = |mut key: Value, name: &str| {
        key["alg"] = json!(name);
        key
    };
    assert_eq!(key_set(&[WORLD.rsa.jwk(), secret(64)], &PUBLIC).err(), Some(SetFault::Mixed));
    assert_eq!(key_set(&[secret(64), json!({ "kty": "AKP" })], &SECRET).err(), Some(SetFault::Mixed));
    assert_eq!(fault(secret(64), &PUBLIC), Some(KeyFault::SecretRefused));
    assert_eq!(fault(secret(64), &SECRET), None);
    assert_eq!(fault(secret(31), &SECRET), Some(KeyFault::SecretTooShort));
    for (name, bytes) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        assert_eq!(fault(named(secret(bytes), name), &SECRET), None);
        assert_eq!(fault(named(secret(bytes - 1), name), &SECRET), Some(KeyFault::SecretTooShort));
    }
    assert_eq!(fault(named(secret(64), "RS256"), &SECRET), Some(KeyFault::AlgorithmUnfit));
    assert_eq!(fault(named(secret(64), "HS512"), &[Algorithm::Hs256]), Some(KeyFault::AlgorithmOther));
    assert_eq!(fault(WORLD.rsa.jwk(), &SECRET), Some(KeyFault::AlgorithmOther), "a public key is no secret");
}

#[test]
fn a_token_without_a_key_id_needs_exactly_one_key_that_fits() {
    let text = with_header(|header| drop(header.remove("kid")));
    let reason = |keys: &[Value]| check_by(&WORLD.rules, &key_set(keys, &PUBLIC).unwrap(), &text).err().map(|rejection| rejection.reason());

    assert_eq!(reason(&[WORLD.p256.jwk(), WORLD.p384.jwk()]), None);
    assert_eq!(reason(&[WORLD.rsa.jwk(), WORLD.p384.jwk()]), Some(Reason::KeyMissing));
    assert_eq!(reason(&[]), Some(Reason::KeyMissing));
    assert_eq!(reason(&[WORLD.p256.jwk(), WORLD.attacker.jwk()]), Some(Reason::KeyAmbiguous));
}

#[test]
fn a_static_key_that_cannot_be_used_is_a_mistake() {
    let (p256, rsa) = (&WORLD.p256, &WORLD.rsa);
    let fault = |pem: &str, algorithm| KeySet::from_static(&[StaticKey { key_id: Some("k"), algorithm, pem }]).err().map(|refused| refused.fault);
    let good = p256.pem();
    let der = spki(&[&[6, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1], &[6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7]], &p256.public());
    let compressed = [&[2], &p256.public()[1..33]].concat();
    let off = [&[4][..], &[1; 64]].concat();
    let parts: [&[u8]; 2] = [&[6, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1], &[6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7]];
    // secp256k1 has points of the same length.
    let koblitz: [&[u8]; 2] = [parts[0], &[6, 5, 0x2B, 0x81, 4, 0, 0x0A]];
    let pss: [&[u8]; 1] = [&[6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 10]];

    assert_eq!(fault(&good, Algorithm::Es256), None);
    assert_eq!(fault(&format!("a comment\n{good}"), Algorithm::Es256), None);
    for algorithm in [Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa, Algorithm::Hs256] {
        assert_eq!(fault(&good, algorithm), Some(KeyFault::AlgorithmUnfit));
    }
    assert_eq!(fault(&rsa.pem(), Algorithm::Hs256), Some(KeyFault::AlgorithmUnfit));
    for text in
        ["", "x", &good.replace("PUBLIC KEY", "CERTIFICATE"), &good.replace("PUBLIC KEY", "RSA PUBLIC KEY"), &format!("{good}{good}"), &good[..60]]
    {
        assert_eq!(fault(text, Algorithm::Es256), Some(KeyFault::PemInvalid), "{text}");
    }
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        assert_eq!(fault(&pem(label, &der), Algorithm::Es256), Some(KeyFault::PrivateKey));
        assert_eq!(fault(&format!("{good}{}", pem(label, &der)), Algorithm::Es256), Some(KeyFault::PrivateKey));
    }
    let section = |der: &[u8]| fault(&pem("PUBLIC KEY", der), Algorithm::Es256);
    assert_eq!(section(&[&der[..], &[0]].concat()), Some(KeyFault::PointInvalid), "a byte behind");
    assert_eq!(section(&der[..der.len() - 1]), Some(KeyFault::PointInvalid), "a byte missing");
    assert_eq!(section(&spki(&parts, &off)), Some(KeyFault::PointInvalid), "off the curve");
    assert_eq!(section(&spki(&parts, &compressed)), Some(KeyFault::EncodingUnknown), "compressed");
    assert_eq!(section(&spki(&koblitz, &p256.public())), Some(KeyFault::EncodingUnknown), "another curve");
    assert_eq!(section(&spki(&pss, &rsa.public())), Some(KeyFault::EncodingUnknown), "RSA-PSS alone");
    assert_eq!(section(&rsa.public()), Some(KeyFault::EncodingUnknown), "PKCS#1");
    assert_eq!(section(&[]), Some(KeyFault::EncodingUnknown), "empty");

    let twice = StaticKey { key_id: Some("k"), algorithm: Algorithm::Es256, pem: &good };
    assert_eq!(KeySet::from_static(&[twice, twice]).err().map(|refused| refused.fault), Some(KeyFault::KeyIdDuplicate));
    let nameless = StaticKey { key_id: Some(""), ..twice };
    assert_eq!(KeySet::from_static(&[nameless]).err().map(|refused| refused.fault), Some(KeyFault::KeyIdInvalid));
}
