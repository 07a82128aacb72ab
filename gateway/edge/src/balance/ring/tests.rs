use super::*;

fn addresses(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("10.0.0.{n}:8080")).collect()
}

fn owner(ring: &Ring, value: u64) -> usize {
    ring.walk(value).next().unwrap()
}

#[test]
fn values_are_spread_evenly() {
    let ring = Ring::new(addresses(10).iter().map(String::as_str));
    let mut counts = [0_u32; 10];
    for value in 0..100_000_u64 {
        counts[owner(&ring, hash(&value.to_be_bytes()))] += 1;
    }

    assert!(counts.iter().all(|count| (7_000..13_500).contains(count)), "{counts:?}");
}

#[test]
fn endpoint_that_goes_moves_its_own_values_alone() {
    let all = addresses(10);
    let (before, after) = (Ring::new(all.iter().map(String::as_str)), Ring::new(all.iter().take(9).map(String::as_str)));

    for value in (0..10_000_u64).map(|n| hash(&n.to_be_bytes())) {
        let owned = owner(&before, value);
        assert!(owned == 9 || owner(&after, value) == owned);
    }
}

#[test]
fn walk_meets_every_endpoint() {
    let ring = Ring::new(addresses(5).iter().map(String::as_str));
    let mut met: Vec<usize> = ring.walk(7).collect();
    met.sort_unstable();
    met.dedup();

    assert_eq!(met, [0, 1, 2, 3, 4]);
}

#[test]
fn hash_never_changes_between_versions() {
    assert_eq!(hash(b"user-17"), 0x7d0a_bcd8_e211_1067, "a rolling upgrade would move every value");
}
