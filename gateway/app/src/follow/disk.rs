//! What a start finds on disk: the image, and what the journals hold beyond it.

use std::sync::Arc;

use model::snapshot::Image;

use super::{Applied, Follower};
use crate::{facts::Nack, journal::Replay};

/// How often both are read again because a process that hands over has put another image in force meanwhile.
const READS_MAX: u32 = 8;

impl Follower {
    /// What lies on disk, if it can be used.
    pub(super) fn on_disk(&self) -> Option<Applied> {
        for _ in 1..READS_MAX {
            let found = self.image_and_journals();
            // Another image is in force: the one that was read may have been written over meanwhile, and its journals removed.
            if !self.sealed.is_replaced() {
                return found.and_then(|(image, replay)| self.boot_from(image, replay));
            }
        }
        self.image_and_journals().and_then(|(image, replay)| self.boot_from(image, replay))
    }

    fn image_and_journals(&self) -> Option<(Image, Replay)> {
        let image = match self.sealed.read() {
            Ok(image) => image?,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the snapshot on disk cannot be used; it is left as it is");
                return None;
            }
        };
        let replay = self.journal.replay(&image.revisions).unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the journals on disk cannot be read; the snapshot there is used without them");
            Replay { revisions: image.revisions, ..Replay::default() }
        });
        Some((image, replay))
    }

    fn boot_from(&self, image: Image, replay: Replay) -> Option<Applied> {
        let (document, writers) = (Arc::new(image.document.clone()), image.writers.clone());
        match image.into_snapshot() {
            Ok(snapshot) => {
                let mut revisions = snapshot.revisions.completed();
                let (document, structure) = match self.has_means(&snapshot.structure) {
                    Ok(()) => (document, snapshot.structure),
                    Err(errors) => {
                        let first = errors.first().map(|error| format!("{}: {}", error.path, error.message)).unwrap_or_default();
                        tracing::error!(
                            mistakes = errors.len(),
                            first,
                            "this node cannot serve the document of the snapshot on disk, and serves none of it"
                        );
                        *self.facts.nack.lock() = Some(Nack { structural: revisions.structural, message: first });
                        revisions.structural = 0;
                        Default::default()
                    }
                };
                let is_kept = revisions.structural_epoch != revisions.epoch;
                if replay.revisions.authority > revisions.authority {
                    tracing::info!(from = revisions.authority, to = replay.revisions.authority, "went on from the snapshot on disk by the journal");
                }
                (revisions.epoch_id, revisions.authority) = (replay.revisions.epoch_id, replay.revisions.authority);
                self.facts.known_writers.lock().clone_from(&writers);
                Some(Applied {
                    revisions,
                    document,
                    structure,
                    authority: Arc::new(snapshot.authority.with(replay.changes)),
                    // A journal says nothing about how old the rest is.
                    booted_from: snapshot.booted_from,
                    // The number of a structure that was kept over a promotion says nothing about this epoch.
                    structural_seen: if is_kept { 0 } else { revisions.structural },
                })
            }
            Err(errors) => {
                tracing::error!(mistakes = errors.len(), "the snapshot on disk does not compile with this version");
                None
            }
        }
    }
}
