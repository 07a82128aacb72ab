use std::time::Duration;

use model::{resilience::CheckDoc, structure::resilience::SuccessRule};

use super::*;

const SECOND: u64 = 1_000_000_000;
const RULE: Outliers = Outliers {
    gateway_failures: 3,
    server_errors: 5,
    success: SuccessRule { percent: 0, requests: 1, window_nanos: 1 },
    rest_nanos: SECOND,
    rest_nanos_max: 4 * SECOND,
};

fn endpoint() -> Arc<Endpoint> {
    HealthTable::default().of("shop", "10.0.0.1:80", BootNanos(0))
}

/// Feeds outcomes (`+` good, `5` server error, `-` gateway failure) and tells after which one the endpoint rests.
fn check(outcomes: &str, expected: Option<usize>) {
    let (endpoint, tally) = (endpoint(), Tally::default());
    let found = outcomes.chars().position(|outcome| {
        match outcome {
            '+' => endpoint.good(&RULE, BootNanos(1)),
            '5' => endpoint.failed(Outcome::of_status(500), false, &RULE, &tally, BootNanos(1)),
            _ => endpoint.failed(Outcome::of_status(503), false, &RULE, &tally, BootNanos(1)),
        }
        !endpoint.is_usable(BootNanos(1))
    });

    assert_eq!(found, expected, "{outcomes}");
}

#[test]
fn endpoint_rests_after_failures_in_a_row() {
    check("---", Some(2));
    check("--+--+--+--", None);
    check("55555", Some(4));
    check("5555+5555", None);
    check("--5--", Some(4));
    check("--5-+-", None);
}

#[test]
fn rest_doubles_up_to_its_most_and_one_failure_ends_the_probation() {
    let (endpoint, tally) = (endpoint(), Tally::default());
    let mut now = SECOND;
    for _ in 0..2 {
        endpoint.failed(Outcome::GatewayFailure, false, &RULE, &tally, BootNanos(now));
    }

    for seconds in [1, 2, 4, 4] {
        endpoint.failed(Outcome::GatewayFailure, false, &RULE, &tally, BootNanos(now));
        assert!(!endpoint.is_usable(BootNanos(now + seconds * SECOND - 1)), "{seconds} s");
        now += seconds * SECOND;
        assert!(endpoint.is_usable(BootNanos(now)), "{seconds} s");
    }
    endpoint.good(&RULE, BootNanos(now + RULE.rest_nanos_max));
    for _ in 0..3 {
        endpoint.failed(Outcome::GatewayFailure, false, &RULE, &tally, BootNanos(now));
    }
    assert!(endpoint.is_usable(BootNanos(now + SECOND)), "a good time makes the next rest a short one");
    assert_eq!(tally.read(Event::RestGatewayFailures), 5);
}

#[test]
fn failures_of_requests_that_were_under_way_do_not_lengthen_a_rest() {
    let (endpoint, tally) = (endpoint(), Tally::default());
    for _ in 0..20 {
        endpoint.failed(Outcome::GatewayFailure, false, &RULE, &tally, BootNanos(0));
    }

    assert!(endpoint.is_usable(BootNanos(SECOND)));
    assert_eq!(tally.read(Event::RestGatewayFailures), 1);
}

#[test]
fn checks_take_an_endpoint_out_and_bring_it_back() {
    let rule = HealthCheck {
        by: CheckDoc::Tcp,
        service: "".into(),
        path: "/".into(),
        host: None,
        statuses: Box::default(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy: 2,
        unhealthy: 3,
    };
    let (endpoint, tally) = (endpoint(), Tally::default());
    let states: String = "--+---+-++-+++"
        .chars()
        .map(|answer| {
            endpoint.checked(answer == '+', &rule, &tally, BootNanos(1));
            if endpoint.is_usable(BootNanos(1)) { 'u' } else { 'x' }
        })
        .collect();

    assert_eq!(states, "uuuuuxxxxuuuuu");
    for _ in 0..3 {
        endpoint.checked(false, &rule, &tally, BootNanos(1));
    }
    endpoint.unchecked();
    assert!(endpoint.is_usable(BootNanos(1)), "without a check nobody could bring it back");
}

#[test]
fn slow_start_begins_with_a_tenth_and_ends_with_all() {
    let endpoint = HealthTable::default().of("shop", "10.0.0.1:80", BootNanos(100 * SECOND));

    for (at, percent) in [(100, "10"), (105, "50"), (110, "100"), (200, "100")] {
        assert_eq!(format!("{:.0}", 100.0 * endpoint.share(10 * SECOND, BootNanos(at * SECOND))), percent, "{at} s");
    }
    assert!((endpoint.share(0, BootNanos(100 * SECOND)) - 1.0).abs() < f64::EPSILON);
}
