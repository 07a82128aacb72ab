//! The published snapshot: one writer, many cores.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use model::{change::Revisions, snapshot::Snapshot};
use parking_lot::Mutex;

/// The snapshot that new requests are decided over.
#[derive(Debug, Default)]
pub struct Current {
    snapshot: ArcSwapOption<Snapshot>,
    generation: AtomicU64,
    publishing: Mutex<()>,
}

/// An older revision was offered than the one that is being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("revision {offered:?} is older than the published {published:?}")]
pub struct OlderRevision {
    offered: Revisions,
    published: Revisions,
}

impl Current {
    /// Publishes the next snapshot; requests that already run keep theirs.
    ///
    /// # Errors
    /// [`OlderRevision`] when a lane would go back within its epoch, or the epoch itself would.
    pub fn publish(&self, next: Arc<Snapshot>) -> Result<(), OlderRevision> {
        let _one_at_a_time = self.publishing.lock();
        if let Some(now) = self.snapshot.load_full() {
            let (offered, published) = (next.revisions, now.revisions);
            let same_epoch = offered.epoch == published.epoch;
            let back = same_epoch && (offered.authority < published.authority || offered.structural < published.structural);
            if offered.epoch < published.epoch || back {
                return Err(OlderRevision { offered, published });
            }
        }
        self.snapshot.store(Some(next));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The published snapshot, for readers off the hot path.
    pub fn load(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }
}

/// A snapshot as one core holds it: the outer reference count is that core's own, so that cores do not share a cache line
/// for each request.
#[derive(Debug)]
pub struct Held(Arc<Snapshot>);

impl std::ops::Deref for Held {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

/// One core's handle on what is published.
#[derive(Debug, Default)]
pub struct CoreCurrent {
    seen: Mutex<(u64, Option<Arc<Held>>)>,
}

impl CoreCurrent {
    /// The snapshot for one request. Only this core touches the outer count.
    pub fn load(&self, current: &Current) -> Option<Arc<Held>> {
        let generation = current.generation.load(Ordering::Acquire);
        let mut seen = self.seen.lock();
        if seen.0 != generation {
            *seen = (generation, current.load().map(|snapshot| Arc::new(Held(snapshot))));
        }
        seen.1.clone()
    }
}

#[cfg(test)]
mod tests;
