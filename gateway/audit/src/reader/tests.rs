use crate::{
    layout,
    simulate::{Lie, Random, SimDisk},
    spool::{
        Spool, SpoolConfig, SpoolError, Writer,
        tests::{config, ids, owned, record, stepped, wait},
    },
};

fn written(spool: &Spool, writer: &mut Writer, count: u128) {
    let lane = spool.lane();
    let from = u128::from(spool.durable_seq());
    for id in 1..=count {
        drop(record(&lane, from + id));
        if id % 5 == 0 {
            writer.turn().expect("written");
        }
    }
    writer.turn().expect("written");
}

#[test]
fn reader_follows_a_live_spool_and_never_says_complete() {
    let disk = SimDisk::new(Lie::Honest);
    let (spool, mut writer) = stepped(&disk);
    let mut reader = spool.reader();
    let mut seen = Vec::new();

    assert_eq!(reader.read(1, 0, 10).expect("readable").chain, [0; 32]);
    for round in 0..60 {
        written(&spool, &mut writer, 1 + round % 7);
        drop(record(&spool.lane(), 9_999));
        let batch = reader.read(1, seen.len() as u64, 4).expect("readable");
        assert!(!batch.complete && batch.gap.is_none());
        seen.extend(batch.rows.iter().map(|row| (row.incarnation, row.seq)));
        writer.turn().expect("written");
    }
    loop {
        let batch = reader.read(1, seen.len() as u64, 4).expect("readable");
        if batch.rows.is_empty() {
            break;
        }
        seen.extend(batch.rows.iter().map(|row| (row.incarnation, row.seq)));
    }

    assert_eq!(seen.len() as u64, spool.durable_seq());
    assert!(seen.iter().zip(1..).all(|(row, seq)| *row == (1, seq)));
}

#[test]
fn records_that_are_not_durable_are_not_seen() {
    let (spool, mut writer) = stepped(&SimDisk::new(Lie::Honest));
    written(&spool, &mut writer, 3);

    drop(record(&spool.lane(), 4));

    assert_eq!(spool.reader().read(1, 0, 10).expect("readable").rows.len(), 3);
}

/// Whatever the page size and wherever it starts, the rows, and the chain at the last of them, are the same.
#[test]
fn every_page_gives_the_same_rows_and_chain() {
    let disk = SimDisk::new(Lie::Honest);
    let (spool, mut writer) = stepped(&disk);
    written(&spool, &mut writer, 400);
    writer.finish().expect("finished");
    drop((spool, writer));
    let (spool, _writer) = stepped(&disk);
    let mut whole = spool.reader();
    let mut steady = spool.reader();
    let mut random = Random::new(3);
    let mut at = 0;

    while at < 400 {
        let max = usize::try_from(1 + random.below(90)).expect("small");
        let page = steady.read(1, at, max).expect("readable");
        let fresh = spool.reader().read(1, at, max).expect("readable");
        assert_eq!(page, fresh);
        at += page.rows.len() as u64;
        assert_eq!(page.complete, at == 400);
        let prefix = whole.read(1, 0, usize::try_from(at).expect("small")).expect("readable");
        assert_eq!(prefix.chain, page.chain, "at {at}");
        let (page, prefix) = (ids(&owned(&page.rows)), ids(&owned(&prefix.rows)));
        assert_eq!(page, prefix[prefix.len() - page.len()..]);
    }
    let end = steady.read(1, 400, 10).expect("readable");
    assert!(end.complete && end.rows.is_empty());
    assert_eq!(end.chain, whole.read(1, 0, 400).expect("readable").chain);
}

#[test]
fn incarnations_are_listed_oldest_first() {
    let disk = SimDisk::new(Lie::Honest);
    for _ in 0..3 {
        let (spool, mut writer) = stepped(&disk);
        written(&spool, &mut writer, 2);
    }

    let (spool, _writer) = stepped(&disk);

    assert_eq!(spool.reader().incarnations().expect("listed"), [1, 2, 3, 4]);
}

#[test]
fn release_removes_whole_loaded_segments_only() {
    let disk = SimDisk::new(Lie::Honest);
    let (spool, mut writer) = stepped(&disk);
    written(&spool, &mut writer, 400);
    let firsts: Vec<u64> = spool.handle_shared().catalog.lock().readable(1).iter().map(|segment| segment.first_seq).collect();
    assert!(firsts.len() >= 4, "{firsts:?}");
    let used = spool.state().used_bytes;

    assert_eq!(spool.release(1, firsts[1] - 2).expect("nothing whole"), 0);
    assert_eq!(spool.release(1, firsts[1] - 1).expect("the first"), 1);
    assert_eq!(spool.release(1, firsts[1] - 1).expect("again"), 0);
    assert!(spool.state().used_bytes < used);
    let gone = spool.reader().read(1, 0, 10).expect("readable");
    assert_eq!(gone.gap.map(|gap| (gap.from_seq, gap.through_seq)), Some((1, firsts[1] - 1)));
    let rest = spool.reader().read(1, firsts[1] - 1, 1_000).expect("readable");
    assert_eq!(rest.rows.len() as u64, 400 - firsts[1] + 1);

    assert_eq!(spool.release(1, u64::MAX).expect("all but the live one"), firsts.len() - 2);
    assert_eq!(spool.release(7, u64::MAX).expect("unknown"), 0);
    let live = *firsts.last().expect("one");
    assert_eq!(spool.reader().read(1, live - 1, 1_000).expect("readable").rows.len() as u64, 400 - live + 1);
}

#[test]
fn damage_that_appears_after_opening_is_an_error_with_its_place() {
    let disk = SimDisk::new(Lie::Honest);
    let (spool, mut writer) = stepped(&disk);
    written(&spool, &mut writer, 20);
    let name = layout::segment_name(1, 1);
    disk.tamper(&name, |bytes| bytes[6_000] ^= 1);

    let mut reader = spool.reader();
    let read = reader.read(1, 0, 100);

    assert!(matches!(&read, Err(SpoolError::Damaged { file, offset, .. }) if *file == name && *offset <= 6_000));
    assert!(reader.read(1, 0, 100).is_err(), "again");
}

#[test]
fn loader_can_read_and_release_while_the_writer_thread_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = SpoolConfig { dir: dir.path().to_owned(), disk_bytes_max: 8 << 20, segment_bytes: 1 << 18, ..config() };
    let spool = Spool::open(small).expect("opens");
    let lane = spool.lane();
    let mut reader = spool.reader();
    let mut loaded = 0;

    for round in 0..300_u128 {
        let receipts: Vec<_> = (0..10).map(|id| record(&lane, round * 10 + id + 1)).collect();
        for receipt in receipts {
            wait(receipt).expect("durable");
        }
        let batch = reader.read(spool.incarnation(), loaded, 64).expect("readable");
        assert_eq!(batch.gap, None);
        assert!(ids(&owned(&batch.rows)).iter().zip(u128::from(loaded) + 1..).all(|(id, expected)| *id == expected));
        loaded += batch.rows.len() as u64;
        spool.release(spool.incarnation(), loaded).expect("released");
    }

    assert_eq!(loaded, 3_000);
    assert!(spool.state().used_bytes < 300_000, "{:?}", spool.state());
}

/// A lost disk and a clock that was set back: the number repeats, the nonce does not.
#[test]
fn watermark_of_another_directory_with_the_same_incarnation_is_not_confirmed() {
    let (first, mut writer) = stepped(&SimDisk::new(Lie::Honest));
    written(&first, &mut writer, 7);
    let loaded = first.reader().read(1, 0, 7).expect("readable");
    let (second, mut other) = stepped(&SimDisk::new(Lie::Honest));

    assert!(first.reader().confirms(1, 7, &loaded.chain).expect("readable"));
    assert!(first.reader().confirms(1, 0, &[0; 32]).expect("readable"), "nothing is loaded yet");
    assert!(!second.reader().confirms(1, 7, &loaded.chain).expect("readable"), "before its first record");
    written(&second, &mut other, 20);
    assert!(!second.reader().confirms(1, 7, &loaded.chain).expect("readable"), "when it holds the number, too");
    assert!(second.reader().confirms(99, 7, &loaded.chain).expect("readable"), "nothing is left of that one");
}

/// The watermark may lie anywhere: inside a batch, at a segment's end, in a segment that is gone.
#[test]
fn every_watermark_that_the_reader_made_is_confirmed() {
    let disk = SimDisk::new(Lie::Honest);
    let (spool, mut writer) = stepped(&disk);
    written(&spool, &mut writer, 400);
    for at in 1..=400 {
        let batch = spool.reader().read(1, at - 1, 1).expect("readable");
        assert!(spool.reader().confirms(1, at, &batch.chain).expect("readable"), "row {at}");
        assert!(!spool.reader().confirms(1, at, &[7; 32]).expect("readable"), "row {at}");
    }
}
