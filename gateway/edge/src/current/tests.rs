use super::*;

fn snapshot(epoch: u64, authority: u64, structural: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        revisions: Revisions { epoch, authority, structural },
        structure: Arc::default(),
        authority: Arc::default(),
        writers: Arc::default(),
        booted_from: None,
    })
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

    let keys = Snapshot { revisions: Revisions { epoch: 1, authority: 2, structural: 1 }, ..(*first).clone() };
    current.publish(Arc::new(keys)).unwrap();
    let after_keys = core.load(&current, &names).unwrap();
    current.publish(snapshot(1, 2, 2)).unwrap();
    let after_services = core.load(&current, &names).unwrap();

    assert!(std::ptr::eq(before.fleet(), after_keys.fleet()));
    assert!(!std::ptr::eq(before.fleet(), after_services.fleet()));
}
