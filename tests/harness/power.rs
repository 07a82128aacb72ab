//! What a power loss would have kept: a node's writes and syncs as the kernel saw them, and the dropping of the rest.
//!
//! `kill -9` loses nothing that was written, because the page cache lives on; a missing `fdatasync` is invisible to it. So
//! the node runs under `strace`, and after the kill every byte that was written and not covered by a completed sync of
//! that file is overwritten with zeros (what preallocated space reads as), and every file whose name was not made durable
//! is removed. It is the worst lawful outcome for an append-only file in preallocated space.
//!
//! Not modeled: a truncation or a rename that is undone.

mod line;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use line::{Call, Ended, Line};

/// The system calls that decide what is on disk.
///
/// Sequential `write` is left out: a node writes sockets with it, and tracing them would be the load. A spool that used it
/// would show no write at all, which the claim refuses ([`Counts::writes`]).
const TRACED: &str = "open,openat,pwrite64,pwritev,pwritev2,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat";

/// Whether the traced program's `fdatasync` does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fdatasync {
    /// It syncs.
    Real,
    /// It answers 0 at once and syncs nothing: the mutant.
    Removed,
}

/// The program that traces.
///
/// # Errors
/// When `strace` is not installed.
pub fn strace() -> Result<PathBuf> {
    let places = ["/usr/bin/strace", "/usr/local/bin/strace", "/bin/strace"];
    let found = places.iter().map(PathBuf::from).find(|path| path.is_file());
    found.context("strace is not installed: apt-get install strace")
}

/// The arguments of `strace` that come before the traced program; the trace goes to `output`.
pub fn arguments(output: &Path, fdatasync: Fdatasync) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["-f", "--seccomp-bpf", "-y", "-v", "-s", "0", "-o"].into_iter().map(OsString::from).collect();
    arguments.push(output.into());
    arguments.push("-e".into());
    arguments.push(format!("trace={TRACED}").into());
    if fdatasync == Fdatasync::Removed {
        arguments.push("-e".into());
        arguments.push("inject=fdatasync:retval=0".into());
    }
    arguments.push("--".into());
    arguments
}

/// A written range that no completed sync covers yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dirty {
    bytes: Range<u64>,
    /// The position in the trace at which the write had ended, if it did: a sync covers what was complete when it began.
    completed_at: Option<usize>,
}

/// A trace, digested.
#[derive(Debug, Default)]
pub struct SyncTrace {
    dirty: BTreeMap<PathBuf, Vec<Dirty>>,
    /// Files whose name no sync of their directory covers yet, with the position of their creation.
    unnamed: BTreeMap<PathBuf, usize>,
    /// Calls under way, by thread.
    open: HashMap<u32, (usize, Call)>,
    counts: Counts,
}

/// How much a trace shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Positional writes completed.
    pub writes: u64,
    /// Syncs that reached the disk.
    pub syncs: u64,
    /// Syncs that were answered without being done.
    pub removed_syncs: u64,
}

/// What was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss {
    /// Bytes zeroed.
    pub bytes: u64,
    /// Files that lost bytes.
    pub files: u64,
    /// Files removed.
    pub removed: u64,
}

impl SyncTrace {
    /// Reads the file that `strace` wrote; call it after `strace` has ended, because its output is buffered.
    ///
    /// # Errors
    /// When the file is unreadable or holds a line that is not understood.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Digests the text of a trace.
    ///
    /// # Errors
    /// When a traced call cannot be understood: a guess here could hide a loss.
    pub fn parse(text: &str) -> Result<Self> {
        let mut trace = Self::default();
        for (number, text) in text.lines().enumerate() {
            let line = line::parse(text).with_context(|| format!("line {} of the trace: {text}", number + 1))?;
            trace.apply(number, line);
        }
        // A call that never came back may have written any part of its range.
        for (_, (_, call)) in std::mem::take(&mut trace.open) {
            if let Call::Write { file, bytes } = call {
                trace.soil(file, bytes, None);
            }
        }
        Ok(trace)
    }

    /// How much it shows.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Written ranges that no sync covers, in files under `dir`.
    pub fn unsynced(&self, dir: &Path) -> Vec<(PathBuf, Range<u64>)> {
        let mut found = Vec::new();
        for (file, ranges) in &self.dirty {
            if file.starts_with(dir) {
                found.extend(ranges.iter().map(|dirty| (file.clone(), dirty.bytes.clone())));
            }
        }
        found
    }

    /// Drops, in files under `dir`, all that a power loss would: zeros unsynced ranges and removes unnamed files.
    ///
    /// # Errors
    /// When a file cannot be written. A file that is gone already is fine.
    pub fn drop_unsynced(&self, dir: &Path) -> Result<Loss> {
        let mut loss = Loss::default();
        let mut soiled = std::collections::BTreeSet::new();
        for (path, range) in self.unsynced(dir) {
            let Ok(file) = std::fs::OpenOptions::new().write(true).open(&path) else {
                continue;
            };
            // Only what is there can be lost: a call cut short may not have lengthened the file.
            let end = range.end.min(file.metadata()?.len());
            if range.start < end {
                zero(&file, range.start..end).with_context(|| format!("cannot drop bytes of {}", path.display()))?;
                loss.bytes += end - range.start;
                soiled.insert(path);
            }
        }
        loss.files = soiled.len() as u64;
        for path in self.unnamed.keys().filter(|path| path.starts_with(dir)) {
            match std::fs::remove_file(path) {
                Ok(()) => loss.removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => bail!("cannot remove {}: {error}", path.display()),
            }
        }
        Ok(loss)
    }

    fn apply(&mut self, number: usize, line: Line) {
        match line {
            Line::Whole { call, ended } => self.finish(number, number, call, ended),
            Line::Begun { thread, call } => {
                self.open.insert(thread, (number, call));
            }
            Line::Resumed { thread, ended } => {
                if let Some((began, call)) = self.open.remove(&thread) {
                    self.finish(began, number, call, ended);
                }
            }
            Line::Other => {}
        }
    }

    fn finish(&mut self, began: usize, now: usize, call: Call, ended: Ended) {
        if ended == Ended::Failed {
            // A failed write may have written a part; a failed sync has synced nothing.
            if let Call::Write { file, bytes } = call {
                self.soil(file, bytes, None);
            }
            return;
        }
        match call {
            Call::Write { file, bytes } => {
                self.counts.writes += 1;
                let length = match ended {
                    Ended::Returned(n) => n,
                    Ended::Injected | Ended::Failed => return,
                };
                let bytes = bytes.start..bytes.start.saturating_add(length).min(bytes.end);
                self.soil(file, bytes, Some(now));
            }
            Call::Sync { file } => {
                if ended == Ended::Injected {
                    self.counts.removed_syncs += 1;
                } else {
                    self.counts.syncs += 1;
                    self.clean(&file, began);
                }
            }
            Call::Create { file } => {
                self.unnamed.insert(file, now);
            }
            Call::Rename { from, to } => {
                if let Some(ranges) = self.dirty.remove(&from) {
                    self.dirty.insert(to.clone(), ranges);
                }
                if let Some(at) = self.unnamed.remove(&from) {
                    self.unnamed.insert(to, at);
                }
            }
            Call::Unlink { file } => {
                self.dirty.remove(&file);
                self.unnamed.remove(&file);
            }
            Call::Nothing => {}
        }
    }

    fn soil(&mut self, file: PathBuf, bytes: Range<u64>, completed_at: Option<usize>) {
        let dirty = Dirty { bytes, completed_at };
        self.dirty.entry(file).or_default().push(dirty);
    }

    /// A sync that began at `began` has ended: it covers what was complete by then, of a file or of a directory.
    fn clean(&mut self, file: &Path, began: usize) {
        if let Some(ranges) = self.dirty.get_mut(file) {
            ranges.retain(|dirty| dirty.completed_at.is_none_or(|at| at > began));
            if ranges.is_empty() {
                self.dirty.remove(file);
            }
        }
        self.unnamed.retain(|path, created| path.parent() != Some(file) || *created > began);
    }
}

fn zero(file: &std::fs::File, range: Range<u64>) -> std::io::Result<()> {
    let zeros = [0_u8; 8 << 10];
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let piece = zeros.get(..left.min(zeros.len())).unwrap_or(&zeros);
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}
