use super::{Lie, check};

/// How many seeds the ordinary test run tries; `bin/prove` counts to ten thousand.
const SEEDS: u64 = 3_000;

/// The promise of the whole crate: what was acknowledged is there after power loss, once, in order.
#[test]
fn every_acknowledged_record_survives_power_loss_exactly_once() {
    let mut tally = check::Tally::default();

    for seed in 0..SEEDS {
        let run = check::run(seed, Lie::Honest).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        tally.add(&run);
    }

    assert!(tally.acknowledged > SEEDS * 50, "too little was acknowledged to prove anything: {tally:?}");
    assert!(tally.crashes > SEEDS, "too few power losses: {tally:?}");
    assert!(tally.torn > SEEDS / 10, "too few torn tails: {tally:?}");
    assert!(tally.released > SEEDS / 10, "too few released segments: {tally:?}");
}

fn caught(lie: Lie) -> u64 {
    (0..500).map(|seed| u64::from(check::run(seed, lie).is_err())).sum()
}

/// The mutant that a kill alone cannot show. Recovery itself alarms where a later batch survived; the rest are plain losses
/// of acknowledged records.
#[test]
fn checker_catches_a_disk_whose_fdatasync_does_nothing() {
    let violations: Vec<String> = (0..500).filter_map(|seed| check::run(seed, Lie::SyncData).err()).collect();
    let lost = violations.iter().filter(|violation| violation.starts_with("acknowledged and missing")).count();

    assert!(violations.len() > 250, "{} of 500", violations.len());
    assert!(lost > 30, "{lost} of 500: {:?}", violations.first());
}

#[test]
fn checker_catches_a_disk_whose_fsync_of_files_does_nothing() {
    assert!(caught(Lie::SyncAll) > 10, "{} of 500", caught(Lie::SyncAll));
}

#[test]
fn checker_catches_a_disk_whose_fsync_of_the_directory_does_nothing() {
    assert!(caught(Lie::SyncDir) > 100, "{} of 500", caught(Lie::SyncDir));
}
