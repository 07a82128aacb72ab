//! Lanes: one queue for each data-plane core, with the receipts of what was queued through it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use aws_lc_rs::rand;
use parking_lot::Mutex;

use super::{Durability, Unavailable, shared::Shared};
use crate::{
    event::{Event, Phase},
    layout::{self, SALT_BYTES},
};

/// 128 salts at a time: one call of the generator for 128 records.
const SALT_POOL_BYTES: usize = 128 * SALT_BYTES;

/// One core's way into the spool. Clones share the queue; a lane used from two cores is correct, only slower.
#[derive(Debug, Clone)]
pub struct Lane {
    lane: Arc<LaneShared>,
}

impl Lane {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let mut lanes = shared.lanes.lock();
        let state = LaneState { is_ended: lanes.is_ended, ..LaneState::default() };
        let lane = Arc::new(LaneShared { shared: Arc::clone(shared), state: Mutex::new(state) });
        if !lanes.is_ended {
            lanes.list.push(Arc::clone(&lane));
        }
        Self { lane }
    }

    /// Reserves `slots` records of this request, with their disk space, before the request acts.
    ///
    /// # Errors
    /// [`Unavailable`] says why; the request must then be refused. A buffered reservation is refused at 85 % of the disk
    /// space, every other at 95 %, and all of them once the spool has failed.
    pub fn reserve(&self, durability: Durability, slots: u8) -> Result<Reservation, Unavailable> {
        let shared = &self.lane.shared;
        let admitted = shared.space.admit(durability, u64::from(slots));
        if shared.space.asks_for_spare() {
            shared.spares.wake();
        }
        admitted.map(|()| Reservation { lane: Arc::clone(&self.lane), durability, slots })
    }

    /// Resolves this lane's waiters on its own core. Run one such future per lane as a task of the core's runtime: the
    /// writer then wakes that task once for each batch, and the wakes that follow stay within the core. Without it the
    /// writer wakes every waiting task itself, which is correct, and dearer on a busy core.
    ///
    /// # Cancel
    /// Dropping it goes back to direct wakes; no wake is lost.
    pub fn deliver(&self) -> Delivery {
        Delivery { lane: Arc::clone(&self.lane), ready: Vec::new() }
    }
}

/// Slots that were reserved and not used yet. Dropping it gives them back.
#[derive(Debug)]
#[must_use = "a reservation that is dropped records nothing"]
pub struct Reservation {
    lane: Arc<LaneShared>,
    durability: Durability,
    slots: u8,
}

impl Reservation {
    /// How many slots are left.
    pub const fn slots(&self) -> u8 {
        self.slots
    }

    /// What was asked for.
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Gives back every slot above `slots`, as soon as it is known that they will not be used: the writer stops waiting for
    /// company when all outstanding slots are queued.
    pub fn keep(&mut self, slots: u8) {
        let unused = self.slots.saturating_sub(slots);
        if unused > 0 {
            self.slots -= unused;
            self.lane.shared.space.give_back(u64::from(unused));
        }
    }

    /// Queues one record, with a fresh salt, and uses one slot. It never blocks on the disk.
    ///
    /// Recording more often than was reserved is a mistake of the caller; the record is queued all the same, because a
    /// record over its budget is better than a missing one.
    pub fn record(&mut self, event: &Event<'_>) -> Receipt {
        debug_assert!(self.slots > 0, "every record needs a slot of its own");
        let shared = &self.lane.shared;
        match self.slots.checked_sub(1) {
            Some(left) => self.slots = left,
            None => shared.space.force(),
        }
        let Some(slot) = self.lane.state.lock().push(event) else {
            shared.space.give_back(1);
            return Receipt { lane: Arc::clone(&self.lane), slot: None };
        };
        // Nobody waits for a close record or on a buffered route: those go with the next batch or the lazy tick.
        let is_urgent = self.durability != Durability::Buffered && event.phase != Phase::Close;
        shared.bell.recorded(is_urgent, shared.space.outstanding());
        Receipt { lane: Arc::clone(&self.lane), slot: Some(slot) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.slots > 0 {
            self.lane.shared.space.give_back(u64::from(self.slots));
        }
    }
}

/// The record will never be acknowledged: a write or sync failed, or the spool was closed first. Whether it is on disk is
/// not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit record was not made durable")]
pub struct Lost;

/// Stands for one queued record. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "nobody knows that the record is durable unless someone waits for it"]
pub struct Receipt {
    lane: Arc<LaneShared>,
    /// `None` once answered, or when the record was refused by an ended lane.
    slot: Option<u32>,
}

impl Receipt {
    /// Waits until the record is on disk, and returns its seq.
    ///
    /// # Errors
    /// [`Lost`] after the first failed write or sync, or when the spool closes first.
    ///
    /// # Cancel
    /// Dropping the future leaves the record queued; it becomes durable unseen.
    pub fn durable(self) -> Durable {
        Durable { receipt: self, is_hurried: false }
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Result<u64, Lost>> {
        let Some(slot) = self.slot else { return Poll::Ready(Err(Lost)) };
        let polled = self.lane.state.lock().poll(slot, context);
        if polled.is_ready() {
            self.slot = None;
        }
        polled
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.lane.state.lock().abandon(slot);
        }
    }
}

/// The future of [`Receipt::durable`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Durable {
    receipt: Receipt,
    /// The writer is told once that somebody waits.
    is_hurried: bool,
}

impl Future for Durable {
    type Output = Result<u64, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.receipt.poll(context);
        if polled.is_pending() && !self.is_hurried {
            self.is_hurried = true;
            self.receipt.lane.shared.bell.hurry();
        }
        polled
    }
}

/// The future of [`Lane::deliver`]; it ends when the spool does.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Delivery {
    lane: Arc<LaneShared>,
    ready: Vec<Waker>,
}

impl Future for Delivery {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let is_ended = {
            let mut state = this.lane.state.lock();
            // An ended lane wakes its waiters directly, because this future may not be polled again.
            state.courier = if state.is_ended { None } else { Some(context.waker().clone()) };
            std::mem::swap(&mut state.ready, &mut this.ready);
            state.is_ended
        };
        this.ready.drain(..).for_each(Waker::wake);
        if is_ended { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let ready = {
            let mut state = self.lane.state.lock();
            state.courier = None;
            std::mem::take(&mut state.ready)
        };
        ready.into_iter().for_each(Waker::wake);
    }
}

/// A lane, as its handles and the writer see it.
#[derive(Debug)]
pub(crate) struct LaneShared {
    shared: Arc<Shared>,
    state: Mutex<LaneState>,
}

/// One queued record: where its answer goes, and how long its frame is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    slot: u32,
    pub(crate) bytes: usize,
}

/// What became of a record.
#[derive(Debug)]
enum Slot {
    Free,
    Pending(Option<Waker>),
    /// Its receipt is gone.
    Abandoned,
    Durable(u64),
    Lost,
}

#[derive(Debug, Default)]
struct LaneState {
    /// Record frames without seq, back to back.
    frames: Vec<u8>,
    queue: Vec<Queued>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    salts: Vec<u8>,
    /// The task that wakes the others on this core.
    courier: Option<Waker>,
    /// Whom it wakes next.
    ready: Vec<Waker>,
    is_ended: bool,
}

impl LaneState {
    /// Queues the event, or refuses it when the lane has ended or no salt can be made.
    fn push(&mut self, event: &Event<'_>) -> Option<u32> {
        if self.is_ended {
            return None;
        }
        let salt = self.salt()?;
        let slot = self.take_slot()?;
        let before = self.frames.len();
        layout::open_record(&mut self.frames, &salt, |out| event.encode(out));
        let bytes = self.frames.len() - before;
        debug_assert!(bytes <= layout::EVENT_BYTES_MAX + layout::FRAME_BYTES + SALT_BYTES, "the event's limits add up");
        self.queue.push(Queued { slot, bytes });
        Some(slot)
    }

    fn salt(&mut self) -> Option<[u8; SALT_BYTES]> {
        if self.salts.len() < SALT_BYTES {
            self.salts.resize(SALT_POOL_BYTES, 0);
            if rand::fill(&mut self.salts).is_err() {
                self.salts.clear();
                return None;
            }
        }
        let salt = self.salts.last_chunk::<SALT_BYTES>().copied()?;
        self.salts.truncate(self.salts.len() - SALT_BYTES);
        Some(salt)
    }

    fn take_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.set(slot, Slot::Pending(None));
            return Some(slot);
        }
        let slot = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot::Pending(None));
        Some(slot)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).unwrap_or(usize::MAX))
    }

    fn set(&mut self, slot: u32, to: Slot) {
        if let Some(place) = self.slot_mut(slot) {
            *place = to;
        }
    }

    fn set_free(&mut self, slot: u32) {
        self.set(slot, Slot::Free);
        self.free.push(slot);
    }

    fn poll(&mut self, slot: u32, context: &Context<'_>) -> Poll<Result<u64, Lost>> {
        let answer = match self.slot_mut(slot) {
            Some(Slot::Pending(waiting)) => {
                match waiting {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waiting = Some(context.waker().clone()),
                }
                return Poll::Pending;
            }
            Some(Slot::Durable(seq)) => Ok(*seq),
            Some(Slot::Lost | Slot::Free | Slot::Abandoned) | None => Err(Lost),
        };
        self.set_free(slot);
        Poll::Ready(answer)
    }

    fn abandon(&mut self, slot: u32) {
        match self.slot_mut(slot) {
            Some(place @ Slot::Pending(_)) => *place = Slot::Abandoned,
            Some(Slot::Durable(_) | Slot::Lost) => self.set_free(slot),
            Some(Slot::Free | Slot::Abandoned) | None => {}
        }
    }

    fn settle(&mut self, slot: u32, answer: Result<u64, Lost>, wakers: &mut Vec<Waker>) {
        let settled = match answer {
            Ok(seq) => Slot::Durable(seq),
            Err(Lost) => Slot::Lost,
        };
        let Some(place) = self.slot_mut(slot) else { return };
        match std::mem::replace(place, settled) {
            Slot::Pending(waiting) => wakers.extend(waiting),
            Slot::Free | Slot::Abandoned | Slot::Durable(_) | Slot::Lost => self.set_free(slot),
        }
    }
}

impl LaneShared {
    /// Swaps the queue for empty buffers.
    pub(crate) fn drain(&self, frames: &mut Vec<u8>, queue: &mut Vec<Queued>) {
        let mut state = self.state.lock();
        std::mem::swap(&mut state.frames, frames);
        std::mem::swap(&mut state.queue, queue);
    }

    /// As [`LaneShared::drain`], and later records are lost.
    pub(crate) fn drain_and_end(&self, frames: &mut Vec<u8>, queue: &mut Vec<Queued>) {
        let mut state = self.state.lock();
        state.is_ended = true;
        std::mem::swap(&mut state.frames, frames);
        std::mem::swap(&mut state.queue, queue);
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().queue.is_empty()
    }

    /// Answers the receipts of `queue`: the first has `first_seq`, or all are lost. `wakers` is scratch space.
    pub(crate) fn settle(&self, queue: &[Queued], first_seq: Result<u64, Lost>, wakers: &mut Vec<Waker>) {
        let courier = {
            let mut state = self.state.lock();
            let mut answer = first_seq;
            for queued in queue {
                state.settle(queued.slot, answer, wakers);
                answer = answer.map(|seq| seq.saturating_add(1));
            }
            let courier = if wakers.is_empty() { None } else { state.courier.clone() };
            if courier.is_some() {
                state.ready.append(wakers);
            }
            courier
        };
        if let Some(courier) = courier {
            courier.wake();
        }
        wakers.drain(..).for_each(Waker::wake);
    }

    /// Ends the lane: later records are lost. Returns what was still queued.
    pub(crate) fn end(&self) -> Vec<Queued> {
        let (queue, courier) = {
            let mut state = self.state.lock();
            state.is_ended = true;
            state.frames = Vec::new();
            (std::mem::take(&mut state.queue), state.courier.take())
        };
        if let Some(courier) = courier {
            courier.wake();
        }
        queue
    }
}
