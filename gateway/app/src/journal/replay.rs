//! What journal files hold beyond an image, and which of them are of no use any more.

use std::{
    fs::{File, TryLockError},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use model::change::{AuthorityChange, Revisions};

use super::{
    Place, of_authority, place_of,
    record::{End, PREFIX, Record, Records, SUFFIX, Span},
};

/// What the files lead to.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// The authority lane's revision, the image's when no file goes on from it. The structural lane is not looked at, and zero.
    pub revisions: Revisions,
    /// What to apply to the image, in order.
    pub changes: Vec<AuthorityChange>,
}

/// A file with the record that comes next.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    records: Records<BufReader<File>>,
    next: Option<Record>,
}

impl Source {
    fn open(place: &Place, path: &Path) -> io::Result<Self> {
        let records = Records::new(BufReader::new(File::open(path)?), place.key.clone())?;
        let mut source = Self { path: path.to_owned(), records, next: None };
        source.advance();
        Ok(source)
    }

    /// Puts the next record in its place. One that cannot be read ends the file, as one that is not there does.
    fn advance(&mut self) {
        self.next = match self.records.next() {
            Ok(Ok(record)) => Some(record),
            Ok(Err(End::Whole)) => None,
            Ok(Err(End::Cut)) => {
                tracing::warn!(file = %self.path.display(), "a record of the journal is cut; what is before it counts");
                None
            }
            Ok(Err(End::Unopened)) => {
                tracing::error!(file = %self.path.display(), "a record of the journal does not open: torn, altered, or of another key or version; what is before it counts");
                None
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), error = &error as &dyn std::error::Error, "the journal cannot be read; what is before it counts");
                None
            }
        };
    }
}

/// Every file of the journal.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        if is_one && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Follows the files from an image on, in whatever order leads on: each may hold what another one goes on from.
pub(super) fn replay(place: &Place, image: &Revisions) -> io::Result<Replay> {
    let mut replay = Replay { revisions: of_authority(image), changes: Vec::new() };
    let mut sources = Vec::new();
    for path in files(&place.folder)? {
        match Source::open(place, &path) {
            Ok(source) => sources.push(source),
            // The one before has removed it since: an image that is in force has what it held.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(file = %path.display(), error = &error as &dyn std::error::Error, "the journal cannot be read"),
        }
    }
    let mut has_moved = true;
    while std::mem::take(&mut has_moved) {
        for source in &mut sources {
            has_moved |= follow(source, &mut replay);
        }
    }
    Ok(replay)
}

/// Takes what leads on, and throws away what is behind. True when it got on.
fn follow(source: &mut Source, replay: &mut Replay) -> bool {
    let mut has_moved = false;
    while let Some(record) = source.next.take_if(|record| is_of_use(&record.span(), &replay.revisions)) {
        if record.span().continues(&replay.revisions) {
            replay.revisions = Revisions { epoch_id: epoch_id(&record, &replay.revisions), authority: record.after, ..replay.revisions };
            replay.changes.extend(record.changes);
            has_moved = true;
        }
        source.advance();
    }
    has_moved
}

/// Whether the file can be read on behind this: not behind a gap, and not in another epoch.
fn is_of_use(span: &Span, have: &Revisions) -> bool {
    span.is_of_epoch(have) && span.before <= have.authority
}

/// What an earlier version wrote does not say which epoch of its number it is of.
const fn epoch_id(record: &Record, have: &Revisions) -> uuid::Uuid {
    if record.epoch_id.is_nil() { have.epoch_id } else { record.epoch_id }
}

/// Removes files whose process is gone and which hold nothing beyond an image that is in force.
pub(super) fn sweep(place: &Place, image: &Revisions) -> io::Result<()> {
    for path in files(&place.folder)? {
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock() {
            Ok(()) => {}
            // Its process runs: this one, or the other one at a hand-over.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Locked until it is gone, so that nobody begins to write it meanwhile.
        if is_behind(place, &path, image)? {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether all that can be read of a file is in the image.
fn is_behind(place: &Place, path: &Path, image: &Revisions) -> io::Result<bool> {
    let mut records = Records::new(BufReader::new(File::open(path)?), place.key.clone())?;
    while let Ok(record) = records.next()? {
        if place_of(&record.span().end()) > place_of(image) {
            return Ok(false);
        }
    }
    Ok(true)
}
