//! The bytes of a segment. All integers are little-endian.
//!
//! ```text
//! segment  = header (4,096) batch* zeros*
//! header   = magic "CWAUDIT1" | version u16 | header bytes u16 | incarnation u64 | segment number u64 | first seq u64
//!            | previous chain hash 32 | nonce 32 | mac algorithm u8 | seal algorithm u8 | sealed key length u16
//!            | sealed key 2,048 | node length u16 | node 256 | zeros | crc32c u32 over all before it
//! batch    = record frame+ trailer frame
//! frame    = len u32 (of the payload) | type u8 | seq u64 | payload | crc32c u32 over all before it
//! record   = salt 32 | canonical event                                             (type 1)
//! trailer  = count u32 | first seq u64 | batch offset u64 | chain hash 32 | mac algorithm u8 | mac 32
//!                                                                    (type 2; its seq is the batch's last)
//! chain    = H_i = SHA-256(H_{i-1} || the batch's record frames)
//!            H_0 = SHA-256("causeway audit spool v1" || node length u16 || node || incarnation u64 || nonce)
//! ```
//!
//! The nonce makes two incarnations with the same number (a lost disk) distinguishable by their chains. MAC and sealed key
//! are zero until the evolving MAC comes.

use aws_lc_rs::digest;

/// A chain hash.
pub(crate) type Chain = [u8; 32];

/// One page: room for a post-quantum sealed key, and frames start aligned.
pub(crate) const HEADER_BYTES: u64 = 4_096;
const HEADER_LENGTH: usize = 4_096;
const MAGIC: &[u8; 8] = b"CWAUDIT1";
const VERSION: u16 = 1;

/// The node's name in the header.
pub(crate) const NODE_BYTES_MAX: usize = 256;
const NODE_AT: usize = 2_152;
const CRC_AT: usize = HEADER_LENGTH - 4;

/// `len | type | seq`.
pub(crate) const FRAME_HEAD_BYTES: usize = 13;
/// Head and checksum.
pub(crate) const FRAME_BYTES: usize = FRAME_HEAD_BYTES + 4;
/// The salt that hides an event behind its commitment.
pub(crate) const SALT_BYTES: usize = 32;
const TRAILER_PAYLOAD_BYTES: usize = 85;
/// A whole trailer frame.
pub(crate) const TRAILER_BYTES: usize = TRAILER_PAYLOAD_BYTES + FRAME_BYTES;

/// What one slot reserves: a record with its frame and, in the worst case, a trailer of its own.
pub(crate) const RECORD_BYTES_MAX: u64 = 4_096;
const RECORD_LENGTH_MAX: usize = 4_096;
/// What is left of it for the canonical event.
pub(crate) const EVENT_BYTES_MAX: usize = RECORD_LENGTH_MAX - FRAME_BYTES - SALT_BYTES - TRAILER_BYTES;
/// A batch with its trailer.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 20;
/// Records of one batch.
pub(crate) const BATCH_RECORDS_MAX: u64 = 512;

const TYPE_RECORD: u8 = 1;
const TYPE_TRAILER: u8 = 2;

/// How every trailer frame starts: its length and type. Recovery looks for it behind a damaged place.
pub(crate) const TRAILER_MARK: [u8; 5] = [85, 0, 0, 0, TYPE_TRAILER];

/// What a segment says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) node: String,
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    pub(crate) previous: Chain,
    pub(crate) nonce: [u8; 32],
}

/// Why a header is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Magic, checksum or a length is wrong.
    Damaged,
    /// Whole, but written by another version of this format.
    Version(u16),
}

impl Header {
    /// The bytes on disk.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LENGTH);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&4_096_u16.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.nonce);
        out.resize(NODE_AT, 0);
        out.extend_from_slice(&node_length(&self.node).to_le_bytes());
        out.extend(self.node.bytes().take(NODE_BYTES_MAX));
        out.resize(CRC_AT, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header from a segment's first page.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        Self::checked(bytes).ok_or(HeaderFault::Damaged)?
    }

    fn checked(bytes: &[u8]) -> Option<Result<Self, HeaderFault>> {
        let bytes = bytes.get(..HEADER_LENGTH)?;
        if bytes.get(..8)? != MAGIC || u32_at(bytes, CRC_AT)? != crc32c::crc32c(bytes.get(..CRC_AT)?) {
            return None;
        }
        let version = u16_at(bytes, 8)?;
        if version != VERSION {
            return Some(Err(HeaderFault::Version(version)));
        }
        let node_end = NODE_AT + 2 + usize::from(u16_at(bytes, NODE_AT)?);
        Some(Ok(Self {
            incarnation: u64_at(bytes, 12)?,
            number: u64_at(bytes, 20)?,
            first_seq: u64_at(bytes, 28)?,
            previous: array_at(bytes, 36)?,
            nonce: array_at(bytes, 68)?,
            node: String::from_utf8(bytes.get(NODE_AT + 2..node_end)?.to_vec()).ok()?,
        }))
    }

    /// The chain's start, which the first segment's `previous` must be.
    pub(crate) fn genesis(&self) -> Chain {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"causeway audit spool v1");
        context.update(&node_length(&self.node).to_le_bytes());
        context.update(self.node.as_bytes());
        context.update(&self.incarnation.to_le_bytes());
        context.update(&self.nonce);
        chain_of(context)
    }
}

/// `open` refuses a longer name, so nothing is cut here.
fn node_length(node: &str) -> u16 {
    u16::try_from(node.len().min(NODE_BYTES_MAX)).unwrap_or(0)
}

fn chain_of(context: digest::Context) -> Chain {
    let mut chain = [0; 32];
    for (to, from) in chain.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    chain
}

/// `H_i` over a batch's record frames.
pub(crate) fn chain_after(previous: &Chain, records: &[u8]) -> Chain {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous);
    context.update(records);
    chain_of(context)
}

/// Appends a record frame whose seq and checksum are left zero: the writer gives them with [`seal_frame`].
pub(crate) fn open_record(out: &mut Vec<u8>, salt: &[u8; SALT_BYTES], event: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    out.extend_from_slice(salt);
    event(out);
    let payload = out.len().saturating_sub(start + FRAME_HEAD_BYTES);
    out.extend_from_slice(&[0; 4]);
    if let Some(head) = out.get_mut(start..start + FRAME_HEAD_BYTES) {
        write_head(head, payload, TYPE_RECORD, 0);
    }
}

fn write_head(head: &mut [u8], payload: usize, kind: u8, seq: u64) {
    let length = u32::try_from(payload).unwrap_or(u32::MAX).to_le_bytes();
    for (to, from) in head.iter_mut().zip(length.into_iter().chain([kind]).chain(seq.to_le_bytes())) {
        *to = from;
    }
}

/// Gives an open frame its seq and its checksum. `frame` is one whole frame.
pub(crate) fn seal_frame(frame: &mut [u8], seq: u64) {
    let Some((body, crc)) = frame.split_last_chunk_mut::<4>() else { return };
    for (to, from) in body.iter_mut().skip(5).zip(seq.to_le_bytes()) {
        *to = from;
    }
    *crc = crc32c::crc32c(body).to_le_bytes();
}

/// What a trailer says about its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) count: u32,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Where the batch starts in its segment.
    pub(crate) offset: u64,
    pub(crate) chain: Chain,
}

impl Trailer {
    /// Appends the frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.chain);
        out.push(0); // no MAC yet
        out.extend_from_slice(&[0; 32]);
        out.extend_from_slice(&[0; 4]);
        let Some(frame) = out.get_mut(start..) else { return };
        write_head(frame, TRAILER_PAYLOAD_BYTES, TYPE_TRAILER, self.last_seq);
        seal_frame(frame, self.last_seq);
    }

    fn decode(seq: u64, payload: &[u8]) -> Option<Self> {
        if payload.len() != TRAILER_PAYLOAD_BYTES {
            return None;
        }
        Some(Self {
            count: u32_at(payload, 0)?,
            first_seq: u64_at(payload, 4)?,
            offset: u64_at(payload, 12)?,
            chain: array_at(payload, 20)?,
            last_seq: seq,
        })
    }
}

/// One whole frame, checksum verified.
#[derive(Debug)]
pub(crate) enum Frame<'b> {
    Record(Record<'b>),
    Trailer(Trailer),
}

/// Why there is no frame at the start of the given bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFault {
    /// The bytes end inside the frame.
    Cut,
    /// Length, type or checksum is wrong.
    Damaged,
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn decode_frame(bytes: &[u8]) -> Result<Frame<'_>, FrameFault> {
    let payload = usize::try_from(u32_at(bytes, 0).ok_or(FrameFault::Cut)?).map_err(|_| FrameFault::Damaged)?;
    if !(SALT_BYTES..=RECORD_LENGTH_MAX).contains(&payload) {
        return Err(FrameFault::Damaged);
    }
    let whole = bytes.get(..payload + FRAME_BYTES).ok_or(FrameFault::Cut)?;
    checked_frame(whole).ok_or(FrameFault::Damaged)
}

fn checked_frame(whole: &[u8]) -> Option<Frame<'_>> {
    let (body, crc) = whole.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
        return None;
    }
    let seq = u64_at(body, 5)?;
    let payload = body.get(FRAME_HEAD_BYTES..)?;
    match *body.get(4)? {
        TYPE_RECORD => {
            let (salt, event) = payload.split_first_chunk::<SALT_BYTES>()?;
            Some(Frame::Record(Record { seq, salt, event, bytes: whole.len() }))
        }
        TYPE_TRAILER => Trailer::decode(seq, payload).map(Frame::Trailer),
        _ => None,
    }
}

/// A record in bytes whose checksum was verified before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'b> {
    pub(crate) seq: u64,
    pub(crate) salt: &'b [u8; SALT_BYTES],
    pub(crate) event: &'b [u8],
    /// The whole frame's length.
    pub(crate) bytes: usize,
}

/// Reads the record at the start of `bytes`, which [`decode_frame`] has accepted before; `None` at their end.
pub(crate) fn verified_record(bytes: &[u8]) -> Option<Record<'_>> {
    let payload = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let seq = u64_at(bytes, 5)?;
    let (salt, event) = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + payload)?.split_first_chunk::<SALT_BYTES>()?;
    Some(Record { seq, salt, event, bytes: payload + FRAME_BYTES })
}

/// `<incarnation>-<first seq>`, zero-padded hex, so that names sort as the log does.
pub(crate) fn segment_name(incarnation: u64, first_seq: u64) -> String {
    format!("{incarnation:016x}-{first_seq:016x}")
}

/// What a name in the directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Segment {
        incarnation: u64,
        first_seq: u64,
    },
    /// A segment that was set aside; evidence, never deleted here.
    Damaged {
        incarnation: u64,
        first_seq: u64,
    },
    /// Preallocated, without any frame.
    Spare,
    /// Claims an incarnation.
    Incarnation(u64),
    Lock,
    Foreign,
}

/// The suffix of a segment that was set aside.
pub(crate) const DAMAGED_SUFFIX: &str = ".damaged";
/// The suffix of a preallocated file.
pub(crate) const SPARE_SUFFIX: &str = ".spare";
/// The suffix of the empty file whose name claims an incarnation.
pub(crate) const INCARNATION_SUFFIX: &str = ".incarnation";
/// The file that is locked.
pub(crate) const LOCK_NAME: &str = "lock";

/// Reads a name.
pub(crate) fn parse_name(name: &str) -> Name {
    if name == LOCK_NAME {
        return Name::Lock;
    }
    if name.ends_with(SPARE_SUFFIX) {
        return Name::Spare;
    }
    if let Some(incarnation) = name.strip_suffix(INCARNATION_SUFFIX).and_then(hex16) {
        return Name::Incarnation(incarnation);
    }
    let plain = name.strip_suffix(DAMAGED_SUFFIX);
    let ids = plain.unwrap_or(name).split_once('-').and_then(|(left, right)| Some((hex16(left)?, hex16(right)?)));
    match (ids, plain) {
        (Some((incarnation, first_seq)), None) => Name::Segment { incarnation, first_seq },
        (Some((incarnation, first_seq)), Some(_)) => Name::Damaged { incarnation, first_seq },
        (None, _) => Name::Foreign,
    }
}

fn hex16(text: &str) -> Option<u64> {
    let canonical = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if canonical { u64::from_str_radix(text, 16).ok() } else { None }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
