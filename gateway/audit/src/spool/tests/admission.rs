use std::{io, sync::Arc};

use super::{config, event, record, stepped};
use crate::{
    simulate::{Lie, Operation, SimDisk},
    spool::{Durability, Lane, Reservation, Spool, SpoolConfig, Unavailable, Writer},
};

/// Records and flushes until a reservation is refused: how many were admitted, and why the last was not.
fn fill(lane: &Lane, writer: &mut Writer, durability: Durability) -> (u64, Unavailable) {
    let agent = "x".repeat(250);
    let path = "/".repeat(600);
    let mut admitted = 0;
    loop {
        match lane.reserve(durability, 1) {
            Ok(mut reservation) => {
                let mut event = event(1);
                event.path = Some(&path);
                event.personal.user_agent = Some(&agent);
                let mut receipt = reservation.record(&event).durable();
                writer.turn().expect("an admitted record is written");
                assert!(super::answer(&mut receipt).expect("answered").is_ok());
                admitted += 1;
            }
            Err(refused) => return (admitted, refused),
        }
    }
}

#[test]
fn dropped_reservation_gives_its_slots_back() {
    let (spool, mut writer) = stepped(&SimDisk::new(Lie::Honest));
    let lane = spool.lane();

    let mut reservation = lane.reserve(Durability::Durable, 3).expect("admitted");
    drop(reservation.record(&event(1)));
    assert_eq!(spool.state().outstanding, 3);
    drop(reservation);

    assert_eq!(spool.state().outstanding, 1, "the queued record still holds its slot");
    writer.turn().expect("written");
    assert_eq!(spool.state().outstanding, 0);
    assert_eq!(spool.durable_seq(), 1, "a dropped receipt does not take the record back");
}

#[test]
fn slots_that_will_not_be_used_are_given_back_early_and_once() {
    let (spool, _writer) = stepped(&SimDisk::new(Lie::Honest));

    let mut reservation = spool.lane().reserve(Durability::Durable, 3).expect("admitted");
    reservation.keep(1);
    reservation.keep(2);

    assert_eq!((reservation.slots(), spool.state().outstanding), (1, 1));
    drop(reservation);
    assert_eq!(spool.state().outstanding, 0);
}

#[test]
fn more_slots_than_outstanding_max_are_refused_and_counted() {
    let config = SpoolConfig { outstanding_max: 4, ..config() };
    let (spool, _writer) = Spool::open_stepped(config, Arc::new(SimDisk::new(Lie::Honest))).expect("opens");
    let lane = spool.lane();

    let held: Vec<Reservation> = (0..2).map(|_| lane.reserve(Durability::Strict, 2).expect("admitted")).collect();

    assert_eq!(lane.reserve(Durability::Strict, 1).expect_err("refused"), Unavailable::Busy);
    assert_eq!(spool.state().refused_total, 1);
    drop(held);
    assert!(lane.reserve(Durability::Strict, 4).is_ok());
}

#[test]
fn full_spool_refuses_buffered_records_first_and_all_at_95_percent() {
    let (spool, mut writer) = stepped(&SimDisk::new(Lie::Honest));
    let lane = spool.lane();

    let (_, refused) = fill(&lane, &mut writer, Durability::Buffered);
    assert_eq!(refused, Unavailable::Full);
    let at_buffered = spool.state().fill_permille;
    assert!((840..=850).contains(&at_buffered), "{at_buffered}");

    let (_, refused) = fill(&lane, &mut writer, Durability::Durable);
    assert_eq!(refused, Unavailable::Full);
    let at_durable = spool.state().fill_permille;
    assert!((940..=950).contains(&at_durable), "{at_durable}");
    assert!(lane.reserve(Durability::Strict, 1).is_err());
}

/// ENOSPC must hit the admission of a request, never its record.
#[test]
fn full_disk_refuses_new_requests_and_no_admitted_one() {
    let disk = SimDisk::new(Lie::Honest);
    let big = SpoolConfig { disk_bytes_max: 1 << 30, segment_bytes: 1 << 16, ..config() };
    disk.set_capacity(Some(5 << 16));
    let (spool, mut writer) = Spool::open_stepped(big, Arc::new(disk.clone())).expect("opens");
    let lane = spool.lane();

    // Reserved in advance, recorded when everything else is full.
    let mut early = lane.reserve(Durability::Durable, 8).expect("admitted");
    let (admitted, refused) = fill(&lane, &mut writer, Durability::Durable);
    assert!(admitted > 50, "{admitted}");
    assert_eq!(refused, Unavailable::Space);
    for id in 0..8 {
        let mut receipt = early.record(&event(id)).durable();
        writer.turn().expect("the reserved space is there");
        assert!(super::answer(&mut receipt).expect("answered").is_ok());
    }
    assert!(!spool.state().failed);

    let loaded = spool.durable_seq();
    assert!(spool.release(spool.incarnation(), loaded).expect("released") > 0);
    writer.turn().expect("space is taken again");
    assert!(lane.reserve(Durability::Durable, 1).is_ok(), "freed space admits again");
}

#[test]
fn disk_that_is_full_at_opening_refuses_requests_until_there_is_space() {
    let disk = SimDisk::new(Lie::Honest);
    disk.fail(Operation::Allocate, 0, io::ErrorKind::StorageFull);
    let (spool, mut writer) = stepped(&disk);
    let lane = spool.lane();

    assert_eq!(lane.reserve(Durability::Strict, 1).expect_err("refused"), Unavailable::Space);
    assert!(!spool.state().failed);

    disk.set_capacity(None);
    spool.handle.shared.spares.retry();
    writer.turn().expect("provisioned");
    let mut receipt = record(&lane, 1);
    writer.turn().expect("written");
    assert_eq!(super::answer(&mut receipt), Some(Ok(1)));
}

/// Every schedule of reservations keeps the promise to those admitted: the writer never lacks space.
#[test]
fn reservations_are_always_backed_by_allocated_space() {
    for seed in 0..200 {
        let mut random = crate::simulate::Random::new(seed);
        let disk = SimDisk::new(Lie::Honest);
        let capacity = 4 + random.below(6);
        disk.set_capacity(Some(usize::try_from(capacity << 15).expect("small")));
        let roomy = SpoolConfig { disk_bytes_max: 1 << 30, segment_bytes: 1, ..config() };
        let (spool, mut writer) = Spool::open_stepped(roomy, Arc::new(disk)).expect("opens");
        let lane = spool.lane();
        let path = "\u{1}".repeat(600);
        let mut held = Vec::new();

        for _ in 0..300 {
            if random.chance(60) {
                held.extend(lane.reserve(Durability::Durable, u8::try_from(random.below(9)).expect("small")));
            }
            if random.chance(50) && !held.is_empty() {
                let index = usize::try_from(random.below(held.len() as u64)).expect("small");
                let mut reservation: Reservation = held.swap_remove(index);
                while reservation.slots() > 0 && random.chance(90) {
                    let mut event = event(1);
                    event.path = Some(&path);
                    event.actor = Some(&path);
                    event.host = Some(&path);
                    event.sni = Some(&path);
                    drop(reservation.record(&event));
                }
            }
            if random.chance(40) {
                writer.turn().unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            }
        }
        writer.turn().unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    }
}
