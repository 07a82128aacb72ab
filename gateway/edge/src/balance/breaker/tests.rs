use model::structure::resilience::SuccessRule;

use super::*;

const RULE: BreakerRule =
    BreakerRule { failures: 3, success: SuccessRule { percent: 0, requests: 1, window_nanos: 1 }, open_nanos: 1_000, trials: 2 };

fn breaker() -> Arc<Breaker> {
    Arc::default()
}

fn pass(breaker: &Arc<Breaker>, now: u64) -> Pass {
    breaker.admit(&RULE, BootNanos(now)).expect("it should pass")
}

fn open(breaker: &Arc<Breaker>, now: u64) {
    for _ in 0..RULE.failures {
        let pass = pass(breaker, now);
        breaker.bad(pass, false, &RULE, BootNanos(now));
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_good_answer_between_does_not() {
    let breaker = breaker();
    for answer in "--+--+--".chars() {
        let pass = pass(&breaker, 1);
        if answer == '+' {
            breaker.good(pass, &RULE)
        } else {
            breaker.bad(pass, false, &RULE, BootNanos(1))
        };
    }
    assert_eq!(breaker.phase(&RULE, BootNanos(1)), Phase::Closed);

    let third = pass(&breaker, 1);
    assert!(breaker.bad(third, false, &RULE, BootNanos(1)), "the third in a row");
    assert_eq!(breaker.admit(&RULE, BootNanos(401)).unwrap_err(), 600, "until it is worth asking again");
}

#[test]
fn bad_share_opens_it_at_once() {
    let breaker = breaker();
    let first = pass(&breaker, 1);

    assert!(breaker.bad(first, true, &RULE, BootNanos(1)));
    assert_eq!(breaker.phase(&RULE, BootNanos(2)), Phase::Open);
}

#[test]
fn after_its_time_a_few_trials_close_it() {
    let breaker = breaker();
    open(&breaker, 0);

    let (first, second) = (pass(&breaker, 1_000), pass(&breaker, 1_000));
    assert!(breaker.refuses(&RULE, BootNanos(1_000)) && breaker.admit(&RULE, BootNanos(1_000)).is_err(), "two trials, no more");
    assert!(!breaker.good(first, &RULE));
    assert!(breaker.good(second, &RULE), "the second closes it");
    assert!(matches!(pass(&breaker, 1_001), Pass::Free));
}

#[test]
fn trial_that_fails_opens_it_again() {
    let breaker = breaker();
    open(&breaker, 0);
    let trial = pass(&breaker, 1_000);

    assert!(breaker.bad(trial, false, &RULE, BootNanos(1_000)));
    assert!(breaker.admit(&RULE, BootNanos(1_999)).is_err());
    assert!(matches!(pass(&breaker, 2_000), Pass::Trial(_)));
}

#[test]
fn trial_that_nobody_finished_makes_room_for_another() {
    let breaker = breaker();
    open(&breaker, 0);

    for _ in 0..10 {
        drop(pass(&breaker, 1_000));
    }
    let (first, second) = (pass(&breaker, 1_000), pass(&breaker, 1_000));
    assert!(!breaker.good(first, &RULE) && breaker.good(second, &RULE));
}

#[test]
fn late_failures_do_not_keep_it_open_longer() {
    let breaker = breaker();
    let late = pass(&breaker, 0);
    open(&breaker, 0);

    breaker.bad(late, true, &RULE, BootNanos(900));

    assert!(matches!(pass(&breaker, 1_000), Pass::Trial(_)));
}
