//! The writer's file: the live segment, and how a spare takes its place.

use std::{io, sync::Arc};

use aws_lc_rs::rand;

use super::{
    SpoolConfig, SpoolError,
    catalog::{Condition, Segment},
    doing,
    shared::Shared,
    space::Space,
    spares::no_space,
};
use crate::{
    layout::{self, BATCH_BYTES_MAX, Chain, HEADER_BYTES, Header, TRAILER_BYTES},
    scan::bytes_of,
    storage::StorageFile,
};

/// The live segment.
#[derive(Debug)]
pub(super) struct Files {
    shared: Arc<Shared>,
    config: SpoolConfig,
    live: Option<Live>,
    segments_made: u64,
    nonce: [u8; 32],
}

/// The segment being written.
#[derive(Debug)]
struct Live {
    file: Box<dyn StorageFile>,
    name: String,
    offset: u64,
    bytes: u64,
}

impl Files {
    /// Lays the first segment where there is space for one, and returns the chain's start.
    pub(super) fn new(shared: Arc<Shared>, config: SpoolConfig) -> Result<(Self, Chain), SpoolError> {
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).map_err(|_| doing("make a nonce")(io::Error::other("no randomness")))?;
        let mut files = Self { shared, config, live: None, segments_made: 0, nonce };
        let chain = files.header(1, [0; 32]).genesis();
        files.shared.spares.make_first(&files.shared)?;
        if files.shared.space.has_backing() {
            files.rotate(1, chain)?;
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

    /// How many bytes of records the next batch may hold.
    pub(super) fn room(&self) -> usize {
        let free = self.live.as_ref().map_or(0, |live| live.bytes.saturating_sub(live.offset));
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        free.min(BATCH_BYTES_MAX).saturating_sub(TRAILER_BYTES)
    }

    /// Tells admission what the live segment can still take for certain.
    pub(super) fn publish_backing(&self) {
        self.shared.spares.set_live_backing(&self.shared, self.live_backing());
    }

    fn live_backing(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| Space::backing_of(live.bytes.saturating_sub(live.offset)))
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
        let Some(spare) = self.shared.spares.take(&self.shared)? else { return Err(no_space()) };
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
        self.shared.spares.is_live(&self.shared, spare.bytes, self.live_backing());
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
        for spare in self.shared.spares.close_and_drain() {
            storage.remove(&dir.join(spare)).map_err(doing("remove a spare"))?;
        }
        storage.sync_dir(dir).map_err(doing("sync the directory"))
    }
}
