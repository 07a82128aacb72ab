use super::{ALL, MUTANTS, run};

/// Looks at all of a model, whose size in states and steps is known, and at each of its mutants.
fn check(model: &str, size: (usize, usize)) {
    let entry = ALL.into_iter().find(|entry| entry.name == model).unwrap();

    let outcome = run(model, None).unwrap();
    let why = outcome.violated.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(outcome.holds(), "{model}: {why} not reached: {:?}", outcome.unreached);
    assert_eq!((outcome.states, outcome.depth), size, "{model} has another size: say so in docs/models.md");

    let mut missed = Vec::new();
    for mutant in entry.mutants {
        let outcome = run(model, Some(mutant.name)).unwrap();
        if outcome.fault() != Some(mutant.breaks) {
            missed.push((mutant.name, mutant.breaks, outcome.fault()));
        }
    }
    assert_eq!(missed, [], "{model} finds something else, or nothing");
}

#[test]
fn revisions_are_prefixes_that_only_go_forward_and_a_nack_takes_no_partial_effect() {
    check("revisions", (970_170, 18));
}

#[test]
fn no_deny_route_accepts_after_the_bound_and_receipts_are_true() {
    check("revocation", (3_182_224, 38));
}

#[test]
fn reads_reflect_what_their_tokens_name() {
    check("positions", (1_194_850, 23));
}

#[test]
fn bounded_reads_are_no_staler_than_their_bound() {
    check("staleness", (1_637_052, 36));
}

#[test]
fn names_are_unique_and_every_mutant_breaks_something_that_its_model_checks() {
    let mut names: Vec<&str> = ALL.iter().map(|entry| entry.name).chain(MUTANTS).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(run("nothing", None).is_none() && run("positions", Some("nothing")).is_none());
    for entry in ALL {
        for mutant in entry.mutants {
            assert!(entry.invariants.contains(&mutant.breaks) || entry.possible.contains(&mutant.breaks), "{}", mutant.name);
        }
    }
}
