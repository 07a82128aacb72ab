use model::time::UtcMicros;
use serde_json::{Value, json};
use store::notification::Kind;

use super::{Letter, letter};

const AT: UtcMicros = UtcMicros(1_798_532_100_000_000);

fn data(name: &str) -> Value {
    json!({
        "key": { "id": "7sEgbYf9hQ2x", "name": name, "last_four": "aB3d", "environment": "live", "expires_at": "2027-01-01T00:00:00Z" },
        "application": { "id": "app_1", "name": "shop" },
        "team": { "id": "con_1", "name": "acme-x2" },
        "by": { "kind": "account", "id": "acc_1", "name": "Ann" },
    })
}

fn written(kind: Kind, data: &Value) -> Letter {
    letter(kind, data, AT, Some(&"https://dev.example.com".parse().expect("a URL")))
}

#[test]
fn letter_says_what_when_who_and_where() {
    let letter = written(Kind::KeyRevoked, &data("laptop"));

    assert_eq!(letter.subject, "Key laptop was revoked");
    for part in [
        "refused from now on",
        "When: 2026-12-29 ",
        "Who: Ann\n",
        "Key: laptop, ends in …aB3d (7sEgbYf9hQ2x)\n",
        "Team: acme-x2\n",
        "Page: https://dev.example.com/portal/keys/7sEgbYf9hQ2x\n",
    ] {
        assert!(letter.text.contains(part), "no {part:?} in\n{}", letter.text);
    }
}

/// What people chose stays on one line, short, and is no link.
#[test]
fn names_bring_no_lines_no_links_and_no_length() {
    let name = format!("x\r\nBcc: eve@example.com\r\n\r\nhttps://evil.example \u{202e}{}", "y".repeat(500));

    let letter = written(Kind::KeyIssued, &data(&name));

    assert!(!letter.subject.contains(['\r', '\n', '\u{202e}']), "{:?}", letter.subject);
    assert!(letter.subject.chars().count() < 100, "{:?}", letter.subject);
    assert!(!letter.text.contains("\nBcc") && !letter.text.contains("https://evil"), "{}", letter.text);
}

#[test]
fn a_refusal_says_why_on_one_line() {
    let mut data = data("laptop");
    data["reason"] = json!(format!("the plan is for tests\r\nBcc: eve@example.com https://evil.example {}", "y".repeat(500)));

    let letter = written(Kind::KeyRefused, &data);

    assert!(letter.subject == "Key laptop was refused" && letter.text.contains("The reason: the plan is for tests  Bcc"), "{letter:?}");
    assert!(!letter.text.contains("\nBcc") && !letter.text.contains("https://evil") && letter.text.len() < 700, "{letter:?}");
}

#[test]
fn every_kind_has_a_letter_with_a_subject() {
    for kind in Kind::ALL {
        for data in [data("laptop"), json!({})] {
            let letter = written(kind, &data);
            assert!(letter.subject.len() > 5 && letter.text.contains("When: "), "{kind:?}: {letter:?}");
        }
    }
}

#[test]
fn invitation_names_whom_to_ask_and_holds_no_link_that_lets_in() {
    let data =
        json!({ "team": { "name": "acme-x2" }, "role": "developer", "by": { "kind": "account", "name": "Buy now" }, "ask": "ann@example.com" });

    let letter = written(Kind::InvitationMade, &data);

    assert!(letter.text.contains("Who: ann@example.com\n") && letter.text.contains("ask them for it"), "{}", letter.text);
    assert!(!letter.text.contains('#') && !letter.text.contains("Buy now"), "{}", letter.text);
}
