//! The one writer: drains the lanes, writes one batch with one positional write, syncs, and answers the receipts.

use std::{collections::VecDeque, io, sync::Arc, task::Waker, time::Duration};

use aws_lc_rs::rand;

use super::{
    Lost, SpoolConfig, SpoolError,
    catalog::{Condition, Segment},
    doing,
    lane::{LaneShared, Queued},
    shared::{GATHERING, IDLE, LAZY, Shared},
    space::Space,
};
use crate::{
    layout::{self, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Chain, HEADER_BYTES, Header, TRAILER_BYTES, Trailer},
    scan::bytes_of,
    storage::StorageFile,
};

/// How long records that nobody waits for may stay in memory.
const LAZY_FLUSH: Duration = Duration::from_millis(20);
/// How often a full disk is tried again.
const SPACE_RETRY: Duration = Duration::from_secs(1);

/// The writer's own state; everything shared is in [`Shared`].
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    config: SpoolConfig,
    live: Option<Live>,
    spares: VecDeque<Spare>,
    spares_made: u64,
    segments_made: u64,
    /// The header of the next segment, but for its number.
    nonce: [u8; 32],
    chain: Chain,
    next_seq: u64,
    staged: VecDeque<Staged>,
    /// Emptied buffers for the next drain.
    pool: Vec<(Vec<u8>, Vec<Queued>)>,
    batch: Batch,
    wakers: Vec<Waker>,
    /// When the sync began during which the queue's oldest record may have come.
    synced_from: Option<Duration>,
    blocked_until: Option<Duration>,
    has_ended: bool,
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

/// What was drained from one lane and is not written yet.
#[derive(Debug)]
struct Staged {
    lane: Arc<LaneShared>,
    frames: Vec<u8>,
    queue: Vec<Queued>,
    /// How much of each is already in a batch.
    frames_used: usize,
    queue_used: usize,
}

/// The batch being put together.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    records: u64,
    /// How many of the staged lanes' records it holds, in order.
    parts: Vec<usize>,
}

impl Writer {
    /// Lays the first segment where there is space for one.
    pub(crate) fn new(shared: Arc<Shared>, config: SpoolConfig) -> Result<Self, SpoolError> {
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).map_err(|_| doing("make a nonce")(io::Error::other("no randomness")))?;
        let mut writer = Self {
            shared,
            config,
            live: None,
            spares: VecDeque::new(),
            spares_made: 0,
            segments_made: 0,
            nonce,
            chain: [0; 32],
            next_seq: 1,
            staged: VecDeque::new(),
            pool: Vec::new(),
            batch: Batch::default(),
            wakers: Vec::new(),
            synced_from: None,
            blocked_until: None,
            has_ended: false,
        };
        writer.chain = writer.header().genesis();
        writer.provision()?;
        if !writer.spares.is_empty() {
            writer.rotate()?;
            writer.provision()?;
        }
        Ok(writer)
    }

    /// The thread's body: runs until the spool is closed or fails.
    pub(crate) fn run(mut self) {
        match self.serve() {
            Ok(()) => self.shared.space.close(),
            Err(error) => {
                self.shared.space.fail();
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%cause, "audit spool failed and acknowledges nothing from here on: {error}");
            }
        }
    }

    fn serve(&mut self) -> Result<(), SpoolError> {
        while self.wait()? {
            self.gather();
            self.flush()?;
        }
        self.finish()
    }

    /// Refuses new reservations, writes what is queued, and trims the files to what they hold.
    pub(crate) fn finish(&mut self) -> Result<(), SpoolError> {
        self.shared.space.close();
        self.flush()?;
        // From here on a record is lost; what slipped in before this line is written.
        let lanes = {
            let mut lanes = self.shared.lanes.lock();
            lanes.is_ended = true;
            lanes.list.clone()
        };
        for lane in lanes {
            self.stage(lane, LaneShared::drain_and_end);
        }
        self.write_staged()?;
        if let Err(error) = self.trim() {
            tracing::warn!("audit spool could not be trimmed at close; every record is safe: {error}");
        }
        Ok(())
    }

    /// Everything queued so far, once, without waiting; the stepped runs use it too.
    pub(crate) fn turn(&mut self) -> Result<(), SpoolError> {
        self.provision_if_needed()?;
        self.flush()
    }

    /// Rests until there is something to write; `false` when the spool is closing.
    fn wait(&mut self) -> Result<bool, SpoolError> {
        loop {
            let bell = &self.shared.bell;
            if bell.is_closing() {
                return Ok(false);
            }
            let queued = bell.queued();
            if queued > 0 && (bell.is_urgent() || bell.is_full()) && !self.is_short_of_space() {
                return Ok(true);
            }
            self.provision_if_needed()?;
            let shared = Arc::clone(&self.shared);
            let bell = &shared.bell;
            if queued > 0 {
                let is_due = || bell.is_urgent() || bell.is_full() || bell.is_closing();
                if !is_due() {
                    bell.rest(LAZY, Some(LAZY_FLUSH), is_due);
                }
                return Ok(!bell.is_closing());
            }
            let is_blocked = self.blocked_until.is_some();
            let is_due = || {
                bell.queued() > 0
                    || bell.is_closing()
                    || bell.wants_retry()
                    || (shared.space.spare_wanted() && !is_blocked)
            };
            bell.rest(IDLE, is_blocked.then_some(SPACE_RETRY), is_due);
        }
    }

    /// Waits a moment for company: until the batch is full, every outstanding slot is queued, or the time since the first
    /// waiter is up.
    fn gather(&mut self) {
        let shared = Arc::clone(&self.shared);
        let bell = &shared.bell;
        let is_due = || bell.is_full() || bell.queued() >= shared.space.outstanding() || bell.is_closing();
        if !bell.is_urgent() || is_due() {
            return;
        }
        let waited = self.synced_from.map_or(Duration::ZERO, |from| self.now().saturating_sub(from));
        let left = self.config.flush_after.saturating_sub(waited);
        if !left.is_zero() {
            bell.rest(GATHERING, Some(left), is_due);
        }
    }

    fn now(&self) -> Duration {
        self.shared.storage.monotonic()
    }

    fn flush(&mut self) -> Result<(), SpoolError> {
        self.shared.bell.calm();
        let lanes = {
            let mut lanes = self.shared.lanes.lock();
            // A lane that only this list knows has no handle, reservation or receipt left.
            lanes.list.retain(|lane| Arc::strong_count(lane) > 1 || !lane.is_empty());
            lanes.list.clone()
        };
        for lane in lanes {
            self.stage(lane, LaneShared::drain);
        }
        self.synced_from = None;
        self.write_staged()?;
        if self.shared.bell.queued() == 0 {
            self.synced_from = None;
        }
        Ok(())
    }

    fn stage(&mut self, lane: Arc<LaneShared>, drain: fn(&LaneShared, &mut Vec<u8>, &mut Vec<Queued>)) {
        let (mut frames, mut queue) = self.pool.pop().unwrap_or_default();
        drain(&lane, &mut frames, &mut queue);
        if queue.is_empty() {
            self.pool.push((frames, queue));
            return;
        }
        self.shared.bell.drained(bytes_of(queue.len()));
        self.staged.push_back(Staged { lane, frames, queue, frames_used: 0, queue_used: 0 });
    }

    fn write_staged(&mut self) -> Result<(), SpoolError> {
        while let Some(next) = self.staged.front().and_then(Staged::next_bytes) {
            if self.room() < next {
                self.rotate()?;
            }
            self.fill();
            self.write()?;
            self.publish();
        }
        Ok(())
    }

    /// How many bytes of records the next batch may hold.
    fn room(&self) -> usize {
        let free = self.live.as_ref().map_or(0, |live| live.bytes.saturating_sub(live.offset));
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        free.min(BATCH_BYTES_MAX).saturating_sub(TRAILER_BYTES)
    }

    /// Moves staged records into the batch and gives them their seqs.
    fn fill(&mut self) {
        let room = self.room();
        let batch = &mut self.batch;
        batch.bytes.clear();
        batch.parts.clear();
        batch.records = 0;
        for staged in &self.staged {
            let mut taken = 0;
            let mut from = staged.frames_used;
            for queued in staged.queue.iter().skip(staged.queue_used) {
                let is_full = bytes_of(BATCH_RECORDS_MAX) <= batch.records;
                if is_full || batch.bytes.len() + queued.bytes > room {
                    batch.parts.push(taken);
                    return;
                }
                let start = batch.bytes.len();
                batch.bytes.extend_from_slice(staged.frames.get(from..from + queued.bytes).unwrap_or_default());
                if let Some(frame) = batch.bytes.get_mut(start..) {
                    layout::seal_frame(frame, self.next_seq + batch.records);
                }
                from += queued.bytes;
                batch.records += 1;
                taken += 1;
            }
            batch.parts.push(taken);
        }
    }

    /// One positional write and one sync.
    fn write(&mut self) -> Result<(), SpoolError> {
        let began = self.now();
        let Some(live) = &mut self.live else { return Err(no_space()) };
        self.chain = layout::chain_after(&self.chain, &self.batch.bytes);
        let trailer = Trailer {
            count: u32::try_from(self.batch.records).unwrap_or(u32::MAX),
            first_seq: self.next_seq,
            last_seq: self.next_seq + self.batch.records - 1,
            offset: live.offset,
            chain: self.chain,
        };
        trailer.encode(&mut self.batch.bytes);
        live.file.write_at(&self.batch.bytes, live.offset).map_err(doing("write a batch"))?;
        live.file.sync_data().map_err(doing("sync a batch"))?;
        live.offset += bytes_of(self.batch.bytes.len());
        self.next_seq += self.batch.records;
        self.synced_from = Some(began);
        let took = self.now().saturating_sub(began);
        let space = &self.shared.space;
        space.fsyncs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        space.batches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        space.fsync_last_us.store(took_us, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// The batch is on disk: tells the reader, the counters and the receipts, in this order.
    fn publish(&mut self) {
        let last_seq = self.next_seq - 1;
        if let Some(segment) = self.shared.catalog.lock().live_mut() {
            segment.last_seq = last_seq;
            segment.end = self.live.as_ref().map_or(segment.end, |live| live.offset);
        }
        let space = &self.shared.space;
        space.add_used(bytes_of(self.batch.bytes.len()));
        space.set_backing(self.backing());
        space.set_durable_seq(last_seq);
        space.give_back(self.batch.records);
        let mut first_seq = self.next_seq - self.batch.records;
        for (staged, taken) in self.staged.iter_mut().zip(self.batch.parts.iter().copied()) {
            let until = staged.queue_used + taken;
            let part = staged.queue.get(staged.queue_used..until).unwrap_or_default();
            staged.lane.settle(part, Ok(first_seq), &mut self.wakers);
            staged.frames_used += part.iter().map(|queued| queued.bytes).sum::<usize>();
            staged.queue_used = until;
            first_seq += bytes_of(taken);
        }
        while let Some(mut done) = self.staged.pop_front_if(|staged| staged.next_bytes().is_none()) {
            done.frames.clear();
            done.queue.clear();
            self.pool.push((done.frames, done.queue));
        }
    }

    /// What is certainly there for records.
    fn backing(&self) -> u64 {
        let live = self.live.as_ref().map_or(0, |live| Space::backing_of(live.bytes.saturating_sub(live.offset)));
        self.spares.iter().fold(live, |sum, spare| sum.saturating_add(Space::backing_of_spare(spare.bytes)))
    }

    fn header(&self) -> Header {
        Header {
            node: self.config.node.clone(),
            incarnation: self.shared.incarnation,
            number: self.segments_made + 1,
            first_seq: self.next_seq,
            previous: self.chain,
            nonce: self.nonce,
        }
    }

    /// Turns a spare into the live segment. Its name appears only when its header is on disk, so a segment without a whole
    /// header is damage and never an unfinished creation.
    fn rotate(&mut self) -> Result<(), SpoolError> {
        if self.spares.is_empty() {
            self.blocked_until = None;
            self.provision()?;
        }
        let Some(spare) = self.spares.pop_front() else { return Err(no_space()) };
        let name = layout::segment_name(self.shared.incarnation, self.next_seq);
        let storage = &self.shared.storage;
        spare.file.write_at(&self.header().encode(), 0).map_err(doing("write a segment's header"))?;
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
                first_seq: self.next_seq,
                last_seq: self.next_seq - 1,
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

    fn is_short_of_space(&self) -> bool {
        let is_waiting = self.blocked_until.is_some() && !self.shared.bell.wants_retry();
        !is_waiting && (self.spares.is_empty() || self.shared.space.spare_wanted())
    }

    fn provision_if_needed(&mut self) -> Result<(), SpoolError> {
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
            let made = if bytes < super::SEGMENT_BYTES_MIN { Err(no_space()) } else { self.make_spare(bytes) };
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
    fn trim(&mut self) -> Result<(), SpoolError> {
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

    /// Answers everyone who still waits: nothing is acknowledged from here on.
    fn end(&mut self) {
        self.has_ended = true;
        self.shared.bell.calm();
        for staged in std::mem::take(&mut self.staged) {
            let rest = staged.queue.get(staged.queue_used..).unwrap_or_default();
            self.shared.space.give_back(bytes_of(rest.len()));
            staged.lane.settle(rest, Err(Lost), &mut self.wakers);
        }
        let lanes = {
            let mut lanes = self.shared.lanes.lock();
            lanes.is_ended = true;
            std::mem::take(&mut lanes.list)
        };
        for lane in lanes {
            let queue = lane.end();
            self.shared.bell.drained(bytes_of(queue.len()));
            self.shared.space.give_back(bytes_of(queue.len()));
            lane.settle(&queue, Err(Lost), &mut self.wakers);
        }
    }
}

/// Also when the thread panics: a hang would be worse than a loss that is known.
impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.space.fail();
        }
        self.shared.space.close();
        if !self.has_ended {
            self.end();
        }
    }
}

impl Staged {
    /// The length of the next record that is in no batch yet.
    fn next_bytes(&self) -> Option<usize> {
        self.queue.get(self.queue_used).map(|queued| queued.bytes)
    }
}

fn no_space() -> SpoolError {
    doing("preallocate a segment")(io::ErrorKind::StorageFull.into())
}

fn is_full(error: &SpoolError) -> bool {
    matches!(error, SpoolError::Io { source, .. }
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}
