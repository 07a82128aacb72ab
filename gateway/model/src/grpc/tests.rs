use std::time::Duration;

use super::{Code, is_media_type, message, parse_timeout, timeout};
use crate::problem::{Blame, ProblemKind, Retry};

/// What clients of gRPC do with a refusal hangs on its code: one that would be refused again must not look like one that
/// passes, and none may look like success. docs/grpc.md shows the same table.
#[test]
fn every_problem_has_a_code_that_says_whether_trying_again_helps() {
    let text = include_str!("../../../../docs/grpc.md");
    let rows: Vec<(&str, &str)> = text.lines().filter_map(row).collect();
    for kind in ProblemKind::ALL.iter().copied() {
        let code = Code::from(kind);

        let shown = rows.iter().filter(|(_, codes)| codes.split(", ").any(|shown| shown == kind.code())).map(|(name, _)| *name);
        assert_eq!(shown.collect::<Vec<_>>(), [format!("{} {}", code.number(), code.name())], "{} in docs/grpc.md", kind.code());
        let is_transient = matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Internal);
        if kind.retry() == Retry::AfterDelay {
            assert!(is_transient, "{} may succeed later, and {} says that it will not", kind.code(), code.name());
        }
        if kind.retry() == Retry::Never {
            assert!(code != Code::Unavailable, "{} would be refused again", kind.code());
        }
        if kind.blame() != Blame::Client {
            assert!(!matches!(code, Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied), "{}", kind.code());
        }
        assert!(!matches!(code, Code::Ok | Code::Unknown | Code::Cancelled), "{}", kind.code());
    }
    let told = rows.iter().flat_map(|(_, codes)| codes.split(", "));
    let unknown: Vec<&str> = told.filter(|code| !ProblemKind::ALL.iter().any(|kind| kind.code() == *code)).collect();
    assert!(unknown.is_empty(), "docs/grpc.md names problems that there are not: {unknown:?}");
}

/// A row of the table: the code with its number, and the problems.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let (code, problems) = (cells.next()?, cells.next()?);
    code.starts_with(|c: char| c.is_ascii_digit()).then_some((code, problems))
}

#[test]
fn codes_are_read_as_clients_read_them() {
    for code in Code::ALL {
        assert_eq!(Code::parse(code.as_str().as_bytes()), *code);
    }
    for text in ["", "17", "-1", "x", "1 ", "256"] {
        assert_eq!(Code::parse(text.as_bytes()), Code::Unknown, "{text:?}");
    }
}

#[test]
fn timeouts_have_at_most_eight_digits_and_one_unit() {
    let millis = Duration::from_millis;
    for (text, expected) in [
        ("1H", Some(Duration::from_hours(1))),
        ("2M", Some(Duration::from_mins(2))),
        ("30S", Some(Duration::from_secs(30))),
        ("250m", Some(millis(250))),
        ("1u", Some(Duration::from_micros(1))),
        ("1n", Some(Duration::from_nanos(1))),
        ("0S", Some(Duration::ZERO)),
        ("99999999H", Some(Duration::from_hours(99_999_999))),
        ("00000001S", Some(millis(1_000))),
        ("123456789m", None),
        ("000000001S", None),
        ("", None),
        ("S", None),
        ("10", None),
        ("10s", None),
        ("10h", None),
        ("-1S", None),
        ("+1S", None),
        ("1.5S", None),
        ("1 S", None),
        (" 1S", None),
        ("1SS", None),
        ("٣S", None),
    ] {
        assert_eq!(parse_timeout(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn timeout_that_is_written_is_read_back_and_never_longer() {
    assert_eq!(timeout(Duration::ZERO), "1n");
    assert_eq!(timeout(Duration::MAX), "99999999H");
    let mut left = Duration::from_nanos(7);
    while left < Duration::from_hours(200_000_000) {
        let back = parse_timeout(timeout(left).as_bytes()).unwrap();
        assert!(back <= left, "{left:?} became {back:?}");
        assert!(left.is_zero() || back.as_secs_f64() > left.as_secs_f64() * 0.999_98, "{left:?} became {back:?}");
        left = left * 3 + Duration::from_nanos(1);
    }
}

#[test]
fn messages_keep_to_printable_ascii() {
    for (text, expected) in [("a b~", "a b~"), ("100%", "100%25"), ("ä", "%C3%A4"), ("a\r\nb", "a%0D%0Ab"), ("\u{7f}", "%7F")] {
        assert_eq!(message(text), expected);
    }
}

#[test]
fn media_type_is_that_of_grpc_and_no_longer_name() {
    for text in
        ["application/grpc", "application/grpc+proto", "application/grpc+json", "Application/GRPC", "application/grpc;a=b", "application/grpc ; a"]
    {
        assert!(is_media_type(text.as_bytes()), "{text}");
    }
    for text in ["", "application/grp", "application/grpc-web", "application/grpc-web+proto", "application/grpcx", "application/json"] {
        assert!(!is_media_type(text.as_bytes()), "{text}");
    }
}
