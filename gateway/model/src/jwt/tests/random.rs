//! Texts that nobody would write, and valid tokens with one thing changed.

use proptest::{prelude::*, sample::Index};

use super::*;

/// Valid tokens, made once: one for each way of signing.
static VALID: LazyLock<[String; 4]> = LazyLock::new(|| {
    let world = &*WORLD;
    [
        valid(&world.p256, Algorithm::Es256),
        valid(&world.rsa, Algorithm::Rs256),
        valid(&world.rsa, Algorithm::Ps256),
        valid(&world.ed, Algorithm::EdDsa),
    ]
});

/// Texts that are nearly a key set.
const JWKS_LIKE: &str =
    r#"\{"keys":\[(\{("(kty|crv|alg|use|kid|n|e|x|y|k)":("(RSA|EC|OKP|oct|P-256|sig|AQAB)"|1|null),?){1,3}\},?){0,4}\]\}|.{0,80}"#;

#[derive(Debug, Clone)]
enum Change {
    Replace(Index, char),
    Insert(Index, char),
    Remove(Index),
    Swap(Index, Index),
    Cut(Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let letter = || prop_oneof![proptest::char::range('A', 'z'), proptest::char::range('0', '9'), Just('.'), Just('='), any::<char>()];
    prop_oneof![
        4 => (any::<Index>(), letter()).prop_map(|(at, letter)| Change::Replace(at, letter)),
        2 => (any::<Index>(), letter()).prop_map(|(at, letter)| Change::Insert(at, letter)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(first, second)| Change::Swap(first, second)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let n = letters.len();
    if n == 0 {
        return String::new();
    }
    match change {
        Change::Replace(at, letter) => letters[at.index(n)] = *letter,
        Change::Insert(at, letter) => letters.insert(at.index(n), *letter),
        Change::Remove(at) => drop(letters.remove(at.index(n))),
        Change::Swap(first, second) => letters.swap(first.index(n), second.index(n)),
        Change::Cut(at) => letters.truncate(at.index(n)),
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(n).min(to.index(n)), from.index(n).max(to.index(n)));
            letters.extend_from_within(from..to);
        }
    }
    letters.into_iter().collect()
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in ".{0,300}") {
        prop_assert!(check(&text).is_err());
    }

    #[test]
    fn any_three_parts_get_an_answer(header in ".{0,80}", payload in ".{0,200}", signature in prop::collection::vec(any::<u8>(), 0..100)) {
        let text = [header.as_bytes(), payload.as_bytes(), &signature].map(|part| BASE64URL_NOPAD.encode(part)).join(".");
        prop_assert!(check(&text).is_err());
    }

    #[test]
    fn any_json_gets_an_answer(bytes in prop::collection::vec(prop::sample::select(br#"{}[]",:\u0123456789eE.-+truefalsn "#.to_vec()), 0..120)) {
        let text = with_parts(br#"{"alg":"ES256","kid":"p256"}"#, &bytes);
        prop_assert!(check(&text).is_err());
        let text = with_parts(&bytes, b"{}");
        prop_assert!(check(&text).is_err());
    }

    #[test]
    fn a_changed_token_is_never_accepted(which in 0_usize..4, changes in prop::collection::vec(change(), 1..4)) {
        let valid = &VALID[which];
        let changed = changes.iter().fold(valid.clone(), |text, change| apply(&text, change));
        // The other ECDSA signature would pass (see `accepted`); to find it by chance takes 2^256 tries.
        prop_assert_eq!(check(&changed).is_ok(), changed == *valid, "{}", changed);
    }

    #[test]
    fn claims_of_any_value_get_an_answer(name in "iss|sub|aud|exp|nbf|iat|jti|scope|client_id|cnf|tenant", value in value()) {
        let text = with_claim(&name, value);
        if let Ok(verified) = check(&text) {
            prop_assert_eq!(&*verified.issuer, ISSUER);
            prop_assert!(verified.expires_at > UtcMicros(0).plus_seconds(NOW - 10));
        }
    }

    #[test]
    fn any_key_set_gets_an_answer(text in JWKS_LIKE, is_secret in any::<bool>()) {
        let accepted = Algorithms::new(if is_secret { &SECRET } else { &PUBLIC }).unwrap();
        if let Ok(set) = KeySet::from_jwks(&text, accepted) {
            prop_assert_eq!(set.n_usable(), 0);
        }
    }
}

fn with_parts(header: &[u8], payload: &[u8]) -> String {
    [header, payload, &[0; 64]].map(|part| BASE64URL_NOPAD.encode(part)).join(".")
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("jkt|.{0,4}", inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
