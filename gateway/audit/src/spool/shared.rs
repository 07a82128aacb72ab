//! What lanes, reader, handle and writer share, and how the writer is woken.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    RecoveryReport, SpoolConfig, SpoolError, SpoolState,
    catalog::{Catalog, Condition, Segment},
    doing,
    lane::LaneShared,
    recovery,
    space::Space,
    spares::Spares,
    writer::Writer,
};
use crate::{
    layout::{self, BATCH_RECORDS_MAX},
    storage::{Storage, StorageFile},
};

/// Everything that outlives a call.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) incarnation: u64,
    pub(crate) recovery: RecoveryReport,
    pub(crate) space: Space,
    pub(crate) catalog: Mutex<Catalog>,
    pub(crate) lanes: Mutex<Lanes>,
    pub(crate) bell: Bell,
    pub(crate) spares: Spares,
}

/// The lanes the writer drains.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    pub(crate) list: Vec<Arc<LaneShared>>,
    /// The writer is gone: a lane made now can only lose.
    pub(crate) is_ended: bool,
}

/// An opened spool whose writer does not run yet.
pub(crate) struct Started {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) lock: Box<dyn StorageFile>,
}

/// Locks, recovers, claims an incarnation and lays the first segment.
pub(crate) fn start(config: SpoolConfig, storage: Arc<dyn Storage>) -> Result<Started, SpoolError> {
    storage.create_dir(&config.dir).map_err(doing("create the directory"))?;
    let lock = storage.lock(&config.dir.join(layout::LOCK_NAME)).map_err(doing("lock the directory"))?;
    let Some(lock) = lock else {
        return Err(SpoolError::Locked { dir: config.dir });
    };
    let recovered = recovery::recover(&config, &*storage)?;
    let outstanding_max = u64::try_from(config.outstanding_max).unwrap_or(u64::MAX);
    let shared = Arc::new(Shared {
        dir: config.dir.clone(),
        storage,
        incarnation: recovered.incarnation,
        recovery: recovered.report,
        space: Space::new(config.disk_bytes_max, outstanding_max, recovered.catalog.used_bytes()),
        catalog: Mutex::new(recovered.catalog),
        lanes: Mutex::new(Lanes::default()),
        bell: Bell::default(),
        spares: Spares::new(&config),
    });
    let writer = Writer::new(Arc::clone(&shared), config)?;
    Ok(Started { shared, writer, lock })
}

impl Shared {
    pub(crate) fn state(&self) -> SpoolState {
        let damaged = self.catalog.lock().damaged();
        self.space.state(damaged)
    }

    /// See [`super::Spool::release`].
    pub(crate) fn release(&self, incarnation: u64, through_seq: u64) -> Result<usize, SpoolError> {
        let loaded: Vec<Segment> = {
            let catalog = self.catalog.lock();
            let is_loaded =
                |segment: &&Segment| segment.incarnation == incarnation && segment.condition == Condition::Done && segment.last_seq <= through_seq;
            catalog.iter().filter(is_loaded).cloned().collect()
        };
        for segment in &loaded {
            // Not under the catalog's lock, which the writer takes for every batch.
            self.retire(segment)?;
        }
        Ok(loaded.len())
    }
}

impl Shared {
    /// Takes a loaded segment out of the log: its file becomes the next spare's, or goes. Freeing 64 MiB holds the writer's syncs up
    /// for 50 ms on the machine where it was measured (ADR 0011).
    ///
    /// One at a time, oldest first, and durable before anything is written over: power loss may then bring back the last one
    /// whole, but never leave a hole or a half that the next opening would report as missing records.
    fn retire(&self, segment: &Segment) -> Result<(), SpoolError> {
        let path = self.dir.join(&segment.name);
        let spare = self.spares.place_for(segment);
        let taken = match &spare {
            Some(name) => self.storage.rename(&path, &self.dir.join(name)),
            None => self.storage.remove(&path),
        };
        match taken {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(doing("remove a loaded segment")(error));
            }
            _ => {}
        }
        let is_gone = taken.is_err();
        self.catalog.lock().remove(segment);
        self.space.sub_used(segment.used_bytes());
        self.storage.sync_dir(&self.dir).map_err(doing("sync the directory"))?;
        match spare {
            Some(name) if !is_gone => {
                self.catalog.lock().spare_bytes += segment.disk_bytes;
                self.spares.returned(name);
            }
            _ => {}
        }
        self.spares.retry();
        Ok(())
    }
}

/// The writer is working and will look at the queues again before it rests.
const BUSY: u8 = 0;
/// It sleeps until anything is recorded.
pub(crate) const IDLE: u8 = 1;
/// It sleeps over records that nobody waits for.
pub(crate) const LAZY: u8 = 2;
/// It waits a moment for company.
pub(crate) const GATHERING: u8 = 3;

/// A batch that can take no more.
const FULL: u64 = BATCH_RECORDS_MAX;

/// Wakes the writer once for each time it rests, not once for each record.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    mode: AtomicU8,
    queued: AtomicU64,
    is_urgent: AtomicBool,
    is_closing: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    pub(crate) fn attach(&self, thread: Thread) {
        if self.thread.set(thread).is_ok() {
            self.ring();
        }
    }

    /// One record was queued. `outstanding` slots are taken in all: when every one of them is queued, nobody else is coming
    /// and waiting for company is idle.
    pub(crate) fn recorded(&self, is_urgent: bool, outstanding: u64) {
        if is_urgent {
            self.urge();
        }
        let queued = self.queued.fetch_add(1, Ordering::SeqCst) + 1;
        let rings = match self.mode.load(Ordering::SeqCst) {
            IDLE => true,
            LAZY => is_urgent || queued >= FULL,
            GATHERING => queued >= FULL || queued >= outstanding,
            _ => false,
        };
        if rings {
            self.ring();
        }
    }

    /// Somebody waits for a record that was queued for nobody.
    pub(crate) fn hurry(&self) {
        if !self.is_urgent.load(Ordering::SeqCst) {
            self.urge();
            if matches!(self.mode.load(Ordering::SeqCst), IDLE | LAZY) {
                self.ring();
            }
        }
    }

    fn urge(&self) {
        if !self.is_urgent.load(Ordering::SeqCst) {
            self.is_urgent.store(true, Ordering::SeqCst);
        }
    }

    /// Ends the writer's rest, if it rests.
    pub(crate) fn ring(&self) {
        if self.mode.swap(BUSY, Ordering::SeqCst) != BUSY
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.ring();
    }

    // The writer's side.

    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::SeqCst)
    }

    pub(crate) fn drained(&self, records: u64) {
        self.queued.fetch_sub(records, Ordering::SeqCst);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queued() >= FULL
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.is_urgent.load(Ordering::SeqCst)
    }

    pub(crate) fn calm(&self) {
        self.is_urgent.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    /// Sleeps until [`Bell::ring`], at most `for_max`; not at all when `is_due` already holds. It may return early: the
    /// caller looks again.
    pub(crate) fn rest(&self, mode: u8, for_max: Option<Duration>, is_due: impl FnOnce() -> bool) {
        self.mode.store(mode, Ordering::SeqCst);
        if !is_due() {
            match for_max {
                Some(for_max) => std::thread::park_timeout(for_max),
                None => std::thread::park(),
            }
        }
        self.mode.store(BUSY, Ordering::SeqCst);
    }
}
