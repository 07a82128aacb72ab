use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

#[test]
fn slow_answer_counts_at_once_and_fast_ones_win_back_trust_slowly() {
    let load = Load::default();
    load.observe(MS, BootNanos(0));
    load.observe(500 * MS, BootNanos(SECOND));

    assert!(load.cost(0, BootNanos(SECOND)) >= 499e6, "the peak holds");
    load.observe(MS, BootNanos(2 * SECOND));
    let soon = load.cost(0, BootNanos(2 * SECOND));
    assert!((400e6..500e6).contains(&soon), "one fast answer forgives little: {soon}");
    for second in 3..60 {
        load.observe(MS, BootNanos(second * SECOND));
    }
    let late = load.cost(0, BootNanos(59 * SECOND));
    assert!(late < 5e6, "a minute of fast answers forgives: {late}");
}

#[test]
fn requests_in_flight_multiply_the_cost() {
    let load = Load::default();
    load.observe(10 * MS, BootNanos(SECOND));

    assert!((load.cost(3, BootNanos(SECOND)) / load.cost(0, BootNanos(SECOND)) - 4.0).abs() < 0.01);
}

#[test]
fn unknown_endpoint_is_tried_by_one_request_and_then_waited_for() {
    let (unknown, known) = (Load::default(), Load::default());
    known.observe(10 * MS, BootNanos(SECOND));
    let now = BootNanos(SECOND);

    assert!(unknown.cost(0, now) < known.cost(0, now));
    assert!(unknown.cost(1, now) > known.cost(5, now));
}
