//! Keeps the snapshot on disk up to date, so that serving does not notice: one writer at a low priority, which rests in proportion
//! to what it wrote.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use model::time::{BootNanos, UtcMicros};

use super::{Applied, Follower};
use crate::sealed;

/// How often the snapshot on disk is renewed though nothing changed, so that its age tells the truth.
const RESEAL_NANOS: u64 = 60_000_000_000;
/// Shortest time between two snapshots on disk.
const SEAL_NANOS: u64 = 250_000_000;
/// The rest after each byte: 4 MiB a second on average, whatever changes. A hundred thousand keys take 21 MB.
const NANOS_PER_BYTE: u64 = 240;
/// The writer's niceness: on a core that is busy with requests it gets a tenth.
const NICENESS: i32 = 10;

/// When the snapshot was written, and whether it has to be again.
#[derive(Debug)]
pub(super) struct Sealing {
    at: BootNanos,
    is_dirty: bool,
    running: Option<JoinHandle<()>>,
    /// The length of the last one.
    bytes: Arc<AtomicU64>,
}

impl Default for Sealing {
    fn default() -> Self {
        Self { at: BootNanos(0), is_dirty: true, running: None, bytes: Arc::default() }
    }
}

impl Sealing {
    /// Something changed.
    pub(super) const fn changed(&mut self) {
        self.is_dirty = true;
    }

    fn is_due(&self, now: BootNanos, is_fresh: bool) -> bool {
        let age = now.nanos_since(self.at);
        let rest = self.bytes.load(Ordering::Relaxed).saturating_mul(NANOS_PER_BYTE).max(SEAL_NANOS);
        let is_wanted = self.is_dirty || is_fresh && age > RESEAL_NANOS;
        is_wanted && age > rest && self.running.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Follower {
    /// Writes the snapshot to disk when it changed, and now and then though it did not; never two at a time.
    pub(super) fn seal(&self, applied: &Applied, sealing: &mut Sealing) {
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
        let (sealed, document, facts) = (self.sealed.clone(), Arc::clone(&applied.document), Arc::clone(&self.facts));
        let bytes = Arc::clone(&sealing.bytes);
        let write = move || {
            // Refused or not, the snapshot is written.
            rustix::process::setpriority_process(None, NICENESS).ok();
            let written = sealed.write(&sealed::image(&snapshot, &document, known_at));
            match &written {
                Ok(length) => bytes.store(*length, Ordering::Relaxed),
                Err(error) => tracing::error!(error = format!("{error:#}"), "the snapshot was not written to disk"),
            }
            facts.seal_failed.store(written.is_err(), Ordering::Relaxed);
        };
        match std::thread::Builder::new().name("seal".to_owned()).spawn(write) {
            Ok(running) => sealing.running = Some(running),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the snapshot was not written to disk: no thread");
                self.facts.seal_failed.store(true, Ordering::Relaxed);
                sealing.is_dirty = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn small_snapshot_is_written_four_times_a_second_and_a_large_one_rests() {
        let sealing = Sealing { at: BootNanos(1), ..Sealing::default() };
        assert!(!sealing.is_due(BootNanos(250 * MS), true));
        assert!(sealing.is_due(BootNanos(251 * MS), false), "a change does not wait for the database");

        sealing.bytes.store(21 << 20, Ordering::Relaxed);
        assert!(!sealing.is_due(BootNanos(5_000 * MS), true));
        assert!(sealing.is_due(BootNanos(5_300 * MS), true));
    }

    #[test]
    fn snapshot_without_a_change_is_renewed_each_minute_while_it_is_known_to_be_fresh() {
        let sealing = Sealing { at: BootNanos(1), is_dirty: false, ..Sealing::default() };
        assert!(!sealing.is_due(BootNanos(59_000 * MS), true));
        assert!(!sealing.is_due(BootNanos(61_000 * MS), false));
        assert!(sealing.is_due(BootNanos(61_000 * MS), true));
    }
}
