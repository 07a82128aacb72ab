//! The disk.

mod file;

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;

use self::file::{SimFile, SimLock};
use super::Random;
use crate::storage::{Entry, Storage, StorageFile};

const SECTOR_BYTES: usize = 512;

/// A promise that the disk breaks: a checker that does not notice is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It keeps every promise.
    Honest,
    /// `fdatasync` does nothing.
    SyncData,
    /// `fsync` of a file does nothing.
    SyncAll,
    /// `fsync` of the directory does nothing.
    SyncDir,
}

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `pwrite`.
    Write,
    /// `fdatasync`.
    SyncData,
    /// `fallocate`.
    Allocate,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

#[derive(Debug, Default)]
struct Inode {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What power loss leaves for certain.
    durable: Vec<u8>,
    /// What it may or may not leave.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum NameChange {
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

#[derive(Debug)]
struct Disk {
    lie: Lie,
    inodes: Vec<Inode>,
    seen: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<NameChange>,
    is_locked: bool,
    /// Operations until the power goes out.
    fuse: Option<u64>,
    is_off: bool,
    /// Handles of an earlier life are dead.
    life: u64,
    failing: Option<(Operation, u64, io::ErrorKind)>,
    /// How many bytes may be allocated in all.
    capacity_bytes: Option<usize>,
    /// How many batches were synced, lie or not.
    syncs: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    disk: Arc<Mutex<Disk>>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(lie: Lie) -> Self {
        let disk = Disk {
            lie,
            inodes: Vec::new(),
            seen: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            is_locked: false,
            fuse: None,
            is_off: false,
            life: 0,
            failing: None,
            capacity_bytes: None,
            syncs: 0,
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Lets the power go out in the middle of the given operation from now on (0 is the next), or never.
    pub fn arm(&self, fuse: Option<u64>) {
        self.disk.lock().fuse = fuse;
    }

    /// Whether the power is out.
    pub fn is_off(&self) -> bool {
        self.disk.lock().is_off
    }

    /// Makes an operation fail from its `after`-th call on (0 is the next).
    pub fn fail(&self, operation: Operation, after: u64, kind: io::ErrorKind) {
        self.disk.lock().failing = Some((operation, after, kind));
    }

    /// Limits what can be allocated; `None` lifts the limit and every failure.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        let mut disk = self.disk.lock();
        disk.capacity_bytes = bytes;
        disk.failing = None;
    }

    /// How often `fdatasync` was called with success.
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    /// The power comes back: an arbitrary subset of what was not synced is there.
    pub fn crash(&self, random: &mut Random) {
        let mut disk = self.disk.lock();
        let keep = match random.below(4) {
            0 => 0,
            1 => 100,
            _ => random.below(101),
        };
        for inode in &mut disk.inodes {
            inode.crash(random, keep);
        }
        for change in std::mem::take(&mut disk.pending) {
            if random.chance(keep) {
                change.apply(&mut disk.durable);
            }
        }
        disk.seen = disk.durable.clone();
        disk.is_locked = false;
        disk.is_off = false;
        disk.fuse = None;
        disk.life += 1;
    }

    /// The names that a reader sees.
    pub fn names(&self) -> Vec<String> {
        self.disk.lock().seen.keys().cloned().collect()
    }

    /// Changes a file behind everyone's back, durably.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk.lock();
        let Some(id) = disk.seen.get(name).copied() else { return };
        if let Some(inode) = disk.inodes.get_mut(id) {
            inode.sync();
            change(&mut inode.durable);
            inode.seen.clone_from(&inode.durable);
        }
    }

    /// Runs one operation; the power may go out in the middle of it, when it has been applied and not been answered.
    fn operate<T>(&self, life: Option<u64>, operation: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        if disk.is_off || life.is_some_and(|life| life != disk.life) {
            return Err(io::Error::other("no power"));
        }
        let is_last = match &mut disk.fuse {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if is_last {
            disk.is_off = true;
        }
        let done = operation(&mut disk);
        // A lock among the answers takes the disk's mutex when it goes.
        drop(disk);
        if is_last { Err(io::Error::other("power went out")) } else { done }
    }

    fn handle(&self, id: usize, life: u64) -> Box<dyn StorageFile> {
        Box::new(SimFile { disk: self.clone(), id, life })
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, id) => {
                names.insert(name, id);
            }
            Self::Unlink(name) => {
                names.remove(&name);
            }
            Self::Rename(from, to, id) => {
                names.remove(&from);
                names.insert(to, id);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(place) = bytes.get_mut(*offset..end) {
                    place.copy_from_slice(written);
                }
            }
            Self::Resize(length) => bytes.resize(*length, 0),
        }
    }

    /// A write as its sectors, which the disk writes each for itself.
    fn pieces(self) -> Vec<Self> {
        let Self::Write { mut offset, bytes } = self else { return vec![self] };
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let take = (SECTOR_BYTES - offset % SECTOR_BYTES).min(rest.len());
            let (piece, others) = rest.split_at(take);
            pieces.push(Self::Write { offset, bytes: piece.to_vec() });
            offset += take;
            rest = others;
        }
        pieces
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn crash(&mut self, random: &mut Random, keep: u64) {
        let mut pieces: Vec<Change> = self.pending.drain(..).flat_map(Change::pieces).collect();
        for index in (1..pieces.len()).rev() {
            let other = usize::try_from(random.below(u64::try_from(index).unwrap_or(0) + 1)).unwrap_or(0);
            pieces.swap(index, other);
        }
        for piece in pieces {
            if random.chance(keep) {
                piece.apply(&mut self.durable);
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

impl Disk {
    fn inode(&mut self, id: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.seen.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_failing(&mut self, operation: Operation) -> io::Result<()> {
        match &mut self.failing {
            Some((failing, 0, kind)) if *failing == operation => Err((*kind).into()),
            Some((failing, after, _)) if *failing == operation => {
                *after -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn rename_names(&mut self, change: NameChange, again: NameChange) {
        change.apply(&mut self.seen);
        self.pending.push(again);
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Storage for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.operate(None, |_| Ok(()))
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn StorageFile>>> {
        self.operate(None, |disk| {
            let life = disk.life;
            if std::mem::replace(&mut disk.is_locked, true) {
                return Ok(None);
            }
            Ok(Some(Box::new(SimLock { disk: self.clone(), life }) as Box<dyn StorageFile>))
        })
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        self.operate(None, |disk| {
            let entry = |(name, id): (&String, &usize)| {
                let bytes = disk.inodes.get(*id).map_or(0, |inode| inode.seen.len());
                Entry { name: name.clone(), bytes: u64::try_from(bytes).unwrap_or(0) }
            };
            Ok(disk.seen.iter().map(entry).collect())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.operate(None, |disk| {
            let name = name_of(path);
            if disk.seen.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let id = disk.inodes.len();
            disk.inodes.push(Inode::default());
            disk.rename_names(NameChange::Link(name.clone(), id), NameChange::Link(name, id));
            Ok(self.handle(id, disk.life))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        // Like reading, it has no effect that power loss could tear, so it does not burn the fuse.
        let disk = self.disk.lock();
        if disk.is_off {
            return Err(io::Error::other("no power"));
        }
        Ok(self.handle(disk.find(&name_of(path))?, disk.life))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(None, |disk| {
            let (from, to) = (name_of(from), name_of(to));
            let id = disk.find(&from)?;
            let again = NameChange::Rename(from.clone(), to.clone(), id);
            disk.rename_names(NameChange::Rename(from, to, id), again);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(None, |disk| {
            let name = name_of(path);
            let id = disk.find(&name)?;
            disk.rename_names(NameChange::Unlink(name.clone()), NameChange::Unlink(name));
            if disk.capacity_bytes.is_some() {
                // Freed for the next allocation; power loss is not combined with a full disk.
                disk.inode(id)?.seen = Vec::new();
            }
            Ok(())
        })
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.operate(None, |disk| {
            if disk.lie != Lie::SyncDir {
                for change in std::mem::take(&mut disk.pending) {
                    change.apply(&mut disk.durable);
                }
            }
            Ok(())
        })
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}
