//! What waits for the writer.

use super::{
    super::{WAITING_MAX, Waiting},
    *,
};

#[test]
fn what_is_applied_is_written_once_it_is_published() {
    let waiting = Waiting::default();

    waiting.applied(delta(0, 1));
    waiting.in_force(at(0));
    let before = waiting.take().unwrap();
    waiting.published();
    let after = waiting.take().unwrap();

    assert!(before.records.is_empty() && before.in_force == Some(at(0)));
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
