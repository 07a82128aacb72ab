use proptest::prelude::*;

use super::*;
use crate::secret::SecretKey;

fn peppers() -> Peppers {
    Peppers::new([(1, SecretKey::new([7; 32])), (2, SecretKey::new([8; 32]))]).unwrap()
}

fn issued(random: u8) -> Issued {
    issue(Purpose::Live, &peppers(), &[random; 32], &[random; 32]).unwrap()
}

fn stored(key: &Issued, peppers: &[u16]) -> Stored {
    Stored { digest: key.digest, peppers: peppers.iter().copied().collect() }
}

#[test]
fn the_checksum_is_crc32_ieee() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn an_issued_key_has_the_documented_form_and_verifies() {
    let key = issued(3);
    let text = key.text.expose_secret();

    assert_eq!(text.len(), 8 + 12 + 1 + 43 + 6);
    let presented = Presented::parse(text).unwrap();
    assert_eq!((presented.purpose, presented.id), (Purpose::Live, key.id));
    assert!(peppers().verify(&presented, Some(&stored(&key, &[2]))));
    assert!(text.ends_with(key.last_four()));
}

#[test]
fn another_keys_digest_an_unknown_id_and_an_unknown_pepper_are_refused() {
    let (key, other) = (issued(3), issued(4));
    let presented = Presented::parse(key.text.expose_secret()).unwrap();

    assert!(!peppers().verify(&presented, Some(&stored(&other, &[2]))));
    assert!(!peppers().verify(&presented, None));
    assert!(!peppers().verify(&presented, Some(&stored(&key, &[9]))));
    assert!(!peppers().verify(&presented, Some(&stored(&key, &[1]))), "the pepper version is part of the digest");
    assert!(!peppers().verify(&presented, Some(&stored(&key, &[]))), "no pepper fits nothing");
}

#[test]
fn a_pepper_rotation_puts_a_layer_around_the_digest_and_needs_no_secret() {
    let key = issued(3);
    let presented = Presented::parse(key.text.expose_secret()).unwrap();
    let nested = Stored { digest: peppers().nest(1, &key.id, &key.digest).unwrap(), peppers: [2, 1].into_iter().collect() };

    assert!(peppers().verify(&presented, Some(&nested)));
    for wrong in [&[2][..], &[1], &[1, 2], &[2, 2], &[2, 1, 1], &[2, 9]] {
        let mislabeled = Stored { peppers: wrong.iter().copied().collect(), ..nested.clone() };
        assert!(!peppers().verify(&presented, Some(&mislabeled)), "{wrong:?}");
    }
}

#[test]
fn another_secret_of_the_same_id_is_another_key() {
    let first = issued(3);
    let second = reissue(Purpose::Live, first.id, &peppers(), &[4; 32]).unwrap();
    let presented = Presented::parse(second.text.expose_secret()).unwrap();

    assert_eq!(presented.id, first.id);
    assert!(!peppers().verify(&presented, Some(&stored(&first, &[2]))));
    assert!(peppers().verify(&presented, Some(&stored(&second, &[2]))));
}

#[test]
fn every_single_changed_character_is_dropped_without_a_look_up() {
    let text = issued(9).text.expose_secret().to_owned();
    for index in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[index] = if bytes[index] == b'x' { b'y' } else { b'x' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(Presented::parse(&changed).is_none(), "{index}");
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let key = issued(5);
    let secret = &key.text.expose_secret()[21..64];

    for shown in [format!("{key:?}"), format!("{:?}", Presented::parse(key.text.expose_secret()).unwrap()), format!("{:?}", peppers())] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in ".{0,120}") {
        let _unused = Presented::parse(&text).is_some();
    }

    #[test]
    fn base62_round_trips(bytes in any::<[u8; 32]>()) {
        let text = base62::encode_256(&bytes);
        prop_assert_eq!(text.len(), base62::DIGITS_256);
        prop_assert_eq!(base62::decode_256(&text), Some(bytes));
    }
}

#[test]
fn the_secret_input_for_passwords_is_that_of_one_pepper_and_of_nothing_else() {
    let (first, second) = (peppers().password_key(1).unwrap(), peppers().password_key(2).unwrap());

    assert_ne!(first, second);
    assert_eq!(peppers().password_key(1), Some(first));
    assert_eq!(peppers().password_key(9), None);
    let other = Peppers::new([(1, SecretKey::new([9; 32]))]).unwrap();
    assert_ne!(other.password_key(1), Some(first), "it is the pepper that it hangs on, not its number");
}
