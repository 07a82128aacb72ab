//! Bodies that are held whole, so that they can be checked before a byte of them goes on: one budget for all of a node's.
//!
//! A route's cap bounds one body; the budget bounds as many as clients send at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

/// Room that a body of unknown or great length begins with: it may never come.
const FIRST_BYTES: u64 = 64 << 10;

/// The memory that a node gives to bodies that it holds.
#[derive(Debug)]
pub struct BodyMemory {
    bytes_max: u64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bodies that are being checked take all the memory that they may")]
pub struct Full;

impl BodyMemory {
    /// At most `bytes_max` bytes, all bodies together.
    pub const fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Bytes that are taken now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Most that may be.
    pub const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Little is left: what can do without takes none.
    pub fn is_short(&self) -> bool {
        self.bytes() > self.bytes_max / 4
    }

    /// Bodies that found no room since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.bytes().checked_add(bytes).is_some_and(|all| all <= self.bytes_max)
    }

    fn take(&self, bytes: u64) -> Result<(), Full> {
        let more = |taken: u64| taken.checked_add(bytes).filter(|all| *all <= self.bytes_max);
        self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Full
        })?;
        Ok(())
    }
}

/// A body while it comes. What it takes is given back when it is dropped, or the [`Bytes`] that were made of it.
#[derive(Debug)]
pub struct HeldBody {
    memory: Arc<BodyMemory>,
    bytes: Vec<u8>,
    taken: u64,
}

impl HeldBody {
    /// Room for a body that may have `expected` bytes, of at most `bytes_max`.
    ///
    /// # Errors
    /// [`Full`].
    pub fn new(memory: &Arc<BodyMemory>, expected: u64, bytes_max: u64) -> Result<Self, Full> {
        let mut held = Self { memory: Arc::clone(memory), bytes: Vec::new(), taken: 0 };
        held.grow_to(expected.min(FIRST_BYTES).min(bytes_max))?;
        Ok(held)
    }

    /// Bytes that came.
    pub const fn received(&self) -> usize {
        self.bytes.len()
    }

    /// Takes a piece. The caller has looked at its route's `bytes_max`, beyond which no room is taken ahead.
    ///
    /// # Errors
    /// [`Full`]: the body is of no use any more.
    pub fn push(&mut self, piece: &[u8], bytes_max: u64) -> Result<(), Full> {
        let needed = bytes_of(self.bytes.len().saturating_add(piece.len()));
        if needed > self.taken {
            // Doubled, so that a body of many pieces is not copied for each.
            let doubled = self.taken.saturating_mul(2).min(bytes_max).max(needed);
            let wanted = if self.memory.has_room(doubled.saturating_sub(self.taken)) { doubled } else { needed };
            self.grow_to(wanted)?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The whole of it.
    pub fn freeze(self) -> Bytes {
        if self.bytes.is_empty() { Bytes::new() } else { Bytes::from_owner(self) }
    }

    fn grow_to(&mut self, bytes: u64) -> Result<(), Full> {
        self.memory.take(bytes.saturating_sub(self.taken))?;
        self.taken = self.taken.max(bytes);
        self.bytes.reserve_exact(usize::try_from(self.taken).unwrap_or(usize::MAX).saturating_sub(self.bytes.len()));
        Ok(())
    }
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.memory.bytes.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

fn bytes_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
