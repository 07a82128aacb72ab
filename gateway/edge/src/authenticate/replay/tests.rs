use std::sync::LazyLock;

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use model::{
    jwt::{
        dpop::{Asked, verify},
        install_provider,
    },
    time::UtcMicros,
};
use serde_json::json;

use super::*;

const SECOND: u64 = 1_000_000_000;
static KEYS: LazyLock<[Ed25519KeyPair; 2]> = LazyLock::new(|| [(); 2].map(|()| Ed25519KeyPair::generate().unwrap()));

/// What a proof with this id of one of two keys proves.
fn proof(key: usize, id: &str) -> Proved {
    install_provider();
    let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let key = &KEYS[key];
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) });
    let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk }).to_string();
    let hash = text(digest(&SHA256, b"token").as_ref());
    let claims = json!({ "jti": id, "htm": "GET", "htu": "https://a/", "iat": 100, "ath": hash }).to_string();
    let signed = format!("{}.{}", text(header.as_bytes()), text(claims.as_bytes()));
    let whole = format!("{signed}.{}", text(key.sign(signed.as_bytes()).as_ref()));
    let asked = Asked { method: "GET", authority: "a", path: "/", token: "token" };
    verify(&whole, asked, UtcMicros(100_000_000)).unwrap()
}

#[test]
fn a_proof_is_used_once_for_as_long_as_it_is_taken() {
    let replays = Replays::default();
    for start in [0, 1, 7, 8, 79] {
        let id = start.to_string();
        let at = |seconds: u64| BootNanos((1_000 + start + seconds) * SECOND);
        assert_eq!(replays.spend(&proof(0, &id), at(0)), Ok(()));
        for later in [0, 1, 64, 65] {
            assert_eq!(replays.spend(&proof(0, &id), at(later)), Err(Used::Before), "{start} + {later}");
        }
    }
    assert_eq!(replays.spend(&proof(1, "0"), BootNanos(1_100 * SECOND)), Ok(()), "the same id by another key is another proof");
    assert_eq!(replays.spend(&proof(0, "0"), BootNanos(1_300 * SECOND)), Ok(()), "nobody takes it any more");
    assert_eq!(replays.0.lock().slots.len(), 1, "and the others are forgotten");
}

#[test]
fn an_instant_of_before_forgets_nothing_and_is_remembered_as_long() {
    let replays = Replays::default();
    replays.spend(&proof(0, "late"), BootNanos(1_000 * SECOND)).unwrap();
    replays.spend(&proof(0, "early"), BootNanos(990 * SECOND)).unwrap();

    assert_eq!(replays.spend(&proof(0, "early"), BootNanos(1_065 * SECOND)), Err(Used::Before));
}

#[test]
fn what_there_is_no_room_for_is_refused_and_one_key_leaves_room_for_others() {
    let replays = Replays::with_room(SLOT_NANOS, 3, 2);
    let now = BootNanos(1_000 * SECOND);
    for id in ["1", "2"] {
        assert_eq!(replays.spend(&proof(0, id), now), Ok(()));
    }
    assert_eq!(replays.spend(&proof(0, "3"), now), Err(Used::Full), "the key's share");
    assert_eq!(replays.spend(&proof(0, "3"), BootNanos(now.0 + 9 * SECOND)), Err(Used::Full), "in another slot, too");
    assert_eq!(replays.spend(&proof(0, "1"), now), Err(Used::Before), "nothing was forgotten");
    assert_eq!(replays.spend(&proof(1, "1"), now), Ok(()));
    assert_eq!(replays.spend(&proof(1, "2"), now), Err(Used::Full), "everybody's");
    assert_eq!(replays.spend(&proof(0, "3"), BootNanos(now.0 + 90 * SECOND)), Ok(()), "later there is room again");
}
