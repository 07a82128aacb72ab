//! The writer's files: the live segment, and preallocated spares behind it.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use aws_lc_rs::rand;

use super::{
    SEGMENT_BYTES_MIN, SpoolConfig, SpoolError,
    catalog::{Condition, Segment},
    doing,
    shared::Shared,
    space::Space,
};
use crate::{
    layout::{self, BATCH_BYTES_MAX, Chain, HEADER_BYTES, Header, TRAILER_BYTES},
    scan::bytes_of,
    storage::StorageFile,
};

/// How often a full disk is tried again.
pub(super) const SPACE_RETRY: Duration = Duration::from_secs(1);

/// The live segment and the spares.
#[derive(Debug)]
pub(super) struct Files {
    shared: Arc<Shared>,
    config: SpoolConfig,
    live: Option<Live>,
    spares: VecDeque<Spare>,
    spares_made: u64,
    segments_made: u64,
    nonce: [u8; 32],
    /// The disk was full: not tried again before this.
    blocked_until: Option<Duration>,
}

/// The segment being written.
#[derive(Debug)]
struct Live {
    file: Box<dyn StorageFile>,
    name: String,
    offset: u64,
    bytes: u64,
}

/// A preallocated file.
#[derive(Debug)]
struct Spare {
    file: Box<dyn StorageFile>,
    name: String,
    bytes: u64,
}

impl Files {
    /// Lays the first segment where there is space for one, and returns the chain's start.
    pub(super) fn new(shared: Arc<Shared>, config: SpoolConfig) -> Result<(Self, Chain), SpoolError> {
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).map_err(|_| doing("make a nonce")(io::Error::other("no randomness")))?;
        let mut files = Self { shared, config, live: None, spares: VecDeque::new(), spares_made: 0, segments_made: 0, nonce, blocked_until: None };
        let chain = files.header(1, [0; 32]).genesis();
        files.provision()?;
        if !files.spares.is_empty() {
            files.rotate(1, chain)?;
            files.provision()?;
        }
        Ok((files, chain))
    }

    /// Where the next batch goes in the live segment.
    pub(super) fn offset(&self) -> u64 {
        self.live.as_ref().map_or(HEADER_BYTES, |live| live.offset)
    }

    /// One positional write and one sync; an error of either is final.
    pub(super) fn write(&mut self, batch: &[u8]) -> Result<(), SpoolError> {
        let Some(live) = &mut self.live else { return Err(no_space()) };
        live.file.write_at(batch, live.offset).map_err(doing("write a batch"))?;
        live.file.sync_data().map_err(doing("sync a batch"))?;
        live.offset += bytes_of(batch.len());
        Ok(())
    }

    /// Whether the disk was full when last tried.
    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked_until.is_some()
    }

    fn now(&self) -> Duration {
        self.shared.storage.monotonic()
    }

    /// How many bytes of records the next batch may hold.
    pub(super) fn room(&self) -> usize {
        let free = self.live.as_ref().map_or(0, |live| live.bytes.saturating_sub(live.offset));
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        free.min(BATCH_BYTES_MAX).saturating_sub(TRAILER_BYTES)
    }

    /// What is certainly there for records.
    pub(super) fn backing(&self) -> u64 {
        let live = self.live.as_ref().map_or(0, |live| Space::backing_of(live.bytes.saturating_sub(live.offset)));
        self.spares.iter().fold(live, |sum, spare| sum.saturating_add(Space::backing_of_spare(spare.bytes)))
    }

    fn header(&self, first_seq: u64, previous: Chain) -> Header {
        Header {
            node: self.config.node.clone(),
            incarnation: self.shared.incarnation,
            number: self.segments_made + 1,
            first_seq,
            previous,
            nonce: self.nonce,
        }
    }

    /// Turns a spare into the live segment. Its name appears only when its header is on disk, so a segment without a whole
    /// header is damage and never an unfinished creation.
    pub(super) fn rotate(&mut self, next_seq: u64, chain: Chain) -> Result<(), SpoolError> {
        if self.spares.is_empty() {
            self.blocked_until = None;
            self.provision()?;
        }
        let Some(spare) = self.spares.pop_front() else { return Err(no_space()) };
        let name = layout::segment_name(self.shared.incarnation, next_seq);
        let storage = &self.shared.storage;
        spare.file.write_at(&self.header(next_seq, chain).encode(), 0).map_err(doing("write a segment's header"))?;
        spare.file.sync_all().map_err(doing("sync a segment"))?;
        let (from, to) = (self.shared.dir.join(&spare.name), self.shared.dir.join(&name));
        storage.rename(&from, &to).map_err(doing("name a segment"))?;
        storage.sync_dir(&self.shared.dir).map_err(doing("sync the directory"))?;
        self.segments_made += 1;
        {
            let mut catalog = self.shared.catalog.lock();
            if let Some(done) = catalog.live_mut() {
                done.condition = Condition::Done;
            }
            catalog.spare_bytes = catalog.spare_bytes.saturating_sub(spare.bytes);
            catalog.insert(Segment {
                name: name.clone(),
                incarnation: self.shared.incarnation,
                first_seq: next_seq,
                last_seq: next_seq - 1,
                end: HEADER_BYTES,
                disk_bytes: spare.bytes,
                condition: Condition::Live,
            });
        }
        self.live = Some(Live { file: spare.file, name, offset: HEADER_BYTES, bytes: spare.bytes });
        self.shared.space.add_used(HEADER_BYTES);
        self.shared.space.set_backing(self.backing());
        Ok(())
    }

    pub(super) fn is_short_of_space(&self) -> bool {
        let is_waiting = self.blocked_until.is_some() && !self.shared.bell.wants_retry();
        !is_waiting && (self.spares.is_empty() || self.shared.space.spare_wanted())
    }

    pub(super) fn provision_if_needed(&mut self) -> Result<(), SpoolError> {
        if self.shared.bell.take_retry() || self.blocked_until.is_some_and(|until| self.now() >= until) {
            self.blocked_until = None;
        }
        if self.is_short_of_space() { self.provision() } else { Ok(()) }
    }

    /// Preallocates until there is a spare, and twice what is promised. A full disk is not an error here: admitted requests
    /// have their space, and new ones are refused until there is more.
    fn provision(&mut self) -> Result<(), SpoolError> {
        while self.spares.is_empty() || self.shared.space.needs_spare() {
            let allocated = self.shared.catalog.lock().allocated_bytes();
            let bytes = self.config.disk_bytes_max.saturating_sub(allocated).min(self.config.segment_bytes);
            let made = if bytes < SEGMENT_BYTES_MIN { Err(no_space()) } else { self.make_spare(bytes) };
            match made {
                Ok(()) => {}
                Err(error) if is_full(&error) => {
                    if self.blocked_until.is_none() {
                        tracing::warn!("audit spool cannot preallocate more space: {error}");
                    }
                    self.blocked_until = Some(self.now() + SPACE_RETRY);
                    // Stays wanted: nobody needs to ring for what the timer will try again.
                    self.shared.space.want_spare(true);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.blocked_until = None;
        self.shared.space.want_spare(false);
        Ok(())
    }

    fn make_spare(&mut self, bytes: u64) -> Result<(), SpoolError> {
        self.spares_made += 1;
        let name = format!("{}{}", layout::segment_name(self.shared.incarnation, self.spares_made), layout::SPARE_SUFFIX);
        let path = self.shared.dir.join(&name);
        let storage = &self.shared.storage;
        let file = storage.create(&path).map_err(doing("create a spare"))?;
        let allocated = file.allocate(bytes).and_then(|()| file.sync_all()).and_then(|()| storage.sync_dir(&self.shared.dir));
        if let Err(error) = allocated {
            drop(file);
            if let Err(left) = storage.remove(&path) {
                tracing::debug!("an unfinished spare stays until the next opening: {left}");
            }
            return Err(doing("preallocate a spare")(error));
        }
        self.spares.push_back(Spare { file, name, bytes });
        self.shared.catalog.lock().spare_bytes += bytes;
        self.shared.space.set_backing(self.backing());
        Ok(())
    }

    /// Gives preallocated space back at a clean close.
    pub(super) fn trim(&mut self) -> Result<(), SpoolError> {
        let dir = &self.shared.dir;
        let storage = &self.shared.storage;
        if let Some(live) = self.live.take() {
            if live.offset == HEADER_BYTES {
                storage.remove(&dir.join(&live.name)).map_err(doing("remove an empty segment"))?;
            } else {
                live.file.truncate(live.offset).map_err(doing("trim a segment"))?;
                live.file.sync_all().map_err(doing("sync a segment"))?;
            }
        }
        for spare in self.spares.drain(..) {
            storage.remove(&dir.join(&spare.name)).map_err(doing("remove a spare"))?;
        }
        storage.sync_dir(dir).map_err(doing("sync the directory"))
    }
}

fn no_space() -> SpoolError {
    doing("preallocate a segment")(io::ErrorKind::StorageFull.into())
}

fn is_full(error: &SpoolError) -> bool {
    matches!(error, SpoolError::Io { source, .. }
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}
