use super::{TotpSecret, step_at};
use crate::time::UtcMicros;

/// The secret of RFC 4226 appendix D and RFC 6238 appendix B.
fn secret() -> TotpSecret {
    TotpSecret::new(*b"12345678901234567890")
}

const fn second(n: i64) -> UtcMicros {
    UtcMicros(n * 1_000_000)
}

#[test]
fn codes_are_those_of_the_standards() {
    let hotp = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
    for (step, code) in (0..).zip(hotp) {
        assert_eq!(&secret().code(step), code.as_bytes(), "{step}");
    }
    // RFC 6238 has eight digits; these are the last six of them.
    let totp = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];
    for (at, code) in totp {
        assert_eq!(&secret().code(step_at(second(at)).unwrap()), code.as_bytes(), "{at}");
    }
}

#[test]
fn a_code_counts_for_its_step_and_one_beside_it_and_only_once() {
    let at = |step: u64, seconds: i64, last| secret().step_of(&secret().code(step), second(seconds), last);
    let now = 1_000 * 30 + 15;
    assert_eq!([998, 999, 1_000, 1_001, 1_002].map(|step| at(step, now, None)), [None, Some(999), Some(1_000), Some(1_001), None]);
    assert_eq!([999, 1_000, 1_001].map(|step| at(step, now, Some(1_000))), [None, None, Some(1_001)], "nothing before, and nothing twice");
    assert_eq!((at(1_000, 1_000 * 30, None), at(1_000, 1_002 * 30 - 1, None), at(1_000, 1_002 * 30, None)), (Some(1_000), Some(1_000), None));
    assert_eq!(secret().step_of(b"000000", second(now), None), None);
    assert_eq!(at(0, 0, None), Some(0));
    assert_eq!(step_at(UtcMicros(-1)), None);
}

#[test]
fn the_text_of_a_secret_is_what_apps_read_and_it_is_not_shown_by_accident() {
    assert_eq!(secret().base32().as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert_eq!(format!("{:?}", secret()), "TotpSecret(..)");
}
