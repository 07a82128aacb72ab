//! The sealed journal of the authority lane: what was applied since the image on disk, so that a restart without a database does not
//! forget it (ADR 0032).
//!
//! Beside `snapshot.sealed`, each process of a node appends to files of its own. A start reads the image and every journal, and applies
//! what goes on from it. [`record`] is the form of a file, [`replay`] reads, [`writer`] writes, [`disk`] is what a test puts in the way.

mod disk;
mod record;
mod replay;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use model::{
    change::{AuthorityChange, Revisions},
    secret::SecretKey,
};
use parking_lot::{Condvar, Mutex};

use self::{disk::RealDisk, writer::Writer};
pub use self::{record::Record, replay::Replay};
use crate::facts::Facts;

/// What may wait for the disk, in changes: five of the largest deltas. What comes when it is full waits for the next image.
const WAITING_MAX: usize = 100_000;

/// The journal of one node, as one process of it sees it. Its writer ends with the last clone.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    place: Place,
    waiting: Arc<Waiting>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.waiting.close();
    }
}

/// Where the files are, and what they are sealed with.
#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    key: SecretKey,
}

impl Journal {
    /// The journal in a state folder, which exists. Nothing is written before [`Journal::start`].
    pub fn in_folder(folder: &Path, key: SecretKey) -> Self {
        Self(Arc::new(Owner { place: Place { folder: folder.to_owned(), key }, waiting: Arc::default() }))
    }

    /// What the files on disk hold beyond an image.
    ///
    /// # Errors
    /// When the folder cannot be listed. A file that cannot be read is left out, and logged.
    pub fn replay(&self, image: &Revisions) -> std::io::Result<Replay> {
        replay::replay(&self.0.place, image)
    }

    /// Starts the thread that writes. It tells `facts` what a restart would come to, and whether the disk fails.
    pub fn start(&self, facts: &Arc<Facts>) {
        let mut writer = Writer::new(self.0.place.clone(), Box::new(RealDisk));
        let (waiting, told) = (Arc::clone(&self.0.waiting), Arc::clone(facts));
        let work = move || {
            while let Some(batch) = waiting.take() {
                let reached = writer.commit(batch);
                told.journal_failed.store(writer.has_failed(), Ordering::Relaxed);
                tell(&told, reached);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("journal".to_owned()).spawn(work) {
            tracing::error!(error = &error as &dyn std::error::Error, "nothing is journaled: no thread");
            facts.journal_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Takes a delta that was applied; it is written once [`Journal::published`] says that requests are decided by it. Never waits for
    /// the disk.
    pub fn applied(&self, record: Record) {
        self.0.waiting.applied(record);
    }

    /// What was applied is published: who is told that it lies on disk may rely on its being in force.
    pub fn published(&self) {
        self.0.waiting.published();
    }

    /// An image of these revisions is in force on disk, and synced.
    pub fn in_force(&self, image: &Revisions) {
        self.0.waiting.in_force(of_authority(image));
    }
}

/// Never goes back, whatever the writer says.
fn tell(facts: &Facts, reached: Option<Revisions>) {
    let Some(reached) = reached else { return };
    facts.journaled.send_if_modified(|known| {
        let is_new = place_of(&reached) > place_of(known);
        if is_new {
            *known = reached;
        }
        is_new
    });
}

/// What revisions say about the authority lane; the rest is zero.
fn of_authority(revisions: &Revisions) -> Revisions {
    Revisions { epoch: revisions.epoch, epoch_id: revisions.epoch_id, authority: revisions.authority, ..Revisions::default() }
}

/// What decides which of two is newer.
const fn place_of(revisions: &Revisions) -> (u64, u64) {
    (revisions.epoch, revisions.authority)
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<Queue>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Not published yet.
    held: Vec<Record>,
    batch: Batch,
    changes: usize,
    is_closed: bool,
}

/// What the writer takes at once: one sync for all of it.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<Record>,
    /// The newest image that was put in force since.
    in_force: Option<Revisions>,
}

impl Waiting {
    fn applied(&self, record: Record) {
        let mut queue = self.queue.lock();
        // At least one, so that there is a limit to records without changes, too.
        let changes = queue.changes.saturating_add(record.changes.len().max(1));
        if changes > WAITING_MAX {
            tracing::warn!(revision = record.after, "the disk does not keep up: a revision is not journaled and waits for the next snapshot on disk");
            return;
        }
        queue.changes = changes;
        queue.held.push(record);
    }

    fn published(&self) {
        let mut queue = self.queue.lock();
        if queue.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut queue.held);
        queue.batch.records.extend(held);
        self.bell.notify_one();
    }

    fn in_force(&self, image: Revisions) {
        self.queue.lock().batch.in_force = Some(image);
        self.bell.notify_one();
    }

    fn close(&self) {
        self.queue.lock().is_closed = true;
        self.bell.notify_one();
    }

    /// Waits for something to do; `None` when nothing comes any more.
    fn take(&self) -> Option<Batch> {
        let mut queue = self.queue.lock();
        loop {
            if !queue.batch.records.is_empty() || queue.batch.in_force.is_some() {
                let taken: usize = queue.batch.records.iter().map(|record| record.changes.len().max(1)).sum();
                queue.changes = queue.changes.saturating_sub(taken);
                return Some(std::mem::take(&mut queue.batch));
            }
            if queue.is_closed {
                return None;
            }
            self.bell.wait(&mut queue);
        }
    }
}

impl Record {
    /// A delta that was applied. Purges are left out: a process that starts has nothing stored.
    pub fn of(before: u64, after: &Revisions, changes: &[AuthorityChange]) -> Self {
        let changes = changes.iter().filter(|change| !matches!(change, AuthorityChange::CachePurge(_))).cloned().collect();
        Self { epoch: after.epoch, epoch_id: after.epoch_id, before, after: after.authority, changes }
    }
}

#[cfg(test)]
mod tests;
