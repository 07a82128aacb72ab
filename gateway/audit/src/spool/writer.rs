//! The one writer: drains the lanes, writes one batch with one positional write, syncs, and answers the receipts.

use std::{collections::VecDeque, sync::Arc, task::Waker, time::Duration};

use super::{
    Lost, SpoolConfig, SpoolError,
    files::Files,
    lane::{LaneShared, Queued},
    pace::Pace,
    shared::{GATHERING, IDLE, LAZY, Shared},
};
use crate::{
    layout::{self, BATCH_RECORDS_MAX, Chain, Trailer},
    scan::bytes_of,
};

/// How long records that nobody waits for may stay in memory.
const LAZY_FLUSH: Duration = Duration::from_millis(20);

/// The writer's own state; everything shared is in [`Shared`].
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    flush_after: Duration,
    files: Files,
    chain: Chain,
    next_seq: u64,
    staged: VecDeque<Staged>,
    /// Emptied buffers for the next drain.
    pool: Vec<(Vec<u8>, Vec<Queued>)>,
    batch: Batch,
    wakers: Vec<Waker>,
    /// When the sync began during which the queue's oldest record may have come.
    synced_from: Option<Duration>,
    /// Until when the next sync may wait for company, see [`Pace`].
    rests_until: Duration,
    pace: Pace,
    has_ended: bool,
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
        let flush_after = config.flush_after;
        let (files, chain) = Files::new(Arc::clone(&shared), config)?;
        Ok(Self {
            shared,
            flush_after,
            files,
            chain,
            next_seq: 1,
            staged: VecDeque::new(),
            pool: Vec::new(),
            batch: Batch::default(),
            wakers: Vec::new(),
            synced_from: None,
            rests_until: Duration::ZERO,
            pace: Pace::default(),
            has_ended: false,
        })
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
        if let Err(error) = self.files.trim() {
            tracing::warn!("audit spool could not be trimmed at close; every record is safe: {error}");
        }
        Ok(())
    }

    /// Everything queued so far, once, without waiting: what a stepped run calls instead of the thread.
    #[cfg(any(test, feature = "simulate"))]
    pub(crate) fn turn(&mut self) -> Result<(), SpoolError> {
        self.shared.spares.provision(&self.shared)?;
        self.flush()
    }

    /// Rests until there is something to write; `false` when the spool is closing.
    fn wait(&mut self) -> Result<bool, SpoolError> {
        let bell = &self.shared.bell;
        let spares = &self.shared.spares;
        loop {
            if bell.is_closing() {
                return Ok(false);
            }
            if let Some(error) = spares.take_failure() {
                return Err(error);
            }
            if bell.queued() > 0 {
                let is_due = || bell.is_urgent() || bell.is_full() || bell.is_closing();
                if !is_due() {
                    bell.rest(LAZY, Some(LAZY_FLUSH), is_due);
                }
                return Ok(!bell.is_closing());
            }
            bell.rest(IDLE, None, || bell.queued() > 0 || bell.is_closing() || spares.has_failed());
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
        let now = self.now();
        let waited = self.synced_from.map_or(Duration::ZERO, |from| now.saturating_sub(from));
        let left = self.flush_after.saturating_sub(waited).max(self.rests_until.saturating_sub(now));
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
            if self.files.room() < next {
                self.files.rotate(self.next_seq, self.chain)?;
            }
            self.fill();
            self.write()?;
            self.publish();
        }
        Ok(())
    }

    /// Moves staged records into the batch and gives them their seqs.
    fn fill(&mut self) {
        let room = self.files.room();
        let batch = &mut self.batch;
        batch.bytes.clear();
        batch.parts.clear();
        batch.records = 0;
        for staged in &self.staged {
            let mut taken = 0;
            let mut from = staged.frames_used;
            for queued in staged.queue.iter().skip(staged.queue_used) {
                let is_full = batch.records >= BATCH_RECORDS_MAX;
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
        self.chain = layout::chain_after(&self.chain, &self.batch.bytes);
        let trailer = Trailer {
            count: u32::try_from(self.batch.records).unwrap_or(u32::MAX),
            first_seq: self.next_seq,
            last_seq: self.next_seq + self.batch.records - 1,
            offset: self.files.offset(),
            chain: self.chain,
        };
        trailer.encode(&mut self.batch.bytes);
        self.files.write(&self.batch.bytes)?;
        self.next_seq += self.batch.records;
        self.synced_from = Some(began);
        let ended = self.now();
        let took = ended.saturating_sub(began);
        self.rests_until = ended + self.pace.rest(self.batch.records, took, ended);
        self.shared.space.synced(took);
        Ok(())
    }

    /// The batch is on disk: tells the reader, the counters and the receipts, in this order.
    fn publish(&mut self) {
        let last_seq = self.next_seq - 1;
        if let Some(segment) = self.shared.catalog.lock().live_mut() {
            segment.last_seq = last_seq;
            segment.end = self.files.offset();
        }
        let space = &self.shared.space;
        space.add_used(bytes_of(self.batch.bytes.len()));
        self.files.publish_backing();
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

    /// Answers everyone who still waits: nothing is acknowledged from here on.
    fn end(&mut self) {
        self.has_ended = true;
        self.shared.spares.close();
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
