//! What passes, and what it means.

use super::*;

fn seconds(seconds: i64) -> UtcMicros {
    UtcMicros(0).plus_seconds(seconds)
}

fn scopes(verified: &Verified) -> Vec<&str> {
    verified.scopes.iter().map(|scope| &**scope).collect()
}

#[test]
fn a_token_of_each_algorithm_is_accepted_and_says_what_it_says() {
    let world = &*WORLD;
    let mut n = 0;
    for algorithm in PUBLIC {
        let others = [(Algorithm::Es256, &world.p256), (Algorithm::Es384, &world.p384), (Algorithm::EdDsa, &world.ed)];
        let signer = others.iter().find(|(other, _)| *other == algorithm).map_or(&world.rsa, |(_, signer)| signer);
        let verified = check(&valid(signer, algorithm)).unwrap_or_else(|rejection| panic!("{}: {rejection}", algorithm.name()));

        assert_eq!((&*verified.issuer, &*verified.subject), (ISSUER, "alice"));
        assert_eq!((verified.token_id.as_deref(), verified.client.as_deref()), (Some("t-1"), Some("shop")));
        assert_eq!(scopes(&verified), ["read", "write"]);
        assert_eq!((verified.expires_at, verified.issued_at), (seconds(NOW + 300), Some(seconds(NOW - 20))));
        assert_eq!((verified.key_id.as_deref(), verified.algorithm), (Some(signer.key_id), Some(algorithm)));
        assert_eq!(verified.confirmation, None);
        n += 1;
    }
    println!("accepted: n={n}");
    assert!(check(&valid(&world.pinned, Algorithm::Ps256)).is_ok(), "a key with alg is used with that one");
}

#[test]
fn a_secret_serves_the_algorithms_that_it_is_long_enough_for() {
    let rules = Rules::compile(Draft { algorithms: Algorithms::new(&SECRET).unwrap(), ..draft() }).unwrap();
    for (bytes, serves) in [(32, vec!["HS256"]), (48, vec!["HS256", "HS384"]), (64, vec!["HS256", "HS384", "HS512"])] {
        let signer = Signer::secret("shared", &vec![7; bytes]);
        let keys = key_set(&[signer.jwk()], &SECRET).unwrap();
        let accepted: Vec<&str> =
            SECRET.into_iter().filter(|algorithm| check_by(&rules, &keys, &valid(&signer, *algorithm)).is_ok()).map(Algorithm::name).collect();
        assert_eq!(accepted, serves, "{bytes} bytes");
    }
}

#[test]
fn a_static_key_verifies_what_it_signed() {
    let world = &*WORLD;
    for (signer, algorithm) in [
        (&world.rsa, Algorithm::Rs256),
        (&world.rsa, Algorithm::Ps512),
        (&world.p256, Algorithm::Es256),
        (&world.p384, Algorithm::Es384),
        (&world.ed, Algorithm::EdDsa),
    ] {
        let pem = signer.pem();
        let named = KeySet::from_static(&[StaticKey { key_id: Some(signer.key_id), algorithm, pem: &pem }]).unwrap();
        assert!(check_by(&world.rules, &named, &valid(signer, algorithm)).is_ok(), "{}", algorithm.name());

        let unnamed = KeySet::from_static(&[StaticKey { key_id: None, algorithm, pem: &pem }]).unwrap();
        let text = token(signer, algorithm, &json!({ "alg": algorithm.name() }).to_string(), &claims().to_string());
        assert!(check_by(&world.rules, &unnamed, &text).is_ok(), "{}", algorithm.name());
        assert_eq!(check_by(&world.rules, &unnamed, &valid(signer, algorithm)).unwrap_err().reason(), Reason::UnknownKey);
    }
}

#[test]
fn a_token_that_names_no_key_is_checked_with_the_only_one_that_fits() {
    let text = with_header(|header| drop(header.remove("kid")));

    let verified = check(&text).unwrap();

    assert_eq!(verified.key_id.as_deref(), Some("p256"));
}

#[test]
fn honest_variety_passes() {
    let mut texts = vec![
        with_header(|header| drop(header.insert("typ".to_owned(), json!("JWT")))),
        with_header(|header| drop(header.insert("typ".to_owned(), json!("application/AT+jwt")))),
        with_header(|header| drop(header.insert("cty".to_owned(), json!("json")))),
        with_claim("aud", json!(["urn:else", AUDIENCE])),
        with_claim("aud", json!(vec![AUDIENCE; 16])),
        with_claim("exp", json!(NOW - 9)),
        with_claim("exp", json!(1_800_000_300.75)),
        with_claim("nbf", json!(NOW + 10)),
        with_claim("iat", json!(NOW + 10)),
        with_claim("sub", json!("a".repeat(255))),
        with_claim("sub", json!("Zoë 😀")),
        with_claim("a", json!({ "b": { "c": { "d": { "e": { "f": { "g": 1 } } } } } })),
        with_payload(&format!(" \r\n\t{} \n", claims())),
        with_payload(&claims().to_string().replace("\"exp\"", "\"\\u0065xp\"")),
    ];
    texts.extend(["nbf", "jti", "scope", "client_id"].map(without_claim));
    for (at, text) in texts.iter().enumerate() {
        assert!(check(text).is_ok(), "{at}: {:?}", check(text));
    }
}

#[test]
fn fractions_are_kept_to_the_microsecond_and_cut_below() {
    let payload = claims().to_string().replace(&format!("\"exp\":{}", NOW + 300), "\"exp\":1800000300.1234569");
    assert_eq!(check(&with_payload(&payload)).unwrap().expires_at, UtcMicros(1_800_000_300_123_456));

    let payload = claims().to_string().replace(&format!("\"exp\":{}", NOW + 300), "\"exp\":1.8000003e9");
    assert_eq!(check(&with_payload(&payload)).unwrap().expires_at, seconds(NOW + 300));
}

#[test]
fn scopes_and_clients_come_from_the_first_claim_that_is_there() {
    let read = |edit: &dyn Fn(&mut Map<String, Value>)| check(&with_claims(|claims| edit(claims))).unwrap();

    let listed = read(&|claims| drop(claims.insert("scope".to_owned(), json!(["a:b", "c"]))));
    assert_eq!(scopes(&listed), ["a:b", "c"]);

    let blanks = read(&|claims| drop(claims.insert("scope".to_owned(), json!("  a   b "))));
    assert_eq!(scopes(&blanks), ["a", "b"]);

    let other = read(&|claims| {
        drop(claims.remove("scope"));
        drop(claims.remove("client_id"));
        claims.extend([("scp".to_owned(), json!("x")), ("azp".to_owned(), json!("web"))]);
    });
    assert_eq!((scopes(&other), other.client.as_deref()), (vec!["x"], Some("web")));

    let empty = read(&|claims| claims.extend([("scope".to_owned(), json!("")), ("scp".to_owned(), json!("x"))]));
    assert!(empty.scopes.is_empty(), "a claim that is there and empty is not passed over");

    let rules = Rules::compile(Draft { scope_claim: Some("roles".to_owned()), client_claim: Some("app".to_owned()), ..draft() }).unwrap();
    let text = with_claims(|claims| claims.extend([("roles".to_owned(), json!(["admin"])), ("app".to_owned(), json!("cli"))]));
    let configured = check_by(&rules, &WORLD.keys, &text).unwrap();
    assert_eq!((scopes(&configured), configured.client.as_deref()), (vec!["admin"], Some("cli")));
}

#[test]
fn what_a_token_is_bound_to_is_told() {
    let thumbprint = BASE64URL_NOPAD.encode(&[9; 32]);

    let by_key = check(&with_claim("cnf", json!({ "jkt": thumbprint }))).unwrap().confirmation.unwrap();
    assert_eq!((by_key.key_thumbprint, by_key.certificate_thumbprint), (Some([9; 32]), None));

    let by_both = check(&with_claim("cnf", json!({ "jkt": thumbprint, "x5t#S256": thumbprint }))).unwrap().confirmation.unwrap();
    assert_eq!((by_both.key_thumbprint, by_both.certificate_thumbprint), (Some([9; 32]), Some([9; 32])));
}

#[test]
fn keys_in_the_header_are_told_and_ignored() {
    let text = with_header(|header| {
        header.extend(["jku", "x5u"].map(|name| (name.to_owned(), json!("https://attacker.example/keys"))));
        header.insert("jwk".to_owned(), WORLD.attacker.jwk());
        header.insert("x5c".to_owned(), json!(["MIIB"]));
    });

    let hints: Vec<&str> = Unverified::parse(&text).unwrap().key_hints().iter().map(|hint| hint.name()).collect();

    assert_eq!(hints, ["jku", "x5u", "jwk", "x5c"]);
    assert!(check(&text).is_ok(), "they take no part");
    assert!(Unverified::parse(&valid(&WORLD.p256, Algorithm::Es256)).unwrap().key_hints().is_empty());
}

/// ECDSA takes (r, n - s) wherever it takes (r, s), and RFC 7518 does not forbid the larger of the two: so anybody can make a second
/// text of a token without the key. It says the same in every claim, and it is denied by the same `jti` and `sub`: nothing here is
/// remembered by the bytes of a signature or by a hash of the whole token, and nothing may be.
#[test]
fn the_other_ecdsa_signature_is_the_same_token() {
    const ORDER: [u8; 32] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3,
        0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ];
    let text = valid(&WORLD.p256, Algorithm::Es256);
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let mut signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(digit < 0);
        signature[32 + at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    let other = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));

    assert_ne!(text, other);
    assert!(check(&text).unwrap() == check(&other).unwrap());
}

#[test]
fn nothing_of_a_token_is_printed() {
    let text = with_header(|header| drop(header.insert("kid".to_owned(), json!("secret-kid"))));
    let parsed = Unverified::parse(&text).unwrap();
    let rejection = check(&text).unwrap_err();
    let verified = check(&valid(&WORLD.p256, Algorithm::Es256)).unwrap();

    let printed = format!("{parsed:?} {rejection:?} {rejection} {verified:?} {:?} {:?}", parsed.claims, WORLD.keys);

    for secret in ["secret-kid", "alice", "t-1", "shop", "read", "acme", text.split_once('.').unwrap().0] {
        assert!(!printed.contains(secret), "{secret} stands in {printed}");
    }
    assert!(rejection == Rejection::UnknownKey { kid: "secret-kid".into() });
}
