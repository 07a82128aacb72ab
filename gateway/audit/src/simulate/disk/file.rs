//! Open files of the simulated disk.

use std::io;

use super::{Change, Lie, Operation, SimDisk};
use crate::storage::StorageFile;

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) id: usize,
    pub(super) life: u64,
}

impl StorageFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.operate(Some(self.life), |disk| {
            disk.is_failing(Operation::Write)?;
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            disk.inode(self.id)?.change(Change::Write { offset, bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.disk.lock();
        if disk.is_off || disk.life != self.life {
            return Err(io::Error::other("no power"));
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let seen = disk.inode(self.id)?.seen.get(offset..).unwrap_or_default();
        let read = seen.len().min(bytes.len());
        for (to, from) in bytes.iter_mut().zip(seen) {
            *to = *from;
        }
        Ok(read)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.operate(Some(self.life), |disk| {
            disk.is_failing(Operation::Allocate)?;
            let length = usize::try_from(bytes).map_err(io::Error::other)?;
            let taken: usize = disk.inodes.iter().map(|inode| inode.seen.len()).sum();
            if disk.capacity_bytes.is_some_and(|capacity| taken + length > capacity) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.inode(self.id)?.change(Change::Resize(length));
            Ok(())
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.operate(Some(self.life), |disk| {
            let length = usize::try_from(bytes).map_err(io::Error::other)?;
            disk.inode(self.id)?.change(Change::Resize(length));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.operate(Some(self.life), |disk| {
            disk.is_failing(Operation::SyncData)?;
            disk.syncs += 1;
            if disk.lie != Lie::SyncData && !disk.is_off {
                disk.inode(self.id)?.sync();
            }
            Ok(())
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.operate(Some(self.life), |disk| {
            if disk.lie != Lie::SyncAll && !disk.is_off {
                disk.inode(self.id)?.sync();
            }
            Ok(())
        })
    }
}

/// Unlocks when it goes, as closing a descriptor does.
#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.disk.disk.lock();
        if disk.life == self.life {
            disk.is_locked = false;
        }
    }
}

impl StorageFile for SimLock {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_all(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
