//! The one writer of a process: group commit, and new files after each image.
//!
//! Nothing is ever written over or behind what another process wrote. A file is removed only once an image that is in force on disk has
//! all that it holds, so that at every moment, whatever of it survives, image and files lead to what was told.

use std::{io, path::PathBuf};

use model::change::Revisions;

use super::{
    Batch, Place,
    disk::{Disk, Log},
    place_of,
    record::{BYTES_MAX, FileId, Record, Span},
    replay,
};

/// Files of one process at most. There are two or three; more come of whole loads that no image follows.
const FILES_MAX: usize = 64;

/// Whether records are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Records,
    /// Nothing until the next image: there is no room.
    NoneFull,
    /// Nothing until the next image: the disk has failed.
    NoneFailed,
}

/// Writes the files of one process.
#[derive(Debug)]
pub(super) struct Writer {
    place: Place,
    disk: Box<dyn Disk>,
    bytes_max: u64,
    taking: Taking,
    /// What is in force on disk, as far as this process has put it there. Until then it promises nothing: what it has found may not
    /// have been synced by the process that wrote it.
    image: Option<Revisions>,
    files: Vec<JournalFile>,
    /// The next record begins a new file.
    is_closed: bool,
}

/// One file of this process.
#[derive(Debug)]
struct JournalFile {
    path: PathBuf,
    id: FileId,
    log: Box<dyn Log>,
    records: u64,
    bytes: u64,
    /// What was written; what was synced, once writing or syncing it has failed.
    written: Span,
    /// The last revision that a sync has covered.
    synced: u64,
}

impl JournalFile {
    /// What a restart finds in it.
    const fn durable(&self) -> Span {
        Span { after: self.synced, ..self.written }
    }

    fn goes_on_with(&self, record: &Record) -> bool {
        let (written, next) = (&self.written, record.span());
        next.is_of_epoch(&written.end()) && next.before == written.after
    }
}

impl Writer {
    pub(super) fn new(place: Place, disk: Box<dyn Disk>) -> Self {
        Self { place, disk, bytes_max: BYTES_MAX, taking: Taking::Records, image: None, files: Vec::new(), is_closed: true }
    }

    #[cfg(test)]
    pub(super) fn limited(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// The disk has failed, and no image has been put in force since.
    pub(super) fn has_failed(&self) -> bool {
        self.taking == Taking::NoneFailed
    }

    /// Makes a batch durable and says to what a restart comes: nothing while no image of this process is in force.
    pub(super) fn commit(&mut self, batch: Batch) -> Option<Revisions> {
        for record in batch.records {
            let taken = self.take(&record);
            self.judge(taken);
        }
        let synced = self.sync();
        self.judge(synced);
        if let Some(image) = batch.in_force {
            self.in_force(image);
        }
        self.reached()
    }

    fn judge(&mut self, outcome: io::Result<()>) {
        let Err(error) = outcome else { return };
        tracing::error!(error = &error as &dyn std::error::Error, "the journal was not written to disk; revisions wait for the next snapshot there");
        (self.taking, self.is_closed) = (Taking::NoneFailed, true);
        // Final for the file: neither a later sync nor a later record may make it look whole again.
        if let Some(file) = self.files.last_mut() {
            file.written = file.durable();
        }
    }

    fn take(&mut self, record: &Record) -> io::Result<()> {
        if self.taking != Taking::Records {
            return Ok(());
        }
        if self.is_closed || !self.files.last().is_some_and(|file| file.goes_on_with(record)) {
            // A file is synced for the last time before the next one is begun.
            self.sync()?;
            return self.begin(record);
        }
        let free = self.free();
        let Some(file) = self.files.last_mut() else { return Ok(()) };
        let Some(frame) = file.id.frame(&self.place.key, file.records, record)?.filter(|frame| length(frame) <= free) else {
            self.no_room(record);
            return Ok(());
        };
        file.log.append(&frame)?;
        file.records = file.records.saturating_add(1);
        file.bytes = file.bytes.saturating_add(length(&frame));
        file.written.after = record.after;
        Ok(())
    }

    /// Begins a file with a record.
    fn begin(&mut self, record: &Record) -> io::Result<()> {
        let id = FileId::random()?;
        let (header, frame) = (id.header(), id.frame(&self.place.key, 0, record)?);
        let free = self.free().saturating_sub(length(&header));
        let Some(frame) = frame.filter(|frame| length(frame) <= free && self.files.len() < FILES_MAX) else {
            self.no_room(record);
            return Ok(());
        };
        let path = self.place.folder.join(id.name());
        let mut log = self.disk.create(&path)?;
        log.append(&header)?;
        log.append(&frame)?;
        log.sync()?;
        self.disk.sync_folder(&self.place.folder)?;
        let bytes = length(&header).saturating_add(length(&frame));
        self.files.push(JournalFile { path, id, log, records: 1, bytes, written: record.span(), synced: record.after });
        self.is_closed = false;
        Ok(())
    }

    fn free(&self) -> u64 {
        let taken: u64 = self.files.iter().map(|file| file.bytes).sum();
        self.bytes_max.saturating_sub(taken)
    }

    fn no_room(&mut self, record: &Record) {
        tracing::warn!(revision = record.after, "the journal is full; revisions wait for the next snapshot on disk");
        (self.taking, self.is_closed) = (Taking::NoneFull, true);
    }

    /// Syncs what was written since the last sync.
    fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.files.last_mut().filter(|file| file.synced != file.written.after) {
            file.log.sync()?;
            file.synced = file.written.after;
        }
        Ok(())
    }

    /// An image is in force: what it has is needed no more, and the next record begins a new file.
    fn in_force(&mut self, image: Revisions) {
        self.files.retain(|file| {
            let is_needed = place_of(&file.durable().end()) > place_of(&image);
            if !is_needed && let Err(error) = std::fs::remove_file(&file.path) {
                // Not locked any more: the next sweep finds it.
                tracing::warn!(file = %file.path.display(), error = &error as &dyn std::error::Error, "a journal that is over was not removed");
            }
            is_needed
        });
        (self.image, self.taking, self.is_closed) = (Some(image), Taking::Records, true);
        if let Err(error) = replay::sweep(&self.place, &image) {
            tracing::warn!(error = &error as &dyn std::error::Error, "journals of processes that are gone were not removed");
        }
    }

    /// The image and the files of this process that go on from it.
    fn reached(&self) -> Option<Revisions> {
        let mut have = self.image?;
        let spans: Vec<Span> = self.files.iter().map(JournalFile::durable).collect();
        while let Some(span) = spans.iter().find(|span| span.continues(&have)) {
            have = span.end();
        }
        Some(have)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
