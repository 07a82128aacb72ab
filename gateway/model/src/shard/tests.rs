use super::*;

#[test]
fn a_change_is_seen_in_the_new_map_and_not_in_the_old_one() {
    let old = ShardMap::from_entries((0..10_000).map(|n| (n, n)));

    let new = old.with([(5, Some(55)), (6, None), (20_000, Some(1)), (30_000, None)]);

    assert_eq!((old.get(&5), old.get(&6), old.get(&20_000), old.len()), (Some(&5), Some(&6), None, 10_000));
    assert_eq!((new.get(&5), new.get(&6), new.get(&20_000), new.len()), (Some(&55), None, Some(&1), 10_000));
    assert_eq!(new.iter().count(), 10_000);
}

#[test]
fn shards_that_no_change_touches_are_shared() {
    let old = ShardMap::from_entries((0..100_000).map(|n| (n, n)));

    let new = old.with([(5, Some(55))]);

    let copied = old.shards.iter().zip(new.shards.iter()).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
    assert_eq!(copied, 1);
}
