use std::time::Duration;

use super::claim::Verdict;
use super::figures::{Durations, millis, share};
use super::{CLAIMS, choose};

fn slugs(names: &[&str], mutant: Option<&str>) -> Result<Vec<&'static str>, String> {
    let (names, except): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| !name.starts_with('!'));
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let except: Vec<String> = except.iter().map(|name| name.trim_start_matches('!').to_owned()).collect();
    let chosen = choose(&names, &except, mutant).map_err(|error| error.to_string())?;
    Ok(chosen.iter().map(|claim| claim.slug).collect())
}

#[test]
fn all_claims_run_when_none_is_named() {
    assert_eq!(slugs(&[], None).unwrap().len(), CLAIMS.len());
    assert_eq!(slugs(&["validation", "audit-crash"], None).unwrap(), ["validation", "audit-crash"]);
    let others = slugs(&["!validation"], None).unwrap();
    assert!(others.len() == CLAIMS.len() - 1 && !others.contains(&"validation"));
}

#[test]
fn unknown_claim_or_mutant_is_an_error_and_never_an_empty_success() {
    assert!(slugs(&["nothing"], None).unwrap_err().contains("no claim nothing"));
    assert!(slugs(&["!nothing"], None).unwrap_err().contains("no claim nothing"));
    assert!(slugs(&[], Some("nothing")).unwrap_err().contains("no claim has a mutant"));
    assert!(slugs(&["validation"], Some("read-primary")).unwrap_err().contains("has no mutant"));
}

#[test]
fn mutant_alone_chooses_the_claims_that_must_catch_it() {
    assert_eq!(slugs(&[], Some("read-primary")).unwrap(), ["key-propagation", "revocation-propagation", "revocation", "cache-purge"]);
}

#[test]
fn run_that_broke_off_fails_but_has_caught_nothing() {
    let mut verdict = Verdict::default();

    verdict.broke_off("no database");
    assert!(verdict.failures() == 1 && !verdict.is_caught());

    verdict.trial(false, String::new);
    assert!(verdict.is_caught());
}

#[test]
fn percentiles_are_nearest_ranks_and_shares_never_round_up_to_all() {
    let mut durations = Durations::default();
    assert_eq!(durations.percentile(50), "none");
    for n in 1..=10 {
        durations.add(Duration::from_millis(n));
    }

    assert_eq!([50, 99, 100].map(|percent| durations.percentile(percent)), ["5.0", "10.0", "10.0"]);
    assert_eq!(millis(Duration::from_micros(1_249)), "1.2");
    assert_eq!([share(1, 1), share(99_999, 100_000), share(0, 0)], ["1.0000", "0.9999", "0.0000"]);
}
