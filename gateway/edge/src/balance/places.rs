//! The cap on requests in flight to one endpoint, for all cores together, and the short queue before it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::structure::resilience::InFlight;
use tokio::sync::Notify;

/// Requests in flight to one endpoint, and those that wait for it.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// A place among the requests in flight; dropping it lets the next one in.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        if self.0.waiting.load(Ordering::Acquire) > 0 {
            self.0.freed.notify_one();
        }
    }
}

struct Waiting<'a>(&'a Places);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Places {
    /// Takes a place if there is one.
    pub fn take(self: &Arc<Self>, max: usize) -> Option<Place> {
        let take = |taken: usize| (taken < max).then(|| taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok().then(|| Place(Arc::clone(self)))
    }

    /// Waits for a place, unless too many wait already; `None` when it took too long.
    ///
    /// # Cancel
    /// Dropping the future leaves the queue.
    pub async fn wait(self: &Arc<Self>, rule: &InFlight, at_most: Duration) -> Option<Place> {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(self);
        if waiting >= rule.queue {
            return None;
        }
        let turn = async {
            loop {
                let mut freed = pin!(self.freed.notified());
                // Listening before looking: a place that gets free in between must not be missed.
                freed.as_mut().enable();
                if let Some(place) = self.take(rule.max) {
                    return place;
                }
                freed.await;
            }
        };
        tokio::time::timeout(at_most, turn).await.ok()
    }
}

#[cfg(test)]
mod tests;
