use super::*;

const SECOND: u64 = 1_000_000_000;

/// Retries that a budget grants at once after `requests` requests.
fn granted(rule: RetryBudget, requests: u32) -> u32 {
    let (budget, now) = (Budget::default(), BootNanos(100 * SECOND));
    for _ in 0..requests {
        budget.request(now);
    }
    (0..10_000).map(|_| u32::from(budget.take(&rule, now))).sum()
}

#[test]
fn retries_are_a_share_of_the_requests_and_a_few_more() {
    for (percent, per_second, requests, expected) in
        [(20, 0, 1_000, 200), (20, 0, 4, 0), (20, 3, 0, 30), (0, 0, 1_000, 0), (0, 1, 1_000, 10), (100, 0, 50, 50)]
    {
        assert_eq!(granted(RetryBudget { percent, per_second }, requests), expected, "{percent}% and {per_second}/s of {requests}");
    }
}

#[test]
fn requests_older_than_ten_seconds_earn_nothing() {
    let (budget, rule) = (Budget::default(), RetryBudget { percent: 20, per_second: 0 });
    for _ in 0..100 {
        budget.request(BootNanos(100 * SECOND));
    }

    assert!(budget.take(&rule, BootNanos(109 * SECOND)));
    assert!(!budget.take(&rule, BootNanos(110 * SECOND)));
}
