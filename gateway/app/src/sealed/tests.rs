use std::collections::HashMap;

use model::{
    change::{ConsumerRow, Revisions},
    id::ConsumerId,
};

use super::*;

fn image_of(consumers: u128) -> Image {
    let consumer = |number| ConsumerRow {
        id: ConsumerId::new(uuid::Uuid::from_u128(number)),
        name: format!("consumer {number}"),
        tenant: "acme".to_owned(),
        residency: None,
    };
    Image {
        revisions: Revisions::default(),
        sealed_at: UtcMicros(7),
        document: Document::default(),
        writers: HashMap::new(),
        consumers: (0..consumers).map(consumer).collect(),
        applications: Vec::new(),
        keys: Vec::new(),
        denials: Vec::new(),
    }
}

fn write(sealed: &Sealed, consumers: u128) -> Result<u64> {
    sealed.hold_next()?.expect("nobody else writes").write(&image_of(consumers))
}

#[test]
fn each_snapshot_is_read_as_it_was_written_whatever_the_size_of_the_one_before_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    assert!(sealed.read().unwrap().is_none());

    for consumers in [10_000, 1, 3, 20_000, 0, 5_000] {
        let length = write(&sealed, consumers).unwrap();

        assert_eq!(std::fs::metadata(&sealed.path).unwrap().len(), length);
        assert_eq!(sealed.read().unwrap().unwrap().consumers.len() as u128, consumers);
    }
}

#[test]
fn where_the_data_of_a_consumer_may_lie_is_sealed_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    let mut rows = image_of(2).consumers;
    rows[1].residency = Some(vec!["eu".to_owned(), "ch".to_owned()]);
    let snapshot = Snapshot {
        revisions: Revisions::default(),
        structure: Arc::default(),
        authority: Arc::new(Authority::from_rows(rows.clone(), [], [], [])),
        writers: Arc::default(),
        booted_from: None,
    };
    let document = Document { version: 1, ..Document::default() };

    sealed.hold_next().unwrap().expect("nobody else writes").write(&image(&snapshot, &document, UtcMicros(7))).unwrap();

    let read = sealed.read().unwrap().unwrap().into_snapshot().unwrap();
    for row in rows {
        let within = read.within(row.id);
        assert_eq!((within.is_any(), within.allows("anywhere")), (row.residency.is_none(), row.residency.is_none()), "{row:?}");
    }
    assert!(!read.within(ConsumerId::new(uuid::Uuid::from_u128(99))).allows("anywhere"), "of one that nobody knows nothing is known");
}

#[test]
fn snapshot_that_cannot_be_written_leaves_the_one_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    write(&sealed, 2).unwrap();
    std::fs::create_dir(folder.path().join("snapshot.next")).unwrap();

    assert!(sealed.hold_next().is_err());
    assert_eq!(sealed.read().unwrap().unwrap().consumers.len(), 2);
}

#[test]
fn what_a_killed_writer_left_is_not_in_force_and_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    write(&sealed, 2).unwrap();
    std::fs::write(folder.path().join("snapshot.next"), vec![7; 3 * PIECE_BYTES + 5]).unwrap();

    assert_eq!(sealed.read().unwrap().unwrap().consumers.len(), 2);
    write(&sealed, 3).unwrap();
    assert_eq!(sealed.read().unwrap().unwrap().consumers.len(), 3);
}

#[test]
fn two_processes_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let old = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    let new = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    write(&old, 1).unwrap();

    let writing = old.hold_next().unwrap().unwrap();
    assert!(new.hold_next().unwrap().is_none(), "held until the old process has put it in force");
    writing.write(&image_of(2)).unwrap();
    write(&new, 3).unwrap();

    assert_eq!(new.read().unwrap().unwrap().consumers.len(), 3);
}

#[test]
fn many_writers_leave_a_snapshot_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
    let written = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4_u128 {
            let (sealed, written) = (&sealed, &written);
            scope.spawn(move || {
                for round in 0..50 {
                    if let Some(next) = sealed.hold_next().unwrap() {
                        next.write(&image_of(writer * 100 + round)).unwrap();
                        written.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    if let Some(image) = sealed.read().unwrap() {
                        assert!(image.consumers.len() < 400);
                    }
                }
            });
        }
    });
    assert!(written.into_inner() > 0);
}

/// At a hand-over both processes may be about to write. The one that is behind must not take back what the other has promised by its own.
#[test]
fn older_snapshot_is_not_put_over_a_newer_one_of_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = [(); 2].map(|()| Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap());
    let at = |epoch, authority| Revisions { epoch, authority, ..Revisions::default() };
    let put = |sealed: &Sealed, revisions: Revisions| {
        let next = sealed.hold_next().unwrap().unwrap();
        let is_overtaken = next.is_overtaken(&revisions).unwrap();
        if !is_overtaken {
            next.write(&Image { revisions, ..image_of(1) }).unwrap();
        }
        !is_overtaken
    };

    assert!(put(&old, at(1, 5)) && put(&old, at(1, 3)), "what a process has put there itself, it may replace by what it has now");
    assert!(new.is_replaced() && new.read().unwrap().is_some() && !new.is_replaced());
    assert!(put(&new, at(1, 2)), "a start takes nothing older than what it has read");
    assert!(old.is_replaced());
    assert!(put(&new, at(1, 6)));
    assert!(!put(&old, at(1, 5)) && !put(&old, at(1, 5)), "again and again");
    assert!(put(&old, at(1, 6)));
    assert!(put(&new, at(2, 1)), "of a later epoch");
    assert!(!put(&old, at(1, 9)));
    assert_eq!(old.read().unwrap().unwrap().revisions, at(2, 1));

    std::fs::write(folder.path().join("snapshot.sealed"), "no snapshot").unwrap();
    assert!(put(&old, at(1, 1)), "what does not open is nobody's");
}
