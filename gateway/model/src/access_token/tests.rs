use super::*;
use crate::base62;

const NOW: UtcMicros = UtcMicros(1_764_000_000_000_000);

fn keys(ids: &[(&str, u8)], signing: &str) -> TokenKeys {
    TokenKeys::new(ids.iter().map(|(id, byte)| ((*id).into(), SecretKey::new([*byte; 32]))).collect(), signing).unwrap()
}

fn key_id() -> KeyId {
    assert!(base62::is_base62(b"7sEgbYf9hQ2x"));
    KeyId::parse("7sEgbYf9hQ2x").unwrap()
}

fn grant(scopes: &[Box<str>]) -> Grant<'_> {
    Grant {
        origin: "https://api.example",
        application: "shop",
        key: key_id(),
        secret_number: 3,
        scopes,
        issued_at: NOW,
        lives_seconds: 300,
        id: [7; 16],
    }
}

fn token(keys: &TokenKeys) -> String {
    keys.mint(&grant(&["orders:read".into(), "orders:write".into()])).unwrap().expose_secret().to_owned()
}

fn later(seconds: i64) -> UtcMicros {
    UtcMicros(NOW.0 + seconds * 1_000_000)
}

/// A token with other claims, rightly signed.
fn signed(key: [u8; 32], claims: &str) -> String {
    let head = BASE64URL_NOPAD.encode(format!("{HEAD}a\"}}").as_bytes());
    let signed = format!("{head}.{}", BASE64URL_NOPAD.encode(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

#[test]
fn the_mark_is_what_heads_begin_with() {
    assert_eq!(HEAD.len() % 3, 0, "else the last character would depend on the id");
    assert_eq!(BASE64URL_NOPAD.encode(HEAD.as_bytes()), MARK);
    assert!(is_own(&token(&keys(&[("a", 1)], "a"))));
    assert!(!is_own("eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IjEifQ.e30.AA"));
}

#[test]
fn a_token_says_what_was_granted() {
    let keys = keys(&[("a", 1)], "a");
    let lent = keys.read(&token(&keys), later(10)).unwrap();
    assert_eq!(lent.key, key_id());
    assert_eq!(lent.secret_number, 3);
    assert_eq!(&*lent.scopes, ["orders:read".into(), "orders:write".into()]);
    assert_eq!(lent.until, later(300));
    let none = keys.mint(&grant(&[])).unwrap();
    assert!(keys.read(none.expose_secret(), NOW).unwrap().scopes.is_empty(), "no scope, and not one without a name");
}

#[test]
fn any_jwt_library_can_show_what_is_in_it() {
    let token = token(&keys(&[("a", 1)], "a"));
    let parts: Vec<_> = token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).collect();
    let head: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
    assert_eq!(head, serde_json::json!({ "alg": "HS256", "typ": "cwat+jwt", "kid": "a" }));
    let claims: serde_json::Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!(claims["iss"], "https://api.example");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    assert_eq!(parts[2].len(), 32);
}

#[test]
fn it_ends_at_its_end_and_does_not_begin_in_the_future() {
    let keys = keys(&[("a", 1)], "a");
    let token = token(&keys);
    assert!(keys.read(&token, later(299)).is_some());
    assert!(keys.read(&token, later(300)).is_none());
    assert!(keys.read(&token, later(-60)).is_some(), "the other node's clock may be ahead");
    assert!(keys.read(&token, later(-61)).is_none());
    let mut long = grant(&[]);
    long.lives_seconds = i64::MAX;
    let text = keys.mint(&long).unwrap();
    assert_eq!(keys.read(text.expose_secret(), NOW).unwrap().until, later(3_600), "no life is longer than an hour");
}

#[test]
fn what_is_rightly_signed_must_still_make_sense() {
    let keys = keys(&[("a", 1)], "a");
    let at = NOW.0 / 1_000_000;
    let whole = |iat: i64, exp: i64| {
        format!(r#"{{"iss":"x","aud":"x","sub":"x","client_id":"7sEgbYf9hQ2x","secret_number":1,"scope":"a","iat":{iat},"exp":{exp},"jti":"x"}}"#)
    };
    assert!(keys.read(&signed([1; 32], &whole(at, at + 300)), NOW).is_some());
    assert!(keys.read(&signed([1; 32], &whole(at, at + 3_601)), NOW).is_none(), "a life that no node gives");
    assert!(keys.read(&signed([1; 32], &whole(i64::MIN, i64::MAX)), NOW).is_none());
    assert!(keys.read(&signed([1; 32], "{}"), NOW).is_none());
    assert!(keys.read(&signed([1; 32], r#"{"client_id":"short"}"#), NOW).is_none());
}

#[test]
fn every_changed_byte_is_found() {
    let keys = keys(&[("a", 1)], "a");
    let token = token(&keys);
    let mut n = 0;
    for at in 0..token.len() {
        for byte in [b'A', b'_', b'.', b'='] {
            let mut bytes = token.clone().into_bytes();
            if bytes[at] == byte {
                continue;
            }
            bytes[at] = byte;
            n += 1;
            assert!(keys.read(std::str::from_utf8(&bytes).unwrap(), NOW).is_none(), "byte {at} changed to {byte}");
        }
        assert!(keys.read(&token[..at], NOW).is_none(), "cut off at {at}");
    }
    assert!(n > 1_000, "n={n}");
    assert!(keys.read(&format!("{token}="), NOW).is_none());
    assert!(keys.read(&format!("{token}A"), NOW).is_none());
}

#[test]
fn only_keys_that_are_known_are_taken() {
    let old = keys(&[("a", 1)], "a");
    let both = keys(&[("a", 1), ("b", 2)], "b");
    let new = keys(&[("b", 2)], "b");
    let (by_old, by_both) = (token(&old), token(&both));
    assert!(both.read(&by_old, NOW).is_some(), "published before, taken still");
    assert!(both.read(&by_both, NOW).is_some());
    assert!(new.read(&by_both, NOW).is_some());
    assert!(new.read(&by_old, NOW).is_none());
    assert!(old.read(&by_both, NOW).is_none());
    assert!(keys(&[("a", 9)], "a").read(&by_old, NOW).is_none(), "another key of the same name");
    assert!(TokenKeys::default().read(&by_old, NOW).is_none());
    assert!(TokenKeys::default().mint(&grant(&[])).is_none());
    assert!(!TokenKeys::default().can_sign());
}

#[test]
fn keys_that_cannot_be_told_apart_are_refused() {
    let key = |byte| SecretKey::new([byte; 32]);
    let same_name = TokenKeys::new(vec![("a".into(), key(1)), ("a".into(), key(2))], "a");
    let same_key = TokenKeys::new(vec![("a".into(), key(1)), ("b".into(), key(1))], "a");
    let nobody = TokenKeys::new(vec![("a".into(), key(1))], "c");
    assert_eq!(same_name.unwrap_err(), KeySetFault::Twice("a".into(), "a".into()));
    assert_eq!(same_key.unwrap_err(), KeySetFault::Twice("a".into(), "b".into()));
    assert_eq!(nobody.unwrap_err(), KeySetFault::Unknown("c".into()));
}

#[test]
fn nothing_prints_a_key_or_a_token() {
    let keys = keys(&[("a", 1)], "a");
    assert_eq!(format!("{keys:?}"), r#"["a"]"#);
    assert!(!format!("{:?}", keys.mint(&grant(&[])).unwrap()).contains("eyJ"));
}
