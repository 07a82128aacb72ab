use super::*;

const RULE: SuccessRule = SuccessRule { percent: 80, requests: 10, window_nanos: 1_000 };

/// Feeds answers (`+` good, `-` bad) a nanosecond apart and tells after which one the share was bad.
fn check(rule: SuccessRule, answers: &str, expected: Option<usize>) {
    let window = Window::default();
    let found = answers.chars().enumerate().position(|(at, answer)| window.is_bad_after(answer == '+', &rule, BootNanos(at as u64)));

    assert_eq!(found, expected, "{answers}");
}

#[test]
fn share_below_the_rule_is_told_once_there_are_enough_answers() {
    check(RULE, "---------", None);
    check(RULE, "----------", Some(9));
    check(RULE, "++++++++--", None);
    check(RULE, "++++++++---", Some(10));
    check(SuccessRule { percent: 0, ..RULE }, "--------------------", None);
}

#[test]
fn answers_of_an_earlier_window_do_not_count() {
    let window = Window::default();
    for at in 0..9 {
        assert!(!window.is_bad_after(false, &RULE, BootNanos(at)));
    }

    assert!(!window.is_bad_after(false, &RULE, BootNanos(2_000)), "the tenth comes in the next window");
}
