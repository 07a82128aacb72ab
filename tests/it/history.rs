//! The history checkers find every planted violation, and nothing in a lawful history.

mod revocation;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::history::{self, Action, Op, Served, Sight, Violation};
use harness::seed::Random;

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

/// The three promises as they are written down, read by read over all operations.
fn by_definition(history: &[Op], promise: impl Fn(&Op, &Op) -> bool) -> Vec<usize> {
    let is_broken = |read: &Op| history.iter().any(|op| promise(read, op) && op.version > read.version);
    (0..history.len()).filter(|at| history[*at].action == Action::Read && is_broken(&history[*at])).collect()
}

/// A history of some sessions and items in which reads show any version, mostly a lawful one.
fn random_history(random: &mut Random, ops: u64, sessions: u64, items: u64) -> Vec<Op> {
    let small = |n: u64| u32::try_from(n).unwrap();
    let mut history = Vec::new();
    for at in 0..ops {
        let action = if random.below(4) == 0 { Action::Write } else { Action::Read };
        let began_us = at * 3 + random.below(20);
        let (session, item) = (small(random.below(sessions)), small(random.below(items)));
        history.push(Op { session, action, item, version: random.below(3), began_us, ended_us: began_us + random.below(12) });
    }
    history
}

#[test]
fn checkers_find_what_the_definitions_find_in_any_history() {
    let mut found = 0;
    for seed in 0..300 {
        let history = random_history(&mut Random::new(seed), 60, 3, 4);
        let same = |read: &Op, op: &Op| op.item == read.item && op.session == read.session && op.ended_us <= read.began_us;
        let cases = [
            (history::read_your_writes(&history), by_definition(&history, |read, op| op.action == Action::Write && same(read, op))),
            (history::monotonic_reads(&history), by_definition(&history, |read, op| op.action == Action::Read && same(read, op))),
            (
                history::bounded_staleness(&history, Duration::from_micros(25)),
                by_definition(&history, |read, op| op.action == Action::Write && op.item == read.item && op.ended_us + 25 < read.began_us),
            ),
        ];
        for (checked, expected) in cases {
            assert_eq!(checked.iter().map(|violation| violation.broken_by).collect::<Vec<_>>(), expected, "seed {seed}");
            assert!(checked.iter().all(|of| history[of.promised_by].version > history[of.broken_by].version), "seed {seed}");
            found += expected.len();
        }
    }
    assert!(found > 1_000, "the histories break hardly any promise: {found}");
}

/// One item that everybody reads is the worst case: pairs of a million operations would take hours.
#[test]
fn million_operations_on_few_items_are_judged_at_once() {
    let history = random_history(&mut Random::new(1), 1_000_000, 2, 2);
    let began = tokio::time::Instant::now();

    let found = history::read_your_writes(&history).len() + history::monotonic_reads(&history).len();
    let late = history::bounded_staleness(&history, Duration::from_millis(1)).len();

    assert!(found > 100_000 && late > 100_000, "{found} {late}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
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
