//! Walks a segment batch by batch and believes nothing: checksums, seqs, counts, offsets and the chain are all verified.
//! Recovery and the reader use the same walk; over what this process itself has hashed and written, the reader does not hash
//! once more.

use std::{fmt, io, ops::Range};

use crate::{
    layout::{self, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Chain, FRAME_HEAD_BYTES, Frame, FrameFault, HEADER_BYTES, Header},
    storage::StorageFile,
};

/// Why a place in a segment is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The header's magic, checksum or lengths are wrong.
    Header,
    /// The header does not say what the file's name says.
    HeaderName,
    /// The chain hash does not follow from what stands before.
    Chain,
    /// A frame's length, type or checksum is wrong.
    Frame,
    /// A record's or trailer's seq is not the next one.
    Sequence,
    /// The trailer does not describe its batch.
    Trailer,
    /// The data ends inside a batch.
    Cut,
    /// There are bytes behind the end.
    Behind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "the header is damaged",
            Self::HeaderName => "the header does not match the file's name",
            Self::Chain => "the chain hash does not follow",
            Self::Frame => "a frame is damaged",
            Self::Sequence => "a sequence number is out of order",
            Self::Trailer => "a trailer does not match its batch",
            Self::Cut => "the data ends inside a batch",
            Self::Behind => "there are bytes behind the end",
        })
    }
}

/// A verified batch; `records` is the part of [`Walk::window`] that holds its record frames.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) records: Range<usize>,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// One step of a walk.
#[derive(Debug)]
pub(crate) enum Step {
    Batch(Verified),
    /// The given end, or preallocated zeros.
    End,
    /// Nothing can be believed from the batch at [`Walk::at`] on.
    Fault(Fault),
}

/// Where a walk stands: at the start of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) at: u64,
    /// The seq that must come next.
    pub(crate) seq: u64,
    /// The chain over everything before.
    pub(crate) chain: Chain,
}

/// Who says that the chain is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainProof {
    /// Nobody: every batch is hashed.
    Hash,
    /// This process, which hashed each batch as it wrote it. Frames and trailer still have to be whole, so a bad disk is
    /// found; whoever can alter what a running process wrote can alter the process.
    WrittenHere,
}

/// A walk over one segment.
#[derive(Debug)]
pub(crate) struct Walk {
    file: Box<dyn StorageFile>,
    pub(crate) mark: Mark,
    window: Vec<u8>,
    window_at: u64,
    proof: ChainProof,
}

/// Reads and decodes a segment's header.
pub(crate) fn read_header(file: &dyn StorageFile) -> io::Result<Result<Header, layout::HeaderFault>> {
    let mut page = vec![0; usize::try_from(HEADER_BYTES).unwrap_or(0)];
    let read = file.read_at(&mut page, 0)?;
    Ok(Header::decode(page.get(..read).unwrap_or_default()))
}

impl Walk {
    /// Starts behind the header.
    pub(crate) fn new(file: Box<dyn StorageFile>, header: &Header, proof: ChainProof) -> Self {
        let mark = Mark { at: HEADER_BYTES, seq: header.first_seq, chain: header.previous };
        Self { file, mark, window: Vec::new(), window_at: 0, proof }
    }

    pub(crate) fn file(&self) -> &dyn StorageFile {
        &*self.file
    }

    /// The bytes of a batch returned last.
    pub(crate) fn records(&self, batch: &Verified) -> &[u8] {
        self.window.get(batch.records.clone()).unwrap_or_default()
    }

    /// Goes back to a place where this walk has stood.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Verifies the next batch; nothing at or behind `end` is read.
    pub(crate) fn next(&mut self, end: u64) -> io::Result<Step> {
        if self.mark.at >= end {
            return Ok(Step::End);
        }
        let known = self.window_at.saturating_add(bytes_of(self.window.len()));
        let is_inside = self.mark.at >= self.window_at && self.mark.at < known;
        if is_inside && let Some(step) = self.step(known >= end) {
            return Ok(step);
        }
        self.fill(end)?;
        let known = self.window_at.saturating_add(bytes_of(self.window.len()));
        let is_all = known >= end || self.window.len() < BATCH_BYTES_MAX;
        Ok(self.step(is_all).unwrap_or(Step::Fault(Fault::Cut)))
    }

    fn fill(&mut self, end: u64) -> io::Result<()> {
        let wanted = usize::try_from(end - self.mark.at).unwrap_or(usize::MAX).min(BATCH_BYTES_MAX);
        self.window.resize(wanted, 0);
        let read = self.file.read_at(&mut self.window, self.mark.at)?;
        self.window.truncate(read);
        self.window_at = self.mark.at;
        Ok(())
    }

    /// The batch at the mark, or `None` when the window ends inside it and more can be read.
    fn step(&mut self, is_all: bool) -> Option<Step> {
        let start = usize::try_from(self.mark.at - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(start..).unwrap_or_default();
        let head = bytes.get(..FRAME_HEAD_BYTES.min(bytes.len())).unwrap_or_default();
        if head.iter().all(|byte| *byte == 0) {
            return if head.len() == FRAME_HEAD_BYTES || is_all { Some(Step::End) } else { None };
        }
        match verify(bytes, &self.mark, self.proof) {
            Ok((records, next)) => {
                let batch = Verified { records: start..start + records, first_seq: self.mark.seq, last_seq: next.seq.saturating_sub(1) };
                self.mark = next;
                Some(Step::Batch(batch))
            }
            Err(Fault::Cut) if !is_all => None,
            Err(fault) => Some(Step::Fault(fault)),
        }
    }
}

/// Verifies the batch at the start of `bytes`: the length of its records, and where the next batch starts.
fn verify(bytes: &[u8], mark: &Mark, proof: ChainProof) -> Result<(usize, Mark), Fault> {
    let mut used = 0;
    let mut seq = mark.seq;
    let mut count = 0_u32;
    loop {
        let frame = layout::decode_frame(bytes.get(used..).unwrap_or_default()).map_err(|fault| match fault {
            FrameFault::Cut => Fault::Cut,
            FrameFault::Damaged => Fault::Frame,
        })?;
        match frame {
            Frame::Record(record) => {
                if record.seq != seq {
                    return Err(Fault::Sequence);
                }
                seq = seq.checked_add(1).ok_or(Fault::Sequence)?;
                used += record.bytes;
                count += 1;
                if u64::from(count) > BATCH_RECORDS_MAX {
                    return Err(Fault::Trailer);
                }
            }
            Frame::Trailer(trailer) => {
                let is_fitting =
                    count > 0 && trailer.count == count && trailer.first_seq == mark.seq && trailer.last_seq == seq - 1 && trailer.offset == mark.at;
                if !is_fitting {
                    return Err(Fault::Trailer);
                }
                let is_chained = match proof {
                    ChainProof::Hash => layout::chain_after(&mark.chain, bytes.get(..used).unwrap_or_default()) == trailer.chain,
                    ChainProof::WrittenHere => true,
                };
                if !is_chained {
                    return Err(Fault::Chain);
                }
                let at = mark.at.saturating_add(bytes_of(used + layout::TRAILER_BYTES));
                return Ok((used, Mark { at, seq, chain: trailer.chain }));
            }
        }
    }
}

/// What stands behind the place where a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing but zeros.
    Zeros,
    /// Bytes, but no batch that was started later: a write that power loss tore.
    Torn,
    /// A whole trailer of a later batch. A batch is only written when the one before is on disk, so the place where the
    /// walk ended was acknowledged once and has been damaged since.
    Later,
}

/// Looks at everything from `mark` to `end`.
pub(crate) fn rest(file: &dyn StorageFile, mark: &Mark, end: u64) -> io::Result<Rest> {
    let overlap = layout::TRAILER_BYTES - 1;
    let mut window = Vec::new();
    let mut at = mark.at;
    let mut is_zero = true;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(BATCH_BYTES_MAX);
        window.resize(wanted, 0);
        let read = file.read_at(&mut window, at)?;
        window.truncate(read);
        if window.iter().any(|byte| *byte != 0) {
            is_zero = false;
            if has_later_trailer(&window, mark) {
                return Ok(Rest::Later);
            }
        }
        if read < wanted || at.saturating_add(bytes_of(read)) >= end {
            break;
        }
        at = at.saturating_add(bytes_of(read.saturating_sub(overlap).max(1)));
    }
    Ok(if is_zero { Rest::Zeros } else { Rest::Torn })
}

/// Event bytes cannot imitate a trailer: canonical JSON holds no byte below 0x20.
fn has_later_trailer(window: &[u8], mark: &Mark) -> bool {
    window.windows(layout::TRAILER_MARK.len()).enumerate().any(|(index, bytes)| {
        bytes == layout::TRAILER_MARK
            && matches!(
                layout::decode_frame(window.get(index..).unwrap_or_default()),
                Ok(Frame::Trailer(trailer)) if trailer.offset > mark.at && trailer.first_seq > mark.seq
            )
    })
}

/// Lengths in memory fit 64 bits on every platform this runs on.
pub(crate) fn bytes_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
