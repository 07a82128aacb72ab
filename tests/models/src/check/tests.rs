use super::{Label, Model, Steps, run};

/// Two counters up to `top`, of which one must not pass `limit`.
struct Counters {
    top: u8,
    limit: u8,
}

impl Model for Counters {
    type State = (u8, u8);

    fn start(&self) -> (u8, u8) {
        (0, 0)
    }

    fn steps(&self, &(a, b): &(u8, u8), seen: &mut Steps<(u8, u8)>) {
        if a > self.limit {
            seen.broken("limit", Label("look", ""));
        }
        if (a, b) == (self.top, self.top) {
            seen.reached("both at the top");
        }
        if a < self.top {
            seen.to(Label("count", "a"), (a + 1, b));
        }
        if b < self.top {
            seen.to(Label("count", "b"), (a, b + 1));
        }
    }
}

#[test]
fn every_state_is_looked_at_once_and_the_depth_is_the_farthest() {
    let outcome = run(&Counters { top: 9, limit: 9 }, &["both at the top"]);

    assert!(outcome.holds() && outcome.fault().is_none(), "{outcome:?}");
    assert_eq!((outcome.states, outcome.depth), (100, 18));
}

#[test]
fn broken_invariant_is_told_with_a_shortest_way_to_it() {
    let outcome = run(&Counters { top: 9, limit: 2 }, &["both at the top"]);

    let violation = outcome.violated.clone().unwrap();
    assert_eq!(violation.steps, ["count (a)", "count (a)", "count (a)", "look"]);
    assert_eq!((violation.invariant, violation.state.as_str()), ("limit", "(3, 0)"));
    assert!(!outcome.holds() && outcome.fault() == Some("limit") && violation.to_string().contains("4. look"));
}

#[test]
fn what_should_be_possible_and_is_not_is_a_fault() {
    let outcome = run(&Counters { top: 3, limit: 3 }, &["both at the top", "the moon"]);

    assert!(!outcome.holds() && outcome.violated.is_none());
    assert_eq!(outcome.fault(), Some("the moon"));
}
