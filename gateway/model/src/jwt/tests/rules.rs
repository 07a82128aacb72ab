//! What an operator may say about an issuer, and what other rules make of the same token.

use super::*;
use crate::jwt::{algorithm::AlgorithmsFault, issuer::RulesFault};

fn fault(edit: impl FnOnce(&mut Draft)) -> Option<RulesFault> {
    let mut draft = draft();
    edit(&mut draft);
    Rules::compile(draft).err()
}

#[test]
fn rules_that_promise_nothing_are_refused() {
    assert_eq!(fault(|_| ()), None);
    for leeway in [0, 4, 31, u8::MAX] {
        assert_eq!(fault(|draft| draft.leeway_seconds = leeway), Some(RulesFault::Leeway));
    }
    for leeway in [5, 30] {
        assert_eq!(fault(|draft| draft.leeway_seconds = leeway), None);
    }
    assert_eq!(fault(|draft| draft.issuer = String::new()), Some(RulesFault::Issuer));
    assert_eq!(fault(|draft| draft.issuer = "a\nb".to_owned()), Some(RulesFault::Issuer));
    assert_eq!(fault(|draft| draft.audiences.clear()), Some(RulesFault::Audiences));
    assert_eq!(fault(|draft| draft.audiences = vec![String::new()]), Some(RulesFault::Audiences));
    assert_eq!(fault(|draft| draft.audiences = vec!["a".to_owned(); 17]), Some(RulesFault::Audiences));
    assert_eq!(fault(|draft| draft.lifetime_seconds_max = Some(0)), Some(RulesFault::Lifetime));
    assert_eq!(fault(|draft| draft.ty = Some(String::new())), Some(RulesFault::Type));
    assert_eq!(fault(|draft| draft.claims_required = vec!["a".to_owned(); 17]), Some(RulesFault::Claims));
    assert_eq!(fault(|draft| draft.scope_claim = Some(String::new())), Some(RulesFault::Claims));
    assert_eq!(fault(|draft| draft.client_claim = Some("\0".to_owned())), Some(RulesFault::Claims));
}

#[test]
fn algorithms_are_secret_or_public_and_never_none() {
    assert_eq!(Algorithms::new(&[]), Err(AlgorithmsFault::Empty));
    for public in PUBLIC {
        assert_eq!(Algorithms::new(&[public, Algorithm::Hs256]), Err(AlgorithmsFault::Mixed));
        assert!(!Algorithms::new(&[public]).unwrap().is_secret());
    }
    assert!(Algorithms::new(&SECRET).unwrap().is_secret());
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::parse(algorithm.name()), Some(*algorithm));
        assert_eq!(Algorithm::parse(&algorithm.name().to_ascii_lowercase()), None);
    }
}

#[test]
fn an_algorithm_that_the_issuer_does_not_use_is_refused_even_where_the_key_could() {
    let rules = Rules::compile(Draft { algorithms: Algorithms::new(&[Algorithm::Ps256]).unwrap(), ..draft() }).unwrap();
    let text = valid(&WORLD.rsa, Algorithm::Rs256);

    assert!(check(&text).is_ok());
    assert_eq!(check_by(&rules, &WORLD.keys, &text).unwrap_err().reason(), Reason::AlgorithmRefused);
}

#[test]
fn a_type_that_is_asked_for_must_be_there() {
    let rules = Rules::compile(Draft { ty: Some("at+jwt".to_owned()), ..draft() }).unwrap();
    let reason = |text: &str| check_by(&rules, &WORLD.keys, text).err().map(|rejection| rejection.reason());
    let with = |ty: &str| with_header(|header| drop(header.insert("typ".to_owned(), json!(ty))));

    assert_eq!(reason(&with("at+jwt")), None);
    assert_eq!(reason(&with("Application/At+JWT")), None);
    assert_eq!(reason(&with("JWT")), Some(Reason::TypeWrong));
    assert_eq!(reason(&valid(&WORLD.p256, Algorithm::Es256)), Some(Reason::TypeWrong));
}

#[test]
fn without_a_longest_lifetime_a_token_may_live_long_and_need_not_say_since_when() {
    let rules = Rules::compile(Draft { lifetime_seconds_max: None, ..draft() }).unwrap();
    let text = with_claims(|claims| {
        drop(claims.remove("iat"));
        claims.insert("exp".to_owned(), json!(253_402_300_799_i64));
    });

    let verified = check_by(&rules, &WORLD.keys, &text).unwrap();

    assert_eq!((verified.expires_at.to_string().as_str(), verified.issued_at), ("9999-12-31T23:59:59Z", None));
}

#[test]
fn an_unknown_key_is_told_only_for_tokens_of_this_issuer() {
    let text = token(
        &WORLD.attacker,
        Algorithm::Es256,
        r#"{"alg":"ES256","kid":"new"}"#,
        &edited(claims(), |claims| drop(claims.insert("iss".to_owned(), json!("https://else.example")))),
    );

    assert!(check(&text) == Err(Rejection::Refused(Reason::IssuerWrong)), "so that nobody else's tokens make the keys be fetched");
}
