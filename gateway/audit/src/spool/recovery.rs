//! What opening a directory finds: every segment verified, a torn tail cut, damage set aside and reported.

use std::path::Path;

use super::{
    SpoolConfig, SpoolError,
    catalog::{Catalog, Condition, Segment},
    doing,
};
use crate::{
    layout::{self, DAMAGED_SUFFIX, HEADER_BYTES, Header, HeaderFault, Name},
    scan::{self, ChainProof, Fault, Mark, Rest, Step, Walk},
    storage::Storage,
};

/// What was found when the spool was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Incarnations that still have segments.
    pub incarnations: usize,
    /// Segments verified.
    pub segments: usize,
    /// Records verified.
    pub records: u64,
    /// The write that power loss or a kill tore, cut off: nothing in it was ever acknowledged.
    pub torn: Option<TornTail>,
    /// Segments set aside by this opening: a person must act.
    pub damage: Vec<Damage>,
    /// Segments that an earlier opening had set aside.
    pub damaged_before: usize,
    /// Seqs that are missing between two segments of one incarnation.
    pub gaps: Vec<Gap>,
    /// Files that are none of ours.
    pub foreign: usize,
}

/// A tail that was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file's name.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
}

/// A segment that is not what was written. Its file is renamed to `.damaged` and otherwise untouched; the rows before the
/// damage can still be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file's name before it was set aside.
    pub file: String,
    /// Where the first batch starts that is not whole.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Missing seqs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// In which incarnation.
    pub incarnation: u64,
    /// The first missing seq.
    pub from_seq: u64,
    /// The last missing seq.
    pub through_seq: u64,
}

/// The outcome of [`recover`].
pub(super) struct Recovered {
    pub(super) report: RecoveryReport,
    pub(super) catalog: Catalog,
    /// Claimed, and durable.
    pub(super) incarnation: u64,
}

/// A segment as the directory lists it.
struct Listed {
    name: String,
    incarnation: u64,
    first_seq: u64,
    bytes: u64,
    is_damaged: bool,
}

/// The directory under recovery.
struct Recovery<'a> {
    dir: &'a Path,
    node: &'a str,
    storage: &'a dyn Storage,
    report: RecoveryReport,
    catalog: Catalog,
    /// Names changed and not synced yet.
    is_dirty: bool,
}

/// Verifies the directory, and claims the next incarnation in it.
pub(super) fn recover(config: &SpoolConfig, storage: &dyn Storage) -> Result<Recovered, SpoolError> {
    let mut recovery =
        Recovery { dir: &config.dir, node: &config.node, storage, report: RecoveryReport::default(), catalog: Catalog::default(), is_dirty: false };
    let mut listed = Vec::new();
    let mut claims = Vec::new();
    let mut spares = Vec::new();
    for entry in storage.list(&config.dir).map_err(doing("list the directory"))? {
        let bytes = entry.bytes;
        let name = entry.name;
        match layout::parse_name(&name) {
            Name::Segment { incarnation, first_seq } => {
                listed.push(Listed { name, incarnation, first_seq, bytes, is_damaged: false });
            }
            Name::Damaged { incarnation, first_seq } => {
                listed.push(Listed { name, incarnation, first_seq, bytes, is_damaged: true });
            }
            Name::Spare => spares.push(name),
            Name::Incarnation(incarnation) => claims.push((incarnation, name)),
            Name::Lock => {}
            Name::Foreign => recovery.report.foreign += 1,
        }
    }
    listed.sort_by_key(|segment| (segment.incarnation, segment.first_seq, segment.is_damaged));
    let last_used = listed.iter().map(|segment| segment.incarnation).chain(claims.iter().map(|claim| claim.0)).max();
    recovery.segments(&listed, last_used)?;
    for spare in spares {
        // A spare never holds a frame: it gets its segment's name first.
        storage.remove(&config.dir.join(spare)).map_err(doing("remove a spare"))?;
        recovery.is_dirty = true;
    }
    recovery.sync_names()?;
    let incarnation = recovery.claim(last_used.unwrap_or(config.incarnation_floor), &claims)?;
    recovery.tell();
    Ok(Recovered { report: recovery.report, catalog: recovery.catalog, incarnation })
}

impl Recovery<'_> {
    fn segments(&mut self, listed: &[Listed], last_used: Option<u64>) -> Result<(), SpoolError> {
        let mut before: Option<(u64, Mark)> = None;
        for (index, segment) in listed.iter().enumerate() {
            let is_last = listed.get(index + 1).is_none_or(|next| next.incarnation != segment.incarnation);
            if before.is_none_or(|(incarnation, _)| incarnation != segment.incarnation) {
                before = None;
                self.report.incarnations += 1;
            }
            // Only the last write of the incarnation that ran last can be torn; everything else was synced, or cut by an
            // opening before.
            let may_be_torn = is_last && last_used == Some(segment.incarnation) && !segment.is_damaged;
            let end = self.segment(segment, before.map(|(_, mark)| mark), is_last, may_be_torn)?;
            before = Some((segment.incarnation, end));
        }
        Ok(())
    }

    /// Verifies one segment and enters it into the catalog. Returns where its verified part ends.
    fn segment(&mut self, listed: &Listed, before: Option<Mark>, is_last: bool, may_be_torn: bool) -> Result<Mark, SpoolError> {
        let file = self.storage.open(&self.dir.join(&listed.name)).map_err(doing("open a segment"))?;
        let nothing = Mark { at: 0, seq: listed.first_seq, chain: [0; 32] };
        self.report.segments += 1;
        let header = match scan::read_header(&*file).map_err(doing("read a segment"))? {
            Ok(header) => header,
            Err(HeaderFault::Version(version)) => {
                return Err(SpoolError::Version { file: listed.name.clone(), version });
            }
            Err(HeaderFault::Damaged) => return self.set_aside(listed, nothing, Fault::Header),
        };
        if header.node != self.node {
            let expected = self.node.to_owned();
            return Err(SpoolError::OtherNode { file: listed.name.clone(), found: header.node, expected });
        }
        if let Some(fault) = self.header_fault(listed, &header, before) {
            return self.set_aside(listed, nothing, fault);
        }
        let mut walk = Walk::new(file, &header, ChainProof::Hash);
        let stopped = loop {
            match walk.next(listed.bytes).map_err(doing("read a segment"))? {
                Step::Batch(batch) => self.report.records += batch.last_seq - batch.first_seq + 1,
                Step::End => break None,
                Step::Fault(fault) => break Some(fault),
            }
        };
        let mark = walk.mark;
        let rest = scan::rest(walk.file(), &mark, listed.bytes).map_err(doing("read a segment"))?;
        let is_tear = matches!(stopped, None | Some(Fault::Frame | Fault::Cut));
        match (stopped, rest) {
            (None, Rest::Zeros) => {}
            (_, Rest::Torn | Rest::Zeros) if may_be_torn && is_tear => {
                self.report.torn = Some(TornTail { file: listed.name.clone(), offset: mark.at });
            }
            (fault, _) => return self.set_aside(listed, mark, fault.unwrap_or(Fault::Behind)),
        }
        self.keep(listed, &walk, is_last)?;
        Ok(mark)
    }

    /// What is wrong with a whole header in this place; notes a gap before it.
    fn header_fault(&mut self, listed: &Listed, header: &Header, before: Option<Mark>) -> Option<Fault> {
        if (header.incarnation, header.first_seq) != (listed.incarnation, listed.first_seq) {
            return Some(Fault::HeaderName);
        }
        if header.first_seq == 1 {
            return (header.previous != header.genesis()).then_some(Fault::Chain);
        }
        // Without one before, it was loaded and released.
        let before = before?;
        if before.seq > header.first_seq {
            return Some(Fault::Sequence);
        }
        if before.seq < header.first_seq {
            let through_seq = header.first_seq - 1;
            self.report.gaps.push(Gap { incarnation: header.incarnation, from_seq: before.seq, through_seq });
            return None;
        }
        (before.chain != header.previous).then_some(Fault::Chain)
    }

    /// A whole segment: cut to what it holds when nothing can follow, and removed when that is nothing.
    fn keep(&mut self, listed: &Listed, walk: &Walk, is_last: bool) -> Result<(), SpoolError> {
        let mark = walk.mark;
        if listed.is_damaged {
            self.report.damaged_before += 1;
        } else if mark.at == HEADER_BYTES {
            self.storage.remove(&self.dir.join(&listed.name)).map_err(doing("remove an empty segment"))?;
            self.is_dirty = true;
            return Ok(());
        }
        let mut disk_bytes = listed.bytes;
        if is_last && !listed.is_damaged && mark.at < listed.bytes {
            walk.file().truncate(mark.at).map_err(doing("cut a torn tail"))?;
            walk.file().sync_all().map_err(doing("sync a segment"))?;
            disk_bytes = mark.at;
        }
        let condition = if listed.is_damaged { Condition::Damaged } else { Condition::Done };
        self.enter(listed, listed.name.clone(), mark, disk_bytes, condition);
        Ok(())
    }

    /// Renames a damaged segment out of the way, once; what is whole in it stays readable.
    fn set_aside(&mut self, listed: &Listed, mark: Mark, fault: Fault) -> Result<Mark, SpoolError> {
        let mut name = listed.name.clone();
        if listed.is_damaged {
            self.report.damaged_before += 1;
        } else {
            name.push_str(DAMAGED_SUFFIX);
            let (from, to) = (self.dir.join(&listed.name), self.dir.join(&name));
            self.storage.rename(&from, &to).map_err(doing("set a damaged segment aside"))?;
            self.is_dirty = true;
            self.report.damage.push(Damage { file: listed.name.clone(), offset: mark.at, fault });
        }
        self.enter(listed, name, mark, listed.bytes, Condition::Damaged);
        Ok(mark)
    }

    fn enter(&mut self, listed: &Listed, name: String, mark: Mark, disk_bytes: u64, condition: Condition) {
        self.catalog.insert(Segment {
            name,
            incarnation: listed.incarnation,
            first_seq: listed.first_seq,
            last_seq: mark.seq.saturating_sub(1),
            end: mark.at,
            disk_bytes,
            condition,
        });
    }

    fn sync_names(&mut self) -> Result<(), SpoolError> {
        if std::mem::take(&mut self.is_dirty) {
            self.storage.sync_dir(self.dir).map_err(doing("sync the directory"))?;
        }
        Ok(())
    }

    /// Takes the next incarnation: an empty file whose name is durable before anything is written under it, so that it is
    /// not used again even when every segment has been released.
    fn claim(&mut self, last_used: u64, claims: &[(u64, String)]) -> Result<u64, SpoolError> {
        let Some(incarnation) = last_used.checked_add(1) else {
            return Err(SpoolError::Config { reason: "the directory holds the last possible incarnation" });
        };
        let name = format!("{incarnation:016x}{}", layout::INCARNATION_SUFFIX);
        let file = self.storage.create(&self.dir.join(name)).map_err(doing("claim an incarnation"))?;
        file.sync_all().map_err(doing("sync the claim of an incarnation"))?;
        self.storage.sync_dir(self.dir).map_err(doing("sync the directory"))?;
        for (_, old) in claims {
            self.storage.remove(&self.dir.join(old)).map_err(doing("remove an older claim"))?;
        }
        Ok(incarnation)
    }

    fn tell(&self) {
        for damage in &self.report.damage {
            let Damage { file, offset, fault } = damage;
            tracing::error!(file, offset, "audit segment {file} is damaged and was set aside: {fault}");
        }
        for Gap { incarnation, from_seq, through_seq } in &self.report.gaps {
            tracing::error!(incarnation, from_seq, through_seq, "audit records {from_seq} to {through_seq} are missing");
        }
        if let Some(TornTail { file, offset }) = &self.report.torn {
            tracing::info!(file, offset, "cut an unfinished write from the end of audit segment {file}");
        }
    }
}
