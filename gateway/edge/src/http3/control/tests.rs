use super::{Claimed, check_settings, identifier, is_idle_decoder, is_idle_encoder, settings};
use crate::http3::{code::Code, wire::Fault};

#[test]
fn settings_of_the_gateway_are_its_limit_and_nothing_else() {
    // Stream type, SETTINGS, length, the limit of RFC 9114 section 7.2.4.1, 32 KiB in four bytes.
    assert_eq!(&settings(32 << 10)[..], [0, 4, 5, 6, 0x80, 0, 0x80, 0]);
}

#[test]
fn settings_of_clients_are_checked() {
    let broken = |code| Err(Fault::Connection(code));
    for (payload, expected) in [
        (&[][..], Ok(())),
        (&[6, 0x40, 0x80, 1, 0, 0x33, 1], Ok(())),
        (&[6, 1, 6, 1], broken(Code::Settings)),
        (&[2, 0], broken(Code::Settings)),
        (&[5, 0], broken(Code::Settings)),
        (&[6], broken(Code::Frame)),
        (&[6, 0x40], broken(Code::Frame)),
    ] {
        assert_eq!(check_settings(payload), expected, "{payload:?}");
    }
    assert_eq!(identifier(&[0x40, 1]), Ok(1));
    assert_eq!(identifier(&[1, 1]), broken(Code::Frame).map(|()| 0));
}

#[test]
fn each_stream_about_the_connection_comes_once() {
    let claimed = Claimed::default();

    for kind in [0, 2, 3] {
        assert_eq!(claimed.claim(kind), Ok(()));
        assert_eq!(claimed.claim(kind), Err(Code::StreamCreation));
    }
}

#[test]
fn coders_without_a_table_have_little_to_say() {
    let mut inside = false;
    assert!(is_idle_encoder(0x20, &mut inside) && !is_idle_encoder(0x21, &mut inside) && !is_idle_encoder(0xc0, &mut inside));
    assert!([0x40, 0x7e, 0x7f, 0xff, 0x80, 0x01, 0x44].iter().all(|byte| is_idle_decoder(*byte, &mut inside)), "streams given up");
    assert!(!inside);
    for byte in [0x80, 0x01] {
        assert!(!is_idle_decoder(byte, &mut inside), "an acknowledgment, and an increment");
    }
}
