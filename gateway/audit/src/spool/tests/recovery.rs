use std::sync::Arc;

use super::{config, ids, owned, record, rows, stepped};
use crate::{
    layout::{HEADER_BYTES, Name, parse_name},
    simulate::{Lie, Random, SimDisk},
    spool::{Fault, Gap, Spool, SpoolConfig, SpoolError},
    storage::Storage,
};

/// Records `count` records of one incarnation, a few in each batch, and stops as a killed process does.
fn killed(disk: &SimDisk, count: u128) -> u64 {
    let (spool, mut writer) = stepped(disk);
    let lane = spool.lane();
    for id in 1..=count {
        drop(record(&lane, id));
        if id % 3 == 0 {
            writer.turn().expect("written");
        }
    }
    writer.turn().expect("written");
    spool.incarnation()
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| matches!(parse_name(name), Name::Segment { .. })).collect()
}

fn length(disk: &SimDisk, name: &str) -> usize {
    let mut length = 0;
    disk.tamper(name, |bytes| length = bytes.len());
    length
}

#[test]
fn torn_tail_of_the_last_segment_is_cut_and_the_rest_is_kept() {
    let disk = SimDisk::new(Lie::Honest);
    let incarnation = killed(&disk, 10);
    let file = segments(&disk).pop().expect("a segment");
    let data = {
        let mut end = 0;
        disk.tamper(&file, |bytes| end = bytes.iter().rposition(|byte| *byte != 0).expect("data") + 1);
        end
    };
    // The middle of the last batch.
    disk.tamper(&file, |bytes| bytes[data - 200..].fill(0));

    let (spool, _writer) = stepped(&disk);

    let report = spool.recovery();
    assert_eq!(report.torn.as_ref().map(|torn| torn.file.clone()), Some(file));
    assert!(report.damage.is_empty() && report.gaps.is_empty(), "{report:?}");
    assert_eq!(ids(&rows(&spool, incarnation)), (1..=9).collect::<Vec<_>>());
    drop(spool);
    assert_eq!(stepped(&disk).0.recovery().torn, None, "cut once");
}

/// A batch is written only when the one before is on disk: a later whole batch means that this was no torn write.
#[test]
fn damage_before_a_whole_batch_is_not_taken_for_a_torn_tail() {
    let disk = SimDisk::new(Lie::Honest);
    let incarnation = killed(&disk, 9);
    let file = segments(&disk).pop().expect("a segment");
    let first = usize::try_from(HEADER_BYTES).expect("small");
    disk.tamper(&file, |bytes| bytes[first + 100] ^= 1);

    let (spool, _writer) = stepped(&disk);

    let damage = &spool.recovery().damage;
    assert_eq!(damage.len(), 1);
    assert_eq!((damage[0].file.clone(), damage[0].offset, damage[0].fault), (file.clone(), HEADER_BYTES, Fault::Frame));
    assert!(disk.names().contains(&format!("{file}.damaged")));
    assert_eq!(rows(&spool, incarnation), []);
}

#[test]
fn rows_before_damage_stay_readable_and_the_gap_is_shown() {
    let disk = SimDisk::new(Lie::Honest);
    let incarnation = killed(&disk, 300);
    let files = segments(&disk);
    assert!(files.len() >= 3, "{files:?}");
    let length = length(&disk, &files[1]);
    disk.tamper(&files[1], |bytes| bytes[length / 2] ^= 0x40);

    let (spool, _writer) = stepped(&disk);
    let report = spool.recovery().clone();
    let mut reader = spool.reader();
    let before = reader.read(incarnation, 0, 1_000).expect("readable");
    let gap = before.gap.expect("a gap");
    let behind = reader.read(incarnation, gap.through_seq, 1_000).expect("readable");

    assert_eq!(report.damage.len(), 1);
    assert!(report.damage[0].offset > HEADER_BYTES);
    assert_eq!(report.gaps, [gap]);
    assert!(before.complete && behind.complete);
    let mut found = ids(&owned(&before.rows));
    assert_eq!(found.len() as u64, gap.from_seq - 1);
    found.extend(u128::from(gap.from_seq)..=u128::from(gap.through_seq));
    found.extend(ids(&owned(&behind.rows)));
    assert_eq!(found, (1..=300).collect::<Vec<_>>());

    spool.release(incarnation, 300).expect("released");
    drop(spool);
    let (again, _writer) = stepped(&disk);
    assert_eq!(again.recovery().damaged_before, 1, "evidence stays");
    assert_eq!(again.recovery().damage, []);
    assert_eq!(again.state().damaged_segments, 1);
}

#[test]
fn removed_segment_is_reported_as_a_gap() {
    let disk = SimDisk::new(Lie::Honest);
    let incarnation = killed(&disk, 300);
    let files = segments(&disk);
    disk.remove(files[1].as_ref()).expect("removed");

    let (spool, _writer) = stepped(&disk);

    let [Gap { incarnation: of, from_seq, through_seq }] = spool.recovery().gaps[..] else { panic!("one gap") };
    assert_eq!(of, incarnation);
    assert!(1 < from_seq && from_seq < through_seq && through_seq < 300);
}

#[test]
fn swapped_segments_are_detected() {
    let disk = SimDisk::new(Lie::Honest);
    killed(&disk, 300);
    let files = segments(&disk);
    let mut first = Vec::new();
    disk.tamper(&files[0], |bytes| first.clone_from(bytes));
    disk.tamper(&files[1], |bytes| std::mem::swap(bytes, &mut first));
    disk.tamper(&files[0], |bytes| std::mem::swap(bytes, &mut first));

    let (spool, _writer) = stepped(&disk);

    assert_eq!(spool.recovery().damage.iter().filter(|damage| damage.fault == Fault::HeaderName).count(), 2);
}

/// Every flipped bit of a finished segment is noticed, and no row ever differs from what was written.
#[test]
fn every_flipped_bit_in_a_dead_incarnation_is_detected() {
    let disk = SimDisk::new(Lie::Honest);
    let incarnation = killed(&disk, 12);
    let file = segments(&disk).pop().expect("a segment");
    drop(stepped(&disk));
    let bytes = length(&disk, &file);
    let good = rows(&stepped(&disk).0, incarnation);
    let mut random = Random::new(7);

    for at in (0..bytes).filter(|at| *at >= 4_000 || at % 8 == 0) {
        let copy = SimDisk::new(Lie::Honest);
        let mut content = Vec::new();
        disk.tamper(&file, |bytes| content.clone_from(bytes));
        content[at] ^= 1 << random.below(8);
        plant(&copy, &file, content);
        let claim = format!("{:016x}.incarnation", incarnation + 1);
        plant(&copy, &claim, Vec::new());

        let (spool, _writer) = stepped(&copy);

        let report = spool.recovery();
        assert_eq!(report.damage.len(), 1, "byte {at}: {report:?}");
        assert!(report.damage[0].offset <= at as u64, "byte {at}: {report:?}");
        let left = rows(&spool, incarnation);
        assert_eq!(left[..], good[..left.len()], "byte {at}");
    }
}

fn plant(disk: &SimDisk, name: &str, content: Vec<u8>) {
    drop(disk.create(name.as_ref()).expect("created"));
    disk.tamper(name, |bytes| *bytes = content);
    disk.sync_dir("/".as_ref()).expect("synced");
}

/// Truncation at any byte, flips in the live segment, random bytes: an opening and a reading, never a panic, and never a
/// row that was not written.
#[test]
fn no_bytes_make_recovery_or_the_reader_panic() {
    let disk = SimDisk::new(Lie::Honest);
    let incarnation = killed(&disk, 60);
    let file = segments(&disk).pop().expect("a segment");
    let mut whole = Vec::new();
    disk.tamper(&file, |bytes| whole.clone_from(bytes));
    let good = rows(&stepped(&disk).0, incarnation);

    for seed in 0..1_500 {
        let mut random = Random::new(seed);
        let mut content = whole.clone();
        match seed % 3 {
            0 => content.truncate(usize::try_from(random.below(whole.len() as u64 / 2)).expect("small")),
            1 => {
                for _ in 0..=random.below(20) {
                    let at = usize::try_from(random.below(whole.len() as u64)).expect("small");
                    content[at] = u8::try_from(random.below(256)).expect("a byte");
                }
            }
            _ => {
                let from = usize::try_from(random.below(6_000)).expect("small");
                content[from..].iter_mut().for_each(|byte| *byte = u8::try_from(random.below(256)).expect("a byte"));
            }
        }
        let copy = SimDisk::new(Lie::Honest);
        plant(&copy, &file, content);

        match Spool::open_stepped(config(), Arc::new(copy.clone())) {
            Ok((spool, _writer)) => {
                let left = rows(&spool, incarnation);
                assert_eq!(left[..], good[..left.len()], "seed {seed}");
            }
            Err(error) => assert!(matches!(error, SpoolError::Version { .. }), "seed {seed}: {error:?}"),
        }
    }
}

#[test]
fn foreign_files_are_left_alone() {
    let disk = SimDisk::new(Lie::Honest);
    let names = ["notes.txt", "0000000000000001-XYZ", "1-1", "000000000000000A.incarnation", "", "-"];
    for name in names {
        plant(&disk, name, b"mine".to_vec());
    }

    let (spool, _writer) = stepped(&disk);

    assert_eq!(spool.recovery().foreign, names.len());
    assert!(names.iter().all(|name| disk.names().iter().any(|found| found == name)));
}

#[test]
fn directory_of_another_node_is_refused_and_unchanged() {
    let disk = SimDisk::new(Lie::Honest);
    killed(&disk, 3);
    let before = disk.names();

    let other = SpoolConfig { node: "node-2".to_owned(), ..config() };
    let refused = Spool::open_stepped(other, Arc::new(disk.clone()));

    assert!(matches!(refused, Err(SpoolError::OtherNode { .. })), "{refused:?}");
    assert_eq!(disk.names(), before);
}

#[test]
fn incarnations_rise_even_when_every_segment_was_released() {
    let disk = SimDisk::new(Lie::Honest);
    let first = killed(&disk, 5);

    let (spool, _writer) = stepped(&disk);
    assert_eq!(spool.release(first, 5).expect("released"), 1);
    drop(spool);

    for expected in 3..6 {
        assert_eq!(stepped(&disk).0.incarnation(), expected);
    }
}

#[test]
fn last_possible_incarnation_is_an_error_and_no_panic() {
    let disk = SimDisk::new(Lie::Honest);
    plant(&disk, "ffffffffffffffff.incarnation", Vec::new());

    let refused = Spool::open_stepped(config(), Arc::new(disk));

    assert!(matches!(refused, Err(SpoolError::Config { .. })), "{refused:?}");
}
