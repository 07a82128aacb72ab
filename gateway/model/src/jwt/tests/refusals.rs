//! One valid token, one change, one reason. Where the change lies in what is signed, the issuer signed it: what is tried is the
//! rule, not the signature.

mod claims;
mod header;
mod signature;

use std::collections::BTreeSet;

use super::*;

type Case = (String, String, Reason);

/// The reasons that need another key set, or rules of their own: [`super::key_sets`] and [`super::rules`] have them.
const ELSEWHERE: [Reason; 1] = [Reason::KeyMissing];

#[test]
fn each_change_is_refused_for_its_own_reason() {
    assert!(check(&valid(&WORLD.p256, Algorithm::Es256)).is_ok());
    let cases: Vec<Case> = [
        texts(),
        lengths(),
        json_texts(),
        header::members(),
        header::key_ids(),
        header::algorithms(),
        signature::cases(),
        claims::dates(),
        claims::parties(),
        claims::others(),
    ]
    .concat();

    let mut seen: BTreeSet<&str> = ELSEWHERE.iter().map(|reason| reason.code()).collect();
    let mut wrong = Vec::new();
    for (name, text, expected) in &cases {
        seen.insert(expected.code());
        match check(text) {
            Ok(_) => wrong.push(format!("{name}: accepted")),
            Err(rejection) if rejection.reason() != *expected => {
                wrong.push(format!("{name}: {} instead of {}", rejection.reason().code(), expected.code()));
            }
            Err(_) => {}
        }
    }

    println!("refused: n={}, otherwise={}", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    let names: BTreeSet<&String> = cases.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names.len(), cases.len(), "each case has its own name");
    let missing: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

fn case(name: impl Into<String>, text: impl Into<String>, reason: Reason) -> Case {
    (name.into(), text.into(), reason)
}

fn base() -> String {
    valid(&WORLD.p256, Algorithm::Es256)
}

/// The three parts of the valid token.
fn parts() -> [String; 3] {
    let text = base();
    <[String; 3]>::try_from(text.split('.').map(str::to_owned).collect::<Vec<_>>()).unwrap()
}

/// The text without its signature.
fn texts() -> Vec<Case> {
    let [h, p, s] = parts();
    // 64 bytes leave four unused bits in the last digit: the next digit says the same to a lenient decoder.
    let loose = |part: &str| {
        let (rest, last) = part.split_at(part.len() - 1);
        format!("{rest}{}", char::from(last.as_bytes()[0] + 1))
    };
    // A header and a payload whose last digit has unused bits, whatever the claims are.
    let padded = |text: String| if text.len().is_multiple_of(3) { format!("{text} ") } else { text };
    let odd = token(&WORLD.p256, Algorithm::Es256, &padded(header(Algorithm::Es256, "p256").to_string()), &padded(claims().to_string()));
    assert!(check(&odd).is_ok());
    let odd: Vec<&str> = odd.split('.').collect();
    let mut cases = vec![
        case("empty text", "", Reason::PartCount),
        case("one part", h.clone(), Reason::PartCount),
        case("two parts", format!("{h}.{p}"), Reason::PartCount),
        case("dot behind", format!("{h}.{p}.{s}."), Reason::PartCount),
        case("dot before", format!(".{h}.{p}.{s}"), Reason::PartCount),
        case("four parts", format!("{h}.{p}.{s}.{s}"), Reason::PartCount),
        case("six parts", format!("{h}.{p}.{s}.{s}.{s}.{s}"), Reason::PartCount),
        case("five parts", format!("{h}.{p}.{s}.{s}.{s}"), Reason::Encrypted),
        case("five parts, direct key", format!("{h}..{s}.{p}.{s}"), Reason::Encrypted),
        case("no header", format!(".{p}.{s}"), Reason::PartEmpty),
        case("no payload", format!("{h}..{s}"), Reason::PartEmpty),
        case("no signature", format!("{h}.{p}."), Reason::PartEmpty),
        case("dots alone", "..", Reason::PartEmpty),
        case("blank before", format!(" {h}.{p}.{s}"), Reason::Base64Invalid),
        case("blank behind", format!("{h}.{p}.{s} "), Reason::Base64Invalid),
        case("line end behind", format!("{h}.{p}.{s}\n"), Reason::Base64Invalid),
        case("line end inside", format!("{h}.{}\r\n{}.{s}", &p[..8], &p[8..]), Reason::Base64Invalid),
        case("tab inside", format!("{h}.{}\t{}.{s}", &p[..8], &p[8..]), Reason::Base64Invalid),
        case("NUL behind", format!("{h}.{p}.{s}\0"), Reason::Base64Invalid),
        case("scheme before", format!("Bearer {h}.{p}.{s}"), Reason::Base64Invalid),
        case("quoted", format!("\"{h}.{p}.{s}\""), Reason::Base64Invalid),
        case("letter outside ASCII", format!("{h}.é{p}.{s}"), Reason::Base64Invalid),
        case("percent sign", format!("{h}.{p}.%41{s}"), Reason::Base64Invalid),
        case("standard alphabet", format!("{h}.{p}.+/{}", &s[2..]), Reason::Base64Invalid),
        case("length that is none", format!("{h}.{p}.{}", &s[..85]), Reason::Base64Invalid),
        case("loose last digit of the header", format!("{}.{}.{}", loose(odd[0]), odd[1], odd[2]), Reason::Base64Invalid),
        case("loose last digit of the payload", format!("{}.{}.{}", odd[0], loose(odd[1]), odd[2]), Reason::Base64Invalid),
        case("loose last digit of the signature", format!("{h}.{p}.{}", loose(&s)), Reason::Base64Invalid),
    ];
    for (place, text) in [("header", format!("{h}=.{p}.{s}")), ("payload", format!("{h}.{p}=.{s}")), ("signature", format!("{h}.{p}.{s}=="))] {
        cases.push(case(format!("padding behind the {place}"), text, Reason::Base64Invalid));
    }
    cases
}

/// `1` inside of this many lists or objects.
fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}1{}", open.repeat(levels), close.repeat(levels))
}

/// An object with this many members.
fn members(n: usize) -> String {
    format!("{{{}}}", (0..n).map(|at| format!("\"{at}\":0")).collect::<Vec<_>>().join(","))
}

/// The object with one more member in front.
fn with_member(object: &Value, value: &str) -> String {
    object.to_string().replacen('{', &format!("{{\"x\":{value},"), 1)
}

/// The valid token with one more claim.
fn with_x(value: &str) -> String {
    with_payload(&with_member(&claims(), value))
}

/// The valid token with one more member in its header.
fn with_header_x(value: &str) -> String {
    token(&WORLD.p256, Algorithm::Es256, &with_member(&header(Algorithm::Es256, "p256"), value), &claims().to_string())
}

/// Blanks that make the object's text this long.
fn stretched(object: &Value, bytes: usize) -> String {
    let text = object.to_string();
    format!("{text}{}", " ".repeat(bytes - text.len()))
}

/// How many bytes of payload make the token 8 KiB long, or as little shorter as base64 allows.
fn payload_bytes_max() -> usize {
    let [h, _, s] = parts();
    (8_192 - 2 - h.len() - s.len()) * 3 / 4
}

#[test]
fn what_is_just_small_enough_passes() {
    let es256 = header(Algorithm::Es256, "p256");
    for (name, text) in [
        ("a token of 8 KiB", with_payload(&stretched(&claims(), payload_bytes_max()))),
        ("a header of 1 KiB", token(&WORLD.p256, Algorithm::Es256, &stretched(&es256, 1_024), &claims().to_string())),
        ("a header of four levels", with_header_x(&nested("[", "]", 3))),
        ("a payload of eight levels", with_x(&nested("{\"a\":", "}", 7))),
        ("a header with 64 members", with_header_x(&members(61))),
        ("a payload with 256 members", with_x(&members(245))),
    ] {
        assert!(check(&text).is_ok(), "{name}: {:?}", check(&text));
    }
}

fn lengths() -> Vec<Case> {
    let es256 = header(Algorithm::Es256, "p256");
    vec![
        case("9,000 bytes", "a".repeat(9_000), Reason::TokenTooLong),
        case("9,000 dots", ".".repeat(9_000), Reason::TokenTooLong),
        case("a token of more than 8 KiB", with_payload(&stretched(&claims(), payload_bytes_max() + 1)), Reason::TokenTooLong),
        case(
            "a header of 1,025 bytes",
            token(&WORLD.p256, Algorithm::Es256, &stretched(&es256, 1_025), &claims().to_string()),
            Reason::HeaderTooLong,
        ),
        case("a header of five levels", with_header_x(&nested("[", "]", 4)), Reason::NestingTooDeep),
        case("a header of 200 levels", with_header_x(&nested("[", "]", 200)), Reason::NestingTooDeep),
        case("a payload of nine levels", with_x(&nested("{\"a\":", "}", 8)), Reason::NestingTooDeep),
        case("a payload of 2,000 levels", with_x(&nested("[", "]", 2_000)), Reason::NestingTooDeep),
        case("a payload of 2,000 open levels", with_x(&"[".repeat(2_000)), Reason::NestingTooDeep),
        case("a header with 65 members", with_header_x(&members(62)), Reason::MembersTooMany),
        case("a payload with 257 members", with_x(&members(246)), Reason::MembersTooMany),
    ]
}

fn json_texts() -> Vec<Case> {
    let good = claims().to_string();
    let bytes = |payload: &[u8]| {
        let [h, _, s] = parts();
        format!("{h}.{}.{s}", BASE64URL_NOPAD.encode(payload))
    };
    let inserted = |member: &str| with_payload(&good.replacen('{', &format!("{{{member},"), 1));
    let header = |text: &str| token(&WORLD.p256, Algorithm::Es256, text, &good);
    let mut cases = vec![
        case("a header that is a list", header(r#"["ES256"]"#), Reason::ObjectExpected),
        case("a header that is a text", header(r#""ES256""#), Reason::ObjectExpected),
        case("a payload that is a list", with_payload(&format!("[{good}]")), Reason::ObjectExpected),
        case("a payload that is a number", with_payload("1"), Reason::ObjectExpected),
        case("a payload that is null", with_payload("null"), Reason::ObjectExpected),
        case("a payload that is a token", with_payload(&format!("\"{}\"", base())), Reason::ObjectExpected),
        case("a payload of blanks", with_payload("   "), Reason::JsonInvalid),
        case("a byte that is not UTF-8", bytes(b"{\"sub\":\"\xFF\"}"), Reason::EncodingInvalid),
        case("an overlong slash", bytes(b"{\"sub\":\"\xC0\xAF\"}"), Reason::EncodingInvalid),
        case("a surrogate in UTF-8", bytes(b"{\"sub\":\"\xED\xA0\x80\"}"), Reason::EncodingInvalid),
        case("UTF-16", bytes(b"\xFF\xFE{\0}\0"), Reason::EncodingInvalid),
        case("a byte order mark", bytes(b"\xEF\xBB\xBF{}"), Reason::JsonInvalid),
        case("two objects", with_payload(&format!("{good}{good}")), Reason::JsonInvalid),
        case("text behind", with_payload(&format!("{good}x")), Reason::JsonInvalid),
        case("a comma behind", with_payload(&good.replace('}', ",}")), Reason::JsonInvalid),
        case("a comment", with_payload(&format!("/**/{good}")), Reason::JsonInvalid),
        case("an open object", with_payload(good.trim_end_matches('}')), Reason::JsonInvalid),
        case("quotation marks of another kind", with_payload(&good.replace('"', "'")), Reason::JsonInvalid),
        case("a header cut off", header(r#"{"alg":"ES256","kid":"p256""#), Reason::JsonInvalid),
        case("a header that is a URL", header("alg=ES256&kid=p256"), Reason::JsonInvalid),
    ];
    let values = [
        ("a leading surrogate alone", r#""\ud800""#),
        ("a trailing surrogate alone", r#""\udc00""#),
        ("surrogates in the wrong order", r#""\udc00\ud800""#),
        ("an escape that is none", r#""\x41""#),
        ("a control character in a text", "\"a\nb\""),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("a number with a zero before", "01"),
        ("a number in hexadecimal", "0x1"),
        ("a number past every double", "1e999"),
    ];
    cases.extend(values.map(|(name, value)| case(name, inserted(&format!("\"x\":{value}")), Reason::JsonInvalid)));
    let duplicates = [
        ("exp twice", r#""exp":9999999999"#),
        ("exp twice, once escaped", r#""\u0065xp":9999999999"#),
        ("sub twice, the same", r#""sub":"alice""#),
        ("a member twice inside", r#""x":{"a":1,"a":1}"#),
        ("a member twice deep inside, once escaped", r#""x":[[{"y":{"a":1,"\u0061":2}}]]"#),
        ("an empty name twice", r#""x":{"":1,"":2}"#),
    ];
    cases.extend(duplicates.map(|(name, member)| case(name, inserted(member), Reason::MemberDuplicate)));
    let headers = [
        ("alg twice", r#"{"alg":"ES256","alg":"none","kid":"p256"}"#),
        ("alg twice, once escaped", r#"{"alg":"ES256","\u0061lg":"HS256","kid":"p256"}"#),
        ("kid twice", r#"{"alg":"ES256","kid":"p256","kid":"rsa"}"#),
        ("a member twice in a key of the header", r#"{"alg":"ES256","kid":"p256","jwk":{"kty":"EC","kty":"oct"}}"#),
    ];
    cases.extend(headers.map(|(name, text)| case(name, header(text), Reason::MemberDuplicate)));
    cases
}
