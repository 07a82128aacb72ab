use super::{Receiver, Secret, UrlFault, url};
use crate::{key::Peppers, secret::SecretKey};

fn peppers(version: u16) -> Peppers {
    Peppers::new([(version, SecretKey::new([9; 32]))]).expect("there is one")
}

/// The example of the specification (Standard Webhooks 1.0, "Verifying signatures").
#[test]
fn signature_is_that_of_the_specifications_example() {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("it is one");

    let signature = secret.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);

    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn address_is_https_and_nothing_else() {
    let cases = [
        ("https://example.com/hooks?x=1", None),
        ("https://[2001:db8::1]:8443/", None),
        ("http://example.com/", Some(UrlFault::Scheme)),
        ("file:///etc/passwd", Some(UrlFault::Scheme)),
        ("https://ann@example.com/", Some(UrlFault::Extra)),
        ("https://ann:x@example.com/", Some(UrlFault::Extra)),
        ("https://example.com/#x", Some(UrlFault::Extra)),
        ("example.com", Some(UrlFault::Form)),
        ("https://", Some(UrlFault::Form)),
        ("", Some(UrlFault::Form)),
    ];
    for (text, fault) in cases {
        assert_eq!(url(text).err(), fault, "{text}");
    }
    assert_eq!(url(&format!("https://example.com/{}", "x".repeat(1_000))).err(), Some(UrlFault::Form));
}

#[test]
fn secret_has_enough_bytes_and_is_never_printed() {
    let secret = Secret::new(&[7; 32]);

    assert!(Secret::parse(secret.expose_secret()).is_some());
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!"] {
        assert!(Secret::parse(text).is_none(), "{text}");
    }
}

#[test]
fn sealed_receiver_opens_for_its_own_team_under_its_own_pepper_alone() {
    let receiver = Receiver { url: url("https://example.com/hooks").expect("an address"), secret: Secret::new(&[7; 32]) };
    let (sealed, version) = receiver.seal(&peppers(3), "con_1", [1; 12]).expect("it is sealed");

    let opened = Receiver::open(&peppers(3), "con_1", version, &sealed).expect("it opens");

    assert_eq!((opened.url.as_str(), version), ("https://example.com/hooks", 3));
    assert_eq!(opened.secret.expose_secret(), receiver.secret.expose_secret());
    assert!(Receiver::open(&peppers(3), "con_2", version, &sealed).is_none(), "another team's");
    assert!(Receiver::open(&peppers(4), "con_1", version, &sealed).is_none(), "the pepper is gone");
    let mut altered = sealed.clone();
    *altered.last_mut().expect("bytes") ^= 1;
    assert!(Receiver::open(&peppers(3), "con_1", version, &altered).is_none(), "altered");
    let held = sealed.windows(11).any(|part| part == b"example.com");
    assert!(!held, "the address stands in clear");
}
