//! What waits for the writer, and what it tells.

use super::{
    super::{Facts, WAITING_MAX, Waiting, tell},
    *,
};

#[test]
fn what_is_applied_is_written_once_it_is_published() {
    let waiting = Waiting::default();

    waiting.applied(delta(0, 1));
    waiting.in_force(at(0));
    let before = waiting.take().unwrap();
    assert!(before.records.is_empty() && before.in_force == Some(at(0)));
    waiting.published();
    let after = waiting.take().unwrap();

    assert_eq!(after.records.len(), 1);
    waiting.close();
    assert!(waiting.take().is_none());
}

#[test]
fn what_is_published_is_taken_before_the_end() {
    let waiting = Waiting::default();
    waiting.applied(delta(0, 1));
    waiting.published();
    waiting.close();

    assert_eq!(waiting.take().unwrap().records.len(), 1);
    assert!(waiting.take().is_none());
}

#[test]
fn disk_that_does_not_answer_costs_bounded_memory() {
    let waiting = Waiting::default();
    let empty = |number| Record { changes: Vec::new(), ..delta(number, number + 1) };
    for number in 0..WAITING_MAX as u64 + 5 {
        waiting.applied(empty(number));
        waiting.published();
    }

    assert_eq!(waiting.take().unwrap().records.len(), WAITING_MAX);
    waiting.applied(empty(9));
    waiting.published();
    assert_eq!(waiting.take().unwrap().records.len(), 1, "there is room again");
}

#[test]
fn what_was_told_is_not_taken_back() {
    let facts = Facts::new(model::time::UtcMicros(0), false);
    let later = Revisions { epoch: 2, ..at(1) };
    for (reached, expected) in
        [(None, Revisions::default()), (Some(at(3)), at(3)), (Some(at(2)), at(3)), (None, at(3)), (Some(later), later), (Some(at(9)), later)]
    {
        tell(&facts, reached);
        assert_eq!(*facts.journaled.borrow(), expected, "{reached:?}");
    }
}
