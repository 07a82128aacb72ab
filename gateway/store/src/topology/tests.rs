use super::probe::{Sample, choose_primary};

const fn primary(cluster: u64, timeline: u32) -> Sample {
    Sample { in_recovery: false, lsn: Some(1), timeline: Some(timeline), system_identifier: cluster, rtt_us: 1 }
}

const fn standby(cluster: u64) -> Sample {
    Sample { in_recovery: true, lsn: Some(1), timeline: None, system_identifier: cluster, rtt_us: 1 }
}

fn check(samples: &[Option<Sample>], current: Option<usize>, expected: Option<usize>) {
    assert_eq!(choose_primary(samples, current), expected, "{samples:?}, so far {current:?}");
}

#[test]
fn the_newest_timeline_of_the_cluster_that_most_servers_have_takes_the_writes() {
    check(&[], None, None);
    check(&[None, None], Some(0), None);
    check(&[Some(standby(1)), Some(primary(1, 1))], None, Some(1));
    check(&[Some(standby(1)), Some(standby(1))], Some(1), None);
    // An old primary that still runs after a promotion.
    check(&[Some(primary(1, 1)), Some(primary(1, 2)), Some(standby(1))], Some(0), Some(1));
    // Nothing tells them apart: whoever was it stays, a newcomer is not believed.
    check(&[Some(primary(1, 2)), Some(primary(1, 2))], Some(0), Some(0));
    check(&[Some(primary(1, 2)), Some(primary(1, 2))], None, None);
    // A server of another cluster at a wrong address.
    check(&[Some(primary(1, 1)), Some(standby(1)), Some(primary(2, 9))], None, Some(0));
    check(&[Some(primary(1, 1)), Some(primary(2, 9))], Some(0), Some(0));
}
