//! The spool: events in, durable records out.
//!
//! A request takes a [`Reservation`] from its core's [`Lane`] before it acts, which counts slots and disk space, so that a
//! full disk refuses new requests and never an admitted one. [`Reservation::record`] appends to the lane's queue; one
//! writer thread drains all lanes into one batch, one positional write and one `fdatasync`, and then resolves the
//! [`Receipt`]s. The first error of a write or sync is final: nothing is acknowledged after it.

mod catalog;
mod files;
mod lane;
mod pace;
mod recovery;
mod shared;
mod space;
mod spares;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;

#[cfg(any(test, feature = "simulate"))]
pub(crate) use self::writer::Writer;
pub(crate) use self::{catalog::Segment, shared::Shared};
pub use self::{
    lane::{Delivery, Durable, Lane, Lost, Receipt, Reservation},
    recovery::{Damage, Gap, RecoveryReport, TornTail},
    space::{Durability, SpoolState, Unavailable},
};
pub use crate::scan::Fault;
use crate::{
    layout::NODE_BYTES_MAX,
    reader::Reader,
    storage::{RealStorage, Storage, StorageFile},
};

/// The smallest segment: a header, and a worst-case record several times over.
const SEGMENT_BYTES_MIN: u64 = 32 * 1_024;

/// How a spool is laid out and paced.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// The directory; made if missing, owned by one process at a time.
    pub dir: PathBuf,
    /// The node's name, at most 256 bytes; a directory belongs to one node for good.
    pub node: String,
    /// How much the spool may take on disk, at least 128 KiB.
    pub disk_bytes_max: u64,
    /// The length of a segment, 64 MiB by default; made smaller where `disk_bytes_max` would not hold four of them.
    pub segment_bytes: u64,
    /// How long the first waiter may wait for company, 500 us by default.
    pub flush_after: Duration,
    /// Slots that may be reserved and not yet durable, 65,536 by default.
    pub outstanding_max: usize,
    /// An empty directory counts its incarnations from above this number, 0 by default. Microseconds since 1970 keep a
    /// directory that was lost and made anew from repeating numbers that the database has already seen.
    pub incarnation_floor: u64,
}

impl SpoolConfig {
    /// The default figures: 16 GiB of disk, segments of 64 MiB, 500 us, 65,536 slots.
    pub fn new(dir: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            node: node.into(),
            disk_bytes_max: 16 << 30,
            segment_bytes: 64 << 20,
            flush_after: Duration::from_micros(500),
            outstanding_max: 65_536,
            incarnation_floor: 0,
        }
    }

    /// Refuses what cannot work and fits the segments to the disk.
    fn checked(mut self) -> Result<Self, SpoolError> {
        if self.node.is_empty() || self.node.len() > NODE_BYTES_MAX {
            return Err(SpoolError::Config { reason: "the node's name must have 1 to 256 bytes" });
        }
        if self.disk_bytes_max < 4 * SEGMENT_BYTES_MIN {
            return Err(SpoolError::Config { reason: "disk_bytes_max must be at least 131072" });
        }
        if self.outstanding_max == 0 {
            return Err(SpoolError::Config { reason: "outstanding_max must be at least 1" });
        }
        self.segment_bytes = self.segment_bytes.min(self.disk_bytes_max / 4).max(SEGMENT_BYTES_MIN);
        Ok(self)
    }
}

/// Why the spool could not be opened, read or trimmed.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A figure in the configuration cannot work.
    #[error("spool configuration: {reason}")]
    Config {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another process, or another spool of this one, has the directory.
    #[error("spool directory {dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory holds another node's records.
    #[error("spool file {file} belongs to node {found}, not to {expected}")]
    OtherNode {
        /// Which file says so.
        file: String,
        /// The node it names.
        found: String,
        /// The node that opens.
        expected: String,
    },
    /// A segment was written by another version of the format; nothing was changed.
    #[error("spool file {file} has format version {version}, which this program does not read")]
    Version {
        /// Which file.
        file: String,
        /// Its version.
        version: u16,
    },
    /// A durable record can no longer be read as it was written.
    #[error("spool file {file} is damaged at byte {offset}: {fault}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where the batch starts that is not whole.
        offset: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A file operation failed.
    #[error("spool: cannot {what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>, SpoolError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(doing("start a thread"))
}

/// Names what was being done when a file operation failed.
pub(crate) fn doing(what: &'static str) -> impl FnOnce(io::Error) -> SpoolError {
    move |source| SpoolError::Io { what, source }
}

/// A handle on the spool; clones share it, and the last one to go closes it.
#[derive(Debug, Clone)]
pub struct Spool {
    handle: Arc<Handle>,
}

/// Closes when the last clone goes.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// The writer, and the maker of spares.
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    /// Held until the writer has stopped: an opener in between would cut what is still being written.
    lock: Mutex<Option<Box<dyn StorageFile>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Handle {
    fn close(&self) {
        self.shared.bell.close();
        self.shared.spares.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the audit spool ended by a panic");
            }
        }
        self.lock.lock().take();
    }
}

impl Spool {
    /// Locks the directory, recovers what is in it, claims the next incarnation and starts the threads `audit-spool`, which writes, and
    /// `audit-spares`, which makes segments ahead.
    ///
    /// A disk that is full does not fail the opening, because the loader must be able to empty it; until then every
    /// [`Lane::reserve`] is refused.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] while another process has the directory; [`SpoolError::OtherNode`] and
    /// [`SpoolError::Version`] when the directory is not ours to change; [`SpoolError::Io`]; [`SpoolError::Config`].
    pub fn open(config: SpoolConfig) -> Result<Self, SpoolError> {
        Self::open_with(config, Arc::new(RealStorage))
    }

    /// As [`Spool::open`], over another storage.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_with(config: SpoolConfig, storage: Arc<dyn Storage>) -> Result<Self, SpoolError> {
        let shared::Started { shared, writer, lock } = shared::start(config.checked()?, storage)?;
        let handle = Handle { shared, threads: Mutex::new(Vec::new()), lock: Mutex::new(Some(lock)) };
        let writer = start("audit-spool", move || writer.run())?;
        handle.shared.bell.attach(writer.thread().clone());
        handle.threads.lock().push(writer);
        let shared = Arc::clone(&handle.shared);
        let maker = start("audit-spares", move || shared.spares.run(&shared))?;
        handle.shared.spares.attach(maker.thread().clone());
        handle.threads.lock().push(maker);
        Ok(Self { handle: Arc::new(handle) })
    }

    /// As [`Spool::open_with`], without a thread: the caller turns the writer, so that a run can be repeated exactly.
    #[cfg(any(test, feature = "simulate"))]
    pub(crate) fn open_stepped(config: SpoolConfig, storage: Arc<dyn Storage>) -> Result<(Self, Writer), SpoolError> {
        let shared::Started { shared, writer, lock } = shared::start(config.checked()?, storage)?;
        shared.spares.provision(&shared)?;
        let handle = Handle { shared, threads: Mutex::new(Vec::new()), lock: Mutex::new(Some(lock)) };
        Ok((Self { handle: Arc::new(handle) }, writer))
    }

    #[cfg(test)]
    pub(crate) fn handle_shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// What was found when the spool was opened.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.handle.shared.recovery
    }

    /// The number of this opening; it rises by one each time and is never used twice in one directory.
    pub fn incarnation(&self) -> u64 {
        self.handle.shared.incarnation
    }

    /// A new lane; take one for each data-plane core and clone that.
    pub fn lane(&self) -> Lane {
        Lane::new(&self.handle.shared)
    }

    /// Plain numbers for gauges.
    pub fn state(&self) -> SpoolState {
        self.handle.shared.state()
    }

    /// The last seq of this incarnation that is on disk; 0 before the first.
    pub fn durable_seq(&self) -> u64 {
        self.handle.shared.space.durable_seq()
    }

    /// Takes the segments of `incarnation` that hold nothing above `through_seq` out of the log, and returns how many: their files
    /// are deleted or used again. The segment being written and segments that were set aside as damaged stay. Nobody may be
    /// reading those rows any more.
    ///
    /// # Errors
    /// [`SpoolError::Io`]; segments taken out before the error stay out.
    pub fn release(&self, incarnation: u64, through_seq: u64) -> Result<usize, SpoolError> {
        self.handle.shared.release(incarnation, through_seq)
    }

    /// A reader over every incarnation in the directory.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.handle.shared))
    }

    /// Makes everything recorded so far durable, stops the writer thread and unlocks the directory. Later reservations are
    /// refused and later records are lost. Calling it again does nothing. Blocks for as long as the last batch takes.
    pub fn close(&self) {
        self.handle.close();
    }
}
