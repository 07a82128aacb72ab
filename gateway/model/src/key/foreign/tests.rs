use super::*;
use crate::{
    key::{Layers, Presented},
    secret::SecretKey,
};

fn peppers(versions: &[u16]) -> Peppers {
    Peppers::new(versions.iter().map(|version| (*version, SecretKey::new([u8::try_from(*version).unwrap(); 32])))).unwrap()
}

fn hash(text: &str) -> ForeignHash {
    Foreign::parse(text).unwrap().hash()
}

#[test]
fn each_text_has_one_reading() {
    let long = "x".repeat(257);
    let own = format!("cw_live_AbCdEf123456_{}", "0".repeat(49));
    for (text, is_foreign) in [
        ("kong-1234567890abcdef", true),
        ("x", true),
        (&long[..256], true),
        ("eyJhbGciOiJub25lIn0", true),
        ("a.b.c", true),
        ("", false),
        (&long, false),
        (&own, false),
        ("cw_anything", false),
        ("eyJhbGciOiJub25lIn0.e30.c2ln", false),
        ("ey..", false),
        ("with space", false),
        ("tab\tbed", false),
        ("schlüssel", false),
        ("nul\0", false),
    ] {
        assert_eq!(Foreign::parse(text).is_some(), is_foreign, "{text}");
    }
    assert!(!format!("{:?} {:?}", Foreign::parse("hidden").unwrap(), hash("hidden")).contains("hidden"));
}

/// The hash is the one that `sha256sum` prints, FIPS 180-4.
#[test]
fn a_hash_is_read_in_either_case_and_nothing_else_is() {
    let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    assert_eq!(ForeignHash::parse(digits), Some(hash("abc")));
    assert_eq!(ForeignHash::parse(&digits.to_ascii_uppercase()), Some(hash("abc")));
    for bad in ["", "ba78", &digits[1..], &format!("{digits}00"), &format!(" {digits}"), &digits.replace('b', "g")] {
        assert_eq!(ForeignHash::parse(bad), None, "{bad}");
    }
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert!(ForeignHash::parse(nothing).unwrap().is_of_nothing());
    assert!(!hash("abc").is_of_nothing());
}

#[test]
fn what_finds_a_key_needs_every_pepper_of_its_layers_in_their_order() {
    let (both, first) = (peppers(&[1, 2]), peppers(&[1]));
    let found = |peppers: &Peppers, layers: &[u16], text| peppers.lookup(layers, &hash(text)).map(|digest| digest.0);

    let plain = first.lookup(&[1], &hash("abc")).unwrap();
    assert_eq!(first.nest_lookup(2, &plain).map(|digest| digest.0), None, "a pepper that is not loaded");
    assert_eq!(both.nest_lookup(2, &plain).map(|digest| digest.0), found(&both, &[1, 2], "abc"));
    let all =
        [found(&both, &[1], "abc"), found(&both, &[2], "abc"), found(&both, &[1, 2], "abc"), found(&both, &[2, 1], "abc"), found(&both, &[1], "abd")];
    for (index, one) in all.iter().enumerate() {
        assert!(one.is_some() && !all[..index].contains(one), "{index}");
    }
    assert_eq!(found(&first, &[2], "abc"), None);
    assert_eq!(found(&both, &[], "abc"), None);
    assert_ne!(found(&both, &[1], "abc"), Some(hash("abc").0), "what is stored is not the hash");
}

#[test]
fn an_imported_key_is_held_against_a_digest_with_its_id_bound_in() {
    let peppers = peppers(&[1, 2]);
    let id = KeyId::parse("AbCdEf123456").unwrap();
    let other = KeyId::parse("AbCdEf123457").unwrap();
    let stored = Stored { digest: peppers.digest_foreign(1, &id, &hash("abc")).unwrap(), peppers: Layers::One(1) };
    let nested = Stored { digest: peppers.nest(2, &id, &stored.digest).unwrap(), peppers: [1, 2].into_iter().collect() };

    for stored in [&stored, &nested] {
        assert_eq!(peppers.which_foreign(Some(&id), &hash("abc"), Some(stored), None), Some(Which::Present));
        assert_eq!(peppers.which_foreign(Some(&id), &hash("abd"), Some(stored), None), None);
        assert_eq!(peppers.which_foreign(Some(&other), &hash("abc"), Some(stored), None), None);
    }
    assert_eq!(peppers.which_foreign(Some(&id), &hash("abc"), None, None), None);
    assert_eq!(peppers.which_foreign(None, &hash("abc"), None, None), None);
    let issued = crate::key::issue(crate::key::Purpose::Live, &peppers, &[7; 32], &[7; 32]).unwrap();
    let present = Stored { digest: issued.digest, peppers: Layers::One(2) };
    assert_eq!(peppers.which_foreign(Some(&id), &hash("abc"), Some(&present), Some(&stored)), Some(Which::Previous), "after a roll");
    assert_eq!(peppers.which_foreign(Some(&id), &hash("abc"), Some(&present), None), None, "after its overlap");
}

/// Whoever holds the hash, as the other system does, must not be able to make a key of ours from it.
#[test]
fn no_text_of_ours_is_taken_for_an_imported_key() {
    let peppers = peppers(&[1]);
    let issued = crate::key::issue(crate::key::Purpose::Live, &peppers, &[7; 32], &[7; 32]).unwrap();
    let text = issued.text.expose_secret();
    let presented = Presented::parse(text).unwrap();
    let of_text = ForeignHash(fingerprint_plain(text.as_bytes()));
    let of_secret = ForeignHash(fingerprint_plain(&text.as_bytes()[21..64]));

    for hash in [of_text, of_secret] {
        let stored = Stored { digest: peppers.digest_foreign(1, &issued.id, &hash).unwrap(), peppers: Layers::One(1) };
        assert!(!peppers.verify(&presented, Some(&stored)));
    }
    let own = Stored { digest: issued.digest, peppers: Layers::One(1) };
    assert_eq!(peppers.which_foreign(Some(&issued.id), &of_text, Some(&own), None), None);
}
