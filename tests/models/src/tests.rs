use super::{ALL, run};

fn check(model: &str) {
    let entry = ALL.into_iter().find(|entry| entry.name == model).unwrap();

    let outcome = run(model, None).unwrap();
    if let Some(violation) = &outcome.violated {
        eprintln!("{violation}");
    }
    assert!(outcome.holds(), "{model}: {outcome:?}");
    eprintln!("{model}: states={} depth={}", outcome.states, outcome.depth);

    for mutant in entry.mutants {
        let outcome = run(model, Some(mutant.name)).unwrap();
        let steps = outcome.violated.as_ref().map_or(0, |violation| violation.steps.len());
        eprintln!("{model}/{}: {:?} states={} steps={steps}", mutant.name, outcome.fault(), outcome.states);
        assert_eq!(outcome.fault(), Some(mutant.breaks), "{model} does not find {}", mutant.name);
    }
}

#[test]
fn revisions_are_prefixes_that_only_go_forward_and_a_nack_takes_no_partial_effect() {
    check("revisions");
}

#[test]
fn no_deny_route_accepts_after_the_bound_and_receipts_are_true() {
    check("revocation");
}

#[test]
fn reads_reflect_what_their_tokens_name() {
    check("positions");
}

#[test]
fn bounded_reads_are_no_staler_than_their_bound() {
    check("staleness");
}

#[test]
fn names_are_unique_and_every_mutant_breaks_something_that_its_model_checks() {
    let mut names: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
    assert!(run("nothing", None).is_none() && run("positions", Some("nothing")).is_none());
    for entry in ALL {
        let mut mutants: Vec<&str> = entry.mutants.iter().map(|mutant| mutant.name).collect();
        mutants.sort_unstable();
        mutants.dedup();
        assert_eq!(mutants.len(), entry.mutants.len(), "{}", entry.name);
        for mutant in entry.mutants {
            assert!(entry.invariants.contains(&mutant.breaks) || entry.possible.contains(&mutant.breaks), "{}", mutant.name);
        }
    }
}
