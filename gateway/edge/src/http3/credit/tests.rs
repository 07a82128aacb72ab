use std::sync::Arc;

use super::{Credit, FRAMES_MAX, FRAMES_PER_SECOND, RESETS_MAX, RESETS_PER_SECOND};
use crate::watch::Tick;

fn count(mut charge: impl FnMut() -> bool) -> u32 {
    let mut n = 0;
    while charge() {
        n += 1;
        assert!(n < 1_000_000, "there is no end");
    }
    n
}

#[test]
fn frames_and_resets_have_an_end_and_come_back_with_time() {
    let tick = Arc::new(Tick::default());
    tick.set(100);
    let credit = Credit::new(&tick);

    assert_eq!(count(|| credit.frame()), FRAMES_MAX);
    assert_eq!(count(|| credit.reset()), RESETS_MAX, "one does not pay for the other");
    tick.set(102);
    assert_eq!(count(|| credit.frame()), 2 * FRAMES_PER_SECOND);
    assert_eq!(count(|| credit.reset()), 2 * RESETS_PER_SECOND);
    tick.set(1_000_000);
    assert_eq!(count(|| credit.frame()), FRAMES_MAX, "never more than at first");
}

#[test]
fn answers_that_are_taken_pay_for_requests_that_are_given_up() {
    let tick = Arc::new(Tick::default());
    let credit = Credit::new(&tick);

    for _ in 0..10 * RESETS_MAX {
        assert!(credit.reset());
        credit.answered();
    }
    assert_eq!(count(|| credit.reset()), RESETS_MAX);
}
