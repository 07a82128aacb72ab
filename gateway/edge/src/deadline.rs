//! Deadlines of requests, one sweep for all of them instead of a timer for each.
//!
//! Nearly every deadline of a data plane is canceled before it passes. A timer of the runtime costs a place in its wheel and
//! back, several times a request; here a waiting future leaves its waker in a slot, and one task for each core looks at all
//! slots every [`TICK`] while there are any.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use model::time::BootNanos;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;

/// How late a deadline can be noticed.
pub const TICK: Duration = Duration::from_millis(5);

/// The deadlines that one core's futures wait for.
#[derive(Debug, Default)]
pub struct Deadlines {
    slots: Mutex<Slots>,
    /// Rung by the first slot that is taken.
    bell: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    list: Vec<Option<Slot>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot {
    due: BootNanos,
    waker: Waker,
}

/// A slot that is given back when the future is over, whatever its end.
struct Taken<'d> {
    deadlines: &'d Deadlines,
    index: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut slots = self.deadlines.slots.lock();
        if let Some(place) = slots.list.get_mut(self.index) {
            *place = None;
        }
        slots.free.push(self.index);
    }
}

impl Deadlines {
    fn take(&self, due: BootNanos, waker: &Waker) -> Taken<'_> {
        let slot = Some(Slot { due, waker: waker.clone() });
        let mut slots = self.slots.lock();
        let is_first = slots.free.len() == slots.list.len();
        let index = if let Some(index) = slots.free.pop() {
            if let Some(place) = slots.list.get_mut(index) {
                *place = slot;
            }
            index
        } else {
            slots.list.push(slot);
            slots.list.len() - 1
        };
        drop(slots);
        if is_first {
            self.bell.notify_one();
        }
        Taken { deadlines: self, index }
    }

    /// Leaves the present waker; true when the deadline has passed.
    fn renew(&self, index: usize, waker: &Waker) -> bool {
        let mut slots = self.slots.lock();
        let Some(Some(slot)) = slots.list.get_mut(index) else { return true };
        slot.waker.clone_from(waker);
        // Only the sweep reads the clock, and marks what is due: other wakes come more often.
        slot.due.0 == 0
    }

    fn wake_due(&self, now: BootNanos, wakers: &mut Vec<Waker>) -> bool {
        let mut slots = self.slots.lock();
        for slot in slots.list.iter_mut().flatten().filter(|slot| slot.due <= now) {
            slot.due = BootNanos(0);
            wakers.push(slot.waker.clone());
        }
        slots.free.len() < slots.list.len()
    }
}

/// Waits for a future for at most `limit`, give or take a [`TICK`]; `None` when it was not ready by then.
///
/// # Cancel
/// Dropping it drops the future.
pub async fn within<F: Future>(deadlines: &Deadlines, clock: Clock, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut taken: Option<Taken<'_>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let is_over = match &taken {
            Some(taken) => deadlines.renew(taken.index, cx.waker()),
            None if limit.is_zero() => true,
            None => {
                let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                taken = Some(deadlines.take(BootNanos(clock.boot().0.saturating_add(nanos)), cx.waker()));
                false
            }
        };
        if is_over { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Looks at the slots every [`TICK`] while any is taken. One such task for each core, for as long as it runs.
pub async fn watch(deadlines: Arc<Deadlines>, clock: Clock) {
    let mut wakers = Vec::new();
    loop {
        let is_awaited = deadlines.wake_due(clock.boot(), &mut wakers);
        wakers.drain(..).for_each(Waker::wake);
        if is_awaited {
            tokio::time::sleep(TICK).await;
        } else {
            deadlines.bell.notified().await;
        }
    }
}

#[cfg(test)]
mod tests;
