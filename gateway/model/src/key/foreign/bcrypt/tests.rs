use super::*;
use crate::secret::SecretKey;

/// Published with jBCrypt and with `crypt_blowfish`.
const VECTORS: [(&str, &str); 4] = [
    ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
    ("abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
];

fn peppers() -> Peppers {
    Peppers::new([(1, SecretKey::new([1; 32])), (2, SecretKey::new([2; 32]))]).unwrap()
}

fn id(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

#[test]
fn published_vectors_are_verified_and_nothing_else_is() {
    for (text, hash) in VECTORS {
        let foreign = Foreign::parse(text).unwrap();
        for mark in ["$2a$", "$2b$", "$2y$"] {
            assert!(BcryptHash::parse(&hash.replace("$2a$", mark)).unwrap().verify(&foreign), "{mark} {text}");
        }
        let hash = BcryptHash::parse(hash).unwrap();
        for wrong in [format!("{text}x"), text.to_uppercase() + "x", text[1..].to_owned()] {
            assert!(!hash.verify(&Foreign::parse(&wrong).unwrap()), "{wrong}");
        }
    }
}

/// bcrypt leaves out what is behind 72 bytes, and would take any text with that beginning.
#[test]
fn a_text_that_bcrypt_does_not_read_whole_is_refused() {
    let text = "0123456789".repeat(8);
    let sum = ::bcrypt::bcrypt(4, [7; 16], &text.as_bytes()[..72]);
    let hash = BcryptHash { cost: 4, salt: [7; 16], sum: sum[..23].try_into().unwrap() };

    assert!(hash.verify(&Foreign::parse(&text[..72]).unwrap()));
    for length in [71, 73, 80] {
        let text = Foreign::parse(&text[..length]).unwrap();
        assert!(!hash.verify(&text), "{length}");
        assert_eq!(text.is_short_enough(), length < 73);
    }
}

#[test]
fn what_is_no_hash_or_too_dear_is_told_apart() {
    let good = VECTORS[0].1;
    for (text, expected) in [
        (String::new(), BcryptFault::Malformed),
        (good.replace("$2a$", "$2x$"), BcryptFault::Malformed),
        (good.replace("$2a$", "$2$"), BcryptFault::Malformed),
        (good.replace("$06$", "$6$"), BcryptFault::Malformed),
        (good.replace("$06$", "$+6$"), BcryptFault::Malformed),
        (good.replace("$06$", "$03$"), BcryptFault::Malformed),
        (good.replace("$06$", "$32$"), BcryptFault::Malformed),
        (good.replace("$06$", "$13$"), BcryptFault::TooDear),
        (good.replace("$06$", "$31$"), BcryptFault::TooDear),
        (format!("{good}."), BcryptFault::Malformed),
        (good[..59].to_owned(), BcryptFault::Malformed),
        (format!(" {}", &good[1..]), BcryptFault::Malformed),
        (good.replace("If6b", "If=b"), BcryptFault::Malformed),
        (good.replace("If6b", "Ifü"), BcryptFault::Malformed),
    ] {
        assert_eq!(BcryptHash::parse(&text), Err(expected), "{text}");
    }
    assert!(BcryptHash::parse(&good.replace("$06$", "$12$")).is_ok());
    // Bits that stand for nothing: some systems draw a whole digit.
    let loose = VECTORS[2].1.replace("CCCCC.E5", "CCCCCCE5");
    assert!(BcryptHash::parse(&loose) == BcryptHash::parse(VECTORS[2].1), "the same salt");
    assert!(!format!("{:?}", BcryptHash::parse(good)).contains('4'));
}

#[test]
fn a_sealed_hash_opens_for_its_key_and_pepper_alone() {
    let (peppers, hash) = (peppers(), BcryptHash::parse(VECTORS[0].1).unwrap());
    let (one, other) = (id("AbCdEf123456"), id("AbCdEf123457"));
    let sealed = peppers.seal_bcrypt(1, &one, &hash).unwrap();

    assert_eq!(peppers.open_bcrypt(1, &one, &sealed), Some(hash.clone()));
    assert_eq!(sealed.len(), 76, "the database checks it");
    assert_eq!(peppers.seal_bcrypt(1, &one, &hash), Some(sealed.clone()), "one plaintext for a nonce, whoever seals");
    assert_eq!(peppers.open_bcrypt(1, &other, &sealed), None);
    assert_eq!(peppers.open_bcrypt(2, &one, &sealed), None);
    assert_eq!((peppers.open_bcrypt(3, &one, &sealed), peppers.seal_bcrypt(3, &one, &hash)), (None, None));
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(peppers.open_bcrypt(1, &one, &altered), None, "{at}");
    }
    assert_ne!(peppers.bcrypt_mark(1, &hash), peppers.bcrypt_mark(2, &hash));
    let proved = peppers.proved(2, &one, &Foreign::parse("abc").unwrap().hash()).unwrap();
    assert_eq!(proved.lookup.0, peppers.lookup(&[2], &Foreign::parse("abc").unwrap().hash()).unwrap().0);
}

#[test]
fn a_prefix_has_enough_to_find_a_key_by_and_could_begin_one() {
    for (text, is_prefix) in [
        ("abcdef", true),
        (&"a".repeat(32), true),
        ("abcde", false),
        (&"a".repeat(33), false),
        ("cw_abcdef", false),
        ("with space", false),
        ("schlüssel", false),
    ] {
        assert_eq!(Prefix::parse(text).is_some(), is_prefix, "{text}");
    }
    let prefix = |text| Prefix::parse(text).unwrap();
    assert!(prefix("abcdef").meets(&prefix("abcdefg")) && prefix("abcdefg").meets(&prefix("abcdef")) && prefix("abcdef").meets(&prefix("abcdef")));
    assert!(!prefix("abcdef").meets(&prefix("abcdeg")));
    assert_eq!(prefix("abcdefgh").beginnings().collect::<Vec<_>>(), ["abcdef", "abcdefg", "abcdefgh"]);
}
