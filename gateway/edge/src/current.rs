//! The published snapshot: one writer, many cores.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use model::{change::Revisions, snapshot::Snapshot};
use parking_lot::Mutex;

use crate::{balance::fleet::Fleet, names::Names};

/// The snapshot that new requests are decided over.
#[derive(Debug, Default)]
pub struct Current {
    snapshot: ArcSwapOption<Snapshot>,
    generation: AtomicU64,
    publishing: Mutex<()>,
}

/// A revision was offered that does not follow the one that is being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("revision {offered:?} does not follow the published {published:?}")]
pub struct OlderRevision {
    offered: Revisions,
    published: Revisions,
}

impl Current {
    /// Publishes the next snapshot; requests that already run keep theirs.
    ///
    /// # Errors
    /// [`OlderRevision`] when a lane would go back, or both would cross over to another epoch of the same number.
    pub fn publish(&self, next: Arc<Snapshot>) -> Result<(), OlderRevision> {
        let _one_at_a_time = self.publishing.lock();
        if let Some(now) = self.snapshot.load_full() {
            let (offered, published) = (next.revisions, now.revisions);
            if published.would_go_back_to(&offered) {
                return Err(OlderRevision { offered, published });
            }
        }
        self.snapshot.store(Some(next));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Moves with each publication, and with each [`Self::touch`].
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes the cores look again: something that they derive from the snapshot has changed.
    pub fn touch(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The published snapshot, for readers off the hot path.
    pub fn load(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }
}

/// A snapshot as one core holds it: the outer reference count is that core's own, so that cores do not share a cache line
/// for each request.
#[derive(Debug)]
pub struct Held {
    snapshot: Arc<Snapshot>,
    fleet: Arc<Fleet>,
}

impl Held {
    /// This core's endpoints of the snapshot's services.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}

impl std::ops::Deref for Held {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// One core's handle on what is published.
#[derive(Debug, Default)]
pub struct CoreCurrent {
    seen: Mutex<(u64, Option<Arc<Held>>)>,
}

impl CoreCurrent {
    /// The snapshot for one request. Only this core touches the outer count.
    pub fn load(&self, current: &Current, names: &Names) -> Option<Arc<Held>> {
        let generation = current.generation();
        let mut seen = self.seen.lock();
        if seen.0 != generation {
            let next = current.load().map(|snapshot| {
                // A new key is a new snapshot, but not new services: what was found for those stays.
                let names = names.generation();
                let fleet = seen.1.as_ref().map(|held| &held.fleet).filter(|fleet| fleet.fits(&snapshot.structure, names)).cloned();
                let fleet = fleet.unwrap_or_else(|| Arc::new(Fleet::new(&snapshot.structure, names)));
                Arc::new(Held { snapshot, fleet })
            });
            *seen = (generation, next);
        }
        seen.1.clone()
    }
}

#[cfg(test)]
mod tests;
