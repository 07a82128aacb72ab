use proptest::prelude::*;

use super::{LATENCY_SLOTS, client, latency_slot, percentile};

#[test]
fn a_client_is_its_programs_name_without_version_and_comment() {
    let named = |agent: &str| client(serde_json::json!({ "personal": { "alg": "none", "data": { "user_agent": agent } } }).to_string().as_bytes());

    assert_eq!(named("curl/8.5.0").as_deref(), Some("curl"));
    assert_eq!(named("Mozilla/5.0 (X11; Linux x86_64)").as_deref(), Some("Mozilla"));
    assert_eq!(named("python-requests/2.31"), Some("python-requests".to_owned()));
    assert_eq!(named("<script>"), None);
    assert_eq!(named(&"x".repeat(200)).map(|name| name.len()), Some(32));
    assert_eq!(client(b"not json"), None);
    assert_eq!(client(br#"{"personal":{"alg":"aes","data":"sealed"}}"#), None);
}

#[test]
fn nothing_counted_has_no_percentile() {
    assert_eq!(percentile(&[], 50), None);
    assert_eq!(percentile(&[0; LATENCY_SLOTS], 50), None);
}

proptest! {
    /// Whatever was measured, what is told is not less, and at most a quarter more.
    #[test]
    fn a_percentile_is_told_within_a_quarter(durations in proptest::collection::vec(64_i64..60_000_000, 1..200), percent in 1_i64..=100) {
        let mut slots = vec![0; LATENCY_SLOTS];
        for duration in &durations {
            slots[latency_slot(*duration)] += 1;
        }
        let mut sorted = durations;
        sorted.sort_unstable();
        let rank = (sorted.len() * usize::try_from(percent).unwrap()).div_ceil(100).max(1) - 1;
        let exact = u64::try_from(sorted[rank]).unwrap();

        let told = percentile(&slots, percent).unwrap();

        prop_assert!(told > exact && told <= exact + exact / 4 + 1, "{told} for {exact}");
    }

    #[test]
    fn every_duration_has_a_slot(duration in any::<i64>()) {
        prop_assert!(latency_slot(duration) < LATENCY_SLOTS);
    }
}
