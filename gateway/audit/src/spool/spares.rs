//! Segments made ahead, away from the writer: their space is taken and written with zeros before anyone needs it.
//!
//! Into space that was only reserved (`fallocate`), every later sync changes the file's metadata too, and waits for the file
//! system's journal where there is one; over written zeros `fdatasync` is a data write and nothing else (ADR 0011 has figures).

use std::{
    collections::VecDeque,
    io,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use parking_lot::Mutex;

use super::{SEGMENT_BYTES_MIN, SpoolConfig, SpoolError, catalog::Segment, doing, shared::Shared, space::Space};
use crate::{
    layout::{self, SPARE_SUFFIX},
    scan::bytes_of,
    storage::StorageFile,
};

/// How often a full disk is tried again.
const SPACE_RETRY: Duration = Duration::from_secs(1);

/// Zeros of one write and sync. All 64 MiB at once held the writer's syncs up for 100 ms, pieces of this size for one.
static PIECE: [u8; 256 * 1_024] = [0; 256 * 1_024];

/// Between two pieces the disk is the writer's: 80 MiB/s are left, which is 100,000 records a second.
const PAUSE: Duration = Duration::from_millis(2);

/// The first segment is made while the opener waits, so it is smaller: room for 4,000 slots until the next one is there.
const FIRST_BYTES_MAX: u64 = 16 << 20;

/// A file of zeros, synced, that has a segment's length and no frame.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// The spares, and whoever makes them: the thread `audit-spares`, or in a stepped run whoever turns the writer.
#[derive(Debug)]
pub(crate) struct Spares {
    segment_bytes: u64,
    stock: Mutex<Stock>,
    maker: Mutex<Maker>,
    /// The file of a loaded segment, of a segment's length and full of records: the next spare is made of it.
    returned: Mutex<Option<String>>,
    /// Space was freed: a full disk is worth another try at once.
    wants_retry: AtomicBool,
    is_closing: AtomicBool,
    /// A write or sync of a spare failed, which ends the log like any other.
    has_failed: AtomicBool,
    failure: Mutex<Option<SpoolError>>,
    thread: OnceLock<Thread>,
}

/// Held for a few instructions only.
#[derive(Debug, Default)]
struct Stock {
    spares: VecDeque<Spare>,
    spares_backing: u64,
    live_backing: u64,
}

impl Stock {
    /// What is certainly there for records.
    const fn backing(&self) -> u64 {
        self.live_backing.saturating_add(self.spares_backing)
    }
}

/// Held while a spare is being made, so that there is one maker at a time.
#[derive(Debug)]
struct Maker {
    disk_bytes_max: u64,
    made: u64,
    /// The disk was full: not tried again before this.
    blocked_until: Option<Duration>,
}

/// Who waits for the spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Nobody yet: the writer's syncs go first.
    Gentle,
    /// The caller.
    AtOnce,
}

impl Spares {
    pub(super) fn new(config: &SpoolConfig) -> Self {
        let segment_bytes = config.segment_bytes;
        let maker = Maker { disk_bytes_max: config.disk_bytes_max, made: 0, blocked_until: None };
        Self {
            segment_bytes,
            stock: Mutex::new(Stock::default()),
            maker: Mutex::new(maker),
            returned: Mutex::new(None),
            wants_retry: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            thread: OnceLock::new(),
        }
    }

    /// The thread's body: makes what is wanted until the spool is closed or fails.
    pub(super) fn run(&self, shared: &Shared) {
        while !self.is_closing() {
            if let Err(error) = self.provision_at(shared, Pace::Gentle) {
                *self.failure.lock() = Some(error);
                self.has_failed.store(true, Ordering::SeqCst);
                shared.bell.ring();
                return;
            }
            let is_blocked = self.maker.lock().blocked_until.is_some();
            if self.is_closing() {
                return;
            }
            // A call of `wake` since the conditions were looked at ends the rest at once.
            if is_blocked { std::thread::park_timeout(SPACE_RETRY) } else { std::thread::park() }
        }
    }

    pub(super) fn attach(&self, thread: Thread) {
        if self.thread.set(thread).is_ok() {
            self.wake();
        }
    }

    /// Tells the maker to look again.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Space was freed.
    pub(super) fn retry(&self) {
        self.wants_retry.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Nothing more is made, and what is being made is given up.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    /// What the thread ended with, once.
    pub(super) fn take_failure(&self) -> Option<SpoolError> {
        if self.has_failed() { self.failure.lock().take() } else { None }
    }

    /// The live segment can still take this much for certain.
    pub(super) fn set_live_backing(&self, shared: &Shared, bytes: u64) {
        let mut stock = self.stock.lock();
        stock.live_backing = bytes;
        shared.space.set_backing(stock.backing());
    }

    /// A spare for the writer, made now when there is none; `None` when the disk is full. It stays counted as space for
    /// records until [`Spares::is_live`].
    pub(super) fn take(&self, shared: &Shared) -> Result<Option<Spare>, SpoolError> {
        if let Some(spare) = self.pop() {
            return Ok(Some(spare));
        }
        let mut maker = self.maker.lock();
        if let Some(spare) = self.pop() {
            return Ok(Some(spare));
        }
        maker.blocked_until = None;
        self.make_or_block(shared, &mut maker, self.segment_bytes, Pace::AtOnce)?;
        Ok(self.pop())
    }

    fn pop(&self) -> Option<Spare> {
        self.stock.lock().spares.pop_front()
    }

    /// A spare that was taken is the live segment now: what it can take, instead of what the one before could.
    pub(super) fn is_live(&self, shared: &Shared, spare_bytes: u64, live_backing: u64) {
        let mut stock = self.stock.lock();
        stock.spares_backing = stock.spares_backing.saturating_sub(Space::backing_of_spare(spare_bytes));
        stock.live_backing = live_backing;
        shared.space.set_backing(stock.backing());
        drop(stock);
        self.wake();
    }

    /// The name under which the file of a loaded segment waits to be written over, if there is need of one.
    pub(super) fn place_for(&self, segment: &Segment) -> Option<String> {
        let fits = segment.disk_bytes == self.segment_bytes && !self.is_closing() && self.returned.lock().is_none();
        fits.then(|| format!("{}.loaded{SPARE_SUFFIX}", segment.name))
    }

    /// The file has that name for good.
    pub(super) fn returned(&self, name: String) {
        *self.returned.lock() = Some(name);
    }

    /// Makes the first segment's file.
    pub(super) fn make_first(&self, shared: &Shared) -> Result<(), SpoolError> {
        let mut maker = self.maker.lock();
        self.make_or_block(shared, &mut maker, self.segment_bytes.min(FIRST_BYTES_MAX), Pace::AtOnce)
    }

    /// Makes what is missing now: what a stepped run calls instead of the thread.
    #[cfg(any(test, feature = "simulate"))]
    pub(super) fn provision(&self, shared: &Shared) -> Result<(), SpoolError> {
        self.provision_at(shared, Pace::AtOnce)
    }

    /// Makes spares until there is one, and twice what is promised.
    fn provision_at(&self, shared: &Shared, pace: Pace) -> Result<(), SpoolError> {
        let mut maker = self.maker.lock();
        let now = shared.storage.monotonic();
        if self.wants_retry.swap(false, Ordering::SeqCst) || maker.blocked_until.is_some_and(|until| now >= until) {
            maker.blocked_until = None;
        }
        while !self.is_closing() && maker.blocked_until.is_none() {
            if !self.stock.lock().spares.is_empty() && !shared.space.needs_spare() {
                shared.space.want_spare(false);
                break;
            }
            self.make_or_block(shared, &mut maker, self.segment_bytes, pace)?;
        }
        Ok(())
    }

    /// Makes a spare of at most `bytes_max`. A full disk is not an error here: admitted requests have their space, and new
    /// ones are refused until there is more.
    fn make_or_block(&self, shared: &Shared, maker: &mut Maker, bytes_max: u64, pace: Pace) -> Result<(), SpoolError> {
        let returned = self.returned.lock().take();
        let made = if let Some(name) = returned {
            self.make_of(shared, name, pace)
        } else {
            let allocated = shared.catalog.lock().allocated_bytes();
            let bytes = maker.disk_bytes_max.saturating_sub(allocated).min(bytes_max);
            if bytes < SEGMENT_BYTES_MIN { Err(no_space()) } else { self.make(shared, maker, bytes, pace) }
        };
        match made {
            Err(error) if is_full(&error) => {
                tracing::warn!("audit spool cannot preallocate more space: {error}");
                maker.blocked_until = Some(shared.storage.monotonic() + SPACE_RETRY);
                // Stays wanted: nobody needs to ask for what the timer will try again.
                shared.space.want_spare(true);
                Ok(())
            }
            other => other,
        }
    }

    fn make(&self, shared: &Shared, maker: &mut Maker, bytes: u64, pace: Pace) -> Result<(), SpoolError> {
        maker.made += 1;
        let name = format!("{}{SPARE_SUFFIX}", layout::segment_name(shared.incarnation, maker.made));
        let path = shared.dir.join(&name);
        let storage = &shared.storage;
        let file = storage.create(&path).map_err(doing("create a spare"))?;
        let filled = file.allocate(bytes).and_then(|()| self.fill(shared, &*file, bytes, pace)).and_then(|is_whole| {
            storage.sync_dir(&shared.dir)?;
            Ok(is_whole)
        });
        if matches!(filled, Ok(true)) {
            shared.catalog.lock().spare_bytes += bytes;
            self.add(shared, Spare { file, name, bytes });
            return Ok(());
        }
        drop(file);
        if let Err(left) = storage.remove(&path) {
            tracing::debug!("an unfinished spare stays until the next opening: {left}");
        }
        filled.map(|_| ()).map_err(doing("preallocate a spare"))
    }

    /// Writes zeros over the file of a loaded segment: its space is kept, and the file system changes nothing but the data.
    fn make_of(&self, shared: &Shared, name: String, pace: Pace) -> Result<(), SpoolError> {
        let file = shared.storage.open(&shared.dir.join(&name)).map_err(doing("open a spare"))?;
        if self.fill(shared, &*file, self.segment_bytes, pace).map_err(doing("write zeros over a spare"))? {
            self.add(shared, Spare { file, name, bytes: self.segment_bytes });
        } else {
            self.returned(name);
        }
        Ok(())
    }

    fn add(&self, shared: &Shared, spare: Spare) {
        let mut stock = self.stock.lock();
        stock.spares_backing = stock.spares_backing.saturating_add(Space::backing_of_spare(spare.bytes));
        stock.spares.push_back(spare);
        shared.space.set_backing(stock.backing());
    }

    /// Writes zeros and syncs them; `false` when the spool is closed meanwhile and nobody waits for them.
    fn fill(&self, shared: &Shared, file: &dyn StorageFile, bytes: u64, pace: Pace) -> io::Result<bool> {
        let mut at = 0;
        while at < bytes {
            if at > 0 {
                file.sync_data()?;
            }
            if pace == Pace::Gentle {
                if self.is_closing() {
                    return Ok(false);
                }
                if at > 0 && !shared.space.needs_spare() {
                    std::thread::park_timeout(PAUSE);
                }
            }
            let piece = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(PIECE.len());
            file.write_at(PIECE.get(..piece).unwrap_or_default(), at)?;
            at += bytes_of(piece);
        }
        file.sync_all()?;
        Ok(true)
    }

    /// The names of every spare, for good: nothing is made afterwards.
    pub(super) fn close_and_drain(&self) -> Vec<String> {
        self.close();
        // Waits for the piece that is being written.
        let maker = self.maker.lock();
        let spares = self.stock.lock().spares.drain(..).map(|spare| spare.name).chain(self.returned.lock().take()).collect();
        drop(maker);
        spares
    }
}

pub(super) fn no_space() -> SpoolError {
    doing("preallocate a segment")(io::ErrorKind::StorageFull.into())
}

fn is_full(error: &SpoolError) -> bool {
    matches!(error, SpoolError::Io { source, .. }
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}
