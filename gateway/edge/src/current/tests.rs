use uuid::Uuid;

use super::*;

fn snapshot(epoch: u64, authority: u64, structural: u64) -> Arc<Snapshot> {
    at(Revisions { epoch, epoch_id: Uuid::from_u128(epoch.into()), authority, structural_epoch: epoch, structural })
}

fn at(revisions: Revisions) -> Arc<Snapshot> {
    Arc::new(Snapshot { revisions, structure: Arc::default(), authority: Arc::default(), writers: Arc::default(), booted_from: None })
}

#[test]
fn publish_refuses_an_older_revision_of_either_lane() {
    let current = Current::default();
    current.publish(snapshot(1, 5, 5)).unwrap();

    for (epoch, authority, structural, accepted) in
        [(1, 4, 6, false), (1, 6, 4, false), (0, 9, 9, false), (1, 5, 5, true), (1, 6, 5, true), (2, 1, 1, true)]
    {
        assert_eq!(current.publish(snapshot(epoch, authority, structural)).is_ok(), accepted, "{epoch}/{authority}/{structural}");
    }
}

/// ADR 0030, 10: what another epoch of the same number has is something else. And a structure may be kept over a promotion.
#[test]
fn publish_takes_nothing_from_another_epoch_of_the_same_number() {
    let current = Current::default();
    let first = Revisions { epoch: 2, epoch_id: Uuid::from_u128(1), authority: 5, structural_epoch: 1, structural: 9 };
    current.publish(at(first)).unwrap();

    for (revisions, accepted) in [
        (Revisions { epoch_id: Uuid::from_u128(2), authority: 6, ..first }, false),
        (Revisions { structural_epoch: 1, structural: 8, ..first }, false),
        (Revisions { authority: 6, ..first }, true),
        (Revisions { authority: 6, structural_epoch: 2, structural: 1, ..first }, true),
        (Revisions { authority: 6, structural_epoch: 1, structural: 9, ..first }, false),
        (Revisions { epoch: 3, epoch_id: Uuid::from_u128(2), authority: 1, structural_epoch: 2, structural: 1 }, true),
    ] {
        assert_eq!(current.publish(at(revisions)).is_ok(), accepted, "{revisions:?}");
    }
}

#[test]
fn a_core_sees_each_publication() {
    let (current, core) = (Current::default(), CoreCurrent::default());
    assert!(core.load(&current, &Names::default()).is_none());

    for revision in 1..5 {
        current.publish(snapshot(1, revision, 1)).unwrap();
        assert_eq!(core.load(&current, &Names::default()).unwrap().revisions.authority, revision);
    }
}

#[test]
fn new_keys_keep_the_endpoints_and_new_services_or_names_do_not() {
    let (current, core, names) = (Current::default(), CoreCurrent::default(), Names::default());
    let first = snapshot(1, 1, 1);
    current.publish(Arc::clone(&first)).unwrap();
    let before = core.load(&current, &names).unwrap();

    let keys = Snapshot { revisions: Revisions { authority: 2, ..first.revisions }, ..(*first).clone() };
    current.publish(Arc::new(keys)).unwrap();
    let after_keys = core.load(&current, &names).unwrap();
    current.publish(snapshot(1, 2, 2)).unwrap();
    let after_services = core.load(&current, &names).unwrap();

    assert!(std::ptr::eq(before.fleet(), after_keys.fleet()));
    assert!(!std::ptr::eq(before.fleet(), after_services.fleet()));
}
