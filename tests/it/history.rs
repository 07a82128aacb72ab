//! The history checkers find every planted violation, and nothing in a lawful history.

mod revocation;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::history::{self, Action, Op, Served, Sight, Violation};

fn op(session: u32, action: Action, version: u64, began_us: u64, ended_us: u64) -> Op {
    Op { session, action, item: 1, version, began_us, ended_us }
}

fn write(session: u32, version: u64, began: u64, ended: u64) -> Op {
    op(session, Action::Write, version, began, ended)
}

fn read(session: u32, version: u64, began: u64, ended: u64) -> Op {
    op(session, Action::Read, version, began, ended)
}

fn violation(promised_by: usize, broken_by: usize) -> Violation {
    Violation { promised_by, broken_by }
}

#[test]
fn lawful_history_has_no_violation() {
    let history = [
        write(1, 1, 0, 10),
        read(1, 1, 11, 12),
        read(2, 0, 11, 12), // another session may lag
        write(2, 2, 13, 20),
        read(1, 1, 15, 18), // concurrent with the write
        read(1, 2, 30, 31),
    ];

    assert_eq!(history::read_your_writes(&history), []);
    assert_eq!(history::monotonic_reads(&history), []);
    assert_eq!(history::bounded_staleness(&history, Duration::from_micros(10)), []);
}

#[test]
fn read_that_misses_the_sessions_own_write_is_found() {
    let history = [write(1, 5, 0, 10), read(2, 4, 11, 12), read(1, 4, 11, 12), read(1, 5, 13, 14)];

    assert_eq!(history::read_your_writes(&history), [violation(0, 2)]);
}

#[test]
fn read_that_is_concurrent_with_the_write_may_miss_it() {
    let history = [write(1, 5, 0, 10), read(1, 4, 9, 12)];

    assert_eq!(history::read_your_writes(&history), []);
}

#[test]
fn read_that_goes_back_is_found() {
    let history = [read(1, 3, 0, 1), read(2, 2, 2, 3), read(1, 2, 2, 3), read(1, 3, 4, 5)];

    assert_eq!(history::monotonic_reads(&history), [violation(0, 2)]);
}

#[test]
fn read_beyond_the_bound_is_found_and_one_within_it_is_not() {
    let history = [write(1, 1, 0, 1000), read(2, 0, 1400, 1500), read(2, 0, 1501, 1600)];

    assert_eq!(history::bounded_staleness(&history, Duration::from_micros(500)), [violation(0, 2)]);
}

#[test]
fn versions_of_different_items_are_not_compared() {
    let mut other = read(1, 0, 20, 30);
    other.item = 2;

    assert_eq!(history::read_your_writes(&[write(1, 5, 0, 10), other]), []);
}

#[test]
fn second_dispatch_of_a_key_is_found() {
    assert_eq!(history::dispatched_twice(["a", "b", "c"]), []);
    assert_eq!(history::dispatched_twice(["a", "b", "a", "a"]), [("a", 3)]);
}

#[test]
fn missing_and_doubled_audit_records_are_found_and_extra_ones_are_lawful() {
    let acknowledged = ["a", "b", "c"].map(str::to_owned);
    let recorded = [("a", 1), ("c", 2), ("unanswered", 1), ("twice", 2)];
    let recorded: BTreeMap<_, _> = recorded.map(|(id, n)| (id.to_owned(), n)).into();

    let verdict = history::audit(&acknowledged, &recorded);

    assert_eq!(verdict.missing, ["b"]);
    assert_eq!(verdict.doubled, ["c", "twice"]);
    assert_eq!((verdict.acknowledged, verdict.failures()), (3, 3));
}

#[test]
fn key_that_is_accepted_again_after_its_refusal_is_found() {
    let sights = |text: &str| -> Vec<Sight> {
        text.chars()
            .enumerate()
            .map(|(at, c)| Sight { began: Duration::from_millis(at as u64), served: if c == '+' { Served::Yes } else { Served::No } })
            .collect()
    };

    assert_eq!(history::falls_back(&sights("+++---"), Served::No), [0_usize; 0]);
    assert_eq!(history::falls_back(&sights("++-+--"), Served::No), [3]);
    assert_eq!(history::falls_back(&sights("--++-+"), Served::Yes), [4]);
    assert_eq!(history::falls_back(&sights("---"), Served::Yes), [0_usize; 0]);
}
