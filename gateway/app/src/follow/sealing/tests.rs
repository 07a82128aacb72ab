use model::secret::SecretKey;

use super::*;

const MS: u64 = 1_000_000;

/// What the writer came to.
fn settled(work: impl FnOnce() -> Result<Written> + Send + 'static) -> (Sealing, Arc<Facts>) {
    let facts = Facts::new(UtcMicros(0), false);
    let running = std::thread::spawn(work);
    while !running.is_finished() {
        std::thread::yield_now();
    }
    let mut sealing = Sealing { at: BootNanos(1), is_dirty: false, running: Some(running), ..Sealing::default() };
    sealing.settle(&facts);
    (sealing, facts)
}

#[test]
fn small_snapshot_is_written_four_times_a_second_and_a_large_one_rests() {
    let (mut sealing, _) = settled(|| Ok(Written::InForce(5)));
    sealing.changed();
    assert!(!sealing.is_due(BootNanos(250 * MS), true));
    assert!(sealing.is_due(BootNanos(251 * MS), false), "a change does not wait for the database");

    let (mut sealing, _) = settled(|| Ok(Written::InForce(21 << 20)));
    sealing.changed();
    assert!(!sealing.is_due(BootNanos(5_000 * MS), true));
    assert!(sealing.is_due(BootNanos(5_300 * MS), true));
}

#[test]
fn snapshot_without_a_change_is_renewed_each_minute_while_it_is_known_to_be_fresh() {
    let (sealing, _) = settled(|| Ok(Written::InForce(5)));
    assert!(!sealing.is_due(BootNanos(59_000 * MS), true));
    assert!(!sealing.is_due(BootNanos(61_000 * MS), false));
    assert!(sealing.is_due(BootNanos(61_000 * MS), true));
}

#[test]
fn snapshot_that_another_process_holds_up_is_due_again_at_once() {
    let (sealing, facts) = settled(|| Ok(Written::Held));
    assert!(sealing.is_due(BootNanos(251 * MS), false));
    assert!(!facts.seal_failed.load(Ordering::Relaxed));
}

#[test]
fn failure_and_panic_are_told_and_tried_again_after_a_rest() {
    let works: [fn() -> Result<Written>; 2] = [|| anyhow::bail!("no space left"), || panic!("the writer's own")];
    for work in works {
        let (sealing, facts) = settled(work);
        assert!(facts.seal_failed.load(Ordering::Relaxed));
        assert!(!sealing.is_due(BootNanos(5_000 * MS), true));
        assert!(sealing.is_due(BootNanos(5_002 * MS), false));
    }
}

#[test]
fn process_that_is_handed_over_puts_nothing_in_force_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    let facts = Facts::new(UtcMicros(0), false);
    facts.handing_over.store(true, Ordering::Relaxed);

    assert_eq!(write(&sealed, &facts, &Revisions::default(), || unreachable!("not asked for")).unwrap(), Written::Left);
    assert!(sealed.read().unwrap().is_none());
}
