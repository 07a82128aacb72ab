use serde_json::{Value, json};

use super::*;

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const BCRYPT: &str = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";
const NOW: UtcMicros = UtcMicros(1_780_000_000_000_000);

/// An entry with these members.
fn entry(more: &Value) -> Object<Entry> {
    let mut entry = json!({ "source_id": "k-1", "hash": HASH, "expires_at": "2027-06-01T00:00:00Z" });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    serde_json::from_value(entry).unwrap()
}

fn read_one(more: &Value) -> Reading {
    read(&[entry(more)], &["read".to_owned(), "write".to_owned()], NOW).pop().unwrap()
}

#[test]
fn what_cannot_be_taken_over_is_refused_with_the_reason() {
    let long = "x".repeat(129);
    let far = vec!["read"; 65];
    for (more, expected) in [
        (json!({ "algorithm": "bcrypt" }), Loss::HashMalformed),
        (json!({ "algorithm": "bcrypt", "hash": BCRYPT, "prefix": null }), Loss::PrefixMalformed),
        (json!({ "algorithm": "bcrypt", "hash": BCRYPT, "prefix": "short" }), Loss::PrefixMalformed),
        (json!({ "algorithm": "bcrypt", "hash": BCRYPT, "prefix": "cw_live_" }), Loss::PrefixMalformed),
        (json!({ "algorithm": "bcrypt", "hash": BCRYPT.replace("$06$", "$13$"), "prefix": "prefix" }), Loss::CostTooHigh),
        (json!({ "algorithm": "bcrypt", "hash": BCRYPT.replace("$2a$", "$2x$"), "prefix": "prefix" }), Loss::HashMalformed),
        (json!({ "algorithm": "sha256", "hash": BCRYPT, "prefix": "prefix" }), Loss::HashMalformed),
        (json!({ "algorithm": "scrypt", "hash": BCRYPT, "prefix": "prefix" }), Loss::AlgorithmUnknown),
        (json!({ "algorithm": "" }), Loss::AlgorithmUnknown),
        (json!({ "algorithm": "md5", "hash": "x" }), Loss::AlgorithmUnknown),
        (json!({ "hash": "" }), Loss::HashMalformed),
        (json!({ "hash": &HASH[1..] }), Loss::HashMalformed),
        (json!({ "hash": format!("{HASH} ") }), Loss::HashMalformed),
        (json!({ "hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" }), Loss::SecretEmpty),
        (json!({ "source_id": "" }), Loss::SourceMalformed),
        (json!({ "source_id": long }), Loss::SourceMalformed),
        (json!({ "source_id": "a\0b" }), Loss::SourceMalformed),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), Loss::Expired),
        (json!({ "expires_at": "tomorrow" }), Loss::ExpiryMalformed),
        (json!({ "expires_at": "2027-06-01" }), Loss::ExpiryMalformed),
        (json!({ "scopes": ["two words"] }), Loss::ScopesMalformed),
        (json!({ "scopes": ["read", "read"] }), Loss::ScopesMalformed),
        (json!({ "scopes": far }), Loss::ScopesMalformed),
    ] {
        assert_eq!(read_one(&more).key.err(), Some(expected), "{more}");
    }
}

#[test]
fn what_is_taken_over_says_what_it_lost() {
    for (more, losses) in [
        (json!({}), vec![]),
        (json!({ "algorithm": "SHA-256", "hash": HASH.to_ascii_uppercase(), "rate_limit": " " }), vec![]),
        (json!({ "algorithm": "BCrypt", "hash": BCRYPT, "prefix": "prefix" }), vec![]),
        (json!({ "prefix": "x" }), vec![]),
        (json!({ "expires_at": null }), vec![Loss::ExpirySet]),
        (json!({ "expires_at": "" }), vec![Loss::ExpirySet]),
        (json!({ "expires_at": "2999-01-01T00:00:00Z" }), vec![Loss::ExpiryShortened]),
        (json!({ "scopes": ["read", "admin"], "rate_limit": "5/s" }), vec![Loss::ScopesUnknown, Loss::RateLimit]),
        (json!({ "name": "x".repeat(81) }), vec![Loss::NameReplaced]),
        (json!({ "name": "two\nlines" }), vec![Loss::NameReplaced]),
    ] {
        let reading = read_one(&more);
        assert!(reading.key.is_ok(), "{more}: {:?}", reading.key);
        assert_eq!(reading.losses, losses, "{more}");
    }
}

#[test]
fn nothing_gives_a_key_more_than_it_had() {
    let key = |more: Value| read_one(&more).key.unwrap();

    assert_eq!(key(json!({ "scopes": ["admin"] })).scopes, Some(Vec::new()), "not the application's in their place");
    assert_eq!(key(json!({ "scopes": [] })).scopes, Some(Vec::new()));
    assert_eq!(key(json!({ "scopes": null })).scopes, None);
    assert_eq!(key(json!({ "disabled": true })).state, KeyState::Disabled);
    assert_eq!(key(json!({})).state, KeyState::Active);
    assert_eq!(key(json!({ "expires_at": null })).expires_at, NOW.plus_seconds(365 * 86_400));
    assert_eq!(key(json!({ "expires_at": "2999-01-01T00:00:00Z" })).expires_at, NOW.plus_seconds(3_650 * 86_400));
    assert_eq!((key(json!({})).name.as_str(), key(json!({ "name": "ci" })).name.as_str()), ("k-1", "ci"));
}

#[test]
fn of_two_with_one_name_the_first_counts() {
    let twice = [entry(&json!({})), entry(&json!({ "hash": HASH.replace('b', "c") })), entry(&json!({ "source_id": "k-2" }))];
    let read = read(&twice, &[], NOW);

    assert_eq!(read.iter().map(|reading| reading.key.as_ref().err().copied()).collect::<Vec<_>>(), [None, Some(Loss::Duplicate), None]);
}

#[test]
fn every_loss_has_words_and_a_place_in_the_list() {
    let mut codes: Vec<String> = Loss::ALL.iter().map(|loss| serde_json::to_string(loss).unwrap()).collect();
    codes.sort_unstable();
    codes.dedup();

    assert_eq!(codes.len(), Loss::ALL.len());
    assert!(Loss::ALL.iter().all(|loss| !loss.message().is_empty()));
}
