//! The last good snapshot on disk, sealed, so that a node can start without a database.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use aws_lc_rs::rand::SecureRandom;
use model::{
    authority::Authority,
    change::{ApplicationRow, Revisions},
    document::Document,
    seal,
    secret::SecretKey,
    snapshot::{Image, Snapshot},
    time::UtcMicros,
};
use parking_lot::Mutex;
use rustix::fs::{CWD, RenameFlags};

use crate::journal::Journal;

const PURPOSE: &str = "causeway snapshot 1";
/// A million keys with 250 bytes each, and room.
const BYTES_MAX: u64 = 1 << 30;

/// What is written and synced at once.
const PIECE_BYTES: usize = 256 << 10;

/// The sealed snapshot's place and key.
#[derive(Debug, Clone)]
pub struct Sealed {
    path: PathBuf,
    key: SecretKey,
    known: Arc<Mutex<Known>>,
}

/// What this process knows to be in force.
#[derive(Debug, Default)]
struct Known {
    file: Option<Stamp>,
    /// Where another process has put it there.
    theirs: Option<Revisions>,
}

/// Which file it is, and which writing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    written: (i64, i64),
    bytes: u64,
}

impl Stamp {
    fn of(file: &std::fs::Metadata) -> Self {
        Self { inode: file.ino(), written: (file.mtime(), file.mtime_nsec()), bytes: file.len() }
    }
}

impl Sealed {
    /// Names the file in a state folder, which is made when it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn in_folder(folder: &Path, key: SecretKey) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the state folder {}", folder.display()))?;
        Ok(Self { path: folder.join("snapshot.sealed"), key, known: Arc::default() })
    }

    /// The journal beside it, sealed with the same key.
    pub fn journal(&self) -> Journal {
        Journal::in_folder(self.path.parent().unwrap_or(Path::new("")), self.key.clone())
    }

    /// Reads and opens the image; `None` when there is none.
    ///
    /// # Errors
    /// When the file does not open: another key, or altered. It is left as it is.
    pub fn read(&self) -> Result<Option<Image>> {
        let Some((stamp, file)) = self.open()? else { return Ok(None) };
        *self.known.lock() = Known { file: Some(stamp), theirs: None };
        self.image_in(file).map(Some)
    }

    /// Whether another process has put an image in force since this one has read or written one.
    pub fn is_replaced(&self) -> bool {
        std::fs::metadata(&self.path).ok().map(|file| Stamp::of(&file)) != self.known.lock().file
    }

    fn open(&self) -> Result<Option<(Stamp, File)>> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some((Stamp::of(&file.metadata()?), file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        }
    }

    fn image_in(&self, file: File) -> Result<Image> {
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", self.path.display()))?;
        let plain = seal::open(&self.key, PURPOSE, &bytes).with_context(|| format!("the sealed snapshot {} does not open", self.path.display()))?;
        let image = serde_json::from_slice(&plain).with_context(|| format!("the sealed snapshot {} is of another version", self.path.display()))?;
        Ok(image)
    }

    /// Holds the file that the next snapshot is written into; `None` while another process of this node does: at a hand-over the
    /// one before may still be writing. The kernel lets go of it when its holder ends, however it ends.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub fn hold_next(&self) -> Result<Option<NextSnapshot<'_>>> {
        let path = self.path.with_extension("next");
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
            }
            // Between opening and locking, another process may have put this very file in force.
            match std::fs::metadata(&path) {
                Ok(there) if there.ino() == file.metadata()?.ino() => return Ok(Some(NextSnapshot { sealed: self, path, file })),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
    }
}

/// The file that the next snapshot is written into, held against other processes of this node.
#[derive(Debug)]
pub struct NextSnapshot<'a> {
    sealed: &'a Sealed,
    path: PathBuf,
    file: File,
}

impl NextSnapshot<'_> {
    /// Whether another process of this node has put a newer image in force: an older one over it would lose what that process promised.
    ///
    /// # Errors
    /// When what is in force cannot be read from the disk. One that does not open is nobody's.
    pub fn is_overtaken(&self, own: &Revisions) -> Result<bool> {
        let mut known = self.sealed.known.lock();
        let there = self.sealed.open()?;
        if there.as_ref().map(|(stamp, _)| *stamp) != known.file {
            let (stamp, file) = there.unzip();
            let theirs = file.and_then(|file| self.sealed.image_in(file).ok()).map(|image| image.revisions);
            *known = Known { file: stamp, theirs };
        }
        Ok(known.theirs.is_some_and(|theirs| (theirs.epoch, theirs.authority) > (own.epoch, own.authority)))
    }

    /// Seals and writes an image, and returns its length in bytes: synced beside the present file, then one takes the place of the
    /// other. The lock is held until then.
    ///
    /// In small pieces, each synced, into the file that was in force before the last one: a large sync, new blocks, and blocks that
    /// are given back all hold up the syncs of the access log (ADR 0011).
    ///
    /// # Errors
    /// When the disk does not take it; the old file stays.
    pub fn write(mut self, image: &Image) -> Result<u64> {
        let mut nonce = [0_u8; 12];
        aws_lc_rs::rand::SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow::anyhow!("the random source failed"))?;
        let plain = serde_json::to_vec(image).context("the snapshot cannot be written as JSON")?;
        let bytes = seal::seal(&self.sealed.key, PURPOSE, nonce, plain)?;
        let length = u64::try_from(bytes.len())?;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.file.write_all(piece)?;
            self.file.sync_data()?;
        }
        self.file.set_len(length)?;
        self.file.sync_all()?;
        self.put_in_force()?;
        *self.sealed.known.lock() = Known { file: Some(Stamp::of(&self.file.metadata()?)), theirs: None };
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(length)
    }

    /// Both files change places where there are two and the file system can do that; else the new one replaces the old.
    fn put_in_force(&self) -> std::io::Result<()> {
        match rustix::fs::renameat_with(CWD, &self.path, CWD, &self.sealed.path, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(_) => std::fs::rename(&self.path, &self.sealed.path),
        }
    }
}

/// What a snapshot was made from, as rows again.
pub fn image(snapshot: &Snapshot, document: &Document, sealed_at: UtcMicros) -> Image {
    let authority: &Authority = &snapshot.authority;
    let texts = |scopes: &[Box<str>]| scopes.iter().map(|scope| scope.clone().into_string()).collect::<Vec<_>>();
    Image {
        revisions: snapshot.revisions,
        sealed_at,
        document: document.clone(),
        writers: (*snapshot.writers).clone(),
        consumers: authority.consumers.iter().map(|(id, consumer)| consumer.to_row(*id)).collect(),
        applications: authority
            .applications
            .iter()
            .map(|(id, application)| ApplicationRow {
                id: *id,
                name: application.name.to_string(),
                consumer: application.consumer,
                plan: application.plan.as_deref().map(str::to_owned),
                scopes: texts(&application.scopes),
            })
            .collect(),
        keys: authority.keys.iter().map(|(id, key)| key.to_row(*id)).collect(),
        denials: authority.denials.to_rows(),
    }
}

#[cfg(test)]
mod tests;
