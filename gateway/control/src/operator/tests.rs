use model::time::BootNanos;

use super::{LoginRefusals, REFUSALS_PER_SECOND};

#[test]
fn a_flood_of_refused_log_ins_is_thinned_and_counted_in_full() {
    let refusals = LoginRefusals::default();
    let flood = 1_000_u64;

    let counts: Vec<u64> = (0..flood).filter_map(|_| refusals.admit(BootNanos(5))).collect();
    let after = refusals.admit(BootNanos(1_000_000_005)).unwrap();

    assert_eq!(counts.len(), usize::try_from(REFUSALS_PER_SECOND).unwrap());
    assert_eq!(counts.iter().sum::<u64>() + after, flood + 1);
}
