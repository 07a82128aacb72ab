//! Deadlines of requests, one sweep for all of them instead of a timer for each.
//!
//! Nearly every deadline of a data plane is canceled before it passes. A timer of the runtime costs a place in its wheel and
//! back, several times a request; here a waiting future leaves its waker in a slot, and one task for each core looks at all
//! slots every [`TICK`] while there are any.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
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
#[derive(Debug)]
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

pin_project_lite::pin_project! {
    /// The future of [`within`]. It holds the other one in place: as an async function it would hold it twice, as its argument and
    /// pinned, and layers of those double each time.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Within<'d, F, A> {
        #[pin]
        future: F,
        again: A,
        deadlines: &'d Deadlines,
        clock: Clock,
        limit: Duration,
        taken: Option<Taken<'d>>,
    }
}

/// Waits for a future for at most `limit`, give or take a [`TICK`]; `None` when it was not ready by then.
///
/// # Cancel
/// Dropping it drops the future.
pub const fn within<F: Future>(deadlines: &Deadlines, clock: Clock, limit: Duration, future: F) -> Within<'_, F, fn() -> bool> {
    within_again(deadlines, clock, limit, future, || false)
}

/// As [`within`], but each time when the limit has passed `again` is asked whether it begins anew.
pub const fn within_again<F: Future, A: FnMut() -> bool>(
    deadlines: &Deadlines,
    clock: Clock,
    limit: Duration,
    future: F,
    again: A,
) -> Within<'_, F, A> {
    Within { future, again, deadlines, clock, limit, taken: None }
}

impl<F: Future, A: FnMut() -> bool> Future for Within<'_, F, A> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        let is_over = match &*this.taken {
            Some(taken) => this.deadlines.renew(taken.index, cx.waker()),
            None => this.limit.is_zero(),
        };
        if is_over && !(this.again)() {
            return Poll::Ready(None);
        }
        if is_over || this.taken.is_none() {
            let nanos = u64::try_from(this.limit.as_nanos()).unwrap_or(u64::MAX);
            // The old slot goes first: there is one for each future.
            *this.taken = None;
            *this.taken = Some(this.deadlines.take(BootNanos(this.clock.boot().0.saturating_add(nanos)), cx.waker()));
        }
        Poll::Pending
    }
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
