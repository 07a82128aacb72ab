//! What the sender counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use store::notification::{NotificationState, outbox::Waiting};

/// Numbers of this node's sender, and of the whole outbox as it was last counted.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    put_off: AtomicU64,
    failed: AtomicU64,
    waiting: Mutex<Vec<Waiting>>,
}

impl Tally {
    /// Counts an attempt by the state that it left.
    pub(super) fn add(&self, state: Option<NotificationState>) {
        let counter = match state {
            Some(NotificationState::Delivered) => &self.delivered,
            Some(NotificationState::Queued) => &self.put_off,
            Some(NotificationState::Failed) => &self.failed,
            None => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, waiting: Vec<Waiting>) {
        *self.waiting.lock() = waiting;
    }

    /// Attempts by how they ended: delivered, put off, given up.
    pub fn attempts(&self) -> [(&'static str, u64); 3] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("delivered", read(&self.delivered)), ("put_off", read(&self.put_off)), ("failed", read(&self.failed))]
    }

    /// What waits, by channel.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.waiting.lock().clone()
    }
}
