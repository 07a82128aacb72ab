//! The checker: runs a spool over a simulated disk through several power losses and holds what was acknowledged against
//! what is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use uuid::Uuid;

use super::{Lie, Random, SimDisk};
use crate::{
    event::{Class, Event, Phase},
    reader::Rows,
    spool::{Durability, Durable, Lane, Spool, SpoolConfig, Writer},
};

/// What a run without a violation did: a run that acknowledged nothing proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Rows read back and compared.
    pub rows: u64,
    /// Power losses in the middle of an operation.
    pub crashes: u64,
    /// Torn tails cut by recovery.
    pub torn: u64,
    /// Segments released after loading.
    pub released: u64,
}

impl Tally {
    /// Adds another run's figures.
    pub const fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.rows += other.rows;
        self.crashes += other.crashes;
        self.torn += other.torn;
        self.released += other.released;
    }
}

/// What the outside world believes.
#[derive(Debug, Default)]
struct World {
    /// Acknowledged ids by (incarnation, seq).
    acknowledged: BTreeMap<(u64, u64), u128>,
    /// Loaded and released through this seq, by incarnation.
    watermarks: BTreeMap<u64, u64>,
    next_id: u128,
    tally: Tally,
}

/// One run, decided by `seed` alone: up to four lives with a power loss each, and a last opening that is checked.
///
/// # Errors
/// The first violation, in words: an acknowledged record missing, doubled or changed, a gap, a false alarm.
pub fn run(seed: u64, lie: Lie) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(lie);
    let mut world = World::default();
    let lives = 1 + random.below(4);
    for _ in 0..lives {
        disk.arm(Some(random.below(160)));
        world.live(&disk, &mut random)?;
        world.tally.crashes += u64::from(disk.is_off());
        disk.crash(&mut random);
    }
    let (spool, _writer) = open(&disk)?;
    world.verify(&spool)?;
    Ok(world.tally)
}

/// The smallest sizes, so that segments are changed often.
fn open(disk: &SimDisk) -> Result<(Spool, Writer), String> {
    let config = SpoolConfig { disk_bytes_max: 4 << 20, segment_bytes: 1, ..SpoolConfig::new("/spool", "node-1") };
    Spool::open_stepped(config, Arc::new(disk.clone())).map_err(|error| format!("opening failed: {error:?}"))
}

impl World {
    /// One life: open, check, record and load at random until the power goes or the life is over.
    fn live(&mut self, disk: &SimDisk, random: &mut Random) -> Result<(), String> {
        let (spool, mut writer) = match open(disk) {
            Ok(opened) => opened,
            Err(_) if disk.is_off() => return Ok(()),
            Err(violation) => return Err(violation),
        };
        if !disk.is_off() {
            self.verify(&spool)?;
        }
        let lanes = [spool.lane(), spool.lane()];
        let mut waiting: Vec<(u128, Durable)> = Vec::new();
        for _ in 0..random.below(80) {
            for lane in &lanes {
                for _ in 0..random.below(6) {
                    waiting.extend(self.record(lane, random));
                }
            }
            let turned = if random.chance(3) { writer.finish() } else { writer.turn() };
            self.collect(spool.incarnation(), &mut waiting)?;
            if let Err(error) = turned {
                return if disk.is_off() { Ok(()) } else { Err(format!("the writer failed: {error:?}")) };
            }
            if random.chance(10) {
                self.load(&spool, disk, random)?;
            }
        }
        drop(writer);
        self.collect(spool.incarnation(), &mut waiting)
    }

    /// One record of a random size; `None` when it is refused.
    fn record(&mut self, lane: &Lane, random: &mut Random) -> Option<(u128, Durable)> {
        let mut reservation = lane.reserve(Durability::Durable, 1).ok()?;
        self.next_id += 1;
        let agent = "x".repeat(usize::try_from(random.below(250)).unwrap_or(0));
        let path = "/".repeat(usize::try_from(random.below(600)).unwrap_or(0));
        let mut event = Event::new(Class::Access, Phase::Outcome, Uuid::from_u128(self.next_id), 1, "r", "node-1", "q");
        event.path = Some(&path);
        event.personal.user_agent = Some(&agent);
        Some((self.next_id, reservation.record(&event).durable()))
    }

    fn collect(&mut self, incarnation: u64, waiting: &mut Vec<(u128, Durable)>) -> Result<(), String> {
        let mut context = Context::from_waker(Waker::noop());
        let mut still = Vec::new();
        for (id, mut receipt) in waiting.drain(..) {
            match Pin::new(&mut receipt).poll(&mut context) {
                Poll::Pending => still.push((id, receipt)),
                Poll::Ready(Err(_)) => {}
                Poll::Ready(Ok(seq)) => {
                    self.tally.acknowledged += 1;
                    if self.acknowledged.insert((incarnation, seq), id).is_some() {
                        return Err(format!("seq {seq} of incarnation {incarnation} was acknowledged twice"));
                    }
                }
            }
        }
        *waiting = still;
        Ok(())
    }

    /// What the loader does: reads some rows from the watermark on, checks them, moves the watermark, releases.
    fn load(&mut self, spool: &Spool, disk: &SimDisk, random: &mut Random) -> Result<(), String> {
        let mut reader = spool.reader();
        for incarnation in reader.incarnations().map_err(|error| error.to_string())? {
            let after = self.watermarks.get(&incarnation).copied().unwrap_or(0);
            let rows_max = usize::try_from(random.below(200)).unwrap_or(0);
            let batch = match reader.read(incarnation, after, rows_max) {
                Ok(batch) => batch,
                Err(_) if disk.is_off() => return Ok(()),
                Err(error) => return Err(format!("reading failed: {error:?}")),
            };
            self.compare(incarnation, after, &batch.rows)?;
            let through = after + u64::try_from(batch.rows.len()).unwrap_or(0);
            self.watermarks.insert(incarnation, through);
            match spool.release(incarnation, through) {
                Ok(released) => self.tally.released += u64::try_from(released).unwrap_or(0),
                Err(_) if disk.is_off() => return Ok(()),
                Err(error) => return Err(format!("release failed: {error:?}")),
            }
        }
        Ok(())
    }

    /// Everything that was acknowledged and not released is there once, in order, and nothing raised a false alarm.
    fn verify(&mut self, spool: &Spool) -> Result<(), String> {
        let report = spool.recovery();
        self.tally.torn += u64::from(report.torn.is_some());
        if !report.damage.is_empty() || report.damaged_before > 0 || !report.gaps.is_empty() {
            return Err(format!("a false alarm: {report:?}"));
        }
        let mut reader = spool.reader();
        let mut missing = self.acknowledged.clone();
        let mut seen = BTreeSet::new();
        for incarnation in reader.incarnations().map_err(|error| error.to_string())? {
            let watermark = self.watermarks.get(&incarnation).copied().unwrap_or(0);
            let mut after = watermark;
            loop {
                let batch = reader.read(incarnation, after, 100).map_err(|error| format!("reading failed: {error:?}"))?;
                self.compare(incarnation, after, &batch.rows)?;
                for row in &batch.rows {
                    missing.remove(&(incarnation, row.seq));
                    if !seen.insert(event_id(row.event)) {
                        return Err(format!("seq {} of incarnation {incarnation} is a record that is there already", row.seq));
                    }
                }
                if batch.gap.is_some() {
                    return Err(format!("incarnation {incarnation} has a gap after {after}"));
                }
                if batch.rows.is_empty() {
                    break;
                }
                after += u64::try_from(batch.rows.len()).unwrap_or(0);
            }
        }
        missing.retain(|(incarnation, seq), _| self.watermarks.get(incarnation).is_none_or(|through| seq > through));
        if missing.is_empty() { Ok(()) } else { Err(format!("acknowledged and missing: {:?}", missing.keys())) }
    }

    /// Rows follow `after` without a gap, and each acknowledged one carries the id that was acknowledged.
    fn compare(&mut self, incarnation: u64, after: u64, rows: &Rows) -> Result<(), String> {
        for (row, seq) in rows.iter().zip(after + 1..) {
            self.tally.rows += 1;
            if (row.incarnation, row.seq) != (incarnation, seq) {
                return Err(format!("incarnation {incarnation}: seq {} stands where {seq} should", row.seq));
            }
            let Some(id) = event_id(row.event) else {
                return Err(format!("seq {seq} of incarnation {incarnation} has no event id"));
            };
            if self.acknowledged.get(&(incarnation, seq)).is_some_and(|acknowledged| *acknowledged != id) {
                return Err(format!("seq {seq} of incarnation {incarnation} is another record than was acknowledged"));
            }
        }
        Ok(())
    }
}

fn event_id(event: &[u8]) -> Option<u128> {
    let (_, rest) = std::str::from_utf8(event).ok()?.split_once("\"event_id\":\"")?;
    Some(Uuid::parse_str(rest.get(..36)?).ok()?.as_u128())
}
