use proptest::prelude::*;

use super::*;

fn quota(text: &str, burst: Option<u32>) -> Quota {
    Quota::new(Rate::parse(text).unwrap(), burst.and_then(NonZeroU32::new))
}

#[test]
fn a_rate_without_burst_admits_its_count_at_once_and_then_refuses() {
    let (quota, cell, now) = (quota("5/m", None), Cell::new(), BootNanos(1_000_000_000_000));

    let admitted = (0..7).filter(|_| matches!(cell.charge(&quota, now), Verdict::Admitted { .. })).count();

    assert_eq!(admitted, 5);
    assert_eq!(cell.charge(&quota, now), Verdict::Refused { retry_after_nanos: 12_000_000_000 });
    assert!(matches!(cell.charge(&quota, BootNanos(now.0 + 12_000_000_000)), Verdict::Admitted { remaining: 0, .. }));
}

#[test]
fn a_refused_request_charges_nothing() {
    let (quota, cell, now) = (quota("1/s", None), Cell::new(), BootNanos(5_000_000_000));

    cell.charge(&quota, now);
    for _ in 0..1000 {
        assert_eq!(cell.charge(&quota, now), Verdict::Refused { retry_after_nanos: 1_000_000_000 });
    }
}

#[test]
fn rates_that_mean_nothing_are_refused() {
    for text in ["", "5", "0/s", "-1/s", "5/", "5/x", "5/0s", "5/32d", "99999999999/s", "5/s "] {
        assert!(Rate::parse(text).is_none(), "{text}");
    }
    assert_eq!(Rate::parse("100/10s").unwrap().period_nanos, 10_000_000_000);
}

#[test]
fn the_window_is_burst_over_rate() {
    assert_eq!(quota("20/s", Some(40)).window_seconds(), 2);
    assert_eq!(quota("5/m", None).window_seconds(), 60);
}

proptest! {
    /// Under any schedule a cell admits at most burst + elapsed / interval requests.
    #[test]
    fn a_cell_never_admits_above_its_bound(steps in proptest::collection::vec(0_u64..400_000_000, 1..400), burst in 1_u32..20) {
        let quota = quota("10/s", Some(burst));
        let cell = Cell::new();
        let start = 1_000_000_000_000_u64;
        let mut now = start;
        let mut admitted = 0_u64;
        for step in steps {
            now += step;
            if let Verdict::Admitted { .. } = cell.charge(&quota, BootNanos(now)) { admitted += 1; }
            prop_assert!(admitted <= u64::from(burst) + (now - start) / quota.interval_nanos);
        }
    }
}
