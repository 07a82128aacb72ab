use std::{io, sync::Arc};

use super::{answer, config, event, ids, owned, record, rows, stepped, until, wait};
use crate::{
    event::Phase,
    simulate::{Lie, Operation, SimDisk},
    spool::{Durability, Lost, Spool, SpoolConfig, SpoolError, Unavailable},
};

fn real(dir: &tempfile::TempDir) -> Spool {
    Spool::open(SpoolConfig { dir: dir.path().join("spool"), segment_bytes: 1 << 18, ..config() }).expect("opens")
}

#[test]
fn acknowledged_records_are_there_after_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = real(&dir);
    let lane = spool.lane();

    for id in 1..=50 {
        assert_eq!(wait(record(&lane, id)), Ok(u64::try_from(id).expect("small")));
    }
    spool.close();

    let again = real(&dir);
    assert_eq!(again.incarnation(), spool.incarnation() + 1);
    assert_eq!(again.recovery().records, 50);
    assert_eq!(ids(&rows(&again, spool.incarnation())), (1..=50).collect::<Vec<_>>());
}

#[test]
fn waiters_of_many_tasks_on_two_cores_are_all_answered_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(SpoolConfig::new(dir.path(), "node-1")).expect("opens");

    let cores: Vec<_> = (0..2_u128)
        .map(|core| {
            let lane = spool.lane();
            std::thread::spawn(move || {
                let local = tokio::task::LocalSet::new();
                wait(local.run_until(async move {
                    let courier = tokio::task::spawn_local(lane.deliver());
                    let task = |id: u128| {
                        let lane = lane.clone();
                        tokio::task::spawn_local(async move {
                            let mut seqs = Vec::new();
                            for turn in 0..20_u128 {
                                seqs.push(record(&lane, core * 1_000_000 + id * 1_000 + turn).await.expect("durable"));
                            }
                            seqs
                        })
                    };
                    let tasks: Vec<_> = (0..100).map(task).collect();
                    let mut seqs = Vec::new();
                    for task in tasks {
                        seqs.extend(task.await.expect("no panic"));
                    }
                    courier.abort();
                    seqs
                }))
            })
        })
        .collect();
    let mut seqs: Vec<u64> = cores.into_iter().flat_map(|core| core.join().expect("no panic")).collect();

    seqs.sort_unstable();
    assert_eq!(seqs, (1..=4_000).collect::<Vec<_>>());
    let state = spool.state();
    assert_eq!((state.records_total, state.outstanding), (4_000, 0));
    assert!(state.fsyncs_total < 2_000, "no group commit: {state:?}");
}

#[test]
fn second_opening_of_a_directory_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = real(&dir);

    let second = Spool::open(SpoolConfig { dir: dir.path().join("spool"), ..config() });

    assert!(matches!(second, Err(SpoolError::Locked { .. })), "{second:?}");
    first.close();
    real(&dir);
}

fn nothing_is_acknowledged_after(operation: Operation) {
    let disk = SimDisk::new(Lie::Honest);
    let spool = Spool::open_with(config(), Arc::new(disk.clone())).expect("opens");
    let lane = spool.lane();
    wait(record(&lane, 1)).expect("durable before the error");
    let mut idle = lane.reserve(Durability::Strict, 1).expect("admitted");

    disk.fail(operation, 0, io::ErrorKind::Other);
    let held: Vec<_> = (2..10).filter_map(|id| Some((id, lane.reserve(Durability::Durable, 1).ok()?))).collect();
    assert!(!held.is_empty());
    for (id, mut reservation) in held {
        assert_eq!(wait(reservation.record(&event(id)).durable()), Err(Lost));
    }

    disk.set_capacity(None);
    assert_eq!(wait(idle.record(&event(99)).durable()), Err(Lost), "never retried");
    assert_eq!(lane.reserve(Durability::Buffered, 1).expect_err("refused"), Unavailable::Failed);
    assert!(spool.state().failed);
    assert_eq!(spool.durable_seq(), 1);
    assert_eq!(spool.reader().read(spool.incarnation(), 0, 10).expect("readable").rows.len(), 1);
    spool.close();
    assert!(spool.state().failed, "closing does not hide the failure");
}

#[test]
fn failed_fsync_loses_every_outstanding_and_later_record() {
    nothing_is_acknowledged_after(Operation::SyncData);
}

#[test]
fn failed_write_loses_every_outstanding_and_later_record() {
    nothing_is_acknowledged_after(Operation::Write);
}

#[test]
fn buffered_and_close_records_become_durable_without_a_waiter() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = real(&dir);
    let lane = spool.lane();

    drop(lane.reserve(Durability::Buffered, 1).expect("admitted").record(&event(1)));
    until(|| spool.durable_seq() == 1);
    let mut close = event(2);
    close.phase = Phase::Close;
    drop(lane.reserve(Durability::Durable, 1).expect("admitted").record(&close));
    until(|| spool.durable_seq() == 2);
}

#[test]
fn waiting_for_a_buffered_record_does_not_wait_for_the_lazy_tick_to_be_rung_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = real(&dir);

    let mut reservation = spool.lane().reserve(Durability::Buffered, 1).expect("admitted");

    assert_eq!(wait(reservation.record(&event(1)).durable()), Ok(1));
}

#[test]
fn closing_makes_queued_records_durable_and_refuses_later_ones() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = real(&dir);
    let lane = spool.lane();
    let mut unused = lane.reserve(Durability::Durable, 1).expect("admitted");
    let queued: Vec<_> = (1..=20).map(|id| record(&lane, id)).collect();

    spool.close();
    spool.close();

    for (receipt, seq) in queued.into_iter().zip(1..) {
        assert_eq!(wait(receipt), Ok(seq));
    }
    assert_eq!(wait(unused.record(&event(99)).durable()), Err(Lost));
    assert_eq!(lane.reserve(Durability::Strict, 1).expect_err("refused"), Unavailable::Closed);
    assert_eq!(wait(record_on_a_new_lane(&spool)), Err(Lost));
    assert!(!spool.state().failed);
}

async fn record_on_a_new_lane(spool: &Spool) -> Result<u64, Lost> {
    match spool.lane().reserve(Durability::Durable, 1) {
        Ok(mut reservation) => reservation.record(&event(1)).durable().await,
        Err(_) => Err(Lost),
    }
}

/// The close gives preallocated space back: a stopped node does not keep 128 MiB of zeros.
#[test]
fn closing_trims_the_files_to_what_they_hold() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = real(&dir);
    wait(record(&spool.lane(), 1)).expect("durable");

    spool.close();

    let bytes: u64 =
        std::fs::read_dir(dir.path().join("spool")).expect("listed").map(|entry| entry.expect("an entry").metadata().expect("metadata").len()).sum();
    assert!(bytes < 5_000, "{bytes}");
}

#[test]
fn last_handle_closes_the_spool() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = real(&dir);
    let lane = spool.lane();
    let receipt = record(&lane, 1);

    drop(spool);

    assert_eq!(wait(receipt), Ok(1));
    assert_eq!(lane.reserve(Durability::Durable, 1).expect_err("refused"), Unavailable::Closed);
}

#[test]
fn receipt_that_was_polled_and_dropped_loses_nothing() {
    let (spool, mut writer) = stepped(&SimDisk::new(Lie::Honest));
    let lane = spool.lane();

    for id in 1..=10 {
        let mut receipt = record(&lane, id);
        assert_eq!(answer(&mut receipt), None);
        drop(receipt);
    }
    let mut kept = record(&lane, 11);
    writer.turn().expect("written");

    assert_eq!(answer(&mut kept), Some(Ok(11)));
    assert_eq!(ids(&rows(&spool, spool.incarnation())), (1..=11).collect::<Vec<_>>());
}

#[test]
fn writer_that_dies_answers_everyone() {
    let (spool, writer) = stepped(&SimDisk::new(Lie::Honest));
    let lane = spool.lane();
    let receipt = record(&lane, 1);

    drop(writer);

    assert_eq!(wait(receipt), Err(Lost));
    assert_eq!(spool.state().outstanding, 0);
    assert!(lane.reserve(Durability::Durable, 1).is_err());
}

/// Its space is kept: nothing is freed and taken again. Old records in it are gone before it is a segment.
#[test]
fn file_of_a_loaded_segment_becomes_the_next_spare_and_is_all_zeros_then() {
    let disk = SimDisk::new(Lie::Honest);
    let (spool, mut writer) = stepped(&disk);
    let lane = spool.lane();
    let mut id = 0;
    let mut write = || {
        id += 1;
        assert!(id < 1_000, "it was never used");
        drop(record(&lane, id));
        writer.turn().expect("written");
    };
    let waiting = || disk.names().into_iter().find(|name| name.ends_with(".loaded.spare"));
    let is_zero = |name: &str| {
        let mut is_zero = false;
        disk.tamper(name, |bytes| is_zero = bytes.len() == 32 * 1_024 && bytes.iter().all(|byte| *byte == 0));
        is_zero
    };
    while spool.release(1, spool.durable_seq()).expect("released") == 0 {
        write();
    }
    let name = waiting().expect("the file waits");
    let first = spool.reader().read(1, 0, 1).expect("readable").gap.map_or(spool.durable_seq(), |gap| gap.through_seq);

    assert!(!is_zero(&name), "there is a spare already, so nothing is written over it yet");
    while !is_zero(&name) {
        write();
    }
    while waiting().is_some() {
        write();
    }
    write();

    let rest = owned(&spool.reader().read(1, first, 1_000).expect("readable").rows);
    assert_eq!(ids(&rest), (u128::from(first) + 1..=id).collect::<Vec<_>>());
}

#[test]
fn one_turn_syncs_once_for_all_that_is_queued() {
    let disk = SimDisk::new(Lie::Honest);
    let (spool, mut writer) = stepped(&disk);
    let lanes = [spool.lane(), spool.lane()];
    let mut receipts: Vec<_> = (0..12_u8).map(|id| record(&lanes[usize::from(id % 2)], u128::from(id))).collect();

    writer.turn().expect("written");

    assert_eq!(disk.syncs(), 1);
    assert!(receipts.iter_mut().all(|receipt| matches!(answer(receipt), Some(Ok(_)))));
}
