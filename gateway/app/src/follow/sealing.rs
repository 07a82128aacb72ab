//! Keeps the snapshot on disk up to date, so that serving does not notice: one writer at a low priority, which rests in proportion
//! to what it wrote.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

use anyhow::Result;
use model::{
    change::Revisions,
    snapshot::Image,
    time::{BootNanos, UtcMicros},
};

use super::{Applied, Follower};
use crate::{
    facts::Facts,
    sealed::{self, Sealed},
};

/// How often the snapshot on disk is renewed though nothing changed, so that its age tells the truth.
const RESEAL_NANOS: u64 = 60_000_000_000;
/// Shortest time between two snapshots on disk.
const SEAL_NANOS: u64 = 250_000_000;
/// The rest after each byte: 4 MiB a second on average, whatever changes. A hundred thousand keys take 21 MB.
const NANOS_PER_BYTE: u64 = 240;
/// The rest after a snapshot that could not be written.
const FAILED_NANOS: u64 = 5_000_000_000;
/// The writer's niceness: on a core that is busy with requests it gets a tenth.
const NICENESS: i32 = 10;

/// How a writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// This many bytes are in force.
    InForce(u64),
    /// The process before this one still writes its own.
    Held,
    /// The process after this one writes from now on.
    Left,
    /// The process before this one has put a newer one in force.
    Overtaken,
}

/// When the snapshot was written, and whether it has to be again.
#[derive(Debug)]
pub(super) struct Sealing {
    at: BootNanos,
    is_dirty: bool,
    running: Option<JoinHandle<Result<Written>>>,
    rest_nanos: u64,
}

impl Default for Sealing {
    fn default() -> Self {
        Self { at: BootNanos(0), is_dirty: true, running: None, rest_nanos: SEAL_NANOS }
    }
}

impl Sealing {
    /// Something changed.
    pub(super) const fn changed(&mut self) {
        self.is_dirty = true;
    }

    fn is_due(&self, now: BootNanos, is_fresh: bool) -> bool {
        let age = now.nanos_since(self.at);
        let is_wanted = self.is_dirty || is_fresh && age > RESEAL_NANOS;
        is_wanted && age > self.rest_nanos && self.running.is_none()
    }

    /// Takes note of a writer that has ended.
    fn settle(&mut self, facts: &Facts) {
        let Some(running) = self.running.take_if(|running| running.is_finished()) else { return };
        let ended = running.join().unwrap_or_else(|_| Err(anyhow::anyhow!("its writer panicked")));
        self.rest_nanos = match &ended {
            Ok(Written::InForce(bytes)) => bytes.saturating_mul(NANOS_PER_BYTE).max(SEAL_NANOS),
            Ok(Written::Held | Written::Left | Written::Overtaken) => SEAL_NANOS,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the snapshot was not written to disk");
                FAILED_NANOS
            }
        };
        self.is_dirty |= !matches!(ended, Ok(Written::InForce(_)));
        facts.seal_failed.store(ended.is_err(), Ordering::Relaxed);
    }
}

/// The work of the writer's thread.
fn write(sealed: &Sealed, facts: &Facts, revisions: &Revisions, image: impl FnOnce() -> Image) -> Result<Written> {
    // Refused or not, the snapshot is written.
    rustix::process::setpriority_process(None, NICENESS).ok();
    let Some(next) = sealed.hold_next()? else { return Ok(Written::Held) };
    // Looked at once more with the file in hand: who takes over cannot have written before.
    if facts.handing_over.load(Ordering::Relaxed) {
        return Ok(Written::Left);
    }
    if next.is_overtaken(revisions)? {
        return Ok(Written::Overtaken);
    }
    next.write(&image()).map(Written::InForce)
}

impl Follower {
    /// Writes the snapshot to disk when it changed, and now and then though it did not; never two at a time.
    pub(super) fn seal(&self, applied: &Applied, sealing: &mut Sealing) {
        sealing.settle(&self.facts);
        // Another process of this node writes the same file from now on.
        if self.facts.handing_over.load(Ordering::Relaxed) {
            return;
        }
        let now = self.edge.clock.boot();
        let is_fresh = self.edge.lease.staleness_nanos(now).is_some_and(|nanos| nanos < 1_000_000_000);
        if !sealing.is_due(now, is_fresh) {
            return;
        }
        // What came from disk keeps its date: sealing it again would make it look younger than what is known about it.
        let Some(snapshot) = self.edge.current.load().filter(|snapshot| snapshot.booted_from.is_none()) else { return };
        let known_for_micros = self.edge.lease.staleness_nanos(now).map_or(0, |nanos| i64::try_from(nanos / 1_000).unwrap_or(i64::MAX));
        let known_at = UtcMicros(self.edge.clock.wall().0.saturating_sub(known_for_micros));
        (sealing.at, sealing.is_dirty) = (now, false);
        let (sealed, document, facts, journal) = (self.sealed.clone(), Arc::clone(&applied.document), Arc::clone(&self.facts), self.journal.clone());
        let work = move || {
            let written = write(&sealed, &facts, &snapshot.revisions, || sealed::image(&snapshot, &document, known_at))?;
            if matches!(written, Written::InForce(_)) {
                journal.in_force(&snapshot.revisions);
            }
            Ok(written)
        };
        match std::thread::Builder::new().name("seal".to_owned()).spawn(work) {
            Ok(running) => sealing.running = Some(running),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the snapshot was not written to disk: no thread");
                self.facts.seal_failed.store(true, Ordering::Relaxed);
                (sealing.is_dirty, sealing.rest_nanos) = (true, FAILED_NANOS);
            }
        }
    }
}

#[cfg(test)]
mod tests;
