use super::{Typed, grouped, qr, typed};

#[test]
fn what_somebody_typed_is_a_code_a_recovery_code_or_nothing() {
    for code in ["123456", " 123 456 ", "123-456"] {
        assert_eq!(typed(code), Some(Typed::Code(*b"123456")), "{code}");
    }
    for recovery in ["abcd-efgh-ijkl-mnop", "ABCDEFGHIJKLMNOP", "abcd efgh ijkl mnop"] {
        assert_eq!(typed(recovery), Some(Typed::RecoveryCode("ABCDEFGHIJKLMNOP".to_owned())), "{recovery}");
    }
    let long = "1".repeat(1_000_000);
    for nothing in ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "abcd-efgh-ijkl-mno1", "abcd-efgh-ijkl", "abcd-efgh-ijkl-mnop-qrst", &long] {
        assert_eq!(typed(nothing), None);
    }
}

#[test]
fn a_secret_is_shown_in_groups_and_as_a_picture_with_a_quiet_zone() {
    assert_eq!(grouped("GEZDGNBVGY"), "GEZD-GNBV-GY");
    let code = qr("otpauth://totp/Shop:ann%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Shop").unwrap();
    // The finder pattern begins at the corner, behind the quiet zone; versions of QR codes have 17 + 4n modules.
    assert!(code.path.expose_secret().starts_with("M4 4h1v1h-1z"), "{}", code.path.expose_secret());
    assert_eq!((code.size - 8 - 17) % 4, 0);
    assert!(
        code.path.expose_secret().bytes().all(|byte| byte.is_ascii_digit() || b"Mhvz- ".contains(&byte)),
        "nothing that a page could take for markup"
    );
}
