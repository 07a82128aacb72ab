//! The few file operations that the spool is built from, so that a test can stand between it and the disk.
//!
//! Every operation is one system call, or a loop over short reads and writes of one: what a trace of the process shows is
//! what the code says.

mod real;
#[cfg(test)]
mod tests;

use std::{fmt::Debug, io, path::Path, time::Duration};

pub use real::RealStorage;

/// A name in a directory, with the file's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file's name without its directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A file system, as far as the spool needs one.
pub trait Storage: Debug + Send + Sync {
    /// Makes the directory and its parents, and makes that durable.
    ///
    /// # Errors
    /// As the operating system reports.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes an exclusive advisory lock on `path`, created if missing, held as long as the file is; `None` when someone
    /// else has it.
    ///
    /// # Errors
    /// As the operating system reports.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn StorageFile>>>;

    /// Lists plain files.
    ///
    /// # Errors
    /// As the operating system reports.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Creates a file that must not exist yet. Durable only after [`StorageFile::sync_all`] and [`Storage::sync_dir`].
    ///
    /// # Errors
    /// As the operating system reports.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// As the operating system reports.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Renames within one directory. Durable only after [`Storage::sync_dir`].
    ///
    /// # Errors
    /// As the operating system reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable only after [`Storage::sync_dir`].
    ///
    /// # Errors
    /// As the operating system reports.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the directory's names durable.
    ///
    /// # Errors
    /// As the operating system reports.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// A clock that only rises; it paces batches and never enters a record.
    fn monotonic(&self) -> Duration;
}

/// An open file. Offsets and lengths are bytes.
pub trait StorageFile: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset` (`pwrite`).
    ///
    /// # Errors
    /// As the operating system reports; then any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads until `bytes` is full or the file ends (`pread`), and returns how many were read.
    ///
    /// # Errors
    /// As the operating system reports.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Gives the file real space for `bytes` from its start (`fallocate`), so that a full disk is met here; where the file
    /// system cannot, the zeros that are written next meet it.
    ///
    /// # Errors
    /// As the operating system reports.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Sets the length (`ftruncate`).
    ///
    /// # Errors
    /// As the operating system reports.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Makes written data durable (`fdatasync`).
    ///
    /// # Errors
    /// As the operating system reports; the file must not be written through this descriptor again, because the kernel may
    /// have marked the lost pages clean.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes data and metadata durable (`fsync`).
    ///
    /// # Errors
    /// As for [`StorageFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
}
