//! The few operations that the journal is written with, so that a test can stand between it and the disk.

use std::{
    fmt::Debug,
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

/// A file system, as far as the journal needs one.
pub(super) trait Disk: Debug + Send {
    /// Makes a file that must not exist yet, and locks it for as long as it is open. It is durable only once it and the folder are synced.
    ///
    /// # Errors
    /// As the operating system reports, and when another process has taken it away at once.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Log>>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the operating system reports.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that is written from its start to its end.
pub(super) trait Log: Debug + Send {
    /// Writes behind what was written.
    ///
    /// # Errors
    /// As the operating system reports; then any part may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written.
    ///
    /// # Errors
    /// As the operating system reports; the file must not be written any more: the kernel may have marked the lost pages clean (ADR 0010).
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(super) struct RealDisk;

#[derive(Debug)]
struct RealLog {
    file: File,
    length: u64,
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Log>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Between making and locking it, another process may have taken it for what a dead one left.
        if std::fs::metadata(path)?.ino() != file.metadata()?.ino() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(RealLog { file, length: 0 }))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl Log for RealLog {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
