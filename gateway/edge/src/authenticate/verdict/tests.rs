#![expect(clippy::print_stdout, reason = "a figure is of use only where it is seen")]

use model::{compile::compile, document::Document, structure::Structure};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;

const NOW: UtcMicros = UtcMicros(1_000_000_000);

fn structure() -> Structure {
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "issuers": [{ "name": "id", "issuer": "https://id.example", "jwks": "https://id.example/keys", "audiences": ["api"], "application": "web" }],
    });
    compile(&serde_json::from_value::<Document>(document).unwrap()).unwrap()
}

fn rule(structure: &Structure) -> TokenRule {
    let issuer = Arc::clone(&structure.issuers[0]);
    TokenRule { rules: Arc::clone(&issuer.rules), issuer }
}

fn keys() -> Arc<KeySet> {
    Arc::new(KeySet::from_static(&[]).unwrap())
}

fn verdict(rule: &TokenRule, keys: &Arc<KeySet>, subject: &str) -> Verdict {
    let token = Token {
        issuer: Arc::clone(&rule.issuer),
        rules: Arc::clone(&rule.rules),
        subject: subject.into(),
        id: None,
        issued_at: None,
        subject_id: Uuid::nil(),
        client: None,
        scopes: [].into(),
        until: NOW.plus_seconds(60),
        confirmation: None,
    };
    let application = ApplicationId::new(Uuid::nil());
    Verdict { token: Arc::new(token), application, not_before: None, hints: [].into(), keys: Arc::downgrade(keys) }
}

#[test]
fn a_text_is_known_under_the_rules_that_it_was_held_against_alone() {
    let (verdicts, keys) = (Verdicts::default(), keys());
    let (here, reloaded) = (rule(&structure()), rule(&structure()));
    let text = Fingerprint::of("eyJ.e30.sig");
    assert!(verdicts.find(text, std::slice::from_ref(&here)).is_none());

    verdicts.keep(text, verdict(&here, &keys, "alice"));

    let both = [reloaded.clone(), here.clone()];
    let (found, known) = verdicts.find(text, &both).unwrap();
    assert!(Arc::ptr_eq(&found.rules, &here.rules) && &*known.token.subject == "alice");
    assert!(verdicts.find(text, &[reloaded]).is_none(), "the same document anew, for all that is known");
    assert!(verdicts.find(Fingerprint::of("eyJ.e30.sih"), &both).is_none());
    assert!(verdicts.find(text, &[]).is_none());
    assert!(!format!("{verdicts:?}").contains("alice"));
}

#[test]
fn what_is_known_holds_with_the_same_keys_and_within_its_dates_alone() {
    let (rule, first) = (rule(&structure()), keys());
    let known = verdict(&rule, &first, "alice");
    assert!(known.holds(&first, NOW));
    assert!(!known.holds(&keys(), NOW), "another set, and be it the same keys");
    assert!(known.holds(&first, NOW.plus_seconds(59)) && !known.holds(&first, NOW.plus_seconds(60)), "until its end");

    let begins = |not_before: i64, issued_at: i64| {
        let mut known = verdict(&rule, &first, "alice");
        known.not_before = Some(NOW.plus_seconds(not_before));
        known.token = Arc::new(Token { issued_at: Some(NOW.plus_seconds(issued_at)), ..Token::clone(&known.token) });
        known.holds(&first, NOW)
    };
    assert!(begins(10, 10), "the leeway is the issuer's");
    assert!(!begins(11, 0) && !begins(0, 11), "a clock that was set back");

    drop(first);
    let later: Vec<_> = (0..64).map(|_| keys()).collect();
    assert!(!later.iter().any(|keys| known.holds(keys, NOW)), "a set in the place of one that is gone");
}

#[test]
fn there_is_an_end_to_what_is_remembered() {
    let (verdicts, rule, keys) = (Verdicts::default(), rule(&structure()), keys());
    for number in 0..40_000 {
        let subject = format!("{number:0>255}");
        verdicts.keep(Fingerprint::of(&subject), verdict(&rule, &keys, &subject));
    }
    assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&verdicts.bytes()), "{}", verdicts.bytes());
}

/// ADR 0019 has the figures: what is saved is some 28 to 66 us.
#[test]
fn finding_a_known_token_takes_a_small_part_of_verifying_it() {
    let (verdicts, rule, keys) = (Verdicts::default(), rule(&structure()), keys());
    let text = "a".repeat(500);
    for number in 0..10_000 {
        verdicts.keep(Fingerprint::of(&number.to_string()), verdict(&rule, &keys, "alice"));
    }
    verdicts.keep(Fingerprint::of(&text), verdict(&rule, &keys, "alice"));
    let mut least = u64::MAX;
    for _ in 0..50 {
        let began = Clock.boot();
        for _ in 0..100 {
            let (_, known) = verdicts.find(Fingerprint::of(&text), std::slice::from_ref(&rule)).unwrap();
            assert!(known.holds(&keys, NOW));
        }
        least = least.min(Clock.boot().nanos_since(began) / 100);
    }
    println!("a token of 500 bytes is found in {least} ns");
    assert!(least < 20_000, "{least} ns");
}
