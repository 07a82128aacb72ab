//! Rows for the loader, in order, verified as they are read: what this process wrote itself by its checksums, what an earlier
//! one left by its chain too.

mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::rows::{Iter, Row, Rows};
pub use crate::spool::Gap;
use crate::{
    layout::{Chain, HEADER_BYTES, HeaderFault},
    scan::{self, ChainProof, Fault, Mark, Step, Walk},
    spool::{Segment, Shared, SpoolError, doing},
};

/// What one [`Reader::read`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Contiguous rows from `after_seq + 1`.
    pub rows: Rows,
    /// The chain hash of the written batch that holds the last row; without rows, of the one before; zeros at the start.
    pub chain: Chain,
    /// Nothing more will follow: the incarnation is dead and its last contiguous row was returned.
    pub complete: bool,
    /// The next row is missing, because its segment was damaged or is gone: a person must know. Rows behind the gap can be
    /// read with `after_seq = gap.through_seq`.
    pub gap: Option<Gap>,
}

/// Reads every incarnation in the directory, oldest first; of the live one, only what is durable.
///
/// Reading on from where the last call ended is cheap; any other `after_seq` walks its segment from the start. Calls block
/// on the disk.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    cursor: Option<Cursor>,
}

/// An open segment.
#[derive(Debug)]
struct Cursor {
    incarnation: u64,
    first_seq: u64,
    name: String,
    walk: Walk,
}

impl Reader {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, cursor: None }
    }

    /// The incarnations that have rows, oldest first, and the live one.
    ///
    /// # Errors
    /// None today; a reader over a directory that nobody has open will list it.
    pub fn incarnations(&self) -> Result<Vec<u64>, SpoolError> {
        let mut found: Vec<u64> = {
            let catalog = self.shared.catalog.lock();
            catalog.iter().filter(|segment| segment.has_rows()).map(|segment| segment.incarnation).collect()
        };
        found.push(self.shared.incarnation);
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Reads up to `rows_max` rows that follow `after_seq`.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] when a row that was durable can no longer be read as it was written; [`SpoolError::Io`].
    pub fn read(&mut self, incarnation: u64, after_seq: u64, rows_max: usize) -> Result<Batch, SpoolError> {
        let mut batch = Batch::default();
        self.read_into(&mut batch, incarnation, after_seq, rows_max)?;
        Ok(batch)
    }

    /// As [`Reader::read`], into the memory of a batch that is done with.
    ///
    /// # Errors
    /// As [`Reader::read`]; then the batch says nothing.
    pub fn read_into(&mut self, batch: &mut Batch, incarnation: u64, after_seq: u64, rows_max: usize) -> Result<(), SpoolError> {
        let segments = self.shared.catalog.lock().readable(incarnation);
        batch.rows.clear(incarnation);
        (batch.chain, batch.complete, batch.gap) = ([0; 32], false, None);
        let mut next = after_seq.saturating_add(1);
        let last_seq = segments.last().map_or(0, |segment| segment.last_seq);
        for (index, segment) in segments.iter().enumerate() {
            let covers = segment.last_seq >= next || index + 1 == segments.len();
            if !covers || batch.rows.len() >= rows_max {
                continue;
            }
            if segment.first_seq > next {
                batch.gap = Some(Gap { incarnation, from_seq: next, through_seq: segment.first_seq - 1 });
                break;
            }
            self.enter(segment, next)?;
            self.rows(segment, &mut next, rows_max, batch)?;
        }
        let is_dead = incarnation != self.shared.incarnation;
        batch.complete = is_dead && (next > last_seq || batch.gap.is_some());
        Ok(())
    }

    /// Whether row `seq` of this incarnation, loaded with this chain hash, came from this directory. Two directories can carry
    /// the same incarnation number (a disk was lost, a clock was set back); what is loaded of one says nothing about the other.
    /// True where nothing is left on disk to compare with.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn confirms(&mut self, incarnation: u64, seq: u64, chain: &Chain) -> Result<bool, SpoolError> {
        if seq == 0 {
            return Ok(true);
        }
        let segments = self.shared.catalog.lock().readable(incarnation);
        let holds = |segment: &&Segment| segment.first_seq <= seq.saturating_add(1) && seq <= segment.last_seq;
        let Some(segment) = segments.iter().find(holds) else {
            // The live incarnation has every number up to its last one; a higher one was never written here.
            return Ok(incarnation != self.shared.incarnation);
        };
        self.cursor = None;
        self.enter(segment, segment.first_seq)?;
        let Some(cursor) = &mut self.cursor else { return Ok(true) };
        while cursor.walk.mark.seq < seq.saturating_add(1) {
            match cursor.walk.next(segment.end).map_err(doing("read a segment"))? {
                Step::Batch(_) => {}
                Step::End | Step::Fault(_) => break,
            }
        }
        Ok(cursor.walk.mark.chain == *chain)
    }

    /// Puts the cursor into `segment`, at or before `next`.
    fn enter(&mut self, segment: &Segment, next: u64) -> Result<(), SpoolError> {
        let is_there = self.cursor.as_ref().is_some_and(|cursor| {
            cursor.incarnation == segment.incarnation
                && cursor.first_seq == segment.first_seq
                && cursor.name == segment.name
                && cursor.walk.mark.seq <= next
        });
        if is_there {
            return Ok(());
        }
        let before = self.cursor.take();
        let storage = &self.shared.storage;
        let file = storage.open(&self.shared.dir.join(&segment.name)).map_err(doing("open a segment"))?;
        let damaged = |fault| damaged_at(segment, 0, fault);
        let header = match scan::read_header(&*file).map_err(doing("read a segment"))? {
            Ok(header) => header,
            Err(HeaderFault::Version(version)) => {
                return Err(SpoolError::Version { file: segment.name.clone(), version });
            }
            Err(HeaderFault::Damaged) => return Err(damaged(Fault::Header)),
        };
        if (header.incarnation, header.first_seq) != (segment.incarnation, segment.first_seq) {
            return Err(damaged(Fault::HeaderName));
        }
        // Coming from the segment before, the chain must go on; from the start, it must begin where it says.
        let expected = if header.first_seq == 1 {
            Some(header.genesis())
        } else {
            let follows = |cursor: &Cursor| cursor.incarnation == segment.incarnation && cursor.walk.mark.seq == segment.first_seq;
            before.filter(follows).map(|cursor| cursor.walk.mark.chain)
        };
        if expected.is_some_and(|chain| chain != header.previous) {
            return Err(damaged(Fault::Chain));
        }
        let is_live = segment.incarnation == self.shared.incarnation;
        let walk = Walk::new(file, &header, if is_live { ChainProof::WrittenHere } else { ChainProof::Hash });
        let (incarnation, first_seq) = (segment.incarnation, segment.first_seq);
        self.cursor = Some(Cursor { incarnation, first_seq, name: segment.name.clone(), walk });
        Ok(())
    }

    /// Takes rows from the cursor's segment until it ends or `rows_max` is reached; a batch that is taken only in part is
    /// walked again by the next call.
    fn rows(&mut self, segment: &Segment, next: &mut u64, rows_max: usize, batch: &mut Batch) -> Result<(), SpoolError> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        if cursor.walk.mark.at > HEADER_BYTES || cursor.first_seq > 1 {
            batch.chain = cursor.walk.mark.chain;
        }
        while batch.rows.len() < rows_max {
            let start: Mark = cursor.walk.mark;
            let verified = match cursor.walk.next(segment.end).map_err(doing("read a segment"))? {
                Step::Batch(verified) => verified,
                Step::End if start.at >= segment.end => break,
                Step::End => return Err(damaged_at(segment, start.at, Fault::Cut)),
                Step::Fault(fault) => return Err(damaged_at(segment, start.at, fault)),
            };
            batch.chain = cursor.walk.mark.chain;
            let left = rows_max - batch.rows.len();
            batch.rows.append(cursor.walk.records(&verified), *next, left);
            *next = (*next).max(batch.rows.last_seq().saturating_add(1));
            if *next <= verified.last_seq {
                cursor.walk.rewind(start);
            }
        }
        Ok(())
    }
}

fn damaged_at(segment: &Segment, offset: u64, fault: Fault) -> SpoolError {
    SpoolError::Damaged { file: segment.name.clone(), offset, fault }
}
